/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stream_private.h"

enum { KEEPALIVE_S = 30 };

static void try_next(struct stream *stream);

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
		socket->room = mem_alloc(STREAM_READ_BYTES);
		status = stream_start_reading(stream);
	}
	if (status < 0) {
		stream_fail_uv(stream, status);
		return;
	}
	uv_freeaddrinfo(give(stream->found));
	stream->state = HANDSHAKING;
	timer_set(stream->timer, stream->deadline);
	if (!stream->tls)
		stream_become_open(stream);
	else
		stream_pump(stream);
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

	stream_drop_socket(stream);
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
		stream_fail_uv(stream, code);
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
		stream_fail_uv(stream, status);
	else
		try_next(stream);
}

void stream_dial(void *arg)
{
	struct stream *stream = arg;
	struct hr_err err;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	scoped_str port = str_format("%u", stream->port);

	if (stream->cancelled)
		return;
	if (stream->want_tls) {
		if (tls_client_new(stream->host, stream->ca_file, &stream->tls, &err) != HR_OK) {
			stream_fail(stream, err.status, err.text);
			return;
		}
		stream->plain = mem_alloc(STREAM_RECORD_BYTES);
	}
	timer_set(stream->timer, stream->deadline);
	stream->lookup = mem_new(struct lookup);
	stream->lookup->stream = stream;
	stream->lookup->request.data = stream->lookup;
	int code = uv_getaddrinfo(loop_uv(stream->loop), &stream->lookup->request, on_resolved,
				  stream->host, port, &hints);
	if (code < 0) {
		free(give(stream->lookup));
		stream_fail_uv(stream, code);
	}
}

bool stream_dial_next(struct stream *stream)
{
	if (!stream->next)
		return false;
	try_next(stream);
	return true;
}
