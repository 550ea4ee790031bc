/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/changes.h"

#include "base/log.h"
#include "directory/anchor.h"
#include "directory/run.h"

enum { REACH_MS = 2000 }; /* the longest that changes wait for another context to be opened */
enum { WHOLE_MIN_MS = 1000, WHOLE_MAX_MS = 10 * 60 * 1000 }; /* between full runs for a context */

/* Who is gone from a naming context, and perhaps in another. */
struct leaver {
	char anchor[ANCHOR_CHARS + 1];
	bool here; /* has been seen since */
};

/* The run that changes go to: begun by the first of them. */
struct gathering {
	struct forest *forest;
	struct forest_context *context; /* that is asked for changes */
	struct changes *out;
	struct leaver leavers[ADAPTER_FIND];
	size_t leaver_count;
	struct publish *publish;
	bool begun;
	bool renewed;		 /* the source is another now: what sessions tell is void */
	enum hr_status database; /* not HR_OK: it has failed, as err says */
	struct hr_err *err;
};

static bool is_void(const struct gathering *gathering)
{
	return gathering->renewed || gathering->database != HR_OK;
}

static enum hr_status begin(struct gathering *gathering, struct hr_err *err)
{
	if (is_void(gathering))
		return err_set(err, HR_RETRY, "what is told now is void");
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
	for (size_t i = 0; i < gathering->leaver_count; i++)
		gathering->leavers[i].here |= slice_is(entry->anchor, gathering->leavers[i].anchor);
	return staged(gathering, publish_add(gathering->publish, entry, gathering->err), err);
}

static enum hr_status stage_leaver(struct gathering *gathering, struct slice anchor, bool proven,
				   struct hr_err *err)
{
	if (begin(gathering, err) != HR_OK)
		return err->status;
	return staged(gathering, publish_gone(gathering->publish, anchor, proven, gathering->err),
		      err);
}

/* Only reading everything can tell what has changed: why. */
static void doubt(const struct forest *forest, struct forest_context *context,
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

	if (!forest->adapter->only_whole) /* else it is its way, and nothing against it */
		forest_blame(context, why);
	context->known->unsure = true;
	log_event_(doubts[what].level, doubts[what].event, LOG_STR("forest", forest->name),
		   LOG_STR("base", context->request.context->base_dn),
		   LOG_STR("reason", why->text));
	counts->refused_cursors += what == ADAPTER_REFUSED;
}

/* The first full run that a context needs is at once; others, while it does not work, later and
 * later, but when it is the only way to take changes. */
static void need_whole(struct gathering *gathering, struct forest_context *context)
{
	struct changes *out = gathering->out;
	msec *pause = &context->known->whole_pause;

	out->pause = out->lost && out->pause < *pause ? out->pause : *pause;
	out->lost = true;
	*pause = gathering->forest->adapter->only_whole
			 ? WHOLE_MIN_MS
			 : msec_clamp(2 * *pause, WHOLE_MIN_MS, WHOLE_MAX_MS);
}

static void fail(struct gathering *gathering, struct forest_context *context,
		 const struct hr_err *why)
{
	/* once one refuses, a full run proves nothing new, and binds in vain */
	if (why->status == HR_FAIL && !forest_is_refused(gathering->forest))
		need_whole(gathering, context);
	cursor_clear(&context->next);
	forest_lose(gathering->forest, context, why, &gathering->out->counts);
}

/* Opens another context. HR_NONE: it is not the time for it. */
static enum hr_status reach(struct forest *forest, struct forest_context *context,
			    struct hr_err *err)
{
	enum hr_status status = forest_open(forest, context, err);

	if (status != HR_NONE || !context->opening || context->known->trouble)
		return status;
	struct pollfd fds[2] = { { opening_fd(context->opening), POLLIN, 0 } };
	if (stop_wait(forest->stop, fds, 1, REACH_MS) == STOP_READY)
		return forest_open(forest, context, err);
	return err_set(err, HR_RETRY, "not connected in %d s", REACH_MS / 1000);
}

/* Stages those leavers who are in this context. False: it cannot be asked now. A session that has
 * waited for long may be over. */
static bool look_in(struct gathering *gathering, struct forest_context *context,
		    const struct slice *anchors, size_t n)
{
	const struct adapter_sink sink = { .entry = stage, .arg = gathering };
	struct forest *forest = gathering->forest;
	enum hr_status status;
	struct hr_err why;
	bool is_new;

	if (!forest_may_ask(forest, context) ||
	    (!context->session && context->known->trouble && time_msec() < context->poll_at))
		return false;
	do {
		is_new = !context->session;
		status = reach(forest, context, &why);
		if (status == HR_NONE)
			return false;
		if (status == HR_OK)
			status = forest->adapter->find(context->session, anchors, n, &sink, &why);
		if (status == HR_RETRY && !is_new)
			forest_disconnect(forest, context);
	} while (status == HR_RETRY && !is_new && !is_void(gathering));
	if (status != HR_OK && !is_void(gathering))
		fail(gathering, context, &why);
	return status == HR_OK;
}

