/* SPDX-License-Identifier: Apache-2.0 */
/* The one libuv loop of a daemon, in the few forms that we use: timers with a deadline, watched
 * file descriptors, signals, work at the end of the turn, and objects parked until then. */
#pragma once

#include "base/mem.h"
#include "base/time.h"

#include <stdbool.h>
#include <uv.h>

struct loop;
typedef void loop_fn(void *arg);

struct loop *loop_new(void); /* SIGPIPE is ignored from here on */
/* Everything made on it must be freed before. Destroys what is parked, drops what is for later,
 * and waits for name look-ups under way. */
void loop_free(struct loop *loop);
DEFINE_SCOPED(loop)
void loop_run(struct loop *loop); /* until loop_stop, or nothing is left that could happen */
void loop_stop(struct loop *loop);
uv_loop_t *loop_uv(struct loop *loop);
msec loop_now(struct loop *loop); /* the time at which this turn began */

/* Calls fn(arg) once, after the I/O callbacks of this turn, before the loop waits again. A pair
 * that is waiting already is not added again. What is registered while these run, runs in the same
 * turn up to a bound, past it in the next turn, without a wait. Cancel with the same pair. */
void loop_later(struct loop *loop, loop_fn *fn, void *arg);
void loop_cancel(struct loop *loop, loop_fn *fn, void *arg);
/* An object that dies inside its own callback: destroy(object) runs at the end of the turn, after
 * what is for later. */
void loop_park(struct loop *loop, void *object, loop_fn *destroy);

struct timer;
struct timer *timer_new(struct loop *loop, loop_fn *fn, void *arg); /* disarmed */
void timer_set(struct timer *timer, msec deadline); /* monotonic; 0 disarms; fires once,
						      in a later turn */
void timer_free(struct timer *timer);		    /* NULL is fine; allowed inside fn */
DEFINE_SCOPED(timer)

enum { WATCH_READ = 1, WATCH_WRITE = 2 };
typedef void watch_fn(void *arg, int events); /* WATCH_READ, WATCH_WRITE; an error sets both */
struct watch;
struct watch *watch_new(struct loop *loop, int fd, watch_fn *fn,
			void *arg); /* watches nothing yet */
void watch_set(struct watch *watch, int events);
void watch_free(struct watch *watch); /* before the fd is closed; allowed inside fn */
DEFINE_SCOPED(watch)

struct on_signal;
struct on_signal *on_signal_new(struct loop *loop, int signum, loop_fn *fn, void *arg);
void on_signal_free(struct on_signal *signal);
DEFINE_SCOPED(on_signal)
