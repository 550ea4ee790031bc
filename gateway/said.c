/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/said.h"

#include "base/buf.h"

#include <expat.h>

#define BEFORE "<x xmlns='jabber:client'>"
#define AFTER "</x>"
#define SEPARATOR "\n"

/* Between namespace and name stands a line break, which is in neither. */
#define NAME(ns, name) ns SEPARATOR name

struct reading {
	XML_Parser parser;
	struct said *said;
	unsigned level;
	char **text; /* where the text of the open element goes; NULL: nowhere */
	unsigned text_level;
	struct buf gathered;
	bool in_error;
};

static const struct {
	const char *name;
	size_t at;
} texts[] = {
	{ NAME("jabber:client", "body"), offsetof(struct said, body) },
	{ NAME("jabber:client", "subject"), offsetof(struct said, subject) },
	{ NAME("jabber:client", "thread"), offsetof(struct said, thread) },
};

static void gather(struct reading *reading, char **text)
{
	if (*text)
		return;
	reading->text = text;
	reading->text_level = reading->level;
	buf_clear(&reading->gathered);
}

static void child(struct reading *reading, const char *name, const char **attributes)
{
	struct said *said = reading->said;

	for (size_t i = 0; i < countof(texts); i++)
		if (strcmp(name, texts[i].name) == 0)
			gather(reading, (char **)((char *)said + texts[i].at));
	if (strcmp(name, NAME(SAID_RECEIPTS, "request")) == 0)
		said->asks = true;
	if (strcmp(name, NAME(SAID_RECEIPTS, "received")) == 0)
		for (; *attributes && !said->receipt_of; attributes += 2)
			if (strcmp(attributes[0], "id") == 0)
				said->receipt_of = str_dup(attributes[1]);
	if (strcmp(name, NAME("jabber:client", "error")) == 0)
		reading->in_error = true;
}

/* The text of an error says more than its condition, and comes after it. */
static void error_child(struct reading *reading, const char *name)
{
	static const char stanzas[] = NAME("urn:ietf:params:xml:ns:xmpp-stanzas", "");
	struct said *said = reading->said;

	if (strncmp(name, stanzas, strlen(stanzas)) != 0)
		return;
	if (strcmp(name + strlen(stanzas), "text") == 0) {
		free(give(said->error));
		gather(reading, &said->error);
	} else if (!said->error) {
		said->error = str_dup(name + strlen(stanzas));
	}
}

static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
	struct reading *reading = user;

	reading->level++;
	if (reading->level == 2)
		child(reading, name, attributes);
	else if (reading->level == 3 && reading->in_error)
		error_child(reading, name);
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct reading *reading = user;

	(void)name;
	if (reading->text && reading->level == reading->text_level) {
		*reading->text = mem_dup(reading->gathered.data, reading->gathered.len);
		reading->text = NULL;
	}
	if (reading->level == 2)
		reading->in_error = false;
	reading->level--;
}

static void XMLCALL on_text(void *user, const char *text, int len)
{
	struct reading *reading = user;

	if (reading->text && reading->level == reading->text_level)
		buf_add(&reading->gathered, text, (size_t)len);
}

static void XMLCALL on_doctype(void *user, const char *name, const char *system, const char *public,
			       int internal)
{
	struct reading *reading = user;

	(void)name, (void)system, (void)public, (void)internal;
	XML_StopParser(reading->parser, XML_FALSE);
}

void said_read(struct slice payload, struct said *out)
{
	struct reading reading = { .parser = XML_ParserCreateNS("UTF-8", *SEPARATOR),
				   .said = out,
				   .gathered = BUF_INIT(payload.len) }; /* no text is longer */

	*out = (struct said){ 0 };
	if (!reading.parser)
		abort(); /* out of memory, as in mem_alloc */
	XML_SetUserData(reading.parser, &reading);
	XML_SetElementHandler(reading.parser, on_start, on_end);
	XML_SetCharacterDataHandler(reading.parser, on_text);
	XML_SetStartDoctypeDeclHandler(reading.parser, on_doctype);
	if (XML_Parse(reading.parser, BEFORE, sizeof BEFORE - 1, false) == XML_STATUS_OK &&
	    XML_Parse(reading.parser, payload.data, (int)payload.len, false) == XML_STATUS_OK)
		XML_Parse(reading.parser, AFTER, sizeof AFTER - 1, true);
	XML_ParserFree(reading.parser);
	buf_free(&reading.gathered);
}

void said_clear(struct said *said)
{
	free(said->body);
	free(said->subject);
	free(said->thread);
	free(said->receipt_of);
	free(said->error);
	*said = (struct said){ 0 };
}
