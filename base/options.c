/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 1 << 20, LINE_MAX_BYTES = 4000, NAME_MAX_BYTES = 64 };

/* One run over a file. libinih goes on after a fault, so the first is kept and the rest ignored;
 * what it finds amiss itself it only returns as the number of the first such line. */
struct run {
	const char *name;
	struct slice left; /* of the text */
	int line;	   /* of the text, last read */
	const struct ini_option *table;
	size_t n;
	bool *given; /* one a row of the table */
	char *target;
	struct hr_err *err;
	bool failed;
};

static void complain(struct run *run, const char *fmt, ...) HR_PRINTF(2, 3);
static void complain(struct run *run, const char *fmt, ...)
{
	va_list args;

	if (run->failed)
		return;
	run->failed = true;
	va_start(args, fmt);
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	err_set(run->err, HR_FAIL, "%s:%d: %s", run->name, run->line, text);
	free(text);
}

/* fgets over the text in memory; refuses what libinih would cut in two or end early. */
static char *read_line(char *out, int size, void *stream)
{
	struct run *run = stream;

	if (run->left.len == 0 || run->failed)
		return NULL;
	const char *end = memchr(run->left.data, '\n', run->left.len);
	size_t len = end ? (size_t)(end - run->left.data) : run->left.len;
	run->line++;
	if (memchr(run->left.data, '\0', len))
		complain(run, "a NUL byte: this is not a text file");
	if (len > LINE_MAX_BYTES || (int)len > size - 2)
		complain(run, "the line is longer than %d bytes", LINE_MAX_BYTES);
	if (run->failed)
		return NULL;
	memcpy(out, run->left.data, len);
	out[len] = '\0';
	len += end != NULL;
	run->left = (struct slice){ run->left.data + len, run->left.len - len };
	return out;
}

/* Levenshtein's distance, for names of one line; too long counts as far. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_BYTES + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > NAME_MAX_BYTES || b_len > NAME_MAX_BYTES)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t corner = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = corner + (a[i - 1] != b[j - 1]);
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = row[j];
			row[j] = best;
		}
	}
	return row[b_len];
}

static const char *name_of(const struct ini_option *option, bool of_section)
{
	return of_section ? option->section : option->key;
}

/* The name most like `wrong`: of the sections, or of the keys of one section. */
static const char *nearest(const struct run *run, const char *section, const char *wrong)
{
	const char *best = NULL;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < run->n; i++) {
		if (section && strcmp(section, run->table[i].section) != 0)
			continue;
		const char *name = name_of(&run->table[i], !section);
		size_t far = distance(wrong, name);
		if (!best || far < least) {
			best = name;
			least = far;
		}
	}
	return best;
}

static bool has_section(const struct run *run, const char *section)
{
	for (size_t i = 0; i < run->n; i++)
		if (strcmp(run->table[i].section, section) == 0)
			return true;
	return false;
}

static const struct ini_option *find(struct run *run, const char *section, const char *key)
{
	for (size_t i = 0; i < run->n; i++)
		if (strcmp(run->table[i].section, section) == 0 &&
		    strcmp(run->table[i].key, key) == 0)
			return &run->table[i];
	if (!*section)
		complain(run, "%s stands before any section; begin with [%s]", key,
			 run->n ? run->table[0].section : "section");
	else if (!has_section(run, section))
		complain(run, "there is no section [%s]; the nearest is [%s]", section,
			 nearest(run, NULL, section));
	else
		complain(run, "[%s] has no key %s; the nearest is %s", section, key,
			 nearest(run, section, key));
	return NULL;
}

static bool parse_bool(const char *text, bool *out)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {
		{ "yes", true }, { "true", true },   { "on", true },
		{ "no", false }, { "false", false }, { "off", false },
	};

	for (size_t i = 0; i < countof(words); i++) {
		if (strcmp(text, words[i].text) == 0) {
			*out = words[i].value;
			return true;
		}
	}
	return false;
}

/* Digits with an optional minus; *rest is what follows them. */
static bool parse_number(const char *text, int64_t *out, const char **rest)
{
	char *end;

	if (!isdigit((unsigned char)text[*text == '-' ? 1 : 0]))
		return false;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	*out = value;
	*rest = end;
	return errno == 0;
}

static const struct unit {
	const char *name;
	int64_t ms;
} units[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 86400 * 1000 },
};

static bool parse_duration(const char *text, int64_t *out)
{
	const char *unit;
	int64_t number;

	if (!parse_number(text, &number, &unit))
		return false;
	while (*unit == ' ')
		unit++;
	for (size_t i = 0; i < countof(units); i++)
		if (strcmp(unit, units[i].name) == 0)
			return !__builtin_mul_overflow(number, units[i].ms, out);
	return false;
}

/* As it would be written in the file: in the largest unit that divides it. */
static char *duration_text(int64_t ms)
{
	size_t i = countof(units) - 1;

	while (i > 0 && (ms == 0 || ms % units[i].ms != 0))
		i--;
	return str_format("%" PRId64 "%s", ms / units[i].ms, units[i].name);
}

static bool in_range(const struct ini_option *option, int64_t value)
{
	if (option->low == 0 && option->high == 0)
		return value >= 0;
	return value >= option->low && value <= option->high;
}

