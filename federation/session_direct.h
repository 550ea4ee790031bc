/* SPDX-License-Identifier: Apache-2.0 */
/* The presences and queries of one connection: those that wait to be sent, and how many the peer
 * has not taken yet. Pure. */
#pragma once

#include "federation/envelope.h"

struct direct;
struct direct *direct_new(void);
void direct_free(struct direct *direct); /* NULL is fine */
DEFINE_SCOPED(direct)

void direct_reset(struct direct *direct); /* another connection: what waits is dropped */
/* Takes a reference. False: the peer has not taken SESSION_DIRECT_MAX, or so many bytes. */
bool direct_add(struct direct *direct, struct envelope *envelope);
/* The next to be sent, with its reference; NULL: none. */
struct envelope *direct_next(struct direct *direct);
/* The peer has taken `count` since the connection began. False: it can't have. */
bool direct_handled(struct direct *direct, int64_t count);
