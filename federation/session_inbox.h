/* SPDX-License-Identifier: Apache-2.0 */
/* What a session has received from the peer's queue: how far it was handed over, how far of that
 * is committed, and how much is in between. Pure. */
#pragma once

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct inbox;
struct inbox *inbox_new(void);
void inbox_free(struct inbox *inbox); /* NULL is fine */
DEFINE_SCOPED(inbox)

void inbox_reset(struct inbox *inbox); /* another queue: nothing of it was received */
int64_t inbox_received(const struct inbox *inbox);
int64_t inbox_committed(const struct inbox *inbox);

/* seq, past inbox_received, is handed over. False: what is not committed is at its bound (twice the
 * window in envelopes, twice the memory of a queue in bytes), which no honest peer reaches. */
bool inbox_take(struct inbox *inbox, int64_t seq, size_t bytes);
/* Everything up to seq is committed, also what was never received here. */
void inbox_commit(struct inbox *inbox, int64_t seq);
