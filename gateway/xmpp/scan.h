/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts an XML stream (RFC 6120 section 4, XEP-0114) into stanzas as its bytes arrive, in any
 * pieces. expat finds the bounds and checks that the XML is well-formed; nothing is built: the
 * inner XML of a stanza is a slice of the bytes themselves.
 *
 * A namespace prefix that a payload inherits (declared on the stream header or on the stanza) is
 * declared again on the payload's own elements, so that a payload means the same anywhere.
 *
 * What a peer may not do (section 11.1 of RFC 6120, and our bounds) ends the stream with a fault;
 * a stanza that is only too large, too deep or has absurd attributes is skipped and reported with
 * the attributes of its start tag, so that it can be refused, and the stream goes on. */
#pragma once

#include "base/mem.h"
#include "federation/envelope.h"

enum {
	SCAN_PAYLOAD_MAX = ENVELOPE_PAYLOAD_MAX, /* bytes; more: SCAN_TOO_LARGE */
	SCAN_DEPTH_MAX = 64,			 /* levels inside a stanza; more: SCAN_TOO_DEEP */
	SCAN_SKIP_MAX = 16 * 1024 * 1024, /* bytes of one stanza that are skipped; more: a fault */
	SCAN_LEVELS_MAX = 100 * 1000,	  /* levels that are skipped; more: a fault */
	SCAN_TOKEN_MAX = SCAN_PAYLOAD_MAX + 16 * 1024, /* bytes of one tag; more: a fault */
	SCAN_HEADER_MAX = 8 * 1024, /* bytes of the stream header; more: a fault */
	SCAN_ATTRIBUTES_MAX = 32,   /* on one stanza; more: SCAN_BAD_ATTRIBUTES */
	SCAN_ADDRESS_MAX = ENVELOPE_ADDRESS_MAX,
	SCAN_ID_MAX = ENVELOPE_STANZA_ID_MAX,
	SCAN_WORD_MAX = ENVELOPE_WORD_MAX /* of the type and xml:lang attributes */
};

enum scan_flaw { SCAN_SOUND, SCAN_TOO_LARGE, SCAN_TOO_DEEP, SCAN_BAD_ATTRIBUTES };

struct scan_stanza {
	enum envelope_kind kind;
	enum scan_flaw flaw; /* unless sound: the payload is empty, a bad attribute has len 0 */
	struct slice from, to, id, type, lang; /* len 0: none */
	struct slice payload;
	/* The first child of an IQ: what is asked; len 0: none, or not an IQ. */
	struct slice child_namespace, child_name, child_node;
};

/* All slices are valid for the call. scan_free is not allowed in here, scan_stop is. */
struct scan_events {
	void (*opened)(void *ctx, struct slice id); /* the stream header's id; len 0: none */
	void (*stanza)(void *ctx, const struct scan_stanza *stanza);
	void (*handshake)(void *ctx); /* XEP-0114: accepted */
	void (*failed)(void *ctx, struct slice condition, struct slice text); /* stream error */
	/* An element that is no stanza: "namespace name". It is skipped. */
	void (*unknown)(void *ctx, struct slice name);
	void (*ended)(void *ctx); /* the peer's end tag of the stream; nothing follows */
};

enum scan_fault {
	SCAN_NO_FAULT,
	SCAN_NOT_WELL_FORMED,
	SCAN_RESTRICTED_XML,
	SCAN_INVALID_NAMESPACE,
	SCAN_POLICY_VIOLATION,
	SCAN_FAULTS
};
const char *scan_condition(enum scan_fault fault); /* of the stream error: "not-well-formed" */

struct scan;
struct scan *scan_new(const struct scan_events *events, void *ctx);
void scan_free(struct scan *scan); /* NULL is fine */
DEFINE_SCOPED(scan)
void scan_reset(struct scan *scan); /* a new stream; not inside an event */
void scan_stop(struct scan *scan);  /* no event follows, what is fed is ignored, until scan_reset */

/* HR_FAIL: the stream can't go on; scan_fault says which rule, err what was seen. */
HR_MUST_USE enum hr_status scan_feed(struct scan *scan, struct slice bytes, struct hr_err *err);
enum scan_fault scan_fault(const struct scan *scan);
