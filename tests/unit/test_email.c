/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/email.h"

#include "federation/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void an_address_is_a_mailbox_but_for_its_escapes(void **state)
{
	static const struct {
		const char *address, *mailbox;
		bool is_outsider;
	} rows[] = {
		{ "ada@example.com", "ada@example.com", false },
		{ "o\\27hara@example.com", "o'hara@example.com", false },
		{ "a\\26b\\2fc@example.com", "a&b/c@example.com", false },
		{ "back\\slash@example.com", "back\\slash@example.com", false },
		{ "end\\4@example.com", "end\\4@example.com", false },
		{ "grüße@bücher.example", "grüße@bücher.example", false },
		{ "eve\\40gmail.example@example.com", "eve@gmail.example", true },
		{ "o\\27hara\\40gmail.example@example.com", "o'hara@gmail.example", true },
		/* nobody, or nowhere */
		{ "\\40gmail.example@example.com", "@gmail.example@example.com", false },
		{ "eve\\40@example.com", "eve@@example.com", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		scoped_buf out = BUF_INIT(0);

		email_of_address(slice_str(rows[i].address), &out);
		assert_string_equal(buf_text(&out), rows[i].mailbox);
		assert_int_equal(email_is_outsider(slice_str(rows[i].address)),
				 rows[i].is_outsider);
	}
}

static void a_mailbox_is_an_address_with_what_an_address_cannot_have_escaped(void **state)
{
	static const struct {
		const char *local, *address;
	} rows[] = {
		{ "ada", "ada@example.com" },
		{ "o'hara", "o\\27hara@example.com" },
		{ "a&b/c", "a\\26b\\2fc@example.com" },
		{ "grüße+x", "grüße+x@example.com" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		scoped_buf out = BUF_INIT(0);

		email_to_address(slice_str(rows[i].local), slice_lit("example.com"), &out);
		assert_string_equal(buf_text(&out), rows[i].address);
	}
}

static void an_outsider_gets_an_address_that_leads_back(void **state)
{
	static const char *const own[] = { "eve@gmail.example", "o\\27hara@gmail.example",
					   "é@bücher.example" };

	(void)state;
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		scoped_buf address = BUF_INIT(0);
		scoped_buf there = BUF_INIT(0);
		scoped_buf back = BUF_INIT(0);
		scoped_address parsed = { 0 };
		struct hr_err err;

		email_outsider(slice_str(own[i]), "example.com", &address);
		assert_true(email_is_outsider(buf_slice(&address)));
		assert_int_equal(address_parse(buf_slice(&address), &parsed, &err), HR_OK);
		assert_true(slice_eq(address_full(&parsed), buf_slice(&address)));
		email_of_address(buf_slice(&address), &there);
		email_of_address(slice_str(own[i]), &back);
		assert_true(slice_eq(buf_slice(&there), buf_slice(&back)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mailbox_is_an_address_with_what_an_address_cannot_have_escaped),
		cmocka_unit_test(an_address_is_a_mailbox_but_for_its_escapes),
		cmocka_unit_test(an_outsider_gets_an_address_that_leads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
