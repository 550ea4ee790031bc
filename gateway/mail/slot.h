/* SPDX-License-Identifier: Apache-2.0 */
/* Mails on their way out, in the order of the queue that they come from: which messages are in
 * each, how far each is, what became of it. Pure; gateway/mail/relay.h does what it says. */
#pragma once

#include "federation/envelope.h"

enum {
	SLOT_MESSAGES_MAX = 100,
	SLOT_BYTES_MAX = ENVELOPE_PAYLOAD_MAX, /* of payloads, unless it is one message */
	SLOTS_MAX = 64,
};

enum slot_state {
	SLOT_WAITS, /* for its turn, or for people */
	SLOT_ASKS,  /* the conversation is being looked up */
	SLOT_FLIES, /* the smarthost has it */
	SLOT_DONE,
	SLOT_LEAVES, /* what became of it is being committed */
};

enum slot_end {
	SLOT_TAKEN,  /* the queue may move past it */
	SLOT_BOUNCE, /* back to the sender */
	SLOT_DEFER,  /* not before `not_before` */
	SLOT_MOVE,   /* to where its recipient is now */
};

struct slot {
	struct slot *next;
	void *owner;				      /* who made it */
	int64_t first, last;			      /* seqs in the queue */
	struct envelope *messages[SLOT_MESSAGES_MAX]; /* references */
	size_t count;
	enum slot_state state;
	enum slot_end end;
	enum bounce bounce;
	char *reason;	/* owned: of a bounce */
	int64_t thread; /* the conversation, once known */
	usec not_before;
	bool holds_all; /* SLOT_DEFER: whatever is for that recipient, not of that sender alone */
	bool is_digest_closed; /* takes no more messages */
	bool was_cut;	       /* the smarthost ended the session on it */
	void *submission;
};

struct slots {
	struct slot *first, **last;
	size_t count;
};

/* Adds the message of that seq, which follows the last: to the last slot, if that still waits and
 * is of the same sender and recipient and the same kind (a copy, an error), else to a new one.
 * False: no room. */
bool slots_add(struct slots *slots, int64_t seq, struct envelope *envelope, void *owner);
/* Whether a slot before it for the same recipient is not done, or is deferred and holds it: once
 * that is committed and the slot gone, the table `deferred` holds it (schema/mail.h,
 * mail_send_answer). */
bool slots_is_blocked(const struct slots *slots, const struct slot *slot);
/* The messages from the `count`th on become a slot of their own, right after it. */
void slots_split(struct slots *slots, struct slot *slot, size_t count);
/* Whether the first message has expired; those from the first on of which that is not as true
 * become a slot of their own. */
bool slots_split_expired(struct slots *slots, struct slot *slot, usec now);
void slots_drop(struct slots *slots, struct slot *slot); /* freed */
void slots_clear(struct slots *slots);

void slot_taken(struct slot *slot);
void slot_bounce(struct slot *slot, enum bounce bounce, const char *reason); /* copied */
void slot_defer(struct slot *slot, usec not_before);
void slot_move(struct slot *slot);
bool slot_is_copy(const struct slot *slot);	      /* of what its recipient has in the chat */
struct slice slot_recipient(const struct slot *slot); /* bare */
struct slice slot_sender(const struct slot *slot);    /* bare */
