/* SPDX-License-Identifier: Apache-2.0 */
/* Against a real registry: started again under tests/with-registry.sh when there is none. */
#include "base/log.h"
#include "federation/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60 * 1000 };

static const char application[] = "test registry";

/* A gateway's registry, and an operator on a connection of his own that blocks. */
struct scene {
	struct loop *loop;
	struct pg *pg;
	struct registry *registry;
	struct timer *patience;
	PGconn *operator;
	int arrived, changed, ups;
	char site[32]; /* of the last snapshot */
	void (*on_arrived)(struct scene *scene);
	bool (*until)(struct scene *scene);
};

static void look(struct scene *scene)
{
	if (scene->until && scene->until(scene))
		loop_stop(scene->loop);
}

static void on_up(void *ctx)
{
	struct scene *scene = ctx;

	scene->ups++;
	registry_up(scene->registry);
}

static void on_down(void *ctx, const struct hr_err *err)
{
	(void)ctx, (void)err;
}

static void on_notified(void *ctx, const char *channel, const char *payload)
{
	struct scene *scene = ctx;

	(void)payload;
	registry_notified(scene->registry, channel);
	look(scene);
}

static void on_arrived(void *ctx)
{
	struct scene *scene = ctx;

	scene->arrived++;
	if (scene->on_arrived)
		scene->on_arrived(scene);
	look(scene);
}

static void on_changed(void *ctx, const struct config *config)
{
	struct scene *scene = ctx;

	scene->changed++;
	assert_ptr_equal(registry_config(scene->registry), config);
	assert_non_null(registry_routes(scene->registry));
	look(scene);
}

static const struct pg_events pg_events = { on_up, on_down, on_notified };
static const struct registry_events registry_events = { on_arrived, on_changed };

static void out_of_patience(void *arg)
{
	(void)arg;
	fail_msg("still waiting");
}

static void sql(struct scene *scene, const char *text)
{
	PGresult *result = PQexec(scene->operator, text);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s", PQresultErrorMessage(result));
	PQclear(result);
}

static void run_until(struct scene *scene, bool (*until)(struct scene *scene))
{
	scene->until = until;
	if (!until(scene))
		loop_run(scene->loop);
}

static bool has_config(struct scene *scene)
{
	return registry_config(scene->registry) != NULL;
}

#define WORLD                                                                                 \
	"SELECT hedgerow.add_forest('contoso', 'openldap', '{ldaps://ldap.example}', 'cn=x'," \
	" 'secret', 'dc=example');"                                                           \
	"SELECT hedgerow.add_domain('example.com', 'contoso');"                               \
	"SELECT hedgerow.add_installation('im', 'contoso', 'prosody', 'im.example',"          \
	" '127.0.0.1', secret => 'im.secret');"                                               \
	"INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation)"   \
	" SELECT 'here', 'contoso', n::text, 'p' || n || '@example.com',"                     \
	" 'n' || n || '@im.example', 'im' FROM generate_series(0, 2999) n;"

static struct scene *scene_new(void)
{
	struct scene *scene = mem_new(struct scene);
	const char *database = getenv("HEDGEROW_TEST_DATABASE");

	scene->operator= PQconnectdb(database);
	assert_int_equal(PQstatus(scene->operator), CONNECTION_OK);
	sql(scene, "SET client_min_messages = error");
	sql(scene, "DELETE FROM hedgerow.person; DELETE FROM hedgerow.installation;"
		   "DELETE FROM hedgerow.rule; DELETE FROM hedgerow.site_key;"
		   "SELECT hedgerow.remove_forest(forest, force => true) FROM hedgerow.forest;"
		   "DELETE FROM hedgerow.site");
	sql(scene, "SELECT hedgerow.add_site('here')");
	sql(scene, WORLD);
	scene->loop = loop_new();
	scene->patience = timer_new(scene->loop, out_of_patience, scene);
	timer_set(scene->patience, time_msec() + PATIENCE_MS);
	scene->pg = pg_new(scene->loop, database, application, &pg_events, scene);
	scene->registry = registry_new(scene->loop, scene->pg, &registry_events, scene);
	run_until(scene, has_config);
	return scene;
}

