/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/stanza.h"

#include "federation/address.h"

/* A line break or tab that stood in an attribute as a reference must stay one. */
static const char *const escapes[128] = {
	['&'] = "&amp;",   ['<'] = "&lt;",  ['>'] = "&gt;",   ['"'] = "&quot;",
	['\''] = "&apos;", ['\t'] = "&#9;", ['\n'] = "&#10;", ['\r'] = "&#13;",
};

static const char *escape_of(char c)
{
	return (unsigned char)c < countof(escapes) ? escapes[(unsigned char)c] : NULL;
}

void stanza_escape(struct buf *out, struct slice text)
{
	size_t done = 0;

	for (size_t i = 0; i < text.len; i++) {
		const char *escape = escape_of(text.data[i]);
		if (!escape)
			continue;
		buf_add(out, text.data + done, i - done);
		buf_add_str(out, escape);
		done = i + 1;
	}
	buf_add(out, text.data + done, text.len - done);
}

static void write_attribute(struct buf *out, struct slice opening, struct slice value)
{
	if (value.len == 0)
		return;
	buf_add_slice(out, opening);
	stanza_escape(out, value);
	buf_add_char(out, '\'');
}

void stanza_write(struct buf *out, const struct stanza *stanza)
{
	const char *name = envelope_kind_name(stanza->kind);

	buf_add_char(out, '<');
	buf_add_str(out, name);
	write_attribute(out, slice_lit(" from='"), stanza->from);
	write_attribute(out, slice_lit(" to='"), stanza->to);
	write_attribute(out, slice_lit(" type='"), stanza->type);
	write_attribute(out, slice_lit(" id='"), stanza->id);
	write_attribute(out, slice_lit(" xml:lang='"), stanza->lang);
	if (stanza->payload.len + stanza->more.len == 0) {
		buf_add_slice(out, slice_lit("/>"));
		return;
	}
	buf_add_char(out, '>');
	buf_add_slice(out, stanza->payload);
	buf_add_slice(out, stanza->more);
	buf_add_slice(out, slice_lit("</"));
	buf_add_str(out, name);
	buf_add_char(out, '>');
}

void stanza_write_envelope(struct buf *out, const struct envelope *envelope, const char *native,
			   const char *more)
{
	const struct envelope_fields *f = &envelope->f;
	struct slice resource = address_text_resource(f->to);
	scoped_str to =
		str_format("%s%s" SLICE_FMT, native, resource.len ? "/" : "", SLICE_ARG(resource));

	stanza_write(out, &(struct stanza){
				  .kind = f->kind,
				  .from = f->from,
				  .to = slice_str(to),
				  .id = f->stanza_id,
				  .type = f->type,
				  .lang = f->lang,
				  .payload = f->payload,
				  .more = slice_str(more),
			  });
}

/* Which stanzas may be answered with an error, by kind and type; NULL: no type. */
static const struct {
	enum envelope_kind kind;
	const char *type;
	bool may;
} answerable[] = {
	{ ENVELOPE_IQ, "get", true },
	{ ENVELOPE_IQ, "set", true },
	{ ENVELOPE_PRESENCE, NULL, true },
	{ ENVELOPE_PRESENCE, "subscribe", true },
	{ ENVELOPE_PRESENCE, "subscribed", true },
	{ ENVELOPE_PRESENCE, "probe", true },
	{ ENVELOPE_MESSAGE, "error", false },
};

static bool is_answerable(const struct stanza *stanza)
{
	for (size_t i = 0; i < countof(answerable); i++) {
		const char *type = answerable[i].type;
		if (answerable[i].kind == stanza->kind &&
		    (type ? slice_is(stanza->type, type) : stanza->type.len == 0))
			return answerable[i].may;
	}
	return stanza->kind == ENVELOPE_MESSAGE;
}

enum hr_status stanza_write_error(struct buf *out, const struct stanza *stanza, enum bounce bounce,
				  const char *text)
{
	if (!is_answerable(stanza))
		return HR_NONE;
	scoped_buf payload = BUF_INIT(0);
	buf_format(&payload, "<error type='%s'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>",
		   bounce_type(bounce), bounce_condition(bounce));
	if (text && *text) {
		buf_add_str(&payload, "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>");
		stanza_escape(&payload, slice_str(text));
		buf_add_str(&payload, "</text>");
	}
	buf_add_str(&payload, "</error>");
	stanza_write(out, &(struct stanza){
				  .kind = stanza->kind,
				  .from = stanza->to,
				  .to = stanza->from,
				  .id = stanza->id,
				  .type = slice_lit("error"),
				  .payload = buf_slice(&payload),
			  });
	return HR_OK;
}
