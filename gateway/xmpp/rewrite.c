/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/rewrite.h"

#include "federation/address.h"
#include "gateway/xmpp/stanza.h"

#include <ctype.h>
#include <expat.h>

#define SEP "\n"

enum { TEXT_MAX = 4096 }; /* a longer text is no address */

enum shape {
	SHAPE_JID,  /* the whole value is an address */
	SHAPE_URI,  /* xmpp:address?query (RFC 5122) */
	SHAPE_FREE, /* words written by a server: emptied when they name the domain */
};

/* Where addresses stand. NULL matches anything; without an attribute it is the element's text. */
static const struct place {
	const char *ns, *element, *attribute;
	enum shape shape;
} places[] = {
	/* Stanzas inside stanzas (forwarded, carbons, archive), delay, MUC, disco, roster items,
	 * blocking, bookmarks, extended addressing, direct invitations, stanza ids, replies */
	{ NULL, NULL, "jid", SHAPE_JID },
	{ NULL, NULL, "from", SHAPE_JID },
	{ NULL, NULL, "to", SHAPE_JID },
	{ NULL, NULL, "by", SHAPE_JID },
	{ NULL, NULL, "with", SHAPE_JID },	/* XEP-0136 */
	{ NULL, NULL, "publisher", SHAPE_JID }, /* XEP-0060 */
	{ NULL, NULL, "owner", SHAPE_JID },
	{ NULL, NULL, "initiator", SHAPE_JID }, /* XEP-0166 */
	{ NULL, NULL, "responder", SHAPE_JID },
	{ NULL, NULL, "uri", SHAPE_URI }, /* XEP-0033, XEP-0372 */
	{ "http://www.w3.org/1999/xhtml", "a", "href", SHAPE_URI },
	{ "http://jabber.org/protocol/bytestreams", "activate", NULL, SHAPE_JID },
	{ "jabber:x:data", "value", NULL, SHAPE_JID },
	{ "jabber:x:oob", "url", NULL, SHAPE_URI },
	{ "vcard-temp", "JABBERID", NULL, SHAPE_JID },
	{ "vcard-temp", "USERID", NULL, SHAPE_JID },
	{ "urn:ietf:params:xml:ns:vcard-4.0", "uri", NULL, SHAPE_URI },
	{ "urn:ietf:params:xml:ns:vcard-4.0", "text", NULL, SHAPE_JID },
	{ "http://www.w3.org/2005/Atom", "uri", NULL, SHAPE_URI },
	{ "jabber:iq:gateway", "jid", NULL, SHAPE_JID },
	{ "jabber:iq:gateway", "prompt", NULL, SHAPE_JID },
	{ "jabber:iq:register", "username", NULL, SHAPE_JID },
	{ "urn:ietf:params:xml:ns:xmpp-stanzas", "gone", NULL, SHAPE_URI },
	{ "urn:ietf:params:xml:ns:xmpp-stanzas", "redirect", NULL, SHAPE_URI },
	{ "urn:ietf:params:xml:ns:xmpp-stanzas", "text", NULL, SHAPE_FREE },
};

enum { NOBODY = -1 };

struct edit {
	size_t at, len;		    /* what is replaced */
	size_t whole_at, whole_len; /* what goes when there is no address: text or attribute */
	int mention;		    /* index, or NOBODY */
	bool is_uri;
	char *rest; /* owned: what follows the bare address, as plain text */
};

struct rewrite {
	char *mention_text[REWRITE_MENTIONS_MAX]; /* owned */
	struct slice mentions[REWRITE_MENTIONS_MAX];
	size_t mention_count;
	struct edit *edits; /* in the order of the payload */
	size_t edit_count, edit_size;
};

void rewrite_free(struct rewrite *rewrite)
{
	if (!rewrite)
		return;
	for (size_t i = 0; i < rewrite->mention_count; i++)
		free(rewrite->mention_text[i]);
	for (size_t i = 0; i < rewrite->edit_count; i++)
		free(rewrite->edits[i].rest);
	free(rewrite->edits);
	free(rewrite);
}

const struct slice *rewrite_mentions(const struct rewrite *rewrite, size_t *count)
{
	*count = rewrite->mention_count;
	return rewrite->mentions;
}

/* Does `domain` stand in `text`, in any case of ASCII letters? Looks for its first dot, which is
 * rare in text, then compares around it. */
