/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/smtp_private.h"

/* Room for all that follows at once, so that no credentials stay in memory that was outgrown. */
static void make_room(struct smtp *smtp, size_t len)
{
	buf_reserve(&smtp->out, 2 * len + 64);
}

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
	buf_add_str(out, "\r\n");
}

static void say_plain(struct smtp *smtp)
{
	size_t name = strlen(smtp->username), password = strlen(smtp->password);
	scoped_buf both = BUF_INIT(0);

	buf_reserve(&both, name + password + 2);
	buf_add_char(&both, '\0');
	buf_add(&both, smtp->username, name);
	buf_add_char(&both, '\0');
	buf_add(&both, smtp->password, password);
	make_room(smtp, both.len);
	buf_add_str(&smtp->out, "AUTH PLAIN ");
	add_base64(&smtp->out, buf_slice(&both));
	buf_wipe(&both);
}

static void say_base64(struct smtp *smtp, const char *text)
{
	make_room(smtp, strlen(text));
	add_base64(&smtp->out, slice_str(text));
}

static void say_mail(struct smtp *smtp)
{
	buf_format(&smtp->out, "MAIL FROM:<%s>%s%s\r\n", smtp->from,
		   smtp->can & CAN_8BIT ? " BODY=8BITMIME" : "",
		   smtp->mail.is_utf8 ? " SMTPUTF8" : "");
	if (smtp->can & CAN_PIPELINE)
		buf_format(&smtp->out, "RCPT TO:<%s>\r\nDATA\r\n", smtp->to);
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

void smtp_say(struct smtp *smtp, enum smtp_state state)
{
	switch (state) {
	case SMTP_HELLO:
		buf_format(&smtp->out, "EHLO %s\r\n", smtp->host);
		return;
	case SMTP_STARTTLS:
		buf_add_str(&smtp->out, "STARTTLS\r\n");
		return;
	case SMTP_PLAIN:
		say_plain(smtp);
		return;
	case SMTP_LOGIN:
		buf_add_str(&smtp->out, "AUTH LOGIN\r\n");
		return;
	case SMTP_LOGIN_NAME:
		say_base64(smtp, smtp->username);
		return;
	case SMTP_LOGIN_PASSWORD:
		say_base64(smtp, smtp->password);
		return;
	case SMTP_MAIL:
		say_mail(smtp);
		return;
	case SMTP_RCPT:
		if (!(smtp->can & CAN_PIPELINE))
			buf_format(&smtp->out, "RCPT TO:<%s>\r\n", smtp->to);
		return;
	case SMTP_DATA:
		if (!(smtp->can & CAN_PIPELINE))
			buf_add_str(&smtp->out, "DATA\r\n");
		return;
	case SMTP_BODY:
		say_body(smtp);
		return;
	case SMTP_EMPTY:
		buf_add_str(&smtp->out, ".\r\n");
		return;
	case SMTP_RESET:
		buf_add_str(&smtp->out, "RSET\r\n");
		return;
	case SMTP_QUIT:
		buf_add_str(&smtp->out, "QUIT\r\n");
		return;
	case SMTP_GREETING:
	case SMTP_HANDSHAKE:
	case SMTP_READY:
	case SMTP_OVER:
	case SMTP_STATES:
		return;
	}
}
