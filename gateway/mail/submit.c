/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/submit.h"

#include "base/stream.h"
#include "base/tls.h"

enum {
	CONNECT_MS = 30 * 1000,
	ANSWER_MS = 600 * 1000, /* RFC 5321 section 4.5.3.2.6: who gives up sooner mails twice */
	IDLE_MS = 10 * 1000,	/* a session without a mail is ended */
	PLAIN_BYTES = 16 * 1024,
};

struct submission {
	struct submission *next, **at; /* in submit->waiting, or alone in a line */
	struct submit *submit;
	struct line *line; /* NULL: waits for one */
	char *host, *ca_file, *username, *password, *helo, *from, *to;
	uint16_t port;
	enum submit_tls tls;
	struct buf mail;
	bool is_utf8, is_repeated;
	submit_fn *fn;
	void *arg;
};

/* One connection, for mails with the same way. */
struct line {
	struct line *next;
	struct submit *submit;
	struct submission *submission; /* under way; NULL: none */
	struct submission *way;	       /* owned: where it leads, without a mail */
	struct stream *stream;
	struct tls *tls; /* after STARTTLS; the stream is plain */
	bool is_secured, dead;
	unsigned used; /* mails sent */
	struct smtp *smtp;
	struct timer *timer;
};

struct submit {
	struct loop *loop;
	struct submission *waiting, **last;
	struct line *lines;
};

static void match(void *arg);
static bool shake_hands(struct line *line);

/* --- submissions --------------------------------------------------------------------------------
 */

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
	if (submission->password)
		explicit_bzero(submission->password, strlen(submission->password));
	free(submission->host);
	free(submission->ca_file);
	free(submission->username);
	free(submission->password);
	free(submission->helo);
	free(submission->from);
	free(submission->to);
	buf_free(&submission->mail);
	free(submission);
}

static struct submission *way_of(const struct submission *from)
{
	struct submission *way = mem_new(struct submission);

