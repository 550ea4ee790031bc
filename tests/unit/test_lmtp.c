/* SPDX-License-Identifier: Apache-2.0 */
/* A scenario is what the client says and what comes back, in turns. What the owner is asked and
 * told appears among the answers as {words}. */
#include "base/buf.h"
#include "gateway/mail/lmtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { SIZE_LIMIT = 1000 };

#define HELLO                                                                   \
	"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n" \
	"250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 XFORWARD ADDR\r\n"

struct scene {
	struct lmtp *lmtp;
	struct buf seen;
	uint64_t asked[LMTP_RECIPIENTS_MAX + 1]; /* the ids of the last phase */
	size_t asked_count;
	uint64_t accepted[2]; /* which ids of RCPT the first of a mail's recipients had */
	bool is_prompt;	      /* the owner says yes at once */
	bool takes;	      /* it takes the bytes over */
	char *taken;
};
static struct room room = { .max = 5000 }; /* of all scenes */

static void on_recipient(void *ctx, uint64_t id, const char *address)
{
	struct scene *scene = ctx;

	scene->asked[scene->asked_count++] = id;
	if (scene->is_prompt)
		lmtp_answer(scene->lmtp, id, LMTP_OK, NULL);
	else
		buf_format(&scene->seen, "{%s?}", address);
}

static void on_message(void *ctx, const struct lmtp_mail *mail)
{
	struct scene *scene = ctx;

	scene->asked_count = 0;
	if (!scene->is_prompt)
		buf_format(&scene->seen, "{%s|%zu|%.*s|%s%.*s}", mail->sender,
			   mail->recipient_count, (int)mail->bytes.len, mail->bytes.data,
			   mail->is_utf8 ? "utf8" : "", (int)mail->client.len,
			   mail->client.data ? mail->client.data : "");
	if (scene->takes)
		scene->taken = lmtp_take_bytes(scene->lmtp);
	for (size_t i = 0; i < mail->recipient_count; i++) {
		if (i < countof(scene->accepted))
			scene->accepted[i] = mail->recipients[i].asked;
		scene->asked[scene->asked_count++] = mail->recipients[i].id;
		if (scene->is_prompt)
			lmtp_answer(scene->lmtp, mail->recipients[i].id, LMTP_OK, NULL);
	}
}

static void on_reset(void *ctx)
{
	struct scene *scene = ctx;

	scene->asked_count = 0;
	if (!scene->is_prompt)
		buf_add_str(&scene->seen, "{reset}");
}

static const struct lmtp_ops ops = { on_recipient, on_message, on_reset };

static void begin(struct scene *scene)
{
	memset(scene, 0, sizeof *scene);
	scene->lmtp =
		lmtp_new(&(struct lmtp_options){ "mx.example", SIZE_LIMIT, &room }, &ops, scene);
}

static void end(struct scene *scene)
{
	lmtp_free(scene->lmtp);
	assert_int_equal(room.held, 0);
	buf_free(&scene->seen);
}

/* What was seen since the last time: what the owner noticed, then what goes to the client. */
static void expect(struct scene *scene, const char *expected)
{
	struct buf *out = lmtp_output(scene->lmtp);

	buf_add_slice(&scene->seen, buf_slice(out));
	buf_clear(out);
	assert_string_equal(buf_text(&scene->seen), expected);
	buf_clear(&scene->seen);
}

static void say(struct scene *scene, const char *bytes)
{
	lmtp_received(scene->lmtp, slice_str(bytes));
}

static void answer(struct scene *scene, size_t nth, enum lmtp_answer how, const char *text)
{
	assert_true(nth < scene->asked_count);
	lmtp_answer(scene->lmtp, scene->asked[nth], how, text);
}

static void greet(struct scene *scene)
{
	begin(scene);
	expect(scene, "220 mx.example LMTP Hedgerow\r\n");
	say(scene, "LHLO client.example\r\n");
	expect(scene, HELLO);
}

