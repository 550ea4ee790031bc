/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/failover.h"

static bool is_suspect(const struct failover *failover, size_t server, msec now)
{
	return server < FAILOVER_SERVERS && failover->failed_at[server] != 0 &&
	       now - failover->failed_at[server] < FAILOVER_MS;
}

void failover_failed(struct failover *failover, size_t server, msec now)
{
	if (server < FAILOVER_SERVERS)
		failover->failed_at[server] = now;
}

void failover_worked(struct failover *failover, size_t server)
{
	if (server < FAILOVER_SERVERS)
		failover->failed_at[server] = 0;
}

size_t failover_pick(const struct failover *failover, size_t n, size_t nth, msec now)
{
	for (int suspects = 0; suspects < 2; suspects++)
		for (size_t i = 0; i < n; i++)
			if (is_suspect(failover, i, now) == suspects && nth-- == 0)
				return i;
	return 0; /* nth is not less than n */
}
