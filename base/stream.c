/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stream_private.h"

enum {
	CONNECT_MS = 10 * 1000,
	CLOSE_MS = 10 * 1000, /* for what waits to leave, and the peer's end after ours */
	LIMIT_BYTES = 64 << 20,
};

/* ---- leaving ---- */

static void free_socket(uv_handle_t *handle)
{
	struct socket *socket = handle->data;

	free(socket->room);
	free(socket);
}

void stream_drop_socket(struct stream *stream)
{
	struct socket *socket = give(stream->socket);

	if (!socket)
		return;
	socket->stream = NULL;
	uv_close((uv_handle_t *)&socket->tcp, free_socket);
}

static void release(struct stream *stream)
{
	loop_cancel(stream->loop, stream_flush, stream);
	timer_free(give(stream->timer));
	if (stream->lookup) {
		stream->lookup->stream = NULL;
		uv_cancel((uv_req_t *)&stream->lookup->request);
		stream->lookup = NULL;
	}
	stream_drop_socket(stream);
	uv_freeaddrinfo(give(stream->found));
}

static void report_closed(struct stream *stream, const struct hr_err *err)
{
	if (stream->state == CLOSED)
		return;
	stream->state = CLOSED;
	release(stream);
	stream->events->closed(stream->ctx, err);
}

void stream_fail(struct stream *stream, enum hr_status status, const char *why)
{
	struct hr_err err;

	err_set(&err, status, "%s port %u: %s", stream->host, stream->port, why);
	report_closed(stream, &err);
}

void stream_fail_uv(struct stream *stream, int code)
{
	stream_fail(stream, HR_RETRY, uv_strerror(code));
}

/* ---- reading ---- */

static void begin_closing(struct stream *stream)
{
	stream->state = CLOSING;
	timer_set(stream->timer, loop_now(stream->loop) + CLOSE_MS);
	loop_later(stream->loop, stream_flush, stream);
}

/* The peer has ended its direction in good order: what waits may still leave. */
static void end_of_peer(struct stream *stream)
{
	stream->peer_ended = true;
	if (stream->socket)
		uv_read_stop((uv_stream_t *)&stream->socket->tcp);
	if (stream->state == OPEN)
		begin_closing(stream);
	else if (stream->state == FINISHING && !stream->writing)
		stream_fail(stream, HR_NONE, "closed");
}

/* False when the stream has gone or wants no more now. */
static bool deliver(struct stream *stream, struct slice bytes)
{
	if (!stream->paused)
		stream->events->received(stream->ctx, bytes);
	return stream->state != CLOSED && !stream->dead &&
	       (!stream->paused || stream->state > OPEN);
}

static void read_tls(struct stream *stream)
{
	struct hr_err err = { 0 };
	enum hr_status status = HR_OK;
	size_t len = 0;

	if (stream->paused && stream->state == OPEN)
		return;
	while ((status = tls_read(stream->tls, stream->plain, STREAM_RECORD_BYTES, &len, &err)) ==
	       HR_OK)
		if (!deliver(stream, (struct slice){ stream->plain, len }))
			return;
	if (tls_output(stream->tls)->len > 0)
		loop_later(stream->loop, stream_flush, stream);
	if (status == HR_NONE || (status != HR_RETRY && stream->state == FINISHING))
		end_of_peer(stream);
	else if (status != HR_RETRY)
		stream_fail(stream, HR_RETRY, err.text);
}

void stream_become_open(struct stream *stream)
{
	stream->state = OPEN;
	timer_set(stream->timer, 0);
	if (stream->paused)
		uv_read_stop((uv_stream_t *)&stream->socket->tcp);
	loop_later(stream->loop, stream_flush, stream);
	stream->events->opened(stream->ctx);
}

static void shake_hands(struct stream *stream)
{
	struct hr_err err;
	enum hr_status status = tls_handshake(stream->tls, &err);

	stream_flush(stream); /* also an alert that says why not */
	if (stream->state != HANDSHAKING)
		return;
	if (status == HR_OK)
		stream_become_open(stream);
	else if (status != HR_RETRY)
		stream_fail(stream, status == HR_FAIL ? HR_FAIL : HR_RETRY, err.text);
}