static void takes_a_mail_and_answers_each_recipient(void **state)
{
	struct scene scene;

	(void)state;
	greet(&scene);
	say(&scene, "MAIL FROM:<ada@example.org> SIZE=20 BODY=8BITMIME\r\n");
	expect(&scene, "250 2.1.0 Ok\r\n");
	say(&scene, "RCPT TO:<bob@example.com>\r\n");
	expect(&scene, "{bob@example.com?}");
	answer(&scene, 0, LMTP_OK, NULL);
	expect(&scene, "250 2.1.5 Ok\r\n");
	say(&scene, "RCPT TO:<eve@example.com>\r\n");
	expect(&scene, "{eve@example.com?}");
	answer(&scene, 1, LMTP_NO_SUCH_PERSON, "eve@example.com is nobody");
	expect(&scene, "550 5.1.1 eve@example.com is nobody\r\n");
	say(&scene, "RCPT TO:<carol@example.com>\r\n");
	answer(&scene, 2, LMTP_OK, NULL);
	expect(&scene, "{carol@example.com?}250 2.1.5 Ok\r\n");
	say(&scene, "DATA\r\n");
	expect(&scene, "354 End with a dot on a line by itself\r\n");
	say(&scene, "Subject: x\r\n\r\nhi\r\n.\r\n");
	expect(&scene, "{ada@example.org|2|Subject: x\r\n\r\nhi\r\n|}");
	answer(&scene, 1, LMTP_LATER, NULL);
	expect(&scene, "");
	answer(&scene, 0, LMTP_OK, "Committed");
	expect(&scene, "{reset}250 2.0.0 Committed\r\n451 4.3.0 Not now, try again later\r\n");
	say(&scene, "QUIT\r\n");
	expect(&scene, "221 2.0.0 Bye\r\n");
	assert_true(lmtp_is_ended(scene.lmtp));
	end(&scene);
}

static void asks_for_pipelined_recipients_together_and_answers_in_order(void **state)
{
	struct scene scene;

	(void)state;
	greet(&scene);
	say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<oops\r\n"
		    "RCPT TO:<b@x.example>\r\nDATA\r\n");
	expect(&scene, "{a@x.example?}{b@x.example?}250 2.1.0 Ok\r\n");
	answer(&scene, 1, LMTP_OK, NULL);
	expect(&scene, "");
	answer(&scene, 0, LMTP_REFUSED, "no\r\n250 sure\xc3\xbc");
	expect(&scene, "550 5.7.1 no 250 sure??\r\n501 5.1.3 not an address: no @\r\n"
		       "250 2.1.5 Ok\r\n354 End with a dot on a line by itself\r\n");
	say(&scene, ".\r\nRSET\r\nMAIL FROM:<c@x.example>\r\nQUIT\r\n");
	expect(&scene, "{|1||}");
	answer(&scene, 0, LMTP_OK, NULL);
	expect(&scene, "{reset}{reset}250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n"
		       "221 2.0.0 Bye\r\n");
	end(&scene);
}

static void answers_what_is_no_command_in_order_too(void **state)
{
	struct scene scene;

	(void)state;
	greet(&scene);
	say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n");
	lmtp_received(scene.lmtp, slice_lit("RCPT TO:<\0>\r\n"));
	expect(&scene, "{a@x.example?}250 2.1.0 Ok\r\n");
	answer(&scene, 0, LMTP_OK, NULL);
	expect(&scene, "250 2.1.5 Ok\r\n500 5.5.2 That is no command\r\n");
	end(&scene);
}

/* The same address may be refused once and accepted the next time: which it was, is told. */
static void tells_which_recipients_it_has_accepted(void **state)
{
	struct scene scene;

	(void)state;
	greet(&scene);
	say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<a@b.example>\r\n"
		    "RCPT TO:<a@b.example>\r\n");
	uint64_t second = scene.asked[1], third = scene.asked[2];
	answer(&scene, 0, LMTP_LATER, NULL);
	answer(&scene, 2, LMTP_OK, NULL);
	answer(&scene, 1, LMTP_OK, NULL);
	say(&scene, "DATA\r\n.\r\n");
	assert_int_equal(scene.asked_count, 2);
	assert_int_equal(scene.accepted[0], second);
	assert_int_equal(scene.accepted[1], third);
	end(&scene);
}

