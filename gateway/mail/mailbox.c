/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/mailbox.h"

#include "base/utf8.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_utf8_byte(char c)
{
	return (unsigned char)c >= 0x80;
}

static bool is_atext(char c)
{
	return is_alnum(c) || is_utf8_byte(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_domain_text(char c)
{
	return is_alnum(c) || is_utf8_byte(c) || c == '-';
}

/* Length of the run of atoms with single dots between them at the beginning; 0: there is none. */
static size_t dotted(struct slice text, bool (*is_in)(char))
{
	size_t i = 0;

	for (;;) {
		size_t start = i;
		while (i < text.len && is_in(text.data[i]))
			i++;
		if (i == start)
			return 0;
		if (i == text.len || text.data[i] != '.')
			return i;
		i++;
	}
}

/* Length of "quoted" with its quotes; 0: it is none. */
static size_t quoted(struct slice text)
{
	for (size_t i = 1; i < text.len; i++) {
		char c = text.data[i];
		if (c == '"')
			return i + 1;
		if (c == '\\' && ++i < text.len)
			c = text.data[i];
		if ((unsigned char)c < ' ' || c == 0x7f)
			break;
	}
	return 0;
}

/* Length of [an address literal]; 0: it is none. */
static size_t literal(struct slice text)
{
	for (size_t i = 1; i < text.len; i++) {
		char c = text.data[i];
		if (c == ']')
			return i > 1 ? i + 1 : 0;
		if (!is_alnum(c) && c != '.' && c != ':' && c != '-')
			break;
	}
	return 0;
}

static bool has_sound_labels(struct slice domain)
{
	size_t start = 0;

	for (size_t i = 0; i <= domain.len; i++) {
		if (i < domain.len && domain.data[i] != '.')
			continue;
		if (i - start > 63 || domain.data[start] == '-' || domain.data[i - 1] == '-')
			return false;
		start = i + 1;
	}
	return true;
}

static struct slice from(struct slice text, size_t at)
{
	return (struct slice){ text.data + at, text.len - at };
}

static enum hr_status check(const struct mailbox *box, struct hr_err *err)
{
	if (box->local.len > MAILBOX_LOCAL_MAX)
		return err_set(err, HR_FAIL, "the part before @ is longer than %d bytes",
			       MAILBOX_LOCAL_MAX);
	if (box->domain.len > MAILBOX_DOMAIN_MAX)
		return err_set(err, HR_FAIL, "the domain is longer than %d bytes",
			       MAILBOX_DOMAIN_MAX);
	if (box->domain.data[0] != '[' && !has_sound_labels(box->domain))
		return err_set(err, HR_FAIL, "not a domain after @");
	if (box->is_utf8 && !utf8_valid(box->text))
		return err_set(err, HR_FAIL, "the address is not UTF-8");
	return HR_OK;
}

/* The mailbox at the beginning of `text`. */
static enum hr_status parse(struct slice text, struct mailbox *out, struct hr_err *err)
{
	bool is_quoted = text.len > 0 && text.data[0] == '"';
	size_t local = is_quoted ? quoted(text) : dotted(text, is_atext);

	if (local == 0)
		return err_set(err, HR_FAIL, "not an address: bad part before @");
	if (local == text.len || text.data[local] != '@')
		return err_set(err, HR_FAIL, "not an address: no @");
	struct slice rest = from(text, local + 1);
	bool is_literal = rest.len > 0 && rest.data[0] == '[';
	size_t domain = is_literal ? literal(rest) : dotted(rest, is_domain_text);
	if (domain == 0)
		return err_set(err, HR_FAIL, "not a domain after @");
	struct mailbox box = {
		.text = { text.data, local + 1 + domain },
		.local = { text.data, local },
		.domain = { rest.data, domain },
	};
	box.is_utf8 = !utf8_ascii(box.text);
	if (check(&box, err) != HR_OK)
		return err->status;
	*out = box;
	return HR_OK;
}

enum hr_status mailbox_parse(struct slice text, struct mailbox *out, struct hr_err *err)
{
	struct mailbox box;

	if (parse(text, &box, err) != HR_OK)
		return err->status;
	if (box.text.len != text.len)
		return err_set(err, HR_FAIL, "not an address: something follows it");
	*out = box;
	return HR_OK;
}

/* Length of "@one,@two:" at the beginning; 0: there is no source route. */
static size_t source_route(struct slice text)
{
	size_t i = 0;

	while (i < text.len && text.data[i] == '@') {
		size_t domain = dotted(from(text, i + 1), is_domain_text);
		i += 1 + domain;
		if (domain == 0 || i == text.len)
			return 0;
		if (text.data[i] == ':')
			return i + 1;
		if (text.data[i++] != ',')
			return 0;
	}
	return 0;
}

enum hr_status mailbox_parse_path(struct slice text, struct mailbox *out, size_t *len,
				  struct hr_err *err)
{
	if (text.len < 2 || text.data[0] != '<')
		return err_set(err, HR_FAIL, "no <address>");
	if (text.data[1] == '>') {
		*len = 2;
		return HR_NONE;
	}
	size_t start = 1 + source_route(from(text, 1));
	struct mailbox box;
	if (parse(from(text, start), &box, err) != HR_OK)
		return err->status;
	size_t end = start + box.text.len;
	if (end == text.len || text.data[end] != '>')
		return err_set(err, HR_FAIL, "no > after the address");
	*len = end + 1;
	*out = box;
	return HR_OK;
}
