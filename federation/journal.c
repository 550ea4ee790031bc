/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/journal.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "schema/journal.h"

#include <inttypes.h>

enum {
	BATCH_ROWS = 2048,
	BATCH_BYTES = 4 * 1024 * 1024,
	WAITING_ROWS = 16 * 1024, /* uncommitted entries past which sources stop */
	WAITING_BYTES = 32 * 1024 * 1024,
	ACK_MS = 20, /* how long acknowledgements alone wait for something to be committed with */
	AGAIN_MS = 250, /* before a commit or a lease that was refused for now is tried again */
};

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
	int64_t skipped;	 /* given up to here by an entry, committed or not */
	int64_t skips;		 /* given up by the batch being built; 0: nothing */
	size_t batch_at;	 /* index into the batch being built, + 1 */
	struct reading *reading; /* the answer being waited for, or NULL */
	bool opening, due;
	unsigned consumed; /* counts the times it was consumed: an answer of before is stale */
};

struct origin {
	char *site;
	int64_t committed; /* or in the batch under way */
	int64_t reached;   /* by the batch being built; 0: not in it */
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
	struct journal_entry *flight; /* entries of the batch under way, in order */
	size_t flight_count;
	struct journal_queue_in *queues; /* of that batch, ascending by id */
	struct journal_target **targets; /* beside queues */
	struct journal_row_in *rows;
	struct journal_origin_in *origins_in;
	struct journal_later_in *later;
	struct journal_cancel_in *cancels;
	size_t queue_count, row_count, origin_in_count, later_count, cancel_count, batch_size;
	struct map *by_name, *origins;
	struct timer *again, *ack_timer, *open_timer;
	msec ack_due; /* when acknowledgements alone are committed; 0: none wait */
};

struct metric journal_metrics[JOURNAL_METRICS] = {
	[JOURNAL_COMMITS] = { "journal_commits_total", "Batches committed", 0, false },
	[JOURNAL_APPENDED] = { "journal_appended_total", "Envelopes committed", 0, false },
	[JOURNAL_REPEATED] = { "journal_repeated_total",
			       "Batches sent again because their outcome was unknown", 0, false },
	[JOURNAL_LOADED] = { "journal_loaded_total", "Envelopes read back from the journal", 0,
			     false },
	[JOURNAL_WAITING] = { "journal_waiting", "Entries taken and not committed yet", 0, true },
};

static void flush(void *arg);

static void fatal(struct journal *journal, const struct hr_err *err)
{
	log_error("journal.fatal", LOG_STR("node", journal->node), LOG_ERR(err));
	journal->events->fatal(journal->ctx, err);
}

/* --- flow -------------------------------------------------------------------------------- */

static void update_flow(struct journal *journal)
{
	bool full =
		journal->waiting_count >= WAITING_ROWS || journal->waiting_bytes >= WAITING_BYTES;
	bool half_full = journal->waiting_count >= WAITING_ROWS / 2 ||
			 journal->waiting_bytes >= WAITING_BYTES / 2;
	bool flowing = journal->joined && (journal->flowing ? !full : !half_full);

	metric_set(&journal_metrics[JOURNAL_WAITING],
		   (int64_t)(journal->waiting_count + journal->flight_count));
	if (flowing == journal->flowing)
		return;
	journal->flowing = flowing;
	journal->events->flowing(journal->ctx, flowing);
}

bool journal_is_flowing(const struct journal *journal)
{
	return journal->flowing;
}

/* --- consumers: load what the queue has room for, say when there is something new ---------- */

static void run_ready(void *arg)
{
	struct journal_target *target = arg;

	target->due = false;
	if (target->ready && target->queue)
		target->ready(target->arg);
}

static void mark_ready(struct journal_target *target)
{
	if (!target->due && target->ready)
		loop_later(target->journal->loop, run_ready, target);
	target->due = target->ready != NULL;
}

/* Refused for now on a connection that lives (a full disk, a lock): journal_up will not come. */
static void open_again(struct journal *journal)
{
	timer_set(journal->open_timer, loop_now(journal->loop) + msec_jitter(AGAIN_MS));
}

struct reading {
	struct journal_target *target;
	unsigned consumed;
};

static void load_more(struct journal_target *target);