static void scene_free(struct scene *scene)
{
	pg_free(scene->pg);
	registry_free(scene->registry);
	timer_free(scene->patience);
	loop_free(scene->loop);
	PQfinish(scene->operator);
	free(scene);
}
DEFINE_SCOPED(scene)

static enum hr_status find(struct scene *scene, const char *address, const struct person **out)
{
	return registry_find(scene->registry, PEOPLE_ADDRESS, slice_str(address), out);
}

static bool knows_p1(struct scene *scene)
{
	const struct person *person;

	return find(scene, "p1@example.com", &person) != HR_RETRY;
}

static void loads_the_small_tables(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();
	const struct config *config = registry_config(scene->registry);

	assert_string_equal(config->local_site, "here");
	assert_int_equal(config->site_count, 1);
	assert_int_equal(config->installation_count, 1);
	assert_string_equal(config->installations[0].native_domain, "im.example");
	assert_int_equal(scene->changed, 1);
}

static void finds_people_and_remembers_who_does_not_exist(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();
	const struct person *person = NULL;

	assert_int_equal(find(scene, "nobody@example.com", &person), HR_RETRY);
	assert_int_equal(find(scene, "p1@example.com", &person), HR_RETRY);
	assert_int_equal(
		registry_find(scene->registry, PEOPLE_NATIVE, slice_lit("n2@im.example"), &person),
		HR_RETRY);
	run_until(scene, knows_p1);
	while (scene->arrived < 2)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	assert_int_equal(find(scene, "p1@example.com", &person), HR_OK);
	assert_string_equal(person->native, "n1@im.example");
	assert_string_equal(person->site, "here");
	assert_int_equal(find(scene, "nobody@example.com", &person), HR_NONE);
	assert_int_equal(
		registry_find(scene->registry, PEOPLE_NATIVE, slice_lit("n2@im.example"), &person),
		HR_OK);
	assert_string_equal(person->address, "p2@example.com");
	assert_int_equal(scene->arrived, 2); /* one batch for each kind of key */
}

static bool knows_all(struct scene *scene)
{
	const struct person *person;
	size_t missing = 0;

	for (int i = 0; i < 2500; i++) {
		scoped_str key = str_format("p%d@example.com", i);
		missing += find(scene, key, &person) != HR_OK;
	}
	return missing == 0;
}

static void asks_in_batches_of_a_thousand(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();

	run_until(scene, knows_all);
	assert_int_equal(scene->arrived, 3);
}

static void knows_nobody_by_a_key_that_is_not_text(void **state)
{
	(void)state;
	static const struct slice bad[] = { slice_lit("\xff@example.com"), slice_lit("a\0b@x") };
	scoped(scene) scene = scene_new();
	const struct person *person;

	for (size_t i = 0; i < countof(bad); i++)
		assert_int_equal(registry_find(scene->registry, PEOPLE_ADDRESS, bad[i], &person),
				 HR_NONE);
}

static bool p1_has_moved(struct scene *scene)
{
	const struct person *person;

	return find(scene, "p1@example.com", &person) == HR_OK &&
	       strcmp(person->native, "elsewhere@im.example") == 0;
}

#define MOVE "UPDATE hedgerow.person SET native = 'elsewhere@im.example' WHERE anchor = '1'"

static void sees_a_person_who_has_moved(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();

	run_until(scene, knows_p1);
	sql(scene, MOVE);
	run_until(scene, p1_has_moved);
}

/* The question is under way, perhaps answered, when the change comes. */
static void believes_no_answer_that_a_change_has_overtaken(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();
	const struct person *person;

	find(scene, "p1@example.com", &person);
	while (pg_pending(scene->pg) == 0) /* not sent yet */
		uv_run(loop_uv(scene->loop), UV_RUN_NOWAIT);
	sql(scene, MOVE);
	registry_notified(scene->registry, "hedgerow_person");
	run_until(scene, knows_p1);
	assert_true(p1_has_moved(scene));
}

static const struct person *held;

static void hold_p1_and_forget(struct scene *scene)
{
	const struct person *person;

	scene->on_arrived = NULL;
	assert_int_equal(find(scene, "p1@example.com", &held), HR_OK);
	registry_notified(scene->registry, "hedgerow_config");
	assert_int_equal(find(scene, "p1@example.com", &person), HR_RETRY);
	assert_string_equal(held->address, "p1@example.com");
}

