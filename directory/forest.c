/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/forest.h"

#include "base/log.h"

enum {
	PAUSE_MIN_MS = 500,
	PAUSE_MAX_MS = 30 * 1000,
	FIRST_POLL_MS = 1500,
	IDLE_MS = 60 * 1000,
	REFUSALS = 2,	 /* in a row until nobody is asked to let us in */
	YOUNG_MS = 2000, /* after this, who has not refused yet hangs rather than refuses */
	TURN_MS = 50,	 /* to the next look whether another may be opened */
};

/* Gives up what is being opened. */
static void break_off(struct forest *forest, struct forest_context *context)
{
	struct hr_err err;

	stop_set(context->stop);
	if (context->opening && opening_end(context->opening, &context->session, &err) == HR_OK)
		forest_disconnect(forest, context);
	context->opening = NULL;
}

static void context_clear(struct forest *forest, struct forest_context *context)
{
	forest_disconnect(forest, context);
	break_off(forest, context);
	stop_free(context->stop);
	cursor_clear(&context->position);
	cursor_clear(&context->next);
}

static void contexts_clear(struct forest *forest)
{
	for (size_t i = 0; i < forest->n; i++)
		context_clear(forest, &forest->contexts[i]);
	free(forest->contexts);
	forest->contexts = NULL;
	forest->n = 0;
}

static void forget(struct forest *forest)
{
	for (size_t i = 0; i < forest->known_count; i++)
		free(forest->known[i].trouble);
	free(forest->known);
	free(forest->fingerprint);
	forest->known = NULL;
	forest->known_count = 0;
	forest->fingerprint = NULL;
	forest->refusals = 0;
}

void forest_clear(struct forest *forest)
{
	contexts_clear(forest);
	forget(forest);
}

/* What is known of other contexts, or of these asked in another way, is void. */
static void keep_known(struct forest *forest, const struct publish_source *source)
{
	if (forest->fingerprint && strcmp(forest->fingerprint, source->fingerprint) == 0)
		return;
	forget(forest);
	forest->known = mem_array(struct forest_known, source->context_count);
	forest->known_count = source->context_count;
	forest->fingerprint = str_dup(source->fingerprint);
}

enum hr_status forest_adopt(struct forest *forest, const struct publish_source *source,
			    struct hr_err *err)
{
	contexts_clear(forest);
	keep_known(forest, source);
	forest->source = source;
	forest->adapter = adapter_find(source->kind);
	if (!forest->adapter)
		return err_set(err, HR_FAIL, "no adapter reads a forest of kind %s", source->kind);
	forest->n = source->context_count;
	forest->contexts = mem_array(struct forest_context, forest->n);
	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		context->known = &forest->known[i];
		context->stop = stop_new(forest->stop);
		context->request = (struct adapter_request){
			.source = source,
			.context = &source->contexts[i],
			.secrets = forest->secrets,
			.stop = context->stop,
			.failover = &context->known->failover,
		};
		if (source->contexts[i].cursor)
			cursor_copy(source->contexts[i].cursor, &context->position);
		else
			context->poll_at = time_msec() + FIRST_POLL_MS; /* the run comes first */
	}
	return HR_OK;
}

static bool is_followed(const struct forest_context *context)
{
	return context->position.base_dn && strcmp(context->position.method, "none") != 0;
}

static enum hr_status opened(struct forest *forest, enum hr_status status)
{
	if (status == HR_OK)
		forest->refusals = 0;
	else if (status == HR_FAIL)
		forest->refusals++;
	return status;
}

/* When others wait for one that has not answered of late, and it is tried with patience elsewhere:
 * by changes. */
static bool may_hurry(const struct forest *forest, const struct forest_context *context)
{
	const struct forest_known *known = context->known;

	return forest->n > 1 && known->trouble && !known->refused && is_followed(context);
}

enum hr_status forest_connect(struct forest *forest, struct forest_context *context,
			      struct hr_err *err)
{
	if (context->session)
		return HR_OK;
	context->request.hurry = may_hurry(forest, context);
	return opened(forest, forest->adapter->open(&context->request, &context->session, err));
}

/* So many as may refuse, and no more, are asked at a time. */
static bool may_begin(const struct forest *forest, msec now)
{
	int n = forest->refusals;

	for (size_t i = 0; i < forest->n; i++) {
		const struct opening *opening = forest->contexts[i].opening;
		n += opening && opening_began(opening) + YOUNG_MS > now;
	}
	return n < REFUSALS;
}

enum hr_status forest_open(struct forest *forest, struct forest_context *context,
			   struct hr_err *err)
{
	msec now = time_msec();

	if (context->session)
		return HR_OK;
	if (!context->opening) {
		context->poll_at = now + TURN_MS;
		if (!may_begin(forest, now))
			return HR_NONE;
		context->request.hurry = false;
		context->opening = opening_new(forest->adapter, &context->request);
	}
	if (!opening_has_ended(context->opening)) {
		context->poll_at = now + IDLE_MS;
		return HR_NONE;
	}
	return opened(forest, opening_end(give(context->opening), &context->session, err));
}

