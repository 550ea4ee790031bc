/* SPDX-License-Identifier: Apache-2.0 */
/* The two ZeroMQ sockets of site links, both with CURVE and nothing else: the listener (ROUTER)
 * and one dial (DEALER), which connects once and never again. Sizes: no message is larger than a
 * frame; what waits to leave is bounded by the credit of the session above. */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/slice.h"

enum { LINK_KEY_LEN = 40, LINK_LINGER_MS = 250 };

struct link_message {
	struct slice route; /* listener: which connection; an opaque name to send by */
	struct slice bytes; /* no bytes when it had several parts */
	const char *key;    /* listener: the CURVE key that was proven, Z85; NULL on a dial */
};

enum link_socket_change {
	LINK_SOCKET_CONNECTED, /* dial: the peer has proven its key and accepted ours */
	LINK_SOCKET_LOST,      /* dial: refused or disconnected; the owner frees it */
	LINK_SOCKET_REFUSED    /* listener: somebody did not get through the handshake */
};

struct link_socket_events {
	void (*received)(void *ctx, const struct link_message *message); /* borrowed */
	void (*changed)(void *ctx, enum link_socket_change change,
			const char *why); /* static text */
};

struct link_socket_options {
	void *context;		/* of ZeroMQ */
	const char *endpoint;	/* tcp://address:port */
	const char *secret_key; /* ours, Z85 */
	const char *peer_key;	/* dial: the peer's public key, Z85; NULL: this is the listener */
	msec patience;		/* for the handshake */
};

struct link_socket;
/* Binds, or begins to connect. HR_FAIL: the endpoint or a key is not one; HR_RETRY: the address
 * can't be bound now. */
HR_MUST_USE enum hr_status link_socket_new(struct loop *loop,
					   const struct link_socket_options *options,
					   const struct link_socket_events *events, void *ctx,
					   struct link_socket **out, struct hr_err *err);
/* What was sent still leaves, for LINK_LINGER_MS. Allowed inside events; NULL is fine. */
void link_socket_free(struct link_socket *socket);
DEFINE_SCOPED(link_socket)

/* Copies. `route` is for the listener only. False: that connection is gone. */
bool link_socket_send(struct link_socket *socket, struct slice route, struct slice bytes);
void link_socket_read(
	struct link_socket *socket); /* takes in what has come, before the loop says so */
const char *link_socket_endpoint(const struct link_socket *socket); /* as bound or dialled */
