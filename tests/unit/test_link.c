/* SPDX-License-Identifier: Apache-2.0 */
/* Two sites in one process, over the loopback with real CURVE; each keeps its queue and its resume
 * position in memory, which survives its `links` as a database survives a process. */
#include "federation/link.h"

#include "base/log.h"
#include "federation/frame.h"
#include "federation/link_socket.h"
#include "federation/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

enum { DEADLINE_MS = 30 * 1000, LOOK_MS = 5 };

struct side {
	const char *site, *node;
	char public_key[41], secret_key[41], endpoint[64];
	char *const *dials; /* NULL: does not dial */
	const char *peer;
	char *keys[3]; /* of the peer */
	struct links *links;
	struct queue *queue;
	const char *incarnation;
	int64_t taken, committed; /* of the peer's queue */
	int64_t directs;
	int ups, downs;
	bool disordered;
	bool unconfigures; /* at the first envelope, and when its link goes down */
};

static struct loop *loop;
static struct side a, b;

/* --- running until something is so --- */

static struct {
	bool (*is_so)(void);
	struct timer *look;
	msec deadline;
	bool late;
} wait_for;

static void look(void *arg)
{
	(void)arg;
	wait_for.late = time_msec() > wait_for.deadline;
	if (wait_for.is_so() || wait_for.late)
		loop_stop(loop);
	else
		timer_set(wait_for.look, loop_now(loop) + LOOK_MS);
}

#define run_until(is_so) run_until_(is_so, #is_so, __LINE__)
static void run_until_(bool (*is_so)(void), const char *what, int line)
{
	wait_for.is_so = is_so;
	wait_for.deadline = time_msec() + DEADLINE_MS;
	wait_for.look = timer_new(loop, look, NULL);
	timer_set(wait_for.look, loop_now(loop) + 1);
	loop_run(loop);
	timer_free(wait_for.look);
	if (wait_for.late)
		fail_msg("line %d: not %s", line, what);
}

/* --- a side --- */

static struct queue *queue_of(void *arg)
{
	return ((struct side *)arg)->queue;
}

static const char *incarnation_of(void *arg)
{
	return ((struct side *)arg)->incarnation;
}

static bool ack(void *arg, int64_t seq)
{
	return queue_ack(((struct side *)arg)->queue, seq);
}

static const struct link_source source = { queue_of, incarnation_of, ack, NULL };

static struct link *link_of(struct side *side)
{
	return links_find(side->links, side->peer);
}

static void on_state(void *ctx, struct link *link, bool up, const char *reason)
{
	struct side *side = ctx;

	(void)reason;
	assert_int_equal(up, link_is_up(link));
	if (up)
		side->ups++;
	else
		side->downs++;
	if (!up && side->unconfigures)
		links_configure(side->links, NULL, 0);
}

static void on_hello(void *ctx, struct link *link, const char *incarnation)
{
	struct side *side = ctx;

	assert_int_equal(strlen(incarnation), 36);
	link_resume(link, side->committed);
}

static void commit(void *arg)
{
	struct side *side = arg;

	side->committed = side->taken;
	if (side->links && link_of(side))
		link_committed(link_of(side), side->committed);
}

static void on_envelope(void *ctx, struct link *link, int64_t seq, struct envelope *envelope)
{
	struct side *side = ctx;
	char text[24];

	(void)link;
	snprintf(text, sizeof text, "%lld", (long long)seq);
	side->disordered = side->disordered || seq != side->taken + 1 ||
			   !slice_is(envelope->f.stanza_id, text);
	side->taken = seq;
	envelope_free(envelope);
	loop_later(loop, commit, side);
	if (side->unconfigures)
		links_configure(side->links, NULL, 0);
}

static void on_direct(void *ctx, struct link *link, struct envelope *envelope)
{
	struct side *side = ctx;

	(void)link;
	side->directs++;
	envelope_free(envelope);
}

static const struct links_events events = { on_state, on_hello, on_envelope, on_direct };

static void configure(struct side *side)
{
	struct link_peer peer = {
		.site = side->peer,
		.dial = side->dials != NULL,
		.endpoints = side->dials,
		.public_keys = side->keys,
	};

	links_configure(side->links, &peer, 1);
	link_attach_source(link_of(side), &source, side);
}

