/* SPDX-License-Identifier: Apache-2.0 */
/* What a mail of ours says in its own words, in the languages that it speaks. In a phrase, {name}
 * is the sender's name with the address, {count} a number. */
#pragma once

#include "base/buf.h"

struct phrases {
	const char *language; /* "en" */
	const char *mark;     /* between the two COMPOSE_MARK */
	const char *subject;
	const char *one, *many;	      /* of a notice: that somebody has written, how often */
	const char *more;	      /* after the texts: how many more wait */
	const char *sent;	      /* below the texts: who wrote this, and where */
	const char *reply, *no_reply; /* what becomes of an answer */
};

/* For a reader of these languages, the best first ("de", "nl-BE"); else English. Static. */
const struct phrases *phrases_for(const char *const *languages, size_t count);
/* Appends a phrase. */
void phrases_add(struct buf *out, const char *phrase, const char *name, size_t count);
