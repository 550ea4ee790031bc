/* SPDX-License-Identifier: Apache-2.0 */
/* A run of bytes that somebody else owns. Not NUL-terminated unless its owner says so. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *data;
	size_t len;
};

#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)(s).len, (s).data
#define slice_lit(text) ((struct slice){ "" text, sizeof(text) - 1 })

static inline struct slice slice_str(const char *text)
{
	return (struct slice){ text, text ? strlen(text) : 0 };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
	return slice_eq(a, slice_str(text));
}
