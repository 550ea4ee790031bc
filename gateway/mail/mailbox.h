/* SPDX-License-Identifier: Apache-2.0 */
/* A mailbox as SMTP writes it (RFC 5321 section 4.1.2, with RFC 6531 for UTF-8): local@domain,
 * "quoted local"@domain, local@[address literal]. Pure. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

enum { MAILBOX_LOCAL_MAX = 64, MAILBOX_DOMAIN_MAX = 255, MAILBOX_MAX = 320 };

struct mailbox {
	struct slice text;	    /* all of it, as it came */
	struct slice local, domain; /* cut out of it; a quoted local part with its quotes */
	bool is_utf8;		    /* not all ASCII: needs SMTPUTF8 */
};

/* `text` is borrowed, and is nothing but the mailbox. HR_FAIL: err says what is wrong. */
HR_MUST_USE enum hr_status mailbox_parse(struct slice text, struct mailbox *out,
					 struct hr_err *err);

/* The same at the beginning of `text` and between < and >, as MAIL and RCPT have it; a source route
 * is left out. *len: how much of `text` it is. HR_NONE: <>, the null sender. */
HR_MUST_USE enum hr_status mailbox_parse_path(struct slice text, struct mailbox *out, size_t *len,
					      struct hr_err *err);
