/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link_socket.h"

#include "federation/frame.h"
#include "federation/link_poll.h"

#include <errno.h>
#include <zmq.h>

enum { MESSAGES_A_TURN = 256, RECEIVE_QUEUE = 1000, ENDPOINT_MAX = 1024 };

struct link_socket {
	struct loop *loop;
	struct link_socket_events events;
	void *ctx;
	bool listener;
	void *data, *monitor; /* owned, of ZeroMQ; NULL: freed, waits for the end of the turn */
	struct link_poll *data_poll, *monitor_poll;
	char *endpoint; /* owned */
};

static void set_int(void *socket, int option, int value)
{
	if (zmq_setsockopt(socket, option, &value, sizeof value) != 0)
		abort(); /* an option that this ZeroMQ does not have */
}

static bool set_key(void *socket, int option, const char *key)
{
	return strlen(key) == LINK_KEY_LEN &&
	       zmq_setsockopt(socket, option, key, LINK_KEY_LEN + 1) == 0;
}

static enum hr_status set_keys(void *socket, const struct link_socket_options *options,
			       struct hr_err *err)
{
	char public_key[LINK_KEY_LEN + 1];

	if (strlen(options->secret_key) != LINK_KEY_LEN ||
	    zmq_curve_public(public_key, options->secret_key) != 0)
		return err_set(err, HR_FAIL, "the secret key is not %d characters of Z85",
			       LINK_KEY_LEN);
	if (!set_key(socket, ZMQ_CURVE_SECRETKEY, options->secret_key) ||
	    !set_key(socket, ZMQ_CURVE_PUBLICKEY, public_key))
		return err_set(err, HR_FAIL, "the secret key is refused: %s", zmq_strerror(errno));
	if (options->peer_key && !set_key(socket, ZMQ_CURVE_SERVERKEY, options->peer_key))
		return err_set(err, HR_FAIL, "the peer's key is not %d characters of Z85",
			       LINK_KEY_LEN);
	return HR_OK;
}

static void set_options(void *socket, const struct link_socket_options *options)
{
	set_int(socket, ZMQ_LINGER, LINK_LINGER_MS);
	set_int(socket, ZMQ_SNDHWM, 0);
	set_int(socket, ZMQ_RCVHWM, RECEIVE_QUEUE); /* past it TCP pushes back on that peer alone */
	set_int(socket, ZMQ_HANDSHAKE_IVL, (int)options->patience);
	/* A listener on an IPv4 address is one for IPv4, and shows it so. */
	set_int(socket, ZMQ_IPV6,
		options->peer_key || strpbrk(options->endpoint, "[*") == options->endpoint + 6);
	int64_t largest = FRAME_BYTES_MAX;
	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) != 0)
		abort();
	if (options->peer_key) {
		set_int(socket, ZMQ_RECONNECT_IVL, -1);
		set_int(socket, ZMQ_CONNECT_TIMEOUT, (int)options->patience);
	} else {
		set_int(socket, ZMQ_CURVE_SERVER, 1);
		set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
		if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "hedgerow", 8) != 0)
			abort();
	}
}

/* True: one part is in *part. False: there is none now. */
static bool receive(void *socket, zmq_msg_t *part)
{
	int rc;

	do
		rc = zmq_msg_recv(part, socket, ZMQ_DONTWAIT);
	while (rc < 0 && errno == EINTR);
	return rc >= 0;
}

static struct slice slice_of(zmq_msg_t *part)
{
	return (struct slice){ zmq_msg_data(part), zmq_msg_size(part) };
}

/* False: nothing has come. */
static bool receive_message(struct link_socket *socket)
{
	struct link_message message = { 0 };
	zmq_msg_t route, body, rest;
	bool got;

	zmq_msg_init(&route);
	zmq_msg_init(&body);
	zmq_msg_init(&rest);
	got = (!socket->listener || receive(socket->data, &route)) && receive(socket->data, &body);
	if (got) {
		message.route = slice_of(&route);
		message.bytes = slice_of(&body);
		if (socket->listener)
			message.key = zmq_msg_gets(&body, "User-Id");
		for (zmq_msg_t *last = &body; zmq_msg_more(last); last = &rest) {
			message.bytes = (struct slice){ "", 0 };
			if (!receive(socket->data, &rest))
				break;
		}
		socket->events.received(socket->ctx, &message);
	}
	zmq_msg_close(&route);
	zmq_msg_close(&body);
	zmq_msg_close(&rest);
	return got;
}

static void drain(void *arg)
{
	struct link_socket *socket = arg;

	for (int i = 0; i < MESSAGES_A_TURN; i++)
		if (!socket->data || !receive_message(socket))
			return;
	if (socket->data)
		link_poll_again(socket->data_poll);
}

/* What the monitor says and what it means; other events mean nothing to us. */
static const struct {
	int event;
	bool listener;
	enum link_socket_change change;
	const char *why;
} meanings[] = {
	{ ZMQ_EVENT_HANDSHAKE_SUCCEEDED, false, LINK_SOCKET_CONNECTED, "" },
	{ ZMQ_EVENT_CLOSED, false, LINK_SOCKET_LOST, "no connection" },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, false, LINK_SOCKET_LOST, "the peer refuses our key" },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, false, LINK_SOCKET_LOST,
	  "no CURVE handshake with the peer" },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, false, LINK_SOCKET_LOST,
	  "the handshake failed: the peer has another key, or went" },
	{ ZMQ_EVENT_DISCONNECTED, false, LINK_SOCKET_LOST, "disconnected" },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, true, LINK_SOCKET_REFUSED, "no CURVE handshake" },
	{ ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, true, LINK_SOCKET_REFUSED,
	  "the handshake was not finished" },
};

