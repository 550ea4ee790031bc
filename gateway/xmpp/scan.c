/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/scan.h"

#include "gateway/xmpp/inherit.h"

#include <expat.h>
#include <stdio.h>

#define STREAMS_NS "http://etherx.jabber.org/streams"
#define ERRORS_NS "urn:ietf:params:xml:ns:xmpp-streams"
#define COMPONENT_NS "jabber:component:accept"
#define CLIENT_NS "jabber:client"
#define XML_NS "http://www.w3.org/XML/1998/namespace"
#define SEP "\n" /* between namespace and name as expat gives them; never part of either */

enum {
	NAME_LIMIT = 512, /* of a name that is reported or logged */
	RENEW_BYTES =
		1024 * 1024, /* expat keeps every name it has seen: it starts anew after so many */
	PIECE_MAX = 1024 * 1024, /* given to expat at once */
	SCRATCH_SIZE = 2 * SCAN_ADDRESS_MAX + SCAN_ID_MAX + 2 * SCAN_WORD_MAX + 3 * NAME_LIMIT,
};

/* What the open element at level 1 of the stream is. */
enum inside { INSIDE_NOTHING, INSIDE_STANZA, INSIDE_HANDSHAKE, INSIDE_FAILURE, INSIDE_UNKNOWN };

static const struct element {
	const char *name;
	enum inside inside;
	enum envelope_kind kind;
} elements[] = {
	{ COMPONENT_NS SEP "message", INSIDE_STANZA, ENVELOPE_MESSAGE },
	{ COMPONENT_NS SEP "presence", INSIDE_STANZA, ENVELOPE_PRESENCE },
	{ COMPONENT_NS SEP "iq", INSIDE_STANZA, ENVELOPE_IQ },
	{ CLIENT_NS SEP "message", INSIDE_STANZA, ENVELOPE_MESSAGE },
	{ CLIENT_NS SEP "presence", INSIDE_STANZA, ENVELOPE_PRESENCE },
	{ CLIENT_NS SEP "iq", INSIDE_STANZA, ENVELOPE_IQ },
	{ COMPONENT_NS SEP "handshake", INSIDE_HANDSHAKE, 0 },
	{ STREAMS_NS SEP "error", INSIDE_FAILURE, 0 },
};

/* The attributes of a stanza that mean something to us. */
static const struct attribute {
	const char *name;
	size_t offset; /* of the slice in struct scan_stanza */
	size_t max;
} attributes[] = {
	{ "from", offsetof(struct scan_stanza, from), SCAN_ADDRESS_MAX },
	{ "to", offsetof(struct scan_stanza, to), SCAN_ADDRESS_MAX },
	{ "id", offsetof(struct scan_stanza, id), SCAN_ID_MAX },
	{ "type", offsetof(struct scan_stanza, type), SCAN_WORD_MAX },
	{ XML_NS SEP "lang", offsetof(struct scan_stanza, lang), SCAN_WORD_MAX },
};

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

/* The first fault wins; expat calls nothing more. */
static void fail(struct scan *scan, enum scan_fault fault, const char *text)
{
	if (scan->stopped)
		return;
	scan->fault = fault;
	snprintf(scan->fault_text, sizeof scan->fault_text, "%s", text);
	scan_stop(scan);
}

/* Where the token begins that is being reported, or after a call, that is unfinished. */
static uint64_t token_at(const struct scan *scan)
{
	XML_Index at = XML_GetCurrentByteIndex(scan->parser);

	return at < 0 ? scan->fed : (uint64_t)at;
}

static uint64_t token_end(const struct scan *scan)
{
	return token_at(scan) + (uint64_t)XML_GetCurrentByteCount(scan->parser);
}

/* The bytes from `from` to `to`, which are within the window: see keep(). */
static struct slice cut(const struct scan *scan, uint64_t from, uint64_t to)
{
	return (struct slice){ scan->window.data + (from - scan->window_at), (size_t)(to - from) };
}

static bool is_skipping(const struct scan *scan)
{
	return scan->stanza.flaw != SCAN_SOUND || scan->inside == INSIDE_UNKNOWN;
}