static void took_row(void *arg, enum hr_status status, int64_t seq, struct slice packed,
		     const struct hr_err *err)
{
	struct reading *reading = arg;
	struct journal_target *target = reading->target;
	bool current = reading->consumed == target->consumed && target->queue;
	scoped(envelope) envelope = NULL;
	struct hr_err why;

	if (packed.data) {
		if (!current)
			return;
		if (envelope_unpack(packed, &envelope, &why) != HR_OK) {
			err_add(&why, "journal queue %s seq %" PRId64, target->name, seq);
			fatal(target->journal, &why);
			return;
		}
		metric_add(&journal_metrics[JOURNAL_LOADED], 1);
		queue_load(target->queue, seq, envelope);
		return;
	}
	free(give(target->reading));
	if (status == HR_FAIL) {
		fatal(target->journal, err);
		return;
	}
	if (current)
		queue_load_end(target->queue);
	if (status != HR_OK)
		open_again(target->journal);
	if (!target->queue || status != HR_OK)
		return;
	mark_ready(target);
	load_more(target);
}

static void load_more(struct journal_target *target)
{
	int64_t after;
	int32_t limit;

	if (target->reading || !target->queue || !target->journal->joined ||
	    queue_wants(target->queue, &after, &limit) != HR_OK)
		return;

	struct reading *reading = mem_new(struct reading);
	*reading = (struct reading){ target, target->consumed };
	target->reading = reading;
	journal_read(target->journal->pg, target->id, after, limit, took_row, reading);
}

static void opened(void *arg, enum hr_status status, const struct journal_queue_state *state,
		   const struct hr_err *err)
{
	struct journal_target *target = arg;

	target->opening = false;
	if (status == HR_FAIL)
		fatal(target->journal, err);
	if (status != HR_OK) {
		open_again(target->journal);
		return;
	}
	target->id = state->id;
	free(target->incarnation);
	target->incarnation = mem_dup(state->incarnation.data, state->incarnation.len);
	if (target->ready && !target->queue) {
		target->queue =
			queue_new(state->head,
				  state->acked > target->skipped ? state->acked : target->skipped);
		target->acked = state->acked;
		mark_ready(target);
	} else if (target->queue) {
		queue_grew(target->queue, state->head);
	}
	load_more(target);
	loop_later(target->journal->loop, flush, target->journal);
}

static void open_queue(struct journal_target *target)
{
	if (target->opening || !target->journal->joined)
		return;
	target->opening = true;
	journal_open_queue(target->journal->pg, slice_str(target->name), opened, target);
}

/* Every queue is opened again, which also tells how far it has grown. */
static void open_all(void *arg)
{
	struct journal *journal = arg;
	struct journal_target *target;

	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (!target->id || target->queue)
			open_queue(target);
}

void journal_look(struct journal *journal)
{
	open_all(journal);
}

struct journal_target *journal_target(struct journal *journal, const char *name)
{
	struct journal_target *target = map_get(journal->by_name, slice_str(name));

	if (target)
		return target;
	target = mem_new(struct journal_target);
	target->journal = journal;
	target->name = str_dup(name);
	map_put(journal->by_name, slice_str(name), target);
	open_queue(target);
	return target;
}

const char *journal_target_name(const struct journal_target *target)
{
	return target->name;
}

int64_t journal_target_id(const struct journal_target *target)
{
	return target->id;
}

struct journal_target *journal_next_target(const struct journal *journal, size_t *at)
{
	struct slice name;
	void *target;

	return map_next(journal->by_name, at, &name, &target) ? target : NULL;
}

void journal_consume(struct journal_target *target, loop_fn *ready, void *arg)
{
	target->ready = ready;
	target->arg = arg;
	if (!target->queue)
		open_queue(target);
	else
		mark_ready(target);
}

void journal_release(struct journal_target *target)
{
	if (target->due)
		loop_cancel(target->journal->loop, run_ready, target);
	target->due = false;
	target->ready = NULL;
	target->consumed++;
	queue_free(give(target->queue));
}

struct queue *journal_queue(struct journal_target *target)
{
	return target->queue;
}

const char *journal_incarnation(const struct journal_target *target)
{
	return target->incarnation;
}

bool journal_ack(struct journal_target *target, int64_t seq)
{
	if (!target->queue || !queue_ack(target->queue, seq))
		return false;
	load_more(target);
	loop_later(target->journal->loop, flush, target->journal);
	return true;
}

void journal_woken(struct journal *journal, const char *payload)
{
	int64_t id = strtoll(payload, NULL, 10);
	struct journal_target *target;

	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (target->id == id && target->queue)
			open_queue(target); /* learns the head */
}

