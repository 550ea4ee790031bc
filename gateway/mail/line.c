/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/line.h"

#include "base/stream.h"
#include "base/tls.h"

enum { CONNECT_MS = 30 * 1000, PLAIN_BYTES = 16 * 1024 };

struct line {
	struct loop *loop;
	struct way way;
	const struct line_events *events;
	void *ctx;
	struct stream *stream;
	struct tls *tls; /* NULL: not yet, or none */
	bool is_secured, dead;
	unsigned used;
	struct smtp *smtp;
	struct timer *timer;
	size_t leaving; /* bytes that waited to leave when the timer was set */
};

/* --- the way -----------------------------------------------------------------------------------
 */

void way_copy(const struct way *way, struct way *out)
{
	*out = (struct way){
		.host = str_dup(way->host),
		.port = way->port,
		.tls = way->tls,
		.ca_file = str_dup(way->ca_file),
		.username = str_dup(way->username),
		.password = str_dup(way->password),
		.helo = str_dup(way->helo),
	};
}

void way_clear(struct way *way)
{
	if (way->password)
		explicit_bzero((char *)way->password, strlen(way->password));
	free((char *)way->host);
	free((char *)way->ca_file);
	free((char *)way->username);
	free((char *)way->password);
	free((char *)way->helo);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool way_is_same(const struct way *a, const struct way *b)
{
	return a->port == b->port && a->tls == b->tls && same(a->host, b->host) &&
	       same(a->ca_file, b->ca_file) && same(a->username, b->username) &&
	       same(a->password, b->password) && same(a->helo, b->helo);
}

/* --- time ---------------------------------------------------------------------------------------
 */

static void arm(struct line *line)
{
	if (line->dead)
		return;
	line->leaving = stream_waiting(line->stream);
	timer_set(line->timer, loop_now(line->loop) + smtp_wait(line->smtp, line->leaving > 0));
}

/* Sends what the session has to say. The output may hold credentials. */
static void flush(struct line *line)
{
	struct buf *out = smtp_output(line->smtp);
	struct hr_err err;

	if (line->dead || out->len == 0)
		return;
	if (!line->is_secured) {
		stream_write(line->stream, buf_slice(out));
		buf_wipe(out);
		return;
	}
	enum hr_status status = tls_write(line->tls, buf_slice(out), &err);
	buf_wipe(out);
	if (status != HR_OK) {
		smtp_lost(line->smtp, err.text);
		return;
	}
	stream_write(line->stream, buf_slice(tls_output(line->tls)));
	buf_clear(tls_output(line->tls));
}

static void on_timer(void *arg)
{
	struct line *line = arg;

	if (smtp_is_ready(line->smtp)) {
		smtp_quit(line->smtp);
		flush(line);
		arm(line);
	} else if (stream_waiting(line->stream) < line->leaving) {
		arm(line); /* some of it has left */
	} else {
		smtp_lost(line->smtp, "the smarthost is silent");
	}
}

/* --- what the session says ------------------------------------------------------------------- */

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
		if (line->way.tls == SUBMIT_STARTTLS)
			smtp_secured(line->smtp);
	} else if (status != HR_RETRY) {
		smtp_lost(line->smtp, err.text);
	}
	return status == HR_OK;
}

static void on_secure(void *ctx)
{
	struct line *line = ctx;
	struct hr_err err;

	if (tls_client_new(line->way.host, line->way.ca_file, &line->tls, &err) != HR_OK)
		smtp_lost(line->smtp, err.text);
	else
		shake_hands(line);
}

static void on_ready(void *ctx)
{
	struct line *line = ctx;

	if (!line->dead)
		line->events->ready(line->ctx);
}

static void on_result(void *ctx, enum smtp_result result, const char *text)
{
	struct line *line = ctx;

	if (!line->dead)
		line->events->result(line->ctx, result, text);
}

static void on_over(void *ctx, const char *text)
{
	struct line *line = ctx;

	flush(line);
	if (!line->dead)
		line->events->over(line->ctx, text);
}

static const struct smtp_ops smtp_ops = {
	.secure = on_secure,
	.ready = on_ready,
	.result = on_result,
	.over = on_over,
};

/* --- what the stream says -------------------------------------------------------------------- */

static void on_opened(void *ctx)
{
	struct line *line = ctx;

	if (line->way.tls == SUBMIT_TLS)
		on_secure(line);
	arm(line); /* the server speaks first */
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
	flush(line);
	arm(line);
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

/* --- the whole -------------------------------------------------------------------------------- */

struct line *line_new(struct loop *loop, const struct way *way, const struct line_events *events,
		      void *ctx)
{
	struct line *line = mem_new(struct line);

	line->loop = loop;
	way_copy(way, &line->way);
	line->events = events;
	line->ctx = ctx;
	line->timer = timer_new(loop, on_timer, line);
	line->smtp = smtp_new(
		&(struct smtp_options){
			.host = way->helo,
			.starttls = way->tls == SUBMIT_STARTTLS,
			.username = way->username,
			.password = way->password,
		},
		&smtp_ops, line);
	line->stream = stream_connect(loop,
				      &(struct stream_options){
					      .host = way->host,
					      .port = way->port,
					      .tls = STREAM_PLAIN,
					      .connect_timeout = CONNECT_MS,
				      },
				      &stream_events, line);
	return line;
}

static void destroy(void *arg)
{
	struct line *line = arg;

	smtp_free(line->smtp);
	tls_free(line->tls);
	way_clear(&line->way);
	free(line);
}

/* May be on the stack of its own callbacks: the rest of it goes at the end of the turn. */
void line_free(struct line *line)
{
	if (!line || line->dead)
		return;
	line->dead = true;
	stream_free(give(line->stream));
	timer_free(give(line->timer));
	loop_park(line->loop, line, destroy);
}

const struct way *line_way(const struct line *line)
{
	return &line->way;
}

bool line_is_ready(const struct line *line)
{
	return smtp_is_ready(line->smtp);
}

void line_send(struct line *line, const struct smtp_mail *mail)
{
	line->used++;
	smtp_send(line->smtp, mail);
	flush(line);
	arm(line);
}

unsigned line_used(const struct line *line)
{
	return line->used;
}

bool line_was_stale(const struct line *line)
{
	return line->used > 1 && !smtp_has_begun(line->smtp);
}
