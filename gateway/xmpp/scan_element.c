/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/scan_private.h"

#define STREAMS_NS "http://etherx.jabber.org/streams"
#define ERRORS_NS "urn:ietf:params:xml:ns:xmpp-streams"
#define COMPONENT_NS "jabber:component:accept"
#define CLIENT_NS "jabber:client"
#define XML_NS "http://www.w3.org/XML/1998/namespace"

static const struct element {
	const char *name;
	enum inside inside;
	enum envelope_kind kind;
} elements[] = {
	{ COMPONENT_NS SCAN_SEP "message", INSIDE_STANZA, ENVELOPE_MESSAGE },
	{ COMPONENT_NS SCAN_SEP "presence", INSIDE_STANZA, ENVELOPE_PRESENCE },
	{ COMPONENT_NS SCAN_SEP "iq", INSIDE_STANZA, ENVELOPE_IQ },
	{ CLIENT_NS SCAN_SEP "message", INSIDE_STANZA, ENVELOPE_MESSAGE },
	{ CLIENT_NS SCAN_SEP "presence", INSIDE_STANZA, ENVELOPE_PRESENCE },
	{ CLIENT_NS SCAN_SEP "iq", INSIDE_STANZA, ENVELOPE_IQ },
	{ COMPONENT_NS SCAN_SEP "handshake", INSIDE_HANDSHAKE, 0 },
	{ STREAMS_NS SCAN_SEP "error", INSIDE_FAILURE, 0 },
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
	{ XML_NS SCAN_SEP "lang", offsetof(struct scan_stanza, lang), SCAN_WORD_MAX },
};

static uint64_t token_end(const struct scan *scan)
{
	return scan_token_at(scan) + (uint64_t)XML_GetCurrentByteCount(scan->parser);
}

static struct slice scratch_add(struct scan *scan, struct slice text, size_t max)
{
	char *at = scan->scratch + scan->scratch_used;

	if (text.len > max || text.len > SCAN_SCRATCH_SIZE - scan->scratch_used)
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
		scan_fail(scan, SCAN_POLICY_VIOLATION, "too many namespaces in the stream header");
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
	if (strcmp(name, STREAMS_NS SCAN_SEP "stream") != 0 ||
	    strcmp(inherit_default(scan->inherit), COMPONENT_NS) != 0) {
		scan_fail(scan, SCAN_INVALID_NAMESPACE, "not a component stream");
		return;
	}
	scan->header_declarations = inherit_count(scan->inherit);
	buf_add_slice(&scan->header, scan_cut(scan, scan_token_at(scan), token_end(scan)));
	struct slice id = { 0 };
	for (; *attribute; attribute += 2) {
		if (strcmp(*attribute, "id") == 0)
			id = slice_str(attribute[1]);
		else if (strcmp(*attribute, XML_NS SCAN_SEP "lang") == 0)
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

	scan->stanza_at = scan_token_at(scan);
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
		scan->stanza.child_name = scratch_add(scan, slice_str(name), SCAN_NAME_MAX);
		break;
	case INSIDE_HANDSHAKE:
	case INSIDE_NOTHING:
		break;
	}
}

static void take_name(struct scan *scan, const char *name, struct slice *ns, struct slice *local)
{
	struct slice whole = scratch_add(scan, slice_str(name), SCAN_NAME_MAX);
	const char *sep = whole.len ? memrchr(whole.data, *SCAN_SEP, whole.len) : NULL;

	*local = whole;
	if (!sep)
		return;
	*ns = (struct slice){ whole.data, (size_t)(sep - whole.data) };
	*local = (struct slice){ sep + 1, whole.len - ns->len - 1 };
}

static void start_child(struct scan *scan, const char *name, const char **attribute)
{
	struct scan_stanza *stanza = &scan->stanza;
	static const char text[] = ERRORS_NS SCAN_SEP "text";

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
			stanza->child_node =
				scratch_add(scan, slice_str(attribute[1]), SCAN_NAME_MAX);
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
			scan_fail(scan, SCAN_POLICY_VIOLATION, "nested too deep");
	}
}

static void report_stanza(struct scan *scan)
{
	struct scan_stanza *stanza = &scan->stanza;
	uint64_t end = scan_token_at(scan);
	struct hr_err err;

	if (stanza->flaw == SCAN_SOUND && end - scan->payload_at > SCAN_PAYLOAD_MAX)
		stanza->flaw = SCAN_TOO_LARGE;
	if (stanza->flaw == SCAN_SOUND) {
		stanza->payload = scan_cut(scan, scan->payload_at, end);
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
void scan_between(struct scan *scan)
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
	scan_between(scan);
	if (token_end(scan) > SCAN_RENEW_BYTES) {
		scan->renew = true;
		scan->renew_at = token_end(scan);
		XML_StopParser(scan->parser, XML_TRUE);
	}
}

static void XMLCALL on_doctype(void *user, const char *name, const char *system, const char *public,
			       int internal)
{
	(void)name, (void)system, (void)public, (void)internal;
	scan_fail(user, SCAN_RESTRICTED_XML, "document type declaration");
}

static void XMLCALL on_instruction(void *user, const char *target, const char *data)
{
	(void)target, (void)data;
	scan_fail(user, SCAN_RESTRICTED_XML, "processing instruction");
}

static void XMLCALL on_comment(void *user, const char *data)
{
	(void)data;
	scan_fail(user, SCAN_RESTRICTED_XML, "comment");
}

void scan_set_handlers(struct scan *scan)
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
