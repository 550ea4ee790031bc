/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void *checked(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *mem_array_alloc(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_resize(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		abort();
	return checked(realloc(p, bytes ? bytes : 1));
}

void *mem_dup(const void *data, size_t len)
{
	char *copy = checked(malloc(len + 1));

	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

char *str_dup(const char *text)
{
	return text ? mem_dup(text, strlen(text)) : NULL;
}

char *str_format(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	int len = vasprintf(&text, fmt, args);
	va_end(args);
	return checked(len < 0 ? NULL : text);
}
