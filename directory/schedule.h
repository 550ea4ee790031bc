/* SPDX-License-Identifier: Apache-2.0 */
/* When which forest is read. Asks the database for the plan (at start, when notified, when a run
 * has ended, when something comes due) and runs each due forest on a worker thread, one run a
 * forest at a time. Lives on the loop. */
#pragma once

#include "base/loop.h"
#include "base/mem.h"

struct schedule;

struct schedule_options {
	const char *database, *secrets, *node; /* borrowed */
};

struct schedule *schedule_new(struct loop *loop, const struct schedule_options *options);
/* Begins no more runs and tells those under way to give up; calls stopped(arg) when none is left,
 * at once when none is under way. */
void schedule_stop(struct schedule *schedule, loop_fn *stopped, void *arg);
void schedule_free(struct schedule *schedule); /* only with no run under way; NULL is fine */
DEFINE_SCOPED(schedule)
