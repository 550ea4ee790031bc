/* SPDX-License-Identifier: Apache-2.0 */
/* What a call says of its outcome, and in which words. Every fallible function returns
 * enum hr_status and fills its last parameter; an out-parameter is untouched on failure. */
#pragma once

#define HR_MUST_USE __attribute__((warn_unused_result))
#define HR_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

enum hr_status {
	HR_OK = 0,
	HR_NONE = 1,   /* a good answer: nothing there */
	HR_RETRY = -1, /* transient: the same call may work later */
	HR_FAIL = -2,  /* permanent: tell whoever asked */
	HR_UNSURE = -3 /* sent, outcome unknown */
};

struct hr_err {
	enum hr_status status;
	char text[256]; /* UTF-8, no newline; cut, never overrun */
};

/* Both return the status to pass on, so that a failure is one statement: return err_set(...). */
enum hr_status err_set(struct hr_err *err, enum hr_status status, const char *fmt, ...)
	HR_PRINTF(3, 4);
/* Puts "what we were doing: " in front of the text; returns err->status. */
enum hr_status err_add(struct hr_err *err, const char *fmt, ...) HR_PRINTF(2, 3);

const char *hr_status_name(enum hr_status status); /* static: "ok", "none", "retry", ... */
