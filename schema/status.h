/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon tells operators through SQL: its metrics and the state of what it has to do with
 * (views hedgerow.gateway_status, link_status, stream_status, sync_contexts, metric_status). */
#pragma once

#include "base/metric.h"
#include "base/pg.h"

struct status_row {
	const char *kind; /* "link", "stream" or "forest" */
	const char *name; /* the peer site, installation/domain, or forest/base */
	const char *state;
	const char *detail; /* the last error; may be NULL */
};

void status_report(struct pg *pg, struct slice node, const struct status_row *rows,
		   size_t row_count, const struct metric *metrics, size_t metric_count, pg_fn *fn,
		   void *arg);
