/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 4096,
	VALUE_MAX_BYTES = 512,
	WINDOW_MS = 1000,
	WINDOW_LINES = 200, /* of one event, in one window */
	EVENTS_WATCHED = 64,
};

static const struct {
	const char *name;
	const char *journal; /* syslog priority, sd-daemon(3) */
} levels[] = {
	[LOG_LEVEL_DEBUG] = { "debug", "<7>" },
	[LOG_LEVEL_INFO] = { "info", "<6>" },
	[LOG_LEVEL_WARN] = { "warn", "<4>" },
	[LOG_LEVEL_ERROR] = { "error", "<3>" },
};

enum log_level log_least = LOG_LEVEL_INFO;
static bool to_journal;

/* The journal reads fd 2 only when it is still the socket that systemd named (systemd.exec(5)). */
static bool is_journal(int fd)
{
	const char *named = getenv("JOURNAL_STREAM");
	struct stat file;
	uintmax_t device, inode;

	return named && sscanf(named, "%ju:%ju", &device, &inode) == 2 && fstat(fd, &file) == 0 &&
	       device == file.st_dev && inode == file.st_ino;
}

void log_open(enum log_level least)
{
	log_least = least;
	to_journal = is_journal(STDERR_FILENO);
}

enum hr_status log_level_parse(const char *name, enum log_level *out, struct hr_err *err)
{
	for (size_t i = 0; i < countof(levels); i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*out = (enum log_level)i;
			return HR_OK;
		}
	}
	return err_set(err, HR_FAIL, "%s is no log level; take debug, info, warn or error", name);
}

static void add_time(struct buf *line)
{
	usec now = time_usec();
	time_t seconds = (time_t)(now / 1000000);
	struct tm utc;

	gmtime_r(&seconds, &utc);
	buf_format(line, "time=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ", utc.tm_year + 1900,
		   utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
		   (int)(now / 1000 % 1000));
}

static bool is_bare(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.data[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return value.len > 0;
}

static void add_escaped(struct buf *line, unsigned char c)
{
	if (c == '\n')
		buf_add_str(line, "\\n");
	else if (c == '\t')
		buf_add_str(line, "\\t");
	else if (c == '"' || c == '\\')
		buf_format(line, "\\%c", c);
	else
		buf_format(line, "\\x%02x", c);
}

/* Neither a control character (of C0, DEL or C1) nor one that quoting needs. */
static bool is_shown(uint32_t code)
{
	return code >= 0x20 && (code < 0x7f || code > 0x9f) && code != '"' && code != '\\';
}

static void add_quoted(struct buf *line, struct slice value)
{
	size_t at = 0;

	buf_add_char(line, '"');
	while (at < value.len) {
		struct slice rest = { value.data + at, value.len - at };
		uint32_t code = 0;
		size_t len = utf8_next(rest, &code);

		if (at + (len ? len : 1) > VALUE_MAX_BYTES)
			break;
		if (len == 0 || !is_shown(code)) {
			add_escaped(line, (unsigned char)*rest.data);
			len = 1;
		} else {
			buf_add(line, rest.data, len);
		}
		at += len;
	}
	buf_add_str(line, at < value.len ? "…\"" : "\"");
}

static void add_value(struct buf *line, struct slice value)
{
	if (value.len <= VALUE_MAX_BYTES && is_bare(value))
		buf_add_slice(line, value);
	else
		add_quoted(line, value);
}

static void add_field(struct buf *line, const struct log_field *field)
{
	if (!field->key || (field->kind == LOG_KIND_STR && !field->text.data))
		return;
	size_t before = line->len;
	buf_format(line, " %s=", field->key);
	if (field->kind == LOG_KIND_INT)
		buf_format(line, "%" PRId64, field->number);
	else
		add_value(line, field->text);
	if (line->overflowed) {
		line->len = before;
		line->overflowed = false;
	}
}

/* How often an event was logged lately. */
struct watched {
	char event[32];
	msec since;
	int64_t lines;
};

/* False: too many of this event in this second, so that nobody can drown the log or stop the loop
 * by what they send. *suppressed: how many were left out in the second before. */
static bool admit(const char *event, int64_t *suppressed)
{
	static _Thread_local struct watched table[EVENTS_WATCHED];
	struct watched *at = table;
	msec now = time_msec();

	while (at->event[0] && strncmp(at->event, event, sizeof at->event - 1) != 0 &&
	       at < &table[EVENTS_WATCHED - 1])
		at++;
	bool same = strncmp(at->event, event, sizeof at->event - 1) == 0;

	if (!same || now - at->since >= WINDOW_MS) {
		*suppressed = same && at->lines > WINDOW_LINES ? at->lines - WINDOW_LINES : 0;
		*at = (struct watched){ .since = now };
		memcpy(at->event, event, strnlen(event, sizeof at->event - 1));
	}
	return ++at->lines <= WINDOW_LINES;
}

static atomic_bool is_cut; /* the disk had room for a part of the last line */

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
	scoped_buf line = BUF_INIT(LINE_MAX_BYTES - 1);
	int64_t suppressed = 0;

	if (level != LOG_LEVEL_DEBUG && !admit(event, &suppressed))
		return;
	if (is_cut)
		buf_add_char(&line, '\n');
	if (to_journal)
		buf_add_str(&line, levels[level].journal);
	else
		add_time(&line);
	buf_format(&line, "level=%s event=%s", levels[level].name, event);
	for (size_t i = 0; i < n; i++)
		add_field(&line, &fields[i]);
	if (suppressed)
		add_field(&line, &LOG_INT("suppressed", suppressed));
	line.cap = LINE_MAX_BYTES;
	buf_add_char(&line, '\n');

	/* A log that nobody can read must not stop the daemon: what fails here is lost. */
	ssize_t written;
	while ((written = write(STDERR_FILENO, line.data, line.len)) < 0 && errno == EINTR)
		;
	if (written >= 0)
		is_cut = (size_t)written < line.len;
}
