/* SPDX-License-Identifier: Apache-2.0 */
/* Standard error leads to a file while a line is written. */
#include "base/log.h"

#include "base/buf.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int real_stderr, file;
static char line[8192];

static int redirect(void **state)
{
	(void)state;
	file = fileno(tmpfile());
	real_stderr = dup(STDERR_FILENO);
	dup2(file, STDERR_FILENO);
	unsetenv("JOURNAL_STREAM");
	log_open(LOG_LEVEL_INFO);
	return 0;
}

static int restore(void **state)
{
	(void)state;
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	return 0;
}

/* What has been written since the last call. */
static const char *written(void)
{
	off_t len = lseek(file, 0, SEEK_END);

	assert_true(len >= 0 && len < (off_t)sizeof line);
	assert_int_equal(pread(file, line, (size_t)len, 0), len);
	line[len] = '\0';
	assert_int_equal(ftruncate(file, 0), 0);
	lseek(file, 0, SEEK_SET);
	return line;
}

/* The line without its time, which must look like one. */
static const char *untimed(void)
{
	const char *text = written();

	assert_int_equal(strspn(text, "time=0123456789-T:.Z"),
			 strlen("time=2026-01-01T00:00:00.000Z"));
	return text + strlen("time=2026-01-01T00:00:00.000Z ");
}

static void a_line_has_level_event_and_fields(void **state)
{
	struct hr_err err = { .text = "no route" };

	(void)state;
	log_warn("link.state", LOG_STR("site", "boston"), LOG_INT("frames", -3), LOG_ERR(&err));
	assert_string_equal(untimed(), "level=warn event=link.state site=boston frames=-3 "
				       "error=\"no route\"\n");
	log_info("bare");
	assert_string_equal(untimed(), "level=info event=bare\n");
}

static void a_field_without_value_or_key_is_left_out(void **state)
{
	(void)state;
	log_info("e", LOG_STR("a", NULL), LOG_STR(NULL, "b"), LOG_INT("c", 0));
	assert_string_equal(untimed(), "level=info event=e c=0\n");
}