static struct slice scratch_add(struct scan *scan, struct slice text, size_t max)
{
	char *at = scan->scratch + scan->scratch_used;

	if (text.len > max || text.len > SCRATCH_SIZE - scan->scratch_used)
		return (struct slice){ 0 };
	memcpy(at, text.data, text.len);
	scan->scratch_used += text.len;
	return (struct slice){ at, text.len };
}

static void take_attribute(struct scan *scan, const char *name, const char *value)
{
	for (size_t i = 0; i < countof(attributes); i++) {
		const struct attribute *attribute = &attributes[i];
		if (*name != *attribute->name || strcmp(name, attribute->name) != 0)
			continue;
		struct slice *slot =
			(struct slice *)(void *)((char *)&scan->stanza + attribute->offset);
		struct slice text = slice_str(value);
		*slot = scratch_add(scan, text, attribute->max);
		if (slot->len != text.len)
			scan->stanza.flaw = SCAN_BAD_ATTRIBUTES;
		return;
	}
}

static const struct element *find_element(const char *name)
{
	for (size_t i = 0; i < countof(elements); i++)
		if (strcmp(name, elements[i].name) == 0)
			return &elements[i];
	return NULL;
}

static void XMLCALL on_declaration(void *user, const char *prefix, const char *uri)
{
	struct scan *scan = user;

	if (scan->replaying || scan->stopped || inherit_add(scan->inherit, prefix, uri))
		return;
	if (scan->level == 0)
		fail(scan, SCAN_POLICY_VIOLATION, "too many namespaces in the stream header");
	else
		scan->stanza.flaw = SCAN_BAD_ATTRIBUTES;
}

static void XMLCALL on_text(void *user, const char *text, int len)
{
	struct scan *scan = user;

	if (scan->in_text)
		buf_add(&scan->text, text, (size_t)len);
}

static void start_header(struct scan *scan, const char *name, const char **attribute)
{
	if (scan->replaying)
		return;
	if (strcmp(name, STREAMS_NS SEP "stream") != 0 ||
	    strcmp(inherit_default(scan->inherit), COMPONENT_NS) != 0) {
		fail(scan, SCAN_INVALID_NAMESPACE, "not a component stream");
		return;
	}
	scan->header_declarations = inherit_count(scan->inherit);
	buf_add_slice(&scan->header, cut(scan, token_at(scan), token_end(scan)));
	struct slice id = { 0 };
	for (; *attribute; attribute += 2) {
		if (strcmp(*attribute, "id") == 0)
			id = slice_str(attribute[1]);
		else if (strcmp(*attribute, XML_NS SEP "lang") == 0)
			buf_add_str(&scan->header_lang, attribute[1]);
	}
	scan->events->opened(scan->ctx, id);
}

static void start_stanza(struct scan *scan, const char **attribute)
{
	XML_SetNamespaceDeclHandler(scan->parser, NULL, NULL);
	for (size_t n = 0; *attribute; attribute += 2) {
		take_attribute(scan, attribute[0], attribute[1]);
		if (++n > SCAN_ATTRIBUTES_MAX)
			scan->stanza.flaw = SCAN_BAD_ATTRIBUTES;
	}
	if (scan->stanza.lang.len == 0)
		scan->stanza.lang = buf_slice(&scan->header_lang);
	scan->payload_at = token_end(scan);
}

static void start_top(struct scan *scan, const char *name, const char **attribute)
{
	const struct element *element = find_element(name);

	scan->stanza_at = token_at(scan);
	scan->inside = element ? element->inside : INSIDE_UNKNOWN;
	switch (scan->inside) {
	case INSIDE_STANZA:
		scan->stanza.kind = element->kind;
		start_stanza(scan, attribute);
		break;
	case INSIDE_FAILURE:
		buf_clear(&scan->text);
		XML_SetCharacterDataHandler(scan->parser, on_text);
		break;
	case INSIDE_UNKNOWN:
		XML_SetNamespaceDeclHandler(scan->parser, NULL, NULL);
		scan->stanza.child_name = scratch_add(scan, slice_str(name), NAME_LIMIT);
		break;
	case INSIDE_HANDSHAKE:
	case INSIDE_NOTHING:
		break;
	}
}

