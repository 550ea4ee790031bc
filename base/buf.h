/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes with a cap. An append that would pass the cap appends nothing and marks
 * the buffer as overflowed; the writer checks once at the end. Cap 0 means no cap: only for
 * sizes that no peer controls. */
#pragma once

#include "base/slice.h"

#include <stdint.h>

struct buf {
	char *data; /* owned; not NUL-terminated, see buf_text */
	size_t len, size, cap;
	bool overflowed;
};

#define BUF_INIT(limit) ((struct buf){ .cap = (limit) })

void buf_free(struct buf *buf); /* frees the bytes, not the struct; ready for use again */
#define scoped_buf __attribute__((cleanup(buf_free))) struct buf

void buf_clear(struct buf *buf); /* keeps the memory */
void buf_wipe(struct buf *buf);	 /* the same, and overwrites all of it: it held a secret */
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_add_slice(struct buf *buf, struct slice slice);
void buf_add_str(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_format(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_u32(struct buf *buf, uint32_t value); /* network byte order */
void buf_add_u64(struct buf *buf, uint64_t value);
/* Room for `len` more bytes, to be filled by the caller, who then adds to len; NULL past the cap.
 */
char *buf_reserve(struct buf *buf, size_t len);
void buf_drop(struct buf *buf, size_t len); /* removes bytes from the front */
const char *buf_text(struct buf *buf);	    /* the bytes with a NUL after them; borrowed */
struct slice buf_slice(const struct buf *buf);
