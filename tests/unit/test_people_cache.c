/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/people_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX = 100 };

static size_t dropped;

static void drop(void *ctx, struct person *person)
{
	assert_ptr_equal(ctx, &dropped);
	dropped++;
	person_free(person);
}

static struct people_cache *fresh_cache(size_t max)
{
	dropped = 0;
	return people_cache_new(max, drop, &dropped);
}

static struct person *person_at(const char *address, const char *site)
{
	struct person *person = mem_new(struct person);

	person->address = str_dup(address);
	person->site = str_dup(site);
	return person;
}

static enum hr_status find(struct people_cache *cache, const char *key, const struct person **out)
{
	return people_cache_find(cache, PEOPLE_ADDRESS, slice_str(key), out);
}

/* Asks for all that is wanted and answers: "nobody..." does not exist. Returns how many. */
static size_t answer_all(struct people_cache *cache, enum people_key kind, const char *site)
{
	struct slice keys[MAX];
	uint64_t round;
	size_t n = people_cache_ask(cache, kind, keys, MAX, &round);

	for (size_t i = 0; i < n; i++) {
		scoped_str key = mem_dup(keys[i].data, keys[i].len);
		bool nobody = strncmp(key, "nobody", 6) == 0;
		people_cache_answer(cache, kind, keys[i], nobody ? NULL : person_at(key, site),
				    round);
	}
	return n;
}

static void knows_what_was_answered_until_a_flush(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(MAX);
	const struct person *person = NULL;

	assert_int_equal(find(cache, "ada", &person), HR_RETRY);
	assert_int_equal(find(cache, "nobody", &person), HR_RETRY);
	assert_int_equal(find(cache, "ada", &person), HR_RETRY); /* asked once */
	assert_int_equal(people_cache_wanted(cache, PEOPLE_ADDRESS), 2);
	assert_int_equal(people_cache_wanted(cache, PEOPLE_NATIVE), 0);
	assert_int_equal(answer_all(cache, PEOPLE_ADDRESS, "a"), 2);
	assert_int_equal(people_cache_wanted(cache, PEOPLE_ADDRESS), 0);
	assert_int_equal(find(cache, "ada", &person), HR_OK);
	assert_string_equal(person->address, "ada");
	assert_int_equal(find(cache, "nobody", &person), HR_NONE);
	assert_string_equal(person->address, "ada"); /* *out is untouched */

	people_cache_flush(cache);
	assert_int_equal(find(cache, "ada", &person), HR_RETRY);
	assert_int_equal(find(cache, "nobody", &person), HR_RETRY);
	assert_int_equal(dropped, 0); /* handed out perhaps: kept until there is a better answer */
	answer_all(cache, PEOPLE_ADDRESS, "b");
	assert_int_equal(dropped, 1);
	assert_int_equal(find(cache, "ada", &person), HR_OK);
	assert_string_equal(person->site, "b");
}

static void keeps_addresses_and_native_addresses_apart(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(MAX);
	const struct person *person;

	find(cache, "ada", &person);
	answer_all(cache, PEOPLE_ADDRESS, "a");
	assert_int_equal(people_cache_find(cache, PEOPLE_NATIVE, slice_lit("ada"), &person),
			 HR_RETRY);
	answer_all(cache, PEOPLE_NATIVE, "b");
	assert_int_equal(people_cache_find(cache, PEOPLE_NATIVE, slice_lit("ada"), &person), HR_OK);
	assert_string_equal(person->site, "b");
	assert_int_equal(find(cache, "ada", &person), HR_OK);
	assert_string_equal(person->site, "a");
}

static void believes_no_answer_to_a_question_from_before_a_flush(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(MAX);
	const struct person *person;
	struct slice key;
	uint64_t round;

	find(cache, "ada", &person);
	assert_int_equal(people_cache_ask(cache, PEOPLE_ADDRESS, &key, 1, &round), 1);
	people_cache_flush(cache);
	assert_int_equal(find(cache, "ada", &person), HR_RETRY); /* it is under way */
	assert_int_equal(people_cache_wanted(cache, PEOPLE_ADDRESS), 0);
	people_cache_answer(cache, PEOPLE_ADDRESS, key, person_at("ada", "old"), round);
	assert_int_equal(find(cache, "ada", &person), HR_RETRY);
	assert_int_equal(answer_all(cache, PEOPLE_ADDRESS, "new"), 1); /* asked again by itself */
	assert_int_equal(find(cache, "ada", &person), HR_OK);
	assert_string_equal(person->site, "new");
}

