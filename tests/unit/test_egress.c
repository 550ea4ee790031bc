/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of messages 1, 2, 3 ... to people whose fate is in their name, and what is done about
 * them: written "1", barrier "|1", rerouted "~1", buried "+1". */
#include "gateway/xmpp/egress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct scene {
	struct egress *egress;
	struct queue *queue;
	struct buf did;
	size_t barriers, waiting;
	bool arrived;
};

static const char *more(void *ctx, const struct envelope *envelope)
{
	(void)ctx, (void)envelope;
	return "";
}

static enum hr_status find(void *ctx, const struct envelope *envelope, const char **native)
{
	const struct scene *scene = ctx;
	char fate = *envelope->f.to.data;

	*native = "bob@im.b.example";
	if (fate == 'm') /* moved */
		return HR_NONE;
	if (fate == 'w' && !scene->arrived) /* wait */
		return HR_RETRY;
	return HR_OK;
}

static void say(struct scene *scene, const char *what, int64_t seq)
{
	buf_format(&scene->did, "%s%lld ", what, (long long)seq);
}

static enum hr_status reroute(void *ctx, int64_t seq, struct envelope *envelope)
{
	struct scene *scene = ctx;

	(void)envelope;
	say(scene, "~", seq);
	queue_skip(scene->queue, seq);
	return HR_OK;
}

static enum hr_status bury(void *ctx, int64_t seq, struct envelope *envelope, const char *reason)
{
	struct scene *scene = ctx;

	(void)envelope;
	assert_true(strlen(reason) > 0);
	say(scene, "+", seq);
	queue_skip(scene->queue, seq);
	return HR_OK;
}

/* The id of each stanza is its seq. */
static void do_write(void *ctx, struct slice bytes)
{
	struct scene *scene = ctx;
	const char *end = bytes.data + bytes.len;

	for (const char *at = bytes.data; (at = memmem(at, (size_t)(end - at), " id='", 5));) {
		at += 5;
		buf_add(&scene->did, at, (size_t)(strchr(at, '\'') - at));
		buf_add_char(&scene->did, ' ');
	}
}

static size_t waiting(void *ctx)
{
	return ((struct scene *)ctx)->waiting;
}

static void barrier(void *ctx, int64_t seq)
{
	struct scene *scene = ctx;

	scene->barriers++;
	say(scene, "|", seq);
}

static size_t barriers(void *ctx)
{
	return ((struct scene *)ctx)->barriers;
}

static const struct egress_ops ops = { find,	 more,	  reroute, bury,
				       do_write, waiting, barrier, barriers };

static void append(struct scene *scene, const char *to, const char *from)
{
	int64_t seq = queue_head(scene->queue) + 1;
	scoped_str id = str_format("%lld", (long long)seq);
	scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
		.kind = ENVELOPE_MESSAGE,
		.stanza_id = slice_str(id),
		.from = slice_str(from),
		.to = slice_str(to),
		.payload = slice_lit("<body>hi</body>"),
		.received = 1,
	});

	queue_committed(scene->queue, seq, envelope);
}

/* Names of recipients, one letter each: b is here, m has moved, w is being asked for, f has a
 * sender of a domain that is not the stream's. */
static void begin(struct scene *scene, const char *people)
{
	*scene = (struct scene){ .queue = queue_new(0, 0) };
	scene->egress = egress_new("example.com", &ops, scene);
	for (; *people; people++) {
		char to[] = { *people, '@', 'x', '.', 'y', '/', 'r', '\0' };
		append(scene, to, *people == 'f' ? "ada@forged.example/r" : "ada@example.com/r");
	}
}

static void end(struct scene *scene)
{
	egress_free(scene->egress);
	queue_free(scene->queue);
	buf_free(&scene->did);
}

static void pump(struct scene *scene, const char *did)
{
	buf_clear(&scene->did);
	egress_pump(scene->egress, scene->queue);
	assert_string_equal(buf_text(&scene->did), did);
}

static void answer(struct scene *scene, int64_t seq)
{
	scene->barriers--;
	assert_true(queue_ack(scene->queue, seq));
}

static void lose(struct scene *scene, const char *reason)
{
	scene->barriers = 0;
	egress_down(scene->egress, scene->queue, reason, reason != NULL);
}

