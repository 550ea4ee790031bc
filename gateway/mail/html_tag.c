/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/html_tag.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/mail/html.h"

#include <strings.h>

enum { VALUE_MAX = 4000 };

/* Those that matter. */
static const struct html_element elements[] = {
	{ "a", 0, HTML_LINK },	       { "address", 1, HTML_PLAIN },
	{ "article", 1, HTML_PLAIN },  { "blockquote", 1, HTML_QUOTE },
	{ "body", 1, HTML_PLAIN },     { "br", 0, HTML_BREAK | HTML_VOID },
	{ "caption", 1, HTML_PLAIN },  { "center", 1, HTML_PLAIN },
	{ "dd", 1, HTML_PLAIN },       { "div", 1, HTML_PLAIN },
	{ "dl", 1, HTML_PLAIN },       { "dt", 1, HTML_PLAIN },
	{ "fieldset", 1, HTML_PLAIN }, { "footer", 1, HTML_PLAIN },
	{ "form", 1, HTML_PLAIN },     { "h1", 2, HTML_PLAIN },
	{ "h2", 2, HTML_PLAIN },       { "h3", 2, HTML_PLAIN },
	{ "h4", 2, HTML_PLAIN },       { "h5", 2, HTML_PLAIN },
	{ "h6", 2, HTML_PLAIN },       { "header", 1, HTML_PLAIN },
	{ "hr", 1, HTML_VOID },	       { "img", 0, HTML_VOID },
	{ "input", 0, HTML_VOID },     { "li", 1, HTML_ITEM },
	{ "link", 0, HTML_VOID },      { "main", 1, HTML_PLAIN },
	{ "meta", 0, HTML_VOID },      { "noscript", 0, HTML_PLAIN },
	{ "ol", 1, HTML_LIST },	       { "p", 2, HTML_PLAIN },
	{ "pre", 2, HTML_PRE },	       { "script", 0, HTML_RAW },
	{ "section", 1, HTML_PLAIN },  { "style", 0, HTML_RAW },
	{ "table", 1, HTML_PLAIN },    { "td", 0, HTML_CELL },
	{ "textarea", 0, HTML_RAW },   { "th", 0, HTML_CELL },
	{ "title", 0, HTML_RAW },      { "tr", 1, HTML_PLAIN },
	{ "ul", 1, HTML_LIST },
};

/* What mail clients call the elements that they wrap around what they quote, or sign with. */
static const struct {
	const char *attribute, *word, *mark;
} wrappers[] = {
	{ "class", "gmail_quote", HTML_QUOTE_MARK },
	{ "class", "gmail_quote_container", HTML_QUOTE_MARK },
	{ "class", "gmail_attr", HTML_QUOTE_MARK },
	{ "class", "yahoo_quoted", HTML_QUOTE_MARK },
	{ "class", "moz-cite-prefix", HTML_QUOTE_MARK },
	{ "class", "protonmail_quote", HTML_QUOTE_MARK },
	{ "class", "tutanota_quote", HTML_QUOTE_MARK },
	{ "id", "divRplyFwdMsg", HTML_QUOTE_MARK },
	{ "id", "appendonsend", HTML_QUOTE_MARK },
	{ "id", "mail-editor-reference-message-container", HTML_QUOTE_MARK },
	{ "id", "OLK_SRC_BODY_SECTION", HTML_QUOTE_MARK },
	{ "id", "reply-intro", HTML_QUOTE_MARK },
	{ "id", "replyBody", HTML_QUOTE_MARK },
	{ "id", "zwchr", HTML_QUOTE_MARK },
	{ "class", "gmail_signature", HTML_SIGNATURE_MARK },
	{ "class", "moz-signature", HTML_SIGNATURE_MARK },
	{ "class", "protonmail_signature_block", HTML_SIGNATURE_MARK },
	{ "id", "Signature", HTML_SIGNATURE_MARK },
	{ "id", "ms-outlook-mobile-signature", HTML_SIGNATURE_MARK },
	{ "id", "AppleMailSignature", HTML_SIGNATURE_MARK },
};

static char first(struct slice text)
{
	return text.len ? text.data[0] : '\0';
}

