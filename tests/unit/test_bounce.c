/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const usec noon = 1790000000 * INT64_C(1000000) + 123456;

static const struct envelope_fields whole = {
	.id = { "0123456789abcdef", 16 },
	.kind = ENVELOPE_IQ,
	.type = { "get", 3 },
	.stanza_id = { "x é\t1", 6 },
	.from = { "ada@example.com/Büro", 21 },
	.to = { "bob@example.com", 15 },
	.lang = { "en-GB", 5 },
	.payload = { "<query xmlns='a'>\n</query>", 26 },
	.received = 1790000000000001,
	.expires = 1790000000000002,
	.hops = { { "amsterdam", 9 }, { "boston", 6 } },
	.hop_count = 2,
};

static void knows_every_reason_of_a_bounce(void **state)
{
	(void)state;
	static const struct {
		const char *condition, *type;
	} rows[BOUNCES] = {
		{ "item-not-found", "cancel" },	     { "not-allowed", "cancel" },
		{ "remote-server-timeout", "wait" }, { "resource-constraint", "wait" },
		{ "recipient-unavailable", "wait" }, { "service-unavailable", "cancel" },
		{ "policy-violation", "modify" },    { "bad-request", "modify" },
	};
	for (enum bounce bounce = 0; bounce < BOUNCES; bounce++) {
		assert_string_equal(bounce_condition(bounce), rows[bounce].condition);
		assert_string_equal(bounce_type(bounce), rows[bounce].type);
	}
}

static void answers_only_what_may_be_answered(void **state)
{
	(void)state;
	static const struct {
		enum envelope_kind kind;
		const char *type;
		bool answered;
	} rows[] = {
		{ ENVELOPE_MESSAGE, "", true },
		{ ENVELOPE_MESSAGE, "chat", true },
		{ ENVELOPE_MESSAGE, "groupchat", true },
		{ ENVELOPE_MESSAGE, "headline", true },
		{ ENVELOPE_MESSAGE, "error", false },
		{ ENVELOPE_PRESENCE, "", false },
		{ ENVELOPE_PRESENCE, "unavailable", false },
		{ ENVELOPE_PRESENCE, "subscribe", true },
		{ ENVELOPE_PRESENCE, "subscribed", false },
		{ ENVELOPE_PRESENCE, "unsubscribe", false },
		{ ENVELOPE_PRESENCE, "unsubscribed", false },
		{ ENVELOPE_PRESENCE, "probe", true },
		{ ENVELOPE_PRESENCE, "error", false },
		{ ENVELOPE_IQ, "get", true },
		{ ENVELOPE_IQ, "set", true },
		{ ENVELOPE_IQ, "result", false },
		{ ENVELOPE_IQ, "error", false },
		{ ENVELOPE_IQ, "", false },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct envelope_fields fields = whole;
		scoped(envelope) bounce = NULL;
		fields.kind = rows[i].kind;
		fields.type = slice_str(rows[i].type);
		scoped(envelope) made = envelope_new(&fields);
		assert_int_equal(envelope_is_error(made), strcmp(rows[i].type, "error") == 0);
		assert_int_equal(envelope_bounce(made, BOUNCE_NOT_ALLOWED, "no", noon, &bounce),
				 rows[i].answered ? HR_OK : HR_NONE);
		if (!rows[i].answered)
			continue;
		assert_int_equal(bounce->f.kind, rows[i].kind);
		assert_true(envelope_is_error(bounce));
		scoped(envelope) again = NULL;
		assert_int_equal(envelope_bounce(bounce, BOUNCE_NOT_ALLOWED, "no", noon, &again),
				 HR_NONE);
	}
}

static void nobody_is_told_what_becomes_of_a_copy(void **state)
{
	(void)state;
	struct envelope_fields fields = whole;
	scoped(envelope) bounce = NULL;

	fields.kind = ENVELOPE_MESSAGE;
	fields.type = slice_lit("chat");
	fields.is_copy = true;
	scoped(envelope) copy = envelope_new(&fields);
	assert_int_equal(envelope_bounce(copy, BOUNCE_NOT_ALLOWED, "no", noon, &bounce), HR_NONE);
}

