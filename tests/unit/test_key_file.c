/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/secret.h"
#include "gateway/key_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINK_KEY_LEN = 40 };

static char directory[] = "/tmp/test_key_file_XXXXXX";

static int make_directory(void **state)
{
	(void)state;
	log_open(LOG_LEVEL_ERROR);
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	scoped_str made = str_format("%s/link.key", directory);
	scoped_str cut = str_format("%s/cut.key", directory);

	(void)state;
	return unlink(made) == 0 && unlink(cut) == 0 ? rmdir(directory) : -1;
}

static void a_key_that_was_made_is_read(void **state)
{
	scoped_str path = str_format("%s/link.key", directory);
	scoped_str public_key = NULL;
	scoped_str none = NULL;
	scoped_secret key = NULL;
	struct stat found;
	struct hr_err err;

	(void)state;
	assert_int_equal(key_file_make(path, &public_key, &err), HR_OK);
	assert_int_equal(strlen(public_key), LINK_KEY_LEN);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0600);
	assert_int_equal(key_file_read(directory, "link.key", &key, &err), HR_OK);
	assert_int_equal(strlen(key), LINK_KEY_LEN);
	assert_string_not_equal(key, public_key);
	/* never over another */
	assert_int_equal(key_file_make(path, &none, &err), HR_FAIL);
	assert_null(none);
	assert_non_null(strstr(err.text, "File exists"));
}

static void without_a_file_each_gateway_has_a_key_that_nobody_knows(void **state)
{
	scoped_secret one = NULL;
	scoped_secret two = NULL;
	struct hr_err err;

	(void)state;
	assert_int_equal(key_file_read(directory, "none.key", &one, &err), HR_OK);
	assert_int_equal(key_file_read(directory, "none.key", &two, &err), HR_OK);
	assert_int_equal(strlen(one), LINK_KEY_LEN);
	assert_string_not_equal(one, two);
}

static void what_is_no_key_is_refused(void **state)
{
	scoped_str path = str_format("%s/cut.key", directory);
	FILE *file = fopen(path, "w");
	char *key = NULL;
	struct hr_err err;

	(void)state;
	assert_non_null(file);
	fputs("0123456789\n", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(key_file_read(directory, "cut.key", &key, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "has 10 characters, not 40"));
	assert_null(strstr(err.text, "0123456789"));
	assert_int_equal(key_file_read(directory, "../link.key", &key, &err), HR_FAIL);
	assert_int_equal(key_file_read(NULL, "link.key", &key, &err), HR_FAIL);
	assert_null(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_that_was_made_is_read),
		cmocka_unit_test(without_a_file_each_gateway_has_a_key_that_nobody_knows),
		cmocka_unit_test(what_is_no_key_is_refused),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
