/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include "base/mem.h"
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct target {
	char *node, *secrets;
	bool check;
	int64_t port;
	msec drain, patience;
};

#define AT(field) .offset = offsetof(struct target, field)
static const struct ini_option table[] = {
	{ .section = "gateway", .key = "node", .kind = OPTION_TEXT, AT(node), .required = true },
	{ .section = "gateway",
	  .key = "secrets",
	  .kind = OPTION_PATH,
	  AT(secrets),
	  .value = "/etc/x" },
	{ .section = "gateway", .key = "check", .kind = OPTION_BOOL, AT(check), .value = "yes" },
	{ .section = "gateway",
	  .key = "drain",
	  .kind = OPTION_DURATION,
	  AT(drain),
	  .value = "10s",
	  .low = 100,
	  .high = 3600 * 1000 },
	{ .section = "gateway", .key = "patience", .kind = OPTION_DURATION, AT(patience) },
	{ .section = "link",
	  .key = "port",
	  .kind = OPTION_NUMBER,
	  AT(port),
	  .value = "7500",
	  .low = 1,
	  .high = 65535 },
};

static enum hr_status parse(const char *text, struct target *target, struct hr_err *err)
{
	*target = (struct target){ 0 };
	return options_parse("f.ini", slice_str(text), table, countof(table), target, err);
}

static void done(struct target *target)
{
	options_free(table, countof(table), target);
	assert_null(target->node);
}

static void a_file_overrides_the_defaults(void **state)
{
	struct target target;
	struct hr_err err;

	(void)state;
	assert_int_equal(parse("# a comment\n[gateway]\nnode = a 1 ; and one here\n"
			       "secrets=/run/s\ncheck = off\ndrain=5m\npatience = 0ms\n\n[link]\n"
			       "port : 80\n",
			       &target, &err),
			 HR_OK);
	assert_string_equal(target.node, "a 1");
	assert_string_equal(target.secrets, "/run/s");
	assert_false(target.check);
	assert_int_equal(target.drain, 300000);
	assert_int_equal(target.port, 80);
	done(&target);
}

static void what_is_not_given_has_its_default(void **state)
{
	struct target target;
	struct hr_err err;

	(void)state;
	assert_int_equal(parse("[gateway]\nnode=a\n", &target, &err), HR_OK);
	assert_string_equal(target.secrets, "/etc/x");
	assert_true(target.check);
	assert_int_equal(target.drain, 10000);
	assert_int_equal(target.patience, 0);
	assert_int_equal(target.port, 7500);
	done(&target);
}

static void durations_have_units(void **state)
{
	static const struct {
		const char *text;
		msec value;
	} rows[] = {
		{ "500ms", 500 }, { "10s", 10000 },	 { "10 s", 10000 },
		{ "5m", 300000 }, { "2h", 2 * 3600000 }, { "7d", 7 * 86400000 },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct target target;
		struct hr_err err;
		scoped_str text = str_format("[gateway]\nnode=a\npatience=%s\n", rows[i].text);
		assert_int_equal(parse(text, &target, &err), HR_OK);
		assert_true(target.patience == rows[i].value);
		done(&target);
	}
}

