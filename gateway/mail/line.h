/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a smarthost: the session (gateway/mail/smtp.h) on its stream, with TLS, one
 * mail after the other. Every wait of it has an end: smtp_wait. Private to gateway/mail/submit.h.
 */
#pragma once

#include "base/loop.h"
#include "gateway/mail/smtp.h"

#include <stdint.h>

enum submit_tls { SUBMIT_PLAIN, SUBMIT_STARTTLS, SUBMIT_TLS };

/* Where mails go, and as whom. Texts are owned where it was copied to. */
struct way {
	const char *host;
	uint16_t port;
	enum submit_tls tls;
	const char *ca_file;		 /* PEM; NULL: the system's */
	const char *username, *password; /* NULL: no login */
	const char *helo;		 /* how we call ourselves */
};
void way_copy(const struct way *way, struct way *out);
void way_clear(struct way *way);
bool way_is_same(const struct way *a, const struct way *b);

/* Nothing is called any more after line_free, which is allowed inside. */
struct line_events {
	void (*ready)(void *ctx); /* a mail may be sent */
	void (*result)(void *ctx, enum smtp_result result, const char *text);
	void (*over)(void *ctx, const char *text); /* it is of no more use: line_free */
};

struct line;
struct line *line_new(struct loop *loop, const struct way *way, const struct line_events *events,
		      void *ctx);
void line_free(struct line *line); /* cuts it off; NULL is fine */
const struct way *line_way(const struct line *line);
bool line_is_ready(const struct line *line);
void line_send(struct line *line, const struct smtp_mail *mail); /* only when ready */
unsigned line_used(const struct line *line);			 /* mails sent */
/* It was kept, and has answered nothing of the mail under way: it may have been closed before. */
bool line_was_stale(const struct line *line);
