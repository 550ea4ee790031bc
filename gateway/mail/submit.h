/* SPDX-License-Identifier: Apache-2.0 */
/* Mail to smarthosts: lines (gateway/mail/line.h) that are kept for a while and used again, several
 * at once each way, with a mail for each that is free. */
#pragma once

#include "gateway/mail/line.h"

enum { SUBMIT_AT_ONCE = 8 };

struct submit_job {
	struct way way;
	struct smtp_mail mail;
};

struct submit;
struct submit *submit_new(struct loop *loop);
void submit_free(struct submit *submit); /* what is under way is cut off, without an answer */
DEFINE_SCOPED(submit)

/* `text`: what the server said, or why there is none; borrowed for the call. Never called inside
 * submit_send. */
typedef void submit_fn(void *arg, enum smtp_result result, const char *text);

struct submission;
/* Everything is copied. Valid until fn is called or submit_cancel. */
struct submission *submit_send(struct submit *submit, const struct submit_job *job, submit_fn *fn,
			       void *arg);
void submit_cancel(struct submission *submission); /* cut off; fn is not called; NULL is fine */
