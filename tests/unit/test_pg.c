/* SPDX-License-Identifier: Apache-2.0 */
/* Against a real server: started again under tests/with-postgres.sh when there is none. */
#include "base/log.h"
#include "base/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30 * 1000, ANSWERS_MAX = 16, MANY = 10000 };

/* What has been seen, as one line of text, and when to stop the loop. */
struct scene {
	struct loop *loop;
	struct pg *pg;
	struct timer *patience;
	struct buf seen; /* "up", "down", "ok:VALUE", "retry", "notified:CHANNEL:PAYLOAD" ... */
	struct hr_err last, lost; /* of an answer, of the connection */
	const char *until;	  /* stop when `seen` ends in this */
	size_t answers, stop_after;
	void (*on_up)(struct scene *scene);
};

static void see(struct scene *scene, const char *what)
{
	if (scene->seen.len > 0)
		buf_add_char(&scene->seen, ' ');
	buf_add_str(&scene->seen, what);
	size_t len = scene->until ? strlen(scene->until) : 0;
	if (len && scene->seen.len >= len &&
	    memcmp(scene->seen.data + scene->seen.len - len, scene->until, len) == 0)
		loop_stop(scene->loop);
}

static void run_until(struct scene *scene, const char *until)
{
	scene->until = until;
	loop_run(scene->loop);
}

static void on_up(void *ctx)
{
	struct scene *scene = ctx;

	see(scene, "up");
	if (scene->on_up)
		scene->on_up(scene);
}

static void on_down(void *ctx, const struct hr_err *err)
{
	struct scene *scene = ctx;

	scene->lost = *err;
	see(scene, "down");
}

static void on_notified(void *ctx, const char *channel, const char *payload)
{
	scoped_str text = str_format("notified:%s:%s", channel, payload);

	see(ctx, text);
}

static const struct pg_events events = { .up = on_up, .down = on_down, .notified = on_notified };

static void out_of_patience(void *arg)
{
	struct scene *scene = arg;

	fail_msg("still waiting; seen so far: %s; lost: %s", buf_text(&scene->seen),
		 scene->lost.text);
}

static void open_scene(struct scene *scene, const char *conninfo)
{
	*scene = (struct scene){ .loop = loop_new() };
	scene->patience = timer_new(scene->loop, out_of_patience, scene);
	timer_set(scene->patience, time_msec() + PATIENCE_MS);
	scene->pg = pg_new(scene->loop, conninfo, "test_pg", &events, scene);
}

static const char *database(void)
{
	return getenv("HEDGEROW_TEST_DATABASE");
}

static void open_up(struct scene *scene)
{
	open_scene(scene, database());
	run_until(scene, "up");
}

static void close_scene(struct scene *scene)
{
	pg_free(scene->pg);
	timer_free(scene->patience);
	loop_free(scene->loop);
	buf_free(&scene->seen);
}

/* "ok:VALUE" with a text in column 0 of row 0, "ok" without rows, else the name of the status. */
static void on_answer(void *arg, enum hr_status status, const PGresult *result,
		      const struct hr_err *err)
{
	struct scene *scene = arg;
	struct slice value = { 0 };

	assert_non_null(err);
	if (status != HR_OK)
		scene->last = *err;
	if (status == HR_OK && PQntuples(result) > 0)
		value = pg_text(result, 0, 0);
	scoped_str text = str_format("%s%s" SLICE_FMT, hr_status_name(status),
				     value.data ? ":" : "", SLICE_ARG(value));
	see(scene, text);
}

static void ask(struct scene *scene, const struct pg_statement *statement,
		const struct pg_params *params)
{
	pg_send(scene->pg, statement, params, on_answer, scene);
}

#define STATEMENT(id, text) static const struct pg_statement id = { #id, text }
STATEMENT(echo, "SELECT $1::text");
STATEMENT(divide, "SELECT (1 / $1::int)::text");
STATEMENT(no_such, "SELECT no_such_function()");
STATEMENT(backend, "SELECT pg_backend_pid()::text");
STATEMENT(kill_self, "SELECT pg_terminate_backend(pg_backend_pid())::text");
STATEMENT(kill_other, "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity "
		      "WHERE application_name = 'test_pg' AND pid <> pg_backend_pid()");