static void values_are_quoted_where_needed(void **state)
{
	static const struct {
		struct slice value;
		const char *text;
	} rows[] = {
		{ slice_lit("plain-1.2:3/@[]"), "plain-1.2:3/@[]" },
		{ slice_lit(""), "\"\"" },
		{ slice_lit("two words"), "\"two words\"" },
		{ slice_lit("a=b"), "\"a=b\"" },
		{ slice_lit("say \"hi\""), "\"say \\\"hi\\\"\"" },
		{ slice_lit("back\\slash"), "\"back\\\\slash\"" },
		{ slice_lit("line\nevent=forged"), "\"line\\nevent=forged\"" },
		{ slice_lit("tab\there"), "\"tab\\there\"" },
		{ slice_lit("\0\x1b[31m\x7f"), "\"\\x00\\x1b[31m\\x7f\"" },
		{ slice_lit("grüße 🌳"), "\"grüße 🌳\"" },
		{ slice_lit("\xc2\x9b"
			    "c1"),
		  "\"\\xc2\\x9b"
		  "c1\"" },
		{ slice_lit("\xff\xc3"), "\"\\xff\\xc3\"" },
		{ slice_lit("\xc0\xaf\xe0\x80\x80"), "\"\\xc0\\xaf\\xe0\\x80\\x80\"" },
		{ slice_lit("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"" },
		{ slice_lit("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_str expected = str_format("level=info event=e v=%s\n", rows[i].text);
		log_info("e", LOG_SLICE("v", rows[i].value));
		assert_string_equal(untimed(), expected);
	}
}

static void a_long_value_is_cut_between_characters(void **state)
{
	scoped_buf value = BUF_INIT(0);

	(void)state;
	for (int i = 0; i < 200; i++)
		buf_add_str(&value, "🌳");
	buf_drop(&value, 0);
	log_info("e", LOG_SLICE("v", buf_slice(&value)), LOG_INT("after", 1));
	const char *text = untimed();
	assert_int_equal(strlen(text), strlen("level=info event=e v=\"\" after=1\n") + 512 + 3);
	assert_non_null(strstr(text, "🌳…\" after=1\n"));
}

static void a_line_never_passes_4096_bytes(void **state)
{
	char text[513];
	struct log_field fields[21];

	(void)state;
	memset(text, '\n', sizeof text);
	text[512] = '\0';
	for (size_t i = 0; i < 20; i++)
		fields[i] = LOG_STR("key", text);
	fields[20] = LOG_STR("last", "fits");
	log_write(LOG_LEVEL_INFO, "e", fields, 21);
	const char *out = untimed();
	assert_true(strlen(out) < 4096);
	assert_non_null(strstr(out, " last=fits\n"));
}

static void below_the_least_level_nothing_is_written_or_computed(void **state)
{
	int computed = 0;

	(void)state;
	log_debug("e", LOG_INT("n", ++computed));
	assert_string_equal(written(), "");
	assert_int_equal(computed, 0);
	log_open(LOG_LEVEL_DEBUG);
	log_debug("e", LOG_INT("n", ++computed));
	assert_string_equal(untimed(), "level=debug event=e n=1\n");
	log_open(LOG_LEVEL_INFO);
}

static void under_systemd_the_priority_takes_the_place_of_the_time(void **state)
{
	struct stat info;

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &info), 0);
	scoped_str stream = str_format("%ju:%ju", (uintmax_t)info.st_dev, (uintmax_t)info.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(LOG_LEVEL_INFO);
	log_error("e", LOG_INT("n", 1));
	assert_string_equal(written(), "<3>level=error event=e n=1\n");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_open(LOG_LEVEL_INFO);
	log_error("e", LOG_INT("n", 1));
	assert_string_equal(untimed(), "level=error event=e n=1\n");
	unsetenv("JOURNAL_STREAM");
}

static void an_event_that_comes_too_often_is_left_out(void **state)
{
	enum { MANY = 100 * 1000 };
	struct stat before, after;

	(void)state;
	fstat(file, &before);
	for (int i = 0; i < MANY; i++)
		log_info("test.flood", LOG_INT("i", i));
	fstat(file, &after);
	assert_true(after.st_size > before.st_size);
	assert_true(after.st_size - before.st_size < MANY * 10);
}

static void levels_have_names(void **state)
{
	enum log_level level = LOG_LEVEL_INFO;
	struct hr_err err;

	(void)state;
	assert_int_equal(log_level_parse("warn", &level, &err), HR_OK);
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_int_equal(log_level_parse("loud", &level, &err), HR_FAIL);
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_non_null(strstr(err.text, "debug, info, warn or error"));
}

static void a_line_after_one_that_was_cut_begins_anew(void **state)
{
	struct rlimit before, ten = { .rlim_cur = 10 };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	ten.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &ten), 0); /* as a full disk would */
	log_info("cut");
	log_info("lost");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	log_info("whole");
	log_info("next");
	const char *text = written();
	assert_int_equal(strcspn(text, "\n"), 10);
	text += 11 + strlen("time=2026-01-01T00:00:00.000Z ");
	assert_int_equal(strncmp(text, "level=info event=whole\ntime=", 28), 0);
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, redirect, restore)
	static const struct CMUnitTest tests[] = {
		LOG_TEST(a_line_has_level_event_and_fields),
		LOG_TEST(a_field_without_value_or_key_is_left_out),
		LOG_TEST(values_are_quoted_where_needed),
		LOG_TEST(a_long_value_is_cut_between_characters),
		LOG_TEST(a_line_never_passes_4096_bytes),
		LOG_TEST(below_the_least_level_nothing_is_written_or_computed),
		LOG_TEST(under_systemd_the_priority_takes_the_place_of_the_time),
		LOG_TEST(an_event_that_comes_too_often_is_left_out),
		LOG_TEST(levels_have_names),
		LOG_TEST(a_line_after_one_that_was_cut_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
