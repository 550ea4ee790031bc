/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/html.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/mail/html_tag.h"

#include <strings.h>

enum { QUOTE_DEPTH_MAX = 8, LIST_DEPTH_MAX = 8, LINES_MAX = 3 };

struct page {
	struct slice rest;
	struct buf *out;
	unsigned lines;			  /* line ends that are due before the next text */
	bool is_space;			  /* a space is due */
	bool is_written;		  /* something stands on this line */
	bool is_tight;			  /* the paragraph that is open is */
	bool is_item;			  /* the mark of a list's item is due */
	unsigned quotes, pre, lists;	  /* that are open */
	unsigned numbers[LIST_DEPTH_MAX]; /* of each list's next item; 0: a dash */
	char *url;			  /* owned: of the link that is open; NULL: none */
	size_t link_start;		  /* where its text begins */
};

static char first(struct slice text)
{
	return text.len ? text.data[0] : '\0';
}

static void skip(struct slice *text, size_t len)
{
	*text = (struct slice){ text->data + len, text->len - len };
}

static void want_lines(struct page *page, unsigned lines)
{
	if (page->lines < lines)
		page->lines = lines;
}

static void add_line(struct page *page)
{
	if (page->lines < LINES_MAX)
		page->lines++;
}

static void begin_item(struct page *page)
{
	unsigned depth = page->lists < LIST_DEPTH_MAX ? page->lists : LIST_DEPTH_MAX;
	unsigned *number = depth ? &page->numbers[depth - 1] : NULL;

	for (unsigned i = 1; i < depth; i++)
		buf_add_str(page->out, "  ");
	if (number && *number)
		buf_format(page->out, "%u. ", (*number)++);
	else
		buf_add_str(page->out, "- ");
}

static void begin_line(struct page *page)
{
	for (unsigned i = 0; i < page->quotes && i < QUOTE_DEPTH_MAX; i++)
		buf_add_str(page->out, "> ");
	if (page->is_item && page->lines == 0) {
		page->is_item = false;
		begin_item(page);
	}
}

static void end_lines(struct page *page)
{
	if (page->out->len == 0)
		page->lines = 0;
	while (page->lines > 0) {
		buf_add_char(page->out, '\n');
		page->is_written = page->is_space = false;
		if (--page->lines > 0)
			begin_line(page); /* an empty line of what is quoted is quoted too */
	}
}

static void put(struct page *page, const char *text, size_t len)
{
	end_lines(page);
	if (!page->is_written)
		begin_line(page);
	else if (page->is_space)
		buf_add_char(page->out, ' ');
	page->is_space = false;
	page->is_written = true;
	buf_add(page->out, text, len);
}

static void put_mark(struct page *page, const char *mark)
{
	want_lines(page, 1);
	end_lines(page);
	buf_add_str(page->out, mark);
	page->is_written = true;
	want_lines(page, 1);
}

static bool is_shown(uint32_t code)
{
	return code >= ' ' && (code < 0x7f || code >= 0xa0) && code != 0xad && code != 0x200b &&
	       code != 0xfeff && code != 0xfffe && code != 0xffff;
}

