/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever is asked: the words are within their bound and text, and what is shown with them as
 * names is well-formed. */
#include "base/utf8.h"
#include "gateway/xmpp/search.h"
#include "gateway/xmpp/vcard.h"

#include <expat.h>
#include <stdint.h>

static void check_xml(const struct buf *out)
{
	XML_Parser parser = XML_ParserCreateNS("UTF-8", '\n');

	if (XML_Parse(parser, out->data, (int)out->len, 1) != XML_STATUS_OK)
		abort();
	XML_ParserFree(parser);
}

static void show(struct slice text)
{
	struct profile profile = { text, text, text, text, text, text, text, text, text };
	scoped_buf plain = BUF_INIT(0), form = BUF_INIT(0), card = BUF_INIT(0);

	search_write(&plain, &profile, 1, true, false);
	search_write(&form, &profile, 1, true, true);
	vcard_write(&card, &profile);
	check_xml(&plain);
	check_xml(&form);
	check_xml(&card);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice payload = { (const char *)data, size };
	scoped_buf words = BUF_INIT(SEARCH_WORDS_MAX);
	struct hr_err err;
	bool as_form;

	show(payload);
	if (search_read(payload, &words, &as_form, &err) != HR_OK)
		return 0;
	if (words.len > SEARCH_WORDS_MAX || !utf8_xml(buf_slice(&words)))
		abort();
	show(buf_slice(&words));
	return 0;
}
