/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stream_private.h"

enum { CHUNK_BYTES = 256 << 10 }; /* encrypted at a time, so that little waits as ciphertext */

struct write {
	uv_write_t request;
	struct buf bytes;
};

static struct slice waiting_plain(const struct stream *stream)
{
	struct slice all = buf_slice(&stream->out);

	return (struct slice){ all.data + stream->out_at, all.len - stream->out_at };
}

static void took_plain(struct stream *stream, size_t len)
{
	stream->out_at += len;
	if (stream->out_at == stream->out.len) {
		buf_clear(&stream->out);
		stream->out_at = 0;
	} else if (stream->out_at > stream->out.len / 2) {
		buf_drop(&stream->out, stream->out_at);
		stream->out_at = 0;
	}
}

static void on_written(uv_write_t *request, int status)
{
	struct write *write = request->data;
	struct socket *socket = request->handle->data;
	struct stream *stream = socket->stream;

	buf_free(&write->bytes);
	free(write);
	if (!stream)
		return;
	stream->writing = false;
	if (status < 0)
		stream_fail_uv(stream, status);
	else
		stream_flush(stream);
}

/* Gives bytes to the kernel, and what it does not take to libuv. Empties *bytes. */
static int put(struct stream *stream, struct buf *bytes, size_t from)
{
	uv_stream_t *tcp = (uv_stream_t *)&stream->socket->tcp;
	uv_buf_t rest = uv_buf_init(bytes->data + from, (unsigned int)(bytes->len - from));

	int taken = rest.len > 0 ? uv_try_write(tcp, &rest, 1) : 0;
	if (taken < 0 && taken != UV_EAGAIN)
		return taken;
	if (taken > 0) {
		rest.base += taken;
		rest.len -= (size_t)taken;
	}
	if (rest.len == 0) {
		buf_clear(bytes);
		return 0;
	}
	struct write *write = mem_new(struct write);
	write->bytes = *bytes;
	*bytes = BUF_INIT(bytes->cap);
	write->request.data = write;
	int code = uv_write(&write->request, tcp, &rest, 1, on_written);
	stream->writing = code == 0;
	if (code < 0) {
		buf_free(&write->bytes);
		free(write);
	}
	return code;
}

/* Puts the next part of what waits. */
static int put_next(struct stream *stream)
{
	if (!stream->tls) {
		size_t from = stream->out_at;
		stream->out_at = 0;
		return put(stream, &stream->out, from);
	}
	struct slice plain = waiting_plain(stream);
	struct hr_err err;
	if (plain.len > CHUNK_BYTES)
		plain.len = CHUNK_BYTES;
	if (stream->state >= OPEN && plain.len > 0) {
		if (tls_write(stream->tls, plain, &err) != HR_OK)
			return UV_EPROTO;
		took_plain(stream, plain.len);
	}
	return put(stream, tls_output(stream->tls), 0);
}

static bool can_put(const struct stream *stream)
{
	if (!stream->socket || stream->writing || stream->state < HANDSHAKING ||
	    stream->state > CLOSING)
		return false;
	if (stream->tls && tls_output(stream->tls)->len > 0)
		return true;
	return stream->state >= OPEN && stream->out.len > stream->out_at;
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	struct socket *socket = request->handle->data;
	struct stream *stream = socket->stream;

	if (!stream)
		return;
	if (status < 0 && status != UV_ENOTCONN)
		stream_fail_uv(stream, status);
	else if (stream->peer_ended)
		stream_fail(stream, HR_NONE, "closed");
}

/* All that waited is with the kernel: say goodbye, then end our direction. */
static void finish(struct stream *stream)
{
	stream->state = FINISHING;
	if (stream->tls) {
		tls_close(stream->tls);
		put(stream, tls_output(stream->tls), 0); /* if this fails, so does the next */
	}
	int code = uv_shutdown(&stream->socket->shutdown, (uv_stream_t *)&stream->socket->tcp,
			       on_shutdown);
	if (code < 0)
		stream_fail_uv(stream, code);
}

void stream_flush(void *arg)
{
	struct stream *stream = arg;
	int code = 0;

	if (stream->overrun) {
		stream_fail(stream, HR_FAIL,
			    "the peer does not read: too much waits to be written");
		return;
	}
	if (stream->cancelled) {
		stream_fail(stream, HR_NONE, "closed before it was open");
		return;
	}
	while (code == 0 && can_put(stream))
		code = put_next(stream);
	if (code < 0) {
		stream_fail_uv(stream, code);
		return;
	}
	if (stream->high && stream_waiting(stream) < stream->limit / 4) {
		stream->high = false;
		if (stream->events->drained)
			stream->events->drained(stream->ctx);
	}
	if (!stream->dead && stream->state == CLOSING && !stream->writing && !can_put(stream))
		finish(stream);
}
