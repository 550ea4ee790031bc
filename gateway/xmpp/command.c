/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/command.h"

#include <expat.h>

#define FORM_NS "jabber:x:data"
#define SEP "\n" /* between namespace and name as expat gives them */
#define TITLE "Mail when I am away"
#define ATTRIBUTES " xmlns='" COMMAND_NS "' node='" COMMAND_NODE "' sessionid='" COMMAND_NODE "'"

/* In the form, and in what is stored. */
static const struct {
	const char *value, *mode, *label, *done;
} choices[] = {
	{ "domain", "", "as my e-mail domain has it",
	  "Mail for you is as your e-mail domain has it." },
	{ "full", "full", "with the text of the messages",
	  "Messages that you miss are mailed to you." },
	{ "notice", "notice", "a notice of who wrote, without the text",
	  "You are mailed a notice of messages that you miss." },
	{ "off", "off", "no mail", "Nothing is mailed to you." },
};

enum { VALUE_MAX = 16 };

struct walk {
	XML_Parser parser;
	unsigned level;
	bool in_mode, in_value, has_form;
	char action[VALUE_MAX], value[VALUE_MAX]; /* cut: a longer one is none that is known */
};

static const char *attribute_of(const char **attributes, const char *name)
{
	for (; *attributes; attributes += 2)
		if (strcmp(*attributes, name) == 0)
			return attributes[1];
	return "";
}

static void append(char text[VALUE_MAX], const char *more, size_t len)
{
	size_t used = strlen(text);

	if (len > VALUE_MAX - 1 - used)
		len = VALUE_MAX - 1 - used;
	memcpy(text + used, more, len);
	text[used + len] = '\0';
}

/* <command action=''><x type='submit'><field var='mode'><value> */
static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
	struct walk *walk = user;

	switch (++walk->level) {
	case 2:
		append(walk->action, attribute_of(attributes, "action"),
		       strlen(attribute_of(attributes, "action")));
		break;
	case 3:
		walk->has_form =
			walk->has_form || (strcmp(name, FORM_NS SEP "x") == 0 &&
					   strcmp(attribute_of(attributes, "type"), "submit") == 0);
		break;
	case 4:
		walk->in_mode = walk->has_form && strcmp(name, FORM_NS SEP "field") == 0 &&
				strcmp(attribute_of(attributes, "var"), "mode") == 0;
		break;
	case 5:
		walk->in_value =
			walk->in_mode && !*walk->value && strcmp(name, FORM_NS SEP "value") == 0;
		break;
	default:
		break;
	}
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct walk *walk = user;

	(void)name;
	if (walk->level == 5)
		walk->in_value = false;
	if (walk->level == 4)
		walk->in_mode = false;
	walk->level--;
}

static void XMLCALL on_text(void *user, const char *text, int len)
{
	struct walk *walk = user;

	if (walk->in_value && walk->level == 5)
		append(walk->value, text, (size_t)len);
}

static void parse(struct walk *walk, struct slice payload)
{
	walk->parser = XML_ParserCreateNS("UTF-8", *SEP);
	if (!walk->parser)
		abort(); /* out of memory, as in mem_alloc */
	XML_SetUserData(walk->parser, walk);
	XML_SetElementHandler(walk->parser, on_start, on_end);
	XML_SetCharacterDataHandler(walk->parser, on_text);
	if (XML_Parse(walk->parser, "<x>", 3, false) == XML_STATUS_OK)
		XML_Parse(walk->parser, payload.data, (int)payload.len, false);
	XML_ParserFree(walk->parser);
}

enum hr_status command_read(struct slice payload, struct command *out, struct hr_err *err)
{
	static const char *const actions[] = { "", "execute", "complete", "next" };
	struct walk walk = { 0 };
	bool known = false;

	parse(&walk, payload);
	*out = (struct command){ .what = COMMAND_SHOW };
	if (strcmp(walk.action, "cancel") == 0) {
		out->what = COMMAND_CANCEL;
		return HR_OK;
	}
	for (size_t i = 0; i < countof(actions); i++)
		known = known || strcmp(walk.action, actions[i]) == 0;
	if (!known)
		return err_set(err, HR_FAIL, "there is no action \"%s\" here", walk.action);
	if (!walk.has_form)
		return HR_OK;
	for (size_t i = 0; i < countof(choices); i++)
		if (strcmp(walk.value, choices[i].value) == 0) {
			out->what = COMMAND_CHOOSE;
			out->mode = choices[i].mode;
			return HR_OK;
		}
	return err_set(err, HR_FAIL, "the field mode is one of domain, full, notice, off");
}

void command_write_form(struct buf *out, struct slice mode)
{
	buf_add_str(out, "<command" ATTRIBUTES " status='executing'>"
			 "<actions execute='complete'><complete/></actions>"
			 "<x xmlns='" FORM_NS "' type='form'><title>" TITLE "</title>"
			 "<field type='list-single' var='mode' label='Messages that I miss'>");
	for (size_t i = 0; i < countof(choices); i++)
		if (slice_is(mode, choices[i].mode))
			buf_format(out, "<value>%s</value>", choices[i].value);
	for (size_t i = 0; i < countof(choices); i++)
		buf_format(out, "<option label='%s'><value>%s</value></option>", choices[i].label,
			   choices[i].value);
	buf_add_str(out, "</field></x></command>");
}

void command_write_done(struct buf *out, struct slice mode)
{
	buf_add_str(out, "<command" ATTRIBUTES " status='completed'><note type='info'>");
	for (size_t i = 0; i < countof(choices); i++)
		if (slice_is(mode, choices[i].mode))
			buf_add_str(out, choices[i].done);
	buf_add_str(out, "</note></command>");
}

void command_write_canceled(struct buf *out)
{
	buf_add_str(out, "<command" ATTRIBUTES " status='canceled'/>");
}

bool command_write_items(struct buf *out, struct slice node, struct slice domain)
{
	bool is_list = slice_is(node, COMMAND_NS);

	if (!is_list && !slice_is(node, COMMAND_NODE))
		return false;
	buf_format(out, "<query xmlns='http://jabber.org/protocol/disco#items' node='%s'>",
		   is_list ? COMMAND_NS : COMMAND_NODE);
	if (is_list)
		buf_format(out, "<item jid='" SLICE_FMT "' node='%s' name='%s'/>",
			   SLICE_ARG(domain), COMMAND_NODE, TITLE);
	buf_add_str(out, "</query>");
	return true;
}

bool command_write_info(struct buf *out, struct slice node)
{
	bool is_list = slice_is(node, COMMAND_NS);

	if (!is_list && !slice_is(node, COMMAND_NODE))
		return false;
	buf_format(out,
		   "<query xmlns='http://jabber.org/protocol/disco#info' node='%s'>"
		   "<identity category='automation' type='%s' name='%s'/>",
		   is_list ? COMMAND_NS : COMMAND_NODE, is_list ? "command-list" : "command-node",
		   is_list ? "Commands" : TITLE);
	buf_add_str(out, "<feature var='" COMMAND_NS "'/><feature var='" FORM_NS "'/></query>");
	return true;
}
