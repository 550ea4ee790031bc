/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
	const char *text, *expected; /* expected: the prepared form, or part of the complaint */
};

static struct slice any(const char *text)
{
	return slice_str(text);
}

static void expect_prepared(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		scoped_address address = { 0 };
		struct hr_err err = { 0 };
		if (address_parse(any(rows[i].text), &address, &err) != HR_OK)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_string_equal(address.text, rows[i].expected);
		assert_int_equal(address.len, strlen(rows[i].expected));

		scoped_address again = { 0 };
		assert_int_equal(address_parse(address_full(&address), &again, &err), HR_OK);
		assert_string_equal(again.text, address.text);
	}
}

static void expect_refused(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		scoped_address address = { 0 };
		struct hr_err err = { 0 };
		if (address_parse(any(rows[i].text), &address, &err) != HR_FAIL)
			fail_msg("%s was taken as %s", rows[i].text, address.text);
		assert_null(address.text);
		assert_non_null(strstr(err.text, rows[i].expected));
	}
}

#define PREPARED(...)                                              \
	do {                                                       \
		static const struct row rows_[] = { __VA_ARGS__ }; \
		expect_prepared(rows_, countof(rows_));            \
	} while (0)
#define REFUSED(...)                                               \
	do {                                                       \
		static const struct row rows_[] = { __VA_ARGS__ }; \
		expect_refused(rows_, countof(rows_));             \
	} while (0)

static void takes_the_examples_of_rfc_7622(void **state)
{
	(void)state;
	PREPARED({ "juliet@example.com", "juliet@example.com" },
		 { "juliet@example.com/foo", "juliet@example.com/foo" },
		 { "juliet@example.com/foo bar", "juliet@example.com/foo bar" },
		 { "juliet@example.com/foo@bar", "juliet@example.com/foo@bar" },
		 { "foo\\20bar@example.com", "foo\\20bar@example.com" },
		 { "fussball@example.com", "fussball@example.com" },
		 { "π@example.com", "π@example.com" },
		 { "king@example.com/♚", "king@example.com/♚" }, { "example.com", "example.com" },
		 { "example.com/foobar", "example.com/foobar" },
		 { "a.example.com/b@example.net", "a.example.com/b@example.net" });
	REFUSED({ "\"juliet\"@example.com", "local part has a forbidden" },
		{ "foo bar@example.com", "local part has a forbidden" },
		{ "@example.com/", "local part is empty" }, { "henryⅣ@", "domain is empty" },
		{ "juliet@", "domain is empty" }, { "/foobar", "domain is empty" });
}

static void folds_case_where_the_profile_does(void **state)
{
	(void)state;
	PREPARED({ "Ada.Adams@Example.COM/Work", "ada.adams@example.com/Work" },
		 { "JÜRGEN@example.com", "jürgen@example.com" },
		 { "STRASSE@example.com", "strasse@example.com" },
		 { "straße@example.com", "strasse@example.com" },
		 { "Σ@example.com", "σ@example.com" }, { "ς@example.com", "σ@example.com" },
		 { "example.com/BÜRO", "example.com/BÜRO" });
}

static void brings_unicode_to_one_form(void **state)
{
	(void)state;
	PREPARED({ "a\xcc\x8a@example.com", "å@example.com" },
		 { "ａｄａ@example.com", "ada@example.com" },
		 { "henryⅣ@example.com", "henryiv@example.com" },
		 { "a\xc2\xad"
		   "da@example.com",
		   "ada@example.com" },
		 { "example.com/e\xcc\x81", "example.com/é" },
		 { "example.com/㎏", "example.com/kg" }, { "example.com/ＫＧ", "example.com/KG" });
	REFUSED({ "ａ＠ｂ@example.com", "local part" },
		{ "\xe2\x84\x80@example.com", "local part" },
		{ "\xc2\xad@example.com", "local part is empty" },
		{ "example.com/\xc2\xad", "resource is empty" },
		{ "a\xe2\x80\xa8z@example.com", "local part" },
		{ "example.com/a\xef\xbf\xbez", "resource" },
		{ "example.com/\xee\x80\x80", "resource" });
}

static void holds_the_rule_of_mixed_directions_label_by_label(void **state)
{
	(void)state;
	PREPARED({ "שלום@example.com", "שלום@example.com" },
		 { "a@שלום.example.com", "a@שלום.example.com" });
	REFUSED({ "שaלום@example.com", "local part" }, { "a@שלוaם.example.com", "domain" },
		{ "1שלום@example.com", "local part" });
}