int forest_fd(const struct forest *forest, const struct forest_context *context)
{
	if (!forest_is_watched(forest, context))
		return -1;
	if (context->session)
		return context->session->fd;
	return context->opening ? opening_fd(context->opening) : -1;
}

void forest_disconnect(struct forest *forest, struct forest_context *context)
{
	if (context->session)
		forest->adapter->close(context->session);
	context->session = NULL;
}

void forest_blame(struct forest_context *context, const struct hr_err *why)
{
	struct forest_known *known = context->known;

	free(known->trouble);
	known->trouble = str_dup(why->text);
	known->refused = why->status == HR_FAIL;
	known->pardoned = false;
	known->unsure = known->alone = false;
}

void forest_lose(struct forest *forest, struct forest_context *context, const struct hr_err *why,
		 struct report_counts *counts)
{
	forest_disconnect(forest, context);
	context->told = false;
	if (stop_is_set(forest->stop))
		return;
	if (!context->known->trouble) {
		log_warn("sync.lost", LOG_STR("forest", forest->name),
			 LOG_STR("base", context->request.context->base_dn), LOG_ERR(why));
		counts->lost_connections++;
	}
	forest_blame(context, why);
	context->pause = msec_clamp(2 * context->pause, PAUSE_MIN_MS, PAUSE_MAX_MS);
	context->poll_at = time_msec() + msec_jitter(context->pause);
}

static void tell(const struct forest *forest, struct forest_context *context)
{
	const char *limits = context->session->limits;

	context->told = true;
	log_info("sync.following", LOG_STR("forest", forest->name),
		 LOG_STR("base", context->request.context->base_dn),
		 LOG_STR("method", context->position.method),
		 LOG_STR("url", context->session->url));
	if (limits)
		log_warn("sync.limited", LOG_STR("forest", forest->name),
			 LOG_STR("base", context->request.context->base_dn),
			 LOG_STR("reason", limits));
}

void forest_works(struct forest *forest, struct forest_context *context)
{
	struct forest_known *known = context->known;

	known->as_of = time_msec();
	context->pause = 0;
	/* once early: what changed while the session began may be seen a little later only */
	context->poll_at =
		known->as_of + (context->told ? forest->source->poll_interval : FIRST_POLL_MS);
	free(give(known->trouble));
	known->refused = known->unsure = known->alone = false;
	if (!context->told && context->session)
		tell(forest, context);
}

static bool is_let_in(const struct forest *forest, const struct forest_context *context)
{
	return context->session || context->opening || forest->refusals < REFUSALS;
}

bool forest_is_refused(const struct forest *forest)
{
	for (size_t i = 0; i < forest->n; i++)
		if (forest->known[i].refused)
			return true;
	return false;
}

void forest_pardon(struct forest *forest)
{
	forest->refusals = 0;
	for (size_t i = 0; i < forest->known_count; i++)
		forest->known[i].pardoned = true;
}

static bool is_barred(const struct forest_context *context)
{
	return context->known->refused && !context->known->pardoned;
}

bool forest_may_ask(const struct forest *forest, const struct forest_context *context)
{
	return !is_barred(context) && is_let_in(forest, context);
}

bool forest_is_watched(const struct forest *forest, const struct forest_context *context)
{
	if (context->known->unsure && !context->known->alone)
		return false;
	if (forest->adapter->only_whole)
		return context->session || !is_barred(context);
	return is_followed(context) && forest_may_ask(forest, context);
}

void forest_give_up_waiting(struct forest *forest)
{
	for (size_t i = 0; i < forest->n; i++)
		forest->known[i].alone = forest->known[i].unsure;
}

void forest_advance(struct forest_context *context)
{
	if (!context->next.base_dn)
		return;
	cursor_clear(&context->position);
	context->position = context->next;
	context->next = (struct publish_cursor){ 0 };
}

/* State --------------------------------------------------------------------------------------- */

static struct report_row row_of(const struct forest *forest, const struct forest_context *context)
{
	const struct forest_known *known = context->known;
	struct report_row row = {
		.name = str_format("%s/%s", forest->name, context->request.context->base_dn),
		.as_of = known->as_of,
	};

	if (known->trouble) {
		row.state = known->refused ? "refused" : "lost";
		row.detail = str_dup(known->trouble);
	} else if (!is_followed(context)) {
		row.state = context->position.base_dn ? "compared" : "unknown";
	} else if (!is_let_in(forest, context)) {
		row.state = "lost";
		row.detail = str_dup("not tried, as others would not let us in");
	} else {
		row.state = "followed";
		row.detail =
			str_format("%s%s%s", context->position.method, context->session ? " " : "",
				   context->session ? context->session->url : "");
	}
	return row;
}

struct report_state forest_state(const struct forest *forest)
{
	struct report_state state = { mem_array(struct report_row, forest->n), forest->n };

	for (size_t i = 0; i < forest->n; i++)
		state.rows[i] = row_of(forest, &forest->contexts[i]);
	return state;
}