static void drops_answers_that_come_too_late(void **state)
{
	struct scene scene;

	(void)state;
	greet(&scene);
	say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n");
	uint64_t id = scene.asked[0];
	lmtp_answer(scene.lmtp, id, LMTP_OK, NULL);
	lmtp_answer(scene.lmtp, id, LMTP_REFUSED, NULL);
	lmtp_answer(scene.lmtp, id + 1, LMTP_OK, NULL);
	lmtp_answer(scene.lmtp, 0, LMTP_OK, NULL);
	expect(&scene, "{a@x.example?}250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
	say(&scene, "DATA\r\nx\r\n.\r\n");
	lmtp_answer(scene.lmtp, id, LMTP_OK, NULL);
	expect(&scene, "{|1|x\r\n|}354 End with a dot on a line by itself\r\n");
	answer(&scene, 0, LMTP_OK, NULL);
	lmtp_answer(scene.lmtp, id + 1, LMTP_OK, NULL);
	expect(&scene, "{reset}250 2.0.0 Ok\r\n");
	say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n");
	lmtp_answer(scene.lmtp, id, LMTP_OK, NULL);
	expect(&scene, "{a@x.example?}250 2.1.0 Ok\r\n");
	lmtp_timeout(scene.lmtp);
	expect(&scene, "{reset}421 4.4.2 Nothing came for too long\r\n");
	lmtp_answer(scene.lmtp, scene.asked[0], LMTP_OK, NULL);
	say(&scene, "NOOP\r\n");
	expect(&scene, "");
	end(&scene);
}

/* What stands between two steps of the session, in any order that a client may choose. */
static const struct {
	const char *said, *seen;
} dialogues[] = {
	{ "MAIL FROM:<>\r\n", "250 2.1.0 Ok\r\n" },
	{ "mail from: <a@b.example> smtputf8 body=7bit size=1000\r\n", "250 2.1.0 Ok\r\n" },
	{ "MAIL FROM:<>\n", "250 2.1.0 Ok\r\n" },
	{ "MAIL FROM:<a..b.@docomo.example>\r\n", "250 2.1.0 Ok\r\n" },
	{ "MAIL FROM:<a@b_c.example> SIZE=1\r\n", "250 2.1.0 Ok\r\n" },
	{ "MAIL FROM:<J\xc3\xb6rg@b.example> SMTPUTF8\r\n", "250 2.1.0 Ok\r\n" },
	{ "MAIL FROM:<J\xc3\xb6rg@b.example>\r\n",
	  "553 5.6.7 An address that is not ASCII needs SMTPUTF8\r\n" },
	{ "MAIL <a@b.example>\r\n", "501 5.1.7 FROM:<address> is expected\r\n" },
	{ "MAIL FROM:a@b.example\r\n", "501 5.1.7 no <address>\r\n" },
	{ "MAIL FROM:<a@b.example\r\n", "501 5.1.7 no > after the address\r\n" },
	{ "MAIL FROM:<a@b.example>x\r\n", "501 5.1.7 something follows the address\r\n" },
	{ "MAIL FROM:<> SIZE=1001\r\n", "552 5.3.4 The mail is larger than this server takes\r\n" },
	{ "MAIL FROM:<> SIZE=18446744073709551616\r\n",
	  "552 5.3.4 The mail is larger than this server takes\r\n" },
	{ "MAIL FROM:<> SIZE=x\r\n", "501 5.5.4 SIZE is no number\r\n" },
	{ "MAIL FROM:<> SIZE=\r\n", "501 5.5.4 SIZE is no number\r\n" },
	{ "MAIL FROM:<> SIZE=-1\r\n", "501 5.5.4 SIZE is no number\r\n" },
	{ "MAIL FROM:<> BODY=BINARYMIME\r\n", "501 5.5.4 BODY is neither 7BIT nor 8BITMIME\r\n" },
	{ "MAIL FROM:<> SMTPUTF8=1\r\n", "501 5.5.4 SMTPUTF8 has no value\r\n" },
	{ "MAIL FROM:<> RET=HDRS\r\n", "555 5.5.4 Unknown parameter\r\n" },
	{ "MAIL FROM:<>\r\nMAIL FROM:<>\r\n", "250 2.1.0 Ok\r\n503 5.5.1 Not now\r\n" },
	{ "MAIL FROM:<>\r\nRCPT TO:<a@b.example> NOTIFY=NEVER\r\n",
	  "250 2.1.0 Ok\r\n555 5.5.4 Unknown parameter\r\n" },
	{ "MAIL FROM:<>\r\nRCPT TO:<>\r\n",
	  "250 2.1.0 Ok\r\n501 5.1.3 the recipient is empty\r\n" },
	{ "MAIL FROM:<>\r\nRCPT <a@b.example>\r\n",
	  "250 2.1.0 Ok\r\n501 5.1.3 TO:<address> is expected\r\n" },
	{ "MAIL FROM:<>\r\nRCPT TO:<\xc3\xb6@b.example>\r\n",
	  "250 2.1.0 Ok\r\n553 5.6.7 An address that is not ASCII needs SMTPUTF8\r\n" },
	{ "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<\xff@b.example>\r\n",
	  "250 2.1.0 Ok\r\n501 5.1.3 the address is not UTF-8\r\n" },
	{ "MAIL FROM:<>\r\nDATA\r\n", "250 2.1.0 Ok\r\n503 5.5.1 No recipient was accepted\r\n" },
	{ "RCPT TO:<a@b.example>\r\n", "503 5.5.1 Not now\r\n" },
	{ "DATA\r\n", "503 5.5.1 Not now\r\n" },
	{ "EHLO x\r\n", "500 5.5.1 This is LMTP (RFC 2033): say LHLO\r\n" },
	{ "LHLO\r\n", "501 5.5.4 LHLO needs the name of the client\r\n" },
	{ "BDAT 3 LAST\r\n", "500 5.5.1 Unknown command\r\n" },
	{ "STARTTLS\r\n", "500 5.5.1 Unknown command\r\n" },
	{ "VRFY ada\r\nNOOP x\r\n", "252 2.5.0 Send a mail and see\r\n250 2.0.0 Ok\r\n" },
	{ "\r\n", "500 5.5.2 That is no command\r\n" },
	{ "NOOPX\r\n", "500 5.5.1 Unknown command\r\n" },
	{ "\xff\xfe\x01\r\n", "500 5.5.1 Unknown command\r\n" },
	{ "XFORWARD NAME=x ADDR=192.0.2.1\r\nMAIL FROM:<>\r\nXFORWARD ADDR=192.0.2.1\r\n",
	  "250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n503 5.5.1 Not now\r\n" },
	{ "MAIL FROM:<>\r\nLHLO again\r\nMAIL FROM:<>\r\n",
	  "250 2.1.0 Ok\r\n" HELLO "250 2.1.0 Ok\r\n" },
};

static void answers_every_command_in_every_shape(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(dialogues); i++) {
		struct scene scene;
		greet(&scene);
		scene.is_prompt = true;
		say(&scene, dialogues[i].said);
		expect(&scene, dialogues[i].seen);
		end(&scene);
	}
}

