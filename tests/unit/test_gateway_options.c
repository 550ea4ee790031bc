/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/options.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define T(text) ((char *)(uintptr_t)(text))

static void what_contradicts_itself_is_refused(void **state)
{
	static const struct {
		const char *listen;
		int64_t size, memory;
		const char *why;
	} rows[] = {
		{ "127.0.0.1:7500", 35, 256, "write it as tcp://" },
		{ "tcp://127.0.0.1:0", 35, 256, "write it as tcp://" },
		{ NULL, 35, 34,
		  "[mail] memory = 34: must have room for one mail of [mail] size = 35" },
		{ NULL, 35, 35, NULL }, /* fine */
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct gateway_options options = { .log_level = T("info"),
						   .secrets = T("/nonexistent"),
						   .key = T("link.key"),
						   .listen = T(rows[i].listen),
						   .mail_size = rows[i].size,
						   .mail_memory = rows[i].memory };
		struct hr_err err;

		assert_int_equal(gateway_options_check(&options, &err),
				 rows[i].why ? HR_FAIL : HR_OK);
		if (rows[i].why && !strstr(err.text, rows[i].why))
			fail_msg("%s", err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_contradicts_itself_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
