/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/email.h"

#include "federation/address.h"

/* XEP-0106 section 4.2 */
static const struct {
	const char *code;
	char c;
} escapes[] = {
	{ "20", ' ' }, { "22", '"' }, { "26", '&' }, { "27", '\'' }, { "2f", '/' },
	{ "3a", ':' }, { "3c", '<' }, { "3e", '>' }, { "40", '@' },  { "5c", '\\' },
};

static struct slice local_of(struct slice address)
{
	const char *at = memchr(address.data, '@', address.len);

	return (struct slice){ address.data, at ? (size_t)(at - address.data) : 0 };
}

/* The character that an escape stands for at `at`; 0: there is none. */
static char unescaped(struct slice text, size_t at)
{
	if (text.data[at] != '\\' || text.len - at < 3)
		return 0;
	for (size_t i = 0; i < countof(escapes); i++)
		if (memcmp(text.data + at + 1, escapes[i].code, 2) == 0)
			return escapes[i].c;
	return 0;
}

static void unescape(struct slice text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = unescaped(text, i);

		buf_add_char(out, c ? c : text.data[i]);
		i += c ? 2 : 0;
	}
}

bool email_is_outsider(struct slice address)
{
	struct slice local = local_of(address);

	for (size_t i = 1; i < local.len; i++)
		if (unescaped(local, i) == '@')
			return i + 3 < local.len;
	return false;
}

void email_of_address(struct slice address, struct buf *out)
{
	bool is_outsider = email_is_outsider(address);

	unescape(local_of(address), out);
	if (is_outsider)
		return;
	buf_add_char(out, '@');
	buf_add_slice(out, address_text_domain(address));
}

/* Of what a mailbox can have without quotes, and a JID cannot; NULL: it is neither. */
static const char *code_of(char c)
{
	for (size_t i = 0; i < countof(escapes); i++)
		if (escapes[i].c == c && (c == '&' || c == '\'' || c == '/'))
			return escapes[i].code;
	return NULL;
}

void email_to_address(struct slice local, struct slice domain, struct buf *out)
{
	for (size_t i = 0; i < local.len; i++) {
		const char *code = code_of(local.data[i]);

		if (code)
			buf_format(out, "\\%s", code);
		else
			buf_add_char(out, local.data[i]);
	}
	buf_add_char(out, '@');
	buf_add_slice(out, domain);
}

/* What is escaped in it stays as it is: the escape itself needs none (XEP-0106 section 4.2). */
void email_outsider(struct slice address, const char *domain, struct buf *out)
{
	buf_add_slice(out, local_of(address));
	buf_add_str(out, "\\40");
	buf_add_slice(out, address_text_domain(address));
	buf_add_char(out, '@');
	buf_add_str(out, domain);
}
