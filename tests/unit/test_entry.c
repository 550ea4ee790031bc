/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"
#include "directory/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const names[] = { "cn", "mail", "proxyAddresses" };
enum { CN, MAIL, PROXY };

static struct entry *fresh(void)
{
	return entry_new(names, countof(names));
}

static void assert_slice(struct slice actual, const char *expected)
{
	assert_int_equal(actual.len, strlen(expected));
	assert_memory_equal(actual.data, expected, actual.len);
}

static void assert_refused(const struct publish_entry *row, size_t i, const char *text)
{
	assert_true(i < row->refused.n);
	assert_slice(row->refused.at[i], text);
}

static void values_come_in_the_order_of_the_mapping(void **state)
{
	scoped(entry) entry = fresh();

	(void)state;
	entry_set_dn(entry, slice_lit("uid=ada,dc=example"));
	entry_set_uuid(entry, slice_lit("6F9619FF-8B86-D011-B42D-00C04FC964FF"));
	entry_add(entry, slice_lit("MAIL"), slice_lit("ada@example.com"));
	entry_add(entry, slice_lit("cn"), slice_lit("Ada"));
	entry_add(entry, slice_lit("cn"), slice_lit("Ada Adams"));
	entry_add(entry, slice_lit("uid"), slice_lit("not asked for"));
	entry_add(entry, slice_lit("cn;lang-nl"), slice_lit("another attribute"));
	entry_add(entry, slice_lit("c"), slice_lit("a shorter name"));
	const struct publish_entry *row = entry_row(entry);

	assert_slice(row->anchor, "6f9619ff-8b86-d011-b42d-00c04fc964ff");
	assert_slice(row->dn, "uid=ada,dc=example");
	assert_int_equal(row->attributes[CN].n, 2);
	assert_slice(row->attributes[CN].at[1], "Ada Adams");
	assert_int_equal(row->attributes[MAIL].n, 1);
	assert_slice(row->attributes[MAIL].at[0], "ada@example.com");
	assert_int_equal(row->attributes[PROXY].n, 0);
	assert_int_equal(row->refused.n, 0);
}

static void a_guid_is_written_in_microsofts_order(void **state)
{
	scoped(entry) entry = fresh();

	(void)state;
	entry_set_guid(entry,
		       slice_lit("\xff\x19\x96\x6f\x86\x8b\x11\xd0\xb4\x2d\x00\xc0\x4f\xc9\x64"
				 "\xff"));
	assert_slice(entry_row(entry)->anchor, "6f9619ff-8b86-d011-b42d-00c04fc964ff");
}

static void an_entry_without_an_anchor_carries_no_values(void **state)
{
	static const struct {
		void (*set)(struct entry *entry, struct slice bytes);
		struct slice bytes;
		const char *refused;
	} rows[] = {
		{ entry_set_guid, slice_lit("short"), "anchor: 5 bytes that are not a GUID" },
		{ entry_set_guid, { "", 0 }, "anchor: 0 bytes that are not a GUID" },
		{ entry_set_uuid, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964fg"),
		  "anchor: 36 bytes that are not a UUID" },
		{ entry_set_uuid, slice_lit("6f9619ff+8b86-d011-b42d-00c04fc964ff"),
		  "anchor: 36 bytes that are not a UUID" },
		{ entry_set_uuid, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964f\0"),
		  "anchor: 36 bytes that are not a UUID" },
		{ NULL, { 0 }, "anchor: the entry shows none; may the bind account read it?" },
	};
	scoped(entry) entry = fresh();

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		entry_reset(entry);
		entry_set_dn(entry, slice_lit("cn=x"));
		entry_add(entry, slice_lit("mail"), slice_lit("x@example.com"));
		if (rows[i].set)
			rows[i].set(entry, rows[i].bytes);
		const struct publish_entry *row = entry_row(entry);
		assert_slice(row->anchor, "dn:cn=x");
		assert_int_equal(row->attributes[MAIL].n, 0);
		assert_int_equal(row->refused.n, 1);
		assert_refused(row, 0, rows[i].refused);
	}
}

