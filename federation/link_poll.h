/* SPDX-License-Identifier: Apache-2.0 */
/* A ZeroMQ socket on the loop. Its file descriptor is edge-triggered: readable says only that
 * something has changed since the last call on the socket, so `drain` reads until there is no more,
 * after each wake-up and after each send. */
#pragma once

#include "base/loop.h"

struct link_poll;
/* drain(arg) at each wake-up. The socket is borrowed. */
struct link_poll *link_poll_new(struct loop *loop, void *socket, loop_fn *drain, void *arg);
void link_poll_again(struct link_poll *poll); /* drain(arg) at the end of this turn: after a send */
void link_poll_free(struct link_poll *poll);  /* before the socket is closed; NULL is fine */
DEFINE_SCOPED(link_poll)