static void put_code(struct page *page, uint32_t code)
{
	char text[4];

	if (code == '\n')
		add_line(page);
	else if (code == 0xa0 || code == '\t')
		put(page, " ", 1);
	else if (is_shown(code))
		put(page, text, utf8_put(code, text));
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* Takes one character of the text. */
static void take_text(struct page *page)
{
	uint32_t code = 0;
	size_t len = 0;

	if (is_space(first(page->rest)) && page->pre == 0) {
		page->is_space = true;
		skip(&page->rest, 1);
		return;
	}
	if (first(page->rest) == '&')
		code = html_entity(page->rest, &len);
	if (code == 0)
		len = utf8_next(page->rest, &code);
	skip(&page->rest, len ? len : 1);
	if (len > 0)
		put_code(page, code);
}

/* What of a URL people write when they mean it. */
static struct slice essence(struct slice url)
{
	static const char *const schemes[] = { "http://", "https://", "mailto:" };

	for (size_t i = 0; i < countof(schemes); i++)
		if (strncasecmp(url.data, schemes[i], strlen(schemes[i])) == 0) {
			skip(&url, strlen(schemes[i]));
			break;
		}
	if (url.len > 0 && url.data[url.len - 1] == '/')
		url.len--;
	return url;
}

/* Says where a link leads, unless its text does. */
static void end_link(struct page *page)
{
	scoped_str url = give(page->url);

	if (!url || page->out->len <= page->link_start)
		return;
	struct slice text = { page->out->data + page->link_start,
			      page->out->len - page->link_start };
	struct slice said = essence(slice_str(url));
	if (said.len == 0 || memmem(text.data, text.len, said.data, said.len))
		return;
	page->is_space = true;
	put(page, "(", 1);
	put(page, url, strlen(url));
	put(page, ")", 1);
}

static void begin_link(struct page *page, struct html_tag *tag)
{
	end_link(page);
	page->url = give(tag->url);
	page->link_start = page->out->len;
}

static void begin_list(struct page *page, struct slice name)
{
	if (page->lists < LIST_DEPTH_MAX)
		page->numbers[page->lists] = strncasecmp(name.data, "ol", 2) == 0 ? 1 : 0;
	page->lists++;
}

static void begin_element(struct page *page, struct html_tag *tag)
{
	unsigned traits = tag->element->traits;

	page->is_tight = tag->is_tight;
	want_lines(page, tag->is_tight ? 1 : tag->element->lines);
	if (traits & HTML_BREAK)
		add_line(page);
	if (traits & HTML_QUOTE)
		page->quotes++;
	if (traits & HTML_PRE)
		page->pre++;
	if (traits & HTML_LIST)
		begin_list(page, tag->name);
	if (traits & HTML_ITEM)
		page->is_item = true;
	if (traits & HTML_CELL)
		page->is_space = true;
	if (traits & HTML_LINK)
		begin_link(page, tag);
	if (traits & HTML_RAW)
		html_skip_raw(&page->rest, tag->name);
}

static void end_element(struct page *page, const struct html_tag *tag)
{
	unsigned traits = tag->element->traits;

	want_lines(page, page->is_tight ? 1 : tag->element->lines);
	page->is_tight = false;
	if (traits & HTML_LINK)
		end_link(page);
	if (traits & HTML_ITEM)
		page->is_item = false;
	if (traits & HTML_QUOTE && page->quotes > 0)
		page->quotes--;
	if (traits & HTML_PRE && page->pre > 0)
		page->pre--;
	if (traits & HTML_LIST && page->lists > 0)
		page->lists--;
}

static void apply_tag(struct page *page, struct html_tag *tag)
{
	bool is_empty = tag->is_closed || (tag->element && tag->element->traits & HTML_VOID);

	if (!tag->is_end && tag->is_hidden && !is_empty) {
		html_skip_hidden(&page->rest, tag->name);
		return;
	}
	if (!tag->is_end && tag->mark)
		put_mark(page, tag->mark);
	if (tag->element && tag->is_end)
		end_element(page, tag);
	else if (tag->element)
		begin_element(page, tag);
}

static void take(struct page *page)
{
	if (html_is_tag(page->rest)) {
		struct html_tag tag;
		html_tag_take(&page->rest, &tag);
		apply_tag(page, &tag);
		html_tag_clear(&tag);
	} else if (page->rest.len > 1 && first(page->rest) == '<' &&
		   memchr("!?", page->rest.data[1], 2)) {
		html_skip_declaration(&page->rest);
	} else {
		take_text(page);
	}
}

void html_to_text(struct slice html, struct buf *out)
{
	struct page page = { .rest = html, .out = out };

	while (page.rest.len > 0 && !out->overflowed)
		take(&page);
	free(page.url);
}
