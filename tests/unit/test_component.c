/* SPDX-License-Identifier: Apache-2.0 */
/* A scenario is an array of steps: what happens when, what the stream does about it, and the state
 * and deadline after it. Time is in milliseconds. */
#include "base/buf.h"
#include "gateway/xmpp/component.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define HEAD                                                                   \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' " \
	"xmlns:stream='http://etherx.jabber.org/streams' to='example.com'>"
#define SERVER_HEAD                                         \
	"<?xml version='1.0'?><stream:stream xmlns:stream=" \
	"'http://etherx.jabber.org/streams' xmlns='jabber:component:accept' id='ABC'>"
/* printf 'ABCs3cret' | sha1sum */
#define HANDSHAKE "<handshake>4c83cd708145dfbd2151c8058f35c62d9721cceb</handshake>"
#define CLOSE "</stream:stream>"
#define PING(n)                                                                    \
	"<iq from='example.com' to='im.a.example' type='get' id='hr-ping-" #n "'>" \
	"<ping xmlns='urn:xmpp:ping'/></iq>"
#define PONG(n) "<iq from='im.a.example' to='example.com' type='result' id='hr-ping-" #n "'/>"

enum what { START, STOP, RESTART, CONNECTED, LOST, TIMEOUT, BYTES, PAUSE, RESUME, BARRIER };

struct step {
	msec now;
	enum what what;
	const char *bytes; /* of BYTES; of BARRIER: NULL */
	int64_t seq;	   /* of BARRIER */
	const char *did;   /* ops called, written bytes as they are */
	const char *state;
	msec deadline;
};

struct scene {
	struct component *component;
	struct buf did;
	msec deadline;
	bool refuses_to_connect;
};

static void note(void *ctx, const char *what)
{
	struct scene *scene = ctx;

	buf_format(&scene->did, "%s;", what);
}

static enum hr_status do_connect(void *ctx, struct hr_err *err)
{
	struct scene *scene = ctx;

	note(ctx, "connect");
	component_secret(scene->component, slice_lit("s3cret"));
	return scene->refuses_to_connect ? err_set(err, HR_FAIL, "no secret") : HR_OK;
}

static void do_write(void *ctx, struct slice bytes)
{
	buf_add_slice(&((struct scene *)ctx)->did, bytes);
}

static void do_shutdown(void *ctx)
{
	note(ctx, "shutdown");
}

static void do_drop(void *ctx)
{
	note(ctx, "drop");
}

static void do_pause(void *ctx, bool yes)
{
	if (yes)
		note(ctx, "pause");
	else
		note(ctx, "read");
}

static void do_timer(void *ctx, msec deadline)
{
	((struct scene *)ctx)->deadline = deadline;
}

static void on_up(void *ctx)
{
	note(ctx, "up");
}

static void on_down(void *ctx, const struct component_end *end)
{
	static const char *const word[] = { "down", "cut", "blamed" };

	note(ctx, word[end->blame]);
}

static void on_stanza(void *ctx, const struct scan_stanza *stanza)
{
	note(ctx, envelope_kind_name(stanza->kind));
}

static void on_accepted(void *ctx, int64_t seq)
{
	buf_format(&((struct scene *)ctx)->did, "accepted %lld;", (long long)seq);
}

static void on_refused(void *ctx, enum scan_fault fault, const char *text)
{
	(void)text;
	buf_format(&((struct scene *)ctx)->did, "refused %s;", scan_condition(fault));
}

static const struct component_ops ops = {
	do_connect, do_write, do_shutdown, do_drop,	do_pause,   do_timer,
	on_up,	    on_down,  on_stanza,   on_accepted, on_refused,
};

static void begin(struct scene *scene)
{
	*scene = (struct scene){ 0 };
	scene->component = component_new(
		&(struct component_options){
			.domain = "example.com",
			.native_domain = "im.a.example",
			.name = "a/example.com",
			.retry_max = 4000,
			.barrier_timeout = 5000,
		},
		&ops, scene);
}

static void end(struct scene *scene)
{
	component_free(scene->component);
	buf_free(&scene->did);
}

