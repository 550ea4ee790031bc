/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a server: RFC 5321 section 4.2.1. */
#include "gateway/mail/smtp_private.h"

#include <ctype.h>
#include <strings.h>

static bool has_word(struct slice words, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= words.len; i++)
		if (strncasecmp(words.data + i, word, len) == 0 &&
		    (i == 0 || words.data[i - 1] == ' ') &&
		    (i + len == words.len || words.data[i + len] == ' '))
			return true;
	return false;
}

/* A line of the answer to EHLO. */
static void note_capability(struct smtp *smtp, struct slice text)
{
	static const struct {
		const char *word;
		unsigned can;
	} words[] = {
		{ "STARTTLS", CAN_STARTTLS },
		{ "8BITMIME", CAN_8BIT },
		{ "SMTPUTF8", CAN_UTF8 },
		{ "PIPELINING", CAN_PIPELINE },
	};

	for (size_t i = 0; i < countof(words); i++)
		if (text.len == strlen(words[i].word) &&
		    strncasecmp(text.data, words[i].word, text.len) == 0)
			smtp->can |= words[i].can;
	if (text.len > 5 && strncasecmp(text.data, "AUTH", 4) == 0) {
		smtp->can |= has_word(text, "PLAIN") ? CAN_PLAIN : 0;
		smtp->can |= has_word(text, "LOGIN") ? CAN_LOGIN : 0;
	}
}

/* One line of a reply: "250-text" or, the last, "250 text". HR_NONE: it is not the last. */
static enum hr_status read_line(struct smtp *smtp, struct slice text, int *code, struct hr_err *err)
{
	bool is_last = text.len <= 3 || text.data[3] != '-';
	int digits = 0;

	for (size_t i = 0; i < 3 && i < text.len && isdigit((unsigned char)text.data[i]); i++)
		digits = 10 * digits + (text.data[i] - '0');
	if (digits < 200 || digits > 599 || (is_last && text.len > 3 && text.data[3] != ' ') ||
	    ++smtp->lines > SMTP_LINES_MAX)
		return err_set(err, HR_FAIL, "the smarthost does not speak SMTP");
	if (smtp->state == SMTP_HELLO && smtp->lines > 1 && text.len > 4)
		note_capability(smtp, (struct slice){ text.data + 4, text.len - 4 });
	buf_clear(&smtp->text);
	for (size_t i = 0; i < text.len && i < SMTP_TEXT_MAX; i++)
		buf_add_char(&smtp->text, (unsigned char)text.data[i] < ' ' ? ' ' : text.data[i]);
	if (!is_last)
		return HR_NONE;
	smtp->lines = 0;
	*code = digits;
	return HR_OK;
}

enum hr_status smtp_read_reply(struct smtp *smtp, int *code, struct hr_err *err)
{
	enum hr_status status = HR_NONE;

	while (status == HR_NONE) {
		const char *end = smtp->in.len ? memchr(smtp->in.data, '\n', smtp->in.len) : NULL;
		size_t len = end ? (size_t)(end - smtp->in.data) : 0;

		if (smtp->in.overflowed || (!end && smtp->in.len > SMTP_LINE_MAX))
			return err_set(err, HR_FAIL, "the smarthost's answers are too long");
		if (!end)
			return HR_NONE;
		status = read_line(
			smtp,
			(struct slice){ smtp->in.data,
					len && smtp->in.data[len - 1] == '\r' ? len - 1 : len },
			code, err);
		buf_drop(&smtp->in, len + 1);
	}
	return status;
}