static void wants_lhlo_first(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	say(&scene, "MAIL FROM:<>\r\nHELO x\r\nNOOP\r\n");
	expect(&scene, "220 mx.example LMTP Hedgerow\r\n503 5.5.1 Not now\r\n"
		       "500 5.5.1 This is LMTP (RFC 2033): say LHLO\r\n250 2.0.0 Ok\r\n");
	lmtp_received(scene.lmtp, slice_lit("\0\r\nNO\0OP\r\n"));
	expect(&scene, "500 5.5.2 That is no command\r\n500 5.5.2 That is no command\r\n");
	end(&scene);
}

static const struct {
	const char *sent, *mail; /* mail NULL: not complete */
} bodies[] = {
	{ ".\r\n", "" },
	{ "a\r\n.\r\n", "a\r\n" },
	{ "..\r\n.\r\n", ".\r\n" },
	{ "..a\r\n...\r\n.\r\n", ".a\r\n..\r\n" },
	{ ".a\r\n.\r\n", "a\r\n" },
	{ "\r\n.\r\n", "\r\n" },
	{ "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n" },	   /* a bare LF ends no line */
	{ "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n" },  /* nor the mail */
	{ "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n" }, /* at either side */
	{ "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n" }, /* nor a bare CR */
	{ "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n" },
	{ "a\r\r\n.\r\n", "a\r\r\n" },
	{ "a.\r\n.", NULL },
	{ "a\r\n.\r", NULL },
};

static void finds_the_end_of_a_mail_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(bodies); i++)
		for (size_t piece = 1; piece < 6; piece++) {
			struct scene scene;
			scoped_buf expected = BUF_INIT(0);
			struct slice rest = slice_str(bodies[i].sent);
			greet(&scene);
			say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n");
			answer(&scene, 0, LMTP_OK, NULL);
			say(&scene, "DATA\r\n");
			buf_clear(lmtp_output(scene.lmtp));
			buf_clear(&scene.seen);
			while (rest.len > 0) {
				size_t len = rest.len < piece ? rest.len : piece;
				lmtp_received(scene.lmtp, (struct slice){ rest.data, len });
				rest = (struct slice){ rest.data + len, rest.len - len };
			}
			if (bodies[i].mail)
				buf_format(&expected, "{|1|%s|}", bodies[i].mail);
			expect(&scene, buf_text(&expected));
			end(&scene);
		}
}