static void what_cannot_be_stored_is_refused_with_its_reason(void **state)
{
	static const struct {
		struct slice value;
		const char *refused; /* NULL: taken */
	} rows[] = {
		{ slice_lit("plain"), NULL },
		{ slice_lit("\xc3\xa9"), NULL },
		{ slice_lit("\xe2\x82\xac"), NULL },
		{ slice_lit("\xf0\x9f\x8c\xb3"), NULL },
		{ slice_lit("\xf4\x8f\xbf\xbf"), NULL },
		{ slice_lit("\xed\x9f\xbf"), NULL },
		{ { "", 0 }, "mail: a value of 0 bytes is empty" },
		{ slice_lit("a\0b"), "mail: a value of 3 bytes has a NUL byte" },
		{ slice_lit("\xff\xfe"), "mail: a value of 2 bytes is not UTF-8" },
		{ slice_lit("\x80"), "mail: a value of 1 bytes is not UTF-8" },
		{ slice_lit("a\xc3"), "mail: a value of 2 bytes is not UTF-8" },
		{ slice_lit("\xe2\x82"), "mail: a value of 2 bytes is not UTF-8" },
		{ slice_lit("\xc0\xaf"), "mail: a value of 2 bytes is not UTF-8" },
		{ slice_lit("\xe0\x80\xaf"), "mail: a value of 3 bytes is not UTF-8" },
		{ slice_lit("\xed\xa0\x80"), "mail: a value of 3 bytes is not UTF-8" },
		{ slice_lit("\xf0\x80\x80\xaf"), "mail: a value of 4 bytes is not UTF-8" },
		{ slice_lit("\xf4\x90\x80\x80"), "mail: a value of 4 bytes is not UTF-8" },
		{ slice_lit("\xf5\x80\x80\x80"), "mail: a value of 4 bytes is not UTF-8" },
	};
	scoped(entry) entry = fresh();

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		entry_reset(entry);
		entry_set_uuid(entry, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964ff"));
		entry_add(entry, slice_lit("mail"), rows[i].value);
		const struct publish_entry *row = entry_row(entry);
		assert_int_equal(row->attributes[MAIL].n, rows[i].refused ? 0 : 1);
		assert_int_equal(row->refused.n, rows[i].refused ? 1 : 0);
		if (rows[i].refused)
			assert_refused(row, 0, rows[i].refused);
	}
}

