/* SPDX-License-Identifier: Apache-2.0 */
/* How much each of many may take within a window of time. The window is the same for all, so that
 * at its end everything is forgotten at once. Pure. */
#pragma once

#include "base/mem.h"
#include "base/slice.h"
#include "base/time.h"

struct ration;

struct ration *ration_new(size_t most, msec window);
void ration_free(struct ration *ration); /* NULL is fine */
DEFINE_SCOPED(ration)

/* Takes `cost` for `who`. False: that is more than is left, and nothing is taken. */
bool ration_take(struct ration *ration, struct slice who, size_t cost, msec now);