static void a_complaint_names_place_and_remedy(void **state)
{
	static const struct {
		const char *text, *complaint;
	} rows[] = {
		{ "[gateway]\n", "f.ini: [gateway] node is missing and has no default" },
		{ "", "f.ini: [gateway] node is missing and has no default" },
		{ "node=a\n", "f.ini:1: node stands before any section; begin with [gateway]" },
		{ "[gatway]\nnode=a\n",
		  "f.ini:2: there is no section [gatway]; the nearest is [gateway]" },
		{ "[gateway]\n\nnoed=a\n",
		  "f.ini:3: [gateway] has no key noed; the nearest is node" },
		{ "[gateway]\nport=1\n",
		  "f.ini:2: [gateway] has no key port; the nearest is node" },
		{ "[gateway]\nnode=a\nnode=b\n", "f.ini:3: [gateway] node is given twice" },
		{ "[gateway]\nnode=a\n[link]\n[gateway]\nnode=b\n",
		  "f.ini:5: [gateway] node is given twice" },
		{ "[gateway]\nnode=\n",
		  "f.ini:2: [gateway] node has no value; leave the line out" },
		{ "[gateway]\nnode=a\nnonsense\n", "f.ini:3: neither [section] nor key = value" },
		{ "[gateway\nnode=a\n", "f.ini:1: neither [section] nor key = value" },
		{ "[gateway]\nnonsense\nnoed=a\n", "f.ini:2: neither [section] nor key = value" },
		{ "[gateway]\nnoed=a\nnonsense\n",
		  "f.ini:2: [gateway] has no key noed; the nearest is node" },
		{ "[gateway]\nnode=a\n secrets=b\n",
		  "f.ini:3: [gateway] secrets = b: must be an absolute path" },
		{ "[gateway]\ncheck=maybe\n", "f.ini:2: [gateway] check = maybe: write yes or no" },
		{ "[gateway]\ndrain=10\n",
		  "f.ini:2: [gateway] drain = 10: no duration; write 500ms, 10s, 5m, 2h or 7d" },
		{ "[gateway]\ndrain=s\n",
		  "f.ini:2: [gateway] drain = s: no duration; write 500ms, 10s, 5m, 2h or 7d" },
		{ "[gateway]\ndrain=99999999999999999d\n",
		  "f.ini:2: [gateway] drain = 99999999999999999d: no duration; write 500ms, 10s, "
		  "5m, 2h or 7d" },
		{ "[gateway]\ndrain=2h\n",
		  "f.ini:2: [gateway] drain = 2h: must be from 100ms to 1h" },
		{ "[gateway]\npatience=-1s\n",
		  "f.ini:2: [gateway] patience = -1s: must not be negative" },
		{ "[link]\nport=0\n", "f.ini:2: [link] port = 0: must be from 1 to 65535" },
		{ "[link]\nport=1e3\n", "f.ini:2: [link] port = 1e3: no whole number" },
		{ "[link]\nport=99999999999999999999\n",
		  "f.ini:2: [link] port = 99999999999999999999: no whole number" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct target target;
		struct hr_err err;
		assert_int_equal(parse(rows[i].text, &target, &err), HR_FAIL);
		assert_string_equal(err.text, rows[i].complaint);
		done(&target);
	}
}

static void a_line_is_whole_or_refused(void **state)
{
	struct target target;
	struct hr_err err;

	(void)state;
	for (int len = 150; len < 4200; len += 50) {
		scoped_str text = str_format("[gateway]\nnode=%0*d\n", len, 7);
		if (len + 5 <= 4000) {
			assert_int_equal(parse(text, &target, &err), HR_OK);
			assert_int_equal(strlen(target.node), len);
		} else {
			assert_int_equal(parse(text, &target, &err), HR_FAIL);
			assert_string_equal(err.text,
					    "f.ini:2: the line is longer than 4000 bytes");
		}
		done(&target);
	}
}

static void a_binary_file_is_refused(void **state)
{
	struct target target = { 0 };
	struct hr_err err;

	(void)state;
	assert_int_equal(options_parse("f", slice_lit("[gateway]\nnode=a\0b\n"), table,
				       countof(table), &target, &err),
			 HR_FAIL);
	assert_string_equal(err.text, "f:2: a NUL byte: this is not a text file");
	done(&target);
}

static void a_file_is_read_by_its_path(void **state)
{
	char path[] = "/tmp/hedgerow-options.XXXXXX";
	struct target target = { 0 };
	struct hr_err err;

	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[gateway]\nnode=a\n", 17), 17);
	close(fd);
	assert_int_equal(options_read(path, table, countof(table), &target, &err), HR_OK);
	assert_string_equal(target.node, "a");
	done(&target);
	unlink(path);
	assert_int_equal(options_read(path, table, countof(table), &target, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "No such file"));
	assert_int_equal(options_read("/", table, countof(table), &target, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "directory"));
	done(&target);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_overrides_the_defaults),
		cmocka_unit_test(what_is_not_given_has_its_default),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(a_complaint_names_place_and_remedy),
		cmocka_unit_test(a_line_is_whole_or_refused),
		cmocka_unit_test(a_binary_file_is_refused),
		cmocka_unit_test(a_file_is_read_by_its_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
