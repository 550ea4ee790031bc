/* SPDX-License-Identifier: Apache-2.0 */
/* The tags of HTML, one at a time, as far as they matter for plain text. Private to html.c. */
#pragma once

#include "base/buf.h"

enum { HTML_URL_MAX = 2000 };

enum html_trait {
	HTML_PLAIN = 0,
	HTML_QUOTE = 1 << 0, /* its lines are quoted */
	HTML_RAW = 1 << 1,   /* no markup in it, and nothing to read */
	HTML_LIST = 1 << 2,
	HTML_ITEM = 1 << 3,
	HTML_CELL = 1 << 4,
	HTML_PRE = 1 << 5, /* line ends and spaces count */
	HTML_BREAK = 1 << 6,
	HTML_LINK = 1 << 7,
	HTML_VOID = 1 << 8, /* has no end tag */
};

struct html_element {
	const char *name;
	unsigned lines; /* line ends that stand before and after it at least */
	unsigned traits;
};

struct html_tag {
	struct slice name;
	const struct html_element *element; /* NULL: none that matters */
	bool is_end, is_closed;		    /* </x>, <x/> */
	bool is_hidden;			    /* display:none */
	bool is_tight; /* a paragraph without space around it, as Outlook writes lines */
	const char
		*mark; /* a mail client's quote or signature begins: a mark of html.h; else NULL */
	char *url;     /* owned: where a link leads, if one can click on it; else NULL */
};

bool html_is_tag(struct slice rest); /* begins with < and a letter, or </ and a letter */
/* Takes the tag that *rest begins with off it. */
void html_tag_take(struct slice *rest, struct html_tag *tag);
void html_tag_clear(struct html_tag *tag);

/* Each takes something off *rest: up to the end tag of that name, without looking inside; the same
 * past elements of that name inside; a comment, declaration or instruction. */
void html_skip_raw(struct slice *rest, struct slice name);
void html_skip_hidden(struct slice *rest, struct slice name);
void html_skip_declaration(struct slice *rest);