static void asks_again_for_what_got_no_answer(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(MAX);
	const struct person *person;
	struct slice keys[3];
	uint64_t round;

	find(cache, "ada", &person);
	find(cache, "bob", &person);
	find(cache, "cyd", &person);
	assert_int_equal(people_cache_ask(cache, PEOPLE_ADDRESS, keys, 3, &round), 3);
	people_cache_answer(cache, PEOPLE_ADDRESS, keys[1], person_at("bob", "a"), round);
	people_cache_retry(cache, PEOPLE_ADDRESS, keys, 3);
	assert_int_equal(people_cache_wanted(cache, PEOPLE_ADDRESS), 2);
	assert_int_equal(find(cache, "bob", &person), HR_OK);
	people_cache_retry(cache, PEOPLE_ADDRESS, keys, 3); /* wanted already */
	assert_int_equal(people_cache_wanted(cache, PEOPLE_ADDRESS), 2);
	answer_all(cache, PEOPLE_ADDRESS, "a");
	assert_int_equal(find(cache, "ada", &person), HR_OK);
	assert_int_equal(find(cache, "cyd", &person), HR_OK);
}

static void asks_in_order_and_in_portions(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(1000);
	const struct person *person;
	struct slice keys[30];
	uint64_t round;
	int at = 0;

	for (int i = 0; i < 100; i++) {
		scoped_str key = str_format("p%d", i);
		find(cache, key, &person);
	}
	for (size_t n; (n = people_cache_ask(cache, PEOPLE_ADDRESS, keys, 30, &round)) > 0;)
		for (size_t i = 0; i < n; i++) {
			scoped_str key = str_format("p%d", at++);
			assert_true(slice_is(keys[i], key));
		}
	assert_int_equal(at, 100);
}

static void ignores_answers_to_what_was_not_asked(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(MAX);
	const struct person *person;

	people_cache_answer(cache, PEOPLE_ADDRESS, slice_lit("eve"), person_at("eve", "a"), 0);
	assert_int_equal(people_cache_count(cache), 0);
	find(cache, "ada", &person);
	people_cache_answer(cache, PEOPLE_ADDRESS, slice_lit("ada"), person_at("ada", "a"), 0);
	assert_int_equal(find(cache, "ada", &person), HR_RETRY); /* wanted, not asked yet */
	answer_all(cache, PEOPLE_ADDRESS, "b");
	people_cache_answer(cache, PEOPLE_ADDRESS, slice_lit("ada"), person_at("ada", "c"), 0);
	assert_int_equal(find(cache, "ada", &person), HR_OK);
	assert_string_equal(person->site, "b");
}

static void forgets_the_unused_when_it_is_full(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(MAX);
	const struct person *person;

	for (int i = 0; i < 20 * MAX; i++) {
		scoped_str key = str_format("p%d", i);
		assert_int_equal(find(cache, key, &person), HR_RETRY);
		answer_all(cache, PEOPLE_ADDRESS, "a");
		assert_int_equal(find(cache, key, &person), HR_OK);
		assert_int_equal(find(cache, "p0", &person), HR_OK); /* in use: stays */
	}
	assert_int_equal(people_cache_count(cache), MAX);
	assert_int_equal(dropped, 19 * MAX);
	assert_int_equal(find(cache, "p1", &person), HR_RETRY);
}

static void never_forgets_what_is_being_asked(void **state)
{
	(void)state;
	scoped(people_cache) cache = fresh_cache(10);
	const struct person *person;

	for (int i = 0; i < 50; i++) {
		scoped_str key = str_format("p%d", i);
		find(cache, key, &person);
	}
	assert_int_equal(people_cache_count(cache), 50);
	assert_int_equal(answer_all(cache, PEOPLE_ADDRESS, "a"), 50);
	for (int i = 0; i < 50; i++) {
		scoped_str key = str_format("p%d", i);
		assert_int_equal(find(cache, key, &person), HR_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_what_was_answered_until_a_flush),
		cmocka_unit_test(keeps_addresses_and_native_addresses_apart),
		cmocka_unit_test(believes_no_answer_to_a_question_from_before_a_flush),
		cmocka_unit_test(asks_again_for_what_got_no_answer),
		cmocka_unit_test(asks_in_order_and_in_portions),
		cmocka_unit_test(ignores_answers_to_what_was_not_asked),
		cmocka_unit_test(forgets_the_unused_when_it_is_full),
		cmocka_unit_test(never_forgets_what_is_being_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