static void answers_the_sender_in_the_words_of_rfc_6120(void **state)
{
	(void)state;
	struct hr_err err;
	scoped(envelope) made = envelope_new(&whole);
	scoped(envelope) bounce = NULL;
	scoped(envelope) back = NULL;

	assert_int_equal(
		envelope_bounce(made, BOUNCE_ITEM_NOT_FOUND, "no <b> & \"q\" 'é'", noon, &bounce),
		HR_OK);
	struct envelope_fields expected = {
		.id = bounce->f.id,
		.kind = ENVELOPE_IQ,
		.type = slice_lit("error"),
		.stanza_id = whole.stanza_id,
		.from = whole.to,
		.to = whole.from,
		.payload =
			slice_lit("<error type='cancel'>"
				  "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
				  "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>"
				  "no &lt;b&gt; &amp; &quot;q&quot; &apos;é&apos;</text></error>"),
		.received = noon,
		.expires = noon + 1,
	};
	scoped(envelope) same = envelope_new(&expected);
	assert_true(slice_eq(bounce->packed, same->packed));
	assert_false(slice_eq(bounce->f.id, made->f.id));
	assert_int_equal(envelope_unpack(bounce->packed, &back, &err), HR_OK);
}

static void says_nothing_more_when_there_is_no_text(void **state)
{
	(void)state;
	static const char *const texts[] = { NULL, "", "\xff", "\x01" };
	scoped(envelope) made = envelope_new(&whole);

	for (size_t i = 0; i < countof(texts); i++) {
		scoped(envelope) bounce = NULL;
		assert_int_equal(envelope_bounce(made, BOUNCE_BAD_REQUEST, texts[i], noon, &bounce),
				 HR_OK);
		assert_true(slice_is(
			bounce->f.payload,
			"<error type='modify'>"
			"<bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"));
	}
}

static void cuts_a_long_text_between_characters(void **state)
{
	(void)state;
	char text[2001] = "";
	scoped(envelope) made = envelope_new(&whole);
	scoped(envelope) bounce = NULL;
	scoped(envelope) back = NULL;
	struct hr_err err;

	for (size_t i = 0; i + 3 <= 2000; i += 3)
		memcpy(text + i, "<\xc3\xa9", 3);
	assert_int_equal(envelope_bounce(made, BOUNCE_NOT_ALLOWED, text, noon, &bounce), HR_OK);
	assert_int_equal(envelope_unpack(bounce->packed, &back, &err), HR_OK);
	struct slice end = bounce->f.payload;
	assert_true(end.len < 3000);
	end = (struct slice){ end.data + end.len - 15, 15 };
	assert_true(slice_is(end, "</text></error>"));
}

static void lets_an_answer_live_as_long_as_its_question(void **state)
{
	(void)state;
	struct envelope_fields fields = whole;
	scoped(envelope) a = NULL;
	scoped(envelope) b = NULL;

	fields.received = noon;
	fields.expires = noon + 3600;
	scoped(envelope) bounded = envelope_new(&fields);
	fields.expires = 0;
	scoped(envelope) unbounded = envelope_new(&fields);
	assert_int_equal(envelope_bounce(bounded, BOUNCE_NOT_ALLOWED, "", noon + 9, &a), HR_OK);
	assert_int_equal(a->f.expires, noon + 9 + 3600);
	assert_int_equal(envelope_bounce(unbounded, BOUNCE_NOT_ALLOWED, "", noon, &b), HR_OK);
	assert_int_equal(b->f.expires, noon + 7 * 24 * 3600 * INT64_C(1000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_every_reason_of_a_bounce),
		cmocka_unit_test(answers_only_what_may_be_answered),
		cmocka_unit_test(nobody_is_told_what_becomes_of_a_copy),
		cmocka_unit_test(answers_the_sender_in_the_words_of_rfc_6120),
		cmocka_unit_test(says_nothing_more_when_there_is_no_text),
		cmocka_unit_test(cuts_a_long_text_between_characters),
		cmocka_unit_test(lets_an_answer_live_as_long_as_its_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
