/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Letters in the order of what happened. */
struct scene {
	struct loop *loop;
	struct timer *timer;
	struct watch *watch;
	struct on_signal *on_signal;
	struct buf seen;
	int left;
	int fds[2];
};

static int open_scene(void **state)
{
	struct scene *scene = mem_new(struct scene);

	scene->loop = loop_new();
	*state = scene;
	return socketpair(AF_UNIX, SOCK_STREAM, 0, scene->fds);
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	loop_free(scene->loop);
	close(scene->fds[0]);
	close(scene->fds[1]);
	buf_free(&scene->seen);
	free(scene);
	return 0;
}

static void see_a(void *arg)
{
	struct scene *scene = arg;

	buf_add_char(&scene->seen, 'a');
}

static void see_b(void *arg)
{
	struct scene *scene = arg;

	buf_add_char(&scene->seen, 'b');
}

static void stop(void *arg)
{
	struct scene *scene = arg;

	buf_add_char(&scene->seen, '.');
	loop_stop(scene->loop);
}

static void timers_fire_once_in_order_of_their_deadlines(void **state)
{
	struct scene *scene = *state;
	msec now = loop_now(scene->loop);
	scoped(timer) a = timer_new(scene->loop, see_a, scene);
	scoped(timer) b = timer_new(scene->loop, see_b, scene);
	scoped(timer) never = timer_new(scene->loop, see_b, scene);
	scoped(timer) end = timer_new(scene->loop, stop, scene);

	timer_set(end, now + 4);
	timer_set(b, now + 2);
	timer_set(a, now + 1000000);
	timer_set(a, now + 1);
	timer_set(never, now + 1);
	timer_set(never, 0);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), "ab.");
	assert_true(loop_now(scene->loop) >= now + 4);
}

static void a_deadline_in_the_past_fires_at_once(void **state)
{
	struct scene *scene = *state;
	scoped(timer) end = timer_new(scene->loop, stop, scene);

	timer_set(end, 1);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), ".");
}

static void free_own_timer(void *arg)
{
	struct scene *scene = arg;

	timer_free(give(scene->timer));
	stop(scene);
}

static void a_timer_may_be_freed_inside_its_function(void **state)
{
	struct scene *scene = *state;

	scene->timer = timer_new(scene->loop, free_own_timer, scene);
	timer_set(scene->timer, 1);
	loop_run(scene->loop);
	assert_null(scene->timer);
}

static void later_runs_once_and_in_order(void **state)
{
	struct scene *scene = *state;

	loop_later(scene->loop, see_a, scene);
	loop_later(scene->loop, see_b, scene);
	loop_later(scene->loop, see_a, scene);
	loop_later(scene->loop, stop, scene);
	assert_int_equal(scene->seen.len, 0);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), "ab.");
}

static void cancelled_work_does_not_run(void **state)
{
	struct scene *scene = *state;

	loop_later(scene->loop, see_a, scene);
	loop_later(scene->loop, see_b, scene);
	loop_cancel(scene->loop, see_a, scene);
	loop_later(scene->loop, stop, scene);
	loop_cancel(scene->loop, see_a, scene);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), "b.");
}

static void cancel_b(void *arg)
{
	struct scene *scene = arg;

	loop_cancel(scene->loop, see_b, scene);
}

static void work_may_cancel_what_follows_it(void **state)
{
	struct scene *scene = *state;

	loop_later(scene->loop, cancel_b, scene);
	loop_later(scene->loop, see_b, scene);
	loop_later(scene->loop, stop, scene);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), ".");
}

static void again(void *arg)
{
	struct scene *scene = arg;

	buf_add_char(&scene->seen, 'x');
	if (--scene->left > 0)
		loop_later(scene->loop, again, scene);
	else
		loop_stop(scene->loop);
}

static void work_that_makes_work_ends_without_a_wait(void **state)
{
	struct scene *scene = *state;

	scene->left = 1000;
	loop_later(scene->loop, again, scene);
	loop_run(scene->loop);
	assert_int_equal(scene->seen.len, 1000);
}

static void work_without_end_lets_timers_through(void **state)
{
	struct scene *scene = *state;
	scoped(timer) end = timer_new(scene->loop, stop, scene);

	scene->left = INT32_MAX;
	scene->seen.cap = 1000;
	timer_set(end, loop_now(scene->loop) + 5);
	loop_later(scene->loop, again, scene);
	loop_run(scene->loop);
	loop_cancel(scene->loop, again, scene);
}

static void on_readable(void *arg, int events)
{
	struct scene *scene = arg;
	char byte;

	assert_int_equal(events, WATCH_READ);
	assert_int_equal(read(scene->fds[0], &byte, 1), 1);
	buf_add_char(&scene->seen, byte);
	loop_later(scene->loop, see_b, scene);
	if (byte == 'z')
		loop_stop(scene->loop);
}

static void later_comes_after_input_and_before_the_next_wait(void **state)
{
	struct scene *scene = *state;
	scoped(watch) watch = watch_new(scene->loop, scene->fds[0], on_readable, scene);

	watch_set(watch, WATCH_READ);
	assert_int_equal(write(scene->fds[1], "xyz", 3), 3);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), "xbybzb");
}

