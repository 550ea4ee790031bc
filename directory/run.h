/* SPDX-License-Identifier: Apache-2.0 */
/* A run that reads a whole forest, from its directory into the registry. Blocks: for the forest's
 * thread. */
#pragma once

#include "directory/forest.h"

/* Reads everything, as a full or a dry run. HR_OK: the run has ended and is written down in *out,
 * to be cleared, also when it failed. When a full run did not fail, the contexts' positions are
 * those from which to follow, and their sessions are open; else positions are as before and
 * sessions closed. Not HR_OK: nothing is written down, the database is what failed. */
HR_MUST_USE enum hr_status run_whole(struct forest *forest, struct publish *publish,
				     const struct publish_due *what, struct report_run *out,
				     struct hr_err *err);

/* Adds to *out, of a run that has ended, its new refusals and the time since it began. */
HR_MUST_USE enum hr_status run_describe(struct publish *publish, msec began, struct report_run *out,
					struct hr_err *err);
