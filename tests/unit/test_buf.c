/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void appends_follow_each_other(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	buf_add(&buf, "ab", 2);
	buf_add_slice(&buf, slice_lit("cd"));
	buf_add_slice(&buf, (struct slice){ 0 });
	buf_add_str(&buf, "ef");
	buf_add_char(&buf, 'g');
	buf_format(&buf, "%d%s", 7, "h");
	assert_string_equal(buf_text(&buf), "abcdefg7h");
	assert_int_equal(buf.len, 9);
	assert_true(slice_is(buf_slice(&buf), "abcdefg7h"));
}

static void an_empty_buffer_is_an_empty_text(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	assert_string_equal(buf_text(&buf), "");
	assert_int_equal(buf.len, 0);
}

static void numbers_are_in_network_order(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	buf_add_u32(&buf, 0x01020304);
	buf_add_u64(&buf, 0x05060708090a0b0c);
	assert_true(slice_eq(buf_slice(&buf),
			     slice_lit("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c")));
}

static void an_append_past_the_cap_appends_nothing(void **state)
{
	scoped_buf buf = BUF_INIT(4);

	(void)state;
	buf_add_str(&buf, "abc");
	buf_add_str(&buf, "de");
	assert_true(buf.overflowed);
	assert_string_equal(buf_text(&buf), "abc");
	buf_format(&buf, "%s", "de");
	assert_int_equal(buf.len, 3);
	assert_null(buf_reserve(&buf, SIZE_MAX));
	buf_clear(&buf);
	assert_false(buf.overflowed);
	buf_format(&buf, "%s", "wxyz");
	assert_false(buf.overflowed);
	assert_string_equal(buf_text(&buf), "wxyz");
}

static void a_format_may_fill_the_room_exactly(void **state)
{
	(void)state;
	for (int len = 0; len < 300; len++) {
		scoped_buf buf = BUF_INIT(300);
		buf_add_char(&buf, '<');
		buf_format(&buf, "%*s", len, "");
		buf_add_str(&buf, len < 299 ? ">" : "");
		assert_false(buf.overflowed);
		assert_int_equal(strlen(buf_text(&buf)), len < 299 ? len + 2 : 300);
	}
}

static void room_is_reserved_and_then_counted(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	memcpy(buf_reserve(&buf, 1000), "xyz", 3);
	assert_int_equal(buf.len, 0);
	buf.len += 3;
	assert_string_equal(buf_text(&buf), "xyz");
}

static void bytes_are_dropped_from_the_front(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	buf_add_str(&buf, "abcdef");
	buf_drop(&buf, 2);
	assert_string_equal(buf_text(&buf), "cdef");
	buf_drop(&buf, 0);
	assert_string_equal(buf_text(&buf), "cdef");
	buf_drop(&buf, 4);
	assert_int_equal(buf.len, 0);
	buf_drop(&buf, 1);
	assert_int_equal(buf.len, 0);
}

static void a_freed_buffer_is_ready_for_use(void **state)
{
	scoped_buf buf = BUF_INIT(5);

	(void)state;
	buf_add_str(&buf, "much too long");
	buf_free(&buf);
	assert_false(buf.overflowed);
	assert_int_equal(buf.cap, 5);
	buf_add_str(&buf, "again");
	assert_string_equal(buf_text(&buf), "again");
}

static void a_large_buffer_keeps_what_it_had(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	for (uint32_t i = 0; i < 100000; i++)
		buf_add_u32(&buf, i);
	assert_int_equal(buf.len, 400000);
	assert_memory_equal(buf.data + 4 * 99999, "\x00\x01\x86\x9f", 4);
}

static void nothing_is_left_of_what_is_wiped(void **state)
{
	scoped_buf buf = BUF_INIT(0);

	(void)state;
	buf_wipe(&buf); /* empty */
	for (int i = 0; i < 100; i++)
		buf_add_str(&buf, "secret");
	buf_drop(&buf, 590); /* what was moved left a trace */
	buf_wipe(&buf);
	assert_int_equal(buf.len, 0);
	for (size_t i = 0; i < buf.size; i++)
		assert_int_equal(buf.data[i], 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_follow_each_other),
		cmocka_unit_test(an_empty_buffer_is_an_empty_text),
		cmocka_unit_test(numbers_are_in_network_order),
		cmocka_unit_test(an_append_past_the_cap_appends_nothing),
		cmocka_unit_test(a_format_may_fill_the_room_exactly),
		cmocka_unit_test(room_is_reserved_and_then_counted),
		cmocka_unit_test(bytes_are_dropped_from_the_front),
		cmocka_unit_test(a_freed_buffer_is_ready_for_use),
		cmocka_unit_test(a_large_buffer_keeps_what_it_had),
		cmocka_unit_test(nothing_is_left_of_what_is_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
