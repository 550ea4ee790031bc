/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/forest.h"

#include "base/log.h"

enum { PAUSE_MIN_MS = 500, PAUSE_MAX_MS = 30 * 1000, FIRST_POLL_MS = 1500 };

static void context_clear(struct forest *forest, struct forest_context *context)
{
	forest_disconnect(forest, context);
	cursor_clear(&context->position);
	cursor_clear(&context->next);
	free(context->trouble);
}

static void contexts_clear(struct forest *forest)
{
	for (size_t i = 0; i < forest->n; i++)
		context_clear(forest, &forest->contexts[i]);
	free(forest->contexts);
	forest->contexts = NULL;
	forest->n = 0;
}

void forest_clear(struct forest *forest)
{
	contexts_clear(forest);
	free(forest->failovers);
	free(forest->fingerprint);
	forest->failovers = NULL;
	forest->fingerprint = NULL;
}

/* Which servers have failed lately is forgotten when others may be named. */
static void keep_failovers(struct forest *forest, const struct publish_source *source)
{
	if (forest->fingerprint && strcmp(forest->fingerprint, source->fingerprint) == 0)
		return;
	free(forest->failovers);
	free(forest->fingerprint);
	forest->failovers = mem_array(struct failover, source->context_count);
	forest->fingerprint = str_dup(source->fingerprint);
}

enum hr_status forest_adopt(struct forest *forest, const struct publish_source *source,
			    struct hr_err *err)
{
	contexts_clear(forest);
	keep_failovers(forest, source);
	forest->source = source;
	forest->adapter = adapter_find(source->kind);
	if (!forest->adapter)
		return err_set(err, HR_FAIL, "no adapter reads a forest of kind %s", source->kind);
	forest->n = source->context_count;
	forest->contexts = mem_array(struct forest_context, forest->n);
	for (size_t i = 0; i < forest->n; i++) {
		struct forest_context *context = &forest->contexts[i];
		context->request = (struct adapter_request){
			.source = source,
			.context = &source->contexts[i],
			.secrets = forest->secrets,
			.stop = forest->stop,
			.failover = &forest->failovers[i],
		};
		if (source->contexts[i].cursor)
			cursor_copy(source->contexts[i].cursor, &context->position);
		else
			context->poll_at = time_msec() + FIRST_POLL_MS; /* the run comes first */
	}
	return HR_OK;
}

enum hr_status forest_connect(struct forest *forest, struct forest_context *context,
			      struct hr_err *err)
{
	if (context->session)
		return HR_OK;
	return forest->adapter->open(&context->request, &context->session, err);
}

void forest_disconnect(struct forest *forest, struct forest_context *context)
{
	if (context->session)
		forest->adapter->close(context->session);
	context->session = NULL;
}

void forest_lose(struct forest *forest, struct forest_context *context, const struct hr_err *why,
		 struct report_counts *counts)
{
	forest_disconnect(forest, context);
	context->told = false;
	if (stop_is_set(forest->stop))
		return;
	if (!context->trouble) {
		log_warn("sync.lost", LOG_STR("forest", forest->name),
			 LOG_STR("base", context->request.context->base_dn), LOG_ERR(why));
		counts->lost_connections++;
	}
	free(context->trouble);
	context->trouble = str_dup(why->text);
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
	context->as_of = time_msec();
	context->pause = 0;
	/* once early: what changed while the session began may be seen a little later only */
	context->poll_at =
		context->as_of + (context->told ? forest->source->poll_interval : FIRST_POLL_MS);
	free(give(context->trouble));
	if (!context->told && context->session)
		tell(forest, context);
}

static bool is_followed(const struct forest_context *context)
{
	return context->position.base_dn && strcmp(context->position.method, "none") != 0;
}

bool forest_is_watched(const struct forest *forest, const struct forest_context *context)
{
	if (forest->adapter->only_whole)
		return context->session || !forest->refused;
	return is_followed(context) && !forest->refused;
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
	struct report_row row = {
		.name = str_format("%s/%s", forest->name, context->request.context->base_dn),
		.as_of = context->as_of,
	};

	if (context->trouble) {
		row.state = forest->refused ? "refused" : "lost";
		row.detail = str_dup(context->trouble);
	} else if (!is_followed(context)) {
		row.state = context->position.base_dn ? "compared" : "unknown";
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