static void start(struct side *side, bool listens)
{
	struct links_options options = {
		.site = side->site,
		.node = side->node,
		.listen = listens ? side->endpoint : NULL,
		.secret_key = side->secret_key,
		.heartbeat = 500,
		.retry_max = 500,
	};
	struct hr_err err;

	if (links_new(loop, &options, &events, side, &side->links, &err) != HR_OK)
		fail_msg("%s", err.text);
	if (listens) /* the same port when it starts again */
		snprintf(side->endpoint, sizeof side->endpoint, "%s", links_endpoint(side->links));
	configure(side);
}

static void put(struct side *side, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		int64_t seq = queue_head(side->queue) + 1;
		scoped_str text = str_format("%lld", (long long)seq);
		scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
			.stanza_id = slice_str(text),
			.from = slice_lit("ada@a.example"),
			.to = slice_lit("bob@b.example"),
			.payload = slice_lit("<body>some words, and then some more</body>"),
			.received = 1,
		});
		queue_committed(side->queue, seq, envelope);
	}
	if (side->links)
		link_send(link_of(side));
}

static bool all_arrived(void)
{
	return a.taken == queue_head(b.queue) && b.taken == queue_head(a.queue) &&
	       queue_depth(a.queue) == 0 && queue_depth(b.queue) == 0;
}

static bool both_up(void)
{
	return a.links && b.links && link_is_up(link_of(&a)) && link_is_up(link_of(&b));
}

static int make(void **state)
{
	struct hr_err err;

	(void)state;
	loop = loop_new();
	a = (struct side){ .site = "amsterdam",
			   .node = "a1",
			   .peer = "boston",
			   .incarnation = "0b8f3b1e-8f4e-4f0e-9a3e-1d3f5b6c7d8e",
			   .endpoint = "tcp://127.0.0.1:*" };
	b = (struct side){ .site = "boston",
			   .node = "b1",
			   .peer = "amsterdam",
			   .incarnation = "1c9f3b1e-8f4e-4f0e-9a3e-1d3f5b6c7d8e",
			   .endpoint = "tcp://127.0.0.1:*" };
	a.queue = queue_new(0, 0);
	b.queue = queue_new(0, 0);
	assert_int_equal(link_key_generate(a.public_key, a.secret_key, &err), HR_OK);
	assert_int_equal(link_key_generate(b.public_key, b.secret_key, &err), HR_OK);
	a.keys[0] = b.public_key;
	b.keys[0] = a.public_key;
	return 0;
}

static int end(void **state)
{
	(void)state;
	links_free(give(a.links));
	links_free(give(b.links));
	queue_free(a.queue);
	queue_free(b.queue);
	loop_free(loop);
	return 0;
}

/* Boston listens, Amsterdam dials. */
static void start_both(void)
{
	static char *dials[] = { b.endpoint, NULL };

	start(&b, true);
	a.dials = dials;
	start(&a, false);
}

/* --- tests --- */

static void carries_both_ways_in_order(void **state)
{
	(void)state;
	start_both();
	put(&a, 3000);
	put(&b, 3000);
	run_until(all_arrived);
	assert_false(a.disordered || b.disordered);
	assert_int_equal(a.ups, 1);
	assert_int_equal(b.ups, 1);
	assert_string_equal(link_reason(link_of(&a)), "");
}

static int64_t mark;

static bool some_arrived(void)
{
	return b.taken > mark;
}

static void goes_on_where_it_was_when_a_gateway_is_killed(void **state)
{
	(void)state;
	start_both();
	for (int round = 0; round < 4; round++) {
		struct side *killed = round % 2 ? &a : &b;

		mark = b.taken;
		put(&a, 2000);
		put(&b, 2000);
		run_until(some_arrived);
		links_free(give(killed->links));
		queue_rewind(killed->queue, 0);
		loop_cancel(loop, commit, killed); /* what was not committed is lost with it */
		killed->taken = killed->committed;
		start(killed, killed == &b);
		run_until(all_arrived);
		assert_false(a.disordered || b.disordered);
	}
	assert_true(a.ups >= 3);
	assert_true(a.downs >= 2);
}

static bool a_is_down_and_b_is_none(void)
{
	return a.downs > 0 && !links_find(b.links, b.peer);
}

static void a_link_may_be_taken_away_inside_its_events(void **state)
{
	(void)state;
	b.unconfigures = true;
	put(&a, 100);
	start_both();
	run_until(a_is_down_and_b_is_none);
	assert_int_equal(b.taken, 1);
	assert_int_equal(b.downs, 1);

	b.unconfigures = false;
	configure(&b);
	run_until(all_arrived);
	assert_false(b.disordered);
}