/* --- entries ------------------------------------------------------------------------------- */

static struct origin *origin_find(struct journal *journal, const char *site)
{
	return map_get(journal->origins, slice_str(site));
}

void journal_origin(struct journal *journal, const char *site, int64_t position)
{
	struct origin *origin = origin_find(journal, site);

	if (!origin) {
		origin = mem_new(struct origin);
		origin->site = str_dup(site);
		map_put(journal->origins, slice_str(site), origin);
	}
	origin->committed = position;
}

static size_t entry_bytes(const struct journal_entry *entry)
{
	return entry->envelope ? entry->envelope->packed.len : 0;
}

static void entry_clear(struct journal_entry *entry)
{
	envelope_free(entry->envelope);
	envelope_free(entry->receipt);
}

void journal_put(struct journal *journal, const struct journal_entry *entry)
{
	if (journal->waiting_count == journal->waiting_size) {
		journal->waiting_size = journal->waiting_size ? 2 * journal->waiting_size : 1024;
		journal->waiting =
			mem_resize(journal->waiting, journal->waiting_size, sizeof *entry);
	}
	struct journal_entry *kept = &journal->waiting[journal->waiting_count++];

	*kept = *entry;
	if (entry->envelope)
		envelope_ref(entry->envelope);
	if (entry->receipt)
		envelope_ref(entry->receipt);
	if (entry->origin) /* the caller's text may go; ours stays */
		kept->origin = origin_find(journal, entry->origin)->site;
	if (entry->skip) {
		entry->skip->skipped = entry->skip_seq;
		if (entry->skip->queue)
			queue_skip(entry->skip->queue, entry->skip_seq);
	}
	journal->waiting_bytes += entry_bytes(entry);
	journal->waiting_skips += entry->skip != NULL;
	update_flow(journal);
	loop_later(journal->loop, flush, journal);
}

bool journal_is_idle(const struct journal *journal)
{
	struct journal_target *target;

	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (target->queue && queue_acked(target->queue) != target->acked)
			return false;
	return journal->waiting_count == 0 && journal->flight_count == 0;
}

/* --- a batch ------------------------------------------------------------------------------- */

static void batch_reserve(struct journal *journal, size_t entries)
{
	size_t need = 2 * entries + map_count(journal->by_name) + map_count(journal->origins) + 1;

	if (need <= journal->batch_size)
		return;
	journal->batch_size = need;
	journal->flight = mem_resize(journal->flight, need, sizeof *journal->flight);
	journal->queues = mem_resize(journal->queues, need, sizeof *journal->queues);
	journal->targets = mem_resize(journal->targets, need, sizeof(struct journal_target *));
	journal->rows = mem_resize(journal->rows, need, sizeof *journal->rows);
	journal->origins_in = mem_resize(journal->origins_in, need, sizeof *journal->origins_in);
	journal->later = mem_resize(journal->later, need, sizeof *journal->later);
	journal->cancels = mem_resize(journal->cancels, need, sizeof *journal->cancels);
}

/* Moves to `flight` what goes into one batch: a prefix of what waits whose queues are open. */
static void choose_entries(struct journal *journal)
{
	size_t n = 0, bytes = 0;

	while (n < journal->waiting_count && n < BATCH_ROWS && bytes < BATCH_BYTES) {
		const struct journal_entry *entry = &journal->waiting[n];

		if ((entry->target && !entry->target->id) ||
		    (entry->later.target && !entry->later.target->id))
			break;
		bytes += entry_bytes(entry);
		journal->waiting_skips -= entry->skip != NULL;
		n++;
	}
	batch_reserve(journal, n);
	if (n > 0)
		memcpy(journal->flight, journal->waiting, n * sizeof *journal->flight);
	journal->flight_count = n;
	journal->waiting_count -= n;
	journal->waiting_bytes -= bytes;
	if (n > 0)
		memmove(journal->waiting, journal->waiting + n,
			journal->waiting_count * sizeof *journal->waiting);
}

static int by_id(const void *a, const void *b)
{
	int64_t x = (*(struct journal_target *const *)a)->id;
	int64_t y = (*(struct journal_target *const *)b)->id;

	return (x > y) - (x < y);
}

static void add_target(struct journal *journal, struct journal_target *target)
{
	if (target->batch_at)
		return;
	target->batch_at = 1;
	journal->targets[journal->queue_count++] = target;
}

