/* SPDX-License-Identifier: Apache-2.0 */
/* libuv's requests outlive the stream that made them: each lookup, socket and write is a block of
 * its own that frees itself in its last callback, and forgets its stream when that goes first. */
#include "base/stream.h"

#include "base/buf.h"
#include "base/tls.h"

enum {
	CONNECT_MS = 10 * 1000,
	CLOSE_MS = 10 * 1000, /* for what waits to leave, and the peer's end after ours */
	KEEPALIVE_S = 30,
	READ_BYTES = 64 << 10,
	RECORD_BYTES = 16 << 10, /* the most that a TLS record holds */
	CHUNK_BYTES = 256 << 10, /* encrypted at a time, so that little waits as ciphertext */
	LIMIT_BYTES = 64 << 20,
};

/* In this order, each at most once; any may be followed by CLOSED at once. */
enum state {
	RESOLVING,
	CONNECTING,
	HANDSHAKING,
	OPEN,
	CLOSING,   /* what waits is still leaving */
	FINISHING, /* our end is sent, the peer's is awaited */
	CLOSED	   /* `closed` has been reported */
};

struct lookup {
	uv_getaddrinfo_t request;
	struct stream *stream; /* NULL: nobody waits for it */
};

struct socket {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	struct stream *stream; /* NULL: being closed */
	char *room;	       /* READ_BYTES, for what is read */
};

struct write {
	uv_write_t request;
	struct buf bytes;
};

struct stream {
	struct loop *loop;
	char *host, *ca_file;
	uint16_t port;
	size_t limit;
	const struct stream_events *events;
	void *ctx;
	enum state state;
	struct timer *timer;
	msec deadline; /* of RESOLVING, CONNECTING and HANDSHAKING together */
	struct lookup *lookup;
	struct addrinfo *found, *next; /* next: the address to try after this one */
	struct socket *socket;
	struct tls *tls; /* NULL: plain */
	char *plain;	 /* RECORD_BYTES, for what is decrypted; NULL: plain */
	struct buf out;	 /* not yet written or encrypted, from out_at on */
	size_t out_at;
	bool writing; /* libuv has a write of ours under way */
	bool high;    /* more than half of the limit waits, or did since it was a quarter */
	bool paused;
	bool peer_ended;
	bool want_tls;
	bool overrun;	/* past the limit: closes at the end of the turn */
	bool cancelled; /* shut down before it was open */
	bool dead;	/* freed by its owner */
};

static void try_next(struct stream *stream);
static void flush(void *arg);

/* ---- leaving ---- */

static void free_socket(uv_handle_t *handle)
{
	struct socket *socket = handle->data;

	free(socket->room);
	free(socket);
}

static void drop_socket(struct stream *stream)
{
	struct socket *socket = give(stream->socket);

	if (!socket)
		return;
	socket->stream = NULL;
	uv_close((uv_handle_t *)&socket->tcp, free_socket);
}

static void release(struct stream *stream)
{
	loop_cancel(stream->loop, flush, stream);
	timer_free(give(stream->timer));
	if (stream->lookup) {
		stream->lookup->stream = NULL;
		uv_cancel((uv_req_t *)&stream->lookup->request);
		stream->lookup = NULL;
	}
	drop_socket(stream);
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

static void fail(struct stream *stream, enum hr_status status, const char *why)
{
	struct hr_err err;

	err_set(&err, status, "%s port %u: %s", stream->host, stream->port, why);
	report_closed(stream, &err);
}

static void fail_uv(struct stream *stream, int code)
{
	fail(stream, HR_RETRY, uv_strerror(code));
}

/* ---- writing ---- */

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
		fail_uv(stream, status);
	else
		flush(stream);
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
		fail_uv(stream, status);
	else if (stream->peer_ended)
		fail(stream, HR_NONE, "closed");
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
		fail_uv(stream, code);
}

