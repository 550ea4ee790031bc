/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/range.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_part_says_where_the_next_begins(void **state)
{
	static const struct {
		const char *description, *name;
		uint32_t next;
	} rows[] = {
		{ "member", "member", 0 },
		{ "", "", 0 },
		{ "member;range=0-1499", "member", 1500 },
		{ "member;Range=1500-1500", "member", 1501 },
		{ "member;range=1500-*", "member", 0 },
		{ "description;lang-nl", "description;lang-nl", 0 },
		{ "description;lang-nl;range=0-9", "description;lang-nl", 10 },
		{ "member;range=0-999999998", "member", 999999999 },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct range range;
		struct hr_err err;
		assert_int_equal(range_parse(slice_str(rows[i].description), &range, &err), HR_OK);
		assert_true(slice_is(range.name, rows[i].name));
		assert_int_equal(range.next, rows[i].next);
	}
}

static void what_is_no_range_is_refused_by_name(void **state)
{
	static const char *const rows[] = {
		"member;range=",     "member;range=0",	   "member;range=0-",
		"member;range=-5",   "member;range=*-5",   "member;range=5-4",
		"member;range=0-5x", "member;range=0-*x",  "member;range=0-1234567890",
		"member;range=0 -5", "member;range=0-5;x", "member;range=99999999999-*",
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct range range;
		struct hr_err err;
		assert_int_equal(range_parse(slice_str(rows[i]), &range, &err), HR_FAIL);
		assert_non_null(strstr(err.text, rows[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_part_says_where_the_next_begins),
		cmocka_unit_test(what_is_no_range_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
