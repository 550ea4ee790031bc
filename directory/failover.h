/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the servers of a naming context are tried: as they are named, but those that have
 * failed lately after the others. Pure. */
#pragma once

#include "base/mem.h"
#include "base/time.h"

#include <stdbool.h>

enum { FAILOVER_MS = 5 * 60 * 1000, FAILOVER_SERVERS = 32 };

struct failover {
	msec failed_at[FAILOVER_SERVERS]; /* 0: it has not. Servers past these are not remembered */
};

void failover_failed(struct failover *failover, size_t server, msec now);
void failover_worked(struct failover *failover, size_t server);
/* The `nth` server of n to try, counted from 0. */
size_t failover_pick(const struct failover *failover, size_t n, size_t nth, msec now);
