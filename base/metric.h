/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and gauges of a daemon: one static table in the program that owns it, so that names
 * are known at build time and the manual can be checked against them. One thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metric {
	const char *name; /* snake_case with unit, e.g. "xmpp_stanzas_in_total" */
	const char *help;
	int64_t value;
	bool gauge; /* false: only ever grows while the process lives */
};

static inline void metric_add(struct metric *metric, int64_t n)
{
	metric->value += n;
}
static inline void metric_set(struct metric *metric, int64_t value)
{
	metric->value = value;
}