static void a_megabyte_is_refused_and_four_kilobytes_are_not(void **state)
{
	scoped(entry) entry = fresh();
	char *big = mem_alloc(1 << 20);

	(void)state;
	memset(big, 'x', 1 << 20);
	entry_set_uuid(entry, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964ff"));
	entry_add(entry, slice_lit("mail"), (struct slice){ big, 1 << 20 });
	entry_add(entry, slice_lit("mail"), (struct slice){ big, ENTRY_VALUE_BYTES });
	entry_add(entry, slice_lit("mail"), (struct slice){ big, ENTRY_VALUE_BYTES + 1 });
	const struct publish_entry *row = entry_row(entry);
	assert_int_equal(row->attributes[MAIL].n, 1);
	assert_int_equal(row->refused.n, 2);
	assert_refused(row, 0, "mail: a value of 1048576 bytes is too long");
	free(big);
}

static void values_past_the_limit_are_counted_as_one_refusal(void **state)
{
	scoped(entry) entry = fresh();

	(void)state;
	entry_set_uuid(entry, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964ff"));
	for (size_t i = 0; i < ENTRY_VALUES + 5; i++)
		entry_add(entry, slice_lit("proxyAddresses"), slice_lit("smtp:x@example.com"));
	assert_false(entry_has_room(entry, slice_lit("PROXYADDRESSES")));
	assert_false(entry_has_room(entry, slice_lit("unknown")));
	assert_true(entry_has_room(entry, slice_lit("mail")));
	const struct publish_entry *row = entry_row(entry);
	assert_int_equal(row->attributes[PROXY].n, ENTRY_VALUES);
	assert_int_equal(row->refused.n, 1);
	assert_refused(row, 0, "proxyAddresses: only the first 5000 values are read");
}

static void refusals_of_one_entry_are_bounded(void **state)
{
	scoped(entry) entry = fresh();

	(void)state;
	entry_set_uuid(entry, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964ff"));
	for (size_t i = 0; i < 10 * ENTRY_REFUSALS; i++)
		entry_add(entry, slice_lit("mail"), slice_lit("\xff"));
	assert_int_equal(entry_row(entry)->refused.n, ENTRY_REFUSALS);
}

static void nothing_of_an_entry_is_left_for_the_next(void **state)
{
	scoped(entry) entry = fresh();

	(void)state;
	entry_set_dn(entry, slice_lit("cn=x"));
	entry_set_uuid(entry, slice_lit("6f9619ff-8b86-d011-b42d-00c04fc964ff"));
	entry_add(entry, slice_lit("mail"), slice_lit("x@example.com"));
	entry_add(entry, slice_lit("mail"), slice_lit("\xff"));
	entry_reset(entry);
	entry_set_guid(entry, slice_lit("0123456789abcdef"));
	const struct publish_entry *row = entry_row(entry);
	assert_slice(row->anchor, "33323130-3534-3736-3839-616263646566");
	assert_null(row->dn.data);
	assert_int_equal(row->attributes[MAIL].n, 0);
	assert_int_equal(row->refused.n, 0);
}

static void a_dn_that_is_no_text_is_left_out(void **state)
{
	scoped(entry) entry = fresh();

	(void)state;
	entry_set_dn(entry, slice_lit("cn=\xff"));
	const struct publish_entry *row = entry_row(entry);
	assert_null(row->dn.data);
	assert_slice(row->anchor, "dn:");
}

static void a_long_dn_is_cut_between_characters(void **state)
{
	scoped(entry) entry = fresh();
	char dn[1000];

	(void)state;
	for (size_t i = 0; i < sizeof dn; i += 2)
		memcpy(dn + i, "\xc3\xa9", 2);
	entry_set_dn(entry, (struct slice){ dn, sizeof dn });
	const struct publish_entry *row = entry_row(entry);
	assert_int_equal(row->anchor.len, 3 + 508);
	assert_true(utf8_text(row->anchor));
}

static void a_dn_may_be_the_anchor(void **state)
{
	scoped(entry) entry = fresh();
	char *dn = mem_alloc(ENTRY_DN_BYTES + 1);

	(void)state;
	entry_set_dn(entry, slice_lit("uid=Ada,OU=People"));
	entry_set_anchor_dn(entry);
	entry_add(entry, slice_lit("mail"), slice_lit("ada@example.com"));
	const struct publish_entry *row = entry_row(entry);
	assert_slice(row->anchor, "dn:uid=ada,ou=people");
	assert_slice(row->dn, "uid=Ada,OU=People");
	assert_int_equal(row->attributes[MAIL].n, 1);

	entry_reset(entry);
	memset(dn, 'x', ENTRY_DN_BYTES + 1);
	entry_set_dn(entry, (struct slice){ dn, ENTRY_DN_BYTES + 1 });
	entry_set_anchor_dn(entry);
	assert_refused(entry_row(entry), 0, "anchor: a DN of 501 bytes");
	free(dn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_in_the_order_of_the_mapping),
		cmocka_unit_test(a_guid_is_written_in_microsofts_order),
		cmocka_unit_test(an_entry_without_an_anchor_carries_no_values),
		cmocka_unit_test(what_cannot_be_stored_is_refused_with_its_reason),
		cmocka_unit_test(a_megabyte_is_refused_and_four_kilobytes_are_not),
		cmocka_unit_test(values_past_the_limit_are_counted_as_one_refusal),
		cmocka_unit_test(refusals_of_one_entry_are_bounded),
		cmocka_unit_test(nothing_of_an_entry_is_left_for_the_next),
		cmocka_unit_test(a_dn_that_is_no_text_is_left_out),
		cmocka_unit_test(a_long_dn_is_cut_between_characters),
		cmocka_unit_test(a_dn_may_be_the_anchor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
