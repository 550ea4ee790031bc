/* SPDX-License-Identifier: Apache-2.0 */
/* A letter made ready to go, with the secrets of its domain: what the smarthost gets. */
#pragma once

#include "gateway/mail/letter.h"

struct draft {
	struct buf from, to; /* of the envelope: the signed address for replies; the mailbox */
	struct buf bytes;    /* the mail (RFC 5322) */
	bool is_utf8;	     /* needs SMTPUTF8 */
	char *password;	     /* for the smarthost; NULL: none */
};

/* `letter` is without keys, `out` zeroed. HR_RETRY: not now, a secret is missing or too short: an
 * operator's matter. HR_FAIL: it can't be said in a mail. */
HR_MUST_USE enum hr_status draft_write(const struct letter *letter, const char *secrets,
				       struct draft *out, struct hr_err *err);
void draft_clear(struct draft *draft); /* a zeroed struct is fine */
#define scoped_draft __attribute__((cleanup(draft_clear))) struct draft