static bool names_domain(struct slice text, struct slice domain)
{
	const char *dot = memchr(domain.data, '.', domain.len);
	size_t before = dot ? (size_t)(dot - domain.data) : 0;
	const char *end = text.data + text.len;

	if (text.len < domain.len)
		return false;
	for (const char *at = text.data + before; at + (domain.len - before) <= end; at++) {
		if (dot) {
			at = memchr(at, '.', (size_t)(end - at));
			if (!at || at + (domain.len - before) > end)
				return false;
		}
		if (strncasecmp(at - before, domain.data, domain.len) == 0)
			return true;
	}
	return false;
}

static bool has(struct slice text, struct slice part)
{
	return memmem(text.data, text.len, part.data, part.len);
}

/* A character reference or a CDATA section could hide the domain from a plain search. */
static bool is_suspect(struct slice payload, struct slice domain)
{
	return payload.len > 0 && (names_domain(payload, domain) || has(payload, slice_lit("&#")) ||
				   has(payload, slice_lit("<![")));
}

/* One walk over a payload; the walker is expat's user data. */
struct walk {
	XML_Parser parser;
	struct slice payload, domain;
	struct rewrite *plan;
	struct hr_err *err;
	enum hr_status status;
	const struct place *in_text; /* the open element's place */
	size_t text_at;
	struct buf text;
};

static const struct slice walk_before = { "<x xmlns='jabber:component:accept'>", 35 };
static const struct slice walk_after = { "</x>", 4 };

static void walk_fail(struct walk *walk, const char *what)
{
	walk->status = err_set(walk->err, HR_FAIL, "payload names too many %s", what);
	XML_StopParser(walk->parser, XML_FALSE);
}

static struct slice trim(struct slice text)
{
	while (text.len > 0 && isspace((unsigned char)*text.data))
		text.data++, text.len--;
	while (text.len > 0 && isspace((unsigned char)text.data[text.len - 1]))
		text.len--;
	return text;
}

/* The index of the mention; NOBODY when there are too many. */
static int add_mention(struct walk *walk, struct slice bare)
{
	struct rewrite *plan = walk->plan;

	for (size_t i = 0; i < plan->mention_count; i++)
		if (slice_eq(plan->mentions[i], bare))
			return (int)i;
	if (plan->mention_count == REWRITE_MENTIONS_MAX) {
		walk_fail(walk, "people");
		return NOBODY;
	}
	size_t at = plan->mention_count++;
	plan->mention_text[at] = mem_dup(bare.data, bare.len);
	plan->mentions[at] = (struct slice){ plan->mention_text[at], bare.len };
	return (int)at;
}

static void add_edit(struct walk *walk, const struct edit *edit)
{
	struct rewrite *plan = walk->plan;

	if (plan->edit_count == REWRITE_EDITS_MAX) {
		free(edit->rest);
		walk_fail(walk, "addresses");
		return;
	}
	if (plan->edit_count == plan->edit_size) {
		plan->edit_size = plan->edit_size ? 2 * plan->edit_size : 8;
		plan->edits = mem_resize(plan->edits, plan->edit_size, sizeof *plan->edits);
	}
	plan->edits[plan->edit_count++] = *edit;
}

/* The domain itself, or a service below it: rooms and the like are native addresses too. */
static bool is_within(struct slice domain, struct slice native)
{
	if (domain.len <= native.len)
		return slice_eq(domain, native);

	struct slice end = { domain.data + domain.len - native.len, native.len };
	return slice_eq(end, native) && end.data[-1] == '.';
}

/* `jid` is an address in plain text, `rest` what follows its bare part in the value. */
static void judge_jid(struct walk *walk, struct slice jid, struct slice rest, struct edit *edit)
{
	scoped_address address = { 0 };
	struct hr_err ignored;

	if (jid.len == 0)
		return;
	if (address_parse(jid, &address, &ignored) != HR_OK) {
		const char *at = memrchr(jid.data, '@', jid.len);
		if (at && names_domain((struct slice){ at, (size_t)(jid.data + jid.len - at) },
				       walk->domain))
			add_edit(walk, edit);
		return;
	}
	if (!is_within(address_domain(&address), walk->domain))
		return;
	if (address_local(&address).len > 0) {
		edit->mention = add_mention(walk, address_bare(&address));
		edit->rest = mem_dup(rest.data, rest.len);
	} else if (walk->in_text) {
		return; /* the name of the server in a text is nobody's address */
	}
	add_edit(walk, edit);
}

static struct slice from_first(struct slice text, const char *set)
{
	for (size_t i = 0; i < text.len; i++)
		if (strchr(set, text.data[i]))
			return (struct slice){ text.data + i, text.len - i };
	return (struct slice){ text.data + text.len, 0 };
}

