/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway process, put together: its two database connections, the registry, the journal, the
 * links, the edges, and which of them are its duty (under a lease each) rather than another
 * gateway's of the site. */
#pragma once

#include "gateway/options.h"

/* Runs until SIGTERM or SIGINT, then drains. HR_FAIL: it had to end; err says why. */
HR_MUST_USE enum hr_status gateway_run(const struct gateway_options *options, struct hr_err *err);
