/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 20000 };

static int values[MANY];

static struct slice key_of(const int *number)
{
	return (struct slice){ (const char *)number, sizeof *number };
}

static void what_is_put_is_found(void **state)
{
	scoped(map) map = map_new();

	(void)state;
	assert_null(map_put(map, slice_lit("a"), &values[1]));
	assert_null(map_put(map, slice_lit("b"), &values[2]));
	assert_ptr_equal(map_get(map, slice_lit("a")), &values[1]);
	assert_ptr_equal(map_get(map, slice_lit("b")), &values[2]);
	assert_null(map_get(map, slice_lit("c")));
	assert_int_equal(map_count(map), 2);
}

static void a_second_put_returns_the_value_replaced(void **state)
{
	scoped(map) map = map_new();

	(void)state;
	map_put(map, slice_lit("a"), &values[1]);
	assert_ptr_equal(map_put(map, slice_lit("a"), &values[2]), &values[1]);
	assert_ptr_equal(map_get(map, slice_lit("a")), &values[2]);
	assert_int_equal(map_count(map), 1);
}

static void keys_are_bytes_and_copied(void **state)
{
	scoped(map) map = map_new();
	char key[] = "a\0b";

	(void)state;
	map_put(map, (struct slice){ key, 3 }, &values[1]);
	map_put(map, (struct slice){ 0 }, &values[2]);
	key[0] = 'x';
	assert_ptr_equal(map_get(map, slice_lit("a\0b")), &values[1]);
	assert_null(map_get(map, slice_lit("a\0c")));
	assert_null(map_get(map, slice_lit("a")));
	assert_ptr_equal(map_get(map, slice_lit("")), &values[2]);
}

static void keys_of_every_length_are_told_apart(void **state)
{
	scoped(map) map = map_new();
	char zeros[64] = { 0 };

	(void)state;
	for (size_t len = 0; len < sizeof zeros; len++)
		assert_null(map_put(map, (struct slice){ zeros, len }, &values[len]));
	for (size_t len = 0; len < sizeof zeros; len++)
		assert_ptr_equal(map_get(map, (struct slice){ zeros, len }), &values[len]);
}

static void what_is_removed_is_gone_and_may_come_back(void **state)
{
	scoped(map) map = map_new();

	(void)state;
	map_put(map, slice_lit("a"), &values[1]);
	assert_ptr_equal(map_remove(map, slice_lit("a")), &values[1]);
	assert_null(map_remove(map, slice_lit("a")));
	assert_null(map_get(map, slice_lit("a")));
	assert_int_equal(map_count(map), 0);
	map_put(map, slice_lit("a"), &values[2]);
	assert_ptr_equal(map_get(map, slice_lit("a")), &values[2]);
}

/* Against an array: the same puts and removals, with a share of the keys alive at any time. */
static void a_map_that_lives_long_stays_right(void **state)
{
	scoped(map) map = map_new();
	bool there[MANY] = { false };
	size_t count = 0;
	uint32_t draw = 1;

	(void)state;
	for (int step = 0; step < 20 * MANY; step++) {
		draw = draw * 1664525 + 1013904223;
		int key = (int)(draw >> 8) % MANY;
		if (draw >> 30 == 0) {
			assert_ptr_equal(map_remove(map, key_of(&key)),
					 there[key] ? &values[key] : NULL);
			count -= there[key];
			there[key] = false;
		} else {
			assert_ptr_equal(map_put(map, key_of(&key), &values[key]),
					 there[key] ? &values[key] : NULL);
			count += !there[key];
			there[key] = true;
		}
	}
	assert_int_equal(map_count(map), count);
	for (int key = 0; key < MANY; key++)
		assert_ptr_equal(map_get(map, key_of(&key)), there[key] ? &values[key] : NULL);
}

static void a_queue_of_keys_does_not_grow_the_map(void **state)
{
	scoped(map) map = map_new();

	(void)state;
	for (int i = 0; i < 10 * MANY; i++) {
		int gone = i - 5;
		map_put(map, key_of(&i), &values[1]);
		map_remove(map, key_of(&gone));
		assert_true(map_count(map) <= 5);
	}
}

static void a_walk_sees_each_entry_once_in_the_order_of_arrival(void **state)
{
	scoped(map) map = map_new();
	struct slice key;
	void *value;
	int next = 0;

	(void)state;
	for (int i = 0; i < MANY; i++)
		map_put(map, key_of(&i), &values[i]);
	for (size_t at = 0; map_next(map, &at, &key, &value); next++) {
		assert_true(slice_eq(key, key_of(&next)));
		assert_ptr_equal(value, &values[next]);
	}
	assert_int_equal(next, MANY);
}

static void the_entry_just_seen_may_be_removed(void **state)
{
	scoped(map) map = map_new();
	struct slice key;
	size_t seen = 0;

	(void)state;
	for (int i = 0; i < MANY; i++)
		map_put(map, key_of(&i), &values[i]);
	for (size_t at = 0; map_next(map, &at, &key, NULL); seen++)
		if (seen % 3 != 0)
			assert_non_null(map_remove(map, key));
	assert_int_equal(seen, MANY);
	assert_int_equal(map_count(map), (MANY + 2) / 3);
	for (size_t at = 0; map_next(map, &at, &key, NULL);)
		map_remove(map, key);
	assert_int_equal(map_count(map), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_found),
		cmocka_unit_test(a_second_put_returns_the_value_replaced),
		cmocka_unit_test(keys_are_bytes_and_copied),
		cmocka_unit_test(keys_of_every_length_are_told_apart),
		cmocka_unit_test(what_is_removed_is_gone_and_may_come_back),
		cmocka_unit_test(a_map_that_lives_long_stays_right),
		cmocka_unit_test(a_queue_of_keys_does_not_grow_the_map),
		cmocka_unit_test(a_walk_sees_each_entry_once_in_the_order_of_arrival),
		cmocka_unit_test(the_entry_just_seen_may_be_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
