/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/envelope.h"
#include "federation/wire.pb-c.h"

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
	.is_copy = true,
};

static const struct envelope_fields bare = {
	.from = { "a", 1 },
	.to = { "b", 1 },
};

static void expect_same(const struct envelope_fields *a, const struct envelope_fields *b)
{
	assert_true(slice_eq(a->id, b->id));
	assert_int_equal(a->kind, b->kind);
	assert_true(slice_eq(a->type, b->type));
	assert_true(slice_eq(a->stanza_id, b->stanza_id));
	assert_true(slice_eq(a->from, b->from));
	assert_true(slice_eq(a->to, b->to));
	assert_true(slice_eq(a->lang, b->lang));
	assert_true(slice_eq(a->payload, b->payload));
	assert_int_equal(a->received, b->received);
	assert_int_equal(a->expires, b->expires);
	assert_int_equal(a->is_copy, b->is_copy);
	assert_int_equal(a->hop_count, b->hop_count);
	for (size_t i = 0; i < a->hop_count; i++)
		assert_true(slice_eq(a->hops[i], b->hops[i]));
}

static void expect_inside(const struct envelope *envelope)
{
	const char *begin = (const char *)envelope, *end = envelope->packed.data;

	end += envelope->packed.len;
	assert_true(envelope->f.from.data > begin && envelope->f.from.data < end);
	assert_true(envelope->f.to.data > begin && envelope->f.to.data < end);
	assert_true(envelope->f.id.data > begin && envelope->f.id.data + ENVELOPE_ID_LEN <= end);
}

static void comes_back_from_its_packed_form(void **state)
{
	(void)state;
	static const struct envelope_fields *const all[] = { &whole, &bare };
	for (size_t i = 0; i < countof(all); i++) {
		struct hr_err err;
		struct envelope_fields expected = *all[i];
		scoped(envelope) made = envelope_new(all[i]);
		scoped(envelope) back = NULL;
		if (expected.id.len == 0)
			expected.id = made->f.id;
		expect_same(&made->f, &expected);
		expect_inside(made);
		assert_int_equal(envelope_unpack(made->packed, &back, &err), HR_OK);
		expect_same(&back->f, &expected);
		expect_inside(back);
		assert_true(slice_eq(back->packed, made->packed));
		assert_true(back->packed.data != made->packed.data);
	}
}

/* The reading is ours, so it is held against the library's. */
static void reads_what_protobuf_reads(void **state)
{
	(void)state;
	scoped(envelope) made = envelope_new(&whole);
	Hedgerow__Wire__Envelope *wire = hedgerow__wire__envelope__unpack(
		NULL, made->packed.len, (const uint8_t *)made->packed.data);

	assert_non_null(wire);
	const ProtobufCBinaryData *theirs[] = { &wire->id,	&wire->type,	&wire->stanza_id,
						&wire->from,	&wire->to,	&wire->lang,
						&wire->payload, &wire->hops[0], &wire->hops[1] };
	const struct slice ours[] = { made->f.id,      made->f.type,	made->f.stanza_id,
				      made->f.from,    made->f.to,	made->f.lang,
				      made->f.payload, made->f.hops[0], made->f.hops[1] };
	for (size_t i = 0; i < countof(ours); i++)
		assert_true(slice_eq(
			ours[i], (struct slice){ (const char *)theirs[i]->data, theirs[i]->len }));
	assert_int_equal(wire->kind, HEDGEROW__WIRE__KIND__IQ);
	assert_int_equal(wire->received, whole.received);
	assert_int_equal(wire->expires, whole.expires);
	assert_int_equal(wire->n_hops, 2);
	hedgerow__wire__envelope__free_unpacked(wire, NULL);
}

/* The kinds of envelope have the numbers of the wire. */
static void has_the_kinds_of_the_wire(void **state)
{
	(void)state;
	assert_int_equal(ENVELOPE_MESSAGE, HEDGEROW__WIRE__KIND__MESSAGE);
	assert_int_equal(ENVELOPE_PRESENCE, HEDGEROW__WIRE__KIND__PRESENCE);
	assert_int_equal(ENVELOPE_IQ, HEDGEROW__WIRE__KIND__IQ);
	assert_string_equal(envelope_kind_name(ENVELOPE_MESSAGE), "message");
	assert_string_equal(envelope_kind_name(ENVELOPE_PRESENCE), "presence");
	assert_string_equal(envelope_kind_name(ENVELOPE_IQ), "iq");
}

