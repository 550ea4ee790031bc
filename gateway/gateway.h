/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway process, put together: its two database connections, the registry, the journal, the
 * links, the edges, and which of them are its duty (under a lease each) rather than another
 * gateway's of the site. */
#pragma once

#include "base/err.h"
#include "base/options.h"
#include "base/time.h"

struct gateway_options {
	char *node, *database, *secrets, *log_level;
	msec drain, patience;
	char *listen, *key;
	msec heartbeat, retry_max;
};

/* The table of gateway.ini, for options_read into a struct gateway_options. */
extern const struct ini_option gateway_option_table[];
extern const size_t gateway_option_count;

/* Checks what can be checked without a database: the secrets directory, the link key. */
HR_MUST_USE enum hr_status gateway_check(const struct gateway_options *options, struct hr_err *err);

/* Runs until SIGTERM or SIGINT, then drains. HR_FAIL: it had to end; err says why. */
HR_MUST_USE enum hr_status gateway_run(const struct gateway_options *options, struct hr_err *err);
