/* SPDX-License-Identifier: Apache-2.0 */
/* One run: the whole way of a forest from its directory into the registry. Blocks: for a worker
 * thread. Neither logs nor shares anything but *stop. */
#pragma once

#include "directory/adapter.h"

struct run_request {
	const char *database; /* conninfo */
	const char *forest, *node;
	enum publish_kind kind;
	bool draft;
	const char *secrets;
	const struct stop *stop;
};

enum { RUN_REFUSALS = 10 };

struct run_outcome {
	struct publish_result result;
	char *url;		      /* of the directory that answered; NULL: none did */
	char *refusals[RUN_REFUSALS]; /* the first of those that are new: anchor, space, reason */
	size_t refusal_count;
};

/* HR_OK: the run has ended and is written down, as result.state says (also when it failed).
 * HR_NONE: another daemon is at it. Else nothing is written down: the database is what failed. */
HR_MUST_USE enum hr_status run_forest(const struct run_request *request, struct run_outcome *out,
				      struct hr_err *err);
void run_outcome_clear(struct run_outcome *outcome); /* frees its texts, not itself */
