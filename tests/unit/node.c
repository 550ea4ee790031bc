/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/node.h"

#include "base/log.h"
#include "base/map.h"

#include <stdio.h>
#include <unistd.h>

enum { PATIENCE_MS = 60 * 1000, LOOK_MS = 5 };

#define WORLD                                                                                   \
	"SELECT hedgerow.add_site('here');"                                                     \
	"SELECT hedgerow.add_forest('contoso', 'openldap', '{ldaps://ldap.example}', 'cn=x',"   \
	" 'secret', 'dc=example');"                                                             \
	"SELECT hedgerow.add_domain('example.com', 'contoso');"                                 \
	"SELECT hedgerow.add_installation('im', 'contoso', 'prosody', 'im.example',"            \
	" '127.0.0.1', secret => 'im.secret');"                                                 \
	"SELECT hedgerow.add_rule('all', 'allow');"                                             \
	"INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation)"     \
	" SELECT 'here', 'contoso', name, name || '@example.com', name || '@im.example', 'im'"  \
	" FROM unnest('{ada,bob}'::text[]) name;"                                               \
	"SET session_replication_role = replica;"                                               \
	"INSERT INTO hedgerow.site (site, endpoints) VALUES ('there', '{tcp://127.0.0.1:1}');"  \
	"INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn," \
	" filter) VALUES ('there', 'fabrikam', 'openldap', '{ldaps://x}', 'cn=x', 's', 'dc=x'," \
	" '(cn=*)');"                                                                           \
	"INSERT INTO hedgerow.email_domain VALUES ('there', 'example.net', 'fabrikam');"        \
	"INSERT INTO hedgerow.installation VALUES ('there', 'far', 'fabrikam', 'prosody',"      \
	" 'im.far.example', '127.0.0.1', 5347, 'far.secret');"                                  \
	"INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation)"     \
	" VALUES ('there', 'fabrikam', 'carol', 'carol@example.net', 'carol@im.far.example', "  \
	"'far');"                                                                               \
	"RESET session_replication_role;"

struct loop *node_loop;
static PGconn *operator;

/* --- running until something is so --- */

static struct timer *looker;
static msec deadline;
static bool (*is_so)(struct node *node);
static struct node *is_so_of;
static bool was_so; /* what follows in the same turn may change it again */

static void look(void *arg)
{
	(void)arg;
	was_so = is_so(is_so_of);
	if (was_so || time_msec() > deadline)
		loop_stop(node_loop);
	else
		timer_set(looker, loop_now(node_loop) + LOOK_MS);
}

void node_run_until(struct node *node, bool (*what)(struct node *node), const char *name, int line)
{
	is_so = what;
	is_so_of = node;
	deadline = time_msec() + PATIENCE_MS;
	timer_set(looker, loop_now(node_loop) + 1);
	loop_run(node_loop);
	if (!was_so)
		fail_msg("line %d: not %s", line, name);
}

void sql(const char *text)
{
	PGresult *result = PQexec(operator, text);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s", PQresultErrorMessage(result));
	PQclear(result);
}

/* The one value of a query, owned by the caller. */
static char *value(const char *query)
{
	PGresult *result = PQexec(operator, query);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		fail_msg("%s: %s", query, PQresultErrorMessage(result));
	char *text = str_dup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return text;
}

void expect(const char *query, const char *text)
{
	scoped_str got = value(query);

	assert_string_equal(got, text);
}

bool is_true(const char *query)
{
	scoped_str got = value(query);

	return strcmp(got, "t") == 0;
}

/* --- the gateway --- */

void node_update_duties(struct node *node)
{
	duties_begin(node->duties);
	if (node->want_im)
		duties_want(node->duties, DUTY_INSTALLATION, "im");
	leftovers_want(node->leftovers, node->duties);
	duties_end(node->duties);
	leftovers_update(node->leftovers, node->duties);
}

static void found(void *arg)
{
	node_update_duties(arg);
}

static void duty_changed(void *ctx, enum duty_kind kind, const char *name)
{
	struct node *node = ctx;

	(void)kind, (void)name;
	leftovers_update(node->leftovers, node->duties);
}

static void go_on(struct node *node)
{
	switchboard_go_on(node->switchboard);
	leftovers_go_on(node->leftovers);
}

static void journal_is_ready(void *ctx)
{
	struct node *node = ctx;

	node->ready = true;
	duties_up(node->duties);
}

static void position(void *ctx, const char *site, int64_t seq)
{
	(void)ctx, (void)site, (void)seq;
}

static void flowing(void *ctx, bool yes)
{
	(void)yes;
	go_on(ctx);
}

static void fatal(void *ctx, const struct hr_err *err)
{
	(void)ctx;
	fail_msg("%s", err->text);
}

static void arrived(void *ctx)
{
	go_on(ctx);
}

static void changed(void *ctx, const struct config *config)
{
	struct node *node = ctx;

	(void)config;
	leftovers_configure(node->leftovers);
}