static int64_t counted;
static enum link_metric watched;

static void watch(enum link_metric metric)
{
	watched = metric;
	counted = link_metrics[metric].value;
}

static bool was_counted(void)
{
	return link_metrics[watched].value > counted;
}

static bool a_has_news(void)
{
	return strncmp(link_reason(link_of(&a)), "tcp:", 4) == 0 ||
	       strstr(link_reason(link_of(&a)), "the peer said");
}

static void refuses_a_key_that_is_not_the_peers(void **state)
{
	char other_public[41], other_secret[41];
	struct hr_err err;

	(void)state;
	assert_int_equal(link_key_generate(other_public, other_secret, &err), HR_OK);
	b.keys[0] = other_public;
	watch(LINK_REFUSED_KEYS);
	start_both();
	run_until(was_counted);
	run_until(a_has_news);
	assert_non_null(strstr(link_reason(link_of(&a)), "refuses our key"));
	assert_int_equal(a.ups + b.ups, 0);

	b.keys[0] = a.public_key; /* the operator adds it */
	configure(&b);
	run_until(both_up);
}

static void finds_the_right_one_of_two_keys_and_endpoints(void **state)
{
	static char *dials[] = { "tcp://127.0.0.1:1", b.endpoint, NULL };
	char other_public[41], other_secret[41];
	struct hr_err err;

	(void)state;
	assert_int_equal(link_key_generate(other_public, other_secret, &err), HR_OK);
	start(&b, true);
	a.dials = dials;
	a.keys[0] = other_public;
	a.keys[1] = b.public_key;
	start(&a, false);
	run_until(both_up);
}

static bool both_down(void)
{
	return !link_is_up(link_of(&a)) && !link_is_up(link_of(&b));
}

static void ends_a_session_whose_key_is_withdrawn(void **state)
{
	char other_public[41], other_secret[41];
	struct hr_err err;

	(void)state;
	start_both();
	run_until(both_up);
	assert_int_equal(link_key_generate(other_public, other_secret, &err), HR_OK);
	b.keys[0] = other_public;
	configure(&b);
	run_until(both_down);
	assert_non_null(strstr(link_reason(link_of(&b)), "withdrawn"));
}

static void refuses_another_sites_name(void **state)
{
	(void)state;
	a.site = "sydney";
	watch(LINK_REFUSED_FRAMES);
	start_both();
	run_until(was_counted);
	run_until(a_has_news);
	assert_non_null(strstr(link_reason(link_of(&a)), "Hello of site sydney"));
}

static void both_may_dial_and_one_connection_is_kept(void **state)
{
	static char *dial_a[] = { a.endpoint, NULL }, *dial_b[] = { b.endpoint, NULL };

	(void)state;
	start(&a, true);
	start(&b, true);
	a.dials = dial_b;
	b.dials = dial_a;
	configure(&a);
	configure(&b);
	put(&a, 100);
	put(&b, 100);
	run_until(all_arrived);
	run_until(both_up);
	assert_false(a.disordered || b.disordered);
	assert_in_range(a.ups, 1, 2);
}

static bool a_is_up_again(void)
{
	return a.ups > 0 && both_up();
}

static void a_second_gateway_of_the_peer_takes_over(void **state)
{
	struct links *first;

	(void)state;
	start_both();
	put(&b, 10);
	run_until(all_arrived);
	first = a.links; /* dead for all that Boston can know: nobody reads for it */
	a.node = "a2";
	a.ups = a.downs = 0;
	start(&a, false);
	put(&b, 10);
	run_until(a_is_up_again);
	run_until(all_arrived);
	assert_false(a.disordered);
	links_free(first);
}

static void send_direct(struct side *side, int n)
{
	struct hr_err err;
	scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
		.kind = ENVELOPE_PRESENCE,
		.from = slice_lit("ada@a.example"),
		.to = slice_lit("bob@b.example"),
		.received = 1,
	});

	for (int i = 0; i < n; i++)
		assert_int_equal(link_send_direct(link_of(side), envelope, &err), HR_OK);
}

static int64_t expected;

static bool directs_arrived(void)
{
	return b.directs == expected;
}

