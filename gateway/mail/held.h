/* SPDX-License-Identifier: Apache-2.0 */
/* To whom something was deferred, and until when: what came after it waits with it, so that it does
 * not overtake. "recipient" for all, "sender recipient" for one conversation. Messages are compared
 * by their envelopes' ids, which are in order of time. For what the table `deferred` can't tell yet
 * (schema/mail.h, mail_send_answer): forgotten within seconds, and all of it when it is full. Pure.
 */
#pragma once

#include "base/map.h"
#include "base/time.h"

struct held;
struct held *held_new(void);
void held_free(struct held *held); /* NULL is fine */
DEFINE_SCOPED(held)

/* `by`: id of what was deferred, not before `until`. The last one counts: what waits behind another
 * is put itself, and so is not held by what it has waited behind once that is over. */
void held_put(struct held *held, struct slice whom, struct slice by, usec until, usec now);
/* Until when what has this id is held, which may have passed; 0: it is not. */
usec held_until(struct held *held, struct slice whom, struct slice id, usec now);
