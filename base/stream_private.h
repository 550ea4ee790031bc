/* SPDX-License-Identifier: Apache-2.0 */
/* What stream.c (reading, and its owner), stream_dial.c (from a name to a connection) and
 * stream_write.c (what leaves, and the end of it) share. For these three only.
 * libuv's requests outlive the stream that made them: each lookup, socket and write is a block of
 * its own that frees itself in its last callback, and forgets its stream when that goes first. */
#pragma once

#include "base/buf.h"
#include "base/stream.h"
#include "base/tls.h"

enum {
	STREAM_READ_BYTES = 64 << 10,
	STREAM_RECORD_BYTES = 16 << 10, /* the most that a TLS record holds */
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
	char *room;	       /* STREAM_READ_BYTES, for what is read */
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
	char *plain;	 /* STREAM_RECORD_BYTES, for what is decrypted; NULL: plain */
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

/* stream.c */
/* Reports `closed`, once; nothing of the stream is under way any more. */
void stream_fail(struct stream *stream, enum hr_status status, const char *why);
void stream_fail_uv(struct stream *stream, int code); /* HR_RETRY */
void stream_drop_socket(struct stream *stream);
void stream_become_open(struct stream *stream);
void stream_pump(void *stream); /* loop_fn: works off what has been fed to TLS */
int stream_start_reading(struct stream *stream);

/* stream_dial.c */
void stream_dial(void *stream);		      /* loop_fn */
bool stream_dial_next(struct stream *stream); /* the next address, if there is one */

/* stream_write.c */
void stream_flush(void *stream); /* loop_fn: writes what can leave; closes what must */
