/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/ration.h"

#include "base/map.h"

struct ration {
	size_t most;
	msec window, ends;
	struct map *taken; /* who -> how much, as a number in the pointer */
};

struct ration *ration_new(size_t most, msec window)
{
	struct ration *ration = mem_new(struct ration);

	ration->most = most;
	ration->window = window;
	ration->taken = map_new();
	return ration;
}

void ration_free(struct ration *ration)
{
	if (ration)
		map_free(ration->taken);
	free(ration);
}

bool ration_take(struct ration *ration, struct slice who, size_t cost, msec now)
{
	if (now >= ration->ends) {
		map_free(ration->taken);
		ration->taken = map_new();
		ration->ends = now + ration->window;
	}
	size_t taken = (uintptr_t)map_get(ration->taken, who);
	if (cost > ration->most - taken)
		return false;
	map_put(ration->taken, who, (void *)(uintptr_t)(taken + cost));
	return true;
}