static void take(struct scene *scene, const struct step *step)
{
	struct component *component = scene->component;
	struct hr_err lost = { HR_RETRY, "connection reset" };

	switch (step->what) {
	case START:
		component_start(component, step->now);
		break;
	case STOP:
		component_stop(component, step->now);
		break;
	case RESTART:
		component_restart(component, step->now);
		break;
	case CONNECTED:
		component_connected(component, step->now);
		break;
	case LOST:
		component_lost(component, &lost, step->now);
		break;
	case TIMEOUT:
		component_timeout(component, step->now);
		break;
	case BYTES:
		component_received(component, slice_str(step->bytes), step->now);
		break;
	case PAUSE:
	case RESUME:
		component_pause(component, step->what == PAUSE, step->now);
		break;
	case BARRIER:
		component_barrier(component, step->seq, step->now);
		break;
	}
}

/* Pauses are jittered by a quarter. */
static void assert_deadline(msec deadline, msec want, const char *state)
{
	if (strcmp(state, "waiting") == 0)
		assert_true(deadline >= want - 1000 && deadline <= want + 1000);
	else
		assert_int_equal(deadline, want);
}

static void run(struct scene *scene, const struct step *steps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_clear(&scene->did);
		take(scene, &steps[i]);
		assert_string_equal(buf_text(&scene->did), steps[i].did);
		assert_string_equal(component_state(scene->component), steps[i].state);
		assert_deadline(scene->deadline, steps[i].deadline, steps[i].state);
	}
}
#define STEPS(...)                                                   \
	do {                                                         \
		static const struct step steps_[] = { __VA_ARGS__ }; \
		run(&scene, steps_, countof(steps_));                \
	} while (0)
#define GO_UP                                                                 \
	{ 0, START, NULL, 0, "connect;", "connecting", 15000 },               \
		{ 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },           \
		{ 20, BYTES, SERVER_HEAD, 0, HANDSHAKE, "handshake", 10020 }, \
	{                                                                     \
		30, BYTES, "<handshake/>", 0, "read;up;", "up", 60030         \
	}

static void shakes_hands_with_the_hash_of_id_and_secret(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP);
	end(&scene);
}

static void is_up_when_all_comes_in_one_piece(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },
	      { 20, BYTES, SERVER_HEAD "<handshake/><message/><presence/>", 0,
		HANDSHAKE "read;up;message;presence;", "up", 60020 });
	end(&scene);
}

static void acknowledges_what_a_barrier_proves(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 100, BARRIER, NULL, 7, PING(1), "up", 5100 },
	      { 200, BARRIER, NULL, 9, PING(2), "up", 5100 },
	      { 300, BYTES, PONG(1), 0, "accepted 7;", "up", 5300 },
	      /* an error answers too; a second answer is to nothing */
	      { 400, BYTES,
		"<iq from='im.a.example' type='error' id='hr-ping-2'><ping xmlns='urn:xmpp:ping'/>"
		"<error type='cancel'/></iq>" PONG(2),
		0, "accepted 9;", "up", 60400 },
	      /* the later answer proves the earlier ones */
	      { 500, BARRIER, NULL, 10, PING(3), "up", 5500 },
	      { 500, BARRIER, NULL, 11, PING(4), "up", 5500 },
	      { 500, BARRIER, NULL, 12, PING(5), "up", 5500 },
	      { 600, BYTES, PONG(4), 0, "accepted 11;", "up", 5600 },
	      { 600, BYTES, PONG(3), 0, "", "up", 5600 });
	end(&scene);
}

static void believes_only_the_server_about_barriers(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 100, BARRIER, NULL, 7, PING(1), "up", 5100 },
	      { 200, BYTES, "<iq from='eve@im.a.example' type='result' id='hr-ping-1'/>", 0, "iq;",
		"up", 5100 },
	      { 200, BYTES, "<iq from='im.a.example' type='get' id='hr-ping-1'/>", 0, "iq;", "up",
		5100 },
	      { 200, BYTES, "<message from='im.a.example' type='error' id='hr-ping-1'/>", 0,
		"message;", "up", 5100 },
	      { 200, BYTES, "<iq from='im.a.example' type='result' id='hr-ping-x'/>", 0, "iq;",
		"up", 5100 },
	      { 200, BYTES, PONG(0) PONG(2) PONG(99999999999999999), 0, "", "up", 5100 });
	end(&scene);
}

static void ends_a_stream_whose_barrier_is_not_answered(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 100, BARRIER, NULL, 7, PING(1), "up", 5100 },
	      { 5100, TIMEOUT, NULL, 0, "down;" CLOSE "shutdown;", "closing", 7100 },
	      { 7100, TIMEOUT, NULL, 0, "drop;", "waiting", 7600 },
	      { 7600, TIMEOUT, NULL, 0, "connect;", "connecting", 22600 },
	      { 7700, CONNECTED, NULL, 0, HEAD, "opening", 17700 },
	      { 7700, BYTES, SERVER_HEAD "<handshake/>" PONG(1), 0, HANDSHAKE "read;up;", "up",
		67700 },
	      { 7800, BARRIER, NULL, 7, PING(2), "up", 12800 });
	end(&scene);
}

