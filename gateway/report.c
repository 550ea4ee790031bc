/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/report.h"

#include "base/log.h"
#include "base/map.h"
#include "gateway/desk.h"
#include "gateway/mail/metric.h"
#include "gateway/xmpp/edge.h"
#include "schema/status.h"

enum { ROWS_MAX = 1024 };

struct report {
	const char *node;
	const struct dispatch *dispatch;
	bool is_sending;
};

/* All metrics of the gateway, by module. */
static const struct {
	const struct metric *metrics;
	size_t count;
} modules[] = {
	{ xmpp_metrics, XMPP_METRICS },		{ mail_metrics, MAIL_METRICS },
	{ dispatch_metrics, DISPATCH_METRICS }, { desk_metrics, DESK_METRICS },
	{ journal_metrics, JOURNAL_METRICS },	{ link_metrics, LINK_METRICS },
};
enum {
	METRICS = XMPP_METRICS + MAIL_METRICS + DISPATCH_METRICS + DESK_METRICS + JOURNAL_METRICS +
		  LINK_METRICS
};

static size_t gather_metrics(struct metric out[METRICS])
{
	size_t n = 0;

	for (size_t i = 0; i < countof(modules); i++) {
		memcpy(out + n, modules[i].metrics, modules[i].count * sizeof *out);
		n += modules[i].count;
	}
	return n;
}

static size_t gather_rows(const struct dispatch *dispatch, struct status_row *rows, size_t max)
{
	const struct config *config = registry_config(dispatch->registry);
	struct slice name;
	void *value;
	size_t n = 0;

	for (size_t i = 0; i < config->site_count && n < max; i++) {
		const struct link *link = links_find(dispatch->links, config->sites[i].name);

		if (link)
			rows[n++] = (struct status_row){
				.kind = "link",
				.name = config->sites[i].name,
				.state = link_is_up(link) ? "up" : "down",
				.detail = link_is_up(link) ? NULL : link_reason(link),
			};
	}
	for (size_t at = 0; map_next(dispatch->edges, &at, &name, &value);) {
		const struct edge *edge = value;

		n += edge->ops->status(edge, rows + n, max - n);
	}
	return n;
}

static void sent(void *arg, enum hr_status status, const PGresult *result, const struct hr_err *err)
{
	struct report *report = arg;

	(void)result;
	report->is_sending = false;
	if (status == HR_FAIL)
		log_error("gateway.status_failed", LOG_ERR(err));
}

void report_send(struct report *report)
{
	const struct dispatch *dispatch = report->dispatch;
	struct metric metrics[METRICS];

	if (report->is_sending || !pg_is_up(dispatch->pg))
		return;

	struct status_row *rows = mem_array(struct status_row, ROWS_MAX);
	size_t row_count = gather_rows(dispatch, rows, ROWS_MAX);

	report->is_sending = true;
	status_report(dispatch->pg, slice_str(report->node), rows, row_count, metrics,
		      gather_metrics(metrics), sent, report);
	free(rows);
}

struct report *report_new(const char *node, const struct dispatch *dispatch)
{
	struct report *report = mem_new(struct report);

	report->node = node;
	report->dispatch = dispatch;
	return report;
}

void report_free(struct report *report)
{
	free(report);
}