/* How far `target` may be acknowledged in this batch: not past what a waiting entry gives up,
 * since what that entry appends must be committed with it. */
static int64_t ack_limit(const struct journal *journal, const struct journal_target *target)
{
	for (size_t i = 0; journal->waiting_skips && i < journal->waiting_count; i++)
		if (journal->waiting[i].skip == target)
			return journal->waiting[i].skip_seq - 1;
	return INT64_MAX;
}

static void choose_queues(struct journal *journal)
{
	struct journal_target *target;

	journal->queue_count = 0;
	for (size_t i = 0; i < journal->flight_count; i++) {
		const struct journal_entry *entry = &journal->flight[i];

		if (entry->target)
			add_target(journal, entry->target);
		if (entry->skip) {
			add_target(journal, entry->skip);
			entry->skip->skips = entry->skip_seq;
		}
	}
	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (target->queue && queue_acked(target->queue) > target->acked)
			add_target(journal, target);
	qsort(journal->targets, journal->queue_count, sizeof(struct journal_target *), by_id);

	for (size_t i = 0; i < journal->queue_count; i++) {
		target = journal->targets[i];
		target->batch_at = i + 1;
		int64_t acked = target->queue ? queue_acked(target->queue) : 0;
		int64_t limit = ack_limit(journal, target);

		acked = acked < limit ? acked : limit;
		acked = acked > target->skips ? acked : target->skips;
		target->skips = 0;
		journal->queues[i] = (struct journal_queue_in){
			.id = target->id,
			.acked = acked > target->acked ? acked : -1,
			.wake = target->queue == NULL,
		};
	}
}

static void add_later(struct journal *journal, const struct journal_entry *entry)
{
	const struct envelope_fields *f = &entry->envelope->f;

	journal->later[journal->later_count++] = (struct journal_later_in){
		.queue = entry->later.target->id,
		.not_before = entry->later.not_before,
		.id = f->id,
		.sender = address_text_bare(f->from),
		.recipient = address_text_bare(f->to),
		.awaits = entry->later.awaits ? f->stanza_id : (struct slice){ 0 },
		.asked = entry->later.asked,
		.expires = f->expires,
		.packed = entry->envelope->packed,
	};
}

static void add_cancel(struct journal *journal, const struct journal_entry *entry)
{
	journal->cancels[journal->cancel_count++] = (struct journal_cancel_in){
		.recipient = address_text_bare(entry->receipt->f.from),
		.sender = address_text_bare(entry->receipt->f.to),
		.awaits = entry->receipt_of,
	};
}

static void add_rows(struct journal *journal)
{
	journal->row_count = journal->origin_in_count = 0;
	journal->later_count = journal->cancel_count = 0;
	for (size_t i = 0; i < journal->flight_count; i++) {
		const struct journal_entry *entry = &journal->flight[i];

		if (entry->target)
			journal->rows[journal->row_count++] = (struct journal_row_in){
				.queue = entry->target->batch_at - 1,
				.sender = entry->envelope->f.from,
				.recipient = entry->envelope->f.to,
				.packed = entry->envelope->packed,
				.expires = entry->envelope->f.expires,
			};
		if (entry->later.target)
			add_later(journal, entry);
		if (entry->receipt)
			add_cancel(journal, entry);
		if (entry->origin) {
			struct origin *origin = origin_find(journal, entry->origin);

			if (!origin->reached)
				journal->origins_in[journal->origin_in_count++] =
					(struct journal_origin_in){ .site = slice_str(origin->site),
								    .from = origin->committed };
			origin->reached = entry->origin_seq;
		}
	}
	for (size_t i = 0; i < journal->queue_count; i++)
		journal->targets[i]->batch_at = 0;
	for (size_t i = 0; i < journal->origin_in_count; i++) {
		struct origin *origin = map_get(journal->origins, journal->origins_in[i].site);

		journal->origins_in[i].to = origin->committed = origin->reached;
		origin->reached = 0;
	}
}

static void committed(void *arg, enum hr_status status, const int64_t *first,
		      const struct hr_err *err);

static void send_batch(struct journal *journal)
{
	journal->state = COMMITTING;
	journal_commit(journal->pg,
		       &(struct journal_batch){
			       .node = slice_str(journal->node),
			       .number = journal->number,
			       .queues = journal->queues,
			       .queue_count = journal->queue_count,
			       .rows = journal->rows,
			       .row_count = journal->row_count,
			       .origins = journal->origins_in,
			       .origin_count = journal->origin_in_count,
			       .later = journal->later,
			       .later_count = journal->later_count,
			       .cancels = journal->cancels,
			       .cancel_count = journal->cancel_count,
		       },
		       committed, journal);
}

