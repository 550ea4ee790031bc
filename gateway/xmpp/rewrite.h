/* SPDX-License-Identifier: Apache-2.0 */
/* No native address may leave its installation inside a payload. A plan finds those that stand
 * where known extensions keep addresses (a table in rewrite.c: attributes jid, from, to, by, ...,
 * xmpp: URIs, vCards, data forms, error texts); what people typed is left alone. Applied, each is
 * replaced by the federation address with its resource kept; where there is none the attribute is
 * taken away or the text emptied. Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum {
	REWRITE_MENTIONS_MAX = 64, /* distinct people in one payload */
	REWRITE_EDITS_MAX = 1024   /* places in one payload */
};

struct rewrite;

/* HR_NONE: nothing to do, as in nearly every stanza (quickly found). HR_OK: *out is owned by the
 * caller. HR_FAIL: past the bounds above. `native_domain` is prepared; the payload is well-formed
 * and self-contained. */
HR_MUST_USE enum hr_status rewrite_plan(struct slice payload, struct slice native_domain,
					struct rewrite **out, struct hr_err *err);
void rewrite_free(struct rewrite *rewrite); /* NULL is fine */
DEFINE_SCOPED(rewrite)

/* The distinct native addresses, prepared and bare; borrowed from the plan. */
const struct slice *rewrite_mentions(const struct rewrite *rewrite, size_t *count);

/* Appends the payload with its places replaced. addresses[i] is the federation address of mention
 * i; data NULL: it has none. `payload` is the one that the plan was made of. */
void rewrite_apply(const struct rewrite *rewrite, struct slice payload,
		   const struct slice *addresses, struct buf *out);
