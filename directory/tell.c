/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/tell.h"

#include "base/log.h"
#include "schema/status.h"

struct metric tell_metrics[TELL_METRICS] = {
	[TELL_READ] = { "directory_entries_read_total", "Entries read from directories", 0, false },
	[TELL_PEOPLE] = { "directory_people_changed_total",
			  "People added, changed, removed or disabled", 0, false },
	[TELL_APPLIED] = { "directory_runs_applied_total", "Runs that changed people", 0, false },
	[TELL_UNCHANGED] = { "directory_runs_unchanged_total", "Runs that found no difference", 0,
			     false },
	[TELL_PREVIEWED] = { "directory_runs_previewed_total", "Dry runs", 0, false },
	[TELL_HELD] = { "directory_runs_held_total", "Runs that the guard held", 0, false },
	[TELL_FAILED] = { "directory_runs_failed_total", "Runs that failed", 0, false },
	[TELL_CHANGES] = { "directory_changes_runs_total",
			   "Runs of changes that were followed, among all of these", 0, false },
	[TELL_REFUSED_CURSORS] = { "directory_refused_cursors_total",
				   "Times that a directory did not take the position to go on from",
				   0, false },
	[TELL_LOST] = { "directory_lost_connections_total",
			"Times that a directory that was followed went away", 0, false },
	[TELL_CONTEXTS] = { "directory_contexts", "Naming contexts that this daemon reads", 0,
			    true },
	[TELL_FOLLOWED] = { "directory_contexts_followed",
			    "Naming contexts whose changes arrive now", 0, true },
	[TELL_LAG] = { "directory_lag_seconds",
		       "How long ago the registry was last known to be as the directories are, at "
		       "most",
		       0, true },
};

static const enum tell_metric metric_of_end[REPORT_ENDS] = {
	[REPORT_APPLIED] = TELL_APPLIED,     [REPORT_UNCHANGED] = TELL_UNCHANGED,
	[REPORT_PREVIEWED] = TELL_PREVIEWED, [REPORT_HELD] = TELL_HELD,
	[REPORT_FAILED] = TELL_FAILED,
};

struct tell {
	char *node;
	struct report_state *states; /* owned, n of them */
	size_t n, size;
	bool sending;
};

struct tell *tell_new(const char *node)
{
	struct tell *tell = mem_new(struct tell);

	tell->node = str_format("%s/directory", node);
	return tell;
}

void tell_begin(struct tell *tell)
{
	for (size_t i = 0; i < tell->n; i++)
		report_state_clear(&tell->states[i]);
	tell->n = 0;
	for (size_t i = 0; i < TELL_METRICS; i++)
		if (tell_metrics[i].gauge)
			metric_set(&tell_metrics[i], 0);
}

void tell_free(struct tell *tell)
{
	if (!tell)
		return;
	tell_begin(tell);
	free(tell->states);
	free(tell->node);
	free(tell);
}

static void count(const struct report_counts *counts)
{
	for (size_t i = 0; i < REPORT_ENDS; i++)
		metric_add(&tell_metrics[metric_of_end[i]], counts->runs[i]);
	metric_add(&tell_metrics[TELL_READ], counts->read);
	metric_add(&tell_metrics[TELL_PEOPLE], counts->changes);
	metric_add(&tell_metrics[TELL_CHANGES], counts->changes_runs);
	metric_add(&tell_metrics[TELL_REFUSED_CURSORS], counts->refused_cursors);
	metric_add(&tell_metrics[TELL_LOST], counts->lost_connections);
}

static void gauge(const struct report_row *row, msec now)
{
	struct metric *lag = &tell_metrics[TELL_LAG];
	bool followed = strcmp(row->state, "followed") == 0;
	int64_t seconds = followed || row->as_of == 0 ? 0 : (now - row->as_of) / 1000;

	if (strcmp(row->state, "standby") == 0)
		return;
	metric_add(&tell_metrics[TELL_CONTEXTS], 1);
	metric_add(&tell_metrics[TELL_FOLLOWED], followed);
	if (seconds > lag->value)
		metric_set(lag, seconds);
}

void tell_add(struct tell *tell, const struct report_counts *counts, struct report_state state,
	      msec now)
{
	count(counts);
	for (size_t i = 0; i < state.n; i++)
		gauge(&state.rows[i], now);
	if (tell->n == tell->size) {
		tell->size = tell->size ? 2 * tell->size : 8;
		tell->states = mem_resize(tell->states, tell->size, sizeof *tell->states);
	}
	tell->states[tell->n++] = state;
}

static void on_sent(void *arg, enum hr_status status, const PGresult *result,
		    const struct hr_err *err)
{
	struct tell *tell = arg;

	(void)result;
	tell->sending = false;
	if (status == HR_FAIL)
		log_error("directory.status_failed", LOG_ERR(err));
}

void tell_send(struct tell *tell, struct pg *pg)
{
	size_t n = 0;

	if (tell->sending || !pg_is_up(pg))
		return;
	for (size_t i = 0; i < tell->n; i++)
		n += tell->states[i].n;
	struct status_row *rows = mem_array(struct status_row, n), *row = rows;
	for (size_t i = 0; i < tell->n; i++)
		for (size_t k = 0; k < tell->states[i].n; k++)
			*row++ = (struct status_row){
				.kind = "forest",
				.name = tell->states[i].rows[k].name,
				.state = tell->states[i].rows[k].state,
				.detail = tell->states[i].rows[k].detail,
			};
	tell->sending = true;
	status_report(pg, slice_str(tell->node), rows, n, tell_metrics, TELL_METRICS, on_sent,
		      tell);
	free(rows);
}