static int hex_value(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (tolower((unsigned char)c) - 'a') + 10;
}

static void percent_decode(struct slice text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '%' && i + 2 < text.len &&
		    isxdigit((unsigned char)text.data[i + 1]) &&
		    isxdigit((unsigned char)text.data[i + 2])) {
			buf_add_char(out, (char)(hex_value(text.data[i + 1]) * 16 +
						 hex_value(text.data[i + 2])));
			i += 2;
		} else {
			buf_add_char(out, text.data[i]);
		}
	}
}

static void judge_uri(struct walk *walk, struct slice uri, struct edit *edit)
{
	if (uri.len < 5 || strncasecmp(uri.data, "xmpp:", 5) != 0)
		return;
	struct slice rest = { uri.data + 5, uri.len - 5 };
	if (rest.len >= 2 && memcmp(rest.data, "//", 2) == 0) { /* xmpp://account/address */
		if (names_domain(rest, walk->domain))
			add_edit(walk, edit);
		return;
	}
	struct slice query = from_first(rest, "?#");
	scoped_buf jid = BUF_INIT(TEXT_MAX);
	percent_decode((struct slice){ rest.data, rest.len - query.len }, &jid);
	edit->is_uri = true;
	judge_jid(walk, buf_slice(&jid), from_first(rest, "/?#"), edit);
}

static void judge(struct walk *walk, enum shape shape, struct slice value, struct edit *edit)
{
	edit->mention = NOBODY;
	value = trim(value);
	switch (shape) {
	case SHAPE_JID:
		judge_jid(walk, value, from_first(value, "/"), edit);
		break;
	case SHAPE_URI:
		judge_uri(walk, value, edit);
		break;
	case SHAPE_FREE:
		if (names_domain(value, walk->domain))
			add_edit(walk, edit);
		break;
	}
}

static bool matches(const char *want, struct slice have)
{
	return !want || slice_is(have, want);
}

/* `name` as expat gives it; attribute.data NULL asks for the place of its text. */
static const struct place *find_place(const char *name, struct slice attribute)
{
	const char *sep = strrchr(name, *SEP);
	struct slice ns = { name, sep ? (size_t)(sep - name) : 0 };
	struct slice element = slice_str(sep ? sep + 1 : name);

	for (size_t i = 0; i < countof(places); i++) {
		const struct place *place = &places[i];
		if (matches(place->ns, ns) && matches(place->element, element) &&
		    (place->attribute ? slice_is(attribute, place->attribute) : !attribute.data))
			return place;
	}
	return NULL;
}

static size_t payload_offset(const struct walk *walk)
{
	return (size_t)XML_GetCurrentByteIndex(walk->parser) - walk_before.len;
}

static size_t skip_space(struct slice tag, size_t at)
{
	while (at < tag.len && isspace((unsigned char)tag.data[at]))
		at++;
	return at;
}

/* The next attribute of a well-formed start tag, from *at on, which is moved past it. */
struct raw_attribute {
	size_t at; /* of the space before it */
	struct slice name;
	size_t value_at, value_len;
};

static bool next_attribute(struct slice tag, size_t *at, struct raw_attribute *out)
{
	size_t name = skip_space(tag, *at), name_end = name;

	while (name_end < tag.len && !strchr("=/> \t\r\n", tag.data[name_end]))
		name_end++;
	if (name_end == name)
		return false;
	size_t quote = skip_space(tag, skip_space(tag, name_end) + 1);
	const char *end =
		quote < tag.len ? memchr(tag.data + quote + 1, tag.data[quote], tag.len - quote - 1)
				: NULL;
	if (!end)
		return false;
	*out = (struct raw_attribute){
		.at = *at,
		.name = { tag.data + name, name_end - name },
		.value_at = quote + 1,
		.value_len = (size_t)(end - (tag.data + quote + 1)),
	};
	*at = (size_t)(end + 1 - tag.data);
	return true;
}

static const char *value_of(const char **attributes, struct slice name)
{
	for (; *attributes; attributes += 2)
		if (slice_is(name, *attributes))
			return attributes[1];
	return NULL;
}

