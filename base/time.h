/* SPDX-License-Identifier: Apache-2.0 */
/* Time. `msec` is monotonic milliseconds (deadlines, intervals); `usec` is microseconds since
 * 1970-01-01 UTC (what is stored or sent). Pure modules get both as parameters. */
#pragma once

#include <stdint.h>

typedef int64_t msec;
typedef int64_t usec;

msec time_msec(void);
usec time_usec(void);
msec msec_clamp(msec value, msec low, msec high);
/* A value drawn evenly from [base - base/4, base + base/4]: keeps retries of many from meeting. */
msec msec_jitter(msec base);
