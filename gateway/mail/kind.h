/* SPDX-License-Identifier: Apache-2.0 */
/* Did a person write this mail, to be read by a person? Only then it becomes chat, and only then it
 * may be answered (RFC 3834). Everything else is told apart by one table of fields. */
#pragma once

#include "gateway/mail/mime.h"

enum kind {
	KIND_PERSONAL,	  /* the only one that may become chat */
	KIND_LOOP,	  /* has been through this site before, or through too many */
	KIND_REPORT,	  /* a delivery status notification: see gateway/mail/dsn.h */
	KIND_DISPOSITION, /* says that a mail was read (RFC 8098) */
	KIND_VACATION,	  /* somebody's automatic reply */
	KIND_AUTOMATIC,	  /* made by a program */
	KIND_LIST,	  /* from a mailing list */
	KIND_BULK,
	KIND_BOUNCE, /* the null sender, but no report that could be read */
	KINDS
};

/* The field that a mail of ours says its way in: the sites that it has passed, oldest first. */
#define KIND_TRACE_FIELD "Hedgerow-Trace"
enum { KIND_TRACE_MAX = 4, KIND_RECEIVED_MAX = 50 };

/* `sender`: of the SMTP envelope; len 0: the null sender. `site`: ours. *why: static words on what
 * decided, for the log; NULL for KIND_PERSONAL. */
enum kind kind_of(const struct mime *mime, struct slice sender, const char *site, const char **why);
const char *kind_name(enum kind kind); /* static: "personal", ... */
