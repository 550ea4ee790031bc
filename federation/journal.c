/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/journal_private.h"

#include "base/log.h"

#include <inttypes.h>

enum {
	WAITING_ROWS = 16 * 1024, /* uncommitted entries past which sources stop */
	WAITING_BYTES = 32 * 1024 * 1024,
	ACK_MS = 20, /* how long acknowledgements alone wait for something to be committed with */
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

void journal_fail(struct journal *journal, const struct hr_err *err)
{
	log_error("journal.fatal", LOG_STR("node", journal->node), LOG_ERR(err));
	journal->events->fatal(journal->ctx, err);
}

static void update_flow(struct journal *journal)
{
	bool full =
		journal->waiting_count >= WAITING_ROWS || journal->waiting_bytes >= WAITING_BYTES;
	bool half_full = journal->waiting_count >= WAITING_ROWS / 2 ||
			 journal->waiting_bytes >= WAITING_BYTES / 2;
	bool flowing = journal->joined && (journal->flowing ? !full : !half_full);

	metric_set(&journal_metrics[JOURNAL_WAITING],
		   (int64_t)(journal->waiting_count + journal->batch.entry_count));
	if (flowing == journal->flowing)
		return;
	journal->flowing = flowing;
	journal->events->flowing(journal->ctx, flowing);
}

bool journal_is_flowing(const struct journal *journal)
{
	return journal->flowing;
}

/* --- entries ------------------------------------------------------------------------------- */

struct origin *journal_find_origin(const struct journal *journal, const char *site)
{
	return map_get(journal->origins, slice_str(site));
}

void journal_origin(struct journal *journal, const char *site, int64_t position)
{
	struct origin *origin = journal_find_origin(journal, site);

	if (!origin) {
		origin = mem_new(struct origin);
		origin->site = str_dup(site);
		map_put(journal->origins, slice_str(site), origin);
	}
	origin->committed = position;
}

size_t journal_entry_bytes(const struct journal_entry *entry)
{
	return entry->envelope ? entry->envelope->packed.len : 0;
}

void journal_entry_clear(struct journal_entry *entry)
{
	envelope_free(entry->envelope);
	envelope_free(entry->receipt);
	free(entry->receipt_of);
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
		kept->origin = journal_find_origin(journal, entry->origin)->site;
	if (entry->skip) {
		entry->skip->skipped = entry->skip_seq;
		if (entry->skip->queue)
			queue_skip(entry->skip->queue, entry->skip_seq);
	}
	journal->waiting_bytes += journal_entry_bytes(entry);
	journal->waiting_skips += entry->skip != NULL;
	update_flow(journal);
	loop_later(journal->loop, journal_flush, journal);
}

bool journal_is_idle(const struct journal *journal)
{
	struct journal_target *target;

	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (target->queue && queue_acked(target->queue) != target->acked)
			return false;
	return journal->waiting_count == 0 && journal->batch.entry_count == 0;
}

/* --- commits ------------------------------------------------------------------------------- */

static void committed(void *arg, enum hr_status status, const int64_t *first,
		      const struct hr_err *err);

static void send_batch(struct journal *journal)
{
	journal->state = COMMITTING;
	batch_send(journal, committed);
}

static bool has_batch(const struct journal *journal)
{
	return journal->batch.queue_count || journal->batch.entry_count;
}

/* A batch of acknowledgements alone is worth a little wait: most leave with the next messages, and
 * one that is lost in a crash only makes the destination see what it has seen. */
static bool acks_can_wait(struct journal *journal)
{
	msec now = loop_now(journal->loop);

	if (batch_is_urgent(&journal->batch) || !journal->batch.queue_count ||
	    (journal->ack_due && journal->ack_due <= now)) {
		journal->ack_due = 0;
		return false;
	}
	if (!journal->ack_due) {
		journal->ack_due = now + ACK_MS;
		timer_set(journal->ack_timer, journal->ack_due);
	}
	batch_leave_acks(&journal->batch);
	return true;
}

void journal_flush(void *arg)
{
	struct journal *journal = arg;

	if (journal->state != ALONE)
		return;
	batch_choose(journal);
	if (acks_can_wait(journal))
		return;
	batch_fill(journal);
	if (!batch_has_rows(&journal->batch)) {
		batch_end(&journal->batch);
		return;
	}
	journal->number++;
	send_batch(journal);
	update_flow(journal);
}

static void finish_batch(struct journal *journal, const int64_t *first)
{
	struct batch *batch = &journal->batch;

	if (first)
		batch_deliver(batch, first);
	for (size_t i = 0; i < batch->queue_count; i++) {
		struct journal_target *target = batch->targets[i];

		if (batch->queues[i].acked > target->acked)
			target->acked = batch->queues[i].acked;
		if (first && batch->queues[i].offer)
			target_offered(target);
		if (!first && target->queue)
			target_open(target); /* the seqs are in the journal: read from there */
		else
			target_load(target);
	}
	batch_end(batch);
	journal->unsure.text[0] = '\0';

	size_t origins = batch->origin_count;
	batch->queue_count = batch->origin_count = 0;
	journal->state = ALONE;
	metric_add(&journal_metrics[JOURNAL_COMMITS], 1);
	for (size_t i = 0; i < origins; i++) {
		const struct journal_origin_in *in = &batch->origins[i];
		const struct origin *origin = map_get(journal->origins, in->site);

		journal->events->position(journal->ctx, origin->site, in->to);
	}
	update_flow(journal);
	loop_later(journal->loop, journal_flush, journal);
}

/* A full disk would say the same four times a second. */
static void say_unsure(struct journal *journal, const struct hr_err *err)
{
	if (strcmp(journal->unsure.text, err->text) != 0)
		log_warn("journal.unsure", LOG_STR("node", journal->node),
			 LOG_INT("batch", journal->number), LOG_ERR(err));
	journal->unsure = *err;
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
		journal_fail(journal, err);
		return;
	case HR_RETRY:
	case HR_UNSURE:
	case HR_NONE:
		say_unsure(journal, err);
		metric_add(&journal_metrics[JOURNAL_REPEATED], 1);
		journal->state = AWAY;
		if (pg_is_up(journal->pg)) /* refused for now; otherwise journal_up begins again */
			timer_set(journal->again,
				  loop_now(journal->loop) + msec_jitter(JOURNAL_AGAIN_MS));
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
		journal_fail(journal, err);
	if (status != HR_OK) {
		if (status == HR_RETRY && pg_is_up(journal->pg))
			timer_set(journal->again,
				  loop_now(journal->loop) + msec_jitter(JOURNAL_AGAIN_MS));
		return;
	}
	if (journal->number && last_batch > journal->number) {
		err_set(&why, HR_FAIL,
			"node %s: batch %" PRId64
			" was committed by somebody else, ours is %" PRId64,
			journal->node, last_batch, journal->number);
		journal_fail(journal, &why);
		return;
	}
	if (!has_batch(journal))
		journal->number = last_batch;
	journal->joined = true;
	journal->state = ALONE;
	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		target_open(target);
	if (has_batch(journal))
		send_batch(journal);
	journal->events->ready(journal->ctx);
	update_flow(journal);
	loop_later(journal->loop, journal_flush, journal);
}

static void leased(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct journal *journal = arg;

	if (status == HR_OK) {
		journal_node(journal->pg, slice_str(journal->node), joined, journal);
		return;
	}
	if (status == HR_FAIL) {
		journal_fail(journal, err);
		return;
	}
	if (status == HR_NONE)
		log_warn("journal.waiting", LOG_STR("node", journal->node),
			 LOG_STR("error", "another gateway runs under this node name"));
	if (pg_is_up(journal->pg))
		timer_set(journal->again, loop_now(journal->loop) + msec_jitter(JOURNAL_AGAIN_MS));
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
	journal->ack_timer = timer_new(loop, journal_flush, journal);
	journal->open_timer = timer_new(loop, target_open_all, journal);
	return journal;
}

void journal_free(struct journal *journal)
{
	struct slice key;
	void *value;

	if (!journal)
		return;
	loop_cancel(journal->loop, journal_flush, journal);
	for (size_t i = 0; i < journal->waiting_count; i++)
		journal_entry_clear(&journal->waiting[i]);
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
	batch_free(&journal->batch);
	free(journal->node);
	free(journal);
}
