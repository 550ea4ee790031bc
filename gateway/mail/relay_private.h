/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of the relay share: relay.c follows the queue, relay_send.c makes and sends
 * the mail of one slot. */
#pragma once

#include "gateway/mail/relay.h"
#include "gateway/mail/slot.h"

struct relay {
	struct edge edge; /* the first: see gateway/edge.h */
	struct loop *loop;
	struct relay_options options;
	uint64_t serial;
	char *domain;
	struct journal_target *target;
	struct slots slots;
	size_t flying;
	struct timer *timer;
	msec pause; /* length of the last one; 0 after a mail was taken */
	msec pause_until;
	char *trouble; /* owned: why it pauses; NULL: it doesn't */
	bool is_draining;
};

/* relay.c */
void relay_look(struct relay *relay);			/* at the queue, later in this turn */
void relay_pause(struct relay *relay, const char *why); /* no mail can be sent now */
void relay_works(struct relay *relay);			/* one could be */
const struct config_mail *relay_settings(const struct relay *relay); /* NULL: not any more */
/* The end of a slot. */
void relay_defer(struct slot *slot, usec not_before, const char *why);
void relay_suppress(struct slot *slot, const char *why);
/* Back to the sender; a copy goes in silence. */
void relay_bounce(struct slot *slot, enum bounce how, const char *why);
/* Which slot of which relay asked for something: either may be gone when the answer comes. */
struct relay_asking {
	const struct dispatch *dispatch;
	uint64_t serial;
	int64_t first;
};
/* The slot that asked, if it still waits for that in `state`; NULL: gone. */
struct slot *relay_find(const struct relay_asking *asking, enum slot_state state);

/* relay_send.c: the first steps of a slot that waits; the others follow by themselves. */
void relay_start(struct relay *relay, struct slot *slot, const struct config_mail *mail);
