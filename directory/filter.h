/* SPDX-License-Identifier: Apache-2.0 */
/* An LDAP filter (RFC 4515) as we need it ourselves: to know which attributes it looks at, and to
 * apply it where no server does. Texts are compared without regard to ASCII case, numbers as
 * numbers; of the extended rules it knows Microsoft's bit rules (MS-ADTS 3.1.1.3.4.4). Pure. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "directory/attribute.h"

struct filter;

/* HR_FAIL: not a filter, as err says with the place. */
HR_MUST_USE enum hr_status filter_new(const char *text, struct filter **out, struct hr_err *err);
void filter_free(struct filter *filter); /* NULL is fine */
DEFINE_SCOPED(filter)

/* The names of the attributes that it looks at, one after the other: *at is 0 at first. NULL: no
 * more. Borrowed; a name may come twice. */
const char *filter_attribute(const struct filter *filter, size_t *at);

/* Whether an entry with these values matches; a value belongs to an attribute of the name, in any
 * case. What cannot be told (a rule that is not known) does not match. */
bool filter_matches(const struct filter *filter, const struct attribute *values, size_t n);
