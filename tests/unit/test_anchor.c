/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/anchor.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const char raw[] = "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";

static void bytes_become_text_in_the_order_of_their_kind(void **state)
{
	char text[ANCHOR_CHARS + 1];

	(void)state;
	assert_true(anchor_from_uuid((struct slice){ raw, 16 }, text));
	assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
	assert_true(anchor_from_guid((struct slice){ raw, 16 }, text));
	assert_string_equal(text, "33221100-5544-7766-8899-aabbccddeeff");
	assert_false(anchor_from_uuid((struct slice){ raw, 15 }, text));
	assert_false(anchor_from_guid((struct slice){ raw, 17 }, text));
}

static void both_texts_of_a_guid_are_read_back(void **state)
{
	static const char *const bad[] = {
		"",
		"33221100-5544-7766-8899-aabbccddeef",
		"33221100-5544-7766-8899-aabbccddeefg",
		"33221100+5544-7766-8899-aabbccddeeff",
		"0011223344556677889-aabbccddeeff",
	};
	unsigned char bytes[ANCHOR_RAW];

	(void)state;
	assert_true(anchor_to_guid(slice_lit("33221100-5544-7766-8899-AABBCCddeeff"), bytes));
	assert_memory_equal(bytes, raw, 16);
	assert_true(anchor_to_guid(slice_lit("00112233445566778899aabbccddeeff"), bytes));
	assert_memory_equal(bytes, raw, 16);
	for (size_t i = 0; i < countof(bad); i++)
		assert_false(anchor_to_guid(slice_str(bad[i]), bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_become_text_in_the_order_of_their_kind),
		cmocka_unit_test(both_texts_of_a_guid_are_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
