/* SPDX-License-Identifier: Apache-2.0 */
/* Events as logfmt lines on standard error: time, level, event name, fields. An event is named
 * noun.verb or noun.state and is listed in docs/hedgerow-events.7. Never secrets, never bodies.
 *   log_info("link.state", LOG_STR("site", site), LOG_INT("frames", n));
 * One line is one write(2) of at most 4096 bytes: a long value is cut, a field that finds no room
 * is left out. Under systemd (JOURNAL_STREAM names fd 2) the time is left out and a <level> prefix
 * is added. Any thread may write. An event that comes more than 200 times in a second is left out
 * for the rest of it; its next line says how many were: suppressed=N. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_field {
	const char *key; /* NULL: left out */
	enum { LOG_KIND_STR, LOG_KIND_INT } kind;
	struct slice
		text; /* NULL data: the field is left out; quoted, escaped and cut when written */
	int64_t number;
};

#define LOG_STR(k, v) ((struct log_field){ (k), LOG_KIND_STR, slice_str(v), 0 })
#define LOG_SLICE(k, v) ((struct log_field){ (k), LOG_KIND_STR, (v), 0 })
#define LOG_INT(k, v) ((struct log_field){ (k), LOG_KIND_INT, { 0 }, (int64_t)(v) })
#define LOG_ERR(e) LOG_STR("error", (e)->text)

void log_open(enum log_level least); /* before this, info and above are written */
enum hr_status log_level_parse(const char *name, enum log_level *out, struct hr_err *err);
extern enum log_level log_least; /* written by log_open only */
static inline bool log_enabled(enum log_level level)
{
	return level >= log_least;
}
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);

#define log_event_(level, event, ...)                                                         \
	do {                                                                                  \
		if (log_enabled(level)) {                                                     \
			const struct log_field fields_[] = { __VA_ARGS__ };                   \
			log_write(level, event, fields_, sizeof fields_ / sizeof fields_[0]); \
		}                                                                             \
	} while (0)
#define log_debug(event, ...) log_event_(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_event_(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_event_(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event_(LOG_LEVEL_ERROR, event, __VA_ARGS__)
