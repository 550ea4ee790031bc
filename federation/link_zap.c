/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link_zap.h"

#include "federation/link_poll.h"
#include "federation/link_socket.h"

#include <errno.h>
#include <zmq.h>

/* The parts of a question. */
enum {
	PART_VERSION,
	PART_REQUEST,
	PART_DOMAIN,
	PART_ADDRESS,
	PART_ROUTE,
	PART_MECHANISM,
	PART_KEY,
	PARTS
};
enum { KEY_BYTES = 32 };

struct link_zap {
	void *socket; /* owned, of ZeroMQ */
	struct link_poll *poll;
	link_zap_fn *may;
	void *ctx;
};

static struct slice slice_of(zmq_msg_t *part)
{
	return (struct slice){ zmq_msg_data(part), zmq_msg_size(part) };
}

/* Writes the key in Z85 when it may connect. */
static bool is_welcome(struct link_zap *zap, zmq_msg_t parts[PARTS], size_t n,
		       char key[LINK_KEY_LEN + 1])
{
	if (n != PARTS || !slice_is(slice_of(&parts[PART_VERSION]), "1.0") ||
	    !slice_is(slice_of(&parts[PART_MECHANISM]), "CURVE") ||
	    zmq_msg_size(&parts[PART_KEY]) != KEY_BYTES ||
	    !zmq_z85_encode(key, zmq_msg_data(&parts[PART_KEY]), KEY_BYTES))
		return false;
	scoped_str address =
		mem_dup(zmq_msg_data(&parts[PART_ADDRESS]), zmq_msg_size(&parts[PART_ADDRESS]));
	return zap->may(zap->ctx, key, address);
}

static void answer(struct link_zap *zap, struct slice request, bool yes, const char *key)
{
	struct slice parts[] = {
		slice_lit("1.0"),
		request,
		slice_str(yes ? "200" : "400"),
		slice_str(yes ? "OK" : "unknown key"),
		slice_str(yes ? key : ""),
		slice_lit(""), /* metadata */
	};

	for (size_t i = 0; i < countof(parts); i++)
		zmq_send(zap->socket, parts[i].data, parts[i].len,
			 i + 1 < countof(parts) ? ZMQ_SNDMORE : 0);
	link_poll_again(zap->poll);
}

/* False: no question waits. */
static bool receive(struct link_zap *zap)
{
	zmq_msg_t parts[PARTS];
	size_t n = 0;
	bool more = true;

	for (size_t i = 0; i < PARTS; i++)
		zmq_msg_init(&parts[i]);
	for (; more; n++) {
		zmq_msg_t *part = &parts[n < PARTS ? n : PARTS - 1];
		if (zmq_msg_recv(part, zap->socket, ZMQ_DONTWAIT) < 0)
			break;
		more = zmq_msg_more(part);
	}
	if (n > 0) {
		char key[LINK_KEY_LEN + 1] = "";
		bool yes = is_welcome(zap, parts, n, key);
		answer(zap, slice_of(&parts[PART_REQUEST]), yes, key);
	}
	for (size_t i = 0; i < PARTS; i++)
		zmq_msg_close(&parts[i]);
	return n > 0;
}

static void drain(void *arg)
{
	struct link_zap *zap = arg;

	while (receive(zap))
		;
}

enum hr_status link_zap_new(struct loop *loop, void *context, link_zap_fn *may, void *ctx,
			    struct link_zap **out, struct hr_err *err)
{
	scoped(link_zap) zap = mem_new(struct link_zap);
	int linger = 0;

	zap->may = may;
	zap->ctx = ctx;
	zap->socket = zmq_socket(context, ZMQ_REP);
	if (!zap->socket || zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
	    zmq_bind(zap->socket, "inproc://zeromq.zap.01") != 0)
		return err_set(err, HR_FAIL, "answer for ZAP: %s", zmq_strerror(errno));
	zap->poll = link_poll_new(loop, zap->socket, drain, zap);
	*out = give(zap);
	return HR_OK;
}

void link_zap_free(struct link_zap *zap)
{
	if (!zap)
		return;
	link_poll_free(zap->poll);
	if (zap->socket)
		zmq_close(zap->socket);
	free(zap);
}
