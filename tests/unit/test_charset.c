/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/charset.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define BAD "\xef\xbf\xbd"

static const struct {
	struct slice bytes;
	const char *charset, *text;
} rows[] = {
	{ { "abc", 3 }, NULL, "abc" },
	{ { "", 0 }, "utf-8", "" },
	{ { "Gr\xc3\xbc\xc3\x9f"
	    "e",
	    7 },
	  "utf-8",
	  "Grüße" },
	{ { "Gr\xc3\xbc\xc3\x9f"
	    "e",
	    7 },
	  NULL,
	  "Grüße" },
	{ { "Gr\xc3\xbc\xc3\x9f"
	    "e",
	    7 },
	  "us-ascii",
	  "Grüße" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  NULL,
	  "Grüße" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  "US-ASCII",
	  "Grüße" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  "iso-8859-1",
	  "Grüße" },
	{ { "\x80 \x93x\x94", 5 }, "ISO-8859-1", "€ “x”" },
	{ { "\xa4", 1 }, "iso-8859-15", "€" },
	{ { "\xcf\xf0\xe8", 3 }, "windows-1251", "При" },
	{ { "\xf0\xd2\xc9", 3 }, "koi8-r", "При" },
	{ { "\x1b$B$3$s\x1b(B", 10 }, "iso-2022-jp", "こん" },
	{ { "\x82\xb1", 2 }, "Shift_JIS", "こ" },
	{ { "\xc4\xe3\xba\xc3", 4 }, "gb2312", "你好" },
	{ { "+AOk-", 5 }, "utf-7", "é" },
	{ { "\xff\xfe"
	    "a\0b\0",
	    6 },
	  "utf-16",
	  "ab" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  "no-such-charset",
	  "Grüße" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  "utf-16//IGNORE",
	  "Grüße" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  "../../../tmp/x",
	  "Grüße" },
	{ { "Gr\xfc\xdf"
	    "e",
	    5 },
	  "",
	  "Grüße" },
	{ { "a\xff\xc3(b\xed\xa0\x80", 8 }, "utf-8", "a" BAD BAD "(b" BAD BAD BAD },
	{ { "\xe3\x81", 2 }, "utf-8", BAD BAD },
	{ { "a\x82", 2 }, "shift_jis", "a" BAD },
	{ { "a\xa1\x20"
	    "b",
	    4 },
	  "euc-jp",
	  "a" BAD " b" },
	{ { "a\0\x01\x08\x0b\x1f\x7f\xc2\x85"
	    "b",
	    10 },
	  "utf-8",
	  "ab" },
	{ { "\xef\xbb\xbfx\xef\xbf\xbe\xef\xbf\xbf", 10 }, "utf-8", "x" },
	{ { "a\r\nb\rc\nd\r\r\n", 10 }, "utf-8", "a\nb\nc\nd\n\n" },
	{ { "a\tb", 3 }, "utf-8", "a\tb" },
};

static void makes_text_of_any_charset(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_buf out = BUF_INIT(0);
		charset_to_utf8(rows[i].bytes, rows[i].charset, &out);
		if (strcmp(buf_text(&out), rows[i].text) != 0)
			fail_msg("row %zu: %s, not %s", i, buf_text(&out), rows[i].text);
		assert_true(utf8_xml(buf_slice(&out)));
	}
}

static void cuts_between_characters_where_there_is_no_room(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++)
		for (size_t max = 1; max < strlen(rows[i].text); max++) {
			scoped_buf out = BUF_INIT(max);
			charset_to_utf8(rows[i].bytes, rows[i].charset, &out);
			assert_true(out.overflowed);
			assert_true(out.len <= max && out.len + 4 > max);
			assert_memory_equal(out.data ? out.data : "", rows[i].text, out.len);
			assert_true(utf8_xml(buf_slice(&out)));
		}
}

static void survives_every_two_bytes_in_every_charset(void **state)
{
	static const char *const charsets[] = {
		"utf-8",       "utf-7",	      "utf-16",	 "utf-32",	  "iso-2022-jp",
		"iso-2022-kr", "iso-2022-cn", "gb18030", "big5",	  "euc-jp",
		"euc-kr",      "shift_jis",   "koi8-r",	 "hz-gb-2312",	  "windows-1255",
		"ibm037",      "tscii",	      "unicode", "iso-2022-jp-3", "iso-2022-cn-ext",
		"utf-7-imap",  "macintosh",
	};

	(void)state;
	for (size_t i = 0; i < countof(charsets); i++)
		for (unsigned n = 0; n < 0x10000; n += 7) {
			const char bytes[] = {
				'\x1b', (char)(n >> 8), (char)n, '\x0e', 'a', (char)n
			};
			scoped_buf out = BUF_INIT(0);
			charset_to_utf8((struct slice){ bytes, sizeof bytes }, charsets[i], &out);
			assert_true(utf8_xml(buf_slice(&out)));
		}
}

static void makes_one_line(void **state)
{
	scoped_str line = charset_line(slice_lit(" \t a\r\n b\xff\x01 \n\n c  "), 100);
	scoped_str cut = charset_line(slice_lit("ab \xc3\xbc"), 4);
	scoped_str empty = charset_line(slice_lit(" \n "), 4);

	(void)state;
	assert_string_equal(line, "a b" BAD " c");
	assert_string_equal(cut, "ab");
	assert_string_equal(empty, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_text_of_any_charset),
		cmocka_unit_test(cuts_between_characters_where_there_is_no_room),
		cmocka_unit_test(survives_every_two_bytes_in_every_charset),
		cmocka_unit_test(makes_one_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