STATEMENT(sleep_long, "SELECT pg_sleep(60)::text");
STATEMENT(cancel_soon, "SELECT set_config('statement_timeout', '20ms', false)");
STATEMENT(nap, "SELECT pg_sleep(10)::text");
STATEMENT(notify, "SELECT pg_notify($1::text, $2::text)::text");
STATEMENT(fail_serialization, "SELECT raise_with('40001', 'try again')::text");
STATEMENT(fail_own, "SELECT raise_with('HR001', 'no such site')::text");
STATEMENT(put_child, "INSERT INTO child VALUES ($1::int)");
STATEMENT(put_parent, "INSERT INTO parent VALUES ($1::int)");
STATEMENT(shape, "SELECT * FROM shape");

static void ask_text(struct scene *scene, const struct pg_statement *statement, const char *value)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_text(params, slice_str(value));
	ask(scene, statement, params);
}

static void ask_int(struct scene *scene, const struct pg_statement *statement, int32_t value)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_int(params, value);
	ask(scene, statement, params);
}

static void seen_is(struct scene *scene, const char *expected)
{
	assert_string_equal(buf_text(&scene->seen), expected);
}

/* Runs SQL text of several statements on a connection of its own, before the scene. */
static void setup_sql(const char *sql)
{
	PGconn *conn = PQconnectdb(database());
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) == PGRES_FATAL_ERROR)
		fail_msg("%s", PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
}

static void answers_come_in_the_order_of_the_requests(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	assert_true(pg_is_up(scene.pg));
	ask_text(&scene, &echo, "a");
	ask_text(&scene, &echo, "b");
	ask_int(&scene, &divide, 1);
	ask_text(&scene, &echo, NULL);
	assert_int_equal(pg_pending(scene.pg), 4);
	run_until(&scene, "ok:1 ok");
	seen_is(&scene, "up ok:a ok:b ok:1 ok");
	assert_int_equal(pg_pending(scene.pg), 0);
	close_scene(&scene);
}

static void an_error_in_a_pipeline_fails_only_its_own_request(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	for (int i = 0; i < 2; i++) {
		ask_text(&scene, &echo, "a");
		ask_int(&scene, &divide, 0);
		ask_int(&scene, &divide, 1);
		ask(&scene, &no_such, NULL);
		ask(&scene, &no_such, NULL);
		ask_text(&scene, &echo, "z");
		run_until(&scene, "ok:z");
	}
	seen_is(&scene, "up ok:a fail ok:1 fail fail ok:z ok:a fail ok:1 fail fail ok:z");
	assert_non_null(strstr(scene.last.text, "SQLSTATE 42883"));
	assert_non_null(strstr(scene.last.text, "no_such_function"));
	close_scene(&scene);
}

