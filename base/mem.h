/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that cannot fail (it aborts, so a size that a peer controls is bounded before it
 * comes here) and ownership by scope: scoped(x) frees at the end of the block, give(p) hands on. */
#pragma once

#include <stddef.h>
#include <stdlib.h>

void *mem_alloc(size_t size);			      /* zeroed; free() it */
void *mem_array_alloc(size_t count, size_t size);     /* zeroed; aborts on overflow */
void *mem_resize(void *p, size_t count, size_t size); /* new part is not zeroed */
void *mem_dup(const void *data, size_t len);	      /* a NUL byte follows the copy */
char *str_dup(const char *text);		      /* NULL stays NULL */
char *str_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define mem_new(type) ((type *)mem_alloc(sizeof(type)))
#define mem_array(type, count) ((type *)mem_array_alloc((count), sizeof(type)))

#define DEFINE_SCOPED(type)                                  \
	static inline void type##_scope_end(struct type **p) \
	{                                                    \
		type##_free(*p);                             \
	}
#define scoped(type) __attribute__((cleanup(type##_scope_end), unused)) struct type *

static inline void str_scope_end(char **p)
{
	free(*p);
}
#define scoped_str __attribute__((cleanup(str_scope_end), unused)) char *

#define give(p)                             \
	({                                  \
		__typeof__(p) given_ = (p); \
		(p) = NULL;                 \
		given_;                     \
	})
#define countof(array) (sizeof(array) / sizeof((array)[0]))