static void on_event(struct link_socket *socket, int event)
{
	for (size_t i = 0; i < countof(meanings); i++)
		if (meanings[i].event == event && meanings[i].listener == socket->listener)
			socket->events.changed(socket->ctx, meanings[i].change, meanings[i].why);
}

/* Two parts: the event as 16 bits and a value of 32, then the endpoint. */
static void drain_monitor(void *arg)
{
	struct link_socket *socket = arg;
	zmq_msg_t part;

	zmq_msg_init(&part);
	while (socket->monitor && receive(socket->monitor, &part)) {
		uint16_t event = 0;
		if (zmq_msg_more(&part) && zmq_msg_size(&part) >= sizeof event)
			memcpy(&event, zmq_msg_data(&part), sizeof event);
		if (event)
			on_event(socket, event);
	}
	zmq_msg_close(&part);
}

static enum hr_status watch_socket(struct link_socket *socket, void *context, struct hr_err *err)
{
	scoped_str name = str_format("inproc://monitor-%p", (void *)socket);
	int events = 0;

	for (size_t i = 0; i < countof(meanings); i++)
		events |= meanings[i].event;
	socket->monitor = zmq_socket(context, ZMQ_PAIR);
	if (!socket->monitor || zmq_socket_monitor(socket->data, name, events) != 0 ||
	    zmq_connect(socket->monitor, name) != 0)
		return err_set(err, HR_RETRY, "the monitor of a socket: %s", zmq_strerror(errno));
	socket->data_poll = link_poll_new(socket->loop, socket->data, drain, socket);
	socket->monitor_poll = link_poll_new(socket->loop, socket->monitor, drain_monitor, socket);
	return HR_OK;
}

static enum hr_status open_socket(struct link_socket *socket, const char *endpoint,
				  struct hr_err *err)
{
	char text[ENDPOINT_MAX];
	size_t size = sizeof text;

	if (socket->listener && zmq_bind(socket->data, endpoint) != 0)
		return err_set(err, errno == EINVAL ? HR_FAIL : HR_RETRY, "listen on %s: %s",
			       endpoint, zmq_strerror(errno));
	if (!socket->listener && zmq_connect(socket->data, endpoint) != 0)
		return err_set(err, HR_FAIL, "%s: %s", endpoint, zmq_strerror(errno));
	if (zmq_getsockopt(socket->data, ZMQ_LAST_ENDPOINT, text, &size) != 0)
		return err_set(err, HR_FAIL, "%s: %s", endpoint, zmq_strerror(errno));
	socket->endpoint = str_dup(socket->listener ? text : endpoint);
	return HR_OK;
}

enum hr_status link_socket_new(struct loop *loop, const struct link_socket_options *options,
			       const struct link_socket_events *events, void *ctx,
			       struct link_socket **out, struct hr_err *err)
{
	scoped(link_socket) socket = mem_new(struct link_socket);

	socket->loop = loop;
	socket->events = *events;
	socket->ctx = ctx;
	socket->listener = !options->peer_key;
	socket->data = zmq_socket(options->context, socket->listener ? ZMQ_ROUTER : ZMQ_DEALER);
	if (!socket->data)
		return err_set(err, HR_RETRY, "a ZeroMQ socket: %s", zmq_strerror(errno));
	set_options(socket->data, options);
	if (set_keys(socket->data, options, err) != HR_OK)
		return err->status;
	if (watch_socket(socket, options->context, err) != HR_OK)
		return err->status;
	if (open_socket(socket, options->endpoint, err) != HR_OK)
		return err->status;
	*out = give(socket);
	return HR_OK;
}

static void destroy(void *arg)
{
	struct link_socket *socket = arg;

	free(socket->endpoint);
	free(socket);
}

/* ZeroMQ's part goes at once, so that its context can end; ours may be on the stack. */
void link_socket_free(struct link_socket *socket)
{
	if (!socket)
		return;
	link_poll_free(give(socket->data_poll));
	link_poll_free(give(socket->monitor_poll));
	if (socket->data) {
		zmq_socket_monitor(socket->data, NULL, 0);
		zmq_close(give(socket->data));
	}
	if (socket->monitor)
		zmq_close(give(socket->monitor));
	loop_park(socket->loop, socket, destroy);
}

bool link_socket_send(struct link_socket *socket, struct slice route, struct slice bytes)
{
	bool sent = true;

	if (!socket->data)
		return false;
	if (socket->listener)
		sent = zmq_send(socket->data, route.data, route.len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >=
		       0;
	sent = sent && zmq_send(socket->data, bytes.data, bytes.len, ZMQ_DONTWAIT) >= 0;
	link_poll_again(socket->data_poll);
	return sent;
}

void link_socket_read(struct link_socket *socket)
{
	drain(socket);
}

const char *link_socket_endpoint(const struct link_socket *socket)
{
	return socket->endpoint;
}