static void takes_domains_of_every_kind(void **state)
{
	(void)state;
	PREPARED({ "localhost", "localhost" }, { "a@example.com.", "a@example.com" },
		 { "a@example.com./r", "a@example.com/r" }, { "192.0.2.1", "192.0.2.1" },
		 { "a@[2001:DB8:0:0::1]/r", "a@[2001:db8::1]/r" }, { "[::1]", "[::1]" },
		 { "[::0102:0304]", "[::1.2.3.4]" },
		 { "a@[0:0:0:0:0:ffff:c000:201]", "a@[::ffff:192.0.2.1]" },
		 { "a@MÜNCHEN.example", "a@münchen.example" },
		 { "a@xn--mnchen-3ya.example", "a@münchen.example" },
		 { "a@XN--MNCHEN-3YA.example.", "a@münchen.example" },
		 { "a@münchen。example", "a@münchen.example" },
		 { "a@example．com", "a@example.com" },
		 { "a@münchen.example。", "a@münchen.example" },
		 { "a@xn--99999999.example", "a@xn--99999999.example" }, { "a@1-2.3", "a@1-2.3" });
	REFUSED({ "", "domain is empty" }, { ".", "domain is empty" }, { "a@.", "domain is empty" },
		{ "a@.example", "empty label" }, { "a@b..example", "empty label" },
		{ "a@b.example..", "empty label" }, { "a@-b.example", "hyphen" },
		{ "a@b-.example", "hyphen" }, { "a@b_c.example", "forbidden" },
		{ "a@b c.example", "forbidden" }, { "a@b@c.example", "forbidden" },
		{ "a@b:5222", "forbidden" }, { "a@é..example", "empty" },
		{ "a@-é.example", "hyphen" }, { "a@é_.example", "forbidden" },
		{ "a@x…y.example", "full stop" }, { "a@℅.example", "forbidden" },
		{ "a@xn--é.example", "domain" }, { "[::1", "IPv6" }, { "[", "IPv6" },
		{ "[]", "IPv6" }, { "[127.0.0.1]", "IPv6" }, { "[::1%lo]", "IPv6" },
		{ "[::1]x", "IPv6" },
		{ "a@[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:1]", "IPv6" });
}

static void refuses_each_byte_that_nodeprep_forbids(void **state)
{
	(void)state;
	for (int c = 1; c < 0x80; c++) {
		if (c == '/') /* begins the resource */
			continue;
		char text[] = { 'a', (char)c, 'b', '@', 'x', '.', 'y', '\0' };
		scoped_address address = { 0 };
		struct hr_err err;
		bool forbidden = c <= ' ' || c == 0x7f || strchr("\"&':<>@", c);
		enum hr_status status = address_parse(any(text), &address, &err);
		assert_int_equal(status, forbidden ? HR_FAIL : HR_OK);
	}
}

static void agrees_with_libidn_on_every_ascii_resource_byte(void **state)
{
	(void)state;
	for (int c = 1; c < 0x80; c++) {
		char plain[] = { 'x', '/', 'a', (char)c, '\0' };
		char mixed[] = { 'x', '/', 'a', (char)c, (char)0xc3, (char)0xa9, '\0' };
		scoped_address a = { 0 }, b = { 0 };
		struct hr_err err;
		assert_int_equal(address_parse(any(plain), &a, &err),
				 address_parse(any(mixed), &b, &err));
	}
}

static void refuses_what_is_not_text(void **state)
{
	(void)state;
	static const struct slice bad[] = {
		slice_lit("a\0b@example.com"),
		slice_lit("a@exam\0ple.com"),
		slice_lit("example.com/\0"),
		slice_lit("\xff@example.com"),
		slice_lit("\xc3@example.com"),
		slice_lit("\xc0\xaf@example.com"),
		slice_lit("\xed\xa0\x80@example.com"),
		slice_lit("\xf4\x90\x80\x80@example.com"),
		slice_lit("a@\xc3"),
		slice_lit("example.com/\xe2\x82"),
		slice_lit("é\0@example.com"),
	};
	for (size_t i = 0; i < countof(bad); i++) {
		scoped_address address = { 0 };
		struct hr_err err;
		assert_int_equal(address_parse(bad[i], &address, &err), HR_FAIL);
	}
	struct address address = { 0 };
	struct hr_err err;
	assert_int_equal(address_parse((struct slice){ 0 }, &address, &err), HR_FAIL);
}

/* LOCAL @ DOMAIN / RESOURCE of these lengths; a domain of labels of 50. */
static char *of_lengths(size_t local, size_t domain, size_t resource)
{
	scoped_str a = mem_alloc(local + 1);
	scoped_str b = mem_alloc(domain + 1);
	scoped_str c = mem_alloc(resource + 1);

	memset(a, 'a', local);
	for (size_t i = 0; i < domain; i++)
		b[i] = i % 51 == 50 ? '.' : 'b';
	memset(c, 'c', resource);
	return str_format("%s@%s/%s", a, b, c);
}

