/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { VALID = 1, IS_XML = 2, IS_ASCII = 4, PRINTS = 8 };

static const struct {
	struct slice text;
	int is;
} rows[] = {
	{ { 0 }, VALID | IS_XML | IS_ASCII | PRINTS },
	{ slice_lit("a~!"), VALID | IS_XML | IS_ASCII | PRINTS },
	{ slice_lit("a b"), VALID | IS_XML | IS_ASCII },
	{ slice_lit("\t\r\n"), VALID | IS_XML | IS_ASCII },
	{ slice_lit("\x7f"), VALID | IS_XML | IS_ASCII },
	{ slice_lit("\0"), VALID | IS_ASCII },
	{ slice_lit("\x1f"), VALID | IS_ASCII },
	{ slice_lit("\x0b"), VALID | IS_ASCII },
	{ slice_lit("\xc2\x80"), VALID | IS_XML },
	{ slice_lit("\xdf\xbf\xe0\xa0\x80"), VALID | IS_XML },
	{ slice_lit("\xed\x9f\xbf\xee\x80\x80"), VALID | IS_XML },
	{ slice_lit("\xef\xbf\xbd"), VALID | IS_XML },
	{ slice_lit("\xef\xbf\xbe"), VALID },
	{ slice_lit("\xef\xbf\xbf"), VALID },
	{ slice_lit("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), VALID | IS_XML },
	{ slice_lit("\x80"), 0 },	      /* no beginning */
	{ slice_lit("\xc2"), 0 },	      /* no end */
	{ slice_lit("\xe2\x82"), 0 },	      /* cut */
	{ slice_lit("\xf0\x9f\x98"), 0 },     /* cut */
	{ slice_lit("\xc2\xc2\x80"), 0 },     /* begins anew */
	{ slice_lit("\xc0\x80"), 0 },	      /* overlong */
	{ slice_lit("\xc1\xbf"), 0 },	      /* overlong */
	{ slice_lit("\xe0\x9f\xbf"), 0 },     /* overlong */
	{ slice_lit("\xf0\x8f\xbf\xbf"), 0 }, /* overlong */
	{ slice_lit("\xed\xa0\x80"), 0 },     /* surrogate */
	{ slice_lit("\xed\xbf\xbf"), 0 },     /* surrogate */
	{ slice_lit("\xf4\x90\x80\x80"), 0 }, /* past U+10FFFF */
	{ slice_lit("\xf5\x80\x80\x80"), 0 },
	{ slice_lit("\xff"), 0 },
};

/* The word-wise path must see the same wherever the bytes are: each row at each offset in ASCII. */
static void knows_text_wherever_it_stands(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++)
		for (size_t at = 0; at < 20; at++) {
			char text[40];
			size_t len = rows[i].text.len;
			memset(text, 'x', sizeof text);
			if (len > 0)
				memcpy(text + at, rows[i].text.data, len);
			struct slice whole = { text, sizeof text }, end = { text, at + len };
			bool printable = (rows[i].is & PRINTS) != 0;
			assert_int_equal(utf8_valid(whole), (rows[i].is & VALID) != 0);
			assert_int_equal(utf8_valid(end), (rows[i].is & VALID) != 0);
			bool has_nul = len > 0 && memchr(rows[i].text.data, '\0', len);
			assert_int_equal(utf8_text(whole), (rows[i].is & VALID) && !has_nul);
			assert_int_equal(utf8_xml(whole), (rows[i].is & IS_XML) != 0);
			assert_int_equal(utf8_xml(end), (rows[i].is & IS_XML) != 0);
			assert_int_equal(utf8_ascii(whole), (rows[i].is & IS_ASCII) != 0);
			assert_int_equal(utf8_ascii(end), (rows[i].is & IS_ASCII) != 0);
			assert_int_equal(utf8_printable(end), printable);
		}
}

static void reads_one_character(void **state)
{
	static const struct {
		struct slice text;
		size_t len;
		uint32_t code;
	} table[] = {
		{ { 0 }, 0, 7 },
		{ slice_lit("a\xff"), 1, 'a' },
		{ slice_lit("\0"), 1, 0 },
		{ slice_lit("\xc2\x85z"), 2, 0x85 },
		{ slice_lit("€"), 3, 0x20ac },
		{ slice_lit("😀"), 4, 0x1f600 },
		{ slice_lit("\xe2\x82"), 0, 7 },
		{ slice_lit("\xed\xa0\x80"), 0, 7 },
		{ slice_lit("\x80"), 0, 7 },
	};

	(void)state;
	for (size_t i = 0; i < countof(table); i++) {
		uint32_t code = 7;
		assert_int_equal(utf8_next(table[i].text, &code), table[i].len);
		assert_int_equal(code, table[i].code);
	}
}

static void cuts_between_characters(void **state)
{
	(void)state;
	struct slice text = slice_lit("aé€😀");
	static const size_t expected[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10 };

	for (size_t max = 0; max < countof(expected); max++)
		assert_int_equal(utf8_cut(text, max).len, expected[max]);
	assert_int_equal(utf8_cut((struct slice){ 0 }, 5).len, 0);
}

static void writes_every_character_as_it_reads_it(void **state)
{
	(void)state;
	for (uint32_t code = 0; code <= 0x110000; code++) {
		char text[4];
		size_t len = utf8_put(code, text);
		uint32_t read = 0;
		bool exists = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
		assert_int_equal(len != 0, exists);
		assert_int_equal(utf8_next((struct slice){ text, len }, &read), len);
		assert_int_equal(read, exists ? code : 0);
		assert_int_equal(utf8_next((struct slice){ text, len ? len - 1 : 0 }, &read), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_text_wherever_it_stands),
		cmocka_unit_test(reads_one_character),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(writes_every_character_as_it_reads_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
