/* SPDX-License-Identifier: Apache-2.0 */
/* The INI file of a daemon, read by libinih into a struct by one table. Every complaint names
 * file:line, the section and key, and what would be right. An unknown section or key is refused,
 * a key given twice too. The manual page lists the same table (tests/check-docs.sh). */
#pragma once

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

enum option_kind {
	OPTION_TEXT,	 /* char *, owned by the target */
	OPTION_BOOL,	 /* bool: yes, no, true, false, on, off */
	OPTION_NUMBER,	 /* int64_t within low..high */
	OPTION_DURATION, /* msec: 500ms, 10s, 5m, 2h, 7d; within low..high milliseconds */
	OPTION_PATH,	 /* char *, must be absolute */
};

struct ini_option {
	const char *section, *key;
	enum option_kind kind;
	size_t offset;	   /* of the field in the target struct */
	const char *value; /* the default as it would be written in the file; NULL: none */
	bool required;
	int64_t low, high; /* for numbers and durations; both 0: any that is not negative */
};

/* Sets every default, then reads `path`. Fields are set in *target as they come; on failure the
 * caller still frees with options_free. *target is zeroed by the caller before.
 * HR_FAIL: cannot be read, or what is wrong and where.
 * Syntax: `key = value` under `[section]`; # or ; begins a comment line, " ;" a comment after a
 * value; a line holds at most 4,000 bytes. A key without a value is refused: leave it out. */
HR_MUST_USE enum hr_status options_read(const char *path, const struct ini_option *table, size_t n,
					void *target, struct hr_err *err);
/* The same for a text that is in memory; `name` stands for the file in complaints. */
HR_MUST_USE enum hr_status options_parse(const char *name, struct slice text,
					 const struct ini_option *table, size_t n, void *target,
					 struct hr_err *err);
void options_free(const struct ini_option *table, size_t n, void *target); /* the owned texts */
