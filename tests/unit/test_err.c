/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_status_is_handed_back_and_kept(void **state)
{
	struct hr_err err;

	(void)state;
	assert_int_equal(err_set(&err, HR_RETRY, "no %s", "route"), HR_RETRY);
	assert_int_equal(err.status, HR_RETRY);
	assert_string_equal(err.text, "no route");
}

static void what_we_were_doing_comes_first(void **state)
{
	struct hr_err err;

	(void)state;
	err_set(&err, HR_FAIL, "no such site");
	assert_int_equal(err_add(&err, "link to %s", "boston"), HR_FAIL);
	assert_string_equal(err.text, "link to boston: no such site");
}

static void a_text_stays_one_line(void **state)
{
	struct hr_err err;

	(void)state;
	err_set(&err, HR_FAIL, "two\nlines\tand an end \n");
	assert_string_equal(err.text, "two lines and an end");
}

static void a_long_text_is_cut_and_never_overrun(void **state)
{
	struct hr_err err;
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof text);
	text[999] = '\0';
	err_set(&err, HR_FAIL, "%s", text);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	err_add(&err, "%s", text);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void a_cut_falls_between_characters(void **state)
{
	struct hr_err err;
	char text[600];

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		memset(text, 'x', shift);
		for (size_t at = shift; at + 4 < sizeof text; at += 4)
			memcpy(text + at, "\xf0\x9f\x8c\xb3", 5);
		err_set(&err, HR_FAIL, "%s", text);
		size_t len = strlen(err.text);
		assert_int_equal((len - shift) % 4, 0);
		assert_true(len > sizeof err.text - 5);
	}
}

static void what_is_no_text_is_made_text(void **state)
{
	struct hr_err err;

	(void)state;
	err_set(&err, HR_FAIL, "it said %s", "a\x80\xc3\x1b[2J\x7f\xc3\xa9\xed\xa0\x80");
	assert_string_equal(err.text, "it said a?? [2J \xc3\xa9???");
}

static void every_status_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(hr_status_name(HR_OK), "ok");
	assert_string_equal(hr_status_name(HR_NONE), "none");
	assert_string_equal(hr_status_name(HR_RETRY), "retry");
	assert_string_equal(hr_status_name(HR_FAIL), "fail");
	assert_string_equal(hr_status_name(HR_UNSURE), "unsure");
}

static void scoped_frees_and_give_hands_on(void **state)
{
	char *kept;

	(void)state;
	{
		scoped_str text = str_format("%d", 42);
		scoped_str lost = str_dup("freed here");
		assert_non_null(lost);
		kept = give(text);
		assert_null(text);
	}
	assert_string_equal(kept, "42");
	free(kept);
	assert_null(str_dup(NULL));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_status_is_handed_back_and_kept),
		cmocka_unit_test(what_we_were_doing_comes_first),
		cmocka_unit_test(a_text_stays_one_line),
		cmocka_unit_test(a_long_text_is_cut_and_never_overrun),
		cmocka_unit_test(a_cut_falls_between_characters),
		cmocka_unit_test(what_is_no_text_is_made_text),
		cmocka_unit_test(every_status_has_a_name),
		cmocka_unit_test(scoped_frees_and_give_hands_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
