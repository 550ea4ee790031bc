/* SPDX-License-Identifier: Apache-2.0 */
/* What is due of the forests of the local site. Asked on the loop. */
#pragma once

#include "base/pg.h"

enum publish_kind {
	PUBLISH_FULL,	 /* everything is staged: proves who is gone */
	PUBLISH_CHANGES, /* some entries, whole as they are now, and anchors that are gone */
	PUBLISH_DRY_RUN, /* as full, but touches nobody: its difference is in a view */
};

/* What is to be done for a forest of the local site. The plan has one row a forest. */
struct publish_due {
	struct slice forest;
	msec due_in;		/* 0: now */
	enum publish_kind kind; /* never PUBLISH_CHANGES */
	bool draft;		/* of a dry run: by the draft of the mapping */
};

/* status HR_OK: `due` holds one row a forest, borrowed for the call. Otherwise as pg_fn. */
typedef void publish_plan_fn(void *arg, enum hr_status status, const struct publish_due *due,
			     size_t n, const struct hr_err *err);
void publish_plan(struct pg *pg, publish_plan_fn *fn, void *arg);

/* The channels whose notifications mean: ask for the plan again. NULL-terminated. */
extern const char *const publish_channels[];
