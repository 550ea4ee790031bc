/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/flowed.h"

#include "gateway/mail/charset.h"

enum { QUOTES_MAX = 64 };

struct line {
	size_t quotes;
	struct slice text; /* without quotes and stuffed space */
	bool is_folded;	   /* goes on in the next line */
};

static struct line take_line(struct slice *rest)
{
	const char *end = memchr(rest->data, '\n', rest->len);
	size_t len = end ? (size_t)(end - rest->data) : rest->len, quotes = 0;
	struct slice text = { rest->data, len };

	*rest = (struct slice){ rest->data + len + (end ? 1 : 0), rest->len - len - (end ? 1 : 0) };
	while (quotes < text.len && quotes < QUOTES_MAX && text.data[quotes] == '>')
		quotes++;
	text = (struct slice){ text.data + quotes, text.len - quotes };
	if (text.len > 0 && text.data[0] == ' ')
		text = (struct slice){ text.data + 1, text.len - 1 };
	bool is_folded = text.len > 0 && text.data[text.len - 1] == ' ' && !slice_is(text, "-- ");
	return (struct line){ quotes, text, is_folded };
}

void flowed_to_text(struct slice text, bool delsp, struct buf *out)
{
	struct line before = { 0 };

	while (text.len > 0 && !out->overflowed) {
		struct line line = take_line(&text);
		/* an empty line ends a paragraph, whatever stray space stands before it */
		bool goes_on = before.is_folded && before.quotes == line.quotes &&
			       line.text.len > 0 && !slice_is(line.text, "-- ");
		if (before.is_folded && !goes_on)
			buf_add_char(out, '\n');
		for (size_t i = 0; !goes_on && i < line.quotes; i++)
			buf_add_str(out, "> ");
		struct slice kept = { line.text.data, line.text.len - (line.is_folded && delsp) };
		charset_add(out, kept);
		if (!line.is_folded)
			buf_add_char(out, '\n');
		before = line;
	}
}