/* The sanitizers watch this: what was handed out stays to the end of the turn. */
static void hands_out_people_until_the_end_of_the_turn(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();

	scene->on_arrived = hold_p1_and_forget;
	run_until(scene, knows_p1);
	run_until(scene, knows_p1);
}

static bool has_rule(struct scene *scene)
{
	return registry_config(scene->registry)->rule_count == 1;
}

static void takes_a_new_configuration_and_only_a_new_one(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();

	sql(scene, "SELECT hedgerow.add_rule('all', 'allow')");
	run_until(scene, has_rule);
	assert_int_equal(scene->changed, 2);

	/* many at once: what comes while it loads is one more load, and the same again is no news
	 */
	for (int i = 0; i < 10; i++)
		registry_notified(scene->registry, "hedgerow_config");
	assert_true(pg_pending(scene->pg) <= 2);
	while (pg_pending(scene->pg) > 0)
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	assert_int_equal(scene->changed, 2);
	registry_notified(scene->registry, "some_other_channel");
	assert_int_equal(pg_pending(scene->pg), 0);
}

static bool is_up_again(struct scene *scene)
{
	return scene->ups == 2;
}

static void asks_again_after_an_outage(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();
	const struct person *person;

	run_until(scene, knows_p1);
	sql(scene, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		   " WHERE application_name = 'test registry'");
	while (pg_is_up(scene->pg))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	assert_int_equal(find(scene, "p1@example.com", &person),
			 HR_OK); /* what it knew, it knows */
	assert_int_equal(find(scene, "p2@example.com", &person), HR_RETRY);
	sql(scene, MOVE); /* nobody is told */
	sql(scene, "SELECT hedgerow.add_rule('all', 'allow')");
	while (!is_up_again(scene))
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	run_until(scene, p1_has_moved);
	run_until(scene, has_rule);
	assert_int_equal(find(scene, "p2@example.com", &person), HR_OK);
}

/* A refused query is not the end: it is asked again after a while. */
static void asks_again_when_it_was_refused(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();
	const struct person *person;

	sql(scene, "ALTER FUNCTION hedgerow.lookup_addresses RENAME TO lookup_gone;"
		   "ALTER FUNCTION hedgerow.gateway_config RENAME TO config_gone;"
		   "SELECT hedgerow.add_rule('all', 'allow')");
	assert_int_equal(find(scene, "p1@example.com", &person), HR_RETRY);
	do
		uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
	while (pg_pending(scene->pg) > 0);
	sql(scene, "ALTER FUNCTION hedgerow.lookup_gone RENAME TO lookup_addresses;"
		   "ALTER FUNCTION hedgerow.config_gone RENAME TO gateway_config");
	run_until(scene, has_rule);
	run_until(scene, knows_p1);
	assert_int_equal(find(scene, "p1@example.com", &person), HR_OK);
}

static void may_be_freed_with_questions_under_way(void **state)
{
	(void)state;
	scoped(scene) scene = scene_new();
	const struct person *person;

	find(scene, "p1@example.com", &person);
	while (pg_pending(scene->pg) == 0)
		uv_run(loop_uv(scene->loop), UV_RUN_NOWAIT);
	find(scene, "p2@example.com", &person);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_the_small_tables),
		cmocka_unit_test(finds_people_and_remembers_who_does_not_exist),
		cmocka_unit_test(asks_in_batches_of_a_thousand),
		cmocka_unit_test(knows_nobody_by_a_key_that_is_not_text),
		cmocka_unit_test(sees_a_person_who_has_moved),
		cmocka_unit_test(believes_no_answer_that_a_change_has_overtaken),
		cmocka_unit_test(hands_out_people_until_the_end_of_the_turn),
		cmocka_unit_test(takes_a_new_configuration_and_only_a_new_one),
		cmocka_unit_test(asks_again_after_an_outage),
		cmocka_unit_test(asks_again_when_it_was_refused),
		cmocka_unit_test(may_be_freed_with_questions_under_way),
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