static void an_error_at_commit_is_the_answer_in_place_of_the_rows(void **state)
{
	struct scene scene;

	(void)state;
	setup_sql("CREATE TABLE parent (id int PRIMARY KEY);"
		  "CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
	open_up(&scene);
	ask_int(&scene, &put_child, 1);
	ask_int(&scene, &put_parent, 1);
	ask_int(&scene, &put_child, 1);
	ask_text(&scene, &echo, "z");
	run_until(&scene, "ok:z");
	seen_is(&scene, "up fail ok ok ok:z");
	assert_non_null(strstr(scene.last.text, "SQLSTATE 23503"));
	close_scene(&scene);
}

static void a_status_follows_the_sqlstate(void **state)
{
	struct scene scene;

	(void)state;
	setup_sql("CREATE FUNCTION raise_with(state text, message text) RETURNS int LANGUAGE "
		  "plpgsql AS "
		  "$$ BEGIN RAISE '%', message USING ERRCODE = state, HINT = 'a hint'; END $$");
	open_up(&scene);
	ask(&scene, &fail_serialization, NULL);
	ask(&scene, &fail_own, NULL);
	run_until(&scene, "fail");
	seen_is(&scene, "up retry fail");
	assert_string_equal(scene.last.text, "SQLSTATE HR001: no such site; a hint");
	ask(&scene, &cancel_soon, NULL);
	run_until(&scene, "ok:20ms");
	ask(&scene, &nap, NULL);
	run_until(&scene, "retry");
	assert_non_null(strstr(scene.last.text, "SQLSTATE 57014"));
	close_scene(&scene);
}

static void a_wrong_number_of_parameters_fails_only_that_request(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	ask(&scene, &echo, NULL);
	ask_text(&scene, &echo, "a");
	run_until(&scene, "ok:a");
	ask(&scene, &echo, NULL);
	ask_text(&scene, &echo, "b");
	run_until(&scene, "ok:b");
	seen_is(&scene, "up fail ok:a fail ok:b");
	close_scene(&scene);
}

static void a_plan_made_stale_by_a_migration_is_retried_without_it(void **state)
{
	struct scene scene;

	(void)state;
	setup_sql("CREATE TABLE shape AS SELECT 'round'::text AS form");
	open_up(&scene);
	ask(&scene, &shape, NULL);
	run_until(&scene, "ok:round");
	setup_sql("DROP TABLE shape; CREATE TABLE shape AS SELECT 'flat'::text AS form, 1 AS n");
	ask(&scene, &shape, NULL);
	run_until(&scene, "retry");
	ask(&scene, &shape, NULL);
	run_until(&scene, "ok:flat");
	close_scene(&scene);
}

static void a_request_while_down_is_told_to_retry_and_not_inside_the_call(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, database());
	ask_text(&scene, &echo, "a");
	assert_int_equal(scene.seen.len, 0);
	assert_int_equal(pg_pending(scene.pg), 1);
	run_until(&scene, "retry");
	assert_int_equal(pg_pending(scene.pg), 0);
	run_until(&scene, "up");
	seen_is(&scene, "retry up");
	close_scene(&scene);
}

static void ask_again(struct scene *scene)
{
	scene->on_up = NULL;
	ask_text(scene, &echo, "again");
}

static void a_terminated_backend_leaves_requests_unsure_in_order_and_connects_again(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	scene.on_up = ask_again;
	ask_text(&scene, &echo, "a");
	run_until(&scene, "ok:a"); /* libpq may lose an answer that it has when a write fails */
	ask(&scene, &kill_self, NULL);
	ask_text(&scene, &echo, "b");
	ask_text(&scene, &echo, "c");
	run_until(&scene, "ok:again");
	seen_is(&scene, "up ok:a unsure unsure unsure down up ok:again");
	assert_int_equal(pg_pending(scene.pg), 0);
	close_scene(&scene);
}

static void ask_more_when_unsure(void *arg, enum hr_status status, const PGresult *result,
				 const struct hr_err *err)
{
	struct scene *scene = arg;

	on_answer(arg, status, result, err);
	if (status == HR_UNSURE)
		ask_text(scene, &echo, "too late");
}

static void a_backend_terminated_by_another_while_busy_is_a_lost_connection(void **state)
{
	struct scene scene, other;

	(void)state;
	open_up(&scene);
	open_up(&other);
	pg_send(scene.pg, &sleep_long, NULL, ask_more_when_unsure, &scene);
	ask_text(&scene, &echo, "b");
	ask(&other, &kill_other, NULL);
	run_until(&other, "ok:true");
	run_until(&scene, "down");
	assert_non_null(strstr(scene.lost.text, "terminating connection"));
	run_until(&scene, "up");
	seen_is(&scene, "up unsure unsure down retry up");
	close_scene(&other);
	close_scene(&scene);
}

static void an_idle_connection_that_is_terminated_connects_again(void **state)
{
	struct scene scene, other;

	(void)state;
	open_up(&scene);
	open_up(&other);
	ask(&other, &kill_other, NULL);
	run_until(&other, "ok:true");
	run_until(&scene, "down up");
	close_scene(&other);
	close_scene(&scene);
}

static void notifications_survive_a_reconnect(void **state)
{
	struct scene scene;
	scoped(pg_params) params = pg_params_new();

	(void)state;
	open_scene(&scene, database());
	pg_listen(scene.pg, "Odd \"name\"");
	run_until(&scene, "up");
	pg_listen(scene.pg, "plain");
	pg_listen(scene.pg, "plain");
	pg_add_text(params, slice_lit("Odd \"name\""));
	pg_add_text(params, slice_lit("p1"));
	ask(&scene, &notify, params);
	run_until(&scene, "notified:Odd \"name\":p1");
	ask(&scene, &kill_self, NULL);
	run_until(&scene, "down up");
	pg_params_clear(params);
	pg_add_text(params, slice_lit("plain"));
	pg_add_text(params, slice_lit(""));
	ask(&scene, &notify, params);
	run_until(&scene, "notified:plain:");
	close_scene(&scene);
}