static void carries_presence_while_messages_are_held_back(void **state)
{
	struct hr_err err;

	(void)state;
	start_both();
	scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
		.kind = ENVELOPE_PRESENCE, .from = slice_lit("a@x"), .to = slice_lit("b@y") });
	assert_int_equal(link_send_direct(link_of(&a), envelope, &err), HR_RETRY);
	run_until(both_up);
	links_flow(b.links, false);
	watch(LINK_FRAMES_IN); /* that says so */
	run_until(was_counted);
	put(&a, 10);
	for (expected = 2000; expected <= 10000; expected += 2000) {
		send_direct(&a, 2000);
		run_until(directs_arrived);
	}
	assert_int_equal(b.taken, 0);
	links_flow(b.links, true);
	run_until(all_arrived);
}

static bool a_is_refused_for_being_behind(void)
{
	return strncmp(link_reason(link_of(&a)), "peer is ahead", 13) == 0;
}

static void refuses_loudly_when_its_queue_is_an_older_copy(void **state)
{
	(void)state;
	b.taken = b.committed = 50;
	put(&a, 10);
	watch(LINK_PEER_AHEAD);
	start_both();
	run_until(a_is_refused_for_being_behind);
	assert_true(was_counted());
	assert_int_equal(a.ups, 0);
}

/* --- bad peers, by hand --- */

struct stranger {
	void *context, *socket;
};

static struct stranger stranger_new(const char *secret_key)
{
	struct stranger stranger = { .context = zmq_ctx_new() };
	char public_key[41];
	int none = 0;

	stranger.socket = zmq_socket(stranger.context, ZMQ_DEALER);
	zmq_setsockopt(stranger.socket, ZMQ_LINGER, &none, sizeof none);
	if (secret_key) {
		zmq_curve_public(public_key, secret_key);
		zmq_setsockopt(stranger.socket, ZMQ_CURVE_SERVERKEY, b.public_key, 41);
		zmq_setsockopt(stranger.socket, ZMQ_CURVE_PUBLICKEY, public_key, 41);
		zmq_setsockopt(stranger.socket, ZMQ_CURVE_SECRETKEY, secret_key, 41);
	}
	assert_int_equal(zmq_connect(stranger.socket, b.endpoint), 0);
	return stranger;
}

static void stranger_free(struct stranger stranger)
{
	zmq_close(stranger.socket);
	zmq_ctx_term(stranger.context);
}

static void *stranger_socket;
static char said[512];
static int said_len;

static bool has_answer(void)
{
	said_len = zmq_recv(stranger_socket, said, sizeof said, ZMQ_DONTWAIT);
	return said_len >= 0;
}

/* The Bye that comes, as text. */
static char *hear_bye(struct stranger stranger)
{
	scoped(frame_codec) codec = frame_codec_new();
	struct frame frame;
	struct hr_err err;

	stranger_socket = stranger.socket;
	run_until(has_answer);
	assert_int_equal(
		frame_decode(codec, (struct slice){ said, (size_t)said_len }, &frame, &err), HR_OK);
	assert_int_equal(frame.kind, FRAME_BYE);
	return mem_dup(frame.reason.data, frame.reason.len);
}

static void answers_bad_frames_and_goes_on(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *bye;
	} rows[] = {
		{ "", 0, "an empty frame" },
		{ "garbage", 7, "header byte" },
		{ "\x10\x0a", 2, "protobuf" },
		{ "\x11garbage", 8, "zstd" },
		{ "\x10\x09\1\1\1\1\1\1\1\1\x42\x00", 12, "there is no session" }, /* a Ping */
	};

	(void)state;
	start_both();
	run_until(both_up);
	for (size_t i = 0; i < countof(rows); i++) {
		struct stranger stranger = stranger_new(a.secret_key);

		zmq_send(stranger.socket, rows[i].bytes, rows[i].len, 0);
		scoped_str bye = hear_bye(stranger);
		if (!strstr(bye, rows[i].bye))
			fail_msg("row %zu: %s", i, bye);
		stranger_free(stranger);
	}
	put(&a, 10);
	run_until(all_arrived);
	assert_int_equal(b.ups, 1);
}

static void a_client_without_curve_is_refused_and_counted(void **state)
{
	(void)state;
	start_both();
	run_until(both_up);
	watch(LINK_REFUSED_KEYS);
	struct stranger stranger = stranger_new(NULL);
	zmq_send(stranger.socket, "hello", 5, 0);
	run_until(was_counted);
	stranger_free(stranger);
	put(&a, 10);
	run_until(all_arrived);
}

