/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/controller.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char name[] = "dc1.contoso.example", one[] = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
static char other[] = "00000000-8b86-d011-b42d-00c04fc964ff", upper[] = "6F9619FF-8B86-D011-B42D-"
									"00C04FC964FF";

static void a_cursor_holds_for_one_life_of_one_controller(void **state)
{
	static const struct {
		char *incarnation;
		int64_t usn;
		const char *error; /* NULL: it holds */
	} rows[] = {
		{ one, 1000, NULL },
		{ upper, 999, NULL },
		{ one, 1001,
		  "dc1.contoso.example was rolled back: its highest USN is 1000, and was 1001" },
		{ other, 1000, "dc1.contoso.example is another controller, or was restored" },
		{ NULL, 1000, "dc1.contoso.example is another controller, or was restored" },
	};
	const struct controller controller = { .name = name, .incarnation = one, .usn = 1000 };

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		const struct publish_cursor cursor = { .incarnation = rows[i].incarnation,
						       .usn = rows[i].usn };
		struct hr_err err;
		enum hr_status status = controller_accepts(&controller, &cursor, &err);
		assert_int_equal(status, rows[i].error ? HR_UNSURE : HR_OK);
		if (rows[i].error)
			assert_int_equal(strncmp(err.text, rows[i].error, strlen(rows[i].error)),
					 0);
	}
}

static void the_naming_context_of_a_base_is_the_longest(void **state)
{
	static const struct slice roots[] = {
		slice_lit("DC=contoso,DC=example"),
		slice_lit("CN=Configuration,DC=contoso,DC=example"),
		slice_lit("DC=child,DC=contoso,DC=example"),
	};
	static const struct {
		const char *base, *root;
	} rows[] = {
		{ "dc=contoso,dc=example", "DC=contoso,DC=example" },
		{ "OU=People,DC=contoso,DC=example", "DC=contoso,DC=example" },
		{ "OU=People,DC=child,DC=contoso,DC=example", "DC=child,DC=contoso,DC=example" },
		{ "DC=xcontoso,DC=example", NULL },
		{ "DC=example", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct slice root = controller_root(roots, countof(roots), rows[i].base);
		if (rows[i].root)
			assert_true(slice_is(root, rows[i].root));
		else
			assert_null(root.data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cursor_holds_for_one_life_of_one_controller),
		cmocka_unit_test(the_naming_context_of_a_base_is_the_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
