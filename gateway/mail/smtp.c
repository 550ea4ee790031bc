/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/smtp.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>

/* What the next answer is to. */
enum state {
	GREETING,
	HELLO, /* EHLO, also after TLS */
	STARTTLS,
	HANDSHAKE, /* no answer: smtp_secured */
	AUTH,
	AUTH_NAME, /* AUTH LOGIN: its two questions */
	AUTH_PASSWORD,
	READY,
	MAIL,
	RCPT,
	DATA,
	BODY,
	RESET,
	QUIT,
	OVER,
	STATES
};

/* The reply code that leads on. Others end the mail under way, or the session. */
static const struct {
	int code;
	bool of_mail;
} steps[STATES] = {
	[GREETING] = { 220, false }, [HELLO] = { 250, false },	   [STARTTLS] = { 220, false },
	[AUTH] = { 235, false },     [AUTH_NAME] = { 334, false }, [AUTH_PASSWORD] = { 334, false },
	[MAIL] = { 250, true },	     [RCPT] = { 250, true },	   [DATA] = { 354, true },
	[BODY] = { 250, true },	     [RESET] = { 250, false },	   [QUIT] = { 221, false },
};

enum { CAN_STARTTLS = 1, CAN_PLAIN = 2, CAN_LOGIN = 4, CAN_8BIT = 8, CAN_UTF8 = 16 };

struct smtp {
	char *host, *username, *password;
	const struct smtp_ops *ops;
	void *ctx;
	enum state state;
	bool starttls, has_begun;
	unsigned can;
	struct smtp_mail mail; /* under way */
	char *from, *to;
	struct buf in, out, text; /* text: of the reply being read */
	size_t lines;		  /* of it */
};

