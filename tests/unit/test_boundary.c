/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/boundary.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* A line, and the level of the boundary that it is the delimiter of: 0 "out", 1 "in", 2 "in--". */
static const struct {
	const char *line;
	size_t level;
	bool is_last;
} lines[] = {
	{ "--out", 0, false },
	{ "--out\n", 0, false },
	{ "--out \t \r\n", 0, false },
	{ "--out--\r\n", 0, true },
	{ "--out-- \n", 0, true },
	{ "--in", 1, false },
	{ "--in--", 1, true },
	{ "--in----", 2, true },
	{ "--out-", BOUNDARY_NONE, true },
	{ "--out --", BOUNDARY_NONE, true },
	{ "--out--x", BOUNDARY_NONE, true },
	{ "--OUT", BOUNDARY_NONE, true },
	{ "--ou", BOUNDARY_NONE, true },
	{ "---out", BOUNDARY_NONE, true },
	{ "-- out", BOUNDARY_NONE, true },
	{ "--", BOUNDARY_NONE, true },
	{ "----", BOUNDARY_NONE, true },
	{ "out", BOUNDARY_NONE, true },
	{ "", BOUNDARY_NONE, true },
};

static void tells_whose_delimiter_a_line_is(void **state)
{
	struct boundaries boundaries = { 0 };

	(void)state;
	assert_int_equal(boundary_open(&boundaries, slice_lit("out")), 0);
	assert_int_equal(boundary_open(&boundaries, slice_lit("in ")), 1);
	assert_int_equal(boundary_open(&boundaries, slice_lit("in--")), 2);
	for (size_t i = 0; i < countof(lines); i++) {
		scoped_str mail = str_format("a--out\r\n\r\n%s", lines[i].line);
		struct slice bytes = slice_str(mail);
		struct delimiter found = boundary_find(&boundaries, bytes, 0);

		if (found.level != lines[i].level || found.is_last != lines[i].is_last)
			fail_msg("%s: %zu", lines[i].line, found.level);
		assert_int_equal(found.end, bytes.len);
		assert_int_equal(found.start, found.level == BOUNDARY_NONE ? bytes.len : 8);
	}
}

static void what_is_closed_or_left_is_none_any_more(void **state)
{
	struct boundaries boundaries = { 0 };
	struct slice mail = slice_lit("--out\n--in\n--out\n");

	(void)state;
	assert_int_equal(boundary_find(&boundaries, mail, 0).level, BOUNDARY_NONE);
	boundary_open(&boundaries, slice_lit("out"));
	boundary_open(&boundaries, slice_lit("in"));
	assert_int_equal(boundary_find(&boundaries, mail, 6).level, 1);
	boundary_close(&boundaries, 1);
	assert_int_equal(boundary_find(&boundaries, mail, 6).start, 10);
	boundary_leave(&boundaries, 1);
	assert_int_equal(boundary_find(&boundaries, mail, 0).end, 6);
	boundary_leave(&boundaries, 0);
	assert_int_equal(boundary_find(&boundaries, mail, 0).level, BOUNDARY_NONE);
}

/* Lines that almost end an entity, as many as there is room for: each byte is compared once for
 * each level at most, and only in lines that are as long as a delimiter. */
static void compares_no_byte_more_than_once_a_level(void **state)
{
	enum { LEVELS = 10, BYTES = 1024 * 1024, LONG = 4000 };
	char all_dashes[LONG];
	static const char *const fillings[] = {
		"--abababababab", "--ababababax\n", "--\n", "--ab\n", "-", "\n"
	};

	(void)state;
	memset(all_dashes, '-', sizeof all_dashes);
	for (size_t f = 0; f < countof(fillings); f++) {
		struct boundaries boundaries = { 0 };
		scoped_buf mail = BUF_INIT(0);

		while (mail.len < BYTES)
			buf_add_str(&mail, fillings[f]);
		for (size_t i = 1; i < LEVELS; i++)
			boundary_open(&boundaries, (struct slice){ "ababababay", i });
		boundary_open(&boundaries, (struct slice){ all_dashes, sizeof all_dashes });
		struct delimiter found = boundary_find(&boundaries, buf_slice(&mail), 0);
		if (f != 3) /* "ab" is a boundary */
			assert_int_equal(found.level, BOUNDARY_NONE);
		assert_true(boundaries.compared <= mail.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_whose_delimiter_a_line_is),
		cmocka_unit_test(what_is_closed_or_left_is_none_any_more),
		cmocka_unit_test(compares_no_byte_more_than_once_a_level),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
