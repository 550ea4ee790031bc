/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/inherit.h"

#include "gateway/xmpp/stanza.h"

#include <expat.h>

struct declaration {
	char *prefix; /* owned; "": the default namespace */
	char *needle; /* owned; "prefix:", as it is written where the prefix is used */
	size_t needle_len;
	char *uri; /* owned; "": undeclared */
};

struct inherit {
	struct declaration list[INHERIT_MAX];
	size_t count;
};

struct inherit *inherit_new(void)
{
	return mem_new(struct inherit);
}

void inherit_free(struct inherit *inherit)
{
	if (inherit)
		inherit_cut(inherit, 0);
	free(inherit);
}

bool inherit_add(struct inherit *inherit, const char *prefix, const char *uri)
{
	prefix = prefix ? prefix : "";
	uri = uri ? uri : "";
	if (inherit->count == INHERIT_MAX || strlen(prefix) > INHERIT_PREFIX_MAX ||
	    strlen(uri) > INHERIT_URI_MAX)
		return false;
	char *needle = str_format("%s:", prefix);
	inherit->list[inherit->count++] = (struct declaration){
		.prefix = str_dup(prefix),
		.needle = needle,
		.needle_len = strlen(needle),
		.uri = str_dup(uri),
	};
	return true;
}

size_t inherit_count(const struct inherit *inherit)
{
	return inherit->count;
}

void inherit_cut(struct inherit *inherit, size_t count)
{
	while (inherit->count > count) {
		struct declaration *last = &inherit->list[--inherit->count];
		free(last->prefix);
		free(last->needle);
		free(last->uri);
	}
}

const char *inherit_default(const struct inherit *inherit)
{
	for (size_t i = inherit->count; i-- > 0;)
		if (!*inherit->list[i].prefix)
			return inherit->list[i].uri;
	return "";
}

static bool is_home(const char *uri)
{
	return strcmp(uri, "jabber:component:accept") == 0 || strcmp(uri, "jabber:client") == 0;
}

static bool is_used(const struct declaration *declaration, struct slice payload)
{
	return memmem(payload.data, payload.len, declaration->needle, declaration->needle_len);
}

bool inherit_needed(const struct inherit *inherit, struct slice payload)
{
	if (payload.len == 0)
		return false;
	for (size_t i = 0; i < inherit->count; i++) {
		const struct declaration *declaration = &inherit->list[i];
		if (*declaration->prefix ? is_used(declaration, payload)
					 : !is_home(inherit_default(inherit)))
			return true;
	}
	return false;
}

/* One walk over <x>payload</x>. */
struct walk {
	const struct inherit *inherit;
	XML_Parser parser;
	struct slice payload;
	struct buf *out;
	size_t copied; /* of the payload */
	size_t depth;
	size_t top_at, name_end; /* of the open top element */
	uint32_t own;		 /* which of the declarations it makes itself, by index */
};
_Static_assert(INHERIT_MAX <= 32, "bits of walk.own");

static const struct slice walk_before = { "<x>", 3 }, walk_after = { "</x>", 4 };

static void copy_until(struct walk *walk, size_t at)
{
	buf_add(walk->out, walk->payload.data + walk->copied, at - walk->copied);
	walk->copied = at;
}

static bool declares(const char **attributes, const char *prefix)
{
	for (; *attributes; attributes += 2) {
		if (strncmp(*attributes, "xmlns", 5) != 0)
			continue;
		const char *rest = *attributes + 5;
		if (*rest == ':' ? strcmp(rest + 1, prefix) == 0 : !*rest && !*prefix)
			return true;
	}
	return false;
}

static bool is_shadowed(const struct inherit *inherit, size_t index)
{
	for (size_t i = index + 1; i < inherit->count; i++)
		if (strcmp(inherit->list[i].prefix, inherit->list[index].prefix) == 0)
			return true;
	return false;
}

static void declare(struct walk *walk, const struct declaration *declaration)
{
	buf_add_str(walk->out, *declaration->prefix ? " xmlns:" : " xmlns");
	buf_add_str(walk->out, declaration->prefix);
	buf_add_str(walk->out, "='");
	stanza_escape(walk->out, slice_str(declaration->uri));
	buf_add_char(walk->out, '\'');
}

static size_t offset(const struct walk *walk)
{
	return (size_t)XML_GetCurrentByteIndex(walk->parser) - walk_before.len;
}

static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
	struct walk *walk = user;

	if (walk->depth++ != 1)
		return;
	walk->top_at = offset(walk);
	walk->name_end = walk->top_at + 1 + strlen(name);
	walk->own = 0;
	for (size_t i = 0; i < walk->inherit->count; i++)
		if (declares(attributes, walk->inherit->list[i].prefix))
			walk->own |= UINT32_C(1) << i;
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct walk *walk = user;

	(void)name;
	if (--walk->depth != 1)
		return;
	size_t end = offset(walk) + (size_t)XML_GetCurrentByteCount(walk->parser);
	struct slice element = { walk->payload.data + walk->top_at, end - walk->top_at };
	copy_until(walk, walk->name_end);
	for (size_t i = 0; i < walk->inherit->count; i++) {
		const struct declaration *declaration = &walk->inherit->list[i];
		if (!is_shadowed(walk->inherit, i) && !(walk->own >> i & 1) &&
		    (*declaration->prefix ? is_used(declaration, element)
					  : !is_home(declaration->uri)))
			declare(walk, declaration);
	}
}

static bool walk_feed(struct walk *walk, struct slice bytes, bool last)
{
	return XML_Parse(walk->parser, bytes.data, (int)bytes.len, last) == XML_STATUS_OK;
}

enum hr_status inherit_apply(const struct inherit *inherit, struct slice payload, struct buf *out,
			     struct hr_err *err)
{
	struct walk walk = {
		.inherit = inherit,
		.parser = XML_ParserCreate("UTF-8"),
		.payload = payload,
		.out = out,
	};

	if (!walk.parser)
		abort(); /* out of memory, as in mem_alloc */
	XML_SetUserData(walk.parser, &walk);
	XML_SetElementHandler(walk.parser, on_start, on_end);
	bool sound = walk_feed(&walk, walk_before, false) && walk_feed(&walk, payload, false) &&
		     walk_feed(&walk, walk_after, true);
	enum XML_Error code = XML_GetErrorCode(walk.parser);
	XML_ParserFree(walk.parser);

	if (!sound)
		return err_set(err, HR_FAIL, "payload: %s", XML_ErrorString(code));
	copy_until(&walk, payload.len);
	if (out->overflowed)
		return err_set(err, HR_FAIL, "payload is too large with its namespaces declared");
	return HR_OK;
}
