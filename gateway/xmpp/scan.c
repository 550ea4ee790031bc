/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/scan_private.h"

#include <stdio.h>

enum { PIECE_MAX = 1024 * 1024 }; /* given to expat at once */

static const char *const conditions[SCAN_FAULTS] = {
	[SCAN_NO_FAULT] = "undefined-condition",
	[SCAN_NOT_WELL_FORMED] = "not-well-formed",
	[SCAN_RESTRICTED_XML] = "restricted-xml",
	[SCAN_INVALID_NAMESPACE] = "invalid-namespace",
	[SCAN_POLICY_VIOLATION] = "policy-violation",
};

const char *scan_condition(enum scan_fault fault)
{
	return conditions[fault];
}

enum scan_fault scan_fault(const struct scan *scan)
{
	return scan->fault;
}

void scan_stop(struct scan *scan)
{
	scan->stopped = true;
	XML_StopParser(scan->parser, XML_FALSE);
}

void scan_fail(struct scan *scan, enum scan_fault fault, const char *text)
{
	if (scan->stopped)
		return;
	scan->fault = fault;
	snprintf(scan->fault_text, sizeof scan->fault_text, "%s", text);
	scan_stop(scan);
}

uint64_t scan_token_at(const struct scan *scan)
{
	XML_Index at = XML_GetCurrentByteIndex(scan->parser);

	return at < 0 ? scan->fed : (uint64_t)at;
}

struct slice scan_cut(const struct scan *scan, uint64_t from, uint64_t to)
{
	return (struct slice){ scan->window.data + (from - scan->window_at), (size_t)(to - from) };
}

void scan_reset(struct scan *scan)
{
	XML_ParserReset(scan->parser, "UTF-8");
	scan_set_handlers(scan);
	scan->header_declarations = 0;
	scan_between(scan);
	buf_clear(&scan->header);
	buf_clear(&scan->header_lang);
	buf_clear(&scan->kept);
	scan->replaying = scan->renew = scan->stopped = false;
	scan->fault = SCAN_NO_FAULT;
	scan->level = 0;
	scan->fed = 0;
}

struct scan *scan_new(const struct scan_events *events, void *ctx)
{
	struct scan *scan = mem_new(struct scan);

	scan->events = events;
	scan->ctx = ctx;
	scan->parser = XML_ParserCreateNS("UTF-8", *SCAN_SEP);
	if (!scan->parser)
		abort(); /* out of memory, as in mem_alloc */
	scan->inherit = inherit_new();
	scan->scratch = mem_alloc(SCAN_SCRATCH_SIZE);
	scan->header_lang.cap = SCAN_WORD_MAX;
	scan->text.cap = SCAN_NAME_MAX;
	scan->contained.cap = SCAN_PAYLOAD_MAX;
	scan_set_handlers(scan);
	return scan;
}

void scan_free(struct scan *scan)
{
	if (!scan)
		return;
	XML_ParserFree(scan->parser);
	inherit_free(scan->inherit);
	free(scan->scratch);
	buf_free(&scan->header);
	buf_free(&scan->header_lang);
	buf_free(&scan->text);
	buf_free(&scan->kept);
	buf_free(&scan->contained);
	free(scan);
}

static bool parse(struct scan *scan, struct slice bytes)
{
	return XML_Parse(scan->parser, bytes.data, (int)bytes.len, XML_FALSE) == XML_STATUS_OK;
}

/* A parser without memory of the names it has seen, in the state after the stream header. */
static void renew(struct scan *scan)
{
	XML_ParserReset(scan->parser, "UTF-8");
	scan_set_handlers(scan);
	scan->renew = false;
	scan->level = 0;
	scan->replaying = true;
	if (!parse(scan, buf_slice(&scan->header)))
		scan_fail(scan, SCAN_NOT_WELL_FORMED,
			  "stream header"); /* it was well-formed before */
	scan->replaying = false;
	scan->fed = scan->header.len;
	buf_clear(&scan->kept);
}

static bool is_skipping(const struct scan *scan)
{
	return scan->stanza.flaw != SCAN_SOUND || scan->inside == INSIDE_UNKNOWN;
}

/* Where the bytes begin that a later call may still need: the header's, an open stanza's payload,
 * or none. */
static void keep(struct scan *scan)
{
	uint64_t from = scan->fed;

	if (scan->level == 0)
		from = scan->window_at;
	else if (scan->inside == INSIDE_STANZA && !is_skipping(scan))
		from = scan->payload_at;
	if (scan->kept.len > 0)
		buf_drop(&scan->kept, (size_t)(from - scan->window_at));
	else
		buf_add_slice(&scan->kept, scan_cut(scan, from, scan->fed));
	scan->window_at = from;
}

static void check_bounds(struct scan *scan)
{
	if (scan->level == 0 && scan->fed > SCAN_HEADER_MAX)
		scan_fail(scan, SCAN_POLICY_VIOLATION, "stream header too large");
	else if (scan->level >= 2 && scan->fed - scan->stanza_at > SCAN_SKIP_MAX)
		scan_fail(scan, SCAN_POLICY_VIOLATION, "stanza far too large");
	else if (scan->fed - scan_token_at(scan) > SCAN_TOKEN_MAX)
		scan_fail(scan, SCAN_POLICY_VIOLATION, "tag too large");
	else if (scan->inside == INSIDE_STANZA && scan->stanza.flaw == SCAN_SOUND &&
		 scan->fed - scan->payload_at > SCAN_TOKEN_MAX)
		scan->stanza.flaw = SCAN_TOO_LARGE;
}

static void set_window(struct scan *scan, struct slice bytes)
{
	scan->window = bytes;
	if (scan->kept.len > 0) {
		buf_add_slice(&scan->kept, bytes);
		scan->window = buf_slice(&scan->kept);
	} else {
		scan->window_at = scan->fed;
	}
}

/* Feeds one piece; returns how much of it was used: less than all only when the parser is to be
 * renewed. */
static size_t feed_piece(struct scan *scan, struct slice bytes)
{
	uint64_t before = scan->fed;

	set_window(scan, bytes);
	scan->fed += bytes.len;
	bool sound = parse(scan, bytes);
	if (scan->stopped)
		return bytes.len;
	if (scan->renew) {
		size_t used = (size_t)(scan->renew_at - before);
		renew(scan);
		return used;
	}
	if (!sound) {
		scan_fail(scan, SCAN_NOT_WELL_FORMED,
			  XML_ErrorString(XML_GetErrorCode(scan->parser)));
		return bytes.len;
	}
	check_bounds(scan);
	keep(scan);
	return bytes.len;
}

enum hr_status scan_feed(struct scan *scan, struct slice bytes, struct hr_err *err)
{
	while (bytes.len > 0 && !scan->stopped) {
		struct slice piece = { bytes.data, bytes.len < PIECE_MAX ? bytes.len : PIECE_MAX };
		size_t used = feed_piece(scan, piece);
		bytes.data += used;
		bytes.len -= used;
	}
	if (scan->fault != SCAN_NO_FAULT)
		return err_set(err, HR_FAIL, "%s: %s", scan_condition(scan->fault),
			       scan->fault_text);
	return HR_OK;
}
