/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/status.h"

static const struct pg_statement report_statement = {
	"status_report",
	"SELECT FROM hedgerow.status_report($1::text, $2::text[], $3::text[],"
	" $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bool[], $9::text[])"
};

static void add_texts(struct pg_params *params, const struct status_row *rows, size_t n,
		      size_t offset)
{
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, slice_str(*(char *const *)((const char *)&rows[i] + offset)));
}

static void add_metrics(struct pg_params *params, const struct metric *metrics, size_t n)
{
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, slice_str(metrics[i].name));
	pg_begin_array(params, PG_BIGINT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bigint(params, metrics[i].value);
	pg_begin_array(params, PG_BOOL, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bool(params, metrics[i].gauge);
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, slice_str(metrics[i].help));
}

void status_report(struct pg *pg, struct slice node, const struct status_row *rows,
		   size_t row_count, const struct metric *metrics, size_t metric_count, pg_fn *fn,
		   void *arg)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_text(params, node);
	add_texts(params, rows, row_count, offsetof(struct status_row, kind));
	add_texts(params, rows, row_count, offsetof(struct status_row, name));
	add_texts(params, rows, row_count, offsetof(struct status_row, state));
	add_texts(params, rows, row_count, offsetof(struct status_row, detail));
	add_metrics(params, metrics, metric_count);
	pg_send(pg, &report_statement, params, fn, arg);
}
