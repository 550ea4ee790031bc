/* SPDX-License-Identifier: Apache-2.0 */
/* Is it what may stand inside one stanza? An edge cuts its payloads out of well-formed XML, but a
 * payload from another site is whatever that site sent, and it is written into a stream as it is:
 * one that closes the stanza could go on with another, from anybody. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

enum { CONTENT_DEPTH_MAX = 64 }; /* levels inside a stanza, as for what comes from a stream */

struct content;
struct content *content_new(void);
void content_free(struct content *content); /* NULL is fine */

/* HR_FAIL: not balanced and well-formed, a namespace prefix without a declaration, too deep, or
 * something that RFC 6120 section 11.1 forbids in a stream; err says which. */
HR_MUST_USE enum hr_status content_check(struct content *content, struct slice payload,
					 struct hr_err *err);
