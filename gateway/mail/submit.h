/* SPDX-License-Identifier: Apache-2.0 */
/* Mail to a smarthost by SMTP (RFC 5321, submission RFC 6409): libcurl's multi interface on the
 * loop. Connections are kept and used again; several mails go at once. */
#pragma once

#include "base/loop.h"
#include "base/slice.h"

enum { SUBMIT_AT_ONCE = 8, SUBMIT_TEXT_MAX = 400 };

enum submit_result {
	SUBMIT_TAKEN,	 /* 250 after DATA */
	SUBMIT_DEFERRED, /* this mail not now: 4xx */
	SUBMIT_REFUSED,	 /* this mail never: 5xx */
	SUBMIT_AWAY,	 /* no mail now: no connection, no TLS, no login, 421 */
	SUBMIT_UNSURE,	 /* the connection went after all was sent: it may have been taken */
};

struct submit_job {
	const char *host;
	uint16_t port;
	enum { SUBMIT_PLAIN, SUBMIT_STARTTLS, SUBMIT_TLS } tls; /* STARTTLS: without it, no mail */
	const char *ca_file;					/* PEM; NULL: the system's */
	const char *username, *password;			/* NULL: no login */
	const char *helo;					/* how we call ourselves */
	const char *from, *to;					/* mailboxes */
	struct slice mail;					/* lines end with CRLF */
};

struct submit;
struct submit *submit_new(struct loop *loop);
void submit_free(struct submit *submit); /* what is under way is cut off, without an answer */
DEFINE_SCOPED(submit)

/* `text`: what the server said, or why there is none; borrowed for the call. Never called inside
 * submit_send. */
typedef void submit_fn(void *arg, enum submit_result result, const char *text);

struct submission;
/* Everything is copied. Valid until fn is called or submit_cancel. */
struct submission *submit_send(struct submit *submit, const struct submit_job *job, submit_fn *fn,
			       void *arg);
void submit_cancel(struct submission *submission); /* cut off; fn is not called */
