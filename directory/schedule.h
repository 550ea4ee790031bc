/* SPDX-License-Identifier: Apache-2.0 */
/* Which forests there are, and what is due. Asks the database for the plan (at start, when
 * notified, when a follower tells, when something comes due), keeps a follower for each forest of
 * it, and asks that for the runs. Lives on the loop. */
#pragma once

#include "base/loop.h"
#include "base/mem.h"

struct schedule;

struct schedule_options {
	const char *database, *secrets, *node; /* borrowed */
};

struct schedule *schedule_new(struct loop *loop, const struct schedule_options *options);
/* Ends all followers; calls stopped(arg) when none is left, in a later turn. */
void schedule_stop(struct schedule *schedule, loop_fn *stopped, void *arg);
void schedule_free(struct schedule *schedule); /* once it has stopped; NULL is fine */
DEFINE_SCOPED(schedule)
