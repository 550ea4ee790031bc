/* SPDX-License-Identifier: Apache-2.0 */
/* Against a real registry: started again under tests/with-registry.sh when there is none. */
#include "base/log.h"
#include "federation/journal.h"
#include "schema/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60 * 1000, MANY = 20000 };

/* A gateway's journal with one consumer, and another connection to break things with. */
struct scene {
	struct loop *loop;
	struct pg *pg, *breaker;
	struct journal *journal;
	struct journal_target *target;
	struct timer *patience;
	int64_t accepted;  /* by the destination, which takes all at once */
	int64_t position;  /* last one told of site "there" */
	int64_t put, want; /* how many were put; until how many are accepted */
	int breaks;	   /* how many times the backend is still to be killed */
	bool ready, accept_all, fatal;
	char error[256];
};

static struct envelope *numbered(int64_t n)
{
	scoped_str payload = str_format("<body>%lld</body>", (long long)n);

	return envelope_new(&(struct envelope_fields){
		.kind = ENVELOPE_MESSAGE,
		.from = slice_lit("ada@example.com/home"),
		.to = slice_lit("bob@example.com"),
		.payload = slice_str(payload),
		.received = 1,
	});
}

static int64_t number_of(const struct envelope *envelope)
{
	return strtoll(envelope->f.payload.data + strlen("<body>"), NULL, 10);
}

static void on_ready(void *arg)
{
	struct scene *scene = arg;
	struct queue *queue = journal_queue(scene->target);
	int64_t seq = 0;

	for (struct envelope *envelope;
	     scene->accept_all && (envelope = queue_peek(queue, &seq));) {
		assert_int_equal(number_of(envelope), scene->accepted + 1);
		scene->accepted++;
		queue_take(queue);
	}
	if (seq && queue_sent(queue) > queue_acked(queue))
		assert_true(journal_ack(scene->target, queue_sent(queue)));
}

static void ignore(void *arg, enum hr_status status, const PGresult *result,
		   const struct hr_err *err)
{
	(void)arg, (void)status, (void)result, (void)err;
}

static void kill_backend(struct scene *scene)
{
	static const struct pg_statement kill = {
		"test_kill", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
			     "WHERE application_name = 'test journal'"
	};

	pg_send(scene->breaker, &kill, NULL, ignore, scene);
}

static void look(void *arg);

static void put_some(struct scene *scene)
{
	for (int i = 0; i < 100 && scene->put < scene->want; i++) {
		scoped(envelope) envelope = numbered(++scene->put);

		journal_put(scene->journal, &(struct journal_entry){ .target = scene->target,
								     .envelope = envelope });
	}
}

/* Runs each turn: brings more while the journal flows, breaks the connection now and then. */
static void look(void *arg)
{
	struct scene *scene = arg;

	if (scene->ready && journal_is_flowing(scene->journal))
		put_some(scene);
	if (scene->breaks && scene->put > scene->want / (scene->breaks + 1)) {
		scene->breaks--;
		kill_backend(scene);
	}
	if (scene->fatal || (scene->accepted == scene->want && journal_is_idle(scene->journal)))
		loop_stop(scene->loop);
	else
		timer_set(scene->patience, loop_now(scene->loop) + 1);
}

static void journal_is_ready(void *ctx)
{
	((struct scene *)ctx)->ready = true;
}

static void position(void *ctx, const char *site, int64_t seq)
{
	struct scene *scene = ctx;

	assert_string_equal(site, "there");
	assert_true(seq > scene->position);
	scene->position = seq;
}

static void flowing(void *ctx, bool yes)
{
	(void)ctx, (void)yes;
}

static void fatal(void *ctx, const struct hr_err *err)
{
	struct scene *scene = ctx;

	scene->fatal = true;
	snprintf(scene->error, sizeof scene->error, "%s", err->text);
}

static const struct journal_events journal_events = { journal_is_ready, position, flowing, fatal };

static void up(void *ctx)
{
	journal_up(((struct scene *)ctx)->journal);
}

static void down(void *ctx, const struct hr_err *err)
{
	(void)err;
	journal_down(((struct scene *)ctx)->journal);
}

