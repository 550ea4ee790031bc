/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a gateway that deal with what waits for a removed destination, against a real
 * registry: started again under tests/with-registry.sh when there is none. */
#include "gateway/leftovers.h"

#include "base/log.h"
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

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

static struct loop *loop;
static PGconn *operator;

/* A gateway without edges. */
struct node {
	struct pg *journal_pg, *side_pg;
	struct journal *journal;
	struct registry *registry;
	struct duties *duties;
	struct dispatch dispatch;
	struct switchboard *switchboard;
	struct leftovers *leftovers;
	bool ready, want_im;
};

/* --- running until something is so --- */

static struct timer *looker;
static msec deadline;
static bool (*is_so)(struct node *node);
static struct node *is_so_of;

static void look(void *arg)
{
	(void)arg;
	if (time_msec() > deadline || is_so(is_so_of))
		loop_stop(loop);
	else
		timer_set(looker, loop_now(loop) + LOOK_MS);
}

#define run_until(node, what) run_until_(node, what, #what, __LINE__)
static void run_until_(struct node *node, bool (*what)(struct node *node), const char *name,
		       int line)
{
	is_so = what;
	is_so_of = node;
	deadline = time_msec() + PATIENCE_MS;
	timer_set(looker, loop_now(loop) + 1);
	loop_run(loop);
	if (!what(node))
		fail_msg("line %d: not %s", line, name);
}

static void sql(const char *text)
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

static void expect(const char *query, const char *text)
{
	scoped_str got = value(query);

	assert_string_equal(got, text);
}

static bool is_true(const char *query)
{
	scoped_str got = value(query);

	return strcmp(got, "t") == 0;
}

/* --- the gateway --- */

static void update_duties(struct node *node)
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
	update_duties(arg);
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

static struct node *node_new(const char *name)
{
	struct node *node = mem_new(struct node);
	const char *database = getenv("HEDGEROW_TEST_DATABASE");
	static const struct links_events no_links = { 0 };
	char public_key[41], secret_key[41];
	struct hr_err err;

	node->journal_pg = pg_new(loop, database, name, &journal_pg_events, node);
	node->side_pg = pg_new(loop, database, name, &side_events, node);
	node->journal = journal_new(loop, node->journal_pg, name, &journal_events, node);
	node->registry = registry_new(loop, node->side_pg, &registry_events, node);
	node->duties = duties_new(loop, node->journal_pg, node->journal, &duties_events, node);
	node->dispatch = (struct dispatch){
		.site = "here",
		.journal = node->journal,
		.registry = node->registry,
		.pg = node->side_pg,
		.edges = map_new(),
	};
	assert_int_equal(link_key_generate(public_key, secret_key, &err), HR_OK);
	assert_int_equal(links_new(loop,
				   &(struct links_options){
					   .site = "here", .node = name, .secret_key = secret_key },
				   &no_links, node, &node->dispatch.links, &err),
			 HR_OK);
	node->switchboard = switchboard_new(loop, &node->dispatch, 0);
	node->leftovers = leftovers_new(loop, &node->dispatch, node->switchboard, found, node);
	run_until(node, is_ready);
	return node;
}

static void node_free(struct node *node)
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
	free(node);
}
DEFINE_SCOPED(node)

static bool is_committed(struct node *node)
{
	return journal_is_idle(node->journal);
}

/* Messages, numbered from 1, wait in a queue. */
static void wait_in(struct node *node, const char *queue, const char *from, const char *to, int n)
{
	struct journal_target *target = journal_target(node->journal, queue);

	for (int i = 1; i <= n; i++) {
		scoped_str payload = str_format("<body>%d</body>", i);
		scoped_str id = str_format("m%d", i);
		scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
			.kind = ENVELOPE_MESSAGE,
			.stanza_id = slice_str(id),
			.from = slice_str(from),
			.to = slice_str(to),
			.payload = slice_str(payload),
			.received = 1,
			.hops = { slice_lit("here") },
			.hop_count = strncmp(queue, "link:", 5) == 0,
		});

		journal_put(node->journal,
			    &(struct journal_entry){ .target = target, .envelope = envelope });
	}
	run_until(node, is_committed);
	sql("UPDATE hedgerow.site SET message_expiry = message_expiry + interval '1 s' WHERE site "
	    "= 'here'"); /* so
	   that
	   it
	   looks
	   now
	 */
}