static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
	struct walk *walk = user;
	size_t begin = payload_offset(walk), len = (size_t)XML_GetCurrentByteCount(walk->parser);

	walk->in_text = NULL;
	if (XML_GetCurrentByteIndex(walk->parser) < (XML_Index)walk_before.len)
		return; /* the element around the payload */
	struct slice tag = { walk->payload.data + begin, len };
	size_t at =
		1 + (size_t)(from_first((struct slice){ tag.data + 1, len - 1 }, "/> \t\r\n").data -
			     (tag.data + 1));
	for (struct raw_attribute raw; next_attribute(tag, &at, &raw);) {
		const struct place *place = find_place(name, raw.name);
		const char *value = place ? value_of(attributes, raw.name) : NULL;
		if (value)
			judge(walk, place->shape, slice_str(value),
			      &(struct edit){ .at = begin + raw.value_at,
					      .len = raw.value_len,
					      .whole_at = begin + raw.at,
					      .whole_len = at - raw.at });
	}
	walk->in_text = find_place(name, (struct slice){ 0 });
	walk->text_at = begin + len;
	buf_clear(&walk->text);
}

static void XMLCALL on_text(void *user, const char *text, int len)
{
	struct walk *walk = user;

	if (walk->in_text)
		buf_add(&walk->text, text, (size_t)len);
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct walk *walk = user;

	(void)name;
	if (walk->in_text && walk->text.len > 0) {
		size_t len = payload_offset(walk) - walk->text_at;
		struct edit edit = { walk->text_at, len, walk->text_at, len, NOBODY, false, NULL };
		if (!walk->text.overflowed)
			judge(walk, walk->in_text->shape, buf_slice(&walk->text), &edit);
		else if (walk->in_text->shape == SHAPE_FREE)
			add_edit(walk, &edit);
	}
	walk->in_text = NULL;
}

static bool walk_feed(struct walk *walk, struct slice bytes, bool last)
{
	return XML_Parse(walk->parser, bytes.data, (int)bytes.len, last) == XML_STATUS_OK;
}

enum hr_status rewrite_plan(struct slice payload, struct slice native_domain, struct rewrite **out,
			    struct hr_err *err)
{
	if (!is_suspect(payload, native_domain))
		return HR_NONE;
	scoped(rewrite) plan = mem_new(struct rewrite);
	struct walk walk = {
		.parser = XML_ParserCreateNS("UTF-8", *SEP),
		.payload = payload,
		.domain = native_domain,
		.plan = plan,
		.err = err,
		.text = BUF_INIT(TEXT_MAX),
	};
	if (!walk.parser)
		abort(); /* out of memory, as in mem_alloc */
	XML_SetUserData(walk.parser, &walk);
	XML_SetElementHandler(walk.parser, on_start, on_end);
	XML_SetCharacterDataHandler(walk.parser, on_text);
	bool sound = walk_feed(&walk, walk_before, false) && walk_feed(&walk, payload, false) &&
		     walk_feed(&walk, walk_after, true);
	enum XML_Error code = XML_GetErrorCode(walk.parser);
	XML_ParserFree(walk.parser);
	buf_free(&walk.text);

	if (walk.status != HR_OK)
		return walk.status;
	if (!sound)
		return err_set(err, HR_FAIL, "payload: %s", XML_ErrorString(code));
	if (plan->edit_count == 0)
		return HR_NONE;
	*out = give(plan);
	return HR_OK;
}

/* RFC 5122 section 2.2: what stands for itself in an xmpp: URI. */
static void add_percent_encoded(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];
		if (isalnum((unsigned char)c) || strchr("-._~!$()*+,;=:@", c))
			buf_add_char(out, c);
		else
			buf_format(out, "%%%02X", (unsigned char)c);
	}
}

static void add_replacement(const struct edit *edit, struct slice address, struct buf *out)
{
	if (edit->is_uri) {
		buf_add_str(out, "xmpp:");
		add_percent_encoded(out, address);
	} else {
		stanza_escape(out, address);
	}
	stanza_escape(out, slice_str(edit->rest));
}

void rewrite_apply(const struct rewrite *rewrite, struct slice payload,
		   const struct slice *addresses, struct buf *out)
{
	size_t done = 0;

	for (size_t i = 0; i < rewrite->edit_count; i++) {
		const struct edit *edit = &rewrite->edits[i];
		struct slice address =
			edit->mention == NOBODY ? (struct slice){ 0 } : addresses[edit->mention];
		size_t from = address.data ? edit->at : edit->whole_at;
		size_t len = address.data ? edit->len : edit->whole_len;
		buf_add(out, payload.data + done, from - done);
		if (address.data)
			add_replacement(edit, address, out);
		done = from + len;
	}
	buf_add(out, payload.data + done, payload.len - done);
}
