/* SPDX-License-Identifier: Apache-2.0 */
/* The desk against a real database with the real schema; started again under
 * tests/with-postgres.sh when there is no server. */
#include "gateway/desk.h"

#include "base/log.h"
#include "federation/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60 * 1000, PEOPLE = 24, ROUNDS = 200, RULES = 8 };

/* Three forests at two sites, eight people each: p0 to p23; the even ones of a forest are of
 * example.com, the others of example.org. */
static const char setup_sql[] =
	"SELECT hedgerow.set_local_site('amsterdam');"
	"SELECT hedgerow.add_site('amsterdam');"
	"SET session_replication_role = replica;"
	"INSERT INTO hedgerow.site (site) VALUES ('boston');"
	"ALTER TABLE hedgerow.forest DISABLE TRIGGER USER;"
	"ALTER TABLE hedgerow.email_domain DISABLE TRIGGER USER;"
	"ALTER TABLE hedgerow.installation DISABLE TRIGGER USER;"
	"ALTER TABLE hedgerow.person DISABLE TRIGGER USER, ENABLE TRIGGER f_list_insert,"
	" ENABLE TRIGGER f_list_update;"
	"ALTER TABLE hedgerow.rule DISABLE TRIGGER USER;"
	"RESET session_replication_role;"
	"INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn, "
	"filter)"
	" SELECT s, f, 'openldap', '{ldaps://x}', 'cn=x', 's', 'dc=x', '(a=b)' FROM (VALUES"
	" ('amsterdam', 'f0'), ('boston', 'f1'), ('boston', 'f2')) v(s, f);"
	"INSERT INTO hedgerow.email_domain SELECT site, d, forest FROM hedgerow.forest,"
	" (VALUES ('example.com'), ('example.org')) v(d);"
	"INSERT INTO hedgerow.installation (site, installation, forest, software, native_domain, "
	"host,"
	" port, secret) SELECT site, 'i-' || forest, forest, 'prosody', forest || '.example', 'h', "
	"1, 's'"
	" FROM hedgerow.forest;"
	"INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, installation, "
	"details)"
	" SELECT f.site, f.forest, n, format('p%s@example.%s', n, CASE n % 2 WHEN 0 THEN 'com' ELSE"
	" 'org' END), 'Person ' || n, format('p%s@%s.example', n, f.forest), 'i-' || f.forest,"
	" '{\"title\": \"Chief\"}' FROM generate_series(0, 23) n JOIN hedgerow.forest f ON "
	"f.forest ="
	" 'f' || n / 8;";

static struct {
	struct loop *loop;
	struct pg *pg;
	PGconn *admin;
	char *conninfo;
	struct desk *desk;
	struct config *config;
	size_t answers, refusals, count, wanted;
	bool wants_up, more, found[PEOPLE];
	struct person *people[PEOPLE];
	char title[64], email[64];
} t;

static void gave_up(void *arg)
{
	(void)arg;
	fail_msg("no answer");
}

static void run(void)
{
	scoped(timer) patience = timer_new(t.loop, gave_up, NULL);

	timer_set(patience, time_msec() + PATIENCE_MS);
	loop_run(t.loop);
}

static void sql(const char *text)
{
	PGresult *result = PQexec(t.admin, text);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(t.admin));
	PQclear(result);
}

static void answered(void *arg, enum hr_status status, const struct profile *profiles, size_t count,
		     bool more)
{
	(void)arg;
	t.answers++;
	t.refusals += status != HR_OK;
	t.count = count;
	t.more = more;
	memset(t.found, 0, sizeof t.found);
	for (size_t i = 0; i < count; i++) {
		int n = atoi(profiles[i].address.data + 1);
		t.found[n] = true;
		snprintf(t.title, sizeof t.title, SLICE_FMT, SLICE_ARG(profiles[i].title));
		snprintf(t.email, sizeof t.email, SLICE_FMT, SLICE_ARG(profiles[i].email));
	}
	if (t.answers == t.wanted)
		loop_stop(t.loop);
}