static void flush(void *arg)
{
	struct stream *stream = arg;
	int code = 0;

	if (stream->overrun) {
		fail(stream, HR_FAIL, "the peer does not read: too much waits to be written");
		return;
	}
	if (stream->cancelled) {
		fail(stream, HR_NONE, "closed before it was open");
		return;
	}
	while (code == 0 && can_put(stream))
		code = put_next(stream);
	if (code < 0) {
		fail_uv(stream, code);
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

/* ---- reading ---- */

static void begin_closing(struct stream *stream)
{
	stream->state = CLOSING;
	timer_set(stream->timer, loop_now(stream->loop) + CLOSE_MS);
	loop_later(stream->loop, flush, stream);
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
		fail(stream, HR_NONE, "closed");
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
	while ((status = tls_read(stream->tls, stream->plain, RECORD_BYTES, &len, &err)) == HR_OK)
		if (!deliver(stream, (struct slice){ stream->plain, len }))
			return;
	if (tls_output(stream->tls)->len > 0)
		loop_later(stream->loop, flush, stream);
	if (status == HR_NONE || (status != HR_RETRY && stream->state == FINISHING))
		end_of_peer(stream);
	else if (status != HR_RETRY)
		fail(stream, HR_RETRY, err.text);
}

static void opened(struct stream *stream)
{
	stream->state = OPEN;
	timer_set(stream->timer, 0);
	if (stream->paused)
		uv_read_stop((uv_stream_t *)&stream->socket->tcp);
	loop_later(stream->loop, flush, stream);
	stream->events->opened(stream->ctx);
}

static void shake_hands(struct stream *stream)
{
	struct hr_err err;
	enum hr_status status = tls_handshake(stream->tls, &err);

	flush(stream); /* also an alert that says why not */
	if (stream->state != HANDSHAKING)
		return;
	if (status == HR_OK)
		opened(stream);
	else if (status != HR_RETRY)
		fail(stream, status == HR_FAIL ? HR_FAIL : HR_RETRY, err.text);
}

/* Works off what has been fed to TLS. */
static void pump(void *arg)
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
	*room = uv_buf_init(socket->room, READ_BYTES);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *room)
{
	struct socket *socket = handle->data;
	struct stream *stream = socket->stream;

	if (!stream || got == 0)
		return;
	if (got < 0 && got != UV_EOF) {
		fail_uv(stream, (int)got);
		return;
	}
	struct slice bytes = { room->base, got > 0 ? (size_t)got : 0 };
	if (stream->tls) {
		if (got > 0)
			tls_feed(stream->tls, bytes);
		else
			tls_feed_end(stream->tls);
		pump(stream);
	} else if (got > 0) {
		deliver(stream, bytes);
	} else {
		end_of_peer(stream);
	}
}

static int start_reading(struct stream *stream)
{
	return uv_read_start((uv_stream_t *)&stream->socket->tcp, on_room, on_read);
}

/* ---- connecting ---- */

static void on_connected(uv_connect_t *request, int status)
{
	struct socket *socket = request->handle->data;
	struct stream *stream = socket->stream;

	if (!stream)
		return;
	if (status < 0 && stream->next) {
		try_next(stream);
		return;
	}
	if (status == 0) {
		uv_tcp_nodelay(&socket->tcp, 1);
		uv_tcp_keepalive(&socket->tcp, 1, KEEPALIVE_S);
		socket->room = mem_alloc(READ_BYTES);
		status = start_reading(stream);
	}
	if (status < 0) {
		fail_uv(stream, status);
		return;
	}
	uv_freeaddrinfo(give(stream->found));
	stream->state = HANDSHAKING;
	timer_set(stream->timer, stream->deadline);
	if (!stream->tls)
		opened(stream);
	else
		pump(stream);
}

/* Each address but the last gets its share of the time that is left. */
static msec share_of_time(const struct stream *stream)
{
	msec now = loop_now(stream->loop);
	int addresses = 1;

	for (const struct addrinfo *at = stream->next; at; at = at->ai_next)
		addresses++;
	return now + (stream->deadline - now) / addresses;
}

static void try_next(struct stream *stream)
{
	struct addrinfo *address = stream->next;
	struct socket *socket = mem_new(struct socket);

	drop_socket(stream);
	if (uv_tcp_init(loop_uv(stream->loop), &socket->tcp) != 0)
		abort(); /* it only fills in the struct */
	socket->tcp.data = socket;
	socket->stream = stream;
	stream->socket = socket;
	stream->next = address->ai_next;
	stream->state = CONNECTING;
	timer_set(stream->timer, share_of_time(stream));
	int code = uv_tcp_connect(&socket->connect, &socket->tcp, address->ai_addr, on_connected);
	if (code < 0 && stream->next)
		try_next(stream);
	else if (code < 0)
		fail_uv(stream, code);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct lookup *lookup = request->data;
	struct stream *stream = lookup->stream;

	free(lookup);
	if (!stream) {
		uv_freeaddrinfo(found);
		return;
	}
	stream->lookup = NULL;
	stream->found = stream->next = found;
	if (status < 0)
		fail_uv(stream, status);
	else
		try_next(stream);
}

static void on_timer(void *arg)
{
	struct stream *stream = arg;

	if (stream->state == CONNECTING && stream->next)
		try_next(stream);
	else if (stream->state == FINISHING)
		fail(stream, HR_NONE, "closed; the peer has not ended its side");
	else if (stream->state == CLOSING)
		fail(stream, HR_RETRY, "the peer does not read what is left to write");
	else
		fail(stream, HR_RETRY,
		     stream->state == HANDSHAKING ? "no TLS handshake in time"
						  : "no answer in time");
}

static void begin(void *arg)
{
	struct stream *stream = arg;
	struct hr_err err;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	scoped_str port = str_format("%u", stream->port);

	if (stream->cancelled)
		return;
	if (stream->want_tls) {
		if (tls_client_new(stream->host, stream->ca_file, &stream->tls, &err) != HR_OK) {
			fail(stream, err.status, err.text);
			return;
		}
		stream->plain = mem_alloc(RECORD_BYTES);
	}
	timer_set(stream->timer, stream->deadline);
	stream->lookup = mem_new(struct lookup);
	stream->lookup->stream = stream;
	stream->lookup->request.data = stream->lookup;
	int code = uv_getaddrinfo(loop_uv(stream->loop), &stream->lookup->request, on_resolved,
				  stream->host, port, &hints);
	if (code < 0) {
		free(give(stream->lookup));
		fail_uv(stream, code);
	}
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
	loop_later(loop, begin, stream);
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
	loop_cancel(stream->loop, begin, stream);
	loop_cancel(stream->loop, pump, stream);
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
		loop_later(stream->loop, flush, stream);
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
		loop_later(stream->loop, pump, stream);
	start_reading(stream);
}

void stream_shutdown(struct stream *stream)
{
	if (stream->state > OPEN || stream->cancelled)
		return;
	if (stream->state < OPEN) {
		stream->cancelled = true;
		loop_later(stream->loop, flush, stream);
		return;
	}
	if (stream->paused)
		start_reading(stream);
	begin_closing(stream);
}
