/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/journal_private.h"

#include <inttypes.h>

static void run_ready(void *arg)
{
	struct journal_target *target = arg;

	target->due = false;
	if (target->ready && target->queue)
		target->ready(target->arg);
}

void target_mark_ready(struct journal_target *target)
{
	if (!target->due && target->ready)
		loop_later(target->journal->loop, run_ready, target);
	target->due = target->ready != NULL;
}

/* Refused for now on a connection that lives (a full disk, a lock): journal_up will not come. */
static void open_again(struct journal *journal)
{
	timer_set(journal->open_timer, loop_now(journal->loop) + msec_jitter(JOURNAL_AGAIN_MS));
}

struct reading {
	struct journal_target *target;
	unsigned consumed;
};

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
			journal_fail(target->journal, &why);
			return;
		}
		metric_add(&journal_metrics[JOURNAL_LOADED], 1);
		queue_load(target->queue, seq, envelope);
		return;
	}
	free(give(target->reading));
	if (status == HR_FAIL) {
		journal_fail(target->journal, err);
		return;
	}
	if (current)
		queue_load_end(target->queue);
	if (status != HR_OK)
		open_again(target->journal);
	if (!target->queue || status != HR_OK)
		return;
	target_mark_ready(target);
	target_load(target);
}

void target_load(struct journal_target *target)
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

static void set_limit(struct journal_target *target)
{
	if (target->queue)
		queue_limit(target->queue, target->offering ? target->offered : INT64_MAX);
}

static void opened(void *arg, enum hr_status status, const struct journal_queue_state *state,
		   const struct hr_err *err)
{
	struct journal_target *target = arg;

	target->opening = false;
	if (status == HR_FAIL)
		journal_fail(target->journal, err);
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
		target->offered = 0;
		target_mark_ready(target);
	} else if (target->queue) {
		queue_grew(target->queue, state->head);
	}
	if (target->queue && state->offered > target->offered) { /* not by us */
		target->offered = state->offered;
		queue_offered(target->queue, target->offered);
	}
	set_limit(target);
	target_load(target);
	loop_later(target->journal->loop, journal_flush, target->journal);
}

void target_open(struct journal_target *target)
{
	if (target->opening || !target->journal->joined)
		return;
	target->opening = true;
	journal_open_queue(target->journal->pg, slice_str(target->name), opened, target);
}

/* Every queue is opened again, which also tells how far it has grown. */
void target_open_all(void *arg)
{
	struct journal *journal = arg;
	struct journal_target *target;

	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (!target->id || target->queue)
			target_open(target);
}

void journal_look(struct journal *journal)
{
	target_open_all(journal);
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
	target_open(target);
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
		target_open(target);
	else
		target_mark_ready(target);
}

void journal_release(struct journal_target *target)
{
	if (target->due)
		loop_cancel(target->journal->loop, run_ready, target);
	target->due = false;
	target->ready = NULL;
	target->consumed++;
	target->offering = false;
	if (target->queue && queue_acked(target->queue) > target->acked)
		journal_put(target->journal,
			    &(struct journal_entry){ .skip = target,
						     .skip_seq = queue_acked(target->queue) });
	queue_free(give(target->queue));
}

void journal_offer(struct journal_target *target, bool yes)
{
	target->offering = yes;
	set_limit(target);
	if (yes)
		loop_later(target->journal->loop, journal_flush, target->journal);
}

bool target_is_to_offer(const struct journal_target *target)
{
	return target->offering && target->queue && queue_head(target->queue) > target->offered;
}

void target_offered(struct journal_target *target)
{
	if (!target->queue || target->offered >= queue_head(target->queue))
		return;
	target->offered = queue_head(target->queue);
	set_limit(target);
	target_mark_ready(target);
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
	target_load(target);
	loop_later(target->journal->loop, journal_flush, target->journal);
	return true;
}

void journal_woken(struct journal *journal, const char *payload)
{
	int64_t id = strtoll(payload, NULL, 10);
	struct journal_target *target;

	for (size_t at = 0; (target = journal_next_target(journal, &at));)
		if (target->id == id && target->queue)
			target_open(target); /* learns the head */
}

void target_free(struct journal_target *target)
{
	loop_cancel(target->journal->loop, run_ready, target);
	queue_free(target->queue);
	free(target->reading);
	free(target->incarnation);
	free(target->name);
	free(target);
}