STATEMENT(types, "SELECT $1::text, $2::bytea, $3::int, $4::bigint, $5::bool, $6::timestamptz, "
		 "$7::text, $3::smallint, extract(epoch FROM $6::timestamptz)::text, "
		 "'infinity'::timestamptz, $4::bigint - 1 < 0");

static void on_types(void *arg, enum hr_status status, const PGresult *result,
		     const struct hr_err *err)
{
	if (status != HR_OK)
		fail_msg("%s", err->text);
	assert_true(slice_is(pg_text(result, 0, 0), "grüße"));
	assert_true(slice_eq(pg_text(result, 0, 1), slice_lit("\0\xff\n")));
	assert_int_equal(pg_int(result, 0, 2), -7);
	assert_int_equal(pg_bigint(result, 0, 2), -7);
	assert_true(pg_bigint(result, 0, 3) == INT64_MIN + 1);
	assert_int_equal(pg_int(result, 0, 3), INT32_MIN);
	assert_true(pg_bool(result, 0, 4));
	assert_true(pg_time(result, 0, 5) == 1700000000123456);
	assert_null(pg_text(result, 0, 6).data);
	assert_int_equal(pg_bigint(result, 0, 6), 0);
	assert_int_equal(pg_time(result, 0, 6), 0);
	assert_int_equal(pg_int(result, 0, 7), -7);
	assert_true(slice_is(pg_text(result, 0, 8), "1700000000.123456"));
	assert_true(pg_time(result, 0, 9) == INT64_MAX);
	assert_true(pg_bool(result, 0, 10));
	see(arg, "done");
}

static void every_type_makes_the_round_trip(void **state)
{
	struct scene scene;
	scoped(pg_params) params = pg_params_new();

	(void)state;
	open_up(&scene);
	pg_add_text(params, slice_lit("grüße"));
	pg_add_bytes(params, slice_lit("\0\xff\n"));
	pg_add_int(params, -7);
	pg_add_bigint(params, INT64_MIN + 1);
	pg_add_bool(params, true);
	pg_add_time(params, 1700000000123456);
	pg_add_null(params);
	pg_send(scene.pg, &types, params, on_types, &scene);
	run_until(&scene, "done");
	close_scene(&scene);
}

STATEMENT(arrays, "SELECT $1::text[], $2::bytea[], $3::int[], $4::bigint[], $5::bool[], "
		  "$6::timestamptz[], $7::text[], ARRAY[[1,2],[3,4]]::bigint[], NULL::text[], "
		  "($6::timestamptz[])[1], array_to_string($5::bool[], ','), "
		  "($6::timestamptz[])[2] IS NULL, $1::varchar[]");

static void on_arrays(void *arg, enum hr_status status, const PGresult *result,
		      const struct hr_err *err)
{
	struct slice texts[4] = { { 0 } };
	int64_t numbers[4];

	if (status != HR_OK)
		fail_msg("%s", err->text);
	assert_int_equal(pg_array_length(result, 0, 0), 3);
	assert_int_equal(pg_texts(result, 0, 0, texts, 4), 3);
	assert_true(slice_is(texts[0], "a\"{,}"));
	assert_null(texts[1].data);
	assert_non_null(texts[2].data);
	assert_int_equal(texts[2].len, 0);
	assert_int_equal(pg_texts(result, 0, 0, texts, 2), 2);
	assert_int_equal(pg_texts(result, 0, 1, texts, 4), 2);
	assert_true(slice_eq(texts[1], slice_lit("\0\xff")));
	assert_int_equal(pg_bigints(result, 0, 2, numbers, 4), 2);
	assert_int_equal(numbers[0], -1);
	assert_int_equal(pg_bigints(result, 0, 3, numbers, 4), 2);
	assert_true(numbers[1] == INT64_MAX);
	assert_int_equal(pg_array_length(result, 0, 6), 0);
	assert_int_equal(pg_texts(result, 0, 6, texts, 4), 0);
	assert_int_equal(pg_bigints(result, 0, 7, numbers, 4), 0);
	assert_int_equal(pg_texts(result, 0, 8, texts, 4), 0);
	assert_true(pg_time(result, 0, 9) == 1);
	assert_true(slice_is(pg_text(result, 0, 10), "t,f"));
	assert_true(pg_bool(result, 0, 11));
	assert_int_equal(pg_texts(result, 0, 12, texts, 4), 3);
	see(arg, "done");
}

