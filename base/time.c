/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t clock, int64_t per_second)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * per_second + now.tv_nsec / (1000000000 / per_second);
}

msec time_msec(void)
{
	return read_clock(CLOCK_MONOTONIC, 1000);
}

usec time_usec(void)
{
	return read_clock(CLOCK_REALTIME, 1000000);
}

msec msec_clamp(msec value, msec low, msec high)
{
	if (value < low)
		return low;
	return value > high ? high : value;
}

msec msec_jitter(msec base)
{
	uint32_t draw;

	if (base < 4)
		return base;
	/* up to 256 bytes come whole or not at all, and only before the pool is first filled */
	if (getrandom(&draw, sizeof draw, 0) != sizeof draw)
		abort();
	return base - base / 4 + (msec)((uint64_t)draw % (uint64_t)(2 * (base / 4) + 1));
}