static void gives_a_slow_server_time_for_each_barrier(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 100, BARRIER, NULL, 7, PING(1), "up", 5100 },
	      { 100, BARRIER, NULL, 8, PING(2), "up", 5100 },
	      { 100, BARRIER, NULL, 9, PING(3), "up", 5100 },
	      { 4000, BYTES, PONG(1), 0, "accepted 7;", "up", 9000 },
	      { 8000, BYTES, PONG(2), 0, "accepted 8;", "up", 13000 },
	      { 12000, BYTES, PONG(3), 0, "accepted 9;", "up", 72000 });
	end(&scene);
}

static void asks_a_quiet_server_whether_it_is_there(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 50000, BYTES, " ", 0, "", "up", 60030 },
	      { 60030, TIMEOUT, NULL, 0, "", "up", 110000 },
	      { 110000, TIMEOUT, NULL, 0, PING(1), "up", 115000 },
	      { 111000, BYTES, PONG(1), 0, "", "up", 171000 },
	      { 171000, TIMEOUT, NULL, 0, PING(2), "up", 176000 },
	      { 176000, TIMEOUT, NULL, 0, "down;" CLOSE "shutdown;", "closing", 178000 });
	end(&scene);
}

static void waits_for_nothing_while_it_does_not_read(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 100, BARRIER, NULL, 7, PING(1), "up", 5100 },
	      { 200, PAUSE, NULL, 0, "pause;", "up", 0 },
	      { 300, BARRIER, NULL, 8, PING(2), "up", 0 },
	      { 90000, RESUME, NULL, 0, "read;", "up", 95000 },
	      { 90001, BYTES, PONG(2), 0, "accepted 8;", "up", 150001 });
	end(&scene);
}

static void reads_while_paused_until_it_is_up(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS({ 0, PAUSE, NULL, 0, "", "idle", 0 },
	      { 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },
	      { 20, BYTES, SERVER_HEAD "<handshake/>", 0, HANDSHAKE "pause;up;", "up", 0 });
	end(&scene);
}

static void waits_longer_after_each_failure_and_starts_over_once_it_works(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 0, LOST, NULL, 0, "drop;", "waiting", 500 },
	      { 500, TIMEOUT, NULL, 0, "connect;", "connecting", 15500 },
	      { 15500, TIMEOUT, NULL, 0, "drop;", "waiting", 16500 },
	      { 16500, TIMEOUT, NULL, 0, "connect;", "connecting", 31500 },
	      { 17000, LOST, NULL, 0, "drop;", "waiting", 19000 },
	      { 19000, TIMEOUT, NULL, 0, "connect;", "connecting", 34000 },
	      { 19000, LOST, NULL, 0, "drop;", "waiting", 23000 },
	      { 23000, TIMEOUT, NULL, 0, "connect;", "connecting", 38000 },
	      { 23000, LOST, NULL, 0, "drop;", "waiting", 27000 },
	      { 27000, TIMEOUT, NULL, 0, "connect;", "connecting", 42000 },
	      { 27000, CONNECTED, NULL, 0, HEAD, "opening", 37000 },
	      { 27000, BYTES, SERVER_HEAD "<handshake/>", 0, HANDSHAKE "read;up;", "up", 87000 },
	      { 28000, LOST, NULL, 0, "cut;drop;", "waiting", 32000 },
	      { 32000, TIMEOUT, NULL, 0, "connect;", "connecting", 47000 },
	      { 32000, CONNECTED, NULL, 0, HEAD, "opening", 42000 },
	      { 32000, BYTES, SERVER_HEAD "<handshake/>", 0, HANDSHAKE "read;up;", "up", 92000 },
	      { 32000, BARRIER, NULL, 7, PING(1), "up", 37000 },
	      { 32010, BYTES, PONG(1), 0, "accepted 7;", "up", 92010 },
	      { 32020, LOST, NULL, 0, "cut;drop;", "waiting", 32520 },
	      { 32520, TIMEOUT, NULL, 0, "connect;", "connecting", 47520 },
	      { 32520, CONNECTED, NULL, 0, HEAD, "opening", 42520 },
	      { 32520, BYTES, SERVER_HEAD "<handshake/>", 0, HANDSHAKE "read;up;", "up", 92520 },
	      { 42520, LOST, NULL, 0, "cut;drop;", "waiting", 43020 });
	end(&scene);
}

