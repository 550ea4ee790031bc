/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/changes.h"

#include "base/log.h"
#include "directory/run.h"

/* The run that changes go to: begun by the first of them. */
struct gathering {
	struct publish *publish;
	bool begun;
	bool renewed;		 /* the source is another now: what sessions tell is void */
	enum hr_status database; /* not HR_OK: it has failed, as err says */
	struct hr_err *err;
};

static enum hr_status begin(struct gathering *gathering, struct hr_err *err)
{
	if (gathering->begun)
		return HR_OK;
	switch (publish_begin(gathering->publish, PUBLISH_CHANGES, false, gathering->err)) {
	case HR_OK:
		gathering->begun = true;
		return HR_OK;
	case HR_NONE:
		gathering->renewed = true;
		return err_set(err, HR_RETRY, "the forest is configured in another way now");
	case HR_RETRY:
	case HR_FAIL:
	case HR_UNSURE:
		break;
	}
	gathering->database = gathering->err->status;
	return err_set(err, HR_RETRY, "the database fails");
}

static enum hr_status staged(struct gathering *gathering, enum hr_status status, struct hr_err *err)
{
	gathering->database = status;
	return status == HR_OK ? HR_OK : err_set(err, HR_RETRY, "the database fails");
}

static enum hr_status stage(void *arg, const struct publish_entry *entry, struct hr_err *err)
{
	struct gathering *gathering = arg;

	if (begin(gathering, err) != HR_OK)
		return err->status;
	return staged(gathering, publish_add(gathering->publish, entry, gathering->err), err);
}

static enum hr_status stage_gone(void *arg, struct slice anchor, struct hr_err *err)
{
	struct gathering *gathering = arg;

	if (begin(gathering, err) != HR_OK)
		return err->status;
	return staged(gathering, publish_gone(gathering->publish, anchor, gathering->err), err);
}

/* Only reading everything can tell what has changed: why. */
static void doubt(const struct forest *forest, const struct forest_context *context,
		  const struct hr_err *why, struct report_counts *counts)
{
	static const struct {
		enum log_level level;
		const char *event;
	} doubts[] = {
		[ADAPTER_REFUSED] = { LOG_LEVEL_WARN, "sync.cursor_refused" },
		[ADAPTER_FORGOTTEN] = { LOG_LEVEL_WARN, "sync.forgotten" },
		[ADAPTER_TOO_MANY] = { LOG_LEVEL_INFO, "sync.too_many" },
		[ADAPTER_MOVED] = { LOG_LEVEL_INFO, "sync.moved" },
		[ADAPTER_REPLACED] = { LOG_LEVEL_INFO, "sync.replaced" },
	};
	enum adapter_doubt what = context->session->doubt;

	log_event_(doubts[what].level, doubts[what].event, LOG_STR("forest", forest->name),
		   LOG_STR("base", context->request.context->base_dn),
		   LOG_STR("reason", why->text));
	counts->refused_cursors += what == ADAPTER_REFUSED;
}

/* One context. Whatever its directory does is dealt with here. */
static void take(struct forest *forest, struct forest_context *context, struct gathering *gathering,
		 struct changes *out)
{
	const struct adapter_sink sink = { stage, stage_gone, gathering };
	struct hr_err why;

	cursor_copy(&context->position, &context->next);
	enum hr_status status = forest_connect(forest, context, &why);
	if (status == HR_OK)
		status = forest->adapter->changes(context->session, &sink, &context->next, &why);
	if (gathering->renewed || gathering->database != HR_OK)
		return;
	if (forest->refused && (status == HR_NONE || status == HR_RETRY)) {
		/* a file that was refused: nothing is new until it is another one */
		cursor_clear(&context->next);
		context->poll_at = time_msec() + forest->source->poll_interval;
		return;
	}
	switch (status) {
	case HR_OK:
		out->again = true;
		return;
	case HR_NONE:
		forest_works(forest, context);
		out->works = true;
		return;
	case HR_RETRY:
		break;
	case HR_FAIL:
		forest->refused = out->lost = true;
		out->why = why;
		break;
	case HR_UNSURE:
		out->lost = true;
		out->why = why;
		cursor_clear(&context->next);
		doubt(forest, context, &why, &out->counts);
		return;
	}
	cursor_clear(&context->next);
	forest_lose(forest, context, &why, &out->counts);
}

/* Publishes what was staged, with the positions of those contexts that have one to go on from. */
static enum hr_status publish_all(struct forest *forest, struct publish *publish,
				  struct report_run *out, struct hr_err *err)
{
	struct publish_cursor *cursors = mem_array(struct publish_cursor, forest->n);
	msec began = time_msec();
	struct hr_err why = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		if (context->next.base_dn)
			cursors[n++] = context->next;
		if (context->session && !out->url)
			out->url = str_dup(context->session->url);
	}
	enum hr_status status = publish_finish(publish, cursors, n, &out->result, &why);
	free(cursors);
	if (status != HR_OK)
		status = publish_fail(publish, &why, &out->result, err);
	return status == HR_OK ? run_describe(publish, began, out, err) : status;
}

/* What was told is taken, or, after a failed run, to be told again. */
static void settle(struct forest *forest, const struct publish_result *result,
		   struct report_counts *counts)
{
	bool failed = strcmp(result->state, "failed") == 0;
	struct hr_err why;

	err_set(&why, HR_RETRY, "%s", result->why);
	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		if (!context->next.base_dn)
			continue;
		if (!failed) {
			forest_advance(context);
		} else {
			cursor_clear(&context->next);
			forest_lose(forest, context, &why, counts);
		}
	}
}

enum hr_status changes_take(struct forest *forest, struct publish *publish, const bool *due,
			    struct changes *out, struct hr_err *err)
{
	struct gathering gathering = { .publish = publish, .err = err };

	*out = (struct changes){ 0 };
	for (size_t i = 0; i < forest->n && !gathering.renewed && gathering.database == HR_OK; i++)
		if (due[i] && forest_is_watched(forest, &forest->contexts[i]))
			take(forest, &forest->contexts[i], &gathering, out);
	if (gathering.database != HR_OK)
		return gathering.database;
	if (gathering.renewed) {
		out->again = true;
		return forest_adopt(forest, publish_source(publish), err);
	}
	if (gathering.begun && publish_all(forest, publish, &out->run, err) != HR_OK)
		return err->status;
	settle(forest, &out->run.result, &out->counts);
	return HR_OK;
}