	way->submit = from->submit;
	way->host = str_dup(from->host);
	way->ca_file = str_dup(from->ca_file);
	way->username = str_dup(from->username);
	way->password = str_dup(from->password);
	way->helo = str_dup(from->helo);
	way->port = from->port;
	way->tls = from->tls;
	return way;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_way(const struct submission *a, const struct submission *b)
{
	return a->port == b->port && a->tls == b->tls && same(a->host, b->host) &&
	       same(a->ca_file, b->ca_file) && same(a->username, b->username) &&
	       same(a->password, b->password) && same(a->helo, b->helo);
}

/* --- a line
 * --------------------------------------------------------------------------------------- */

static void destroy_line(void *arg)
{
	struct line *line = arg;

	smtp_free(line->smtp);
	tls_free(line->tls);
	submission_free(line->way);
	free(line);
}

/* May be on the stack of its own callbacks: the rest of it goes at the end of the turn. */
static void line_end(struct line *line)
{
	struct line **at = &line->submit->lines;

	if (line->dead)
		return;
	line->dead = true;
	while (*at != line)
		at = &(*at)->next;
	*at = line->next;
	stream_free(give(line->stream));
	timer_free(give(line->timer));
	loop_park(line->submit->loop, line, destroy_line);
	loop_later(line->submit->loop, match, line->submit);
}

/* Sends what the session has to say. */
static void flush(struct line *line)
{
	struct buf *out = smtp_output(line->smtp);
	struct hr_err err;

	if (line->dead || out->len == 0)
		return;
	if (line->is_secured) {
		if (tls_write(line->tls, buf_slice(out), &err) != HR_OK) {
			buf_clear(out);
			smtp_lost(line->smtp, err.text);
			return;
		}
		stream_write(line->stream, buf_slice(tls_output(line->tls)));
		buf_clear(tls_output(line->tls));
	} else {
		stream_write(line->stream, buf_slice(out));
	}
	buf_clear(out);
}

static void arm(struct line *line, msec wait)
{
	if (!line->dead)
		timer_set(line->timer, loop_now(line->submit->loop) + wait);
}

static void on_timer(void *arg)
{
	struct line *line = arg;

	if (smtp_is_ready(line->smtp)) {
		smtp_quit(line->smtp);
		flush(line);
		arm(line, CONNECT_MS);
	} else {
		smtp_lost(line->smtp, "the smarthost is silent");
	}
}

/* --- what the session says
 * --------------------------------------------------------------------------- */

static void on_secure(void *ctx)
{
	struct line *line = ctx;
	struct hr_err err;

	if (tls_client_new(line->way->host, line->way->ca_file, &line->tls, &err) != HR_OK) {
		smtp_lost(line->smtp, err.text);
		return;
	}
	shake_hands(line);
}

static void on_ready(void *ctx)
{
	struct line *line = ctx;

	arm(line, IDLE_MS);
	loop_later(line->submit->loop, match, line->submit);
}

static void on_result(void *ctx, enum smtp_result result, const char *text)
{
	struct line *line = ctx;
	struct submission *submission = give(line->submission);

	if (!submission)
		return; /* cancelled */
	submission->line = NULL;
	if (result == SMTP_AWAY && line->used > 1 && !smtp_has_begun(line->smtp) &&
	    !submission->is_repeated) {
		submission->is_repeated = true; /* a kept connection was closed meanwhile */
		link_submission(submission);
		return;
	}
	submit_fn *fn = submission->fn;
	void *arg = submission->arg;

	submission_free(submission);
	fn(arg, result, text);
}

/* Whether mails have gone this way on a line that is there. */
static bool is_open(const struct submit *submit, const struct submission *way)
{
	for (const struct line *line = submit->lines; line; line = line->next)
		if (line->used > 0 && is_same_way(line->way, way))
			return true;
	return false;
}

/* Where no session came about, and none is there, that is what all who wait for this way are told,
 * so that nobody waits for ever. */
static void on_over(void *ctx, const char *text)
{
	struct line *line = ctx;
	struct submit *submit = line->submit;
	bool was_used = line->used > 0 || is_open(submit, line->way);

	flush(line);
	line_end(line);
	for (struct submission *one = submit->waiting, *next; one && !was_used; one = next) {
		next = one->next;
		if (!is_same_way(one, line->way))
			continue;
		submit_fn *fn = one->fn;
		void *arg = one->arg;

		submission_free(one);
		fn(arg, SMTP_AWAY, text);
	}
}

static const struct smtp_ops smtp_ops = {
	.secure = on_secure,
	.ready = on_ready,
	.result = on_result,
	.over = on_over,
};

/* --- what the stream says
 * ----------------------------------------------------------------------------- */

static void on_opened(void *ctx)
{
	(void)ctx; /* the server speaks first */
}

/* Goes on with it. True: it is over, or there is none. */
static bool shake_hands(struct line *line)
{
	struct hr_err err;

	if (!line->tls || line->is_secured)
		return true;
	enum hr_status status = tls_handshake(line->tls, &err);

	stream_write(line->stream, buf_slice(tls_output(line->tls)));
	buf_clear(tls_output(line->tls));
	if (status == HR_OK) {
		line->is_secured = true;
		smtp_secured(line->smtp);
	} else if (status != HR_RETRY) {
		smtp_lost(line->smtp, err.text);
	}
	return status == HR_OK;
}

static void read_secured(struct line *line)
{
	scoped_str plain = mem_resize(NULL, PLAIN_BYTES, 1);
	enum hr_status status = HR_OK;
	struct hr_err err;
	size_t len;

	while (!line->dead && status == HR_OK) {
		status = tls_read(line->tls, plain, PLAIN_BYTES, &len, &err);
		if (status == HR_OK)
			smtp_received(line->smtp, (struct slice){ plain, len });
	}
	if (!line->dead && status != HR_RETRY)
		smtp_lost(line->smtp,
			  status == HR_NONE ? "the smarthost ended the session" : err.text);
}

static void on_received(void *ctx, struct slice bytes)
{
	struct line *line = ctx;

	if (line->tls) {
		tls_feed(line->tls, bytes);
		if (shake_hands(line) && !line->dead)
			read_secured(line);
	} else {
		smtp_received(line->smtp, bytes);
	}
	if (line->dead)
		return;
	if (!smtp_is_ready(line->smtp))
		arm(line, ANSWER_MS);
	flush(line);
}

static void on_closed(void *ctx, const struct hr_err *err)
{
	struct line *line = ctx;

	smtp_lost(line->smtp,
		  err->status == HR_NONE ? "the smarthost closed the connection" : err->text);
}

static const struct stream_events stream_events = {
	.opened = on_opened,
	.received = on_received,
	.closed = on_closed,
};

/* --- who goes where
 * ------------------------------------------------------------------------------------- */

static void line_new(struct submit *submit, const struct submission *first)
{
	struct line *line = mem_new(struct line);

	line->submit = submit;
	line->way = way_of(first);
	line->next = submit->lines;
	submit->lines = line;
	line->timer = timer_new(submit->loop, on_timer, line);
	line->smtp = smtp_new(
		&(struct smtp_options){
			.host = first->helo,
			.starttls = first->tls == SUBMIT_STARTTLS,
			.username = first->username,
			.password = first->password,
		},
		&smtp_ops, line);
	line->stream =
		stream_connect(submit->loop,
			       &(struct stream_options){
				       .host = first->host,
				       .port = first->port,
				       .tls = first->tls == SUBMIT_TLS ? STREAM_TLS : STREAM_PLAIN,
				       .ca_file = first->ca_file,
				       .connect_timeout = CONNECT_MS,
			       },
			       &stream_events, line);
	arm(line, 2 * CONNECT_MS);
}

/* A line that is free for `submission`, or how many there are that may become so. */
static struct line *find_line(const struct submit *submit, const struct submission *submission,
			      size_t *count, size_t *coming)
{
	struct line *found = NULL;

	*count = *coming = 0;
	for (struct line *line = submit->lines; line; line = line->next) {
		if (!is_same_way(line->way, submission))
			continue;
		++*count;
		if (line->submission)
			continue;
		if (smtp_is_ready(line->smtp))
			found = line;
		else if (line->used == 0)
			++*coming;
	}
	return found;
}

/* Gives each submission that waits a line, or makes one. */
static void match(void *arg)
{
	struct submit *submit = arg;
	size_t count, coming, served = 0;

	for (struct submission *one = submit->waiting, *next; one; one = next) {
		next = one->next;
		struct line *line = find_line(submit, one, &count, &coming);

		if (!line && count < SUBMIT_AT_ONCE && coming <= served) {
			line_new(submit, one);
			served++;
		}
		if (!line)
			continue;
		unlink_submission(one);
		one->line = line;
		line->submission = one;
		line->used++;
		arm(line, ANSWER_MS);
		smtp_send(line->smtp, &(struct smtp_mail){ .from = one->from,
							   .to = one->to,
							   .bytes = buf_slice(&one->mail),
							   .is_utf8 = one->is_utf8 });
		flush(line);
	}
}

struct submission *submit_send(struct submit *submit, const struct submit_job *job, submit_fn *fn,
			       void *arg)
{
	struct submission *submission = mem_new(struct submission);

	*submission = (struct submission){
		.submit = submit,
		.host = str_dup(job->host),
		.ca_file = str_dup(job->ca_file),
		.username = str_dup(job->username),
		.password = str_dup(job->password),
		.helo = str_dup(job->helo),
		.from = str_dup(job->mail.from),
		.to = str_dup(job->mail.to),
		.port = job->port,
		.tls = job->tls,
		.is_utf8 = job->mail.is_utf8,
		.fn = fn,
		.arg = arg,
	};
	buf_add_slice(&submission->mail, job->mail.bytes);
	link_submission(submission);
	loop_later(submit->loop, match, submit);
	return submission;
}

void submit_cancel(struct submission *submission)
{
	if (!submission)
		return;
	if (submission->line) {
		submission->line->submission = NULL;
		line_end(submission->line);
	}
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
	while (submit->lines) {
		struct line *line = submit->lines;

		submission_free(give(line->submission));
		line_end(line);
	}
	while (submit->waiting)
		submission_free(submit->waiting);
	loop_cancel(submit->loop, match, submit);
	free(submit);
}
