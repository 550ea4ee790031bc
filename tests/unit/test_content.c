/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/content.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* One parser for all rows: what a row leaves behind must not matter to the next. */
static const struct {
	const char *payload;
	const char *why; /* part of the reason; NULL: fine */
} rows[] = {
	{ "", NULL },
	{ "<body>hi</body>", NULL },
	{ "<body/><x xmlns='jabber:x:oob'><url>http://a/</url></x> text &amp; &#9; &lt;", NULL },
	{ "<a:b xmlns:a='urn:a' a:c='d'/>", NULL },
	{ "<body><![CDATA[</message><message>]]></body>", NULL },
	{ "<message from='boss@example.com'/>", NULL },
	{ "<body/></message><message from='boss@example.com' to='ada@im.example'>",
	  "mismatched tag" },
	{ "<body/></x><x>", "junk" },
	{ "</x>", "not well-formed" },
	{ "<body>", "mismatched tag" },
	{ "</body>", "mismatched tag" },
	{ "<a><b></a></b>", "mismatched tag" },
	{ "<body", "not well-formed" },
	{ "<body a='", "" },
	{ "<body a='1' a='2'/>", "duplicate attribute" },
	{ "<![CDATA[", "unclosed CDATA" },
	{ "]]>", "not well-formed" },
	{ "a & b", "not well-formed" },
	{ "&boss;", "undefined entity" },
	{ "&#0;", "invalid character" },
	{ "\x01", "not well-formed" },
	{ "\xff", "not well-formed" },
	{ "<a:b/>", "unbound prefix" },
	{ "<stream:error/>", "unbound prefix" },
	{ "<!-- -->", "comment" },
	{ "<?php ?>", "processing instruction" },
	{ "<?xml version='1.0'?>", "declaration not at start" },
	{ "<!DOCTYPE x [<!ENTITY a 'b'>]>", "not well-formed" },
	{ "<body>bye</body>", NULL },
};

static void expect(struct content *content, struct slice payload, const char *why)
{
	struct hr_err err = { 0 };
	enum hr_status got = content_check(content, payload, &err);

	if (got != (why ? HR_FAIL : HR_OK) || (why && !strstr(err.text, why)))
		fail_msg(SLICE_FMT ": %s, %s", SLICE_ARG(payload), hr_status_name(got), err.text);
}

static void tells_what_may_stand_in_a_stanza(void **state)
{
	struct content *content = content_new();

	(void)state;
	for (size_t i = 0; i < countof(rows); i++)
		expect(content, slice_str(rows[i].payload), rows[i].why);
	expect(content, slice_lit("a\0b"), "not well-formed");
	content_free(content);
}

static void bounds_the_depth(void **state)
{
	struct content *content = content_new();

	(void)state;
	for (size_t depth = CONTENT_DEPTH_MAX; depth <= CONTENT_DEPTH_MAX + 2; depth++) {
		scoped_buf payload = BUF_INIT(0);
		for (size_t i = 0; i < depth; i++)
			buf_add_str(&payload, "<a>");
		for (size_t i = 0; i < depth; i++)
			buf_add_str(&payload, "</a>");
		expect(content, buf_slice(&payload),
		       depth > CONTENT_DEPTH_MAX ? "nested too deep" : NULL);
	}
	content_free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_may_stand_in_a_stanza),
		cmocka_unit_test(bounds_the_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
