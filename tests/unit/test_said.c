/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/said.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define RECEIPT(what) "<" what " xmlns='urn:xmpp:receipts'/>"
#define STANZAS " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"

static void expect_text(const char *payload, const char *what, const char *got, const char *wanted)
{
	if (strcmp(got ? got : "-", wanted ? wanted : "-") != 0)
		fail_msg("%s of %s: %s", what, payload, got ? got : "-");
}

static void what_mail_and_receipts_are_about_is_found(void **state)
{
	static const struct {
		const char *payload;
		struct {
			const char *body, *subject, *thread, *receipt_of, *error;
			bool asks;
		} said;
	} rows[] = {
		{ "", {} },
		{ "<body>Hello</body>", { .body = "Hello" } },
		{ "<body>a &amp; b &lt;c&gt; &#x20AC;</body>", { .body = "a & b <c> €" } },
		{ "<body>one</body><body xml:lang='de'>eins</body>", { .body = "one" } },
		{ "<body xmlns='jabber:client'>x</body><thread>t1</thread><subject>s</subject>",
		  { .body = "x", .subject = "s", .thread = "t1" } },
		{ "<body>x</body>" RECEIPT("request"), { .body = "x", .asks = true } },
		{ "<received xmlns='urn:xmpp:receipts' id='m&apos;1'/>", { .receipt_of = "m'1" } },
		{ "<received xmlns='urn:xmpp:receipts'/>", {} },
		/* not where it counts */
		{ "<composing xmlns='http://jabber.org/protocol/chatstates'/>", {} },
		{ "<x xmlns='jabber:client'><body>no</body></x>", {} },
		{ "<body xmlns='other'>no</body>", {} },
		{ "<body>a<b xmlns='x'>b</b>c</body>", { .body = "ac" } },
		{ "<error type='wait'><remote-server-timeout" STANZAS "/></error>",
		  { .error = "remote-server-timeout" } },
		{ "<body>x</body><error type='wait'><gone" STANZAS "/><text" STANZAS
		  ">Moved</text></error>",
		  { .body = "x", .error = "Moved" } },
		/* broken: what came before */
		{ "<body>x</body><broken", { .body = "x" } },
		{ "<body>x</body></x><body>evil</body>", { .body = "x" } },
		{ "<body>never ends", {} },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		const char *payload = rows[i].payload;
		scoped_said said = { 0 };

		said_read(slice_str(payload), &said);
		expect_text(payload, "body", said.body, rows[i].said.body);
		expect_text(payload, "subject", said.subject, rows[i].said.subject);
		expect_text(payload, "thread", said.thread, rows[i].said.thread);
		expect_text(payload, "receipt", said.receipt_of, rows[i].said.receipt_of);
		expect_text(payload, "error", said.error, rows[i].said.error);
		assert_int_equal(said.asks, rows[i].said.asks);
	}
}

static void a_text_is_whole_however_long(void **state)
{
	scoped_buf payload = BUF_INIT(0);
	scoped_said said = { 0 };

	(void)state;
	buf_add_str(&payload, "<body>");
	for (int i = 0; i < 10000; i++)
		buf_format(&payload, "line %04d of a long text\n", i);
	buf_add_str(&payload, "</body>");
	said_read(buf_slice(&payload), &said);
	assert_int_equal(strlen(said.body), payload.len - strlen("<body></body>"));
	assert_non_null(strstr(said.body, "line 9999 of"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_mail_and_receipts_are_about_is_found),
		cmocka_unit_test(a_text_is_whole_however_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