/* Without a word. */
static void cut(struct scene *scene)
{
	scene->barriers = 0;
	egress_down(scene->egress, scene->queue, "connection reset", false);
}

static void hands_over_in_order_with_one_barrier_a_turn(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bbb");
	pump(&scene, "1 2 3 |3 ");
	pump(&scene, "");
	append(&scene, "b@x.y", "ada@example.com");
	pump(&scene, "4 |4 ");
	answer(&scene, 3);
	pump(&scene, "");
	answer(&scene, 4);
	pump(&scene, "");
	end(&scene);
}

static void keeps_few_barriers_under_way_and_covers_all_later(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "");
	for (int i = 0; i < EGRESS_BARRIERS_MAX; i++) {
		append(&scene, "b@x.y", "ada@example.com");
		egress_pump(scene.egress, scene.queue);
	}
	append(&scene, "b@x.y", "ada@example.com");
	pump(&scene, "5 ");
	append(&scene, "b@x.y", "ada@example.com");
	pump(&scene, "6 ");
	answer(&scene, 1);
	pump(&scene, "|6 ");
	end(&scene);
}

static void hands_over_again_what_was_not_acknowledged(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bbb");
	pump(&scene, "1 2 3 |3 ");
	lose(&scene, NULL);
	pump(&scene, "1 2 3 |3 ");
	answer(&scene, 3);
	lose(&scene, NULL);
	pump(&scene, "");
	end(&scene);
}

static void sets_a_barrier_at_each_step_and_stops_past_the_last(void **state)
{
	struct scene scene;
	const int steps = EGRESS_BARRIERS_MAX + 1;

	(void)state;
	begin(&scene, "");
	for (int i = 0; i < steps * EGRESS_STEP_MESSAGES + 2; i++)
		append(&scene, "b@x.y", "ada@example.com");
	assert_int_equal(egress_pump(scene.egress, scene.queue), steps * EGRESS_STEP_MESSAGES);
	assert_non_null(strstr(buf_text(&scene.did), " 512 |512 513 "));
	assert_non_null(strstr(buf_text(&scene.did), " 2048 |2048 2049 "));
	assert_int_equal(scene.barriers, EGRESS_BARRIERS_MAX);
	assert_int_equal(egress_pump(scene.egress, scene.queue), 0);
	answer(&scene, 512);
	pump(&scene, "|2560 2561 2562 ");
	answer(&scene, 1024);
	pump(&scene, "|2562 ");
	end(&scene);
}

static void counts_bytes_to_the_next_barrier_too(void **state)
{
	struct scene scene;
	scoped_buf payload = BUF_INIT(0);

	(void)state;
	begin(&scene, "b");
	for (int i = 0; i < EGRESS_STEP_BYTES; i++)
		buf_add_char(&payload, ' ');
	scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
		.kind = ENVELOPE_MESSAGE,
		.stanza_id = slice_lit("2"),
		.from = slice_lit("ada@example.com"),
		.to = slice_lit("b@x.y"),
		.payload = buf_slice(&payload),
		.received = 1,
	});
	queue_committed(scene.queue, 2, envelope);
	append(&scene, "b@x.y", "ada@example.com");
	pump(&scene, "1 2 |2 3 |3 ");
	end(&scene);
}

static void writes_no_more_than_the_kernel_takes(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bb");
	scene.waiting = EGRESS_WAITING_MAX + 1;
	pump(&scene, "");
	scene.waiting = 0;
	pump(&scene, "1 2 |2 ");
	end(&scene);
}

static void waits_for_people_that_are_being_asked_for(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bwb");
	pump(&scene, "1 |1 ");
	scene.arrived = true;
	pump(&scene, "2 3 |3 ");
	end(&scene);
}

static void reroutes_only_when_all_before_is_acknowledged(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bmmb");
	pump(&scene, "1 |1 ");
	answer(&scene, 1);
	pump(&scene, "~2 ~3 4 |4 ");
	end(&scene);
}

static void lets_go_of_who_has_moved_while_the_stream_is_down(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "mmbm");
	egress_divert(scene.egress, scene.queue);
	assert_string_equal(buf_text(&scene.did), "~1 ~2 ");
	pump(&scene, "3 |3 ");
	lose(&scene, NULL);
	buf_clear(&scene.did);
	egress_divert(scene.egress, scene.queue);
	assert_string_equal(buf_text(&scene.did), "");
	end(&scene);
}

