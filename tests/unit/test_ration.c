/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/ration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool take(struct ration *ration, const char *who, size_t cost, msec now)
{
	return ration_take(ration, slice_str(who), cost, now);
}

static void nobody_takes_more_than_the_ration(void **state)
{
	scoped(ration) ration = ration_new(10, 1000);

	(void)state;
	assert_true(take(ration, "ada", 7, 5000));
	assert_false(take(ration, "ada", 4, 5001));
	assert_true(take(ration, "ada", 3, 5001));
	assert_false(take(ration, "ada", 1, 5999));
	assert_true(take(ration, "ada", 0, 5999));
}

static void everybody_has_one(void **state)
{
	scoped(ration) ration = ration_new(10, 1000);

	(void)state;
	assert_true(take(ration, "ada", 10, 0));
	assert_true(take(ration, "bob", 10, 0));
	assert_false(take(ration, "ada", 1, 0));
	assert_false(take(ration, "bob", 1, 0));
}

static void a_new_window_brings_a_new_one(void **state)
{
	scoped(ration) ration = ration_new(10, 1000);

	(void)state;
	assert_true(take(ration, "ada", 10, 5000));
	assert_true(take(ration, "bob", 10, 5900));
	assert_false(take(ration, "ada", 1, 5999));
	assert_true(take(ration, "ada", 10, 6000));
	assert_true(take(ration, "bob", 10, 6999));
	assert_false(take(ration, "bob", 10, 6999));
}

static void more_than_a_ration_is_never_given(void **state)
{
	scoped(ration) ration = ration_new(10, 1000);

	(void)state;
	assert_false(take(ration, "ada", 11, 0));
	assert_false(take(ration, "ada", SIZE_MAX, 0));
	assert_true(take(ration, "ada", 10, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_takes_more_than_the_ration),
		cmocka_unit_test(everybody_has_one),
		cmocka_unit_test(a_new_window_brings_a_new_one),
		cmocka_unit_test(more_than_a_ration_is_never_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