/* Works off what has been fed to TLS. */
void stream_pump(void *arg)
{
	struct stream *stream = arg;

	if (stream->state == HANDSHAKING)
		shake_hands(stream);
	if (!stream->dead && stream->state >= OPEN && stream->state < CLOSED)
		read_tls(stream);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
	struct socket *socket = handle->data;

	(void)suggested;
	*room = uv_buf_init(socket->room, STREAM_READ_BYTES);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *room)
{
	struct socket *socket = handle->data;
	struct stream *stream = socket->stream;

	if (!stream || got == 0)
		return;
	if (got < 0 && got != UV_EOF) {
		stream_fail_uv(stream, (int)got);
		return;
	}
	struct slice bytes = { room->base, got > 0 ? (size_t)got : 0 };
	if (stream->tls) {
		if (got > 0)
			tls_feed(stream->tls, bytes);
		else
			tls_feed_end(stream->tls);
		stream_pump(stream);
	} else if (got > 0) {
		deliver(stream, bytes);
	} else {
		end_of_peer(stream);
	}
}

int stream_start_reading(struct stream *stream)
{
	return uv_read_start((uv_stream_t *)&stream->socket->tcp, on_room, on_read);
}

static void on_timer(void *arg)
{
	struct stream *stream = arg;

	if (stream->state == CONNECTING && stream_dial_next(stream))
		return;
	if (stream->state == FINISHING)
		stream_fail(stream, HR_NONE, "closed; the peer has not ended its side");
	else if (stream->state == CLOSING)
		stream_fail(stream, HR_RETRY, "the peer does not read what is left to write");
	else
		stream_fail(stream, HR_RETRY,
			    stream->state == HANDSHAKING ? "no TLS handshake in time"
							 : "no answer in time");
}

/* ---- for the owner ---- */

struct stream *stream_connect(struct loop *loop, const struct stream_options *options,
			      const struct stream_events *events, void *ctx)
{
	struct stream *stream = mem_new(struct stream);
	msec patience = options->connect_timeout ? options->connect_timeout : CONNECT_MS;

	*stream = (struct stream){
		.loop = loop,
		.host = str_dup(options->host),
		.ca_file = str_dup(options->ca_file),
		.port = options->port,
		.limit = options->write_limit ? options->write_limit : LIMIT_BYTES,
		.want_tls = options->tls == STREAM_TLS,
		.events = events,
		.ctx = ctx,
		.state = RESOLVING,
		.deadline = loop_now(loop) + patience,
	};
	stream->timer = timer_new(loop, on_timer, stream);
	loop_later(loop, stream_dial, stream);
	return stream;
}

static void destroy(void *arg)
{
	struct stream *stream = arg;

	tls_free(stream->tls);
	buf_free(&stream->out);
	free(stream->plain);
	free(stream->host);
	free(stream->ca_file);
	free(stream);
}

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	stream->dead = true;
	stream->state = CLOSED;
	loop_cancel(stream->loop, stream_dial, stream);
	loop_cancel(stream->loop, stream_pump, stream);
	release(stream);
	loop_park(stream->loop, stream, destroy);
}

void stream_write(struct stream *stream, struct slice bytes)
{
	if (stream->state > OPEN || stream->overrun || stream->cancelled)
		return;
	buf_add_slice(&stream->out, bytes);
	size_t waiting = stream_waiting(stream);
	stream->high = stream->high || waiting > stream->limit / 2;
	stream->overrun = waiting > stream->limit;
	if (stream->state == OPEN || stream->overrun)
		loop_later(stream->loop, stream_flush, stream);
}

size_t stream_waiting(const struct stream *stream)
{
	size_t with_libuv = 0;

	if (stream->socket)
		with_libuv = uv_stream_get_write_queue_size((uv_stream_t *)&stream->socket->tcp);
	return stream->out.len - stream->out_at + with_libuv;
}

void stream_pause(struct stream *stream)
{
	stream->paused = true;
	if (stream->state == OPEN && stream->socket)
		uv_read_stop((uv_stream_t *)&stream->socket->tcp);
}

void stream_resume(struct stream *stream)
{
	if (!stream->paused)
		return;
	stream->paused = false;
	if (stream->state != OPEN)
		return;
	if (stream->tls)
		loop_later(stream->loop, stream_pump, stream);
	stream_start_reading(stream);
}

void stream_shutdown(struct stream *stream)
{
	if (stream->state > OPEN || stream->cancelled)
		return;
	if (stream->state < OPEN) {
		stream->cancelled = true;
		loop_later(stream->loop, stream_flush, stream);
		return;
	}
	if (stream->paused)
		stream_start_reading(stream);
	begin_closing(stream);
}