static void bounds_each_part(void **state)
{
	(void)state;
	static const struct {
		size_t local, domain, resource;
		const char *complaint; /* NULL: fine */
	} rows[] = {
		{ 1023, 1023, 1023, NULL },
		{ 1024, 9, 9, "local part is longer" },
		{ 9, 1024, 9, "domain is longer" },
		{ 9, 9, 1024, "resource is longer" },
		{ 2000, 2000, 9, "longer than 3071" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_str text = of_lengths(rows[i].local, rows[i].domain, rows[i].resource);
		scoped_address address = { 0 };
		struct hr_err err = { 0 };
		enum hr_status status = address_parse(any(text), &address, &err);
		assert_int_equal(status, rows[i].complaint ? HR_FAIL : HR_OK);
		if (rows[i].complaint)
			assert_non_null(strstr(err.text, rows[i].complaint));
	}
}

static void bounds_what_a_profile_makes_longer(void **state)
{
	(void)state;
	char text[3 * 100 + 1] = "";

	/* one ligature of 3 bytes becomes 33 */
	for (size_t i = 0; i < 100; i++)
		memcpy(text + 3 * i, "ﷺ", 3);
	scoped_str resource = str_format("x/%s", text);
	scoped_address address = { 0 };
	struct hr_err err = { 0 };
	assert_int_equal(address_parse(any(resource), &address, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "longer than 1023"));

	text[3 * 20] = '\0';
	scoped_str fits = str_format("x/%s", text);
	assert_int_equal(address_parse(any(fits), &address, &err), HR_OK);
	assert_true(address.len > 600);
}

static void takes_u_labels_that_are_longer_than_their_a_labels(void **state)
{
	(void)state;
	scoped_address unicode = { 0 }, ascii = { 0 };
	struct hr_err err = { 0 };

	assert_int_equal(
		address_parse(slice_lit("a@中中中中中中中中中中中中.example/r"), &unicode, &err),
		HR_OK);
	assert_int_equal(address_parse(slice_lit("a@xn--fiqaaaaaaaaaaa.example/r"), &ascii, &err),
			 HR_OK);
	assert_string_equal(ascii.text, unicode.text);
}

static void limits_labels_to_63_bytes_of_ascii_form(void **state)
{
	(void)state;
	static const char x63[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	scoped_str good = str_format("a@%s.example", x63);
	scoped_str bad = str_format("a@%sx.example", x63);
	scoped_str bad_unicode = str_format("a@é%.*s.example", 60, x63);
	scoped_address address = { 0 };
	struct hr_err err = { 0 };

	assert_int_equal(address_parse(any(bad), &address, &err), HR_FAIL);
	assert_int_equal(address_parse(any(bad_unicode), &address, &err), HR_FAIL);
	assert_int_equal(address_parse(any(good), &address, &err), HR_OK);
}

static void cuts_an_address_into_its_parts(void **state)
{
	(void)state;
	static const struct {
		const char *text, *bare, *local, *domain, *resource;
	} rows[] = {
		{ "Ada@Example.com/A/b@c", "ada@example.com", "ada", "example.com", "A/b@c" },
		{ "ada@example.com", "ada@example.com", "ada", "example.com", "" },
		{ "example.com/x@y", "example.com", "", "example.com", "x@y" },
		{ "example.com", "example.com", "", "example.com", "" },
		{ "é@ü.example./ö", "é@ü.example", "é", "ü.example", "ö" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_address address = { 0 };
		struct hr_err err;
		assert_int_equal(address_parse(any(rows[i].text), &address, &err), HR_OK);
		assert_true(slice_is(address_bare(&address), rows[i].bare));
		assert_true(slice_is(address_local(&address), rows[i].local));
		assert_true(slice_is(address_domain(&address), rows[i].domain));
		assert_true(slice_is(address_resource(&address), rows[i].resource));
		assert_true(slice_is(address_text_bare(address_full(&address)), rows[i].bare));
		assert_true(slice_is(address_text_domain(address_full(&address)), rows[i].domain));
		assert_true(
			slice_is(address_text_resource(address_full(&address)), rows[i].resource));
	}
	assert_int_equal(address_text_bare((struct slice){ 0 }).len, 0);
	assert_int_equal(address_text_domain((struct slice){ 0 }).len, 0);
	assert_int_equal(address_text_resource((struct slice){ 0 }).len, 0);
}

static void is_ready_for_use_again_when_cleared(void **state)
{
	(void)state;
	struct address address = { 0 };
	struct hr_err err;

	address_clear(&address);
	assert_int_equal(address_parse(slice_lit("a@b/c"), &address, &err), HR_OK);
	address_clear(&address);
	assert_null(address.text);
	assert_int_equal(address_full(&address).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_examples_of_rfc_7622),
		cmocka_unit_test(folds_case_where_the_profile_does),
		cmocka_unit_test(brings_unicode_to_one_form),
		cmocka_unit_test(holds_the_rule_of_mixed_directions_label_by_label),
		cmocka_unit_test(takes_domains_of_every_kind),
		cmocka_unit_test(refuses_each_byte_that_nodeprep_forbids),
		cmocka_unit_test(agrees_with_libidn_on_every_ascii_resource_byte),
		cmocka_unit_test(refuses_what_is_not_text),
		cmocka_unit_test(bounds_each_part),
		cmocka_unit_test(bounds_what_a_profile_makes_longer),
		cmocka_unit_test(takes_u_labels_that_are_longer_than_their_a_labels),
		cmocka_unit_test(limits_labels_to_63_bytes_of_ascii_form),
		cmocka_unit_test(cuts_an_address_into_its_parts),
		cmocka_unit_test(is_ready_for_use_again_when_cleared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
