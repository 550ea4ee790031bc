/* SPDX-License-Identifier: Apache-2.0 */
/* One session of an SMTP client with a smarthost (RFC 5321, RFC 6409): EHLO, STARTTLS (RFC 3207),
 * AUTH PLAIN or LOGIN (RFC 4954), 8BITMIME, SMTPUTF8 (RFC 6531); one mail after the other, with
 * MAIL, RCPT and DATA in one write where the server lets us (PIPELINING, RFC 2920).
 *
 * Pure protocol: the owner feeds bytes, sends what gathers in the output, and makes the TLS session
 * that the op secure asks for. (libcurl's multi interface, 7.88, waits for the answer to a mail's
 * end inside one of its calls, and with it everything else of the process.) */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"

enum { SMTP_LINE_MAX = 4096, SMTP_LINES_MAX = 100, SMTP_TEXT_MAX = 400 };

enum smtp_result {
	SMTP_TAKEN,    /* 250 after DATA */
	SMTP_DEFERRED, /* this mail not now: 4xx */
	SMTP_REFUSED,  /* this mail never: 5xx, or the server can't carry its addresses */
	SMTP_AWAY,     /* no mail now, whichever: no TLS, no login */
	SMTP_CUT,      /* the session ended on this mail (421, lost), which may have been taken */
};

/* Each may end the session; smtp_free may not be called from within. */
struct smtp_ops {
	void (*secure)(void *ctx); /* TLS begins now; then smtp_secured */
	void (*ready)(void *ctx);  /* a mail may be sent */
	/* Of the mail under way. `text`: what the server said, or what went wrong; borrowed. */
	void (*result)(void *ctx, enum smtp_result result, const char *text);
	/* The session is of no more use: send the output, then close. After the result of a mail
	 * under way; without one `text` says why. */
	void (*over)(void *ctx, const char *text);
};

struct smtp_options {
	const char *host;		 /* how we call ourselves; copied, as the rest */
	bool starttls;			 /* required; else the stream is TLS already, or plain */
	const char *username, *password; /* NULL: no login */
};

struct smtp;
struct smtp *smtp_new(const struct smtp_options *options, const struct smtp_ops *ops, void *ctx);
void smtp_free(struct smtp *smtp); /* no op is called; NULL is fine */
DEFINE_SCOPED(smtp)

void smtp_received(struct smtp *smtp, struct slice bytes);
void smtp_secured(struct smtp *smtp);
/* The stream is gone, or a wait was too long. */
void smtp_lost(struct smtp *smtp, const char *why);

struct smtp_mail {
	const char *from, *to; /* mailboxes */
	struct slice bytes;    /* lines end with CRLF; borrowed until `result` */
	bool is_utf8;	       /* needs SMTPUTF8 */
};
void smtp_send(struct smtp *smtp, const struct smtp_mail *mail); /* only when ready */
void smtp_quit(struct smtp *smtp); /* only when ready; `over` follows */
bool smtp_is_ready(const struct smtp *smtp);
/* Whether the server has answered anything of the mail under way. */
bool smtp_has_begun(const struct smtp *smtp);
/* How long to wait for what comes next (RFC 5321 section 4.5.3.2), or, when ready, for the next
 * mail. `is_leaving`: what was said has not all left yet; then it is for some of it to leave. */
msec smtp_wait(const struct smtp *smtp, bool is_leaving);

/* To be sent, then wiped (buf_wipe), after every call: it may hold credentials. */
struct buf *smtp_output(struct smtp *smtp);
