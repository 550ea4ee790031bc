/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/search.h"

#include "base/utf8.h"
#include "gateway/xmpp/stanza.h"

#include <ctype.h>
#include <expat.h>

#define FORM_NS "jabber:x:data"
#define SEP "\n" /* between namespace and name as expat gives them */
#define HINT                                                                                  \
	"Fill in one or more fields. Whoever has all the words is found; the beginning of a " \
	"word is enough."

const char search_form[] =
	"<query xmlns='" SEARCH_NS "'><instructions>" HINT "</instructions>"
	"<first/><last/><nick/><email/>"
	"<x xmlns='" FORM_NS "' type='form'><title>People</title>"
	"<instructions>" HINT "</instructions>"
	"<field type='hidden' var='FORM_TYPE'><value>" SEARCH_NS "</value></field>"
	"<field type='text-single' var='text' label='Name or address'/>"
	"<field type='text-single' var='first' label='Given name'/>"
	"<field type='text-single' var='last' label='Family name'/>"
	"<field type='text-single' var='nick' label='Name as shown'/>"
	"<field type='text-single' var='email' label='E-mail address'/>"
	"</x></query>";

/* What may be filled in; all of them are looked for among all words of a person. */
static const char *const fields[] = { "text", "first", "last", "nick", "email" };

/* Levels of the elements: around the payload, the query, its fields and forms, their fields. */
enum { LEVEL_QUERY = 2, LEVEL_FIELD, LEVEL_FORM_FIELD, LEVEL_VALUE };

struct walk {
	XML_Parser parser;
	size_t level;
	bool is_query, is_form, is_known; /* the open element of that level */
	bool in_text;
	bool *as_form;
	struct buf *words;
};

static bool is_field(struct slice name)
{
	for (size_t i = 0; i < countof(fields); i++)
		if (slice_is(name, fields[i]))
			return true;
	return false;
}

static const char *attribute_of(const char **attributes, const char *name)
{
	for (; *attributes; attributes += 2)
		if (strcmp(*attributes, name) == 0)
			return attributes[1];
	return "";
}

static bool is_plain_field(const char *name)
{
	return strncmp(name, SEARCH_NS SEP, strlen(SEARCH_NS SEP)) == 0 &&
	       is_field(slice_str(name + strlen(SEARCH_NS SEP)));
}

static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
	struct walk *walk = user;

	walk->in_text = false;
	switch (++walk->level) {
	case LEVEL_QUERY:
		walk->is_query = strcmp(name, SEARCH_NS SEP "query") == 0;
		break;
	case LEVEL_FIELD:
		walk->is_form = walk->is_query && strcmp(name, FORM_NS SEP "x") == 0 &&
				strcmp(attribute_of(attributes, "type"), "submit") == 0;
		*walk->as_form = *walk->as_form || walk->is_form;
		walk->in_text = walk->is_query && is_plain_field(name);
		break;
	case LEVEL_FORM_FIELD:
		walk->is_known = walk->is_form && strcmp(name, FORM_NS SEP "field") == 0 &&
				 is_field(slice_str(attribute_of(attributes, "var")));
		break;
	case LEVEL_VALUE:
		walk->in_text = walk->is_known && strcmp(name, FORM_NS SEP "value") == 0;
		break;
	default:
		break;
	}
	if (walk->in_text)
		buf_add_char(walk->words, ' ');
}

static void XMLCALL on_text(void *user, const char *text, int len)
{
	struct walk *walk = user;

	if (walk->in_text)
		buf_add(walk->words, text, (size_t)len);
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct walk *walk = user;

	(void)name;
	walk->level--;
	walk->in_text = false;
}

static bool feed(struct walk *walk, struct slice bytes, bool last)
{
	return XML_Parse(walk->parser, bytes.data, (int)bytes.len, last) == XML_STATUS_OK;
}

static enum hr_status read_fields(struct slice payload, struct walk *walk, struct hr_err *err)
{
	walk->parser = XML_ParserCreateNS("UTF-8", *SEP);
	if (!walk->parser)
		abort(); /* out of memory, as in mem_alloc */
	XML_SetUserData(walk->parser, walk);
	XML_SetElementHandler(walk->parser, on_start, on_end);
	XML_SetCharacterDataHandler(walk->parser, on_text);
	bool sound = feed(walk, slice_lit("<iq>"), false) && feed(walk, payload, false) &&
		     feed(walk, slice_lit("</iq>"), true);
	enum XML_Error code = XML_GetErrorCode(walk->parser);
	XML_ParserFree(walk->parser);
	return sound ? HR_OK : err_set(err, HR_FAIL, "payload: %s", XML_ErrorString(code));
}

