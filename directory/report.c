/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/report.h"

#include "base/log.h"

static const struct {
	const char *state, *event;
	enum log_level level;
} ends[REPORT_ENDS] = {
	[REPORT_APPLIED] = { "applied", "sync.applied", LOG_LEVEL_INFO },
	[REPORT_UNCHANGED] = { "unchanged", "sync.unchanged", LOG_LEVEL_INFO },
	[REPORT_PREVIEWED] = { "previewed", "sync.previewed", LOG_LEVEL_INFO },
	[REPORT_HELD] = { "held", "sync.held", LOG_LEVEL_WARN },
	[REPORT_FAILED] = { "failed", "sync.failed", LOG_LEVEL_WARN },
};

static const char *const kinds[] = {
	[PUBLISH_FULL] = "full",
	[PUBLISH_CHANGES] = "changes",
	[PUBLISH_DRY_RUN] = "dry-run",
};

void report_add(struct report_counts *counts, const struct report_counts *more)
{
	for (size_t i = 0; i < REPORT_ENDS; i++)
		counts->runs[i] += more->runs[i];
	counts->read += more->read;
	counts->changes += more->changes;
	counts->changes_runs += more->changes_runs;
	counts->refused_cursors += more->refused_cursors;
	counts->lost_connections += more->lost_connections;
}

void report_state_clear(struct report_state *state)
{
	for (size_t i = 0; i < state->n; i++) {
		free(state->rows[i].name);
		free(state->rows[i].detail);
	}
	free(state->rows);
	*state = (struct report_state){ 0 };
}

void report_run_clear(struct report_run *run)
{
	free(run->url);
	for (size_t i = 0; i < run->refusal_count; i++)
		free(run->refusals[i]);
	*run = (struct report_run){ 0 };
}

static enum report_end end_of(const struct publish_result *result)
{
	enum report_end end = REPORT_APPLIED;

	while (end < REPORT_FAILED && strcmp(ends[end].state, result->state) != 0)
		end++;
	return end;
}

static void count(const struct publish_result *result, struct report_counts *counts)
{
	counts->runs[end_of(result)]++;
	counts->read += result->read;
	counts->changes_runs += result->kind == PUBLISH_CHANGES;
	if (end_of(result) == REPORT_APPLIED)
		counts->changes +=
			result->added + result->changed + result->removed + result->disabled;
}

void report_run(const char *forest, const struct report_run *run, struct report_counts *counts)
{
	const struct publish_result *result = &run->result;
	enum report_end end = end_of(result);
	/* What somebody does not ask for, and changes nobody, is of no interest. */
	bool quiet = result->kind == PUBLISH_CHANGES && end == REPORT_UNCHANGED;
	const struct log_field fields[] = {
		LOG_STR("forest", forest),
		LOG_INT("run", result->run),
		LOG_STR("kind", kinds[result->kind]),
		LOG_STR("url", run->url),
		LOG_STR("error", *result->why ? result->why : NULL),
		LOG_INT("read", result->read),
		LOG_INT("added", result->added),
		LOG_INT("changed", result->changed),
		LOG_INT("readdressed", result->readdressed),
		LOG_INT("removed", result->removed),
		LOG_INT("disabled", result->disabled),
		LOG_INT("kept", result->kept),
		LOG_INT("refused", result->refused),
		LOG_INT("ms", run->took),
	};
	enum log_level level = quiet ? LOG_LEVEL_DEBUG : ends[end].level;

	if (log_enabled(level))
		log_write(level, ends[end].event, fields, countof(fields));
	for (size_t i = 0; i < run->refusal_count; i++)
		log_warn("sync.refused", LOG_STR("forest", forest), LOG_INT("run", result->run),
			 LOG_STR("entry", run->refusals[i]));
	count(result, counts);
}
