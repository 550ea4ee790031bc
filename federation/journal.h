/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as a gateway uses it: appends and acknowledgements of every source collect while one
 * commit is under way and go with the next (group commit). Everything handed over in one turn is
 * committed together or not at all; a commit whose outcome is unknown is repeated under the same
 * number until it is known. */
#pragma once

#include "base/loop.h"
#include "base/pg.h"
#include "federation/envelope.h"
#include "federation/queue.h"

struct journal;
struct journal_target; /* a queue by name, on this gateway */

struct journal_events {
	/* A resume position of `site` is committed: tell it. */
	void (*position)(void *ctx, const char *site, int64_t seq);
	/* The journal takes appends again (after pressure or an outage), or no longer does. */
	void (*flowing)(void *ctx, bool yes);
	/* An invariant broke (another process commits under our name): the process must end. */
	void (*fatal)(void *ctx, const struct hr_err *err);
};

struct journal *journal_new(struct loop *loop, struct pg *pg, const char *node,
			    const struct journal_events *events, void *ctx);
void journal_free(struct journal *journal);
DEFINE_SCOPED(journal)
void journal_up(struct journal *journal);   /* forwarded from pg_events */
void journal_down(struct journal *journal);
void journal_woken(struct journal *journal, const char *payload); /* channel hedgerow_queue */

/* The queue of that name, opened in the background; one object per name, owned by the journal. */
struct journal_target *journal_target(struct journal *journal, const char *name);
const char *journal_target_name(const struct journal_target *target);
/* Becomes its consumer (this gateway holds the lease of the destination): the queue is loaded and
 * kept in memory, and `ready` is called at the end of a turn in which there is something new.
 * journal_release: another may have it; what is in memory goes. */
void journal_consume(struct journal_target *target, loop_fn *ready, void *arg);
void journal_release(struct journal_target *target);
/* NULL until it is loaded, and when this gateway does not consume it. */
struct queue *journal_queue(struct journal_target *target);
const char *journal_incarnation(const struct journal_target *target); /* NULL until opened */

/* False: no appends now (database away, or too much uncommitted): sources stop reading. */
bool journal_is_flowing(const struct journal *journal);

/* Appends one envelope (a reference is taken) to `target`; NULL target: nothing is stored, only
 * the position moves. origin NULL: not from a link. Always taken, and committed sooner or
 * later while the process lives; journal_is_flowing tells when to stop bringing more. */
void journal_append(struct journal *journal, struct journal_target *target,
		    struct envelope *envelope, const char *origin, int64_t origin_seq);
/* The destination accepted up to seq (queue_ack is done here), or they are given up (queue_skip):
 * committed with the next batch. False as queue_ack. */
bool journal_ack(struct journal_target *target, int64_t seq);
void journal_skip(struct journal_target *target, int64_t seq);
/* Starts to count what `site` sends from `incarnation`; position is what is committed. Must be
 * called (after journal_position of schema/) before an append names that origin. */
void journal_origin(struct journal *journal, const char *site, int64_t position);
bool journal_is_idle(const struct journal *journal); /* nothing uncommitted: used to drain */