static void breaker_up(void *ctx)
{
	(void)ctx;
}

static void breaker_down(void *ctx, const struct hr_err *err)
{
	(void)ctx, (void)err;
}

static const struct pg_events pg_events = { .up = up, .down = down };
static const struct pg_events breaker_events = { .up = breaker_up, .down = breaker_down };

static struct scene *scene_new(const char *queue)
{
	struct scene *scene = mem_new(struct scene);
	const char *database = getenv("HEDGEROW_TEST_DATABASE");

	scene->loop = loop_new();
	scene->pg = pg_new(scene->loop, database, "test journal", &pg_events, scene);
	scene->breaker = pg_new(scene->loop, database, "test breaker", &breaker_events, scene);
	scene->journal = journal_new(scene->loop, scene->pg, "node1", &journal_events, scene);
	scene->target = journal_target(scene->journal, queue);
	scene->patience = timer_new(scene->loop, look, scene);
	scene->accept_all = true;
	timer_set(scene->patience, loop_now(scene->loop) + 1);
	return scene;
}

static void scene_free(struct scene *scene)
{
	pg_free(scene->pg);
	pg_free(scene->breaker);
	timer_free(scene->patience);
	journal_free(scene->journal);
	loop_free(scene->loop);
	free(scene);
}

static void run(struct scene *scene, int64_t want)
{
	scene->want = want;
	loop_run(scene->loop);
	assert_string_equal(scene->error, "");
}

static void what_is_put_is_handed_over_in_order(void **state)
{
	struct scene *scene = scene_new("order");

	(void)state;
	journal_consume(scene->target, on_ready, scene);
	run(scene, MANY);
	assert_int_equal(queue_head(journal_queue(scene->target)), MANY);
	assert_int_equal(queue_acked(journal_queue(scene->target)), MANY);
	scene_free(scene);
}

static void a_lost_connection_neither_loses_nor_doubles(void **state)
{
	struct scene *scene = scene_new("broken");

	(void)state;
	scene->breaks = 10;
	journal_consume(scene->target, on_ready, scene);
	run(scene, MANY);
	assert_int_equal(scene->breaks, 0);
	assert_int_equal(queue_head(journal_queue(scene->target)), MANY);
	scene_free(scene);
}

static void what_was_not_accepted_is_there_after_a_restart(void **state)
{
	struct scene *scene = scene_new("restart");

	(void)state;
	scene->accept_all = false; /* nothing is taken, so `accepted` never reaches `want` */
	journal_consume(scene->target, on_ready, scene);
	scene->want = 12000; /* more than stays in memory */
	while (scene->put < scene->want || !journal_is_idle(scene->journal))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	scene_free(scene);

	scene = scene_new("restart");
	scene->put = 12000;
	journal_consume(scene->target, on_ready, scene);
	run(scene, 12000);
	scene_free(scene);
}

static void a_position_moves_with_what_it_brought(void **state)
{
	struct scene *scene = scene_new("origin");

	(void)state;
	journal_consume(scene->target, on_ready, scene);
	scene->put = scene->want = 1;
	while (!scene->ready)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	journal_origin(scene->journal, "there", 0);
	/* No such resume position: the batch is refused whole and the process must end. */
	scoped(envelope) envelope = numbered(1);

	journal_put(scene->journal, &(struct journal_entry){ .target = scene->target,
							     .envelope = envelope,
							     .origin = "there",
							     .origin_seq = 1 });
	loop_run(scene->loop);
	assert_true(scene->fatal);
	assert_non_null(strstr(scene->error, "resume position"));
	assert_int_equal(scene->position, 0);
	assert_int_equal(scene->accepted, 0);
	scene_free(scene);
}