static void take_name(struct scan *scan, const char *name, struct slice *ns, struct slice *local)
{
	struct slice whole = scratch_add(scan, slice_str(name), NAME_LIMIT);
	const char *sep = whole.len ? memrchr(whole.data, *SEP, whole.len) : NULL;

	*local = whole;
	if (!sep)
		return;
	*ns = (struct slice){ whole.data, (size_t)(sep - whole.data) };
	*local = (struct slice){ sep + 1, whole.len - ns->len - 1 };
}

static void start_child(struct scan *scan, const char *name, const char **attribute)
{
	struct scan_stanza *stanza = &scan->stanza;
	static const char text[] = ERRORS_NS SEP "text";

	if (scan->inside == INSIDE_FAILURE) {
		scan->in_text = strcmp(name, text) == 0;
		if (!scan->in_text && stanza->child_name.len == 0)
			take_name(scan, name, &stanza->child_namespace, &stanza->child_name);
		return;
	}
	if (scan->inside != INSIDE_STANZA || stanza->kind != ENVELOPE_IQ ||
	    stanza->child_name.len > 0)
		return;
	take_name(scan, name, &stanza->child_namespace, &stanza->child_name);
	for (; *attribute; attribute += 2)
		if (strcmp(*attribute, "node") == 0)
			stanza->child_node = scratch_add(scan, slice_str(attribute[1]), NAME_LIMIT);
}

static void XMLCALL on_start(void *user, const char *name, const char **attribute)
{
	struct scan *scan = user;

	if (scan->stopped)
		return;
	scan->level++;
	if (scan->level == 1)
		start_header(scan, name, attribute);
	else if (scan->level == 2)
		start_top(scan, name, attribute);
	else if (scan->level == 3)
		start_child(scan, name, attribute);
	else if (scan->level > 2 + SCAN_DEPTH_MAX) {
		if (scan->inside == INSIDE_STANZA && scan->stanza.flaw == SCAN_SOUND)
			scan->stanza.flaw = SCAN_TOO_DEEP;
		if (scan->level > SCAN_LEVELS_MAX)
			fail(scan, SCAN_POLICY_VIOLATION, "nested too deep");
	}
}

static void report_stanza(struct scan *scan)
{
	struct scan_stanza *stanza = &scan->stanza;
	uint64_t end = token_at(scan);
	struct hr_err err;

	if (stanza->flaw == SCAN_SOUND && end - scan->payload_at > SCAN_PAYLOAD_MAX)
		stanza->flaw = SCAN_TOO_LARGE;
	if (stanza->flaw == SCAN_SOUND) {
		stanza->payload = cut(scan, scan->payload_at, end);
		if (inherit_needed(scan->inherit, stanza->payload)) {
			buf_clear(&scan->contained);
			if (inherit_apply(scan->inherit, stanza->payload, &scan->contained, &err) ==
			    HR_OK)
				stanza->payload = buf_slice(&scan->contained);
			else
				stanza->flaw = SCAN_TOO_LARGE;
		}
	}
	if (stanza->flaw != SCAN_SOUND)
		stanza->payload = (struct slice){ 0 };
	scan->events->stanza(scan->ctx, stanza);
}

static void report(struct scan *scan)
{
	switch (scan->inside) {
	case INSIDE_STANZA:
		report_stanza(scan);
		break;
	case INSIDE_HANDSHAKE:
		scan->events->handshake(scan->ctx);
		break;
	case INSIDE_FAILURE:
		scan->events->failed(scan->ctx, scan->stanza.child_name, buf_slice(&scan->text));
		break;
	case INSIDE_UNKNOWN:
		scan->events->unknown(scan->ctx, scan->stanza.child_name);
		break;
	case INSIDE_NOTHING:
		break;
	}
}