static bool is_silent(void)
{
	return strstr(link_reason(link_of(&b)), "nothing was heard");
}

static void a_peer_that_falls_silent_is_down_after_three_heartbeats(void **state)
{
	scoped(frame_codec) codec = frame_codec_new();
	struct frame hello = { .session = 7, .kind = FRAME_HELLO };
	struct slice bytes;

	(void)state;
	start(&b, true);
	hello.hello.version = SESSION_VERSION;
	hello.hello.site = slice_lit("amsterdam");
	hello.hello.node = slice_lit("a1");
	hello.hello.incarnation = slice_str(a.incarnation);
	struct stranger stranger = stranger_new(a.secret_key);
	bytes = frame_encode(codec, &hello);
	zmq_send(stranger.socket, bytes.data, bytes.len, 0);
	run_until(is_silent);
	stranger_free(stranger);
}

enum { STRAY = 100, ARRIVE_US = 200 * 1000 };

static bool strays_were_refused(void)
{
	return link_metrics[watched].value == counted + STRAY;
}

static void says_bye_once_on_a_connection(void **state)
{
	(void)state;
	start_both();
	run_until(both_up);
	watch(LINK_REFUSED_FRAMES);
	struct stranger stranger = stranger_new(a.secret_key);
	for (int i = 0; i < STRAY; i++)
		zmq_send(stranger.socket, "garbage", 7, 0);
	run_until(strays_were_refused);
	free(hear_bye(stranger));
	usleep(ARRIVE_US);
	assert_false(has_answer());
	stranger_free(stranger);
	assert_int_equal(b.ups, 1);
}

/* --- the socket alone --- */

enum { A_TURN = 256 }; /* messages that are taken in one turn */

static struct link_socket *listener;
static int received;

static void free_at_the_last(void *ctx, const struct link_message *message)
{
	(void)ctx, (void)message;
	if (++received == A_TURN)
		link_socket_free(give(listener));
}

static void refused(void *ctx, enum link_socket_change change, const char *why)
{
	(void)ctx, (void)change;
	fail_msg("%s", why);
}

static bool is_freed(void)
{
	return !listener;
}

static void a_socket_may_go_in_the_last_message_of_a_turn(void **state)
{
	static const struct link_socket_events freeing = { free_at_the_last, refused };
	void *context = zmq_ctx_new();
	struct hr_err err;

	(void)state;
	received = 0;
	assert_int_equal(link_socket_new(loop,
					 &(struct link_socket_options){
						 .context = context,
						 .endpoint = "tcp://127.0.0.1:*",
						 .secret_key = b.secret_key,
						 .patience = DEADLINE_MS,
					 },
					 &freeing, NULL, &listener, &err),
			 HR_OK);
	snprintf(b.endpoint, sizeof b.endpoint, "%s", link_socket_endpoint(listener));
	struct stranger stranger = stranger_new(a.secret_key);
	for (int i = 0; i < A_TURN; i++)
		zmq_send(stranger.socket, "x", 1, 0);
	usleep(ARRIVE_US); /* all of them are there when the loop begins */
	run_until(is_freed);
	stranger_free(stranger);
	zmq_ctx_term(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(carries_both_ways_in_order),
		TEST(goes_on_where_it_was_when_a_gateway_is_killed),
		TEST(a_link_may_be_taken_away_inside_its_events),
		TEST(refuses_a_key_that_is_not_the_peers),
		TEST(finds_the_right_one_of_two_keys_and_endpoints),
		TEST(ends_a_session_whose_key_is_withdrawn),
		TEST(refuses_another_sites_name),
		TEST(both_may_dial_and_one_connection_is_kept),
		TEST(a_second_gateway_of_the_peer_takes_over),
		TEST(carries_presence_while_messages_are_held_back),
		TEST(refuses_loudly_when_its_queue_is_an_older_copy),
		TEST(answers_bad_frames_and_goes_on),
		TEST(says_bye_once_on_a_connection),
		TEST(a_socket_may_go_in_the_last_message_of_a_turn),
		TEST(a_client_without_curve_is_refused_and_counted),
		TEST(a_peer_that_falls_silent_is_down_after_three_heartbeats),
	};

	log_open(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
