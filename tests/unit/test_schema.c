/* SPDX-License-Identifier: Apache-2.0 */
/* The C side of the registry and the journal against a real database with the real schema; started
 * again under tests/with-postgres.sh when there is no server. */
#include "base/log.h"
#include "schema/config.h"
#include "schema/journal.h"
#include "schema/people.h"
#include "schema/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60 * 1000, LONG_NAME = 300 };

static const char setup_sql[] =
	"SELECT hedgerow.set_local_site('amsterdam');"
	"SELECT hedgerow.add_site('amsterdam', '{tcp://127.0.0.1:7500,tcp://gw.example:7500}',"
	" message_expiry => '90 seconds');"
	"SELECT hedgerow.add_site_key(repeat('k', 40));"
	"SELECT hedgerow.add_forest('contoso', 'openldap', '{ldaps://h}', 'cn=x', 's', 'dc=x');"
	"SELECT hedgerow.add_domain('example.com', 'contoso');"
	"SELECT hedgerow.add_domain('contoso.example', 'contoso');"
	"SELECT hedgerow.add_installation('prosody-a', 'contoso', 'prosody', 'im.a.example', 'h',"
	" 5347, 'prosody.secret', true);"
	"SELECT hedgerow.add_rule('last', 'deny', priority => 200);"
	"SELECT hedgerow.add_rule('first', 'allow', 'forest:contoso', 'any', 'message', 10, 'why');"
	"INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation, name)"
	" VALUES ('amsterdam', 'contoso', '1', 'ada@example.com', 'ada@im.a.example', 'prosody-a',"
	" 'Ada Adams'), ('amsterdam', 'contoso', '2', 'post@example.com', NULL, NULL, NULL);"
	"INSERT INTO hedgerow.alias VALUES ('amsterdam', 'contoso', '1', 'a@contoso.example');"
	"SET session_replication_role = replica;"
	"INSERT INTO hedgerow.site (site) VALUES ('boston');"
	"INSERT INTO hedgerow.link VALUES ('boston', 'amsterdam', 'boston', 7);";

static struct {
	struct loop *loop;
	struct pg *pg;
	bool is_up;
	enum hr_status status;
	struct hr_err err;
	struct config *config;
	struct person *person;
	size_t answers, found;
	int64_t first[2], seq, number;
	bool repeated;
	struct journal_queue_state queue;
	char incarnation[64];
	struct buf read;
} t;

static void gave_up(void *arg)
{
	(void)arg;
	fail_msg("no answer");
}

/* Runs the loop until the request just sent has been answered. */
static void wait_for_answer(void)
{
	scoped(timer) patience = timer_new(t.loop, gave_up, NULL);

	timer_set(patience, time_msec() + PATIENCE_MS);
	loop_run(t.loop);
}

static void answer(enum hr_status status, const struct hr_err *err)
{
	t.status = status;
	if (status != HR_OK && status != HR_NONE)
		t.err = *err;
	loop_stop(t.loop);
}

static void on_plain(void *arg, enum hr_status status, const struct hr_err *err)
{
	(void)arg;
	answer(status, err);
}

static void on_config(void *arg, enum hr_status status, struct config *config,
		      const struct hr_err *err)
{
	(void)arg;
	t.config = config;
	answer(status, err);
}