/* Who has left the context, and is in no other and not back either, is gone; where one cannot be
 * asked, perhaps. */
static enum hr_status stage_leavers(struct gathering *gathering, struct hr_err *err)
{
	struct forest *forest = gathering->forest;
	struct forest_context *own = gathering->context;
	const struct adapter_sink sink = { .entry = stage, .arg = gathering };
	struct slice anchors[ADAPTER_FIND];
	size_t n = gathering->leaver_count;
	bool proven = true;

	for (size_t i = 0; i < n; i++)
		anchors[i] = slice_str(gathering->leavers[i].anchor);
	for (size_t i = 0; i < forest->n && !is_void(gathering); i++)
		if (&forest->contexts[i] != own)
			proven &= look_in(gathering, &forest->contexts[i], anchors, n);
	if (is_void(gathering))
		return err_set(err, HR_RETRY, "what is told now is void");
	if (forest->adapter->find(own->session, anchors, n, &sink, err) != HR_OK)
		return err->status;
	gathering->leaver_count = 0;
	gathering->out->again = true; /* these answers may have changes before them */
	for (size_t i = 0; i < n; i++)
		if (!gathering->leavers[i].here &&
		    stage_leaver(gathering, anchors[i], proven, err) != HR_OK)
			return err->status;
	return HR_OK;
}

static enum hr_status stage_gone(void *arg, struct slice anchor, struct hr_err *err)
{
	struct gathering *gathering = arg;

	if (gathering->forest->n == 1)
		return stage_leaver(gathering, anchor, true, err);
	struct leaver *leaver = &gathering->leavers[gathering->leaver_count++];
	*leaver = (struct leaver){ 0 };
	memcpy(leaver->anchor, anchor.data, anchor.len < ANCHOR_CHARS ? anchor.len : ANCHOR_CHARS);
	return gathering->leaver_count < ADAPTER_FIND ? HR_OK : stage_leavers(gathering, err);
}

/* Asks for the changes of a context, and stages them. */
static enum hr_status hear(struct gathering *gathering, struct forest_context *context,
			   struct hr_err *why)
{
	const struct adapter_sink sink = { stage, stage_gone, gathering };
	struct forest *forest = gathering->forest;

	gathering->context = context;
	gathering->leaver_count = 0;
	cursor_copy(&context->position, &context->next);
	enum hr_status status =
		forest->adapter->changes(context->session, &sink, &context->next, why);
	bool good = status == HR_OK || status == HR_NONE || status == HR_UNSURE;
	struct hr_err err;
	if (good && gathering->leaver_count > 0 && stage_leavers(gathering, &err) != HR_OK) {
		*why = err;
		return err.status;
	}
	return status;
}

/* All that a context has, as its changes: nobody is gone by that, but from here on it is followed
 * again. */
static enum hr_status read_alone(struct gathering *gathering, struct forest_context *context,
				 struct hr_err *why)
{
	const struct adapter_sink sink = { .entry = stage, .arg = gathering };
	const struct adapter *adapter = gathering->forest->adapter;

	if (adapter->read(context->session, &sink, &context->next, why) != HR_OK)
		return why->status;
	context->next.base_dn = str_dup(context->request.context->base_dn);
	context->known->unsure = context->known->alone = false;
	return HR_OK;
}

/* One context. Whatever its directory does is dealt with here. */
static void take(struct gathering *gathering, struct forest_context *context)
{
	struct forest *forest = gathering->forest;
	struct changes *out = gathering->out;
	bool barred = !forest_may_ask(forest, context);
	struct hr_err why;
	enum hr_status status = forest_open(forest, context, &why);

	if (status == HR_NONE)
		return; /* it is being opened */
	if (status == HR_OK)
		status = context->known->alone ? read_alone(gathering, context, &why)
					       : hear(gathering, context, &why);
	if (is_void(gathering))
		return;
	if (barred && (status == HR_NONE || status == HR_RETRY)) {
		/* a file that was refused: nothing is new until it is another one */
		cursor_clear(&context->next);
		context->poll_at = time_msec() + forest->source->poll_interval;
		return;
	}
	switch (status) {
	case HR_OK:
		out->again = true;
		break;
	case HR_NONE:
		forest_works(forest, context);
		context->known->whole_pause = 0;
		break;
	case HR_UNSURE:
		need_whole(gathering, context);
		cursor_clear(&context->next);
		doubt(forest, context, &why, &out->counts);
		break;
	case HR_RETRY:
	case HR_FAIL:
		fail(gathering, context, &why);
		break;
	}
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
	struct gathering gathering = {
		.forest = forest, .out = out, .publish = publish, .err = err
	};

	*out = (struct changes){ 0 };
	for (size_t i = 0; i < forest->n && !is_void(&gathering); i++)
		if (due[i] && forest_is_watched(forest, &forest->contexts[i]))
			take(&gathering, &forest->contexts[i]);
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
