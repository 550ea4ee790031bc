/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/run.h"

enum { ROUNDS = 10 }; /* of catching up with a directory that never stands still */

static enum hr_status stage(void *arg, const struct publish_entry *entry, struct hr_err *err)
{
	return publish_add(arg, entry, err);
}

struct reading {
	struct forest *forest;
	struct publish *publish;
	enum publish_kind kind;
};

/* What only looks leaves it to who follows to find out: no other run would clear it. */
static enum hr_status failed(const struct reading *reading, struct forest_context *context,
			     struct hr_err *err)
{
	if (reading->kind == PUBLISH_FULL)
		forest_blame(context, err);
	return reading->forest->n > 1 ? err_add(err, "%s", context->request.context->base_dn)
				      : err->status;
}

static enum hr_status read_context(const struct reading *reading, struct forest_context *context,
				   struct hr_err *err)
{
	const struct adapter_sink sink = { .entry = stage, .arg = reading->publish };
	struct forest *forest = reading->forest;

	if (forest_connect(forest, context, err) != HR_OK ||
	    forest->adapter->read(context->session, &sink, &context->next, err) != HR_OK)
		return failed(reading, context, err);
	context->next.base_dn = str_dup(context->request.context->base_dn);
	return HR_OK;
}

/* Reads the directory into staging, when also those that have failed of late let us in. */
static enum hr_status read_all(const struct reading *reading, struct report_run *out,
			       struct hr_err *err)
{
	struct forest *forest = reading->forest;

	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		if (context->known->trouble && forest_connect(forest, context, err) != HR_OK)
			return failed(reading, context, err);
	}
	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		if (read_context(reading, context, err) != HR_OK)
			return err->status;
		if (i == 0)
			out->url = str_dup(context->session->url);
	}
	return HR_OK;
}

struct latecomers {
	struct publish *publish;
	bool told; /* anything */
};

static enum hr_status stage_late(void *arg, const struct publish_entry *entry, struct hr_err *err)
{
	struct latecomers *late = arg;

	late->told = true;
	return publish_add(late->publish, entry, err);
}

static enum hr_status leave(void *arg, struct slice anchor, struct hr_err *err)
{
	struct latecomers *late = arg;

	(void)anchor;
	(void)err;
	late->told = true;
	return HR_OK;
}

/* Who has moved meanwhile, from a context that was to be read to one that had been, is in neither
 * reading: takes who has come; where that is not told one by one, all must be read again. Whatever
 * was told is told again, to the changes that follow. */
static enum hr_status catch_up(const struct reading *reading, struct hr_err *err)
{
	struct forest *forest = reading->forest;

	for (size_t i = 0; i + 1 < forest->n && forest->adapter->find; i++) {
		struct forest_context *context = &forest->contexts[i];
		struct latecomers late = { reading->publish, false };
		const struct adapter_sink sink = { stage_late, leave, &late };
		struct publish_cursor position;
		enum hr_status status = HR_OK;
		if (strcmp(context->next.method, "none") == 0)
			continue;
		cursor_copy(&context->next, &position);
		for (int round = 0; status == HR_OK && round < ROUNDS; round++)
			status = forest->adapter->changes(context->session, &sink, &position, err);
		cursor_clear(&position);
		if (status == HR_RETRY || status == HR_FAIL)
			return failed(reading, context, err);
		if (status == HR_UNSURE && context->session->doubt == ADAPTER_MOVED) {
			err->status = HR_RETRY;
			return err_add(err, "while all are read");
		}
		if (late.told)
			forest_disconnect(forest, context);
	}
	return HR_OK;
}

static enum hr_status finish(struct forest *forest, struct publish *publish,
			     struct publish_result *out, struct hr_err *err)
{
	struct publish_cursor *cursors = mem_array(struct publish_cursor, forest->n);

	for (size_t i = 0; i < forest->n; i++)
		cursors[i] = forest->contexts[i].next;
	enum hr_status status = publish_finish(publish, cursors, forest->n, out, err);
	free(cursors);
	return status;
}

/* After the run: goes on from where it has read, or stays where it was. Of a file that was read in
 * vain the next change counts: it is read once, and again when the run is due; the session knows
 * which that was. */
static void settle(struct forest *forest, enum publish_kind kind, bool taken)
{
	bool watches_files = forest->adapter && forest->adapter->only_whole;

	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		if (taken && kind == PUBLISH_FULL) {
			forest_advance(context);
			forest_works(forest, context);
			context->poll_at = 0; /* for what has changed meanwhile */
		} else if (watches_files && kind == PUBLISH_FULL) {
			forest_advance(context);
			context->known->unsure = false;
		} else {
			cursor_clear(&context->next);
			if (!watches_files)
				forest_disconnect(forest, context);
		}
	}
}

static void keep_refusal(void *arg, struct slice anchor, struct slice reason)
{
	struct report_run *out = arg;

	out->refusals[out->refusal_count++] =
		str_format(SLICE_FMT " " SLICE_FMT, SLICE_ARG(anchor), SLICE_ARG(reason));
}

enum hr_status run_describe(struct publish *publish, msec began, struct report_run *out,
			    struct hr_err *err)
{
	enum hr_status status = publish_refusals(publish, REPORT_REFUSALS, keep_refusal, out, err);

	out->took = time_msec() - began;
	return status;
}

enum hr_status run_whole(struct forest *forest, struct publish *publish,
			 const struct publish_due *what, struct report_run *out, struct hr_err *err)
{
	const struct reading reading = { forest, publish, what->kind };
	msec began = time_msec();
	struct hr_err why;

	if (what->kind == PUBLISH_FULL)
		forest_pardon(forest);
	enum hr_status status = publish_begin(publish, what->kind, what->draft, err);

	if (status != HR_OK)
		return status;
	bool done = forest_adopt(forest, publish_source(publish), &why) == HR_OK &&
		    read_all(&reading, out, &why) == HR_OK && catch_up(&reading, &why) == HR_OK &&
		    finish(forest, publish, &out->result, &why) == HR_OK;
	if (!done)
		status = publish_fail(publish, &why, &out->result, err);
	bool taken = done && strcmp(out->result.state, "failed") != 0;
	settle(forest, what->kind, taken);
	if (!taken && what->kind == PUBLISH_FULL)
		forest_give_up_waiting(forest);
	return status == HR_OK ? run_describe(publish, began, out, err) : status;
}