/* Ready for the next element at level 1. */
static void between(struct scan *scan)
{
	scan->inside = INSIDE_NOTHING;
	scan->stanza = (struct scan_stanza){ 0 };
	scan->scratch_used = 0;
	scan->in_text = false;
	inherit_cut(scan->inherit, scan->header_declarations);
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct scan *scan = user;

	(void)name;
	if (scan->stopped)
		return;
	scan->level--;
	if (scan->level == 0) {
		scan->events->ended(scan->ctx);
		scan_stop(scan);
		return;
	}
	if (scan->level == 2)
		scan->in_text = false;
	if (scan->level != 1)
		return;
	report(scan);
	if (scan->stopped)
		return;
	XML_SetNamespaceDeclHandler(scan->parser, on_declaration, NULL);
	XML_SetCharacterDataHandler(scan->parser, NULL);
	between(scan);
	if (token_end(scan) > RENEW_BYTES) {
		scan->renew = true;
		scan->renew_at = token_end(scan);
		XML_StopParser(scan->parser, XML_TRUE);
	}
}

static void XMLCALL on_doctype(void *user, const char *name, const char *system, const char *public,
			       int internal)
{
	(void)name, (void)system, (void)public, (void)internal;
	fail(user, SCAN_RESTRICTED_XML, "document type declaration");
}

static void XMLCALL on_instruction(void *user, const char *target, const char *data)
{
	(void)target, (void)data;
	fail(user, SCAN_RESTRICTED_XML, "processing instruction");
}

static void XMLCALL on_comment(void *user, const char *data)
{
	(void)data;
	fail(user, SCAN_RESTRICTED_XML, "comment");
}

static void set_handlers(struct scan *scan)
{
#if HAVE_DECL_XML_SETREPARSEDEFERRALENABLED
	/* a stanza must not wait for the next one; SCAN_TOKEN_MAX bounds what is read again */
	XML_SetReparseDeferralEnabled(scan->parser, XML_FALSE);
#endif
	XML_SetUserData(scan->parser, scan);
	XML_SetElementHandler(scan->parser, on_start, on_end);
	XML_SetNamespaceDeclHandler(scan->parser, on_declaration, NULL);
	XML_SetStartDoctypeDeclHandler(scan->parser, on_doctype);
	XML_SetProcessingInstructionHandler(scan->parser, on_instruction);
	XML_SetCommentHandler(scan->parser, on_comment);
}

void scan_reset(struct scan *scan)
{
	XML_ParserReset(scan->parser, "UTF-8");
	set_handlers(scan);
	scan->header_declarations = 0;
	between(scan);
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
	scan->parser = XML_ParserCreateNS("UTF-8", *SEP);
	if (!scan->parser)
		abort(); /* out of memory, as in mem_alloc */
	scan->inherit = inherit_new();
	scan->scratch = mem_alloc(SCRATCH_SIZE);
	scan->header_lang.cap = SCAN_WORD_MAX;
	scan->text.cap = NAME_LIMIT;
	scan->contained.cap = SCAN_PAYLOAD_MAX;
	set_handlers(scan);
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
	set_handlers(scan);
	scan->renew = false;
	scan->level = 0;
	scan->replaying = true;
	if (!parse(scan, buf_slice(&scan->header)))
		fail(scan, SCAN_NOT_WELL_FORMED, "stream header"); /* it was well-formed before */
	scan->replaying = false;
	scan->fed = scan->header.len;
	buf_clear(&scan->kept);
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
		buf_add_slice(&scan->kept, cut(scan, from, scan->fed));
	scan->window_at = from;
}

static void check_bounds(struct scan *scan)
{
	if (scan->level == 0 && scan->fed > SCAN_HEADER_MAX)
		fail(scan, SCAN_POLICY_VIOLATION, "stream header too large");
	else if (scan->level >= 2 && scan->fed - scan->stanza_at > SCAN_SKIP_MAX)
		fail(scan, SCAN_POLICY_VIOLATION, "stanza far too large");
	else if (scan->fed - token_at(scan) > SCAN_TOKEN_MAX)
		fail(scan, SCAN_POLICY_VIOLATION, "tag too large");
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
		fail(scan, SCAN_NOT_WELL_FORMED, XML_ErrorString(XML_GetErrorCode(scan->parser)));
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
