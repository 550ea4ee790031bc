/* SPDX-License-Identifier: Apache-2.0 */
/* What a follower tells: each run's end as an event, and for metrics and status what has happened
 * and how it stands. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "schema/publish.h"

/* What runs have ended as. */
enum report_end {
	REPORT_APPLIED,
	REPORT_UNCHANGED,
	REPORT_PREVIEWED,
	REPORT_HELD,
	REPORT_FAILED,
	REPORT_ENDS
};

struct report_counts {
	int64_t runs[REPORT_ENDS]; /* of all kinds */
	int64_t read;		   /* entries */
	int64_t changes;	   /* people added, changed, removed or disabled */
	int64_t changes_runs;
	int64_t refused_cursors;
	int64_t lost_connections; /* to directories */
};

void report_add(struct report_counts *counts, const struct report_counts *more);

/* How one naming context stands. */
struct report_row {
	char *name;	   /* FOREST/BASE */
	const char *state; /* static */
	char *detail;	   /* owned; NULL: none */
	msec as_of;	   /* it is as the directory was then; 0: unknown */
};

struct report_state {
	struct report_row *rows;
	size_t n;
};
void report_state_clear(struct report_state *state);

enum { REPORT_REFUSALS = 10 };

/* A run that has ended, to be cleared. */
struct report_run {
	struct publish_result result;
	char *url;			 /* of the directory that answered; NULL: none did */
	char *refusals[REPORT_REFUSALS]; /* the first of those that are new: anchor, reason */
	size_t refusal_count;
	msec took;
};
void report_run_clear(struct report_run *run);

/* Logs the end of a run, and counts it. */
void report_run(const char *forest, const struct report_run *run, struct report_counts *counts);