static bool has_batch(const struct journal *journal)
{
	return journal->queue_count || journal->flight_count;
}

/* A batch of acknowledgements alone is worth a little wait: most leave with the next messages, and
 * one that is lost in a crash only makes the destination see what it has seen. */
static bool acks_can_wait(struct journal *journal)
{
	msec now = loop_now(journal->loop);

	if (journal->flight_count || !journal->queue_count ||
	    (journal->ack_due && journal->ack_due <= now)) {
		journal->ack_due = 0;
		return false;
	}
	if (!journal->ack_due) {
		journal->ack_due = now + ACK_MS;
		timer_set(journal->ack_timer, journal->ack_due);
	}
	for (size_t i = 0; i < journal->queue_count; i++)
		journal->targets[i]->batch_at = 0;
	journal->queue_count = 0;
	return true;
}

static void end_flight(struct journal *journal)
{
	for (size_t i = 0; i < journal->flight_count; i++) {
		struct journal_entry *entry = &journal->flight[i];

		entry_clear(entry);
		if (entry->done)
			entry->done(entry->arg);
	}
	journal->flight_count = 0;
}

static void flush(void *arg)
{
	struct journal *journal = arg;

	if (journal->state != ALONE)
		return;
	choose_entries(journal);
	choose_queues(journal);
	if (acks_can_wait(journal))
		return;
	add_rows(journal);
	if (!journal->queue_count && !journal->origin_in_count && !journal->later_count &&
	    !journal->cancel_count) {
		end_flight(journal); /* nothing to store in any of them */
		return;
	}
	journal->number++;
	send_batch(journal);
	update_flow(journal);
}

/* Hands what was committed to the queues; `first` are the seqs given, by queue. */
static void deliver(struct journal *journal, const int64_t *first)
{
	size_t row = 0;
	int64_t *next = mem_dup(first, journal->queue_count * sizeof *first);

	for (size_t i = 0; i < journal->flight_count; i++) {
		struct journal_entry *entry = &journal->flight[i];

		if (!entry->target)
			continue;
		struct queue *queue = entry->target->queue;
		int64_t seq = next[journal->rows[row++].queue]++;

		if (queue) {
			queue_committed(queue, seq, entry->envelope);
			mark_ready(entry->target);
		}
	}
	metric_add(&journal_metrics[JOURNAL_APPENDED], (int64_t)row);
	free(next);
}

static void finish_batch(struct journal *journal, const int64_t *first)
{
	if (first)
		deliver(journal, first);
	for (size_t i = 0; i < journal->queue_count; i++) {
		struct journal_target *target = journal->targets[i];

		if (journal->queues[i].acked > target->acked)
			target->acked = journal->queues[i].acked;
		if (!first && target->queue)
			open_queue(target); /* the seqs are in the journal: read from there */
		else
			load_more(target);
	}
	end_flight(journal);

	size_t origins = journal->origin_in_count;
	journal->queue_count = journal->origin_in_count = 0;
	journal->state = ALONE;
	metric_add(&journal_metrics[JOURNAL_COMMITS], 1);
	for (size_t i = 0; i < origins; i++) {
		const struct journal_origin_in *in = &journal->origins_in[i];
		const struct origin *origin = map_get(journal->origins, in->site);

		journal->events->position(journal->ctx, origin->site, in->to);
	}
	update_flow(journal);
	loop_later(journal->loop, flush, journal);
}

static void committed(void *arg, enum hr_status status, const int64_t *first,
		      const struct hr_err *err)
{
	struct journal *journal = arg;

	switch (status) {
	case HR_OK:
		finish_batch(journal, first);
		return;
	case HR_FAIL:
		fatal(journal, err);
		return;
	case HR_RETRY:
	case HR_UNSURE:
	case HR_NONE:
		log_warn("journal.unsure", LOG_STR("node", journal->node),
			 LOG_INT("batch", journal->number), LOG_ERR(err));
		metric_add(&journal_metrics[JOURNAL_REPEATED], 1);
		journal->state = AWAY;
		if (pg_is_up(journal->pg)) /* refused for now; otherwise journal_up begins again */
			timer_set(journal->again, loop_now(journal->loop) + msec_jitter(AGAIN_MS));
		return;
	}
}

