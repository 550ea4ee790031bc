/* SPDX-License-Identifier: Apache-2.0 */
/* What a gateway tells operators through SQL: its metrics and the state of its links and streams
 * (views hedgerow.gateway_status, link_status, stream_status, metric_status). */
#pragma once

#include "base/metric.h"
#include "base/pg.h"

struct status_row {
	const char *kind; /* "link" or "stream" */
	const char *name; /* the peer site, or installation/domain */
	const char *state;
	const char *detail; /* the last error; may be NULL */
};

void status_report(struct pg *pg, struct slice node, const struct status_row *rows,
		   size_t row_count, const struct metric *metrics, size_t metric_count, pg_fn *fn,
		   void *arg);
