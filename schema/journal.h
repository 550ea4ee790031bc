/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's queries. See schema/sql for the functions and the invariants that they keep. */
#pragma once

#include "base/pg.h"

struct journal_row_in { /* one envelope to append */
	size_t queue;	/* index into journal_batch.queues */
	struct slice sender, recipient, packed;
	usec expires; /* 0: never */
};

struct journal_queue_in {
	int64_t id;
	int64_t acked; /* new position, or -1: unchanged */
	bool offer;    /* everything in it, this batch's rows too, may be handed over from now on */
	bool wake; /* owned by another gateway: notify it (channel hedgerow_queue, payload the id)
		    */
};

struct journal_origin_in { /* resume position of a site link reached with this batch */
	struct slice site;
	int64_t from, to; /* was `from`, becomes `to`; a different `from` fails the whole batch */
};

struct journal_later_in { /* one envelope for the table deferred */
	int64_t queue;
	usec not_before;
	struct slice id, sender, recipient, awaits, packed; /* awaits.data NULL: no receipt */
	bool asked, whole;
	usec expires;
};

struct journal_cancel_in {			/* a receipt came */
	struct slice recipient, sender, awaits; /* awaits len 0: for all that waits */
};

struct journal_batch {
	struct slice node;
	int64_t number; /* grows by one each batch of a node: a repeat is recognised and does
			   nothing */
	const struct journal_queue_in *queues; /* ascending by id, each once */
	size_t queue_count;
	const struct journal_row_in *rows; /* in order */
	size_t row_count;
	const struct journal_origin_in *origins;
	size_t origin_count;
	const struct journal_later_in *later;
	size_t later_count;
	const struct journal_cancel_in *cancels;
	size_t cancel_count;
};

/* HR_OK: first[i] is the seq of the first row appended to queue i (0: none appended);
 * first NULL: the batch had been committed before (a repeat after HR_UNSURE). */
typedef void journal_commit_fn(void *arg, enum hr_status status, const int64_t *first,
			       const struct hr_err *err);
void journal_commit(struct pg *pg, const struct journal_batch *batch, journal_commit_fn *fn,
		    void *arg);

/* Opens (makes, if new) the queue of that name. */
struct journal_queue_state {
	int64_t id, head, acked, offered;
	struct slice incarnation; /* UUID text; changes only when the queue is made anew */
};
typedef void journal_open_fn(void *arg, enum hr_status status,
			     const struct journal_queue_state *state, const struct hr_err *err);
void journal_open_queue(struct pg *pg, struct slice name, journal_open_fn *fn, void *arg);

/* Rows after `after`, at most `limit` rows and about 4 MiB; called for each, then once with
 * packed.data NULL. */
typedef void journal_read_fn(void *arg, enum hr_status status, int64_t seq, struct slice packed,
			     const struct hr_err *err);
void journal_read(struct pg *pg, int64_t queue, int64_t after, int32_t limit, journal_read_fn *fn,
		  void *arg);

/* The resume position of what `site` sends us from its queue `incarnation`: 0 when new. A new
 * incarnation starts at 0 and forgets the old one. */
typedef void journal_position_fn(void *arg, enum hr_status status, int64_t position,
				 const struct hr_err *err);
void journal_position(struct pg *pg, struct slice site, struct slice incarnation,
		      journal_position_fn *fn, void *arg);

/* Takes the session advisory lock `name` (a node, a link, an installation). HR_OK taken (or held
 * by this session already), HR_NONE: somebody else has it. Released with the connection. */
typedef void journal_lease_fn(void *arg, enum hr_status status, const struct hr_err *err);
void journal_lease(struct pg *pg, struct slice name, journal_lease_fn *fn, void *arg);

/* Gives it back, however often it was taken. */
void journal_end_lease(struct pg *pg, struct slice name, journal_lease_fn *fn, void *arg);

/* Queues in which something waits, up to `upto`, for a destination that this site no longer has:
 * called for each, then once with queue.data NULL. */
typedef void journal_leftovers_fn(void *arg, enum hr_status status, struct slice queue,
				  int64_t upto, const struct hr_err *err);
void journal_leftovers(struct pg *pg, journal_leftovers_fn *fn, void *arg);

/* Registers this node and returns the number of its last committed batch. */
typedef void journal_node_fn(void *arg, enum hr_status status, int64_t last_batch,
			     const struct hr_err *err);
void journal_node(struct pg *pg, struct slice node, journal_node_fn *fn, void *arg);

/* An envelope that a destination would not take after bounded tries. */
void journal_dead_letter(struct pg *pg, int64_t queue, int64_t seq, struct slice packed,
			 const char *reason, journal_lease_fn *fn, void *arg);

/* What is deferred and due is appended; its queues are notified. By each gateway, every second. */
void journal_due(struct pg *pg, journal_lease_fn *fn, void *arg);

/* Receipts that this site asked for and waits for: called for each, then once with recipient.data
 * NULL. */
typedef void journal_asked_fn(void *arg, enum hr_status status, struct slice recipient,
			      struct slice sender, struct slice awaits, const struct hr_err *err);
void journal_asked(struct pg *pg, journal_asked_fn *fn, void *arg);

/* Rotates and drops partitions; called every minute by each gateway, does nothing when not due. */
void journal_maintain(struct pg *pg, journal_lease_fn *fn, void *arg);