static void skip(struct slice *text, size_t len)
{
	*text = (struct slice){ text->data + len, text->len - len };
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_word(struct slice text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static const struct html_element *find_element(struct slice name)
{
	for (size_t i = 0; i < countof(elements); i++)
		if (is_word(name, elements[i].name))
			return &elements[i];
	return NULL;
}

/* The value of an attribute: in quotes, or up to a space or the end of the tag. */
static struct slice take_value(struct slice *rest)
{
	char quote = first(*rest) == '"' || first(*rest) == '\'' ? first(*rest) : '\0';
	size_t len = 0;

	if (quote)
		skip(rest, 1);
	while (len < rest->len && (quote ? rest->data[len] != quote
					 : !is_space(rest->data[len]) && rest->data[len] != '>'))
		len++;
	struct slice value = { rest->data, len };
	skip(rest, len);
	if (quote && rest->len > 0)
		skip(rest, 1);
	return value;
}

static bool has_word(struct slice list, const char *word)
{
	size_t start = 0;

	for (size_t i = 0; i <= list.len; i++) {
		if (i < list.len && !is_space(list.data[i]))
			continue;
		if (slice_is((struct slice){ list.data + start, i - start }, word))
			return true;
		start = i + 1;
	}
	return false;
}

/* Is it display:none, with whatever space? */
static bool hides(struct slice style)
{
	static const char wanted[] = "display:none";
	size_t matched = 0;

	for (size_t i = 0; i < style.len && wanted[matched]; i++) {
		char c = style.data[i];
		if (is_space(c))
			continue;
		if (strncasecmp(&c, &wanted[matched], 1) != 0)
			matched = 0;
		matched += strncasecmp(&c, &wanted[matched], 1) == 0;
	}
	return wanted[matched] == '\0';
}

static bool is_url(struct slice text)
{
	static const char *const schemes[] = { "http://", "https://", "mailto:" };

	for (size_t i = 0; i < countof(schemes); i++)
		if (text.len > strlen(schemes[i]) &&
		    strncasecmp(text.data, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

/* References in it are characters. NULL: nothing to click on. */
static char *read_url(struct slice value)
{
	scoped_buf url = BUF_INIT(HTML_URL_MAX);

	if (!is_url(value))
		return NULL;
	while (value.len > 0) {
		uint32_t code = 0;
		size_t len = 0;
		char text[4];
		if (first(value) == '&')
			code = html_entity(value, &len);
		if (code == 0)
			len = utf8_next(value, &code);
		if (code > ' ' && (code < 0x7f || code >= 0xa0))
			buf_add(&url, text, utf8_put(code, text));
		skip(&value, len ? len : 1);
	}
	return url.overflowed ? NULL : str_dup(buf_text(&url));
}

static void read_attribute(struct html_tag *tag, struct slice name, struct slice value)
{
	if (value.len > VALUE_MAX)
		return;
	if (is_word(name, "style") && hides(value))
		tag->is_hidden = true;
	if (is_word(name, "class") &&
	    (has_word(value, "MsoNormal") || has_word(value, "MsoPlainText")))
		tag->is_tight = true;
	if (!tag->url && tag->element && tag->element->traits & HTML_LINK && is_word(name, "href"))
		tag->url = read_url(value);
	for (size_t i = 0; i < countof(wrappers) && !tag->mark; i++)
		if (is_word(name, wrappers[i].attribute) && has_word(value, wrappers[i].word))
			tag->mark = wrappers[i].mark;
}

static void skip_spaces(struct slice *rest)
{
	while (is_space(first(*rest)))
		skip(rest, 1);
}

/* Length of the name at the beginning, which ends at a space or one of `ends`. */
static size_t name_length(struct slice rest, const char *ends)
{
	size_t len = 0;

	while (len < rest.len && !is_space(rest.data[len]) &&
	       !memchr(ends, rest.data[len], strlen(ends)))
		len++;
	return len;
}

static void take_attribute(struct slice *rest, struct html_tag *tag)
{
	struct slice name = { rest->data, name_length(*rest, "=>/") };

	tag->is_closed = first(*rest) == '/';
	skip(rest, name.len ? name.len : 1);
	if (name.len == 0)
		return;
	skip_spaces(rest);
	if (first(*rest) != '=')
		return;
	skip(rest, 1);
	skip_spaces(rest);
	read_attribute(tag, name, take_value(rest));
}

void html_tag_take(struct slice *rest, struct html_tag *tag)
{
	skip(rest, 1);
	*tag = (struct html_tag){ .is_end = first(*rest) == '/' };
	if (tag->is_end)
		skip(rest, 1);
	tag->name = (struct slice){ rest->data, name_length(*rest, "/>") };
	tag->element = find_element(tag->name);
	skip(rest, tag->name.len);
	while (rest->len > 0 && first(*rest) != '>')
		take_attribute(rest, tag);
	if (rest->len > 0)
		skip(rest, 1);
}

void html_tag_clear(struct html_tag *tag)
{
	free(tag->url);
	tag->url = NULL;
}

bool html_is_tag(struct slice rest)
{
	size_t name = rest.len > 1 && rest.data[1] == '/' ? 2 : 1;

	return rest.len > name && rest.data[0] == '<' && is_letter(rest.data[name]);
}

static void skip_to_open(struct slice *rest)
{
	const char *open = rest->len ? memchr(rest->data, '<', rest->len) : NULL;

	skip(rest, open ? (size_t)(open - rest->data) : rest->len);
}

void html_skip_raw(struct slice *rest, struct slice name)
{
	for (skip_to_open(rest); rest->len > 0; skip_to_open(rest)) {
		if (rest->len > name.len + 2 && rest->data[1] == '/' &&
		    strncasecmp(rest->data + 2, name.data, name.len) == 0)
			return;
		skip(rest, 1);
	}
}

void html_skip_hidden(struct slice *rest, struct slice name)
{
	size_t depth = 1;

	for (skip_to_open(rest); rest->len > 0; skip_to_open(rest)) {
		struct html_tag tag;
		if (!html_is_tag(*rest)) {
			skip(rest, 1);
			continue;
		}
		html_tag_take(rest, &tag);
		html_tag_clear(&tag);
		if (tag.name.len != name.len ||
		    strncasecmp(tag.name.data, name.data, name.len) != 0)
			continue;
		depth = tag.is_end ? depth - 1 : depth + 1;
		if (depth == 0)
			return;
	}
}

void html_skip_declaration(struct slice *rest)
{
	bool is_comment = rest->len >= 4 && memcmp(rest->data, "<!--", 4) == 0;
	const char *end = is_comment ? memmem(rest->data + 2, rest->len - 2, "-->", 3)
				     : memchr(rest->data, '>', rest->len);
	size_t len = end ? (size_t)(end - rest->data) + (is_comment ? 3 : 1) : rest->len;

	skip(rest, len);
}
