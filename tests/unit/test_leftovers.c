/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/node.h"

/* Messages, numbered from 1, wait in a queue; in that of a mail, the odd ones are copies. */
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
			.is_copy = strncmp(queue, "mail:", 5) == 0 && i % 2 == 1,
		});

		journal_put(node->journal,
			    &(struct journal_entry){ .target = target, .envelope = envelope });
	}
	run_until(node, node_is_committed);
	/* a change, so that it looks now */
	sql("UPDATE hedgerow.site SET message_expiry = message_expiry + interval '1 s'"
	    " WHERE site = 'here'");
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

/* Who got an installation since it was queued for mail has not seen it: nothing but the mark tells
 * it from what they have. */
static void what_waits_for_a_mail_that_is_no_more_goes_to_the_chat_but_for_copies(void **state)
{
	(void)state;
	scoped(node) node = node_new("n1");

	wait_in(node, "mail:example.com", "ada@example.com/home", "bob@example.com", 4);
	run_until(node, nothing_waits);
	expect(AT_IM("<body>(.*)</body>"), "bob@example.com 2, bob@example.com 4");
	expect("SELECT count(*) FROM hedgerow.dead_letter", "0");
}

static void what_can_not_be_mailed_any_more_is_sent_back_but_for_copies(void **state)
{
	(void)state;
	sql("UPDATE hedgerow.person SET installation = NULL WHERE anchor = 'bob'");
	scoped(node) node = node_new("n1");

	wait_in(node, "mail:example.com", "ada@example.com/home", "bob@example.com", 2);
	wait_in(node, "mail:example.com", "eve@gone.example", "bob@example.com", 2);
	run_until(node, nothing_waits);
	expect(AT_IM("recipient-unavailable"), "ada@example.com/home recipient-unavailable");
	expect("SELECT string_agg(sender, ', ') FROM hedgerow.dead_letter", "eve@gone.example");
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
		uv_run(loop_uv(node_loop), UV_RUN_ONCE);
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
		uv_run(loop_uv(node_loop), UV_RUN_ONCE);
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

	first->want_im = true;
	node_update_duties(first);
	run_until(first, has_im);
	second->want_im = true; /* not sooner: it asks by itself when it looks for leftovers */
	node_update_duties(second);
	for (int i = 0; i < 100; i++)
		uv_run(loop_uv(node_loop), UV_RUN_NOWAIT);
	assert_false(has_im(second));
	first->want_im = false;
	node_update_duties(first);
	assert_false(has_im(first));
	run_until(second, has_im);
	first->want_im = true;
	node_update_duties(first);
	second->want_im = false;
	node_update_duties(second);
	second->want_im = true;
	node_update_duties(
		second); /* wanted again before it was given back: one of the two has it */
	while (!has_im(first) && !has_im(second))
		uv_run(loop_uv(node_loop), UV_RUN_ONCE);
	assert_true(has_im(first) != has_im(second));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_waits_for_a_removed_installation_goes_where_people_are_now, node_begin,
			node_end),
		cmocka_unit_test_setup_teardown(who_is_nowhere_now_has_it_sent_back_once,
						node_begin, node_end),
		cmocka_unit_test_setup_teardown(what_nobody_would_miss_is_kept_for_the_operator,
						node_begin, node_end),
		cmocka_unit_test_setup_teardown(
			what_waits_for_a_mail_that_is_no_more_goes_to_the_chat_but_for_copies,
			node_begin, node_end),
		cmocka_unit_test_setup_teardown(
			what_can_not_be_mailed_any_more_is_sent_back_but_for_copies, node_begin,
			node_end),
		cmocka_unit_test_setup_teardown(what_may_have_arrived_says_so, node_begin,
						node_end),
		cmocka_unit_test_setup_teardown(another_way_is_taken_where_there_is_one, node_begin,
						node_end),
		cmocka_unit_test_setup_teardown(what_has_its_destination_back_is_left_alone,
						node_begin, node_end),
		cmocka_unit_test_setup_teardown(a_duty_that_is_not_wanted_goes_to_who_wants_it,
						node_begin, node_end),
	};

	(void)argc;
	return node_run(tests, countof(tests), argv);
}
