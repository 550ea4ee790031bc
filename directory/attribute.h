/* SPDX-License-Identifier: Apache-2.0 */
/* A value of an entry, with the description of the attribute that it is of. Plain data, borrowed.
 */
#pragma once

#include "base/slice.h"

#include <strings.h>

struct attribute {
	struct slice name, value;
};

/* Descriptions are the same in any case (RFC 4512, 2.5). */
static inline bool attribute_is(struct slice name, const char *other)
{
	return name.len == strlen(other) && strncasecmp(name.data, other, name.len) == 0;
}
