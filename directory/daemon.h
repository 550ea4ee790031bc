/* SPDX-License-Identifier: Apache-2.0 */
/* hedgerow-directory as a whole: its options, and its life from start to SIGTERM. */
#pragma once

#include "base/options.h"

struct directory_options {
	char *node;
	char *database;
	char *secrets;
	char *log_level;
};

extern const struct ini_option directory_option_table[];
extern const size_t directory_option_count;

/* Fills what the file may leave out from the environment and refuses what cannot work. */
HR_MUST_USE enum hr_status directory_check(struct directory_options *options, struct hr_err *err);
/* Runs until SIGTERM or SIGINT; runs under way are given up then, and change nothing. */
HR_MUST_USE enum hr_status directory_run(const struct directory_options *options,
					 struct hr_err *err);