/* --- joining: alone under our name, the last batch known ------------------------------------ */

static void join(struct journal *journal);

static void joined(void *arg, enum hr_status status, int64_t last_batch, const struct hr_err *err)
{
	struct journal *journal = arg;
	struct journal_target *target;
	struct hr_err why;

	if (status == HR_FAIL)
		fatal(journal, err);
	if (status != HR_OK) {
		if (status == HR_RETRY && pg_is_up(journal->pg))
			timer_set(journal->again, loop_now(journal->loop) + msec_jitter(AGAIN_MS));
		return;
	}
	if (journal->number && last_batch > journal->number) {
		err_set(&why, HR_FAIL,
			"node %s: batch %" PRId64
			" was committed by somebody else, ours is %" PRId64,
			journal->node, last_batch, journal->number);
		fatal(journal, &why);
		return;
	}
	if (!has_batch(journal))
		journal->number = last_batch;
	journal->joined = true;
	journal->state = ALONE;
	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		open_queue(target);
	if (has_batch(journal))
		send_batch(journal);
	journal->events->ready(journal->ctx);
	update_flow(journal);
	loop_later(journal->loop, flush, journal);
}

static void leased(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct journal *journal = arg;

	if (status == HR_OK) {
		journal_node(journal->pg, slice_str(journal->node), joined, journal);
		return;
	}
	if (status == HR_FAIL) {
		fatal(journal, err);
		return;
	}
	if (status == HR_NONE)
		log_warn("journal.waiting", LOG_STR("node", journal->node),
			 LOG_STR("error", "another gateway runs under this node name"));
	if (pg_is_up(journal->pg))
		timer_set(journal->again, loop_now(journal->loop) + msec_jitter(AGAIN_MS));
}

static void join(struct journal *journal)
{
	scoped_str lease = str_format("node:%s", journal->node);

	journal->state = JOINING;
	journal_lease(journal->pg, slice_str(lease), leased, journal);
}

static void try_again(void *arg)
{
	struct journal *journal = arg;

	if (pg_is_up(journal->pg))
		join(journal);
}

void journal_up(struct journal *journal)
{
	join(journal);
}

void journal_down(struct journal *journal)
{
	timer_set(journal->again, 0);
	timer_set(journal->open_timer, 0);
	journal->state = AWAY;
	journal->joined = false;
	update_flow(journal);
}

/* --- life ------------------------------------------------------------------------------------ */

struct journal *journal_new(struct loop *loop, struct pg *pg, const char *node,
			    const struct journal_events *events, void *ctx)
{
	struct journal *journal = mem_new(struct journal);

	journal->loop = loop;
	journal->pg = pg;
	journal->node = str_dup(node);
	journal->events = events;
	journal->ctx = ctx;
	journal->by_name = map_new();
	journal->origins = map_new();
	journal->again = timer_new(loop, try_again, journal);
	journal->ack_timer = timer_new(loop, flush, journal);
	journal->open_timer = timer_new(loop, open_all, journal);
	return journal;
}

static void target_free(struct journal_target *target)
{
	loop_cancel(target->journal->loop, run_ready, target);
	queue_free(target->queue);
	free(target->reading);
	free(target->incarnation);
	free(target->name);
	free(target);
}

void journal_free(struct journal *journal)
{
	struct slice key;
	void *value;

	if (!journal)
		return;
	loop_cancel(journal->loop, flush, journal);
	for (size_t i = 0; i < journal->waiting_count; i++)
		entry_clear(&journal->waiting[i]);
	for (size_t i = 0; i < journal->flight_count; i++)
		entry_clear(&journal->flight[i]);
	for (size_t at = 0; map_next(journal->by_name, &at, &key, &value);)
		target_free(value);
	for (size_t at = 0; map_next(journal->origins, &at, &key, &value);) {
		struct origin *origin = value;

		free(origin->site);
		free(origin);
	}
	map_free(journal->by_name);
	map_free(journal->origins);
	timer_free(journal->again);
	timer_free(journal->ack_timer);
	timer_free(journal->open_timer);
	free(journal->waiting);
	free(journal->flight);
	free(journal->queues);
	free(journal->targets);
	free(journal->rows);
	free(journal->origins_in);
	free(journal->later);
	free(journal->cancels);
	free(journal->node);
	free(journal);
}