static void journal_pg_up(void *ctx)
{
	journal_up(((struct node *)ctx)->journal);
}

static void journal_pg_down(void *ctx, const struct hr_err *err)
{
	(void)err;
	journal_down(((struct node *)ctx)->journal);
}

static void side_up(void *ctx)
{
	registry_up(((struct node *)ctx)->registry);
}

static void side_down(void *ctx, const struct hr_err *err)
{
	(void)ctx, (void)err;
}

static void side_notified(void *ctx, const char *channel, const char *payload)
{
	(void)payload;
	registry_notified(((struct node *)ctx)->registry, channel);
}

static const struct duties_events duties_events = { duty_changed, duty_changed };
static const struct journal_events journal_events = { journal_is_ready, position, flowing, fatal };
static const struct registry_events registry_events = { arrived, changed };
static const struct pg_events journal_pg_events = { .up = journal_pg_up, .down = journal_pg_down };
static const struct pg_events side_events = { side_up, side_down, side_notified };

static bool is_ready(struct node *node)
{
	return node->ready && registry_config(node->registry);
}

struct node *node_new(const char *name)
{
	struct node *node = mem_new(struct node);
	const char *database = getenv("HEDGEROW_TEST_DATABASE");
	static const struct links_events no_links = { 0 };
	char public_key[41], secret_key[41];
	struct hr_err err;

	node->journal_pg = pg_new(node_loop, database, name, &journal_pg_events, node);
	node->side_pg = pg_new(node_loop, database, name, &side_events, node);
	node->journal = journal_new(node_loop, node->journal_pg, name, &journal_events, node);
	node->registry = registry_new(node_loop, node->side_pg, &registry_events, node);
	node->duties = duties_new(node_loop, node->journal_pg, node->journal, &duties_events, node);
	node->dispatch = (struct dispatch){
		.site = "here",
		.journal = node->journal,
		.registry = node->registry,
		.pg = node->side_pg,
		.edges = map_new(),
		.away = away_new(node->registry, node->journal, node->side_pg),
	};
	assert_int_equal(link_key_generate(public_key, secret_key, &err), HR_OK);
	assert_int_equal(links_new(node_loop,
				   &(struct links_options){
					   .site = "here", .node = name, .secret_key = secret_key },
				   &no_links, node, &node->dispatch.links, &err),
			 HR_OK);
	node->switchboard = switchboard_new(node_loop, &node->dispatch, 0);
	node->leftovers = leftovers_new(node_loop, &node->dispatch, node->switchboard, found, node);
	run_until(node, is_ready);
	return node;
}

void node_free(struct node *node)
{
	leftovers_free(node->leftovers);
	switchboard_free(node->switchboard);
	pg_free(node->journal_pg);
	pg_free(node->side_pg);
	links_free(node->dispatch.links);
	duties_free(node->duties);
	registry_free(node->registry);
	journal_free(node->journal);
	map_free(node->dispatch.edges);
	away_free(node->dispatch.away);
	free(node);
}

bool node_is_committed(struct node *node)
{
	return journal_is_idle(node->journal);
}

/* --- the tests --- */

int node_begin(void **state)
{
	(void)state;
	sql("SET client_min_messages = error; SET session_replication_role = replica");
	sql("TRUNCATE hedgerow.queue, hedgerow.journal, hedgerow.deferred, hedgerow.dead_letter"
	    " RESTART IDENTITY");
	sql("DELETE FROM hedgerow.link; DELETE FROM hedgerow.person; DELETE FROM "
	    "hedgerow.email_domain;"
	    "DELETE FROM hedgerow.installation; DELETE FROM hedgerow.forest; DELETE FROM "
	    "hedgerow.site;"
	    "RESET session_replication_role"); /* of others: a replica keeps our own */
	sql("DELETE FROM hedgerow.person; DELETE FROM hedgerow.link; DELETE FROM hedgerow.rule; "
	    "DELETE FROM "
	    "hedgerow.installation;"
	    "SELECT hedgerow.remove_forest(forest, force => true) FROM hedgerow.forest;"
	    "DELETE FROM hedgerow.site");
	sql(WORLD);
	node_loop = loop_new();
	looker = timer_new(node_loop, look, NULL);
	return 0;
}

int node_end(void **state)
{
	(void)state;
	timer_free(looker);
	loop_free(node_loop);
	return 0;
}

int node_run(const struct CMUnitTest *tests, size_t n, char **argv)
{
	const char *database = getenv("HEDGEROW_TEST_DATABASE");

	if (!database) {
		const char *top = getenv("top_srcdir");
		scoped_str wrapper = str_format("%s/tests/with-registry.sh", top ? top : ".");

		execl(wrapper, wrapper, argv[0], (char *)NULL);
		perror(wrapper);
		return EXIT_FAILURE;
	}
	log_open(LOG_LEVEL_ERROR);
	operator= PQconnectdb(database);
	int failed = _cmocka_run_group_tests(argv[0], tests, n, NULL, NULL);
	PQfinish(operator);
	return failed;
}
