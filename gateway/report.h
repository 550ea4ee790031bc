/* SPDX-License-Identifier: Apache-2.0 */
/* What this gateway tells operators through SQL: its metrics, the state of its links and edges
 * (views hedgerow.gateway_status, link_status, stream_status, metric_status). */
#pragma once

#include "gateway/dispatch.h"

struct report;

struct report *report_new(const char *node, const struct dispatch *dispatch); /* borrowed */
void report_free(struct report *report); /* after the database connection that it asked */
DEFINE_SCOPED(report)

/* Sends a report, unless the last one is still on its way or the database is away. To be called
 * now and then, once the local site is known. */
void report_send(struct report *report);