static void buries_what_the_server_would_not_take_from_this_stream(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "fb");
	pump(&scene, "+1 2 |2 ");
	end(&scene);
}

static void finds_the_message_that_breaks_the_stream_and_buries_it(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bbbb"); /* 2 is poison */
	pump(&scene, "1 2 3 4 |4 ");
	lose(&scene, "stream error: not-well-formed");
	pump(&scene, "1 |1 ");
	answer(&scene, 1);
	for (int i = 0; i < EGRESS_DEATHS_MAX; i++) {
		pump(&scene, "2 |2 ");
		pump(&scene, "");
		lose(&scene, "stream error: not-well-formed");
	}
	pump(&scene, "+2 3 |3 ");
	answer(&scene, 3);
	pump(&scene, "4 |4 ");
	answer(&scene, 4);
	append(&scene, "b@x.y", "ada@example.com");
	append(&scene, "b@x.y", "ada@example.com");
	pump(&scene, "5 6 |6 ");
	end(&scene);
}

static void blames_nothing_when_the_server_has_other_reasons(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bb");
	for (int i = 0; i < 2 * EGRESS_DEATHS_MAX; i++) {
		pump(&scene, "1 2 |2 ");
		lose(&scene, NULL);
	}
	end(&scene);
}

static void finds_the_message_that_cuts_the_stream_without_a_word(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bbb"); /* 2 is poison */
	pump(&scene, "1 2 3 |3 ");
	cut(&scene);
	pump(&scene, "1 2 3 |3 ");
	cut(&scene);
	pump(&scene, "1 |1 ");
	answer(&scene, 1);
	for (int i = 0; i < EGRESS_DEATHS_MAX; i++) {
		pump(&scene, "2 |2 ");
		cut(&scene);
	}
	pump(&scene, "+2 3 |3 ");
	answer(&scene, 3);
	end(&scene);
}

static void buries_nothing_for_cuts_between_which_it_goes_on(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bbbbbbbb");
	pump(&scene, "1 2 3 4 5 6 7 8 |8 ");
	cut(&scene);
	cut(&scene); /* nothing was sent on this one */
	pump(&scene, "1 2 3 4 5 6 7 8 |8 ");
	answer(&scene, 1);
	cut(&scene);
	pump(&scene, "2 3 4 5 6 7 8 |8 ");
	cut(&scene); /* careful now, and 2 is fine */
	for (int64_t seq = 2; seq <= 8; seq++) {
		scoped_str sent = str_format("%lld |%lld ", (long long)seq, (long long)seq);
		pump(&scene, sent);
		cut(&scene);
		pump(&scene, sent);
		answer(&scene, seq);
	}
	end(&scene);
}

static void drains_with_a_last_barrier(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "bb");
	scene.barriers = EGRESS_BARRIERS_MAX;
	pump(&scene, "1 2 ");
	scene.barriers--;
	append(&scene, "b@x.y", "ada@example.com");
	buf_clear(&scene.did);
	egress_guard(scene.egress, scene.queue);
	assert_string_equal(buf_text(&scene.did), "|2 ");
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_over_in_order_with_one_barrier_a_turn),
		cmocka_unit_test(keeps_few_barriers_under_way_and_covers_all_later),
		cmocka_unit_test(hands_over_again_what_was_not_acknowledged),
		cmocka_unit_test(sets_a_barrier_at_each_step_and_stops_past_the_last),
		cmocka_unit_test(counts_bytes_to_the_next_barrier_too),
		cmocka_unit_test(writes_no_more_than_the_kernel_takes),
		cmocka_unit_test(waits_for_people_that_are_being_asked_for),
		cmocka_unit_test(reroutes_only_when_all_before_is_acknowledged),
		cmocka_unit_test(lets_go_of_who_has_moved_while_the_stream_is_down),
		cmocka_unit_test(buries_what_the_server_would_not_take_from_this_stream),
		cmocka_unit_test(finds_the_message_that_breaks_the_stream_and_buries_it),
		cmocka_unit_test(blames_nothing_when_the_server_has_other_reasons),
		cmocka_unit_test(finds_the_message_that_cuts_the_stream_without_a_word),
		cmocka_unit_test(buries_nothing_for_cuts_between_which_it_goes_on),
		cmocka_unit_test(drains_with_a_last_barrier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
