/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct attribute ada[] = {
	{ slice_lit("objectClass"), slice_lit("top") },
	{ slice_lit("objectClass"), slice_lit("inetOrgPerson") },
	{ slice_lit("cn"), slice_lit("Ada Adams (nee Byron)") },
	{ slice_lit("mail"), slice_lit("ada@example.com") },
	{ slice_lit("number"), slice_lit("42") },
	{ slice_lit("userAccountControl"), slice_lit("514") },
	{ slice_lit("guid"), slice_lit("a\0b") },
};

static void a_filter_matches_as_a_server_would(void **state)
{
	static const struct {
		const char *text;
		bool matches;
	} rows[] = {
		{ "(objectClass=*)", true },
		{ "(sn=*)", false },
		{ "(objectclass=INETORGPERSON)", true },
		{ "(objectClass=person)", false },
		{ "(&(mail=*)(cn=ada*))", true },
		{ "(&(mail=*)(sn=*))", false },
		{ "(& (mail=*) (cn=*) )", true },
		{ "(|(sn=*)(mail=*))", true },
		{ "(|(sn=*)(l=*))", false },
		{ "(!(sn=*))", true },
		{ "(!(mail=*))", false },
		{ "(&)", true },
		{ "(|)", false },
		{ "(mail=ada@*)", true },
		{ "(mail=*@example.com)", true },
		{ "(mail=*@EXAMPLE*)", true },
		{ "(mail=a*a*e*c*m)", true },
		{ "(mail=ada@example.com*m)", false },
		{ "(mail=*ada@example.org)", false },
		{ "(cn=*\\28nee Byron\\29)", true },
		{ "(number>=5)", true },
		{ "(number>=43)", false },
		{ "(number<=42)", true },
		{ "(cn>=ada)", true },
		{ "(cn<=ada)", false },
		{ "(mail~=ADA@example.com)", true },
		{ "(guid=a\\00b)", true },
		{ "(guid=a\\00c)", false },
		{ "(userAccountControl:1.2.840.113556.1.4.803:=2)", true },
		{ "(userAccountControl:1.2.840.113556.1.4.803:=6)", false },
		{ "(userAccountControl:1.2.840.113556.1.4.804:=6)", true },
		{ "(mail:1.2.840.113556.1.4.803:=2)", false },
		{ "(mail:1.2.3:=ada@example.com)", false },
		{ "(mail:=ada@example.com)", true },
		{ "(:dn:2.5.13.2:=ada)", false },
		{ "(&(objectClass=inetOrgPerson)(!(|(number=43)(mail=x*))))", true },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped(filter) filter = NULL;
		struct hr_err err;
		if (filter_new(rows[i].text, &filter, &err) != HR_OK)
			fail_msg("%s: %s", rows[i].text, err.text);
		if (filter_matches(filter, ada, countof(ada)) != rows[i].matches)
			fail_msg("%s", rows[i].text);
	}
}

static void what_is_no_filter_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "", "filter, character 1: ( is missing" },
		{ "cn=a", "filter, character 1: ( is missing" },
		{ "(cn=a", "filter, character 6: ) is missing" },
		{ "(cn=a))", "filter, character 7: something follows the filter" },
		{ "(cn)", "filter, character 4: = is missing" },
		{ "(=a)", "filter, character 2: an attribute is missing" },
		{ "(cn=a(b)", "filter, character 6: a parenthesis in a value is written \\28" },
		{ "(cn=\\2)", "filter, character 5: two hexadecimal digits follow a \\" },
		{ "(cn=\\", "filter, character 5: two hexadecimal digits follow a \\" },
		{ "(!(a=b)(c=d))", "filter, character 13: ! takes one filter" },
		{ "(!)", "filter, character 3: ! takes one filter" },
		{ "(cn>=a*)", "filter, character 8: a star in the value of <= or >=" },
		{ "(cn:dn:1.2=a)", "filter, character 4: := is missing" },
		{ "(cn:1.2.3:=a*b)", "filter, character 15: a star in the value of a rule" },
		{ "(&(a=b)c=d)", "filter, character 8: ) is missing" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct filter *filter;
		struct hr_err err;
		assert_int_equal(filter_new(rows[i].text, &filter, &err), HR_FAIL);
		assert_string_equal(err.text, rows[i].error);
	}
}

static void depth_length_and_stars_are_bounded(void **state)
{
	char deep[200], *wide = mem_alloc(20000);
	struct filter *filter;
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < sizeof deep - 1; i += 2)
		memcpy(deep + i, "(!", 2);
	deep[sizeof deep - 1] = '\0';
	assert_int_equal(filter_new(deep, &filter, &err), HR_FAIL);
	assert_string_equal(err.text, "filter, character 101: too deep");
	memset(wide, '*', 19999);
	assert_int_equal(filter_new(wide, &filter, &err), HR_FAIL);
	memcpy(wide, "(cn=", 4);
	wide[100] = '\0';
	assert_int_equal(filter_new(wide, &filter, &err), HR_FAIL);
	assert_string_equal(err.text, "filter, character 37: too many stars");
	free(wide);
}

static void the_attributes_are_listed_in_order(void **state)
{
	static const char *const expected[] = { "objectClass", "cn", "memberOf", "mail", "cn" };
	scoped(filter) filter = NULL;
	struct hr_err err;
	size_t at = 0;

	(void)state;
	assert_int_equal(filter_new("(&(objectClass=user)(|(cn=a*)(!(memberOf=cn=x)))(mail=*)"
				    "(:dn:2.5.13.2:=x)(cn:=y))",
				    &filter, &err),
			 HR_OK);
	for (size_t i = 0; i < countof(expected); i++)
		assert_string_equal(filter_attribute(filter, &at), expected[i]);
	assert_null(filter_attribute(filter, &at));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_filter_matches_as_a_server_would),
		cmocka_unit_test(what_is_no_filter_is_refused_with_its_place),
		cmocka_unit_test(depth_length_and_stars_are_bounded),
		cmocka_unit_test(the_attributes_are_listed_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