static void what_is_given_up_goes_with_its_replacement(void **state)
{
	struct scene *scene = scene_new("skipped");
	int64_t seq;
	bool sent;

	(void)state;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	scene->want = 1;
	while (scene->put < 1 || !journal_is_idle(scene->journal) ||
	       !queue_first(journal_queue(scene->target), &seq, &sent))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);

	scoped(envelope) envelope =
		envelope_ref(queue_first(journal_queue(scene->target), &seq, &sent));

	assert_false(sent);
	journal_put(scene->journal, &(struct journal_entry){ .target = scene->target,
							     .envelope = envelope,
							     .skip = scene->target,
							     .skip_seq = seq });
	assert_int_equal(queue_acked(journal_queue(scene->target)), seq);
	scene->accept_all = true;
	run(scene, 1);
	assert_int_equal(queue_head(journal_queue(scene->target)), 2);
	assert_int_equal(queue_acked(journal_queue(scene->target)), 2);
	scene_free(scene);
}

static void turn_until_idle(struct scene *scene, int64_t put)
{
	scene->want = put;
	while (scene->put < put || !journal_is_idle(scene->journal) ||
	       !journal_queue(scene->target) || queue_depth(journal_queue(scene->target)) < put)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
}

/* Two go while it is offered, one comes after that; who takes over knows. */
static void what_may_have_gone_is_known_to_who_comes_after(void **state)
{
	struct scene *scene = scene_new("offered");
	int64_t seq;

	(void)state;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	turn_until_idle(scene, 1);
	assert_int_equal(queue_handed(journal_queue(scene->target)), 0);
	journal_offer(scene->target, true);
	assert_null(queue_peek(journal_queue(scene->target), &seq)); /* not before the commit */
	while (!queue_peek(journal_queue(scene->target), &seq))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	int64_t commits = journal_metrics[JOURNAL_COMMITS].value;
	turn_until_idle(scene, 2);
	assert_int_equal(journal_metrics[JOURNAL_COMMITS].value, commits + 1);
	queue_take(journal_queue(scene->target));
	assert_non_null(queue_peek(journal_queue(scene->target), &seq)); /* offered as it came */
	journal_offer(scene->target, false);
	turn_until_idle(scene, 3);
	assert_int_equal(queue_handed(journal_queue(scene->target)), 1);
	scene_free(scene); /* as kill -9 would */

	scene = scene_new("offered");
	scene->put = 3;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	turn_until_idle(scene, 3);
	assert_int_equal(queue_handed(journal_queue(scene->target)), 2);
	scene_free(scene);
}

static void what_was_accepted_is_kept_when_the_queue_is_let_go(void **state)
{
	struct scene *scene = scene_new("let go");
	int64_t seq;

	(void)state;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	turn_until_idle(scene, 2);
	assert_non_null(queue_peek(journal_queue(scene->target), &seq));
	queue_take(journal_queue(scene->target));
	assert_true(journal_ack(scene->target, seq));
	journal_release(scene->target);
	while (!journal_is_idle(scene->journal))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	scene_free(scene);

	scene = scene_new("let go");
	scene->put = 1;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	turn_until_idle(scene, 1);
	assert_int_equal(queue_acked(journal_queue(scene->target)), seq);
	scene_free(scene);
}

static void count_up(void *arg)
{
	++*(int *)arg;
}

static void on_due(void *arg, enum hr_status status, const struct hr_err *err)
{
	(void)err;
	assert_int_equal(status, HR_OK);
	++*(int *)arg;
}

/* The end of an entry is told after its commit; what is deferred comes when it is due, unless its
 * receipt came. */
static void what_is_deferred_comes_later_unless_its_receipt_came(void **state)
{
	struct scene *scene = scene_new("deferred");
	int done = 0, due = 0;

	(void)state;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	scene->put = scene->want = 2;
	while (!scene->ready)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	for (int n = 1; n <= 2; n++) {
		scoped_str id = str_format("m%d", n);
		scoped_str payload = str_format("<body>%d</body>", n);
		scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
			.stanza_id = slice_str(id),
			.from = slice_lit("ada@example.com/home"),
			.to = slice_str(n == 1 ? "bob@example.com" : "carol@example.com/x"),
			.payload = slice_str(payload),
			.received = 1,
		});
		journal_put(scene->journal,
			    &(struct journal_entry){
				    .envelope = envelope,
				    .later = { scene->target, 1, .awaits = true, .asked = true },
				    .done = count_up,
				    .arg = &done });
	}
	scoped(envelope) receipt = envelope_new(&(struct envelope_fields){
		.from = slice_lit("bob@example.com/phone"),
		.to = slice_lit("ada@example.com/home"),
		.payload = slice_lit("m1"),
		.received = 1,
	});
	journal_put(scene->journal, &(struct journal_entry){ .receipt = receipt,
							     .receipt_of = str_dup("m1"),
							     .done = count_up,
							     .arg = &done });
	assert_int_equal(done, 0);
	while (done < 3)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	assert_int_equal(queue_head(journal_queue(scene->target)), 0);
	journal_due(scene->breaker, on_due, &due);
	while (!due)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	journal_look(scene->journal); /* as the notification would */
	int64_t seq;
	while (!queue_peek(journal_queue(scene->target), &seq))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	assert_int_equal(number_of(queue_peek(journal_queue(scene->target), &seq)), 2);
	assert_true(queue_peek(journal_queue(scene->target), &seq)->f.is_copy);
	assert_int_equal(queue_head(journal_queue(scene->target)), 1);
	scene_free(scene);
}

