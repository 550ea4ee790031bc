/* SPDX-License-Identifier: Apache-2.0 */
/* What gateway.ini says. */
#pragma once

#include "base/options.h"
#include "base/time.h"

struct gateway_options {
	char *node, *database, *secrets, *log_level;
	msec drain, patience;
	char *listen, *key;
	msec heartbeat, retry_max;
	char *mail_listen;
	int64_t mail_size, mail_memory; /* MiB */
	msec mail_retry_min, mail_retry_max;
};

/* The table of gateway.ini, for options_read into a struct gateway_options. */
extern const struct ini_option gateway_option_table[];
extern const size_t gateway_option_count;

/* Checks what can be checked without a database: what contradicts itself, the secrets directory,
 * the link key. */
HR_MUST_USE enum hr_status gateway_options_check(const struct gateway_options *options,
						 struct hr_err *err);
