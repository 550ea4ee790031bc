/* SPDX-License-Identifier: Apache-2.0 */
/* A delivery status notification (RFC 3464 in RFC 6522, RFC 6533 for UTF-8): what became of a mail
 * that we had sent, for each of its recipients. */
#pragma once

#include "gateway/mail/mime.h"

enum { DSN_RECIPIENTS_MAX = 100 };

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED, DSN_ACTIONS };

struct dsn_recipient {
	char *address; /* owned: Original-Recipient, else Final-Recipient */
	enum dsn_action action;
	char *status;	  /* owned: "5.2.2" */
	char *diagnostic; /* owned, one line; "" when there is none */
};

struct dsn {
	char *message_id; /* owned: of the mail it speaks of, without <>; NULL: it doesn't say */
	struct dsn_recipient *recipients; /* owned */
	size_t recipient_count;		  /* at least 1 */
};

/* HR_NONE: not such a report. HR_FAIL: it is one, but can't be understood. */
HR_MUST_USE enum hr_status dsn_read(const struct mime *mime, struct dsn **out, struct hr_err *err);
void dsn_free(struct dsn *dsn); /* NULL is fine */
DEFINE_SCOPED(dsn)