static void on_writable(void *arg, int events)
{
	struct scene *scene = arg;

	assert_int_equal(events, WATCH_WRITE);
	watch_free(give(scene->watch));
	stop(scene);
}

static void a_watch_may_be_freed_inside_its_function(void **state)
{
	struct scene *scene = *state;

	scene->watch = watch_new(scene->loop, scene->fds[0], on_writable, scene);
	watch_set(scene->watch, WATCH_READ | WATCH_WRITE);
	watch_set(scene->watch, WATCH_WRITE);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), ".");
}

static void not_reached(void *arg, int events)
{
	(void)arg;
	(void)events;
	fail();
}

static void a_watch_of_nothing_stays_quiet(void **state)
{
	struct scene *scene = *state;
	scoped(watch) watch = watch_new(scene->loop, scene->fds[0], not_reached, scene);

	watch_set(watch, WATCH_WRITE);
	watch_set(watch, 0);
	loop_later(scene->loop, stop, scene);
	loop_run(scene->loop);
}

struct parked {
	struct scene *scene;
	struct parked *inner;
};

static void destroy(void *object)
{
	struct parked *parked = object;

	buf_add_char(&parked->scene->seen, parked->inner ? 'P' : 'p');
	if (parked->inner)
		loop_park(parked->scene->loop, parked->inner, destroy);
	free(parked);
}

static struct parked *parked_new(struct scene *scene, struct parked *inner)
{
	struct parked *parked = mem_new(struct parked);

	*parked = (struct parked){ scene, inner };
	return parked;
}

static void a_parked_object_dies_at_the_end_of_the_turn(void **state)
{
	struct scene *scene = *state;

	loop_park(scene->loop, parked_new(scene, parked_new(scene, NULL)), destroy);
	loop_later(scene->loop, see_a, scene);
	loop_later(scene->loop, stop, scene);
	assert_int_equal(scene->seen.len, 0);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), "a.Pp");
}

static void a_loop_that_is_freed_destroys_what_is_parked(void **state)
{
	struct scene scene = { .loop = loop_new() };

	(void)state;
	loop_park(scene.loop, parked_new(&scene, parked_new(&scene, NULL)), destroy);
	loop_later(scene.loop, see_a, &scene);
	loop_free(scene.loop);
	assert_string_equal(buf_text(&scene.seen), "Pp");
	buf_free(&scene.seen);
}

static void on_usr1(void *arg)
{
	struct scene *scene = arg;

	on_signal_free(give(scene->on_signal));
	stop(scene);
}

static void a_signal_calls_its_function_on_the_loop(void **state)
{
	struct scene *scene = *state;

	scene->on_signal = on_signal_new(scene->loop, SIGUSR1, on_usr1, scene);
	raise(SIGUSR1);
	assert_int_equal(scene->seen.len, 0);
	loop_run(scene->loop);
	assert_string_equal(buf_text(&scene->seen), ".");
}

static void a_write_to_a_closed_socket_is_an_error_and_no_signal(void **state)
{
	struct scene *scene = *state;
	int fds[2];

	(void)scene;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close(fds[1]);
	assert_int_equal(write(fds[0], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close(fds[0]);
}

static void jitter_stays_within_a_quarter(void **state)
{
	msec least = 1000, most = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		msec value = msec_jitter(1000);
		assert_in_range(value, 750, 1250);
		least = value < least ? value : least;
		most = value > most ? value : most;
	}
	assert_true(least < 800 && most > 1200);
	assert_int_equal(msec_jitter(0), 0);
	assert_int_equal(msec_clamp(5, 10, 20), 10);
	assert_int_equal(msec_clamp(25, 10, 20), 20);
	assert_int_equal(msec_clamp(15, 10, 20), 15);
	assert_true(time_usec() > INT64_C(1600000000) * 1000000);
}

int main(void)
{
#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)
	static const struct CMUnitTest tests[] = {
		LOOP_TEST(timers_fire_once_in_order_of_their_deadlines),
		LOOP_TEST(a_deadline_in_the_past_fires_at_once),
		LOOP_TEST(a_timer_may_be_freed_inside_its_function),
		LOOP_TEST(later_runs_once_and_in_order),
		LOOP_TEST(cancelled_work_does_not_run),
		LOOP_TEST(work_may_cancel_what_follows_it),
		LOOP_TEST(work_that_makes_work_ends_without_a_wait),
		LOOP_TEST(work_without_end_lets_timers_through),
		LOOP_TEST(later_comes_after_input_and_before_the_next_wait),
		LOOP_TEST(a_watch_may_be_freed_inside_its_function),
		LOOP_TEST(a_watch_of_nothing_stays_quiet),
		LOOP_TEST(a_parked_object_dies_at_the_end_of_the_turn),
		LOOP_TEST(a_loop_that_is_freed_destroys_what_is_parked),
		LOOP_TEST(a_signal_calls_its_function_on_the_loop),
		LOOP_TEST(a_write_to_a_closed_socket_is_an_error_and_no_signal),
		cmocka_unit_test(jitter_stays_within_a_quarter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
