/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator judges others, so its own parts are tested: what it sends, what it reads, and
 * that it notices each kind of damage. */
#include "tests/bench/stanza.h"
#include "tests/bench/tally.h"
#include "tests/bench/traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static const struct traffic_options federated = { .pairs = 50,
						  .native_a = "im.a.example",
						  .native_b = "im.b.example",
						  .federated = "example.com" };

/* A text, how it is read, how much of it is used, and what stands between its tags. */
static const struct {
	const char *text;
	enum hr_status status;
	size_t used;
	const char *tag, *inner;
} stanzas[] = {
	{ "<a/>", HR_OK, 4, "a", "" },
	{ " \n<a b='c'/><d/>", HR_OK, 12, "a b='c'", "" },
	{ "<a><b/><c>d</c></a>rest", HR_OK, 19, "a", "<b/><c>d</c>" },
	{ "<a><a><a/></a></a>", HR_OK, 18, "a", "<a><a/></a>" },
	{ "<a b='>' c=\"'>\">text</a>", HR_OK, 24, "a b='>' c=\"'>\"", "text" },
	{ "<a b='/'>text</a>", HR_OK, 17, "a b='/'", "text" },
	{ "", HR_NONE, 0, NULL, NULL },
	{ "  ", HR_NONE, 0, NULL, NULL },
	{ "<", HR_NONE, 0, NULL, NULL },
	{ "<a", HR_NONE, 0, NULL, NULL },
	{ "<a b='", HR_NONE, 0, NULL, NULL },
	{ "<a b='>", HR_NONE, 0, NULL, NULL },
	{ "<a><b></b>", HR_NONE, 0, NULL, NULL },
	{ "<a></a", HR_NONE, 0, NULL, NULL },
	{ "</stream:stream>", HR_FAIL, 0, NULL, NULL },
	{ "text<a/>", HR_FAIL, 0, NULL, NULL },
	{ "<!-- no --><a/>", HR_FAIL, 0, NULL, NULL },
	{ "<a><![CDATA[</a>]]></a>", HR_FAIL, 0, NULL, NULL },
};

static void finds_the_bounds_of_a_stanza(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stanzas) / sizeof(stanzas[0]); i++) {
		struct stanza stanza;
		struct hr_err err;
		size_t used;

		assert_int_equal(stanza_next(slice_str(stanzas[i].text), &stanza, &used, &err),
				 stanzas[i].status);
		if (stanzas[i].status != HR_OK)
			continue;
		assert_int_equal(used, stanzas[i].used);
		assert_true(slice_is(stanza.tag, stanzas[i].tag));
		assert_true(slice_is(stanza.inner, stanzas[i].inner));
	}
}

static void reads_attributes_in_either_quote(void **state)
{
	struct slice tag = slice_lit("iq type=\"get\" id = 'a\"b'\tto=''");

	(void)state;
	assert_true(slice_is(stanza_name(tag), "iq"));
	assert_true(slice_is(stanza_attribute(tag, "type"), "get"));
	assert_true(slice_is(stanza_attribute(tag, "id"), "a\"b"));
	assert_true(slice_is(stanza_attribute(tag, "to"), ""));
	assert_null(stanza_attribute(tag, "from").data);
	assert_null(stanza_attribute(slice_lit("a b=c d='e'"), "d").data);
}

static void reads_the_beginning_of_a_stream(void **state)
{
	const char *text = "<?xml version='1.0'?>\n"
			   "<stream:stream xmlns='jabber:component:accept' id='7'>";
	struct slice tag;
	struct hr_err err;
	size_t used;

	(void)state;
	for (size_t len = 0; len < strlen(text); len++)
		assert_int_equal(stanza_stream((struct slice){ text, len }, &tag, &used, &err),
				 HR_NONE);
	assert_int_equal(stanza_stream(slice_str(text), &tag, &used, &err), HR_OK);
	assert_int_equal(used, strlen(text));
	assert_true(slice_is(stanza_attribute(tag, "id"), "7"));
	assert_int_equal(stanza_stream(slice_lit("<iq/>"), &tag, &used, &err), HR_FAIL);
}

/* What the far side must see of message 7 of `federated`, with one part of it replaced. */
static enum hr_status check_with(const char *part, const char *instead)
{
	char text[TRAFFIC_SPACE], from[128], to[128];
	struct traffic *traffic;
	struct traffic_seen seen;
	struct stanza stanza;
	struct hr_err err;
	size_t used;

	assert_int_equal(traffic_new(&federated, &traffic, &err), HR_OK);
	size_t len = traffic_write(traffic, 7, 123456789, text);
	assert_int_equal(stanza_next((struct slice){ text, len }, &stanza, &used, &err), HR_OK);
	struct slice id = stanza_attribute(stanza.tag, "id");
	assert_int_equal(traffic_read(traffic, id, &seen, &err), HR_OK);
	assert_int_equal(seen.number, 7);
	assert_int_equal(seen.due_ns, 123456789);

