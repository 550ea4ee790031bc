/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/dirsync.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct slice guid(char c)
{
	static char bytes[256][ANCHOR_RAW];

	memset(bytes[(unsigned char)c], c, ANCHOR_RAW);
	return (struct slice){ bytes[(unsigned char)c], ANCHOR_RAW };
}

static void an_object_is_read_again_once(void **state)
{
	struct guids guids = { 0 };

	(void)state;
	assert_null(guids_find(&guids, guid('a')));
	guids_add(&guids, guid('b'), false);
	guids_add(&guids, guid('a'), false);
	guids_add(&guids, guid('b'), true);
	guids_add(&guids, slice_lit("no guid"), false);
	guids_settle(&guids);
	assert_int_equal(guids.n, 2);
	assert_false(guids_find(&guids, guid('a'))->moved);
	assert_true(guids_find(&guids, guid('b'))->moved);
	assert_null(guids_find(&guids, guid('c')));
	assert_null(guids_find(&guids, slice_lit("no guid")));
	assert_false(guids.incomplete);
	guids_clear(&guids);
}

static void more_objects_than_can_be_kept_are_not_forgotten_in_silence(void **state)
{
	struct guids guids = { 0 };

	(void)state;
	for (size_t i = 0; i < GUIDS_MAX; i++)
		guids_add(&guids, guid('a'), false);
	assert_false(guids.incomplete);
	guids_add(&guids, guid('b'), false);
	assert_true(guids.incomplete);
	guids_settle(&guids);
	assert_int_equal(guids.n, 1);
	guids_clear(&guids);
}

static void a_filter_names_the_objects_of_a_part(void **state)
{
	static const char a[] = "(objectGUID=\\61\\61\\61\\61\\61\\61\\61\\61\\61\\61\\61\\61\\61"
				"\\61\\61\\61)";
	struct guids guids = { 0 };
	scoped_buf out = BUF_INIT(0);
	scoped_str expected = str_format("(&(x=y)(|%s))", a);

	(void)state;
	guids_add(&guids, guid('b'), true);
	guids_add(&guids, guid('a'), false);
	guids_settle(&guids);
	assert_true(guids_filter(&guids, (struct guids_part){ 0, 1, false }, "(x=y)", &out));
	assert_string_equal(buf_text(&out), expected);
	buf_clear(&out);
	assert_false(guids_filter(&guids, (struct guids_part){ 0, 1, true }, "(x=y)", &out));
	assert_true(guids_filter(&guids, (struct guids_part){ 0, 2, true }, "(x=y)", &out));
	guids.at[1].found = true;
	assert_false(guids_filter(&guids, (struct guids_part){ 0, 2, true }, "(x=y)", &out));
	assert_false(guids_filter(&guids, (struct guids_part){ 2, 2, false }, "(x=y)", &out));
	guids_clear(&guids);
}

static void assert_asks(const char *filter_text, const char *const *expected, size_t n)
{
	static char mail[] = "mail", name[] = "NAME";
	char *mapped[] = { mail, name, NULL };
	scoped(filter) filter = NULL;
	struct hr_err err;

	assert_int_equal(filter_new(filter_text, &filter, &err), HR_OK);
	char **asked = dirsync_attributes(mapped, filter);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(asked[i], expected[i]);
	assert_null(asked[n]);
	assert_int_equal(dirsync_asks_for_members(asked), strstr(filter_text, "memberOf") != NULL);
	free(asked);
}

static void what_the_filter_looks_at_is_asked_for(void **state)
{
	static const char *const plain[] = { "name", "isDeleted",   "whenCreated",
					     "mail", "objectClass", "department" };
	static const char *const group[] = { "name", "isDeleted", "whenCreated",
					     "mail", "memberOf",  "member" };

	(void)state;
	assert_asks("(&(objectClass=user)(|(department=a*)(objectclass=contact)))", plain,
		    countof(plain));
	assert_asks("(memberOf:1.2.840.113556.1.4.1941:=CN=g)", group, countof(group));
}

static void an_entry_tells_who_has_moved_and_who_is_new(void **state)
{
	static const struct {
		const char *attributes[4];
		bool named, created;
	} rows[] = {
		{ { "objectGUID", "mail" }, false, false },
		{ { "name", "parentGUID", "objectGUID" }, true, false },
		{ { "objectGUID", "NAME", "whenCreated", "mail" }, true, true },
		{ { "isDeleted", "objectguid", "name" }, true, false },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct dirsync_entry entry = { 0 };
		for (size_t k = 0; k < 4 && rows[i].attributes[k]; k++)
			dirsync_note(&entry, slice_str(rows[i].attributes[k]), guid('a'));
		assert_true(slice_eq(entry.guid, guid('a')));
		assert_int_equal(entry.named, rows[i].named);
		assert_int_equal(entry.created, rows[i].created);
	}
}

static void a_guid_in_front_of_a_dn_is_read(void **state)
{
	static const char *const bad[] = {
		"",
		"CN=x",
		"<GUID=",
		"<GUID=61616161-6161-6161-6161-616161616161",
		"<GUID=61>;CN=x",
		"<SID=61616161-6161-6161-6161-616161616161>;CN=x",
	};
	unsigned char bytes[ANCHOR_RAW];

	(void)state;
	assert_true(dirsync_guid_of(
		slice_lit("<GUID=61616161-6161-6161-6161-616161616161>;<SID=S-1-5>;CN=x"), bytes));
	assert_memory_equal(bytes, guid('a').data, ANCHOR_RAW);
	assert_true(dirsync_guid_of(slice_lit("<GUID=61616161616161616161616161616161>"), bytes));
	for (size_t i = 0; i < countof(bad); i++)
		assert_false(dirsync_guid_of(slice_str(bad[i]), bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_is_read_again_once),
		cmocka_unit_test(more_objects_than_can_be_kept_are_not_forgotten_in_silence),
		cmocka_unit_test(a_filter_names_the_objects_of_a_part),
		cmocka_unit_test(what_the_filter_looks_at_is_asked_for),
		cmocka_unit_test(an_entry_tells_who_has_moved_and_who_is_new),
		cmocka_unit_test(a_guid_in_front_of_a_dn_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