static enum hr_status ask(enum desk_kind kind, const char *asker, const char *about,
			  const void *owner)
{
	struct desk_question question = {
		.kind = kind,
		.asker = slice_str(asker),
		.about = slice_str(about),
		.fn = answered,
		.arg = str_dup("an allocation"),
		.owner = owner,
	};
	struct hr_err err;
	enum hr_status status = desk_ask(t.desk, &question, &err);

	if (status != HR_OK)
		free(question.arg);
	return status;
}

static void wait_for_up(void)
{
	t.wants_up = true;
	if (!pg_is_up(t.pg))
		run();
	t.wants_up = false;
}

static void wait_for(size_t answers)
{
	t.wanted = t.answers + answers;
	run();
}

static int new_desk(void **state)
{
	(void)state;
	t.desk = desk_new(t.loop, t.pg);
	t.answers = t.refusals = 0;
	sql("TRUNCATE hedgerow.rule");
	return 0;
}

static int end_desk(void **state)
{
	(void)state;
	desk_free(give(t.desk));
	return 0;
}

static void a_search_and_a_card_are_answered(void **state)
{
	(void)state;
	assert_int_equal(ask(DESK_SEARCH, "p0@example.com", "person", NULL), HR_OK);
	wait_for(1);
	assert_int_equal(t.count, 8);
	assert_true(t.found[0] && t.found[7] && !t.found[8]);
	assert_false(t.more);
	assert_string_equal(t.title, "Chief");
	assert_int_equal(ask(DESK_CARD, "p0@example.com", "p23@example.org", NULL), HR_OK);
	wait_for(1);
	assert_int_equal(t.count, 1);
	assert_true(t.found[23]);
	assert_int_equal(ask(DESK_CARD, "p0@example.com", "nobody@example.org", NULL), HR_OK);
	wait_for(1);
	assert_int_equal(t.count, 0);
	assert_int_equal(t.refusals, 0);
}

static void an_address_is_told_as_mail_has_it(void **state)
{
	static const char address[] = "p3o\\27neil\\26\\2f@example.org";
	scoped_str change =
		str_format("UPDATE hedgerow.person SET address = '%s' WHERE anchor = '3'", address);

	(void)state;
	sql(change);
	assert_int_equal(ask(DESK_CARD, "p0@example.com", address, NULL), HR_OK);
	wait_for(1);
	sql("UPDATE hedgerow.person SET address = 'p3@example.org' WHERE anchor = '3'");
	assert_int_equal(t.count, 1);
	assert_string_equal(t.email, "p3o'neil&/@example.org");
}

static void nobody_asks_more_than_a_ration(void **state)
{
	size_t most = DESK_RATION / DESK_SEARCH_COST;

	(void)state;
	for (size_t i = 0; i < most; i++)
		assert_int_equal(ask(DESK_SEARCH, "p0@example.com", "person", NULL), HR_OK);
	assert_int_equal(ask(DESK_SEARCH, "p0@example.com", "person", NULL), HR_RETRY);
	assert_int_equal(ask(DESK_CARD, "p0@example.com", "p1@example.org", NULL), HR_RETRY);
	assert_int_equal(ask(DESK_SEARCH, "p2@example.com", "person", NULL), HR_OK);
	wait_for(most + 1);
	assert_int_equal(t.count, 8);
}

static void a_bounded_number_waits(void **state)
{
	size_t accepted = 0;

	(void)state;
	for (int n = 0; n < DESK_WAITING_MAX / DESK_RATION + 2; n++) {
		scoped_str asker = str_format("asker%d@example.com", n);
		while (ask(DESK_CARD, asker, "p1@example.org", NULL) == HR_OK)
			accepted++;
	}
	assert_int_equal(accepted, DESK_WAITING_MAX);
	wait_for(accepted);
	assert_int_equal(ask(DESK_CARD, "p2@example.com", "p1@example.org", NULL), HR_OK);
	wait_for(1);
	assert_int_equal(t.refusals, 0);
}