/* Bytes of the longest word: what follows an @ is the name of a domain, which many share. */
static size_t longest_word(struct slice words)
{
	size_t longest = 0, len = 0;
	bool in_domain = false;

	for (size_t i = 0; i < words.len; i++) {
		unsigned char c = (unsigned char)words.data[i];
		in_domain = c == '@' || (in_domain && !isspace(c));
		len = !in_domain && (c >= 0x80 || isalnum(c)) ? len + 1 : 0;
		longest = len > longest ? len : longest;
	}
	return longest;
}

enum hr_status search_read(struct slice payload, struct buf *words, bool *as_form,
			   struct hr_err *err)
{
	struct walk walk = { .words = words, .as_form = as_form };

	*as_form = false;
	if (read_fields(payload, &walk, err) != HR_OK)
		return err->status;
	if (words->overflowed)
		return err_set(err, HR_FAIL,
			       "that is too much to search for: give at most %d bytes",
			       SEARCH_WORDS_MAX);
	if (longest_word(buf_slice(words)) < SEARCH_WORD_MIN)
		return err_set(err, HR_FAIL,
			       "give at least the first two letters of a name or address");
	return HR_OK;
}

/* --- results -----------------------------------------------------------------------------------
 */

static const struct column {
	const char *var, *type, *label;
	bool plain; /* an element of a plain item too */
	size_t offset;
} columns[] = {
	{ "jid", "jid-single", "Address", false, offsetof(struct profile, address) },
	{ "nick", "text-single", "Name", true, offsetof(struct profile, name) },
	{ "first", "text-single", "Given name", true, offsetof(struct profile, given_name) },
	{ "last", "text-single", "Family name", true, offsetof(struct profile, family_name) },
	{ "email", "text-single", "E-mail address", true, offsetof(struct profile, email) },
	{ "orgname", "text-single", "Organization", false, offsetof(struct profile, organization) },
	{ "orgunit", "text-single", "Department", false, offsetof(struct profile, department) },
};

static struct slice value_of(const struct profile *profile, const struct column *column)
{
	struct slice value =
		*(const struct slice *)(const void *)((const char *)profile + column->offset);

	return value.data && utf8_xml(value) ? value : slice_lit("");
}

static void write_plain(struct buf *out, const struct profile *profile)
{
	buf_add_str(out, "<item jid='");
	stanza_escape(out, value_of(profile, &columns[0]));
	buf_add_str(out, "'>");
	for (size_t i = 0; i < countof(columns); i++) {
		if (!columns[i].plain)
			continue;
		buf_format(out, "<%s>", columns[i].var);
		stanza_escape(out, value_of(profile, &columns[i]));
		buf_format(out, "</%s>", columns[i].var);
	}
	buf_add_str(out, "</item>");
}

static void write_form(struct buf *out, const struct profile *profile)
{
	buf_add_str(out, "<item>");
	for (size_t i = 0; i < countof(columns); i++) {
		buf_format(out, "<field var='%s'><value>", columns[i].var);
		stanza_escape(out, value_of(profile, &columns[i]));
		buf_add_str(out, "</value></field>");
	}
	buf_add_str(out, "</item>");
}

static void write_header(struct buf *out)
{
	buf_add_str(out, "<field type='hidden' var='FORM_TYPE'><value>" SEARCH_NS
			 "</value></field><reported>");
	for (size_t i = 0; i < countof(columns); i++)
		buf_format(out, "<field var='%s' type='%s' label='%s'/>", columns[i].var,
			   columns[i].type, columns[i].label);
	buf_add_str(out, "</reported>");
}

void search_write(struct buf *out, const struct profile *people, size_t count, bool more,
		  bool as_form)
{
	buf_add_str(out, "<query xmlns='" SEARCH_NS "'>");
	if (as_form)
		buf_add_str(out, "<x xmlns='" FORM_NS "' type='result'><title>People</title>");
	if (more)
		buf_format(out,
			   "<instructions>These are %zu; there may be others. Give more of the "
			   "name.</instructions>",
			   count);
	if (as_form)
		write_header(out);
	for (size_t i = 0; i < count; i++)
		(as_form ? write_form : write_plain)(out, &people[i]);
	buf_add_str(out, as_form ? "</x></query>" : "</query>");
}
