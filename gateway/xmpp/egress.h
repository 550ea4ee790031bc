/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out of a journal queue onto a stream, in order, each handed over again until a barrier
 * after it has been answered: at least once, with the same stanza id.
 *
 * A stream that the server ends while messages are unacknowledged may have met one that is poison
 * to it. When it says so in an error, or ends twice without a word and none more acknowledged,
 * they go one at a time, each with a barrier, and the one that the stream breaks on again and
 * again, alone, is buried.
 *
 * Pure: the queue is given to each call, the outside is reached through egress_ops. */
#pragma once

#include "federation/queue.h"

enum {
	EGRESS_WAITING_MAX = 8 * 1024 * 1024, /* bytes that the kernel has not taken */
	EGRESS_BARRIERS_MAX = 4,	      /* under way at once; a later one covers more */
	/* Past either, a barrier, and nothing more before it: the server shows its progress in
	 * steps that a slow one manages in time. */
	EGRESS_STEP_MESSAGES = 512,
	EGRESS_STEP_BYTES = 256 * 1024,
	EGRESS_DEATHS_MAX = 3
};

struct egress_ops {
	/* HR_OK: the recipient is served here, *native is valid for the call. HR_NONE: not, or no
	 * longer. HR_RETRY: people are being asked for; pump again when they have arrived. */
	enum hr_status (*find)(void *ctx, const struct envelope *envelope, const char **native);
	/* XML to be added to one that is handed over now; "": none. */
	const char *(*more)(void *ctx, const struct envelope *envelope);
	/* The first envelope of the queue leaves it another way. HR_OK: it is gone from the queue.
	 * HR_RETRY: not now. */
	enum hr_status (*reroute)(void *ctx, int64_t seq, struct envelope *envelope);
	enum hr_status (*bury)(void *ctx, int64_t seq, struct envelope *envelope,
			       const char *reason);
	void (*write)(void *ctx, struct slice bytes);
	size_t (*waiting)(void *ctx); /* bytes written that the kernel has not taken */
	void (*barrier)(void *ctx, int64_t seq);
	size_t (*barriers)(void *ctx); /* under way */
};

struct egress;
struct egress *egress_new(const char *domain, const struct egress_ops *ops, void *ctx);
void egress_free(struct egress *egress); /* NULL is fine */
DEFINE_SCOPED(egress)

/* While the stream is up: hands over what may go now, then a barrier. Returns how many went. */
size_t egress_pump(struct egress *egress, struct queue *queue);
/* While it is not: only what can't go here at all, or no longer, leaves another way. */
void egress_divert(struct egress *egress, struct queue *queue);
/* Only the barrier, where one is due: what is handed over is all that shall be. */
void egress_guard(struct egress *egress, const struct queue *queue);
/* The stream, which was up, is gone: `reason` is NULL when what was sent is not to blame for it;
 * `is_certain` when the server says that it is. Everything unacknowledged is to be handed over
 * again. */
void egress_down(struct egress *egress, struct queue *queue, const char *reason, bool is_certain);
