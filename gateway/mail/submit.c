/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/submit.h"

enum { REST_MS = 1000 };

struct submission {
	struct submission *next, **at; /* in submit->waiting; at NULL: a courier has it */
	struct submit *submit;
	struct courier *courier; /* NULL: waits for one */
	struct way way;
	char *from, *to;
	struct buf mail;
	bool is_utf8, is_repeated;
	submit_fn *fn;
	void *arg;
};

/* Takes one mail after the other over its line. */
struct courier {
	struct courier *next;
	struct submit *submit;
	struct line *line;
	struct submission *submission; /* under way; NULL: none */
	struct timer *rest;	       /* until another may try; NULL: it serves */
};

struct submit {
	struct loop *loop;
	struct submission *waiting, **last;
	struct courier *couriers;
};

static void match(void *arg);

/* --- submissions ------------------------------------------------------------------------------ */

static void unlink_submission(struct submission *submission)
{
	if (!submission->at)
		return;
	*submission->at = submission->next;
	if (submission->next)
		submission->next->at = submission->at;
	else
		submission->submit->last = submission->at;
	submission->at = NULL;
	submission->next = NULL;
}

static void link_submission(struct submission *submission)
{
	struct submit *submit = submission->submit;

	submission->at = submit->last;
	*submit->last = submission;
	submit->last = &submission->next;
}

static void submission_free(struct submission *submission)
{
	if (!submission)
		return;
	unlink_submission(submission);
	way_clear(&submission->way);
	free(submission->from);
	free(submission->to);
	buf_free(&submission->mail);
	free(submission);
}

static void submission_end(struct submission *submission, enum smtp_result result, const char *text)
{
	submit_fn *fn = submission->fn;
	void *arg = submission->arg;

	submission_free(submission);
	fn(arg, result, text);
}

/* --- couriers --------------------------------------------------------------------------------- */

static void courier_free(struct courier *courier)
{
	struct courier **at = &courier->submit->couriers;

	while (*at != courier)
		at = &(*at)->next;
	*at = courier->next;
	line_free(courier->line);
	timer_free(courier->rest);
	loop_later(courier->submit->loop, match, courier->submit);
	free(courier);
}

static void on_rested(void *arg)
{
	courier_free(arg);
}

/* As long as it is there, nobody else tries its way. */
static void courier_rest(struct courier *courier)
{
	struct loop *loop = courier->submit->loop;

	courier->rest = timer_new(loop, on_rested, courier);
	timer_set(courier->rest, loop_now(loop) + REST_MS);
}

static void on_ready(void *ctx)
{
	struct courier *courier = ctx;

	loop_later(courier->submit->loop, match, courier->submit);
}

static void on_result(void *ctx, enum smtp_result result, const char *text)
{
	struct courier *courier = ctx;
	struct submission *submission = give(courier->submission);

	submission->courier = NULL;
	if (result == SMTP_CUT && line_was_stale(courier->line) && !submission->is_repeated) {
		submission->is_repeated = true; /* a kept connection was closed meanwhile */
		link_submission(submission);
	} else {
		submission_end(submission, result, text);
	}
}

/* Whether mails have gone this way on a line that is there. */
static bool is_open(const struct submit *submit, const struct way *way)
{
	for (const struct courier *one = submit->couriers; one; one = one->next)
		if (line_used(one->line) > 0 && way_is_same(line_way(one->line), way))
			return true;
	return false;
}

/* Where no session came about, and none is there, that is what all who wait for this way are told,
 * so that nobody waits for ever. Where one is there, they wait for that, and for another attempt.
 */
static void on_over(void *ctx, const char *text)
{
	struct courier *courier = ctx;
	struct submit *submit = courier->submit;
	struct way way;
	bool was_used = is_open(submit, line_way(courier->line));

	if (was_used && line_used(courier->line) == 0) {
		courier_rest(courier);
		return;
	}
	way_copy(line_way(courier->line), &way);
	courier_free(courier);
	for (struct submission *one = submit->waiting, *next; one && !was_used; one = next) {
		next = one->next;
		if (way_is_same(&one->way, &way))
			submission_end(one, SMTP_AWAY, text);
	}
	way_clear(&way);
}

static const struct line_events line_events = { on_ready, on_result, on_over };

static void courier_new(struct submit *submit, const struct way *way)
{
	struct courier *courier = mem_new(struct courier);

	courier->submit = submit;
	courier->next = submit->couriers;
	submit->couriers = courier;
	courier->line = line_new(submit->loop, way, &line_events, courier);
}

/* --- who goes where --------------------------------------------------------------------------- */

/* A courier that is free for `way`, and how many there are, or may become so. */
static struct courier *find_courier(const struct submit *submit, const struct way *way,
				    size_t *count, size_t *coming)
{
	struct courier *found = NULL;

	*count = *coming = 0;
	for (struct courier *one = submit->couriers; one; one = one->next) {
		if (!way_is_same(line_way(one->line), way))
			continue;
		++*count;
		if (one->submission)
			continue;
		if (line_is_ready(one->line))
			found = one;
		else if (line_used(one->line) == 0)
			++*coming;
	}
	return found;
}

/* Gives each submission that waits a courier, or makes one. */
static void match(void *arg)
{
	struct submit *submit = arg;
	size_t count, coming, served = 0;

	for (struct submission *one = submit->waiting, *next; one; one = next) {
		next = one->next;
		struct courier *courier = find_courier(submit, &one->way, &count, &coming);

		if (!courier && count < SUBMIT_AT_ONCE && coming <= served) {
			courier_new(submit, &one->way);
			served++;
		}
		if (!courier)
			continue;
		unlink_submission(one);
		one->courier = courier;
		courier->submission = one;
		line_send(courier->line, &(struct smtp_mail){ .from = one->from,
							      .to = one->to,
							      .bytes = buf_slice(&one->mail),
							      .is_utf8 = one->is_utf8 });
	}
}

struct submission *submit_send(struct submit *submit, const struct submit_job *job, submit_fn *fn,
			       void *arg)
{
	struct submission *submission = mem_new(struct submission);

	*submission = (struct submission){
		.submit = submit,
		.from = str_dup(job->mail.from),
		.to = str_dup(job->mail.to),
		.is_utf8 = job->mail.is_utf8,
		.fn = fn,
		.arg = arg,
	};
	way_copy(&job->way, &submission->way);
	buf_add_slice(&submission->mail, job->mail.bytes);
	link_submission(submission);
	loop_later(submit->loop, match, submit);
	return submission;
}

void submit_cancel(struct submission *submission)
{
	if (!submission)
		return;
	if (submission->courier)
		courier_free(submission->courier);
	submission_free(submission);
}

struct submit *submit_new(struct loop *loop)
{
	struct submit *submit = mem_new(struct submit);

	submit->loop = loop;
	submit->last = &submit->waiting;
	return submit;
}

void submit_free(struct submit *submit)
{
	if (!submit)
		return;
	while (submit->couriers) {
		submission_free(give(submit->couriers->submission));
		courier_free(submit->couriers);
	}
	while (submit->waiting)
		submission_free(submit->waiting);
	loop_cancel(submit->loop, match, submit);
	free(submit);
}