static void line(struct smtp *smtp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(struct smtp *smtp, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort(); /* out of memory, as in mem_alloc */
	va_end(args);
	buf_add_str(&smtp->out, text);
	buf_add_str(&smtp->out, "\r\n");
	explicit_bzero(text, strlen(text));
	free(text);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void mail_end(struct smtp *smtp, enum smtp_result result, const char *text)
{
	free(give(smtp->from));
	free(give(smtp->to));
	smtp->mail = (struct smtp_mail){ 0 };
	smtp->ops->result(smtp->ctx, result, text);
}

static void over(struct smtp *smtp, enum smtp_result result, const char *text)
{
	scoped_str kept = str_dup(text); /* it may be of smtp->text */

	if (smtp->state == OVER)
		return;
	smtp->state = OVER;
	if (smtp->from)
		mail_end(smtp, result, kept);
	smtp->ops->over(smtp->ctx, kept);
}

void smtp_lost(struct smtp *smtp, const char *why)
{
	over(smtp, smtp->state == BODY ? SMTP_UNSURE : SMTP_AWAY, why);
}

/* --- what is said ------------------------------------------------------------------------------
 */

static void add_base64(struct buf *out, struct slice bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		uint32_t three = (uint32_t)(unsigned char)bytes.data[i] << 16 |
				 (left > 1 ? (uint32_t)(unsigned char)bytes.data[i + 1] << 8 : 0) |
				 (left > 2 ? (uint32_t)(unsigned char)bytes.data[i + 2] : 0);

		buf_add_char(out, digits[three >> 18]);
		buf_add_char(out, digits[three >> 12 & 63]);
		buf_add_char(out, left > 1 ? digits[three >> 6 & 63] : '=');
		buf_add_char(out, left > 2 ? digits[three & 63] : '=');
	}
}

static void say_base64(struct smtp *smtp, const char *before, struct slice bytes)
{
	buf_add_str(&smtp->out, before);
	add_base64(&smtp->out, bytes);
	buf_add_str(&smtp->out, "\r\n");
}

static void say_plain(struct smtp *smtp)
{
	scoped_buf both = BUF_INIT(0);

	buf_add_char(&both, '\0');
	buf_add_str(&both, smtp->username);
	buf_add_char(&both, '\0');
	buf_add_str(&both, smtp->password);
	say_base64(smtp, "AUTH PLAIN ", buf_slice(&both));
	explicit_bzero(both.data, both.len);
}

/* A dot that begins a line is doubled (RFC 5321 section 4.5.2). */
static void say_body(struct smtp *smtp)
{
	struct slice rest = smtp->mail.bytes;
	bool ends = rest.len >= 2 && memcmp(rest.data + rest.len - 2, "\r\n", 2) == 0;

	while (rest.len > 0) {
		const char *end = memchr(rest.data, '\n', rest.len);
		size_t len = end ? (size_t)(end - rest.data) + 1 : rest.len;

		if (*rest.data == '.')
			buf_add_char(&smtp->out, '.');
		buf_add(&smtp->out, rest.data, len);
		rest = (struct slice){ rest.data + len, rest.len - len };
	}
	buf_add_str(&smtp->out, ends || smtp->mail.bytes.len == 0 ? ".\r\n" : "\r\n.\r\n");
}

static void enter(struct smtp *smtp, enum state state)
{
	smtp->state = state;
	switch (state) {
	case HELLO:
		smtp->can = 0;
		line(smtp, "EHLO %s", smtp->host);
		return;
	case STARTTLS:
		line(smtp, "STARTTLS");
		return;
	case HANDSHAKE:
		smtp->ops->secure(smtp->ctx);
		return;
	case AUTH: /* PLAIN */
		say_plain(smtp);
		return;
	case AUTH_NAME:
		line(smtp, "AUTH LOGIN");
		return;
	case READY:
		smtp->ops->ready(smtp->ctx);
		return;
	case MAIL:
		line(smtp, "MAIL FROM:<%s>%s%s", smtp->from,
		     smtp->can & CAN_8BIT ? " BODY=8BITMIME" : "",
		     smtp->mail.is_utf8 ? " SMTPUTF8" : "");
		return;
	case RCPT:
		line(smtp, "RCPT TO:<%s>", smtp->to);
		return;
	case DATA:
		line(smtp, "DATA");
		return;
	case BODY:
		say_body(smtp);
		return;
	case RESET:
		line(smtp, "RSET");
		return;
	case QUIT:
		line(smtp, "QUIT");
		return;
	case GREETING:
	case AUTH_PASSWORD:
	case OVER:
	case STATES:
		return;
	}
}

/* --- what is answered --------------------------------------------------------------------------
 */

static void after_hello(struct smtp *smtp)
{
	if (smtp->starttls && !(smtp->can & CAN_STARTTLS))
		over(smtp, SMTP_AWAY, "the smarthost does not offer STARTTLS");
	else if (smtp->starttls)
		enter(smtp, STARTTLS);
	else if (!smtp->username)
		enter(smtp, READY);
	else if (smtp->can & CAN_PLAIN)
		enter(smtp, AUTH);
	else if (smtp->can & CAN_LOGIN)
		enter(smtp, AUTH_NAME);
	else
		over(smtp, SMTP_AWAY, "the smarthost offers neither AUTH PLAIN nor AUTH LOGIN");
}

/* The one answer that leads on. */
static void advance(struct smtp *smtp)
{
	switch (smtp->state) {
	case GREETING:
		enter(smtp, HELLO);
		return;
	case HELLO:
		after_hello(smtp);
		return;
	case STARTTLS:
		if (smtp->in.len > 0) /* said before TLS, and to be believed after it */
			over(smtp, SMTP_AWAY, "the smarthost went on in the clear after STARTTLS");
		else
			enter(smtp, HANDSHAKE);
		return;
	case AUTH_NAME:
		say_base64(smtp, "", slice_str(smtp->username));
		smtp->state = AUTH_PASSWORD;
		return;
	case AUTH_PASSWORD:
		say_base64(smtp, "", slice_str(smtp->password));
		smtp->state = AUTH; /* its answer is that of AUTH PLAIN */
		return;
	case AUTH:
	case RESET:
		enter(smtp, READY);
		return;
	case MAIL:
		enter(smtp, RCPT);
		return;
	case RCPT:
		enter(smtp, DATA);
		return;
	case DATA:
		enter(smtp, BODY);
		return;
	case BODY:
		mail_end(smtp, SMTP_TAKEN, buf_text(&smtp->text));
		if (smtp->state == BODY)
			enter(smtp, READY);
		return;
	case QUIT:
		over(smtp, SMTP_AWAY, "done");
		return;
	case HANDSHAKE:
	case READY:
	case OVER:
	case STATES:
		over(smtp, SMTP_AWAY, "the smarthost speaks out of turn");
		return;
	}
}

/* A login is missing or wrong: RFC 4954 section 6. */
static bool is_login(int code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

static void reply(struct smtp *smtp, int code)
{
	const char *text = buf_text(&smtp->text);

	smtp->has_begun = true;
	if (smtp->state != READY && code / 10 == steps[smtp->state].code / 10 &&
	    steps[smtp->state].code > 0) {
		advance(smtp);
		return;
	}
	if (!steps[smtp->state].of_mail || code == 421 || is_login(code) ||
	    (code / 100 != 4 && code / 100 != 5)) {
		over(smtp, SMTP_AWAY, text);
		return;
	}
	bool was_body = smtp->state == BODY; /* a transaction that is over already */

	mail_end(smtp, code / 100 == 4 ? SMTP_DEFERRED : SMTP_REFUSED, text);
	if (smtp->state != OVER)
		enter(smtp, was_body ? READY : RESET);
}

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

static void note_capability(struct smtp *smtp, struct slice text)
{
	static const struct {
		const char *word;
		unsigned can;
	} words[] = { { "STARTTLS", CAN_STARTTLS },
		      { "8BITMIME", CAN_8BIT },
		      { "SMTPUTF8", CAN_UTF8 } };

	for (size_t i = 0; i < countof(words); i++)
		if (text.len == strlen(words[i].word) &&
		    strncasecmp(text.data, words[i].word, text.len) == 0)
			smtp->can |= words[i].can;
	if (text.len > 5 && strncasecmp(text.data, "AUTH", 4) == 0) {
		smtp->can |= has_word(text, "PLAIN") ? CAN_PLAIN : 0;
		smtp->can |= has_word(text, "LOGIN") ? CAN_LOGIN : 0;
	}
}

/* One line of a reply: "250-text" or, the last, "250 text". */
static void take_line(struct smtp *smtp, struct slice text)
{
	int code = 0;

	for (size_t i = 0; i < 3 && i < text.len && isdigit((unsigned char)text.data[i]); i++)
		code = 10 * code + (text.data[i] - '0');
	if (code < 200 || code > 599 ||
	    (text.len > 3 && text.data[3] != ' ' && text.data[3] != '-') ||
	    ++smtp->lines > SMTP_LINES_MAX) {
		over(smtp, SMTP_AWAY, "the smarthost does not speak SMTP");
		return;
	}
	if (smtp->state == HELLO && smtp->lines > 1 && text.len > 4)
		note_capability(smtp, (struct slice){ text.data + 4, text.len - 4 });
	buf_clear(&smtp->text);
	for (size_t i = 0; i < text.len && i < SMTP_TEXT_MAX; i++)
		buf_add_char(&smtp->text, (unsigned char)text.data[i] < ' ' ? ' ' : text.data[i]);
	if (text.len > 3 && text.data[3] == '-')
		return;
	smtp->lines = 0;
	reply(smtp, code);
}

void smtp_received(struct smtp *smtp, struct slice bytes)
{
	buf_add_slice(&smtp->in, bytes);
	if (smtp->in.overflowed)
		over(smtp, SMTP_AWAY, "the smarthost's answers are too long");
	while (smtp->state != OVER) {
		const char *end = smtp->in.len ? memchr(smtp->in.data, '\n', smtp->in.len) : NULL;
		size_t len = end ? (size_t)(end - smtp->in.data) : 0;

		if (!end && smtp->in.len > SMTP_LINE_MAX)
			over(smtp, SMTP_AWAY, "the smarthost's answers are too long");
		if (!end)
			return;
		scoped_str text = mem_dup(smtp->in.data, len);
		buf_drop(&smtp->in, len + 1);
		take_line(smtp,
			  (struct slice){ text, len && text[len - 1] == '\r' ? len - 1 : len });
	}
}

void smtp_secured(struct smtp *smtp)
{
	smtp->starttls = false;
	enter(smtp, HELLO); /* what was said before is forgotten: RFC 3207 section 4.2 */
}

/* --- mails -------------------------------------------------------------------------------------
 */

void smtp_send(struct smtp *smtp, const struct smtp_mail *mail)
{
	smtp->mail = *mail;
	smtp->from = str_dup(mail->from);
	smtp->to = str_dup(mail->to);
	smtp->has_begun = false;
	if (mail->is_utf8 && !(smtp->can & CAN_UTF8))
		mail_end(smtp, SMTP_REFUSED,
			 "the smarthost does not do SMTPUTF8, which this address needs");
	else
		enter(smtp, MAIL);
}

void smtp_quit(struct smtp *smtp)
{
	enter(smtp, QUIT);
}

bool smtp_is_ready(const struct smtp *smtp)
{
	return smtp->state == READY;
}

bool smtp_has_begun(const struct smtp *smtp)
{
	return smtp->has_begun;
}

struct buf *smtp_output(struct smtp *smtp)
{
	return &smtp->out;
}

struct smtp *smtp_new(const struct smtp_options *options, const struct smtp_ops *ops, void *ctx)
{
	struct smtp *smtp = mem_new(struct smtp);

	smtp->host = str_dup(options->host);
	smtp->username = str_dup(options->username);
	smtp->password = str_dup(options->password);
	smtp->starttls = options->starttls;
	smtp->ops = ops;
	smtp->ctx = ctx;
	smtp->in = BUF_INIT(64 * 1024);
	return smtp;
}

void smtp_free(struct smtp *smtp)
{
	if (!smtp)
		return;
	if (smtp->password)
		explicit_bzero(smtp->password, strlen(smtp->password));
	free(smtp->host);
	free(smtp->username);
	free(smtp->password);
	free(smtp->from);
	free(smtp->to);
	buf_free(&smtp->in);
	buf_free(&smtp->out);
	buf_free(&smtp->text);
	free(smtp);
}