static void counts_a_connect_that_cannot_begin_as_lost(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	scene.refuses_to_connect = true;
	STEPS({ 0, START, NULL, 0, "connect;drop;", "waiting", 500 });
	assert_string_equal(component_error(scene.component), "no secret");
	end(&scene);
}

static void gives_up_on_a_server_that_says_nothing(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 0, CONNECTED, NULL, 0, HEAD, "opening", 10000 },
	      { 10000, TIMEOUT, NULL, 0, CLOSE "shutdown;", "closing", 12000 },
	      { 10001, BYTES, SERVER_HEAD "<handshake/>", 0, "", "closing", 12000 },
	      { 10002, LOST, NULL, 0, "drop;", "waiting", 10502 });
	assert_string_equal(component_error(scene.component), "the server did not answer in time");
	end(&scene);
}

static void tells_an_error_about_what_was_sent_from_others(void **state)
{
#define STREAM_ERROR(name)                                                        \
	"<stream:error><" name " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></" \
	"stream:error>" CLOSE
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 40, BYTES, STREAM_ERROR("system-shutdown"), 0, "down;" CLOSE "shutdown;",
		       "closing", 2040 });
	assert_string_equal(component_error(scene.component), "stream error: system-shutdown");
	end(&scene);
	begin(&scene);
	STEPS(GO_UP,
	      { 40, BYTES, STREAM_ERROR("not-well-formed"), 0, "blamed;" CLOSE "shutdown;",
		"closing", 2040 },
	      { 50, LOST, NULL, 0, "drop;", "waiting", 550 },
	      { 550, TIMEOUT, NULL, 0, "connect;", "connecting", 15550 },
	      { 560, CONNECTED, NULL, 0, HEAD, "opening", 10560 },
	      { 560, BYTES, SERVER_HEAD "<handshake/>", 0, HANDSHAKE "read;up;", "up", 60560 },
	      { 570, LOST, NULL, 0, "cut;drop;", "waiting", 1570 });
	end(&scene);
	begin(&scene);
	STEPS(GO_UP, { 40, BYTES, CLOSE, 0, "cut;" CLOSE "shutdown;", "closing", 2040 });
	end(&scene);
}

static void reports_a_refused_handshake(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },
	      { 20, BYTES, SERVER_HEAD, 0, HANDSHAKE, "handshake", 10020 },
	      { 30, BYTES, STREAM_ERROR("not-authorized"), 0, CLOSE "shutdown;", "closing", 2030 });
	assert_string_equal(component_error(scene.component), "stream error: not-authorized");
	end(&scene);
}

static void ends_a_stream_with_the_error_that_names_the_fault(void **state)
{
#define FAULT(name)                                                                              \
	"refused " name ";<stream:error><" name " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" \
	"</stream:error>"
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP,
	      { 40, BYTES, "<message/><message></iq><presence/>", 0,
		"message;" FAULT("not-well-formed") "down;" CLOSE "shutdown;", "closing", 2040 });
	end(&scene);
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },
	      { 20, BYTES, "<!DOCTYPE x>", 0, FAULT("restricted-xml") CLOSE "shutdown;", "closing",
		2020 },
	      { 30, LOST, NULL, 0, "drop;", "waiting", 530 });
	end(&scene);
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },
	      { 20, BYTES,
		"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
		"xmlns='jabber:client'>",
		0, FAULT("invalid-namespace") CLOSE "shutdown;", "closing", 2020 });
	end(&scene);
}

static void refuses_an_element_that_is_no_stanza_and_goes_on(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 40, BYTES, "<x xmlns='urn:x'/><message/>", 0,
		       "refused invalid-namespace;message;", "up", 60030 });
	end(&scene);
}

static void drops_stanzas_that_come_before_it_is_up(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS({ 0, START, NULL, 0, "connect;", "connecting", 15000 },
	      { 10, CONNECTED, NULL, 0, HEAD, "opening", 10010 },
	      { 20, BYTES, SERVER_HEAD "<message/>", 0, HANDSHAKE, "handshake", 10020 });
	end(&scene);
}

