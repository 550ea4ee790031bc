/* SPDX-License-Identifier: Apache-2.0 */
/* Between the session (smtp.c), what it says (smtp_say.c) and the reading of answers
 * (smtp_reply.c). */
#pragma once

#include "gateway/mail/smtp.h"

/* What the next answer is to. */
enum smtp_state {
	SMTP_GREETING,
	SMTP_HELLO, /* EHLO, also after TLS */
	SMTP_STARTTLS,
	SMTP_HANDSHAKE, /* no answer: smtp_secured */
	SMTP_PLAIN,	/* AUTH PLAIN */
	SMTP_LOGIN,	/* AUTH LOGIN, and its two questions */
	SMTP_LOGIN_NAME,
	SMTP_LOGIN_PASSWORD,
	SMTP_READY,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BODY,
	SMTP_EMPTY, /* the body of a mail that is refused already: RFC 2920 section 3.1 */
	SMTP_RESET,
	SMTP_QUIT,
	SMTP_OVER,
	SMTP_STATES
};

enum {
	CAN_STARTTLS = 1,
	CAN_PLAIN = 2,
	CAN_LOGIN = 4,
	CAN_8BIT = 8,
	CAN_UTF8 = 16,
	CAN_PIPELINE = 32
};

struct smtp {
	char *host, *username, *password; /* owned */
	const struct smtp_ops *ops;
	void *ctx;
	enum smtp_state state;
	bool starttls, has_begun;
	unsigned can;
	struct smtp_mail mail;	  /* under way */
	char *from, *to;	  /* owned, of it; NULL: it has its result, or there is none */
	struct buf in, out, text; /* text: of the reply being read */
	size_t lines;		  /* of it */
};

/* The command of that state. Where the server takes several at once (RFC 2920), MAIL is followed by
 * RCPT and DATA, which then are not said again. */
void smtp_say(struct smtp *smtp, enum smtp_state state);

/* Takes the next whole reply off what came: its code in *code, the text of its last line in
 * smtp->text. HR_NONE: more must come. HR_FAIL: that is no SMTP. */
enum hr_status smtp_read_reply(struct smtp *smtp, int *code, struct hr_err *err);
