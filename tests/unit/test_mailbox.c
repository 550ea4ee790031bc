/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/mailbox.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define TEN "aaaaaaaaaa"
#define SIXTY TEN TEN TEN TEN TEN TEN
#define LABELS SIXTY "." SIXTY "." SIXTY "." SIXTY

static const struct {
	const char *text;
	const char *local, *domain; /* NULL: not a mailbox */
	const char *why;	    /* then part of the reason */
} rows[] = {
	{ "ada@example.com", "ada", "example.com", NULL },
	{ "ada.adams+x@mail.example.com", "ada.adams+x", "mail.example.com", NULL },
	{ "o'neil/x=y@example.com", "o'neil/x=y", "example.com", NULL },
	{ "jörg@müller.example", "jörg", "müller.example", NULL },
	{ "\"a b@c\\\"d\"@example.com", "\"a b@c\\\"d\"", "example.com", NULL },
	{ "ada@[192.0.2.1]", "ada", "[192.0.2.1]", NULL },
	{ "ada@[IPv6:2001:db8::1]", "ada", "[IPv6:2001:db8::1]", NULL },
	{ "a@b", "a", "b", NULL },
	{ "", NULL, NULL, "before @" },
	{ "ada", NULL, NULL, "no @" },
	{ "@example.com", NULL, NULL, "before @" },
	{ "ada@", NULL, NULL, "after @" },
	{ "ada@@example.com", NULL, NULL, "after @" },
	{ ".ada@example.com", NULL, NULL, "before @" },
	{ "ada.@example.com", NULL, NULL, "before @" },
	{ "a..b@example.com", NULL, NULL, "before @" },
	{ "ada@example..com", NULL, NULL, "after @" },
	{ "ada@example.com.", NULL, NULL, "after @" },
	{ "ada@-example.com", NULL, NULL, "after @" },
	{ "ada@example-.com", NULL, NULL, "after @" },
	{ "ada@exa_mple.com", NULL, NULL, "follows" },
	{ "ada@[]", NULL, NULL, "after @" },
	{ "ada@[192.0.2.1", NULL, NULL, "after @" },
	{ "ada@example.com ", NULL, NULL, "follows" },
	{ "ada@example.com\r\nX: y", NULL, NULL, "follows" },
	{ "ada adams@example.com", NULL, NULL, "no @" },
	{ "\"ada@example.com", NULL, NULL, "before @" },
	{ "\"a\r\nb\"@example.com", NULL, NULL, "before @" },
	{ "\"a\\\nb\"@example.com", NULL, NULL, "before @" },
	{ "\"a\"b@example.com", NULL, NULL, "no @" },
	{ "\xff@example.com", NULL, NULL, "not UTF-8" },
	{ "a@\xc3.example", NULL, NULL, "not UTF-8" },
	{ SIXTY "aaaa@example.com", SIXTY "aaaa", "example.com", NULL },
	{ SIXTY "aaaaa@example.com", NULL, NULL, "longer than 64" },
	{ "a@" SIXTY "aaa.com", "a", SIXTY "aaa.com", NULL },
	{ "a@" SIXTY "aaaa.com", NULL, NULL, "after @" },
	{ "a@" LABELS "." TEN, "a", LABELS "." TEN, NULL },
	{ "a@" LABELS "." TEN "aa", NULL, NULL, "longer than 255" },
};

static void tells_a_mailbox_from_what_is_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct mailbox box;
		struct hr_err err;
		enum hr_status status = mailbox_parse(slice_str(rows[i].text), &box, &err);
		if (!rows[i].local) {
			if (status != HR_FAIL || !strstr(err.text, rows[i].why))
				fail_msg("%s: %s", rows[i].text, err.text);
			continue;
		}
		if (status != HR_OK)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_true(slice_is(box.local, rows[i].local));
		assert_true(slice_is(box.domain, rows[i].domain));
		assert_true(slice_is(box.text, rows[i].text));
		assert_int_equal(box.is_utf8, strstr(rows[i].text, "ü") != NULL);
	}
}

static const struct {
	const char *text;
	enum hr_status status;
	const char *address;
	size_t len;
} paths[] = {
	{ "<ada@example.com> SIZE=1", HR_OK, "ada@example.com", 17 },
	{ "<@a.example,@b.example:ada@example.com>", HR_OK, "ada@example.com", 39 },
	{ "<\"a>b\"@example.com>", HR_OK, "\"a>b\"@example.com", 19 },
	{ "<>", HR_NONE, NULL, 2 },
	{ "<> BODY=7BIT", HR_NONE, NULL, 2 },
	{ "", HR_FAIL, NULL, 0 },
	{ "<", HR_FAIL, NULL, 0 },
	{ "ada@example.com", HR_FAIL, NULL, 0 },
	{ "<ada@example.com", HR_FAIL, NULL, 0 },
	{ "<ada@example.com SIZE=1>", HR_FAIL, NULL, 0 },
	{ "<@a.example>", HR_FAIL, NULL, 0 },
	{ "<@a.example:>", HR_FAIL, NULL, 0 },
	{ "<@a.example,ada@example.com>", HR_FAIL, NULL, 0 },
	{ "<@:ada@example.com>", HR_FAIL, NULL, 0 },
	{ "<postmaster>", HR_FAIL, NULL, 0 },
};

static void reads_a_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(paths); i++) {
		struct mailbox box = { 0 };
		struct hr_err err;
		size_t len = 0;
		enum hr_status status =
			mailbox_parse_path(slice_str(paths[i].text), &box, &len, &err);
		if (status != paths[i].status)
			fail_msg("%s: %s", paths[i].text, hr_status_name(status));
		assert_int_equal(len, paths[i].len);
		if (paths[i].address)
			assert_true(slice_is(box.text, paths[i].address));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_a_mailbox_from_what_is_none),
		cmocka_unit_test(reads_a_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
