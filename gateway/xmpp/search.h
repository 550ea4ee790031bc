/* SPDX-License-Identifier: Apache-2.0 */
/* Directory search as XMPP has it (XEP-0055 jabber:iq:search, with data forms of XEP-0004). Pure.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "schema/profile.h"

#define SEARCH_NS "jabber:iq:search"

enum {
	SEARCH_WORDS_MAX = 256, /* bytes of all that is searched for */
	SEARCH_WORD_MIN = 2	/* bytes of the longest word */
};

/* What may be filled in, plainly or as a form: the payload that answers a get. */
extern const char search_form[];

/* The words of all fields that were filled in, to `words` (of SEARCH_WORDS_MAX); whether they came
 * as a form. `payload` is well-formed. HR_FAIL: too little or too much; err is for whoever asked.
 */
HR_MUST_USE enum hr_status search_read(struct slice payload, struct buf *words, bool *as_form,
				       struct hr_err *err);

/* The payload of a result. `more`: with a note that there may be others. */
void search_write(struct buf *out, const struct profile *people, size_t count, bool more,
		  bool as_form);
