/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/test_secret_XXXXXX";

static void put(const char *name, const char *data, size_t len)
{
	scoped_str path = str_format("%s/%s", directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static int make_files(void **state)
{
	char long_one[SECRET_BYTES + 1];

	(void)state;
	if (!mkdtemp(directory))
		return -1;
	memset(long_one, 'x', sizeof long_one);
	put("plain", "geheim\n", 7);
	put("bare", "geheim", 6);
	put("windows", "geheim\r\nmore", 12);
	put("spaces", " ge heim ", 9);
	put("empty", "", 0);
	put("blank", "\ngeheim\n", 8);
	put("longest", long_one, SECRET_BYTES);
	put("long", long_one, SECRET_BYTES + 1);
	scoped_str pipe = str_format("%s/pipe", directory);
	return mkfifo(pipe, 0600);
}

static int remove_files(void **state)
{
	static const char *const names[] = { "plain", "bare",	 "windows", "spaces", "empty",
					     "blank", "longest", "long",    "pipe" };

	(void)state;
	for (size_t i = 0; i < countof(names); i++) {
		scoped_str path = str_format("%s/%s", directory, names[i]);
		if (unlink(path) != 0)
			return -1;
	}
	return rmdir(directory);
}

static void the_first_line_of_the_file_is_the_secret(void **state)
{
	static const struct {
		const char *name, *secret;
	} rows[] = { { "plain", "geheim" },
		     { "bare", "geheim" },
		     { "windows", "geheim" },
		     { "spaces", " ge heim " } };
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		char *secret = NULL;
		assert_int_equal(secret_read(directory, rows[i].name, &secret, &err), HR_OK);
		assert_string_equal(secret, rows[i].secret);
		secret_free(secret);
	}
	scoped_secret secret = NULL;
	assert_int_equal(secret_read(directory, "longest", &secret, &err), HR_OK);
	assert_int_equal(strlen(secret), SECRET_BYTES);
}

static void the_path_of_a_file_is_given_when_it_can_be_read(void **state)
{
	scoped_str path = NULL;
	scoped_str expected = str_format("%s/plain", directory);
	struct hr_err err;

	(void)state;
	assert_int_equal(secret_path(directory, "plain", &path, &err), HR_OK);
	assert_string_equal(path, expected);
	assert_int_equal(secret_path(directory, "missing", &path, &err), HR_FAIL);
	assert_string_equal(path, expected);
	assert_int_equal(secret_path(directory, "a/plain", &path, &err), HR_FAIL);
}

static void what_is_no_secret_is_refused(void **state)
{
	static const struct {
		const char *name, *why;
	} rows[] = {
		{ "missing", "No such file" },
		{ "empty", "is empty" },
		{ "blank", "is empty" },
		{ "long", "is longer than" },
		{ "../plain", "is not the name" },
		{ "/etc/passwd", "is not the name" },
		{ "", "is not the name" },
		{ "..", "is not the name" },
		{ "pipe", "is empty" }, /* nobody writes: it is not waited for */
	};
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		char *secret = NULL;
		assert_int_equal(secret_read(directory, rows[i].name, &secret, &err), HR_FAIL);
		assert_null(secret);
		assert_non_null(strstr(err.text, rows[i].why));
		assert_null(strstr(err.text, "geheim"));
	}
	char *secret = NULL;
	assert_int_equal(secret_read(NULL, "plain", &secret, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "there is no secrets directory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_line_of_the_file_is_the_secret),
		cmocka_unit_test(the_path_of_a_file_is_given_when_it_can_be_read),
		cmocka_unit_test(what_is_no_secret_is_refused),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
