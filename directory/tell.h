/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon tells operators through SQL: its metrics, and how each naming context stands
 * (views hedgerow.sync_contexts, metric_status). Lives on the loop. */
#pragma once

#include "directory/report.h"

#include "base/metric.h"
#include "base/pg.h"

enum tell_metric {
	TELL_READ,
	TELL_PEOPLE,
	TELL_APPLIED,
	TELL_UNCHANGED,
	TELL_PREVIEWED,
	TELL_HELD,
	TELL_FAILED,
	TELL_CHANGES,
	TELL_REFUSED_CURSORS,
	TELL_LOST,
	TELL_CONTEXTS,
	TELL_FOLLOWED,
	TELL_LAG,
	TELL_METRICS
};
extern struct metric tell_metrics[TELL_METRICS];

struct tell;

/* `node`: of the daemon; what is told has /directory after it, as a gateway may have the same. */
struct tell *tell_new(const char *node);
void tell_free(
	struct tell *tell); /* NULL is fine; only when no answer is outstanding, or pg is freed */
DEFINE_SCOPED(tell)

/* One report: begin, what each forest has to say, send. */
void tell_begin(struct tell *tell);
void tell_add(struct tell *tell, const struct report_counts *counts, struct report_state state,
	      msec now); /* state is taken */
void tell_send(struct tell *tell, struct pg *pg);