static void stops_in_good_order_from_every_state(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 40, STOP, NULL, 0, "down;" CLOSE "shutdown;", "stopping", 2040 },
	      { 50, LOST, NULL, 0, "drop;", "idle", 0 },
	      { 60, START, NULL, 0, "connect;", "connecting", 15060 },
	      { 60, STOP, NULL, 0, "drop;", "idle", 0 },
	      { 70, START, NULL, 0, "connect;", "connecting", 15070 },
	      { 80, LOST, NULL, 0, "drop;", "waiting", 580 },
	      { 90, STOP, NULL, 0, "drop;", "idle", 0 }, { 100, LOST, NULL, 0, "", "idle", 0 });
	end(&scene);
	/* the server has begun to end it: no new stream follows */
	begin(&scene);
	STEPS(GO_UP, { 40, BYTES, CLOSE, 0, "cut;" CLOSE "shutdown;", "closing", 2040 },
	      { 41, STOP, NULL, 0, "", "stopping", 2040 },
	      { 50, LOST, NULL, 0, "drop;", "idle", 0 });
	end(&scene);
}

static void restarts_to_connect_where_it_is_told_now(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 40, RESTART, NULL, 0, "down;" CLOSE "shutdown;", "closing", 2040 },
	      { 50, LOST, NULL, 0, "drop;", "waiting", 550 },
	      { 60, RESTART, NULL, 0, "connect;", "connecting", 15060 });
	end(&scene);
}

static void takes_what_the_server_had_written_when_we_end_the_stream(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	STEPS(GO_UP, { 40, STOP, NULL, 0, "down;" CLOSE "shutdown;", "stopping", 2040 },
	      { 50, BYTES, "<message/><presence/>" CLOSE, 0, "message;presence;", "stopping",
		2040 },
	      { 60, LOST, NULL, 0, "drop;", "idle", 0 });
	end(&scene);
	begin(&scene);
	STEPS(GO_UP, { 40, RESTART, NULL, 0, "down;" CLOSE "shutdown;", "closing", 2040 },
	      { 50, BYTES, "<message/><mess", 0, "message;", "closing", 2040 },
	      { 60, BYTES, "age/>" CLOSE, 0, "message;", "closing", 2040 },
	      { 70, LOST, NULL, 0, "drop;", "waiting", 570 });
	assert_string_equal(component_error(scene.component), "configured anew");
	end(&scene);
	/* an answer is to no barrier any more; what is broken brings no second end */
	begin(&scene);
	STEPS(GO_UP, { 40, BARRIER, NULL, 7, PING(1), "up", 5040 },
	      { 40, RESTART, NULL, 0, "down;" CLOSE "shutdown;", "closing", 2040 },
	      { 50, BYTES, PONG(1) "<message/></x><message/>", 0, "message;", "closing", 2040 },
	      { 60, BYTES, "<message/>", 0, "", "closing", 2040 });
	end(&scene);
	/* after its end, or an end of its making, nothing is taken */
	begin(&scene);
	STEPS(GO_UP, { 40, BYTES, "<message/>" CLOSE "<message/>", 0,
		       "message;cut;" CLOSE "shutdown;", "closing", 2040 });
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shakes_hands_with_the_hash_of_id_and_secret),
		cmocka_unit_test(is_up_when_all_comes_in_one_piece),
		cmocka_unit_test(acknowledges_what_a_barrier_proves),
		cmocka_unit_test(believes_only_the_server_about_barriers),
		cmocka_unit_test(ends_a_stream_whose_barrier_is_not_answered),
		cmocka_unit_test(gives_a_slow_server_time_for_each_barrier),
		cmocka_unit_test(asks_a_quiet_server_whether_it_is_there),
		cmocka_unit_test(waits_for_nothing_while_it_does_not_read),
		cmocka_unit_test(reads_while_paused_until_it_is_up),
		cmocka_unit_test(waits_longer_after_each_failure_and_starts_over_once_it_works),
		cmocka_unit_test(counts_a_connect_that_cannot_begin_as_lost),
		cmocka_unit_test(gives_up_on_a_server_that_says_nothing),
		cmocka_unit_test(tells_an_error_about_what_was_sent_from_others),
		cmocka_unit_test(reports_a_refused_handshake),
		cmocka_unit_test(ends_a_stream_with_the_error_that_names_the_fault),
		cmocka_unit_test(refuses_an_element_that_is_no_stanza_and_goes_on),
		cmocka_unit_test(drops_stanzas_that_come_before_it_is_up),
		cmocka_unit_test(stops_in_good_order_from_every_state),
		cmocka_unit_test(takes_what_the_server_had_written_when_we_end_the_stream),
		cmocka_unit_test(restarts_to_connect_where_it_is_told_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
