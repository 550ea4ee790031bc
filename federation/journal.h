/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as a gateway uses it: what every source brings and what every destination accepted
 * collects while one commit is under way and goes with the next (group commit). A commit whose
 * outcome is unknown is repeated under the same number until it is known, so nothing is stored
 * twice and nothing that was taken is lost while the process lives. */
#pragma once

#include "base/loop.h"
#include "base/metric.h"
#include "base/pg.h"
#include "federation/envelope.h"
#include "federation/queue.h"

struct journal;
struct journal_target; /* a queue by name, on this gateway */

enum journal_metric {
	JOURNAL_COMMITS,
	JOURNAL_APPENDED,
	JOURNAL_REPEATED,
	JOURNAL_LOADED,
	JOURNAL_WAITING,
	JOURNAL_METRICS
};
extern struct metric journal_metrics[JOURNAL_METRICS];

struct journal_events {
	/* Connected, alone under our node's name: leases can be taken, queues are open. */
	void (*ready)(void *ctx);
	/* A resume position of `site` is committed: tell it. */
	void (*position)(void *ctx, const char *site, int64_t seq);
	/* The journal takes entries again (after pressure or an outage), or no longer does. */
	void (*flowing)(void *ctx, bool yes);
	/* An invariant broke (another process commits under our name, the schema is not ours): the
	 * process must end and start again from what is committed. */
	void (*fatal)(void *ctx, const struct hr_err *err);
};

/* `pg` is borrowed and used by the journal alone, leases apart. */
struct journal *journal_new(struct loop *loop, struct pg *pg, const char *node,
			    const struct journal_events *events, void *ctx);
void journal_free(struct journal *journal);
DEFINE_SCOPED(journal)
void journal_up(struct journal *journal); /* forwarded from pg_events */
void journal_down(struct journal *journal);
/* Wake-ups may have been missed (the LISTEN connection was away): looks at every queue. */
void journal_look(struct journal *journal);
void journal_woken(struct journal *journal, const char *payload); /* channel hedgerow_queue */

/* The queue of that name, opened in the background; one object per name, owned by the journal. */
struct journal_target *journal_target(struct journal *journal, const char *name);
const char *journal_target_name(const struct journal_target *target);
int64_t journal_target_id(const struct journal_target *target); /* 0 until open */
/* for (size_t at = 0; (target = journal_next_target(journal, &at));) */
struct journal_target *journal_next_target(const struct journal *journal, size_t *at);

/* Becomes its consumer (this gateway holds the lease of the destination): the queue is loaded and
 * kept in memory, and `ready` is called when there is something new to send. journal_release:
 * another may have it; what is in memory goes. */
void journal_consume(struct journal_target *target, loop_fn *ready, void *arg);
void journal_release(struct journal_target *target);
/* NULL until it is open, and when this gateway does not consume it. */
struct queue *journal_queue(struct journal_target *target);
const char *journal_incarnation(const struct journal_target *target); /* NULL until open */
/* While `yes`, queue_peek gives only what is committed as offered, and what comes is offered with
 * the commit that brings it. So whoever consumes the queue after this gateway knows what may have
 * arrived (queue_handed). For a destination that must not get anything twice. */
void journal_offer(struct journal_target *target, bool yes);
/* The destination accepted up to seq: committed with the next batch. False: it was never handed
 * over, or is accepted already; nothing has changed. */
bool journal_ack(struct journal_target *target, int64_t seq);

/* False: no entries now (database away, or too much uncommitted): sources stop reading. */
bool journal_is_flowing(const struct journal *journal);
/* Nothing uncommitted: used to drain. */
bool journal_is_idle(const struct journal *journal);

/* One thing to commit; its parts are committed together. Any part may be absent. */
struct journal_later {
	struct journal_target *target; /* append `envelope` to this queue, but later; NULL: no */
	usec not_before;
	bool awaits; /* ... unless a receipt for its stanza id has come by then */
	bool asked;  /* and it is us who asked for that receipt */
	bool whole;  /* it holds all that comes for its recipient meanwhile, not its sender's alone
		      */
};
struct journal_entry {
	struct journal_target *target; /* append `envelope` (a reference is taken) to this queue */
	struct envelope *envelope;
	const char *origin; /* it came from this site's link as origin_seq */
	int64_t origin_seq;
	struct journal_target *skip; /* give up everything in this queue up to skip_seq */
	int64_t skip_seq;
	struct journal_later later;
	struct envelope *receipt; /* from the recipient (a reference is taken): what was deferred */
	char *receipt_of;	  /* until it came goes; the stanza id (taken); "": all of them */
	loop_fn *done; /* called with `arg` once all of it is committed; NULL: nobody asks */
	void *arg;
};
/* Always taken; journal_is_flowing tells when to stop bringing more. */
void journal_put(struct journal *journal, const struct journal_entry *entry);

/* Where counting starts for what `site` sends: `position` is committed. Before its first entry. */
void journal_origin(struct journal *journal, const char *site, int64_t position);