static void to_data(struct scene *scene)
{
	greet(scene);
	say(scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\n");
	answer(scene, 0, LMTP_OK, NULL);
	answer(scene, 1, LMTP_OK, NULL);
	say(scene, "DATA\r\n");
	buf_clear(lmtp_output(scene->lmtp));
	buf_clear(&scene->seen);
}

static void fill(struct scene *scene, size_t len)
{
	for (size_t i = 0; i < len; i++)
		say(scene, "x");
}

static void refuses_a_mail_that_is_too_large_for_each_recipient(void **state)
{
	struct scene scene;

	(void)state;
	to_data(&scene);
	fill(&scene, SIZE_LIMIT - 2);
	say(&scene, "\r\n.\r\n");
	assert_int_equal(scene.asked_count, 2);
	end(&scene);

	to_data(&scene);
	fill(&scene, SIZE_LIMIT - 1);
	say(&scene, "\r\n.\r\nNOOP\r\n");
	expect(&scene, "{reset}552 5.3.4 The mail is larger than this server takes\r\n"
		       "552 5.3.4 The mail is larger than this server takes\r\n"
		       "250 2.0.0 Ok\r\n");
	say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n");
	answer(&scene, 0, LMTP_OK, NULL);
	say(&scene, "DATA\r\nsmall\r\n.\r\n");
	expect(&scene, "{a@b.example?}{|1|small\r\n|}250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
		       "354 End with a dot on a line by itself\r\n");
	end(&scene);

	to_data(&scene);
	fill(&scene, 5 * SIZE_LIMIT + 10);
	expect(&scene, "{reset}421 4.3.4 The mail is far larger than this server takes\r\n");
	assert_true(lmtp_is_ended(scene.lmtp));
	end(&scene);
}

static void takes_many_recipients_in_one_transaction(void **state)
{
	struct scene scene;
	scoped_buf said = BUF_INIT(0);
	size_t yes = 0, no = 0;

	(void)state;
	greet(&scene);
	buf_add_str(&said, "MAIL FROM:<>\r\n");
	for (size_t i = 0; i < LMTP_RECIPIENTS_MAX + 5; i++)
		buf_format(&said, "RCPT TO:<p%zu@b.example>\r\n", i);
	buf_add_str(&said, "DATA\r\n");
	for (size_t i = 0; i < said.len; i += 1000) {
		size_t len = said.len - i < 1000 ? said.len - i : 1000;
		lmtp_received(scene.lmtp, (struct slice){ said.data + i, len });
	}
	assert_int_equal(scene.asked_count, LMTP_RECIPIENTS_MAX);
	for (size_t i = LMTP_RECIPIENTS_MAX; i-- > 0;)
		answer(&scene, i, LMTP_OK, NULL);
	const char *out = buf_text(lmtp_output(scene.lmtp));
	for (const char *at = out; (at = strstr(at, "\r\n")); at++) {
		yes += strncmp(at, "\r\n250 2.1.5", 11) == 0;
		no += strncmp(at, "\r\n452 4.5.3", 11) == 0;
	}
	assert_int_equal(yes, LMTP_RECIPIENTS_MAX);
	assert_int_equal(no, 5);
	say(&scene, "x\r\n.\r\n");
	assert_int_equal(scene.asked_count, LMTP_RECIPIENTS_MAX);
	buf_clear(lmtp_output(scene.lmtp));
	for (size_t i = 0; i < LMTP_RECIPIENTS_MAX; i++)
		lmtp_answer(scene.lmtp, scene.asked[i], LMTP_OK, NULL);
	assert_int_equal(lmtp_output(scene.lmtp)->len, LMTP_RECIPIENTS_MAX * 14);
	end(&scene);
}

static void forgets_the_client_of_the_mail_before(void **state)
{
	static const char *const between[] = {
		"", "RSET\r\n", "LHLO x\r\n", "MAIL FROM:<> SIZE=9999\r\n", "MAIL FROM:<\r\n",
	};

	(void)state;
	for (size_t i = 0; i < countof(between); i++) {
		struct scene scene;
		greet(&scene);
		say(&scene, "XFORWARD ADDR=IPv6:2001:db8::1\r\n");
		say(&scene, between[i]);
		buf_clear(lmtp_output(scene.lmtp));
		say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n");
		answer(&scene, 0, LMTP_OK, NULL);
		say(&scene, "DATA\r\n.\r\n");
		expect(&scene,
		       i == 0 ? "{a@b.example?}{|1||2001:db8::1}250 2.1.0 Ok\r\n"
				"250 2.1.5 Ok\r\n354 End with a dot on a line by itself\r\n"
			      : "{a@b.example?}{|1||}250 2.1.0 Ok\r\n"
				"250 2.1.5 Ok\r\n354 End with a dot on a line by itself\r\n");
		answer(&scene, 0, LMTP_OK, NULL);
		say(&scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n");
		answer(&scene, 0, LMTP_OK, NULL);
		say(&scene, "DATA\r\n.\r\n");
		assert_non_null(strstr(buf_text(&scene.seen), "{|1||}"));
		end(&scene);
	}
}

static void bounds_lines_errors_and_what_waits(void **state)
{
	struct scene scene;
	scoped_str long_line = mem_alloc(3 * LMTP_LINE_MAX);

	(void)state;
	memset(long_line, 'x', 3 * LMTP_LINE_MAX - 1);
	greet(&scene);
	say(&scene, long_line);
	expect(&scene, "500 5.5.6 The line is too long\r\n");
	say(&scene, long_line);
	say(&scene, "\r\nNOOP\r\n");
	expect(&scene, "250 2.0.0 Ok\r\n");
	for (size_t i = 0; i < LMTP_ERRORS_MAX - 1; i++)
		say(&scene, "FOO\r\n");
	assert_false(lmtp_is_ended(scene.lmtp));
	buf_clear(lmtp_output(scene.lmtp));
	say(&scene, "FOO\r\nNOOP\r\n");
	expect(&scene, "500 5.5.1 Unknown command\r\n421 4.7.0 Too many errors\r\n");
	end(&scene);

	to_data(&scene);
	say(&scene, ".\r\n");
	assert_true(lmtp_wants_input(scene.lmtp));
	for (size_t i = 0; lmtp_wants_input(scene.lmtp); i++) {
		assert_true(i < 100000);
		say(&scene, "NOOP\r\n");
	}
	assert_int_equal(lmtp_output(scene.lmtp)->len, 0);
	answer(&scene, 0, LMTP_OK, NULL);
	answer(&scene, 1, LMTP_OK, NULL);
	assert_true(lmtp_wants_input(scene.lmtp));
	end(&scene);

	to_data(&scene);
	say(&scene, ".\r\n");
	for (size_t i = 0; i < 100 && !lmtp_is_ended(scene.lmtp); i++)
		say(&scene, long_line);
	assert_true(lmtp_is_ended(scene.lmtp));
	end(&scene);
}

static void goes_at_the_next_moment_it_may(void **state)
{
	struct scene scene;

	(void)state;
	greet(&scene);
	lmtp_shutdown(scene.lmtp);
	expect(&scene, "421 4.3.2 This server is going down\r\n");
	assert_true(lmtp_is_ended(scene.lmtp));
	end(&scene);

	to_data(&scene);
	lmtp_shutdown(scene.lmtp);
	say(&scene, "x\r\n.\r\n");
	expect(&scene, "{|2|x\r\n|}");
	answer(&scene, 0, LMTP_OK, NULL);
	assert_false(lmtp_is_ended(scene.lmtp));
	answer(&scene, 1, LMTP_OK, NULL);
	expect(&scene, "{reset}250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
		       "421 4.3.2 This server is going down\r\n");
	end(&scene);
}

static void begin_mail(struct scene *scene)
{
	greet(scene);
	scene->is_prompt = true;
	say(scene, "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n");
	buf_clear(lmtp_output(scene->lmtp));
}

/* Each of 40 mails at once is as large as it may be, and there is room for five. The first that
 * finds none gives back what it had. */
static void takes_no_more_mails_at_a_time_than_there_is_room_for(void **state)
{
	enum { SCENES = 40, PIECE = 100 };
	static struct scene scenes[SCENES];
	char piece[PIECE + 1];
	size_t taken = 0, refused = 0;

	(void)state;
	memset(piece, 'x', PIECE);
	memcpy(piece + PIECE - 2, "\r\n", 3);
	room.refused = 0;
	for (size_t i = 0; i < SCENES; i++)
		begin_mail(&scenes[i]);
	for (size_t sent = 0; sent < SIZE_LIMIT; sent += PIECE)
		for (size_t i = 0; i < SCENES; i++) {
			say(&scenes[i], piece);
			assert_true(room.held <= room.max);
		}
	for (size_t i = 0; i < SCENES; i++) {
		say(&scenes[i], ".\r\n");
		const char *out = buf_text(lmtp_output(scenes[i].lmtp));
		taken += strcmp(out, "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n") == 0;
		refused += strcmp(out, "452 4.3.1 No room now, try again later\r\n"
				       "452 4.3.1 No room now, try again later\r\n") == 0;
		buf_clear(lmtp_output(scenes[i].lmtp));
	}
	assert_int_equal(taken + refused, SCENES);
	assert_int_equal(refused, room.refused);
	assert_true(taken > 0 && refused > 0);
	assert_int_equal(room.held, 0);
	say(&scenes[0], "MAIL FROM:<> SIZE=1000\r\nRSET\r\n");
	expect(&scenes[0], "250 2.1.0 Ok\r\n250 2.0.0 Ok\r\n");
	for (size_t i = 0; i < SCENES; i++) {
		lmtp_free(scenes[i].lmtp);
		buf_free(&scenes[i].seen);
	}
}

static void
the_bytes_of_a_mail_hold_room_until_it_is_handed_over_or_whoever_took_them_gives_up(void **state)
{
	struct scene scene;

	(void)state;
	for (int takes = 0; takes < 2; takes++) {
		begin_mail(&scene);
		scene.is_prompt = false;
		scene.takes = takes;
		say(&scene, "abc\r\n.\r\n");
		assert_int_equal(room.held, takes ? 5 : 0);
		answer(&scene, 0, LMTP_OK, NULL);
		answer(&scene, 1, LMTP_OK, NULL);
		assert_int_equal(room.held, takes ? 5 : 0);
		if (takes) {
			assert_memory_equal(scene.taken, "abc\r\n", 5);
			room_free(&room, scene.taken, 5);
		}
		end(&scene);
	}
}

static void what_is_too_large_for_the_room_that_is_left_is_not_begun(void **state)
{
	struct scene one, other;

	(void)state;
	begin_mail(&one);
	begin_mail(&other);
	say(&one, "xxx");
	room.max = 1002; /* 999 are left */
	say(&other, ".\r\nMAIL FROM:<> SIZE=1000\r\nMAIL FROM:<> SIZE=999\r\n");
	expect(&other, "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
		       "452 4.3.1 No room now, try again later\r\n250 2.1.0 Ok\r\n");
	lmtp_free(one.lmtp); /* gone in the middle of its mail */
	buf_free(&one.seen);
	assert_int_equal(room.held, 0);
	room.max = 5000;
	end(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_mail_and_answers_each_recipient),
		cmocka_unit_test(asks_for_pipelined_recipients_together_and_answers_in_order),
		cmocka_unit_test(answers_what_is_no_command_in_order_too),
		cmocka_unit_test(tells_which_recipients_it_has_accepted),
		cmocka_unit_test(drops_answers_that_come_too_late),
		cmocka_unit_test(answers_every_command_in_every_shape),
		cmocka_unit_test(wants_lhlo_first),
		cmocka_unit_test(finds_the_end_of_a_mail_in_any_pieces),
		cmocka_unit_test(refuses_a_mail_that_is_too_large_for_each_recipient),
		cmocka_unit_test(takes_many_recipients_in_one_transaction),
		cmocka_unit_test(forgets_the_client_of_the_mail_before),
		cmocka_unit_test(bounds_lines_errors_and_what_waits),
		cmocka_unit_test(goes_at_the_next_moment_it_may),
		cmocka_unit_test(takes_no_more_mails_at_a_time_than_there_is_room_for),
		cmocka_unit_test(
			the_bytes_of_a_mail_hold_room_until_it_is_handed_over_or_whoever_took_them_gives_up),
		cmocka_unit_test(what_is_too_large_for_the_room_that_is_left_is_not_begun),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
