/* SPDX-License-Identifier: Apache-2.0 */
/* What scan.c (bytes, their bounds, and what of them is kept) and scan_element.c (the elements that
 * expat finds in them) share. For these two only. */
#pragma once

#include "base/buf.h"
#include "gateway/xmpp/inherit.h"
#include "gateway/xmpp/scan.h"

#include <expat.h>

#define SCAN_SEP "\n" /* between namespace and name as expat gives them; never part of either */

enum {
	SCAN_NAME_MAX = 512, /* of a name that is reported or logged */
	SCAN_RENEW_BYTES =
		1024 * 1024, /* expat keeps every name it has seen: it starts anew after so many */
	SCAN_SCRATCH_SIZE =
		2 * SCAN_ADDRESS_MAX + SCAN_ID_MAX + 2 * SCAN_WORD_MAX + 3 * SCAN_NAME_MAX,
};

/* What the open element at level 1 of the stream is. */
enum inside { INSIDE_NOTHING, INSIDE_STANZA, INSIDE_HANDSHAKE, INSIDE_FAILURE, INSIDE_UNKNOWN };

struct scan {
	const struct scan_events *events;
	void *ctx;
	XML_Parser parser;
	struct inherit *inherit; /* declarations of the stream header, then of the open stanza */
	size_t header_declarations;
	struct buf header;	/* the stream header as it came, to start the parser anew */
	struct buf header_lang; /* its xml:lang, the default of every stanza */
	bool replaying, renew, stopped;
	enum scan_fault fault;
	char fault_text[128];

	size_t level; /* of the element that is open: 1 the stream, 2 a stanza */
	enum inside inside;
	struct scan_stanza stanza;
	char *scratch; /* owned; the text that the slices of `stanza` point to */
	size_t scratch_used;
	struct buf text; /* of a stream error */
	bool in_text;

	/* Positions count the bytes given to this parser. */
	uint64_t fed, payload_at, stanza_at, renew_at;
	struct slice window; /* bytes at hand; the first is at window_at */
	uint64_t window_at;
	struct buf kept;      /* bytes of an unfinished stanza or header from earlier calls */
	struct buf contained; /* a payload with its inherited declarations */
};

/* scan.c */
/* The first fault wins; expat calls nothing more. */
void scan_fail(struct scan *scan, enum scan_fault fault, const char *text);
/* Where the token begins that is being reported, or after a call, that is unfinished. */
uint64_t scan_token_at(const struct scan *scan);
/* The bytes from `from` to `to`, which are within the window. */
struct slice scan_cut(const struct scan *scan, uint64_t from, uint64_t to);

/* scan_element.c */
void scan_set_handlers(struct scan *scan); /* of a parser that is new, or was reset */
void scan_between(struct scan *scan);	   /* ready for the next element at level 1 */