static void who_has_gone_gets_no_answer(void **state)
{
	static const char gone[] = "gone", here[] = "here";

	(void)state;
	ask(DESK_CARD, "p0@example.com", "p1@example.org", gone);
	ask(DESK_CARD, "p0@example.com", "p3@example.org", here);
	ask(DESK_CARD, "p0@example.com", "p5@example.org", gone);
	ask(DESK_CARD, "p0@example.com", "p7@example.org", here);
	desk_forget(t.desk, gone);
	wait_for(2);
	assert_true(t.found[7]);
	assert_int_equal(t.answers, 2);
}

static void a_database_that_goes_away_is_told(void **state)
{
	(void)state;
	sql("BEGIN; LOCK TABLE hedgerow.person"); /* so that there is no answer before */
	ask(DESK_SEARCH, "p0@example.com", "person", NULL);
	ask(DESK_CARD, "p0@example.com", "p1@example.org", NULL);
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
	    " 'test_desk'; COMMIT");
	wait_for(2);
	assert_int_equal(t.refusals, 2);
	wait_for_up();
	assert_int_equal(ask(DESK_CARD, "p0@example.com", "p1@example.org", NULL), HR_OK);
	wait_for(1);
	assert_true(t.found[1]);
}

/* What a query of the administrator's tells. */
static int number(const char *query)
{
	PGresult *result = PQexec(t.admin, query);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", query, PQerrorMessage(t.admin));
	int value = atoi(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

static void whoever_changes_is_listed_between_questions(void **state)
{
	static const char due[] = "SELECT count(*) FROM hedgerow.listing_due";

	(void)state;
	sql("INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, "
	    "installation)"
	    " SELECT 'amsterdam', 'f0', 'n' || n, 'n' || n || '@example.com', 'Newcomer', n ||"
	    " '@f0.example', 'i-f0' FROM generate_series(1, 2500) n");
	assert_in_range(number(due), 2500, 3000);
	desk_people_changed(t.desk);
	for (int n = 0; n < 3; n++)
		assert_int_equal(ask(DESK_CARD, "p0@example.com", "p1@example.org", NULL), HR_OK);
	wait_for(3);
	assert_int_equal(number(due), 0);
	assert_int_equal(number("SELECT count(*) FROM hedgerow.listing WHERE words @@ 'newcomer'"),
			 2500);
	sql("DELETE FROM hedgerow.person WHERE name = 'Newcomer'; DELETE FROM hedgerow.listing "
	    "WHERE words @@ 'newcomer'");
}

/* --- the rules in SQL and those in C are the same ----------------------------------------------
 */

static void on_config(void *arg, enum hr_status status, struct config *config,
		      const struct hr_err *err)
{
	(void)arg, (void)err;
	assert_int_equal(status, HR_OK);
	config_free(t.config);
	t.config = config;
	loop_stop(t.loop);
}

static void on_person(void *arg, struct slice key, struct person *person, enum hr_status status,
		      const struct hr_err *err)
{
	(void)arg, (void)err;
	assert_int_equal(status, HR_OK);
	if (key.data)
		t.people[atoi(key.data + 1)] = person;
	else
		loop_stop(t.loop);
}

static void load_people(void)
{
	struct slice keys[PEOPLE];

	for (int n = 0; n < PEOPLE; n++) {
		char *key = str_format("p%d%s", n, n % 2 ? "@example.org" : "@example.com");
		keys[n] = slice_str(key);
	}
	people_find(t.pg, PEOPLE_ADDRESS, keys, PEOPLE, on_person, NULL);
	run();
	for (int n = 0; n < PEOPLE; n++)
		free((char *)keys[n].data);
}

static const char *random_pattern(void)
{
	static const char *const patterns[] = {
		"any",
		"any",
		"forest:f0",
		"forest:f1",
		"forest:f2",
		"site:amsterdam",
		"site:boston",
		"domain:example.com",
		"domain:example.org",
		"address:p0@example.com",
		"address:p9@example.org",
	};

	return patterns[(size_t)rand() % countof(patterns)];
}

static void make_rules(void)
{
	static const char *const kinds[] = { "any", "message", "presence", "iq" };

	sql("TRUNCATE hedgerow.rule");
	for (int n = rand() % RULES; n > 0; n--) {
		scoped_str rule = str_format(
			"INSERT INTO hedgerow.rule (site, rule, priority, from_pattern, "
			"to_pattern, "
			"kind, action) VALUES ('%s', 'r%d', %d, '%s', '%s', '%s', '%s')",
			rand() % 8 ? "amsterdam" : "boston", n, rand() % 4, random_pattern(),
			random_pattern(), kinds[rand() % 4], rand() % 2 ? "allow" : "deny");
		sql(rule);
	}
	config_load(t.pg, on_config, NULL);
	run();
}

static bool is_allowed(const struct person *from, const struct person *to, enum envelope_kind kind)
{
	return policy_ask(t.config, &(struct policy_question){ from, to, kind }).allow;
}

static void whom_a_search_shows_is_whom_rules_let_be_reached(void **state)
{
	(void)state;
	load_people();
	srand(7);
	for (int round = 0; round < ROUNDS; round++) {
		make_rules();
		for (int from = round % 8; from < PEOPLE; from += 8) {
			const struct person *asker = t.people[from];
			desk_free(t.desk);
			t.desk = desk_new(t.loop, t.pg);
			assert_int_equal(ask(DESK_SEARCH, asker->address, "person", NULL), HR_OK);
			wait_for(1);
			for (int to = 0; to < PEOPLE; to++)
				assert_int_equal(
					t.found[to],
					is_allowed(asker, t.people[to], ENVELOPE_MESSAGE) ||
						is_allowed(asker, t.people[to], ENVELOPE_IQ));
		}
	}
}

/* ------------------------------------------------------------------------------------------------
 */

static void up(void *ctx)
{
	(void)ctx;
	if (t.wants_up)
		loop_stop(t.loop);
}

static void down(void *ctx, const struct hr_err *err)
{
	(void)ctx, (void)err;
}

static int connect_to_schema(void **state)
{
	static const struct pg_events events = { .up = up, .down = down };
	const char *top = getenv("top_srcdir") ? getenv("top_srcdir") : ".";

	(void)state;
	t.conninfo = str_format("%s dbname=desk", getenv("HEDGEROW_TEST_DATABASE"));
	scoped_str command =
		str_format("psql -X -q -d '%s' -c 'CREATE DATABASE desk' && "
			   "'%s/ops/hedgerow' -q -d '%s' migrate && "
			   "psql -X -q -v ON_ERROR_STOP=1 -d '%s' -f - >/dev/null",
			   getenv("HEDGEROW_TEST_DATABASE"), top, t.conninfo, t.conninfo);
	FILE *script = popen(command, "w");
	if (!script || fputs(setup_sql, script) == EOF || pclose(script) != 0)
		return -1;
	t.admin = PQconnectdb(t.conninfo);
	t.loop = loop_new();
	t.pg = pg_new(t.loop, t.conninfo, "test_desk", &events, NULL);
	wait_for_up();
	return 0;
}

static int disconnect(void **state)
{
	(void)state;
	for (int n = 0; n < PEOPLE; n++)
		person_free(t.people[n]);
	config_free(t.config);
	pg_free(t.pg);
	loop_free(t.loop);
	PQfinish(t.admin);
	free(t.conninfo);
	return 0;
}

#define DESK_TEST(name) cmocka_unit_test_setup_teardown(name, new_desk, end_desk)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		DESK_TEST(a_search_and_a_card_are_answered),
		DESK_TEST(an_address_is_told_as_mail_has_it),
		DESK_TEST(nobody_asks_more_than_a_ration),
		DESK_TEST(a_bounded_number_waits),
		DESK_TEST(who_has_gone_gets_no_answer),
		DESK_TEST(a_database_that_goes_away_is_told),
		DESK_TEST(whoever_changes_is_listed_between_questions),
		DESK_TEST(whom_a_search_shows_is_whom_rules_let_be_reached),
	};
	const char *top = getenv("top_srcdir");

	if (!getenv("HEDGEROW_TEST_DATABASE")) {
		scoped_str wrapper = str_format("%s/tests/with-postgres.sh", top ? top : ".");
		execl(wrapper, wrapper, argv[0], NULL);
		perror(wrapper);
		return 1;
	}
	(void)argc;
	log_open(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, connect_to_schema, disconnect);
}
