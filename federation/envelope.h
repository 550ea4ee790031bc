/* SPDX-License-Identifier: Apache-2.0 */
/* One message, presence or query on its way. Immutable once made and counted by reference, so
 * that the journal, a queue and a link can hold the same one. `packed` is its form in the journal
 * and on the wire (federation/wire.proto, message Envelope). */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/time.h"

enum envelope_kind { ENVELOPE_MESSAGE, ENVELOPE_PRESENCE, ENVELOPE_IQ, ENVELOPE_KINDS };

enum {
	ENVELOPE_PAYLOAD_MAX = 256 * 1024,
	ENVELOPE_PACKED_MAX = ENVELOPE_PAYLOAD_MAX + 16 * 1024,
	ENVELOPE_HOPS_MAX = 8,
	ENVELOPE_ID_LEN = 16,
	ENVELOPE_ADDRESS_MAX = 3071, /* ADDRESS_MAX */
	ENVELOPE_BARE_MAX = 2047,    /* without a resource: two parts of 1,023 */
	ENVELOPE_STANZA_ID_MAX = 1023,
	ENVELOPE_WORD_MAX = 64, /* of type and lang */
	ENVELOPE_SITE_MAX = 255
};

struct envelope_fields {
	struct slice id; /* UUIDv7, 16 bytes */
	enum envelope_kind kind;
	struct slice type;	/* the stanza's type attribute; len 0: none */
	struct slice stanza_id; /* the stanza's id attribute, as it came; len 0: none */
	struct slice from, to;	/* federation addresses, prepared */
	struct slice lang;	/* xml:lang; len 0: none */
	struct slice payload; /* the stanza's inner XML, self-contained as to namespace prefixes */
	usec received, expires;		      /* unix time; expires 0: never */
	struct slice hops[ENVELOPE_HOPS_MAX]; /* sites passed, the origin first */
	size_t hop_count;
	bool is_copy; /* its recipient has it in the chat: nobody is told what becomes of it */
};

struct envelope {
	struct envelope_fields f; /* every slice points into this object */
	struct slice packed;	  /* likewise */
	unsigned refs;
};

/* What envelope_unpack holds against an envelope; an edge asks before envelope_new, so that what it
 * lets in can be read again. Texts are UTF-8 that XML 1.0 can carry, sizes within the bounds above,
 * type and lang printable ASCII, from and to not empty; a len 0 `id` is fine.
 * HR_FAIL: err names the field. */
HR_MUST_USE enum hr_status envelope_check(const struct envelope_fields *fields, struct hr_err *err);
/* Copies everything; a len 0 `id` draws a new one, a UUIDv7 (RFC 9562) of the time `received` that
 * sorts after all drawn before. Never fails: the caller has bounded the sizes. */
struct envelope *envelope_new(const struct envelope_fields *fields);
/* From bytes that a peer or the journal gave. HR_FAIL: not an envelope, or a bound is passed. */
HR_MUST_USE enum hr_status envelope_unpack(struct slice packed, struct envelope **out,
					   struct hr_err *err);
struct envelope *envelope_ref(struct envelope *envelope);
void envelope_free(struct envelope *envelope); /* drops one reference; NULL is fine */
DEFINE_SCOPED(envelope)

/* The same with one more hop. HR_FAIL: the hop limit is reached, or `site` is in the list (a loop).
 */
HR_MUST_USE enum hr_status envelope_hop(const struct envelope *envelope, const char *site,
					struct envelope **out, struct hr_err *err);
const char *envelope_kind_name(enum envelope_kind kind); /* static: "message", ... */
bool envelope_is_error(const struct envelope *envelope); /* type is "error" */

/* Why something could not be delivered, in the words of RFC 6120 section 8.3.3. */
enum bounce {
	BOUNCE_ITEM_NOT_FOUND, /* nobody has that address */
	BOUNCE_NOT_ALLOWED,    /* a rule refuses it */
	BOUNCE_REMOTE_TIMEOUT, /* remote-server-timeout: the way there is down, or it expired */
	BOUNCE_RESOURCE_CONSTRAINT,   /* no room or no database now: try later */
	BOUNCE_RECIPIENT_UNAVAILABLE, /* disabled, or has no installation */
	BOUNCE_SERVICE_UNAVAILABLE,
	BOUNCE_POLICY_VIOLATION, /* too large, too deep */
	BOUNCE_BAD_REQUEST,	 /* jid-malformed and the like */
	BOUNCES
};
const char *bounce_condition(enum bounce bounce); /* "item-not-found" */
const char *bounce_type(enum bounce bounce);	  /* "cancel", "wait", "auth", "modify" */

/* The error stanza that answers `envelope`, from its `to` to its `from`, with the same stanza id
 * and as long to live. `text` may be NULL; it is escaped and cut. HR_NONE: nothing may answer it:
 * it is a copy, or an error (RFC 6120 8.3.1), an IQ other than get and set, a presence other than
 * subscribe and probe. */
enum hr_status envelope_bounce(const struct envelope *envelope, enum bounce bounce,
			       const char *text, usec now, struct envelope **out);
