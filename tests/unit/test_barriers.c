/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/barriers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void one_answer_passes_all_before_it(void **state)
{
	scoped(barriers) barriers = barriers_new(30);
	int64_t seq = -1;

	(void)state;
	assert_int_equal(barriers_add(barriers, 10, 100), 1);
	assert_int_equal(barriers_add(barriers, 0, 110), 2);
	assert_int_equal(barriers_add(barriers, 20, 120), 3);
	assert_int_equal(barriers_count(barriers), 3);
	assert_int_equal(barriers_deadline(barriers), 130);
	assert_int_equal(barriers_pass(barriers, 2, 125, &seq), HR_OK);
	assert_int_equal(seq, 10);
	assert_int_equal(barriers_count(barriers), 1);
	/* the time of the next begins only now */
	assert_int_equal(barriers_deadline(barriers), 155);
	assert_int_equal(barriers_pass(barriers, 3, 126, &seq), HR_OK);
	assert_int_equal(seq, 20);
	assert_int_equal(barriers_count(barriers), 0);
}

static void an_answer_of_an_earlier_stream_is_to_none(void **state)
{
	scoped(barriers) barriers = barriers_new(30);
	int64_t seq = -1;

	(void)state;
	barriers_add(barriers, 10, 100);
	barriers_add(barriers, 20, 100);
	barriers_forget(barriers);
	assert_int_equal(barriers_add(barriers, 10, 200), 3);
	assert_int_equal(barriers_pass(barriers, 2, 201, &seq), HR_NONE);
	assert_int_equal(barriers_pass(barriers, 4, 201, &seq), HR_NONE);
	assert_int_equal(seq, -1);
	assert_int_equal(barriers_pass(barriers, 3, 201, &seq), HR_OK);
	assert_int_equal(barriers_pass(barriers, 3, 201, &seq), HR_NONE);
}

static void a_ping_that_carries_no_seq_says_only_that_somebody_is_there(void **state)
{
	scoped(barriers) barriers = barriers_new(30);
	int64_t seq = -1;

	(void)state;
	barriers_add(barriers, 0, 100);
	assert_int_equal(barriers_pass(barriers, 1, 101, &seq), HR_OK);
	assert_int_equal(seq, 0);
}

static void many_at_once_keep_their_order(void **state)
{
	scoped(barriers) barriers = barriers_new(30);
	int64_t seq;

	(void)state;
	for (int64_t i = 1; i <= 100; i++)
		assert_int_equal(barriers_add(barriers, i, i), i);
	barriers_postpone(barriers, 1000);
	assert_int_equal(barriers_deadline(barriers), 1030);
	for (int64_t i = 3; i <= 99; i += 3) {
		assert_int_equal(barriers_pass(barriers, (uint64_t)i, 0, &seq), HR_OK);
		assert_int_equal(seq, i);
	}
	assert_int_equal(barriers_count(barriers), 1);
}

static void only_the_server_itself_answers(void **state)
{
	static const struct {
		struct scan_stanza stanza;
		uint64_t number; /* 0: not an answer */
	} rows[] = {
#define ANSWER(kind_, from_, type_, id_) \
	{ .kind = ENVELOPE_##kind_,      \
	  .from = slice_lit(from_),      \
	  .type = slice_lit(type_),      \
	  .id = slice_lit(id_) }
		{ ANSWER(IQ, "im.example", "result", "hr-ping-7"), 7 },
		{ ANSWER(IQ, "im.example", "error", "hr-ping-123456789012345678"),
		  123456789012345678 },
		{ ANSWER(IQ, "im.example", "get", "hr-ping-7"), 0 },
		{ ANSWER(MESSAGE, "im.example", "error", "hr-ping-7"), 0 },
		{ ANSWER(IQ, "eve@im.example", "result", "hr-ping-7"), 0 },
		{ ANSWER(IQ, "im.example", "result", "hr-ping-"), 0 },
		{ ANSWER(IQ, "im.example", "result", "hr-ping-7x"), 0 },
		{ ANSWER(IQ, "im.example", "result", "hr-ping-1234567890123456789"), 0 },
		{ ANSWER(IQ, "im.example", "result", "ping-7"), 0 },
		{ ANSWER(IQ, "im.example", "result", ""), 0 },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		uint64_t number = 0;
		bool is_answer = barriers_answered(&rows[i].stanza, "im.example", &number);
		assert_int_equal(is_answer, rows[i].number > 0);
		assert_int_equal(number, rows[i].number);
	}
}

static void the_id_of_a_ping_is_found_in_its_answer(void **state)
{
	scoped_str id = barriers_id(42);
	const struct scan_stanza answer = { .kind = ENVELOPE_IQ,
					    .from = slice_lit("im.example"),
					    .type = slice_lit("result"),
					    .id = slice_str(id) };
	uint64_t number;

	(void)state;
	assert_true(barriers_answered(&answer, "im.example", &number));
	assert_int_equal(number, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_answer_passes_all_before_it),
		cmocka_unit_test(an_answer_of_an_earlier_stream_is_to_none),
		cmocka_unit_test(a_ping_that_carries_no_seq_says_only_that_somebody_is_there),
		cmocka_unit_test(many_at_once_keep_their_order),
		cmocka_unit_test(only_the_server_itself_answers),
		cmocka_unit_test(the_id_of_a_ping_is_found_in_its_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