static void arrays_make_the_round_trip(void **state)
{
	struct scene scene;
	scoped(pg_params) params = pg_params_new();

	(void)state;
	open_up(&scene);
	pg_begin_array(params, PG_TEXT, 3);
	pg_item_text(params, slice_lit("a\"{,}"));
	pg_item_text(params, (struct slice){ 0 });
	pg_item_text(params, slice_lit(""));
	pg_begin_array(params, PG_BYTEA, 2);
	pg_item_bytes(params, slice_lit(""));
	pg_item_bytes(params, slice_lit("\0\xff"));
	pg_begin_array(params, PG_INT, 2);
	pg_item_int(params, -1);
	pg_item_int(params, 2);
	pg_begin_array(params, PG_BIGINT, 2);
	pg_item_bigint(params, INT64_MIN);
	pg_item_bigint(params, INT64_MAX);
	pg_begin_array(params, PG_BOOL, 2);
	pg_item_bool(params, true);
	pg_item_bool(params, false);
	pg_begin_array(params, PG_TIMESTAMPTZ, 2);
	pg_item_time(params, 1);
	pg_item_time(params, 0);
	pg_begin_array(params, PG_TEXT, 0);
	pg_send(scene.pg, &arrays, params, on_arrays, &scene);
	run_until(&scene, "done");
	close_scene(&scene);
}

STATEMENT(big, "SELECT length($1::bytea), $1::bytea, $2::int");

static void on_big(void *arg, enum hr_status status, const PGresult *result,
		   const struct hr_err *err)
{
	struct scene *scene = arg;

	if (status != HR_OK)
		fail_msg("%s", err->text);
	assert_int_equal(pg_int(result, 0, 2), scene->answers);
	assert_int_equal(pg_int(result, 0, 0), pg_text(result, 0, 1).len);
	if (++scene->answers == scene->stop_after)
		loop_stop(scene->loop);
}

static void ask_big(struct scene *scene, size_t count, size_t bytes)
{
	scoped(pg_params) params = pg_params_new();
	char *data = mem_alloc(bytes);

	scene->answers = 0;
	scene->stop_after = count;
	for (size_t i = 0; i < count; i++) {
		pg_params_clear(params);
		pg_add_bytes(params, (struct slice){ data, bytes });
		pg_add_int(params, (int32_t)i);
		pg_send(scene->pg, &big, params, on_big, scene);
	}
	free(data);
	run_until(scene, NULL);
	assert_int_equal(scene->answers, count);
}

static void ten_thousand_requests_fit_a_pipeline(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	ask_big(&scene, MANY, 100);
	ask_big(&scene, MANY, 100);
	close_scene(&scene);
}

static void a_pipeline_larger_than_every_socket_buffer_does_not_block(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	ask_big(&scene, 40, 1 << 20);
	close_scene(&scene);
}

static void free_inside(void *arg, enum hr_status status, const PGresult *result,
			const struct hr_err *err)
{
	struct scene *scene = arg;

	on_answer(arg, status, result, err);
	pg_free(give(scene->pg));
	loop_stop(scene->loop);
}

static void a_connection_may_be_freed_inside_an_answer(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	pg_send(scene.pg, &backend, NULL, free_inside, &scene);
	ask_text(&scene, &echo, "never answered");
	run_until(&scene, NULL);
	assert_null(strstr(buf_text(&scene.seen), "never"));
	close_scene(&scene);
}

