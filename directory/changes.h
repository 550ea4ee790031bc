/* SPDX-License-Identifier: Apache-2.0 */
/* What a followed forest tells of changes, published as it comes. Blocks while it publishes: for
 * the forest's thread. */
#pragma once

#include "directory/forest.h"

struct changes {
	struct report_run run; /* result.run 0: there was nothing to publish; to be cleared */
	bool again;	       /* there may be more at once */
	bool lost;	       /* of a context following is at an end: only a full run helps */
	msec pause;	       /* before that run */
	struct report_counts counts; /* of what happened to sessions */
};

/* Takes the changes that are there in those contexts that are `due`, one flag a context, and
 * publishes them in one run together with how far they go. Contexts whose directory fails are tried
 * again later. Not HR_OK: the database has failed. */
HR_MUST_USE enum hr_status changes_take(struct forest *forest, struct publish *publish,
					const bool *due, struct changes *out, struct hr_err *err);
