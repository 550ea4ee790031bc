/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/mem.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>

enum { FIRST_SIZE = 64 };

void buf_free(struct buf *buf)
{
	free(buf->data);
	*buf = BUF_INIT(buf->cap);
}

void buf_clear(struct buf *buf)
{
	buf->len = 0;
	buf->overflowed = false;
}

void buf_wipe(struct buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->size);
	buf_clear(buf);
}

/* Makes size at least `need`; one byte past the cap is allowed, for the NUL of buf_text. */
static void grow(struct buf *buf, size_t need)
{
	size_t size = buf->size ? buf->size : FIRST_SIZE;

	while (size < need)
		if (__builtin_mul_overflow(size, 2, &size))
			abort();
	if (buf->cap && size > buf->cap)
		size = buf->cap + 1;
	buf->data = mem_resize(buf->data, size, 1);
	buf->size = size;
}

char *buf_reserve(struct buf *buf, size_t len)
{
	size_t need;

	if (__builtin_add_overflow(buf->len, len, &need) || (buf->cap && need > buf->cap)) {
		buf->overflowed = true;
		return NULL;
	}
	if (need > buf->size || !buf->data)
		grow(buf, need);
	return buf->data + buf->len;
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	char *room = buf_reserve(buf, len);

	if (!room || len == 0)
		return;
	memcpy(room, data, len);
	buf->len += len;
}

void buf_add_slice(struct buf *buf, struct slice slice)
{
	buf_add(buf, slice.data, slice.len);
}

void buf_add_str(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_add_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void buf_format(struct buf *buf, const char *fmt, ...)
{
	/* vsnprintf ends with a NUL, for which the cap has no room: measure, then print past it */
	va_list args;
	size_t left = buf->size - buf->len;

	va_start(args, fmt);
	int len = vsnprintf(left ? buf->data + buf->len : NULL, left, fmt, args);
	va_end(args);
	if (len < 0)
		abort();
	if (!buf_reserve(buf, (size_t)len))
		return;
	if ((size_t)len >= left) {
		if (buf->size - buf->len < (size_t)len + 1)
			grow(buf, buf->len + (size_t)len + 1);
		va_start(args, fmt);
		vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, args);
		va_end(args);
	}
	buf->len += (size_t)len;
}

void buf_add_u32(struct buf *buf, uint32_t value)
{
	value = htobe32(value);
	buf_add(buf, &value, sizeof value);
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
	value = htobe64(value);
	buf_add(buf, &value, sizeof value);
}

void buf_drop(struct buf *buf, size_t len)
{
	if (len >= buf->len) {
		buf->len = 0;
		return;
	}
	memmove(buf->data, buf->data + len, buf->len - len);
	buf->len -= len;
}

const char *buf_text(struct buf *buf)
{
	if (buf->len == buf->size)
		grow(buf, buf->len + 1);
	buf->data[buf->len] = '\0';
	return buf->data;
}

struct slice buf_slice(const struct buf *buf)
{
	return (struct slice){ buf->data, buf->len };
}
