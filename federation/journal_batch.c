/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/journal_private.h"

#include "federation/address.h"

enum { BATCH_ROWS = 2048, BATCH_BYTES = 4 * 1024 * 1024 };

static void reserve(struct journal *journal, size_t entries)
{
	struct batch *batch = &journal->batch;
	size_t need = 2 * entries + map_count(journal->by_name) + map_count(journal->origins) + 1;

	if (need <= batch->size)
		return;
	batch->size = need;
	batch->entries = mem_resize(batch->entries, need, sizeof *batch->entries);
	batch->queues = mem_resize(batch->queues, need, sizeof *batch->queues);
	batch->targets = mem_resize(batch->targets, need, sizeof(struct journal_target *));
	batch->rows = mem_resize(batch->rows, need, sizeof *batch->rows);
	batch->origins = mem_resize(batch->origins, need, sizeof *batch->origins);
	batch->later = mem_resize(batch->later, need, sizeof *batch->later);
	batch->cancels = mem_resize(batch->cancels, need, sizeof *batch->cancels);
}

/* Moves to `entries` what goes into one batch: a prefix of what waits whose queues are open. */
static void choose_entries(struct journal *journal)
{
	struct batch *batch = &journal->batch;
	size_t n = 0, bytes = 0;

	while (n < journal->waiting_count && n < BATCH_ROWS && bytes < BATCH_BYTES) {
		const struct journal_entry *entry = &journal->waiting[n];

		if ((entry->target && !entry->target->id) ||
		    (entry->later.target && !entry->later.target->id))
			break;
		bytes += journal_entry_bytes(entry);
		journal->waiting_skips -= entry->skip != NULL;
		n++;
	}
	reserve(journal, n);
	if (n > 0)
		memcpy(batch->entries, journal->waiting, n * sizeof *batch->entries);
	batch->entry_count = n;
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

static void add_target(struct batch *batch, struct journal_target *target)
{
	if (target->batch_at)
		return;
	target->batch_at = 1;
	batch->targets[batch->queue_count++] = target;
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

static void choose_targets(struct journal *journal)
{
	struct batch *batch = &journal->batch;
	struct journal_target *target;

	batch->queue_count = 0;
	for (size_t i = 0; i < batch->entry_count; i++) {
		const struct journal_entry *entry = &batch->entries[i];

		if (entry->target)
			add_target(batch, entry->target);
		if (entry->skip) {
			add_target(batch, entry->skip);
			entry->skip->skips = entry->skip_seq;
		}
	}
	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if ((target->queue && queue_acked(target->queue) > target->acked) ||
		    target_is_to_offer(target))
			add_target(batch, target);
	qsort(batch->targets, batch->queue_count, sizeof(struct journal_target *), by_id);
}

void batch_choose(struct journal *journal)
{
	struct batch *batch = &journal->batch;

	choose_entries(journal);
	choose_targets(journal);
	for (size_t i = 0; i < batch->queue_count; i++) {
		struct journal_target *target = batch->targets[i];
		target->batch_at = i + 1;
		int64_t acked = target->queue ? queue_acked(target->queue) : 0;
		int64_t limit = ack_limit(journal, target);

		acked = acked < limit ? acked : limit;
		acked = acked > target->skips ? acked : target->skips;
		target->skips = 0;
		batch->queues[i] = (struct journal_queue_in){
			.id = target->id,
			.acked = acked > target->acked ? acked : -1,
			.wake = target->queue == NULL,
			.offer = target->offering,
		};
	}
}

static void add_later(struct batch *batch, const struct journal_entry *entry)
{
	const struct envelope_fields *f = &entry->envelope->f;

	batch->later[batch->later_count++] = (struct journal_later_in){
		.queue = entry->later.target->id,
		.not_before = entry->later.not_before,
		.id = f->id,
		.sender = address_text_bare(f->from),
		.recipient = address_text_bare(f->to),
		.awaits = entry->later.awaits ? f->stanza_id : (struct slice){ 0 },
		.asked = entry->later.asked,
		.whole = entry->later.whole,
		.expires = f->expires,
		.packed = entry->envelope->packed,
	};
}

static void add_cancel(struct batch *batch, const struct journal_entry *entry)
{
	batch->cancels[batch->cancel_count++] = (struct journal_cancel_in){
		.recipient = address_text_bare(entry->receipt->f.from),
		.sender = address_text_bare(entry->receipt->f.to),
		.awaits = slice_str(entry->receipt_of),
	};
}

static void add_row(struct batch *batch, const struct journal_entry *entry)
{
	const struct envelope_fields *f = &entry->envelope->f;

	batch->rows[batch->row_count++] = (struct journal_row_in){
		.queue = entry->target->batch_at - 1,
		.sender = f->from,
		.recipient = f->to,
		.packed = entry->envelope->packed,
		.expires = f->expires,
	};
}

static void add_origin(struct journal *journal, const struct journal_entry *entry)
{
	struct origin *origin = journal_find_origin(journal, entry->origin);
	struct batch *batch = &journal->batch;

	if (!origin->reached)
		batch->origins[batch->origin_count++] = (struct journal_origin_in){
			.site = slice_str(origin->site),
			.from = origin->committed,
		};
	origin->reached = entry->origin_seq;
}

/* Forgets who is in the batch as which: the marks are for the time of building only. */
static void unmark(struct batch *batch)
{
	for (size_t i = 0; i < batch->queue_count; i++)
		batch->targets[i]->batch_at = 0;
}

bool batch_is_urgent(const struct batch *batch)
{
	if (batch->entry_count)
		return true;
	for (size_t i = 0; i < batch->queue_count; i++)
		if (target_is_to_offer(batch->targets[i]))
			return true;
	return false;
}

void batch_leave_acks(struct batch *batch)
{
	unmark(batch);
	batch->queue_count = 0;
}

void batch_fill(struct journal *journal)
{
	struct batch *batch = &journal->batch;

	batch->row_count = batch->origin_count = 0;
	batch->later_count = batch->cancel_count = 0;
	for (size_t i = 0; i < batch->entry_count; i++) {
		const struct journal_entry *entry = &batch->entries[i];

		if (entry->target)
			add_row(batch, entry);
		if (entry->later.target)
			add_later(batch, entry);
		if (entry->receipt)
			add_cancel(batch, entry);
		if (entry->origin)
			add_origin(journal, entry);
	}
	unmark(batch);
	for (size_t i = 0; i < batch->origin_count; i++) {
		struct origin *origin = map_get(journal->origins, batch->origins[i].site);

		batch->origins[i].to = origin->committed = origin->reached;
		origin->reached = 0;
	}
}

bool batch_has_rows(const struct batch *batch)
{
	return batch->queue_count || batch->origin_count || batch->later_count ||
	       batch->cancel_count;
}

void batch_send(struct journal *journal, journal_commit_fn *fn)
{
	const struct batch *batch = &journal->batch;

	journal_commit(journal->pg,
		       &(struct journal_batch){
			       .node = slice_str(journal->node),
			       .number = journal->number,
			       .queues = batch->queues,
			       .queue_count = batch->queue_count,
			       .rows = batch->rows,
			       .row_count = batch->row_count,
			       .origins = batch->origins,
			       .origin_count = batch->origin_count,
			       .later = batch->later,
			       .later_count = batch->later_count,
			       .cancels = batch->cancels,
			       .cancel_count = batch->cancel_count,
		       },
		       fn, journal);
}

void batch_deliver(struct batch *batch, const int64_t *first)
{
	size_t row = 0;
	int64_t *next = mem_dup(first, batch->queue_count * sizeof *first);

	for (size_t i = 0; i < batch->entry_count; i++) {
		struct journal_entry *entry = &batch->entries[i];

		if (!entry->target)
			continue;
		struct queue *queue = entry->target->queue;
		int64_t seq = next[batch->rows[row++].queue]++;

		if (queue) {
			queue_committed(queue, seq, entry->envelope);
			target_mark_ready(entry->target);
		}
	}
	metric_add(&journal_metrics[JOURNAL_APPENDED], (int64_t)row);
	free(next);
}

void batch_end(struct batch *batch)
{
	for (size_t i = 0; i < batch->entry_count; i++) {
		struct journal_entry *entry = &batch->entries[i];

		journal_entry_clear(entry);
		if (entry->done)
			entry->done(entry->arg);
	}
	batch->entry_count = 0;
}

void batch_free(struct batch *batch)
{
	for (size_t i = 0; i < batch->entry_count; i++)
		journal_entry_clear(&batch->entries[i]);
	free(batch->entries);
	free(batch->queues);
	free(batch->targets);
	free(batch->rows);
	free(batch->origins);
	free(batch->later);
	free(batch->cancels);
}
