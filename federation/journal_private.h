/* SPDX-License-Identifier: Apache-2.0 */
/* What journal.c (entries, commits, being alone under a name), journal_target.c (queues and their
 * consumers) and journal_batch.c (what goes into one commit) share. For these three only. */
#pragma once

#include "base/map.h"
#include "federation/journal.h"
#include "schema/journal.h"

enum { JOURNAL_AGAIN_MS = 250 }; /* before what was refused for now is tried again */

/* A node is ALONE once it holds the lease of its name and knows its last batch. */
enum state { AWAY, JOINING, ALONE, COMMITTING, STATES };

struct journal_target {
	struct journal *journal;
	char *name;
	int64_t id; /* 0 until open */
	char *incarnation;
	struct queue *queue; /* while consumed and open */
	loop_fn *ready;	     /* while consumed */
	void *arg;
	int64_t acked;		 /* as committed */
	int64_t offered;	 /* as committed: up to here it may have been handed over */
	int64_t skipped;	 /* given up to here by an entry, committed or not */
	int64_t skips;		 /* given up by the batch being built; 0: nothing */
	size_t batch_at;	 /* index into the batch being built, + 1 */
	struct reading *reading; /* the answer being waited for, or NULL */
	bool opening, due, offering;
	unsigned consumed; /* counts the times it was consumed: an answer of before is stale */
};

struct origin {
	char *site;
	int64_t committed; /* or in the batch under way */
	int64_t reached;   /* by the batch being built; 0: not in it */
};

/* What goes into one commit; every array has room for `size`. */
struct batch {
	struct journal_entry *entries;	 /* in the order in which they were put */
	struct journal_queue_in *queues; /* ascending by id */
	struct journal_target **targets; /* beside queues */
	struct journal_row_in *rows;
	struct journal_origin_in *origins;
	struct journal_later_in *later;
	struct journal_cancel_in *cancels;
	size_t entry_count, queue_count, row_count, origin_count, later_count, cancel_count, size;
};

struct journal {
	struct loop *loop;
	struct pg *pg;
	char *node;
	const struct journal_events *events;
	void *ctx;
	enum state state;
	bool flowing, joined;
	int64_t number;		       /* of the last batch begun */
	struct journal_entry *waiting; /* entries not in a batch yet */
	size_t waiting_count, waiting_size, waiting_bytes, waiting_skips;
	struct batch batch; /* being built, or under way */
	struct map *by_name, *origins;
	struct timer *again, *ack_timer, *open_timer;
	struct hr_err unsure; /* why the batch under way was not committed, as it was logged */
	msec ack_due;	      /* when acknowledgements alone are committed; 0: none wait */
};

/* journal.c */
/* loop_fn: begins a commit, if there is something to store and none is under way. */
void journal_flush(void *journal);
void journal_fail(struct journal *journal, const struct hr_err *err); /* fatal: logs and tells */
size_t journal_entry_bytes(const struct journal_entry *entry);
void journal_entry_clear(struct journal_entry *entry); /* lets go of what it refers to */
struct origin *journal_find_origin(const struct journal *journal, const char *site);

/* journal_target.c */
void target_open(struct journal_target *target); /* in the background; tells its head, too */
void target_open_all(void *journal);		 /* loop_fn: those not open, and those consumed */
void target_load(struct journal_target *target); /* reads what its queue has room for */
void target_mark_ready(struct journal_target *target); /* `ready` is called in this turn */
/* There is something that may go once the journal says that it may have gone. */
bool target_is_to_offer(const struct journal_target *target);
void target_offered(struct journal_target *target); /* a commit said so of all that is known */
void target_free(struct journal_target *target);

/* journal_batch.c */
void batch_choose(struct journal *journal); /* entries and acknowledgements for the next commit */
bool batch_is_urgent(const struct batch *batch); /* more than acknowledgements was chosen */
void batch_leave_acks(struct batch *batch);	 /* acknowledgements alone were chosen: not now */
void batch_fill(struct journal *journal);	 /* makes rows of what was chosen */
bool batch_has_rows(const struct batch *batch);	 /* something to store */
void batch_send(struct journal *journal, journal_commit_fn *fn);
/* Hands what was committed to the queues; `first` are the seqs given, by queue. */
void batch_deliver(struct batch *batch, const int64_t *first);
void batch_end(struct batch *batch); /* lets the entries go, and tells who asked */
void batch_free(struct batch *batch);
