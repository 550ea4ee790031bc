/* SPDX-License-Identifier: Apache-2.0 */
/* The end of something, as the threads that wait for directories see it: set once, from any thread,
 * and every wait that is made through stop_wait ends at once. */
#pragma once

#include "base/mem.h"
#include "base/time.h"

#include <poll.h>
#include <stdbool.h>

struct stop;

/* One that is set when `above`, borrowed, is, or by itself; NULL: by itself only. */
struct stop *stop_new(const struct stop *above);
void stop_free(struct stop *stop); /* NULL is fine */
DEFINE_SCOPED(stop)
void stop_set(struct stop *stop);
bool stop_is_set(const struct stop *stop);
int stop_fd(const struct stop *stop); /* readable once it is set */

enum stop_end { STOP_READY, STOP_TIMEOUT, STOP_STOPPED };

/* poll(2) for at most `limit`. `fds` has room for one more than the n that are waited for. */
enum stop_end stop_wait(const struct stop *stop, struct pollfd *fds, size_t n, msec limit);