static void the_snapshot_holds_every_table(void **state)
{
	(void)state;
	config_load(t.pg, on_config, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
	scoped(config) config = give(t.config);

	assert_string_equal(config->local_site, "amsterdam");
	assert_int_equal(config->site_count, 2);
	assert_string_equal(config->sites[0].name, "amsterdam");
	assert_true(config->sites[0].is_local);
	assert_int_equal(config->sites[0].message_expiry_ms, 90 * 1000);
	assert_string_equal(config->sites[0].endpoints[1], "tcp://gw.example:7500");
	assert_null(config->sites[0].endpoints[2]);
	assert_int_equal(strlen(config->sites[0].public_keys[0]), 40);
	assert_null(config->sites[0].public_keys[1]);
	assert_false(config->sites[1].is_local);
	assert_null(config->sites[1].endpoints[0]);
	assert_int_equal(config->link_count, 1);
	assert_string_equal(config->links[0].dialer, "boston");
	assert_int_equal(config->links[0].cost, 7);
	assert_int_equal(config->installation_count, 1);
	assert_string_equal(config->installations[0].native_domain, "im.a.example");
	assert_int_equal(config->installations[0].port, 5347);
	assert_true(config->installations[0].tls);
	assert_null(config->installations[0].ca);
	assert_int_equal(config->domain_count, 2);
	assert_string_equal(config->domains[0].name, "contoso.example");
	assert_int_equal(config->rule_count, 2);
	assert_string_equal(config->rules[0].from, "forest:contoso");
	assert_string_equal(config->rules[0].reason, "why");
	assert_true(config->rules[0].allow);
	assert_false(config->rules[1].allow);
	assert_null(config->rules[1].reason);
}

static void on_person(void *arg, struct slice key, struct person *person, enum hr_status status,
		      const struct hr_err *err)
{
	(void)arg;
	if (!key.data) {
		answer(status, err);
		return;
	}
	t.answers++;
	if (person) {
		t.found++;
		person_free(t.person);
		t.person = person;
	}
}

static void find(enum people_key kind, const struct slice *keys, size_t n)
{
	person_free(t.person);
	t.person = NULL;
	t.answers = t.found = 0;
	people_find(t.pg, kind, keys, n, on_person, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
	assert_int_equal(t.answers, n);
}

static void people_are_found_by_address_alias_and_native_address(void **state)
{
	char long_name[LONG_NAME];
	const struct slice natives[] = { slice_lit("ada@im.a.example") };
	const struct slice one[] = { slice_lit("a@contoso.example") };
	const struct slice post[] = { slice_lit("post@example.com") };

	(void)state;
	memset(long_name, 'x', sizeof long_name);
	const struct slice keys[] = { slice_lit("nobody@example.com"),
				      slice_lit("ada@example.com"),
				      { long_name, sizeof long_name } };

	find(PEOPLE_ADDRESS, keys, countof(keys));
	assert_int_equal(t.found, 1);
	assert_string_equal(t.person->address, "ada@example.com");
	assert_string_equal(t.person->native, "ada@im.a.example");
	assert_string_equal(t.person->installation, "prosody-a");
	assert_string_equal(t.person->site, "amsterdam");
	assert_string_equal(t.person->forest, "contoso");
	assert_string_equal(t.person->name, "Ada Adams");
	assert_true(t.person->enabled);
	find(PEOPLE_ADDRESS, one, 1);
	assert_string_equal(t.person->address, "ada@example.com");
	find(PEOPLE_NATIVE, natives, 1);
	assert_string_equal(t.person->address, "ada@example.com");
	find(PEOPLE_ADDRESS, post, 1);
	assert_null(t.person->native);
	assert_null(t.person->installation);
	assert_null(t.person->name);
}

static void looking_up_nobody_answers_once(void **state)
{
	(void)state;
	find(PEOPLE_ADDRESS, NULL, 0);
	assert_int_equal(t.found, 0);
}

static void on_node(void *arg, enum hr_status status, int64_t last_batch, const struct hr_err *err)
{
	(void)arg;
	t.number = last_batch;
	answer(status, err);
}

static void on_queue(void *arg, enum hr_status status, const struct journal_queue_state *state,
		     const struct hr_err *err)
{
	(void)arg;
	if (status == HR_OK) {
		t.queue = *state;
		snprintf(t.incarnation, sizeof t.incarnation, SLICE_FMT,
			 SLICE_ARG(state->incarnation));
	}
	answer(status, err);
}

static void on_commit(void *arg, enum hr_status status, const int64_t *first,
		      const struct hr_err *err)
{
	(void)arg;
	t.repeated = status == HR_OK && !first;
	if (first)
		memcpy(t.first, first, sizeof t.first);
	answer(status, err);
}

static void on_position(void *arg, enum hr_status status, int64_t position,
			const struct hr_err *err)
{
	(void)arg;
	t.seq = position;
	answer(status, err);
}

static void on_row(void *arg, enum hr_status status, int64_t seq, struct slice packed,
		   const struct hr_err *err)
{
	(void)arg;
	if (!packed.data) {
		answer(status, err);
		return;
	}
	t.answers++;
	t.seq = seq;
	buf_clear(&t.read);
	buf_add_slice(&t.read, packed);
}

static int64_t open_queue(const char *name)
{
	journal_open_queue(t.pg, slice_str(name), on_queue, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
	return t.queue.id;
}

static void commit(const struct journal_batch *batch)
{
	journal_commit(t.pg, batch, on_commit, NULL);
	wait_for_answer();
}

static void a_batch_is_committed_once_with_rows_acknowledgements_and_position(void **state)
{
	struct journal_queue_in queues[2] = { { .acked = -1, .wake = true }, { .acked = -1 } };
	const struct slice boston = slice_lit("boston");
	const char zeros[] = { 0, 1, 0, 2 };
	const struct journal_row_in rows[] = {
		{ 0, slice_lit("a@x"), slice_lit("b@x"), slice_lit("one"), 0 },
		{ 1, slice_lit("a@x"), slice_lit("b@x"), { zeros, sizeof zeros }, 1 },
		{ 0, slice_lit("a@x"), slice_lit("b@x"), slice_lit("three"), time_usec() },
	};
	struct journal_origin_in origin = { boston, 0, 9 };

	(void)state;
	queues[0].id = open_queue("link:boston");
	queues[1].id = open_queue("xmpp:prosody-a:example.com");
	journal_node(t.pg, slice_lit("n1"), on_node, NULL);
	wait_for_answer();
	assert_int_equal(t.number, 0);
	journal_position(t.pg, boston, slice_str(t.incarnation), on_position, NULL);
	wait_for_answer();
	assert_int_equal(t.seq, 0);

	struct journal_batch batch = {
		.node = slice_lit("n1"),
		.number = 1,
		.queues = queues,
		.queue_count = 2,
		.rows = rows,
		.row_count = countof(rows),
		.origins = &origin,
		.origin_count = 1,
	};
	commit(&batch);
	assert_int_equal(t.status, HR_OK);
	assert_false(t.repeated);
	assert_int_equal(t.first[0], 1);
	assert_int_equal(t.first[1], 1);
	commit(&batch);
	assert_int_equal(t.status, HR_OK);
	assert_true(t.repeated);
	batch.number = 2;
	commit(&batch);
	assert_int_equal(t.status, HR_FAIL);
	assert_non_null(strstr(t.err.text, "HR001"));

	queues[0].acked = 1;
	batch = (struct journal_batch){
		.node = slice_lit("n1"), .number = 2, .queues = queues, .queue_count = 1
	};
	commit(&batch);
	assert_int_equal(t.status, HR_OK);
	assert_int_equal(t.first[0], 0);
	open_queue("link:boston");
	assert_int_equal(t.queue.head, 2);
	assert_int_equal(t.queue.acked, 1);

	t.answers = 0;
	journal_read(t.pg, queues[0].id, 1, 100, on_row, NULL);
	wait_for_answer();
	assert_int_equal(t.answers, 1);
	assert_int_equal(t.seq, 2);
	assert_string_equal(buf_text(&t.read), "three");
	journal_read(t.pg, queues[1].id, 0, 100, on_row, NULL);
	wait_for_answer();
	assert_int_equal(t.read.len, sizeof zeros);
	assert_memory_equal(t.read.data, zeros, sizeof zeros);
}

static void leases_are_taken_letters_buried_and_partitions_maintained(void **state)
{
	(void)state;
	journal_lease(t.pg, slice_lit("node:n1"), on_plain, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
	journal_dead_letter(t.pg, 1, 2, slice_lit("three"), "poison", on_plain, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
	journal_maintain(t.pg, on_plain, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
}

static void on_report(void *arg, enum hr_status status, const PGresult *result,
		      const struct hr_err *err)
{
	(void)arg;
	(void)result;
	answer(status, err);
}

static void a_report_takes_states_and_metrics(void **state)
{
	const struct status_row rows[] = { { "link", "boston", "down", "refused" },
					   { "stream", "prosody-a/example.com", "up", NULL } };
	const struct metric metrics[] = { { "a_total", "A", 1, false }, { "b", "B", 2, true } };

	(void)state;
	status_report(t.pg, slice_lit("n1"), rows, countof(rows), metrics, countof(metrics),
		      on_report, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
	status_report(t.pg, slice_lit("n1"), NULL, 0, NULL, 0, on_report, NULL);
	wait_for_answer();
	assert_int_equal(t.status, HR_OK);
}

static void up(void *ctx)
{
	(void)ctx;
	loop_stop(t.loop);
}

static int connect_to_schema(void **state)
{
	static const struct pg_events events = { .up = up };
	const char *top = getenv("top_srcdir") ? getenv("top_srcdir") : ".";
	scoped_str conninfo = str_format("%s dbname=schema", getenv("HEDGEROW_TEST_DATABASE"));
	scoped_str command = str_format("psql -X -q -d '%s' -c 'CREATE DATABASE schema' && "
					"'%s/ops/hedgerow' -q -d '%s' migrate && "
					"psql -X -q -v ON_ERROR_STOP=1 -d '%s' -f - >/dev/null",
					getenv("HEDGEROW_TEST_DATABASE"), top, conninfo, conninfo);
	FILE *script = popen(command, "w");

	(void)state;
	if (!script || fputs(setup_sql, script) == EOF || pclose(script) != 0)
		return -1;
	t.read = BUF_INIT(0);
	t.loop = loop_new();
	t.pg = pg_new(t.loop, conninfo, "test_schema", &events, NULL);
	wait_for_answer();
	return 0;
}

static int disconnect(void **state)
{
	(void)state;
	person_free(t.person);
	buf_free(&t.read);
	pg_free(t.pg);
	loop_free(t.loop);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_snapshot_holds_every_table),
		cmocka_unit_test(people_are_found_by_address_alias_and_native_address),
		cmocka_unit_test(looking_up_nobody_answers_once),
		cmocka_unit_test(a_batch_is_committed_once_with_rows_acknowledgements_and_position),
		cmocka_unit_test(leases_are_taken_letters_buried_and_partitions_maintained),
		cmocka_unit_test(a_report_takes_states_and_metrics),
	};
	const char *top = getenv("top_srcdir");

	if (!getenv("HEDGEROW_TEST_DATABASE")) {
		scoped_str wrapper = str_format("%s/tests/with-postgres.sh", top ? top : ".");
		execl(wrapper, wrapper, argv[0], NULL);
		perror(wrapper);
		return 1;
	}
	(void)argc;
	log_open(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, connect_to_schema, disconnect);
}