static void complain_range(struct run *run, const struct ini_option *option, const char *value)
{
	if (option->low == 0 && option->high == 0) {
		complain(run, "[%s] %s = %s: must not be negative", option->section, option->key,
			 value);
		return;
	}
	bool is_time = option->kind == OPTION_DURATION;
	scoped_str low = is_time ? duration_text(option->low) : str_format("%" PRId64, option->low);
	scoped_str high =
		is_time ? duration_text(option->high) : str_format("%" PRId64, option->high);
	complain(run, "[%s] %s = %s: must be from %s to %s", option->section, option->key, value,
		 low, high);
}

static void set_number(struct run *run, const struct ini_option *option, const char *value)
{
	int64_t number;
	const char *rest = "";

	if (option->kind == OPTION_DURATION && !parse_duration(value, &number)) {
		complain(run, "[%s] %s = %s: no duration; write 500ms, 10s, 5m, 2h or 7d",
			 option->section, option->key, value);
		return;
	}
	if (option->kind == OPTION_NUMBER && (!parse_number(value, &number, &rest) || *rest)) {
		complain(run, "[%s] %s = %s: no whole number", option->section, option->key, value);
		return;
	}
	if (!in_range(option, number)) {
		complain_range(run, option, value);
		return;
	}
	memcpy(run->target + option->offset, &number, sizeof number);
}

static void set_text(struct run *run, const struct ini_option *option, const char *value)
{
	char **field = (char **)(void *)(run->target + option->offset);

	free(*field);
	*field = str_dup(value);
}

static void set_value(struct run *run, const struct ini_option *option, const char *value)
{
	switch (option->kind) {
	case OPTION_TEXT:
		set_text(run, option, value);
		break;
	case OPTION_PATH:
		if (value[0] == '/')
			set_text(run, option, value);
		else
			complain(run, "[%s] %s = %s: must be an absolute path", option->section,
				 option->key, value);
		break;
	case OPTION_BOOL:
		if (!parse_bool(value, (bool *)(run->target + option->offset)))
			complain(run, "[%s] %s = %s: write yes or no", option->section, option->key,
				 value);
		break;
	case OPTION_NUMBER:
	case OPTION_DURATION:
		set_number(run, option, value);
		break;
	}
}

/* libinih's handler: 0 is a fault. */
static int handle(void *user, const char *section, const char *key, const char *value)
{
	struct run *run = user;
	const struct ini_option *option = run->failed ? NULL : find(run, section, key);

	if (!option)
		return 0;
	bool *given = &run->given[option - run->table];
	if (*given)
		complain(run, "[%s] %s is given twice", section, key);
	else if (!*value)
		complain(run, "[%s] %s has no value; leave the line out", section, key);
	else
		set_value(run, option, value);
	*given = true;
	return !run->failed;
}

static void set_defaults(struct run *run)
{
	for (size_t i = 0; i < run->n; i++)
		if (run->table[i].value)
			set_value(run, &run->table[i], run->table[i].value);
}

static void check_required(struct run *run)
{
	for (size_t i = 0; i < run->n && !run->failed; i++) {
		const struct ini_option *option = &run->table[i];
		if (!option->required || run->given[i])
			continue;
		run->failed = true;
		err_set(run->err, HR_FAIL, "%s: [%s] %s is missing and has no default", run->name,
			option->section, option->key);
	}
}

enum hr_status options_parse(const char *name, struct slice text, const struct ini_option *table,
			     size_t n, void *target, struct hr_err *err)
{
	struct run run = { .name = name,
			   .left = text,
			   .table = table,
			   .n = n,
			   .given = mem_array(bool, n),
			   .target = target,
			   .err = err };

	set_defaults(&run);
	ini_allow_multiline = false;
	ini_max_line = LINE_MAX_BYTES + 3;
	int line = ini_parse_stream(read_line, &run, handle, &run);
	if (line != 0 && (!run.failed || line < run.line)) {
		run.line = line;
		run.failed = false;
		complain(&run, "neither [section] nor key = value");
	}
	check_required(&run);
	free(run.given);
	return run.failed ? err->status : HR_OK;
}

static enum hr_status read_file(const char *path, struct buf *text, struct hr_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	if (fd < 0)
		return err_set(err, HR_FAIL, "%s: %s", path, strerror(errno));
	for (char *room; (room = buf_reserve(text, 4096)); text->len += (size_t)got)
		if ((got = read(fd, room, 4096)) <= 0)
			break;
	int error = errno;
	close(fd);
	if (text->overflowed)
		return err_set(err, HR_FAIL, "%s: larger than %d bytes", path, FILE_MAX_BYTES);
	if (got < 0)
		return err_set(err, HR_FAIL, "%s: %s", path, strerror(error));
	return HR_OK;
}

enum hr_status options_read(const char *path, const struct ini_option *table, size_t n,
			    void *target, struct hr_err *err)
{
	scoped_buf text = BUF_INIT(FILE_MAX_BYTES);

	if (read_file(path, &text, err) != HR_OK)
		return err->status;
	return options_parse(path, buf_slice(&text), table, n, target, err);
}

void options_free(const struct ini_option *table, size_t n, void *target)
{
	for (size_t i = 0; i < n; i++) {
		if (table[i].kind != OPTION_TEXT && table[i].kind != OPTION_PATH)
			continue;
		char **field = (char **)(void *)((char *)target + table[i].offset);
		free(*field);
		*field = NULL;
	}
}
