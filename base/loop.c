/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include "base/log.h"

#include <signal.h>

enum { ROUNDS_A_TURN = 16 };

struct call {
	loop_fn *fn; /* NULL: cancelled */
	void *arg;
};

struct calls {
	struct call *at;
	size_t count, size;
};

/* later and parked run before the loop waits (prepare: what timers left) and after it has waited
 * (check: what I/O left). A full bound leaves the idle handle active: the next wait is no wait. */
struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	struct calls later, parked;
	size_t next; /* of later: those before it have run */
};

static void must(int status, const char *what)
{
	if (status == 0)
		return;
	log_error("loop.fault", LOG_STR("call", what), LOG_STR("error", uv_strerror(status)));
	abort();
}

static void push(struct calls *calls, struct call call)
{
	if (calls->count == calls->size) {
		calls->size = calls->size ? 2 * calls->size : 16;
		calls->at = mem_resize(calls->at, calls->size, sizeof *calls->at);
	}
	calls->at[calls->count++] = call;
}

/* Calls each of parked, also those that come meanwhile: an object may own another. */
static void destroy_parked(struct loop *loop)
{
	for (size_t i = 0; i < loop->parked.count; i++) {
		struct call call = loop->parked.at[i];
		call.fn(call.arg);
	}
	loop->parked.count = 0;
}

static void on_idle(uv_idle_t *handle)
{
	(void)handle; /* active: that is all */
}

static void run_later(struct loop *loop)
{
	for (int round = 0; round < ROUNDS_A_TURN && loop->next < loop->later.count; round++) {
		for (size_t end = loop->later.count; loop->next < end;) {
			struct call call = loop->later.at[loop->next++];
			if (call.fn)
				call.fn(call.arg);
		}
	}
	if (loop->next < loop->later.count) {
		uv_idle_start(&loop->idle, on_idle);
		return;
	}
	loop->next = loop->later.count = 0;
	uv_idle_stop(&loop->idle);
}

static void end_turn(struct loop *loop)
{
	if (loop->later.count > 0)
		run_later(loop);
	if (loop->parked.count > 0)
		destroy_parked(loop);
}

static void on_prepare(uv_prepare_t *handle)
{
	end_turn(handle->data);
}

static void on_check(uv_check_t *handle)
{
	end_turn(handle->data);
}

struct loop *loop_new(void)
{
	struct loop *loop = mem_new(struct loop);

	signal(SIGPIPE, SIG_IGN);
	must(uv_loop_init(&loop->uv), "uv_loop_init");
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_check_init(&loop->uv, &loop->check);
	uv_idle_init(&loop->uv, &loop->idle);
	loop->prepare.data = loop->check.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_check_start(&loop->check, on_check);
	return loop;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	destroy_parked(loop);
	uv_walk(&loop->uv, close_handle, NULL);
	do {
		uv_run(&loop->uv, UV_RUN_DEFAULT); /* close callbacks, and look-ups under way */
		destroy_parked(loop);
	} while (uv_loop_alive(&loop->uv));
	must(uv_loop_close(&loop->uv), "uv_loop_close");
	free(loop->later.at);
	free(loop->parked.at);
	free(loop);
}

void loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

uv_loop_t *loop_uv(struct loop *loop)
{
	return &loop->uv;
}

msec loop_now(struct loop *loop)
{
	return (msec)uv_now(&loop->uv);
}

void loop_later(struct loop *loop, loop_fn *fn, void *arg)
{
	for (size_t i = loop->next; i < loop->later.count; i++)
		if (loop->later.at[i].fn == fn && loop->later.at[i].arg == arg)
			return;
	push(&loop->later, (struct call){ fn, arg });
}

void loop_cancel(struct loop *loop, loop_fn *fn, void *arg)
{
	for (size_t i = loop->next; i < loop->later.count; i++)
		if (loop->later.at[i].fn == fn && loop->later.at[i].arg == arg)
			loop->later.at[i].fn = NULL;
}

void loop_park(struct loop *loop, void *object, loop_fn *destroy)
{
	push(&loop->parked, (struct call){ destroy, object });
}

struct timer {
	uv_timer_t uv;
	loop_fn *fn;
	void *arg;
};

static void on_timer(uv_timer_t *handle)
{
	struct timer *timer = handle->data;

	timer->fn(timer->arg);
}

struct timer *timer_new(struct loop *loop, loop_fn *fn, void *arg)
{
	struct timer *timer = mem_new(struct timer);

	*timer = (struct timer){ .fn = fn, .arg = arg };
	must(uv_timer_init(&loop->uv, &timer->uv), "uv_timer_init");
	timer->uv.data = timer;
	return timer;
}

void timer_set(struct timer *timer, msec deadline)
{
	if (deadline == 0) {
		uv_timer_stop(&timer->uv);
		return;
	}
	/* Never at once: libuv runs what is due until nothing is, so a timer that its own callback
	 * arms for a time that has passed would keep the turn from ending. */
	msec now = (msec)uv_now(timer->uv.loop);
	uv_timer_start(&timer->uv, on_timer, deadline > now ? (uint64_t)(deadline - now) : 1, 0);
}

static void free_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void timer_free(struct timer *timer)
{
	if (timer)
		uv_close((uv_handle_t *)&timer->uv, free_closed);
}

struct watch {
	uv_poll_t uv;
	watch_fn *fn;
	void *arg;
	int events;
};

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct watch *watch = handle->data;

	if (status < 0) {
		watch->events = 0; /* libuv has stopped it */
		watch->fn(watch->arg, WATCH_READ | WATCH_WRITE);
		return;
	}
	watch->fn(watch->arg, (events & UV_READABLE ? WATCH_READ : 0) |
				      (events & UV_WRITABLE ? WATCH_WRITE : 0));
}

struct watch *watch_new(struct loop *loop, int fd, watch_fn *fn, void *arg)
{
	struct watch *watch = mem_new(struct watch);

	*watch = (struct watch){ .fn = fn, .arg = arg };
	must(uv_poll_init(&loop->uv, &watch->uv, fd), "uv_poll_init");
	watch->uv.data = watch;
	return watch;
}

void watch_set(struct watch *watch, int events)
{
	if (events == watch->events)
		return;
	watch->events = events;
	if (events == 0)
		uv_poll_stop(&watch->uv);
	else
		uv_poll_start(&watch->uv,
			      (events & WATCH_READ ? UV_READABLE : 0) |
				      (events & WATCH_WRITE ? UV_WRITABLE : 0),
			      on_poll);
}

void watch_free(struct watch *watch)
{
	if (watch)
		uv_close((uv_handle_t *)&watch->uv, free_closed);
}

struct on_signal {
	uv_signal_t uv;
	loop_fn *fn;
	void *arg;
};

static void on_delivery(uv_signal_t *handle, int signum)
{
	struct on_signal *on = handle->data;

	(void)signum;
	on->fn(on->arg);
}

struct on_signal *on_signal_new(struct loop *loop, int signum, loop_fn *fn, void *arg)
{
	struct on_signal *on = mem_new(struct on_signal);

	*on = (struct on_signal){ .fn = fn, .arg = arg };
	must(uv_signal_init(&loop->uv, &on->uv), "uv_signal_init");
	on->uv.data = on;
	must(uv_signal_start(&on->uv, on_delivery, signum), "uv_signal_start");
	return on;
}

void on_signal_free(struct on_signal *on)
{
	if (on)
		uv_close((uv_handle_t *)&on->uv, free_closed);
}
