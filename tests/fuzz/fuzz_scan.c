/* SPDX-License-Identifier: Apache-2.0 */
/* A stream tells the same however its bytes are cut: whole, and in pieces that the input chooses
 * (its first byte). A payload that is told is well-formed by itself. */
#include "base/buf.h"
#include "gateway/xmpp/scan.h"

#include <expat.h>

struct ear {
	struct buf heard;
	struct scan *scan;
};

static void check_payload(struct slice payload)
{
	static const char before[] = "<x xmlns='jabber:component:accept'>";
	XML_Parser parser = XML_ParserCreateNS("UTF-8", '\n');

	if (XML_Parse(parser, before, sizeof before - 1, 0) != XML_STATUS_OK ||
	    XML_Parse(parser, payload.data, (int)payload.len, 0) != XML_STATUS_OK ||
	    XML_Parse(parser, "</x>", 4, 1) != XML_STATUS_OK)
		abort();
	XML_ParserFree(parser);
}

static void hear(struct ear *ear, struct slice text)
{
	buf_add_u32(&ear->heard, (uint32_t)text.len);
	buf_add_slice(&ear->heard, text);
}

static void on_opened(void *ctx, struct slice id)
{
	hear(ctx, id);
}

static void on_stanza(void *ctx, const struct scan_stanza *stanza)
{
	const struct slice all[] = {
		stanza->from,
		stanza->to,
		stanza->id,
		stanza->type,
		stanza->lang,
		stanza->payload,
		stanza->child_namespace,
		stanza->child_name,
		stanza->child_node,
	};
	struct ear *ear = ctx;

	buf_add_char(&ear->heard, (char)stanza->kind);
	buf_add_char(&ear->heard, (char)stanza->flaw);
	for (size_t i = 0; i < countof(all); i++)
		hear(ear, all[i]);
	if (stanza->payload.len > 0)
		check_payload(stanza->payload);
	if (slice_is(stanza->id, "stop"))
		scan_stop(ear->scan);
}

static void on_handshake(void *ctx)
{
	hear(ctx, slice_lit("handshake"));
}

static void on_failed(void *ctx, struct slice condition, struct slice text)
{
	hear(ctx, condition);
	hear(ctx, text);
}

static void on_unknown(void *ctx, struct slice name)
{
	hear(ctx, name);
}

static void on_ended(void *ctx)
{
	hear(ctx, slice_lit("ended"));
}

static const struct scan_events events = {
	on_opened, on_stanza, on_handshake, on_failed, on_unknown, on_ended,
};

static void listen_to(struct slice bytes, size_t step, struct ear *ear)
{
	struct hr_err err;
	enum hr_status status = HR_OK;

	*ear = (struct ear){ .scan = scan_new(&events, ear) };
	for (size_t at = 0; at < bytes.len && status == HR_OK; at += step)
		status = scan_feed(ear->scan,
				   (struct slice){ bytes.data + at,
						   bytes.len - at < step ? bytes.len - at : step },
				   &err);
	buf_add_char(&ear->heard, (char)scan_fault(ear->scan));
	scan_free(ear->scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ear whole, pieces;

	/* what is past a bound is found out at the end of a piece: elsewhere for other pieces */
	if (size < 2 || size > SCAN_HEADER_MAX)
		return 0;
	struct slice bytes = { (const char *)data + 1, size - 1 };
	listen_to(bytes, bytes.len, &whole);
	listen_to(bytes, (size_t)data[0] % 61 + 1, &pieces);
	if (!slice_eq(buf_slice(&whole.heard), buf_slice(&pieces.heard)))
		abort();
	buf_free(&whole.heard);
	buf_free(&pieces.heard);
	return 0;
}