#define ID         \
	"\x0a\x10" \
	"0123456789abcdef"
#define ENDS       \
	"\x2a\x01" \
	"a"        \
	"\x32\x01" \
	"b"

static void reads_fields_in_any_order_and_skips_unknown_ones(void **state)
{
	(void)state;
	static const struct slice good[] = {
		slice_lit(ID ENDS),
		slice_lit(ENDS ID),
		slice_lit(ID "\x2a\x01"
			     "x" ENDS),	       /* from twice: the last counts */
		slice_lit(ID ENDS "\x10\x00"), /* kind, spelled out */
		slice_lit(ID ENDS "\x6a\x03"
				  "new"), /* field 13, bytes */
		slice_lit(ID ENDS "\x68\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* varint */
		slice_lit(ID ENDS "\x69"
				  "12345678"), /* 64 bits */
		slice_lit(ID ENDS "\x6d"
				  "1234"), /* 32 bits */
		slice_lit(ID ENDS "\xfa\xff\xff\xff\x0f\x01"
				  "x"), /* field 2^29 - 1 */
		slice_lit(ID "\x2a\x81\x80\x00"
			     "a"
			     "\x32\x01"
			     "b"), /* a long way to write 1 */
	};
	for (size_t i = 0; i < countof(good); i++) {
		scoped(envelope) envelope = NULL;
		struct hr_err err;
		if (envelope_unpack(good[i], &envelope, &err) != HR_OK)
			fail_msg("row %zu: %s", i, err.text);
		assert_true(slice_is(envelope->f.from, "a"));
		assert_true(slice_is(envelope->f.to, "b"));
		assert_true(slice_eq(envelope->packed, good[i]));
	}
}

static void refuses_bytes_that_are_no_envelope(void **state)
{
	(void)state;
	static const struct {
		struct slice packed;
		const char *complaint;
	} rows[] = {
		{ { 0 }, "from is empty" },
		{ slice_lit(ENDS), "id is missing" },
		{ slice_lit("\x0a\x0f"
			    "0123456789abcde" ENDS),
		  "id is not 16 bytes" },
		{ slice_lit("\x0a\x11"
			    "0123456789abcdefg" ENDS),
		  "id is too long" },
		{ slice_lit(ID "\x2a\x01"
			       "a"),
		  "to is empty" },
		{ slice_lit(ID ENDS "\x2a\x00"), "from is empty" },
		{ slice_lit(ID ENDS "\x10\x03"), "kind" },
		{ slice_lit(ID ENDS "\x60\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), "protobuf" },
		{ slice_lit(ID ENDS "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "kind" },
		{ slice_lit(ID ENDS "\x1a\x02"
				    "a b"),
		  "protobuf" }, /* a stray byte */
		{ slice_lit(ID ENDS "\x1a\x03"
				    "a b"),
		  "type has a forbidden" },
		{ slice_lit(ID ENDS "\x1a\x02"
				    "\xc3\xa9"),
		  "type has a forbidden" },
		{ slice_lit(ID ENDS "\x22\x01"
				    "\x01"),
		  "stanza_id has a forbidden" },
		{ slice_lit(ID ENDS "\x2a\x01"
				    "\xff"),
		  "from has a forbidden" },
		{ slice_lit(ID ENDS "\x32\x01"
				    "\0"),
		  "to has a forbidden" },
		{ slice_lit(ID ENDS "\x3a\x01"
				    " "),
		  "lang has a forbidden" },
		{ slice_lit(ID ENDS "\x42\x03"
				    "\xed\xa0\x80"),
		  "payload has a forbidden" },
		{ slice_lit(ID ENDS "\x49\xff\xff\xff\xff\xff\xff\xff\xff"), "out of range" },
		{ slice_lit(ID ENDS "\x51\x00\x00\x00\x00\x00\x00\x00\x80"), "out of range" },
		{ slice_lit(ID ENDS "\x5a\x00"), "hops name no site" },
		{ slice_lit(ID ENDS "\x5a\x01"
				    "\n"),
		  "hops name no site" },
		{ slice_lit(ID ENDS "\x0a"), "protobuf" },     /* no length */
		{ slice_lit(ID ENDS "\x0a\x80"), "protobuf" }, /* a length cut short */
		{ slice_lit(ID ENDS "\x0a\x02"
				    "x"),
		  "protobuf" }, /* a value cut short */
		{ slice_lit(ID ENDS "\x49"
				    "1234567"),
		  "protobuf" },
		{ slice_lit(ID ENDS "\x6d"
				    "123"),
		  "protobuf" },
		{ slice_lit(ID ENDS "\x68\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		  "protobuf" },
		{ slice_lit(ID ENDS "\x6a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "protobuf" },
		{ slice_lit(ID ENDS "\x6a\xff\xff\xff\xff\x0f"),
		  "protobuf" }, /* 4 GB follow, it says */
		{ slice_lit(ID ENDS "\x02\x01"
				    "x"),
		  "protobuf" },				   /* field 0 */
		{ slice_lit(ID ENDS "\x63"), "protobuf" }, /* a group */
		{ slice_lit(ID ENDS "\x66"), "protobuf" },
		{ slice_lit(ID ENDS "\xff\xff\xff\xff\x7f\x01"), "protobuf" },
		{ slice_lit(ID ENDS "\x08\x01"), "another type" }, /* id as a varint */
		{ slice_lit(ID ENDS "\x12\x01"
				    "x"),
		  "another type" },				   /* kind as bytes */
		{ slice_lit(ID ENDS "\x48\x01"), "another type" }, /* received as a varint */
		{ slice_lit(ID ENDS "\x5d"
				    "1234"),
		  "another type" }, /* hops as 32 bits */
	};
	for (size_t i = 0; i < countof(rows); i++) {
		scoped(envelope) envelope = NULL;
		struct hr_err err = { 0 };
		assert_int_equal(envelope_unpack(rows[i].packed, &envelope, &err), HR_FAIL);
		assert_null(envelope);
		if (!strstr(err.text, rows[i].complaint))
			fail_msg("row %zu: %s", i, err.text);
	}
}

/* Every beginning of an envelope is refused or is one by itself, and none is read past its end. */
static void survives_being_cut_anywhere(void **state)
{
	(void)state;
	scoped(envelope) made = envelope_new(&whole);

	for (size_t len = 0; len < made->packed.len; len++) {
		scoped(envelope) envelope = NULL;
		scoped_str exact = malloc(len ? len : 1);
		struct hr_err err;
		memcpy(exact, made->packed.data, len);
		enum hr_status status =
			envelope_unpack((struct slice){ exact, len }, &envelope, &err);
		assert_true(status == HR_FAIL || (status == HR_OK && envelope->f.to.len > 0));
	}
}

static void bounds_every_size(void **state)
{
	(void)state;
	static const struct {
		size_t at, max;
	} rows[] = {
		{ offsetof(struct envelope_fields, type), ENVELOPE_WORD_MAX },
		{ offsetof(struct envelope_fields, stanza_id), ENVELOPE_STANZA_ID_MAX },
		{ offsetof(struct envelope_fields, from), ENVELOPE_ADDRESS_MAX },
		{ offsetof(struct envelope_fields, to), ENVELOPE_ADDRESS_MAX },
		{ offsetof(struct envelope_fields, lang), ENVELOPE_WORD_MAX },
		{ offsetof(struct envelope_fields, payload), ENVELOPE_PAYLOAD_MAX },
	};
	scoped_str text = mem_alloc(ENVELOPE_PACKED_MAX + 1);
	struct hr_err err;

	memset(text, 'x', ENVELOPE_PACKED_MAX);
	text[ENVELOPE_BARE_MAX] = '/';
	for (size_t i = 0; i < countof(rows); i++)
		for (size_t over = 0; over <= 1; over++) {
			struct envelope_fields fields = whole;
			scoped(envelope) back = NULL;
			*(struct slice *)((char *)&fields + rows[i].at) =
				(struct slice){ text, rows[i].max + over };
			assert_int_equal(envelope_check(&fields, &err), over ? HR_FAIL : HR_OK);
			scoped(envelope) made = envelope_new(&fields);
			assert_int_equal(envelope_unpack(made->packed, &back, &err),
					 over ? HR_FAIL : HR_OK);
		}

	scoped(envelope) back = NULL;
	text[0] = '\x6a'; /* an unknown field, so large that only the whole size can stop it */
	assert_int_equal(
		envelope_unpack((struct slice){ text, ENVELOPE_PACKED_MAX + 1 }, &back, &err),
		HR_FAIL);
	assert_non_null(strstr(err.text, "too many"));
}

static void an_address_without_its_resource_is_shorter(void **state)
{
	(void)state;
	scoped_str text = mem_alloc(ENVELOPE_BARE_MAX + 1);
	struct hr_err err;

	memset(text, 'x', ENVELOPE_BARE_MAX + 1);
	for (size_t over = 0; over <= 1; over++) {
		struct slice address = { text, ENVELOPE_BARE_MAX + over };
		struct envelope_fields from = whole, to = whole;

		from.from = to.to = address;
		assert_int_equal(envelope_check(&from, &err), over ? HR_FAIL : HR_OK);
		assert_int_equal(envelope_check(&to, &err), over ? HR_FAIL : HR_OK);
	}
}

/* The largest that may come in has room for its hops. */
static void carries_the_largest_of_everything(void **state)
{
	(void)state;
	scoped_str text = mem_alloc(ENVELOPE_PAYLOAD_MAX);
	scoped_str site = mem_alloc(ENVELOPE_SITE_MAX + 1);
	struct hr_err err;

	memset(text, 'x', ENVELOPE_PAYLOAD_MAX);
	text[ENVELOPE_BARE_MAX] = '/';
	scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
		.type = { text, ENVELOPE_WORD_MAX },
		.stanza_id = { text, ENVELOPE_STANZA_ID_MAX },
		.from = { text, ENVELOPE_ADDRESS_MAX },
		.to = { text, ENVELOPE_ADDRESS_MAX },
		.lang = { text, ENVELOPE_WORD_MAX },
		.payload = { text, ENVELOPE_PAYLOAD_MAX },
		.received = noon,
		.expires = noon,
	});
	for (int i = 0; i < ENVELOPE_HOPS_MAX; i++) {
		struct envelope *next;
		scoped(envelope) back = NULL;
		memset(site, 'a' + i, ENVELOPE_SITE_MAX);
		assert_int_equal(envelope_hop(envelope, site, &next, &err), HR_OK);
		envelope_free(envelope);
		envelope = next;
		assert_int_equal(envelope_unpack(envelope->packed, &back, &err), HR_OK);
		assert_int_equal(back->f.hop_count, i + 1);
	}
}

static void adds_a_hop_and_keeps_the_rest(void **state)
{
	(void)state;
	struct envelope_fields expected = whole;
	struct hr_err err;
	scoped(envelope) made = envelope_new(&whole);
	scoped(envelope) next = NULL;

	expected.hops[expected.hop_count++] = slice_lit("sydney");
	assert_int_equal(envelope_hop(made, "sydney", &next, &err), HR_OK);
	expect_same(&next->f, &expected);
	scoped(envelope) back = NULL;
	assert_int_equal(envelope_unpack(next->packed, &back, &err), HR_OK);
	expect_same(&back->f, &expected);

	/* what a later version has put in stays in */
	static const struct slice newer = slice_lit(ID ENDS "\x6a\x03"
							    "new");
	scoped(envelope) from_later = NULL;
	scoped(envelope) hopped = NULL;
	assert_int_equal(envelope_unpack(newer, &from_later, &err), HR_OK);
	assert_int_equal(envelope_hop(from_later, "x", &hopped, &err), HR_OK);
	assert_memory_equal(hopped->packed.data, newer.data, newer.len);
}

static void refuses_a_hop_too_many_and_a_loop(void **state)
{
	(void)state;
	static const char *const sites[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	scoped(envelope) envelope = envelope_new(&bare);
	struct envelope *next = NULL;
	struct hr_err err;

	assert_int_equal(envelope_hop(envelope, "", &next, &err), HR_FAIL);
	for (size_t i = 0; i < countof(sites); i++) {
		assert_int_equal(envelope_hop(envelope, sites[i], &next, &err), HR_OK);
		envelope_free(envelope);
		envelope = next;
		assert_int_equal(envelope_hop(envelope, sites[i / 2], &next, &err), HR_FAIL);
		assert_non_null(strstr(err.text, "loop"));
	}
	assert_int_equal(envelope_hop(envelope, "i", &next, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "8 sites"));
	scoped_str packed = str_format("%.*s\x5a\x01i", (int)envelope->packed.len, "");
	size_t len = envelope->packed.len;
	packed = mem_resize(packed, len + 3, 1);
	memcpy(packed, envelope->packed.data, len);
	memcpy(packed + len, "\x5a\x01i", 3);
	scoped(envelope) back = NULL;
	assert_int_equal(envelope_unpack((struct slice){ packed, len + 3 }, &back, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "hops are too many"));
}

static uint64_t big_endian(const char *at)
{
	uint64_t value = 0;

	for (size_t i = 0; i < 8; i++)
		value = value << 8 | (uint8_t)at[i];
	return value;
}

static void draws_ids_that_are_uuids_of_version_7(void **state)
{
	(void)state;
	struct envelope_fields fields = bare;

	fields.received = noon + 50 * INT64_C(1000000);
	scoped(envelope) made = envelope_new(&fields);
	uint64_t high = big_endian(made->f.id.data), low = big_endian(made->f.id.data + 8);
	assert_int_equal(high >> 16, (uint64_t)fields.received / 1000);
	assert_int_equal((high >> 12) & 0xf, 7);
	assert_int_equal(low >> 62, 2);
	assert_true((high & 0xfff) >= 456 * 4096 / 1000 && (high & 0xfff) < 457 * 4096 / 1000);
}

static void draws_ids_that_only_grow(void **state)
{
	(void)state;
	static const usec steps[] = { 0, 0, 1, 1000, 0, -5000000, 250, -1 };
	struct envelope_fields fields = bare;
	char last[ENVELOPE_ID_LEN] = { 0 };

	fields.received = noon + 60 * INT64_C(1000000);
	for (int i = 0; i < 20000; i++) {
		fields.received += steps[i % 8];
		scoped(envelope) made = envelope_new(&fields);
		assert_true(memcmp(made->f.id.data, last, sizeof last) > 0);
		memcpy(last, made->f.id.data, sizeof last);
	}
}

static void lives_until_the_last_reference_goes(void **state)
{
	(void)state;
	struct envelope *made = envelope_new(&whole);

	assert_ptr_equal(envelope_ref(made), made);
	envelope_free(made);
	expect_same(&made->f, &whole);
	envelope_free(made);
	envelope_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_from_its_packed_form),
		cmocka_unit_test(reads_what_protobuf_reads),
		cmocka_unit_test(has_the_kinds_of_the_wire),
		cmocka_unit_test(reads_fields_in_any_order_and_skips_unknown_ones),
		cmocka_unit_test(refuses_bytes_that_are_no_envelope),
		cmocka_unit_test(survives_being_cut_anywhere),
		cmocka_unit_test(bounds_every_size),
		cmocka_unit_test(an_address_without_its_resource_is_shorter),
		cmocka_unit_test(carries_the_largest_of_everything),
		cmocka_unit_test(adds_a_hop_and_keeps_the_rest),
		cmocka_unit_test(refuses_a_hop_too_many_and_a_loop),
		cmocka_unit_test(draws_ids_that_are_uuids_of_version_7),
		cmocka_unit_test(draws_ids_that_only_grow),
		cmocka_unit_test(lives_until_the_last_reference_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