	struct traffic_person a = traffic_person(2 * seen.pair);
	struct traffic_person b = traffic_person(2 * seen.pair + 1);
	struct slice sent = stanza_attribute(stanza.tag, "from");
	const char *resource = memchr(sent.data, '/', sent.len);
	snprintf(from, sizeof(from), "%s@example.com%.*s", a.address,
		 (int)(sent.data + sent.len - resource), resource);
	snprintf(to, sizeof(to), "%s@im.b.example", b.native);
	if (strcmp(part, "inner") == 0)
		text[stanza.inner.data - text + 20] ^= 1;
	enum hr_status status = traffic_check(
		traffic, &seen, slice_str(strcmp(part, "from") == 0 ? instead : from),
		slice_str(strcmp(part, "to") == 0 ? instead : to), stanza.inner, &err);
	traffic_free(traffic);
	return status;
}

static void accepts_what_was_sent_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(check_with("", ""), HR_OK);
	assert_int_equal(check_with("inner", ""), HR_FAIL);
	assert_int_equal(check_with("from", "x000002@im.a.example/Phone"), HR_FAIL);
	assert_int_equal(check_with("to", "x000001@im.b.example"), HR_FAIL);
}

static void every_stanza_has_the_same_length(void **state)
{
	const struct traffic_options options[] = {
		federated,
		{ .pairs = 5000, .native_a = "talk.a.example", .native_b = "talk.b.example" },
	};
	char text[TRAFFIC_SPACE];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct traffic *traffic;
		struct hr_err err;

		assert_int_equal(traffic_new(&options[i], &traffic, &err), HR_OK);
		for (uint64_t number = 0; number < 2000; number++)
			assert_int_equal(traffic_write(traffic, number, number * 77, text),
					 TRAFFIC_STANZA);
		traffic_free(traffic);
	}
}

static void refuses_names_that_do_not_fit(void **state)
{
	struct traffic_options options = federated;
	struct traffic *traffic;
	struct hr_err err;

	(void)state;
	options.native_a = "a.domain.name.that.is.far.too.long.example";
	assert_int_equal(traffic_new(&options, &traffic, &err), HR_FAIL);
}

static void refuses_ids_that_are_not_ours(void **state)
{
	static const char *const ids[] = { "", "1", "0123", "zz345678-1234-1234-1234-123456789012",
					   "12345678-1234-1234-1234-1234567890123" };
	struct traffic *traffic;
	struct traffic_seen seen;
	struct hr_err err;

	(void)state;
	assert_int_equal(traffic_new(&federated, &traffic, &err), HR_OK);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		assert_int_equal(traffic_read(traffic, slice_str(ids[i]), &seen, &err), HR_FAIL);
	traffic_free(traffic);
}

static void counts_lost_twice_overtaken_and_stray(void **state)
{
	struct tally tally = { 0 };

	(void)state;
	tally_begin(&tally, 100, 2);
	tally.sent = 5;
	assert_true(tally_seen(&tally, 100, 0));
	assert_true(tally_seen(&tally, 103, 0));
	assert_true(tally_seen(&tally, 102, 1)); /* of another conversation: in order */
	assert_true(tally_seen(&tally, 101, 0)); /* overtaken by 103 */
	assert_false(tally_seen(&tally, 103, 0));
	assert_false(tally_seen(&tally, 99, 0));
	assert_false(tally_seen(&tally, 105, 0));
	assert_int_equal(tally.received, 4);
	assert_int_equal(tally.disordered, 1);
	assert_int_equal(tally.duplicates, 1);
	assert_int_equal(tally.strays, 2);
	tally_free(&tally);
}

static void tells_quantiles(void **state)
{
	struct tally tally = { 0 };

	(void)state;
	tally_begin(&tally, 0, 1);
	assert_int_equal(tally_quantile(&tally, 0.5), 0);
	for (int i = 100; i > 0; i--)
		tally_late(&tally, i);
	tally_late(&tally, -5);
	assert_int_equal(tally_quantile(&tally, 0), 0);
	assert_int_equal(tally_quantile(&tally, 0.5), 50);
	assert_int_equal(tally_quantile(&tally, 0.99), 99);
	assert_int_equal(tally_quantile(&tally, 1), 100);
	tally_free(&tally);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_bounds_of_a_stanza),
		cmocka_unit_test(reads_attributes_in_either_quote),
		cmocka_unit_test(reads_the_beginning_of_a_stream),
		cmocka_unit_test(accepts_what_was_sent_and_nothing_else),
		cmocka_unit_test(every_stanza_has_the_same_length),
		cmocka_unit_test(refuses_names_that_do_not_fit),
		cmocka_unit_test(refuses_ids_that_are_not_ours),
		cmocka_unit_test(counts_lost_twice_overtaken_and_stray),
		cmocka_unit_test(tells_quantiles),
	};

	return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