static void a_connection_may_be_freed_inside_an_unsure_answer(void **state)
{
	struct scene scene;

	(void)state;
	open_up(&scene);
	pg_send(scene.pg, &kill_self, NULL, free_inside, &scene);
	ask_text(&scene, &echo, "never answered");
	run_until(&scene, NULL);
	seen_is(&scene, "up unsure");
	close_scene(&scene);
}

static void a_server_that_is_not_there_is_tried_again_and_again(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, "host=/nonexistent dbname=postgres");
	run_until(&scene, "down down down");
	assert_false(pg_is_news(scene.pg)); /* refused as before */
	assert_int_equal(scene.lost.status, HR_RETRY);
	assert_non_null(strstr(scene.lost.text, "/nonexistent"));
	close_scene(&scene);
}

static void a_conninfo_that_makes_no_sense_is_reported_as_down(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, "no_such_keyword=1");
	assert_int_equal(scene.seen.len, 0);
	run_until(&scene, "down");
	assert_non_null(strstr(scene.lost.text, "no_such_keyword"));
	close_scene(&scene);
}

static void hosts_are_looked_up_and_tried_in_turn(void **state)
{
	const char *const before[] = { "localhost", "no..name", "127.0.0.1,localhost" };
	const char *const ports[] = { "1,5432", "1,5432", "1,1,5432" };
	const char *dir = strstr(database(), "host=") + 5;

	(void)state;
	for (size_t i = 0; i < countof(before); i++) {
		struct scene scene;
		scoped_str conninfo = str_format("host=%s,%.*s port=%s user=postgres "
						 "dbname=postgres",
						 before[i], (int)strcspn(dir, " "), dir, ports[i]);
		open_scene(&scene, conninfo);
		run_until(&scene, "up");
		seen_is(&scene, "up");
		close_scene(&scene);
	}
}

static void a_host_that_has_no_address_is_reported_as_down(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, "host=no..name");
	run_until(&scene, "down down");
	assert_int_equal(scene.lost.status, HR_RETRY);
	assert_non_null(strstr(scene.lost.text, "no..name: "));
	close_scene(&scene);
	open_scene(&scene, "host=localhost");
	uv_run(loop_uv(scene.loop), UV_RUN_NOWAIT);
	close_scene(&scene);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_come_in_the_order_of_the_requests),
		cmocka_unit_test(an_error_in_a_pipeline_fails_only_its_own_request),
		cmocka_unit_test(an_error_at_commit_is_the_answer_in_place_of_the_rows),
		cmocka_unit_test(a_status_follows_the_sqlstate),
		cmocka_unit_test(a_wrong_number_of_parameters_fails_only_that_request),
		cmocka_unit_test(a_plan_made_stale_by_a_migration_is_retried_without_it),
		cmocka_unit_test(a_request_while_down_is_told_to_retry_and_not_inside_the_call),
		cmocka_unit_test(
			a_terminated_backend_leaves_requests_unsure_in_order_and_connects_again),
		cmocka_unit_test(a_backend_terminated_by_another_while_busy_is_a_lost_connection),
		cmocka_unit_test(an_idle_connection_that_is_terminated_connects_again),
		cmocka_unit_test(notifications_survive_a_reconnect),
		cmocka_unit_test(every_type_makes_the_round_trip),
		cmocka_unit_test(arrays_make_the_round_trip),
		cmocka_unit_test(ten_thousand_requests_fit_a_pipeline),
		cmocka_unit_test(a_pipeline_larger_than_every_socket_buffer_does_not_block),
		cmocka_unit_test(a_connection_may_be_freed_inside_an_answer),
		cmocka_unit_test(a_connection_may_be_freed_inside_an_unsure_answer),
		cmocka_unit_test(a_server_that_is_not_there_is_tried_again_and_again),
		cmocka_unit_test(a_conninfo_that_makes_no_sense_is_reported_as_down),
		cmocka_unit_test(hosts_are_looked_up_and_tried_in_turn),
		cmocka_unit_test(a_host_that_has_no_address_is_reported_as_down),
	};
	const char *top = getenv("top_srcdir");

	if (!database()) {
		scoped_str wrapper = str_format("%s/tests/with-postgres.sh", top ? top : ".");
		execl(wrapper, wrapper, argv[0], NULL);
		perror(wrapper);
		return 1;
	}
	(void)argc;
	log_open(LOG_LEVEL_INFO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
