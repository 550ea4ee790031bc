/* SPDX-License-Identifier: Apache-2.0 */
/* Any HTML becomes text that XML can carry, but for the marks of html.h, and what is kept of it
 * when quotes are cut has none of those either. Cutting leaves no more than there was, and is not
 * undone by more of the same. */
#include "gateway/mail/html.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/mail/charset.h"
#include "gateway/mail/quote.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static bool is_text_but_for_marks(struct buf *text)
{
	for (size_t i = 0; i < text->len; i++)
		if (text->data[i] == *HTML_QUOTE_MARK || text->data[i] == *HTML_SIGNATURE_MARK) {
			check(i == 0 || text->data[i - 1] == '\n');
			check(i + 1 == text->len || text->data[i + 1] == '\n');
			text->data[i] = '.';
		}
	return utf8_xml(buf_slice(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scoped_buf html = BUF_INIT(0), text = BUF_INIT(20000), kept = BUF_INIT(0);

	charset_to_utf8((struct slice){ (const char *)data, size }, "utf-8", &html);
	html_to_text(buf_slice(&html), &text);
	quote_cut(buf_slice(&text), &kept);
	check(utf8_xml(buf_slice(&kept)));
	check(is_text_but_for_marks(&text));
	buf_clear(&kept);
	quote_cut(buf_slice(&html), &kept);
	check(utf8_xml(buf_slice(&kept)));
	check(kept.len <= 3 * html.len + 1);
	return 0;
}