/* What was due and is deferred again is what it was. */
static void what_is_deferred_again_stays_a_copy_or_none(void **state)
{
	struct scene *scene = scene_new("again");

	(void)state;
	scene->accept_all = false;
	journal_consume(scene->target, on_ready, scene);
	scene->put = scene->want = 2;
	while (!scene->ready)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	for (int n = 0; n < 2; n++) {
		scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
			.stanza_id = slice_lit("m"),
			.from = slice_lit("ada@example.com/home"),
			.to = slice_lit("bob@example.com"),
			.received = 1,
			.is_copy = n == 0,
		});
		int done = 0, due = 0;
		int64_t seq;

		journal_put(scene->journal,
			    &(struct journal_entry){ .envelope = envelope,
						     .later = { scene->target, 1, .whole = n },
						     .done = count_up,
						     .arg = &done });
		while (!done)
			uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
		journal_due(scene->breaker, on_due, &due);
		while (!due)
			uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
		journal_look(scene->journal);
		while (!queue_peek(journal_queue(scene->target), &seq))
			uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
		assert_int_equal(queue_peek(journal_queue(scene->target), &seq)->f.is_copy, n == 0);
		queue_take(journal_queue(scene->target));
		journal_ack(scene->target, seq); /* committed with what follows */
	}
	scene_free(scene);
}

static void two_gateways_cannot_share_a_node_name(void **state)
{
	struct scene *first = scene_new("lease"), *second;

	(void)state;
	first->want = 1; /* never reached: the loop is turned by hand */
	while (!first->ready)
		uv_run(loop_uv(first->loop), UV_RUN_ONCE);
	second = scene_new("lease");
	second->want = 1;
	msec until = time_msec() + 600;
	while (time_msec() < until) {
		uv_run(loop_uv(second->loop), UV_RUN_ONCE);
		assert_false(second->ready);
	}
	scene_free(first);
	while (!second->ready)
		uv_run(loop_uv(second->loop), UV_RUN_ONCE);
	scene_free(second);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_handed_over_in_order),
		cmocka_unit_test(a_lost_connection_neither_loses_nor_doubles),
		cmocka_unit_test(what_was_not_accepted_is_there_after_a_restart),
		cmocka_unit_test(a_position_moves_with_what_it_brought),
		cmocka_unit_test(what_is_given_up_goes_with_its_replacement),
		cmocka_unit_test(what_may_have_gone_is_known_to_who_comes_after),
		cmocka_unit_test(what_was_accepted_is_kept_when_the_queue_is_let_go),
		cmocka_unit_test(what_is_deferred_comes_later_unless_its_receipt_came),
		cmocka_unit_test(what_is_deferred_again_stays_a_copy_or_none),
		cmocka_unit_test(two_gateways_cannot_share_a_node_name),
	};

	(void)argc;
	if (!getenv("HEDGEROW_TEST_DATABASE")) {
		const char *top = getenv("top_srcdir");
		scoped_str wrapper = str_format("%s/tests/with-registry.sh", top ? top : ".");

		execl(wrapper, wrapper, argv[0], (char *)NULL);
		perror(wrapper);
		return EXIT_FAILURE;
	}
	log_open(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
