/* SPDX-License-Identifier: Apache-2.0 */
/* Namespace declarations that a payload inherits from what stood around it. Cut out of there, it
 * needs them on its own elements (Namespaces in XML 1.0, section 6). Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum { INHERIT_MAX = 32, INHERIT_URI_MAX = 1024, INHERIT_PREFIX_MAX = 64 };

struct inherit;
struct inherit *inherit_new(void);
void inherit_free(struct inherit *inherit); /* NULL is fine */
DEFINE_SCOPED(inherit)

/* Adds a declaration in scope; a later one of the same prefix wins. prefix NULL or "": the
 * default namespace; uri NULL: undeclared. False: too many or too long. */
bool inherit_add(struct inherit *inherit, const char *prefix, const char *uri);
size_t inherit_count(const struct inherit *inherit);
void inherit_cut(struct inherit *inherit, size_t count);    /* forgets all but the first `count` */
const char *inherit_default(const struct inherit *inherit); /* in scope; "" for none */

/* May `payload` depend on a declaration? Quick; true rather once too often. The default namespaces
 * jabber:component:accept and jabber:client are what a payload stands in anyway. */
bool inherit_needed(const struct inherit *inherit, struct slice payload);

/* Appends `payload` with the declarations added to each of its top elements that it may depend on.
 * HR_FAIL: `out` is full, or the payload is not well-formed. */
HR_MUST_USE enum hr_status inherit_apply(const struct inherit *inherit, struct slice payload,
					 struct buf *out, struct hr_err *err);