static bool nothing_waits(struct node *node)
{
	(void)node;
	return is_true("SELECT coalesce(bool_and(head = acked), true) FROM hedgerow.queue"
		       " WHERE name !~ '^xmpp:im:example'") &&
	       is_true("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'"
		       " AND NOT EXISTS (SELECT FROM hedgerow.node n WHERE classid::bigint ="
		       " (hashtextextended('node:' || n.node, 0) >> 32) & 4294967295))");
}

/* What waits for bob and ada: recipient and what the payload has between body or text. */
#define AT_IM(what)                                                                        \
	"SELECT coalesce(string_agg(recipient || ' ' || coalesce("                         \
	"substring(encode(envelope, 'escape'), '" what "'), '-'), ', ' ORDER BY seq), '')" \
	" FROM hedgerow.journal WHERE queue IN"                                            \
	" (SELECT id FROM hedgerow.queue WHERE name ~ '^xmpp:im:example')"

static int begin(void **state)
{
	(void)state;
	sql("SET client_min_messages = error; SET session_replication_role = replica");
	sql("TRUNCATE hedgerow.queue, hedgerow.journal, hedgerow.deferred, hedgerow.dead_letter"
	    " RESTART IDENTITY");
	for (int own = 0; own < 2; own++) /* those of others as a replica, which keeps ours */
		sql("DELETE FROM hedgerow.link; DELETE FROM hedgerow.person;"
		    "DELETE FROM hedgerow.installation; DELETE FROM hedgerow.email_domain;"
		    "DELETE FROM hedgerow.rule; DELETE FROM hedgerow.mapping;"
		    "DELETE FROM hedgerow.naming_context; DELETE FROM hedgerow.forest;"
		    "DELETE FROM hedgerow.site; RESET session_replication_role");
	sql(WORLD);
	loop = loop_new();
	looker = timer_new(loop, look, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	timer_free(looker);
	loop_free(loop);
	return 0;
}

/* --- tests --- */

static void what_waits_for_a_removed_installation_goes_where_people_are_now(void **state)
{
	(void)state;
	scoped(node) node = node_new("n1");

	wait_in(node, "xmpp:gone:example.com", "ada@example.com/home", "bob@example.com", 3);
	run_until(node, nothing_waits);
	expect(AT_IM("<body>(.*)</body>"),
	       "bob@example.com 1, bob@example.com 2, bob@example.com 3");
	expect("SELECT count(*) FROM hedgerow.dead_letter", "0");
}

static void who_is_nowhere_now_has_it_sent_back_once(void **state)
{
	(void)state;
	sql("UPDATE hedgerow.person SET installation = NULL WHERE anchor = 'bob'");
	scoped(node) node = node_new("n1");

	wait_in(node, "xmpp:gone:example.com", "ada@example.com/home", "bob@example.com", 2);
	run_until(node, nothing_waits);
	expect(AT_IM("recipient-unavailable"), "ada@example.com/home recipient-unavailable, "
					       "ada@example.com/home recipient-unavailable");
}

static void what_nobody_would_miss_is_kept_for_the_operator(void **state)
{
	(void)state;
	scoped(node) node = node_new("n1");

	wait_in(node, "xmpp:im:gone.example", "eve@gone.example", "bob@example.com", 2);
	run_until(node, nothing_waits);
	expect(AT_IM("body"), "");
	expect("SELECT string_agg(sender || ' ' || reason, ', ') FROM hedgerow.dead_letter WHERE "
	       "seq = 1",
	       "eve@gone.example its destination was removed, and nobody has the address of its "
	       "sender any more");
	expect("SELECT count(*) FROM hedgerow.dead_letter", "2");
}

/* The first of two may have gone over the link, which is no more. */
static void what_may_have_arrived_says_so(void **state)
{
	(void)state;
	sql("INSERT INTO hedgerow.queue (name, offered) VALUES ('link:there', 1)");
	sql("SELECT hedgerow.add_link('there')");
	scoped(node) node = node_new("n1");

	wait_in(node, "link:there", "ada@example.com/home", "carol@example.net", 2);
	sql("DELETE FROM hedgerow.link");
	run_until(node, nothing_waits);
	expect(AT_IM("it may have arrived|no link leads to"),
	       "ada@example.com/home it may have arrived, ada@example.com/home no link leads to");
}

static void another_way_is_taken_where_there_is_one(void **state)
{
	(void)state;
	sql("SET session_replication_role = replica; INSERT INTO hedgerow.site (site, endpoints)"
	    " VALUES ('hub', '{tcp://127.0.0.1:1}');"
	    "INSERT INTO hedgerow.link VALUES ('hub', 'here', 'here'), ('hub', 'there', 'hub'),"
	    " ('there', 'hub', 'hub'); RESET session_replication_role;"
	    "SELECT hedgerow.add_link('hub', dialer => 'here')");
	scoped(node) node = node_new("n1");
	scoped(node) other = node_new("n2"); /* both find it, one has the lease */

	(void)other;
	wait_in(node, "link:there", "ada@example.com/home", "carol@example.net", 2);
	while (!is_true("SELECT head = acked FROM hedgerow.queue WHERE name = 'link:there'"))
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	expect("SELECT string_agg(name || ' ' || head - acked, ', ' ORDER BY name) FROM "
	       "hedgerow.queue"
	       " WHERE head > acked",
	       "link:hub 2");
}

static void what_has_its_destination_back_is_left_alone(void **state)
{
	(void)state;
	scoped(node) node = node_new("n1");

	sql("SELECT hedgerow.add_installation('back', 'contoso', 'prosody', 'im2.example',"
	    " '127.0.0.1', secret => 'im.secret')");
	wait_in(node, "xmpp:back:example.com", "ada@example.com/home", "bob@example.com", 1);
	wait_in(node, "xmpp:gone:example.com", "ada@example.com/home", "bob@example.com", 1);
	while (!is_true(
		"SELECT head = acked FROM hedgerow.queue WHERE name = 'xmpp:gone:example.com'"))
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	expect("SELECT head - acked FROM hedgerow.queue WHERE name = 'xmpp:back:example.com'", "1");
}

static bool has_im(struct node *node)
{
	return duties_hold(node->duties, DUTY_INSTALLATION, "im");
}

static void a_duty_that_is_not_wanted_goes_to_who_wants_it(void **state)
{
	(void)state;
	scoped(node) first = node_new("n1");
	scoped(node) second = node_new("n2");

	first->want_im = second->want_im = true;
	update_duties(first);
	run_until(first, has_im);
	update_duties(second);
	for (int i = 0; i < 100; i++)
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	assert_false(has_im(second));
	first->want_im = false;
	update_duties(first);
	assert_false(has_im(first));
	run_until(second, has_im);
	first->want_im = true;
	update_duties(first);
	second->want_im = false;
	update_duties(second);
	second->want_im = true;
	update_duties(second); /* wanted again before it was given back: one of the two has it */
	while (!has_im(first) && !has_im(second))
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	assert_true(has_im(first) != has_im(second));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_waits_for_a_removed_installation_goes_where_people_are_now, begin,
			end),
		cmocka_unit_test_setup_teardown(who_is_nowhere_now_has_it_sent_back_once, begin,
						end),
		cmocka_unit_test_setup_teardown(what_nobody_would_miss_is_kept_for_the_operator,
						begin, end),
		cmocka_unit_test_setup_teardown(what_may_have_arrived_says_so, begin, end),
		cmocka_unit_test_setup_teardown(another_way_is_taken_where_there_is_one, begin,
						end),
		cmocka_unit_test_setup_teardown(what_has_its_destination_back_is_left_alone, begin,
						end),
		cmocka_unit_test_setup_teardown(a_duty_that_is_not_wanted_goes_to_who_wants_it,
						begin, end),
	};
	const char *database = getenv("HEDGEROW_TEST_DATABASE");

	(void)argc;
	if (!database) {
		const char *top = getenv("top_srcdir");
		scoped_str wrapper = str_format("%s/tests/with-registry.sh", top ? top : ".");

		execl(wrapper, wrapper, argv[0], (char *)NULL);
		perror(wrapper);
		return EXIT_FAILURE;
	}
	log_open(LOG_LEVEL_ERROR);
	operator= PQconnectdb(database);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	PQfinish(operator);
	return failed;
}
