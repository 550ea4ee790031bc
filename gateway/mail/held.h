/* SPDX-License-Identifier: Apache-2.0 */
/* To whom something is deferred, and until when: what comes for them meanwhile waits with it, so
 * that it does not overtake. "recipient" for all, "sender recipient" for one conversation. Bounded;
 * when it is full all is forgotten, and order with it. Pure. */
#pragma once

#include "base/map.h"
#include "base/time.h"

struct held;
struct held *held_new(void);
void held_free(struct held *held); /* NULL is fine */
DEFINE_SCOPED(held)

void held_put(struct held *held, struct slice whom, usec until);
/* Until when; 0: nothing is held. */
usec held_until(struct held *held, struct slice whom, usec now);
