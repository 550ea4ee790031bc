/* SPDX-License-Identifier: Apache-2.0 */
/* Writes stanzas as XML: start tag from values, inner XML as it is. Pure. */
#pragma once

#include "base/buf.h"
#include "federation/envelope.h"

struct stanza {
	enum envelope_kind kind;
	struct slice from, to, id, type, lang; /* plain text; len 0: left out */
	struct slice payload, more;	       /* XML; what is more comes last */
};

void stanza_write(struct buf *out, const struct stanza *stanza);
/* An envelope for the person whose native address is `native`, at the resource of its `to`; `more`:
 * XML that follows its payload. */
void stanza_write_envelope(struct buf *out, const struct envelope *envelope, const char *native,
			   const char *more);

/* The error that answers `stanza`: from its `to` to its `from`. HR_NONE: nothing may answer it
 * (RFC 6120 section 8.3.1, RFC 6121 section 8.5), nothing is written. */
enum hr_status stanza_write_error(struct buf *out, const struct stanza *stanza, enum bounce bounce,
				  const char *text);

/* Text as it may stand between the quotes of an attribute or between tags. */
void stanza_escape(struct buf *out, struct slice text);
