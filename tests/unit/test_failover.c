/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/failover.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_order(const struct failover *failover, msec now, size_t first, size_t second,
			 size_t third)
{
	assert_int_equal(failover_pick(failover, 3, 0, now), first);
	assert_int_equal(failover_pick(failover, 3, 1, now), second);
	assert_int_equal(failover_pick(failover, 3, 2, now), third);
}

static void servers_are_tried_as_they_are_named(void **state)
{
	const struct failover failover = { 0 };

	(void)state;
	assert_order(&failover, 1000, 0, 1, 2);
}

static void one_that_failed_comes_last_for_a_while(void **state)
{
	struct failover failover = { 0 };

	(void)state;
	failover_failed(&failover, 0, 1000);
	assert_order(&failover, 1001, 1, 2, 0);
	assert_order(&failover, 1000 + FAILOVER_MS, 0, 1, 2);
	failover_failed(&failover, 1, 2000);
	assert_order(&failover, 2001, 2, 0, 1);
	failover_worked(&failover, 0);
	assert_order(&failover, 2002, 0, 2, 1);
}

static void when_all_have_failed_all_are_tried(void **state)
{
	struct failover failover = { 0 };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		failover_failed(&failover, i, 1000);
	assert_order(&failover, 1001, 0, 1, 2);
}

static void servers_past_the_limit_are_not_remembered(void **state)
{
	struct failover failover = { 0 };

	(void)state;
	failover_failed(&failover, FAILOVER_SERVERS, 1000);
	failover_worked(&failover, FAILOVER_SERVERS);
	assert_int_equal(failover_pick(&failover, FAILOVER_SERVERS + 1, FAILOVER_SERVERS, 1001),
			 FAILOVER_SERVERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_tried_as_they_are_named),
		cmocka_unit_test(one_that_failed_comes_last_for_a_while),
		cmocka_unit_test(when_all_have_failed_all_are_tried),
		cmocka_unit_test(servers_past_the_limit_are_not_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
