/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the stanzas in the bytes of an XMPP stream, and attributes in a start tag, without a DOM:
 * the load generator shares its cores with what it measures. Knows elements, attributes in either
 * quote and text; comments, CDATA and processing instructions are refused (RFC 6120 11.1). */
#pragma once

#include "base/err.h"
#include "base/slice.h"

struct stanza {
	struct slice tag;   /* the start tag without < and > or />: the name, then the attributes */
	struct slice inner; /* between start tag and end tag; empty after <x/> */
};

/* The first stanza in `bytes`, which begin between two stanzas. HR_OK: *out borrows from bytes,
 * *used says how many they were with the white space before. HR_NONE: its end has not come yet.
 * HR_FAIL: no stanza begins here, or the peer has closed its stream. */
HR_MUST_USE enum hr_status stanza_next(struct slice bytes, struct stanza *out, size_t *used,
				       struct hr_err *err);
/* The same for what begins a stream: an XML declaration, if any, and <stream:stream ...>. */
HR_MUST_USE enum hr_status stanza_stream(struct slice bytes, struct slice *tag, size_t *used,
					 struct hr_err *err);
struct slice stanza_name(struct slice tag);
/* The value as written, entities and all; data is NULL where there is none. */
struct slice stanza_attribute(struct slice tag, const char *name);
