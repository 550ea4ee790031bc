/* SPDX-License-Identifier: Apache-2.0 */
/* Mail that comes in, from the client's socket to the journal, in a registry. */
#include "gateway/mail/postbox.h"

#include "base/map.h"
#include "gateway/mail/metric.h"
#include "gateway/mail/reply_address.h"
#include "tests/unit/node.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KEY "0123456789abcdef0123456789abcdef"

static char directory[] = "/tmp/hr-postbox-XXXXXX";

/* A client of the postbox, whose relay is believed. */
static struct client {
	struct edge *edge;
	int fd;
	struct buf said;
	size_t wanted; /* lines */
} client;

static size_t line_count(struct slice text)
{
	size_t lines = 0;

	for (size_t i = 0; i < text.len; i++)
		lines += text.data[i] == '\n';
	return lines;
}

static bool has_answered(struct node *node)
{
	char bytes[4096];
	ssize_t got;

	(void)node;
	client.edge->ops->arrived(client.edge);
	while ((got = recv(client.fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
		buf_add(&client.said, bytes, (size_t)got);
	return line_count(buf_slice(&client.said)) >= client.wanted;
}

/* Says it, and returns the answers: so many lines. */
static const char *talk(struct node *node, const char *text, size_t lines)
{
	buf_clear(&client.said);
	client.wanted = lines;
	assert_int_equal(send(client.fd, text, strlen(text), 0), strlen(text));
	run_until(node, has_answered);
	return buf_text(&client.said);
}

static void open_postbox(struct node *node)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	scoped_str where = str_format("unix:%s/lmtp", directory);
	struct hr_err err;

	assert_int_equal(postbox_new(node_loop,
				     &(struct postbox_options){ .listen = where,
								.size_max = 100000,
								.memory_max = 50000,
								.secrets = directory,
								.dispatch = &node->dispatch,
								.switchboard = node->switchboard },
				     &client.edge, &err),
			 HR_OK);
	switchboard_serve(node->switchboard, POSTBOX, client.edge);
	strcpy(address.sun_path, where + strlen("unix:"));
	client.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
	talk(node, "LHLO mx\r\n", 8);
}

static void close_postbox(struct node *node)
{
	switchboard_serve(node->switchboard, POSTBOX, NULL);
	client.edge->ops->free(client.edge);
	close(client.fd);
	buf_free(&client.said);
}

/* A mail of bob's to those, as the lines of its answers: one for each RCPT, then for each mail. */
static const char *mail_to(struct node *node, const char *const *to, const char *id)
{
	scoped_buf say = BUF_INIT(0);
	size_t count = 0, accepted;

	buf_add_str(&say, "XFORWARD ADDR=127.0.0.1\r\nMAIL FROM:<bob@example.com>\r\n");
	for (; to[count]; count++)
		buf_format(&say, "RCPT TO:<%s>\r\n", to[count]);
	const char *answers = talk(node, buf_text(&say), count + 2);
	accepted = 0;
	for (const char *at = answers; (at = strstr(at, "250 2.1.5")); at++)
		accepted++;
	if (accepted == 0)
		return answers;
	talk(node, "DATA\r\n", 1);
	scoped_str mail = str_format("From: Bob <bob@example.com>\r\nMessage-ID: <%s@x>\r\n"
				     "\r\n%s\r\n.\r\n",
				     id, id);
	return talk(node, mail, accepted);
}

/* The bodies that wait for people of the installation, and for whom. */
#define AT_IM                                                                              \
	"SELECT coalesce(string_agg(recipient || ' ' || coalesce("                         \
	"substring(encode(envelope, 'escape'), '<body>([^<]*)</body>'), '-'), ', ' ORDER " \
	"BY seq), '') FROM hedgerow.journal WHERE queue IN"                                \
	" (SELECT id FROM hedgerow.queue WHERE name ~ '^xmpp:im:example')"

static const char *reply_to(int64_t thread)
{
	static struct buf text;
	struct hr_err err;

	buf_clear(&text);
	assert_int_equal(
		reply_address_write(&(struct reply_address){ thread, time_usec() + 3600000000 },
				    &(struct reply_keys){ .current = slice_lit(KEY) },
				    "chat.example.com", &text, &err),
		HR_OK);
	return buf_text(&text);
}

static int begin(void **state)
{
	node_begin(state);
	sql("DELETE FROM hedgerow.mail_domain; TRUNCATE hedgerow.mail_thread,"
	    " hedgerow.mail_message, hedgerow.mail_original;"
	    "SELECT hedgerow.add_domain('other.example', 'contoso');"
	    "SELECT hedgerow.add_mail_domain(domain, chat_domain => 'chat.' || domain, smarthost =>"
	    " 'mx.example', authserv_id => 'mx.example', relays => '{127.0.0.0/8}', originals =>"
	    " '1 day') FROM unnest('{example.com,other.example}'::text[]) domain;"
	    "INSERT INTO hedgerow.alias (site, forest, anchor, address) VALUES"
	    " ('here', 'contoso', 'ada', 'countess@example.com'),"
	    " ('here', 'contoso', 'ada', 'ada@other.example')");
	return 0;
}

/* --- tests --- */

static void who_is_named_twice_gets_a_mail_once_and_each_name_its_answer(void **state)
{
	(void)state;
	sql("INSERT INTO hedgerow.mail_thread (id, domain, person, peer) VALUES (7, 'example.com',"
	    " 'bob@example.com', 'ada@example.com')");
	scoped(node) node = node_new("n1");
	const char *const names[] = { "ada@chat.example.com",	"nobody@chat.example.com",
				      "ada@chat.example.com",	"countess@chat.example.com",
				      "bob@chat.example.com",	reply_to(7),
				      "ada@chat.other.example", NULL };

	open_postbox(node);
	assert_string_equal(mail_to(node, names, "one"),
			    "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
			    "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
	run_until(node, node_is_committed);
	expect("SELECT count(*) FROM hedgerow.journal", "2");
	expect(AT_IM " AND recipient = 'ada@example.com'", "ada@example.com one");
	expect("SELECT count(*) FROM hedgerow.mail_message", "2"); /* to ada and to bob */
	close_postbox(node);
}

static void a_thousand_people_in_one_transaction_all_get_it(void **state)
{
	enum { PEOPLE = 1000 };
	static const char *names[PEOPLE + 1];
	scoped_buf all = BUF_INIT(0);

	(void)state;
	sql("INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation)"
	    " SELECT 'here', 'contoso', 'p' || n, 'p' || n || '@example.com', 'p' || n ||"
	    " '@im.example', 'im' FROM generate_series(1, 1000) n");
	scoped(node) node = node_new("n1");

	for (size_t i = 0; i < PEOPLE; i++) {
		names[i] = str_format("p%zu@chat.example.com", i + 1);
		buf_add_str(&all, "250 2.0.0 Ok\r\n");
	}
	open_postbox(node);
	assert_string_equal(mail_to(node, names, "all"), buf_text(&all));
	expect("SELECT count(DISTINCT recipient) FROM hedgerow.journal", "1000");
	expect("SELECT count(*) FROM hedgerow.journal", "1000");
	expect("SELECT count(*) FROM hedgerow.mail_original", "1");
	close_postbox(node);
	for (size_t i = 0; i < PEOPLE; i++)
		free((char *)(uintptr_t)names[i]);
}

static void a_mail_that_there_is_no_room_for_is_put_off(void **state)
{
	(void)state;
	scoped(node) node = node_new("n1");
	scoped_buf mail = BUF_INIT(0);

	open_postbox(node);
	assert_string_equal(talk(node, "MAIL FROM:<bob@example.com> SIZE=60000\r\n", 1),
			    "452 4.3.1 No room now, try again later\r\n");
	talk(node,
	     "MAIL FROM:<bob@example.com>\r\nRCPT TO:<ada@chat.example.com>\r\n"
	     "RCPT TO:<bob@chat.example.com>\r\n",
	     3);
	talk(node, "DATA\r\n", 1);
	buf_add_str(&mail, "From: Bob <bob@example.com>\r\n\r\n");
	while (mail.len < 60000)
		buf_add_str(&mail, "hedge\r\n");
	buf_add_str(&mail, ".\r\n");
	assert_string_equal(talk(node, buf_text(&mail), 2),
			    "452 4.3.1 No room now, try again later\r\n"
			    "452 4.3.1 No room now, try again later\r\n");
	assert_int_equal(mail_metrics[MAIL_CROWDED].value, 2);
	assert_int_equal(mail_metrics[MAIL_HELD].value, 0);
	close_postbox(node);
}

static void a_name_that_was_refused_is_not_the_one_beside_it(void **state)
{
	(void)state;
	sql("UPDATE hedgerow.person SET enabled = false WHERE anchor = 'ada'");
	scoped(node) node = node_new("n1");
	const char *const names[] = { "ada@chat.example.com", "bob@chat.example.com",
				      "ada@chat.example.com", NULL };

	open_postbox(node);
	assert_string_equal(mail_to(node, names, "two"), "250 2.0.0 Ok\r\n");
	expect(AT_IM, "bob@example.com two");
	close_postbox(node);
}

static void what_is_refused_for_one_name_is_refused_for_the_other(void **state)
{
	(void)state;
	sql("SELECT hedgerow.add_rule('no', 'deny', from_pattern => 'address:bob@example.com',"
	    " priority => 1)");
	scoped(node) node = node_new("n1");
	const char *const names[] = { "ada@chat.example.com", "countess@chat.example.com", NULL };

	open_postbox(node);
	const char *answers = mail_to(node, names, "three");
	assert_int_equal(strncmp(answers, "550 5.7.1 ", 10), 0);
	assert_non_null(strstr(answers, "\r\n550 5.7.1 "));
	close_postbox(node);
}

static void only_what_is_accepted_is_remembered(void **state)
{
	(void)state;
	sql("SELECT hedgerow.add_rule('no', 'deny', from_pattern => 'address:bob@example.com',"
	    " to_pattern => 'address:ada@example.com', priority => 1)");
	sql("UPDATE hedgerow.mail_domain SET hourly = 2");
	scoped(node) node = node_new("n1");
	const char *const ada[] = { "ada@chat.example.com", NULL };
	const char *const bob[] = { "bob@chat.example.com", NULL };

	open_postbox(node);
	mail_to(node, ada, "refused");
	expect("SELECT count(*) FROM hedgerow.mail_thread", "0");
	expect("SELECT count(*) FROM hedgerow.mail_original", "0");
	mail_to(node, bob, "first");
	mail_to(node, bob, "second");
	for (int i = 0; i < 3; i++) {
		const char *const ids[] = { "third", "fourth", "fifth" };
		assert_int_equal(strncmp(mail_to(node, bob, ids[i]), "450 4.7.1 ", 10), 0);
	}
	expect("SELECT string_agg(message_id, ' ' ORDER BY at) FROM hedgerow.mail_message",
	       "first@x second@x");
	expect("SELECT string_agg(message_id, ' ' ORDER BY at) FROM hedgerow.mail_original",
	       "first@x second@x");
	close_postbox(node);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, node_end)
	const struct CMUnitTest tests[] = {
		TEST(who_is_named_twice_gets_a_mail_once_and_each_name_its_answer),
		TEST(a_thousand_people_in_one_transaction_all_get_it),
		TEST(a_mail_that_there_is_no_room_for_is_put_off),
		TEST(a_name_that_was_refused_is_not_the_one_beside_it),
		TEST(what_is_refused_for_one_name_is_refused_for_the_other),
		TEST(only_what_is_accepted_is_remembered),
	};

	(void)argc;
	if (!getenv("HEDGEROW_TEST_DATABASE"))
		return node_run(tests, countof(tests), argv);
	assert_non_null(mkdtemp(directory));
	scoped_str key = str_format("%s/mail-reply.key", directory);
	scoped_str lmtp = str_format("%s/lmtp", directory);
	FILE *file = fopen(key, "w");
	fputs(KEY "\n", file);
	fclose(file);
	int failed = node_run(tests, countof(tests), argv);
	unlink(key);
	unlink(lmtp);
	rmdir(directory);
	return failed;
}
