/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/content.h"

#include "base/mem.h"

#include <expat.h>

#define BEFORE "<x xmlns='jabber:component:accept'>"
#define AFTER "</x>"

struct content {
	XML_Parser parser;
	size_t level;	 /* of the element that is open: 1 the one around the payload */
	const char *why; /* it is refused; NULL: not, so far */
};

static void refuse(struct content *content, const char *why)
{
	if (content->why)
		return;
	content->why = why;
	XML_StopParser(content->parser, XML_FALSE);
}

static void XMLCALL on_start(void *user, const char *name, const char **attribute)
{
	struct content *content = user;

	(void)name, (void)attribute;
	if (++content->level > 1 + CONTENT_DEPTH_MAX)
		refuse(content, "nested too deep");
}

static void XMLCALL on_end(void *user, const char *name)
{
	struct content *content = user;

	(void)name;
	content->level--;
}

static void XMLCALL on_doctype(void *user, const char *name, const char *system, const char *public,
			       int internal)
{
	(void)name, (void)system, (void)public, (void)internal;
	refuse(user, "document type declaration");
}

static void XMLCALL on_instruction(void *user, const char *target, const char *data)
{
	(void)target, (void)data;
	refuse(user, "processing instruction");
}

static void XMLCALL on_comment(void *user, const char *data)
{
	(void)data;
	refuse(user, "comment");
}

static void begin(struct content *content)
{
	XML_ParserReset(content->parser, "UTF-8");
	XML_SetUserData(content->parser, content);
	XML_SetElementHandler(content->parser, on_start, on_end);
	XML_SetStartDoctypeDeclHandler(content->parser, on_doctype);
	XML_SetProcessingInstructionHandler(content->parser, on_instruction);
	XML_SetCommentHandler(content->parser, on_comment);
	content->level = 0;
	content->why = NULL;
}

static bool parse(struct content *content, struct slice bytes, bool last)
{
	return XML_Parse(content->parser, bytes.data, (int)bytes.len, last) == XML_STATUS_OK;
}

/* A payload that closes the element around it leaves our own end tag outside of any. */
enum hr_status content_check(struct content *content, struct slice payload, struct hr_err *err)
{
	if (payload.len == 0)
		return HR_OK;
	begin(content);
	if (parse(content, slice_lit(BEFORE), false) && parse(content, payload, false) &&
	    parse(content, slice_lit(AFTER), true))
		return HR_OK;
	return err_set(err, HR_FAIL, "%s",
		       content->why ? content->why
				    : XML_ErrorString(XML_GetErrorCode(content->parser)));
}

struct content *content_new(void)
{
	struct content *content = mem_new(struct content);

	content->parser = XML_ParserCreateNS("UTF-8", '\n');
	if (!content->parser)
		abort(); /* out of memory, as in mem_alloc */
	return content;
}

void content_free(struct content *content)
{
	if (!content)
		return;
	XML_ParserFree(content->parser);
	free(content);
}
