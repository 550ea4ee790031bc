/* SPDX-License-Identifier: Apache-2.0 */
/* What two sites say to each other over a link (federation/wire.proto): Hello and Resume, batches
 * from a journal queue with credit, direct traffic, heartbeats. Pure: it gets decoded frames,
 * events and the time, and gives frames to its owner; no sockets, clock or SQL.
 *
 * One object per peer, for as long as the peer is configured. It is down, or has one connection,
 * and each connection is one session: a frame that breaks the rules ends it, loudly. What was
 * handed over (session_events.envelope) is remembered from one session to the next, so that it is
 * not handed over again before it is committed.
 *
 * Everything that leaves does so in session_flush, in this order: control, batches, direct; what
 * there is to say collects until then. Only Bye leaves at once. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "federation/frame.h"
#include "federation/queue.h"

enum {
	SESSION_VERSION = 1,
	SESSION_WINDOW = QUEUE_MEMORY_MAX,	/* envelopes unacknowledged */
	SESSION_HELD_MAX = 2 * QUEUE_BYTES_MAX, /* bytes of a peer that are not committed */
	SESSION_BATCH_MAX = 512,		/* envelopes in a frame, */
	SESSION_BATCH_BYTES = 256 * 1024,	/* and bytes, the last envelope apart */
	SESSION_DIRECT_MAX = 4096,		/* direct envelopes that the peer has not taken, */
	SESSION_DIRECT_BYTES = 16 * 1024 * 1024 /* and their bytes */
};

struct session_options {
	const char *site, *node, *peer;
	msec heartbeat;
};

struct session_events {
	/* The queue to send from and its incarnation; NULL while it is not open. */
	struct queue *(*queue)(void *ctx);
	const char *(*incarnation)(void *ctx);
	/* The peer has committed everything up to seq. False: it can't have. */
	bool (*accepted)(void *ctx, int64_t seq);
	void (*offer)(void *ctx,
		      bool yes); /* as journal_offer: the queue is about to be sent from */
	void (*send)(void *ctx, const struct frame *frame); /* borrowed */
	void (*flush)(void *ctx); /* call session_flush at the end of the turn */
	/* Up: both may send. Not up: the session is over and the connection is to be closed; err
	 * says why, in words for an operator. Called also for a session that never was up. */
	void (*state)(void *ctx, bool up, const struct hr_err *err);
	void (*hello)(void *ctx, const char *incarnation);		     /* as links_events */
	void (*envelope)(void *ctx, int64_t seq, struct envelope *envelope); /* as links_events */
	void (*direct)(void *ctx, struct envelope *envelope);		     /* as links_events */
};

struct session;
struct session *session_new(const struct session_options *options, /* copied */
			    const struct session_events *events, void *ctx);
void session_free(struct session *session); /* says nothing; NULL is fine */
DEFINE_SCOPED(session)

/* A connection to the peer, whose key is proven, begins; the last one is over. `id` is random. */
void session_connected(struct session *session, uint64_t id, msec now);
void session_lost(struct session *session, const struct hr_err *why); /* the connection is gone */
void session_close(struct session *session, const char *reason);      /* says Bye first */
void session_frame(struct session *session, const struct frame *frame, msec now);
/* Something came that is no frame: ends the session, as a frame that breaks the rules does. */
void session_refuse(struct session *session, const struct hr_err *why);

void session_wake(struct session *session); /* the queue was opened, or has something new */
void session_resume(struct session *session, int64_t position); /* as link_resume */
void session_committed(struct session *session, int64_t seq);	/* as link_committed */
void session_flow(struct session *session, bool yes);		/* as links_flow */
HR_MUST_USE enum hr_status session_direct(struct session *session, struct envelope *envelope,
					  struct hr_err *err); /* as link_send_direct */

void session_flush(struct session *session, msec now);
/* When session_timeout is due; 0: never. */
msec session_deadline(const struct session *session);
void session_timeout(struct session *session, msec now);

bool session_is_up(const struct session *session);
bool session_is_down(const struct session *session);	      /* there is no connection */
const char *session_state(const struct session *session);     /* static text: "down", "met", ... */
const char *session_peer_node(const struct session *session); /* "" before its Hello */
