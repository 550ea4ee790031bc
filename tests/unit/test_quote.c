/* SPDX-License-Identifier: Apache-2.0 */
/* The mails of tests/mail show what clients write; these are the edges. */
#include "gateway/mail/quote.h"

#include "base/mem.h"
#include "gateway/mail/flowed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	const char *text, *kept;
	bool is_cut;
} rows[] = {
	{ "", "", false },
	{ "\n\n \n", "", false },
	{ "a\n\n\n\nb  \n\n", "a\n\nb\n", false },
	{ "a", "a\n", false },
	{ "> a\n", "> a\n", false },
	{ "a\n> b\n", "a\n", true },
	{ "a\n\n-=- words -=-\nb\n", "a\n", true },
	{ "a\n> > *-=- words -=-*\n> b\n", "a\n", true },
	{ "-=- words -=-\nb\n", "", true },
	{ "-=-\na\n-=-=-\n", "-=-\na\n-=-=-\n", false },
	{ "a\n-- \nb\n", "a\n", true },
	{ "a\n--\nb\n", "a\n", true },
	{ "a\n---\nb\n", "a\n---\nb\n", false },
	{ "-- \nb\n", "", true },
	{ "a\n\x01\nb\n", "a\n", true },
	{ "a\n\x02\nb\n", "a\n", true },
	{ "a\n\x01\n", "a\n", false },
	{ "\x01\nb\n", "b\n", false },
	{ "éa\nüb\n", "éa\nüb\n", false },
	/* attributions, sure and likely */
	{ "a\nOn Monday Ada wrote:\nb\n", "a\nOn Monday Ada wrote:\nb\n", false },
	{ "a\nOn Monday Ada wrote:\n\n> b\n", "a\n", true },
	{ "a\nOn 1 May Ada wrote:\nb\n", "a\n", true },
	{ "a\nOn 1 May\nAda\n<ada@example.com>\nwrote:\nb\n", "a\n", true },
	{ "a\nOn 1 May\n\nAda wrote:\nb\n", "a\nOn 1 May\n\nAda wrote:\nb\n", false },
	{ "a\nOn 1 May we met. She wrote a lot:\nb\n", "a\n", true }, /* the price of being sure */
	{ "a\nHe wrote:\n> b\n", "a\n", true },
	{ "On 1 May I can.\nOn 2 May Ada wrote:\n> b\n", "On 1 May I can.\n", true },
	{ "1 or 2?\n2 maj 2024 Ada napisa\xc5\x82:\n> b\n", "1 or 2?\n", true },
	{ "a\nTodo:\n> b\n", "a\nTodo:\n", true },
	{ "a\nAda <ada@example.com>:\n> b\n", "a\n", true },
	/* little headers */
	{ "a\nFrom: x\nTo: y\nSubject: z\nb\n", "a\n", true },
	{ "a\n*From:* x\n\n*Sent:* y\n\n*To:* z\nb\n", "a\n", true },
	{ "a\nFrom: x\nTo: y\nb\n", "a\nFrom: x\nTo: y\nb\n", false },
	{ "a\nTo: y\nSubject: z\nb\n", "a\nTo: y\nSubject: z\nb\n", false },
	{ "a\n__________\nFrom: x\nTo: y\nSubject: z\n", "a\n", true },
	{ "a\n__________\nb\n", "a\n__________\nb\n", false },
	{ "From: x\nTo: y\nSubject: z\nb\n", "From: x\nTo: y\nSubject: z\nb\n", false },
	/* adverts */
	{ "a\n\nSent from my phone\n", "a\n", true },
	{ "Sent from my phone\n", "", true },
	{ "Sent from my phone\na\n", "Sent from my phone\na\n", false },
	/* answers */
	{ "> q\na\n> r\nb\n", "> q\n\na\n\n> r\n\nb\n", true },
	{ "> 1\n> 2\n> 3\n> 4\na\n> 5\n", "> 2\n> 3\n> 4\n\na\n", true },
	{ "> q\n\na\n", "a\n", true },
	{ "t\n> q\n\nfooter\n", "t\n", true },
	{ "t\n> q\na\n> r\n\nb\n", "t\n\n> q\n\na\n\n> r\n\nb\n", true },
	{ "> q\na\n-- \ns\n", "a\n", true },
	/* passed on */
	{ "a\n---------- Forwarded message ---------\nFrom: x\nTo: y\nSubject: z\n> b\n",
	  "a\n---------- Forwarded message ---------\nFrom: x\nTo: y\nSubject: z\n> b\n", false },
	{ "a\n\x01\n---------- Forwarded message ---------\nb\n",
	  "a\n---------- Forwarded message ---------\nb\n", false },
	{ "a\nBegin forwarded message:\n\n> -=- x -=-\n", "a\n", true },
	{ "a\n> q\n---------- Forwarded message ---------\nb\n", "a\n", true },
};

static void keeps_what_the_author_wrote(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_buf out = BUF_INIT(0);
		bool is_cut = quote_cut(slice_str(rows[i].text), &out);
		if (strcmp(buf_text(&out), rows[i].kept) != 0 || is_cut != rows[i].is_cut)
			fail_msg("%s -> %d %s\nnot %s", rows[i].text, is_cut, buf_text(&out),
				 rows[i].kept);
	}
}

static void is_not_slowed_down_by_many_lines(void **state)
{
	static const char *const lines[] = {
		"\n",
		"> \n",
		"a\n> b\n",
		"On 1 May\n",
		"From: x\n",
		"-- \n",
		"\x01\n",
		"a\n",
		"> a\nb\n> c\n\n",
		"On 1 May Ada wrote\n",
		"-=- x -=-\n",
		">",
		"Sent from my x\n",
	};

	(void)state;
	for (size_t i = 0; i < countof(lines); i++) {
		scoped_buf text = BUF_INIT(0), out = BUF_INIT(0);
		for (size_t n = 0; n < 50000; n++)
			buf_add_str(&text, lines[i]);
		quote_cut(buf_slice(&text), &out);
		assert_true(out.len <= 2 * text.len + 1);
	}
}

static const struct {
	const char *text;
	bool delsp;
	const char *made;
} flowed[] = {
	{ "", false, "" },
	{ "a \nb\n", false, "a b\n" },
	{ "a \nb\n", true, "ab\n" },
	{ "a \n\nb", false, "a \n\nb\n" },
	{ "a \n> b\n", false, "a \n> b\n" },
	{ "> a \n> b\n", false, "> a b\n" },
	{ ">> a \n> b\n>c", false, "> > a \n> b\n> c\n" },
	{ " > a\n  b\n", false, "> a\n b\n" },
	{ "a \n-- \nb\n", false, "a \n-- \nb\n" },
	{ "> -- \n> b\n", false, "> -- \n> b\n" },
	{ "a ", false, "a " },
};

static void unfolds_what_was_folded(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(flowed); i++) {
		scoped_buf out = BUF_INIT(1000);
		flowed_to_text(slice_str(flowed[i].text), flowed[i].delsp, &out);
		assert_string_equal(buf_text(&out), flowed[i].made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_the_author_wrote),
		cmocka_unit_test(is_not_slowed_down_by_many_lines),
		cmocka_unit_test(unfolds_what_was_folded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
