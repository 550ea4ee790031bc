/* SPDX-License-Identifier: Apache-2.0 */
/* What session.c (the states, and what comes) and session_say.c (what leaves, and when) share. For
 * these two only. */
#pragma once

#include "federation/session.h"
#include "federation/session_direct.h"
#include "federation/session_inbox.h"

/* In the order in which a session comes up; session.c has the table. */
enum state { STALE, DOWN, OPENING, CALLING, CALLED, MET, TOLD, HEARD, UP, STATES };

struct session {
	char *site, *node, *peer; /* owned */
	msec heartbeat;
	struct session_events events;
	void *ctx;
	enum state state;

	/* This connection. */
	uint64_t id, peer_id; /* peer_id 0: no Hello yet */
	char *peer_node;      /* owned; NULL: no Hello yet */
	unsigned owed;	      /* a bit for each frame_kind that the next flush says */
	uint64_t token;	      /* for the Pong that is owed */
	msec began, said, heard;
	int64_t strays;

	/* What we send, in seqs of our queue. */
	char *offered;		/* owned; its incarnation as our Hello said */
	int64_t next;		/* what the peer expects */
	int64_t peer_committed; /* by the peer */
	uint32_t credit;	/* envelopes past that which the peer allows */

	/* What we receive, in seqs of the peer's queue. It outlives the connection. */
	char *incarnation; /* owned; of that queue; NULL: never heard of one */
	struct inbox *inbox;
	bool flowing;

	struct direct *direct;
	int64_t direct_taken; /* from the peer */
};

/* The next flush says a frame of that kind. */
void session_owe(struct session *session, enum frame_kind kind);
/* Is over, for a reason that the peer hears too. */
void session_end(struct session *session, const struct hr_err *why);
/* The first state in which both sides may send frames of that kind. */
enum state session_state_for(enum frame_kind kind);
