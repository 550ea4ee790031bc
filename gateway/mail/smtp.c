/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/smtp.h"

#include "gateway/mail/smtp_private.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

/* The reply code that leads on (others end the mail under way, or the session), and how long to
 * wait for it: RFC 5321 section 4.5.3.2, which says nothing of the ends of a session, and five
 * minutes of anything else. */
static const struct {
	int code;
	bool of_mail;
	msec wait;
} steps[SMTP_STATES] = {
	[SMTP_GREETING] = { 220, false, 5 * MINUTE },
	[SMTP_HELLO] = { 250, false, 5 * MINUTE },
	[SMTP_STARTTLS] = { 220, false, 5 * MINUTE },
	[SMTP_HANDSHAKE] = { 0, false, 5 * MINUTE },
	[SMTP_PLAIN] = { 235, false, 5 * MINUTE },
	[SMTP_LOGIN] = { 334, false, 5 * MINUTE },
	[SMTP_LOGIN_NAME] = { 334, false, 5 * MINUTE },
	[SMTP_LOGIN_PASSWORD] = { 235, false, 5 * MINUTE },
	[SMTP_READY] = { 0, false, 10 * SECOND },
	[SMTP_MAIL] = { 250, true, 5 * MINUTE },
	[SMTP_RCPT] = { 250, true, 5 * MINUTE },
	[SMTP_DATA] = { 354, true, 2 * MINUTE },
	[SMTP_BODY] = { 250, true, 10 * MINUTE }, /* who gives up sooner mails twice */
	[SMTP_EMPTY] = { 250, true, 10 * MINUTE },
	[SMTP_RESET] = { 250, false, 5 * MINUTE },
	[SMTP_QUIT] = { 221, false, 30 * SECOND },
	[SMTP_OVER] = { 0, false, 0 },
};
enum { BLOCK_MS = 3 * MINUTE };

msec smtp_wait(const struct smtp *smtp, bool is_leaving)
{
	return smtp->state == SMTP_BODY && is_leaving ? (msec)BLOCK_MS : steps[smtp->state].wait;
}

/* --- ends ------------------------------------------------------------------------------------- */

static void mail_end(struct smtp *smtp, enum smtp_result result, const char *text)
{
	free(give(smtp->from));
	free(give(smtp->to));
	smtp->mail = (struct smtp_mail){ 0 };
	smtp->ops->result(smtp->ctx, result, text);
}

static void over(struct smtp *smtp, const char *text)
{
	scoped_str kept = str_dup(text); /* it may be of smtp->text */

	if (smtp->state == SMTP_OVER)
		return;
	smtp->state = SMTP_OVER;
	if (smtp->from)
		mail_end(smtp, SMTP_CUT, kept);
	smtp->ops->over(smtp->ctx, kept);
}

void smtp_lost(struct smtp *smtp, const char *why)
{
	over(smtp, why);
}

/* --- what is answered --------------------------------------------------------------------------
 */

static void enter(struct smtp *smtp, enum smtp_state state)
{
	smtp->state = state;
	smtp_say(smtp, state);
	if (state == SMTP_HELLO)
		smtp->can = 0; /* what was said before TLS is forgotten: RFC 3207 section 4.2 */
	else if (state == SMTP_HANDSHAKE)
		smtp->ops->secure(smtp->ctx);
	else if (state == SMTP_READY)
		smtp->ops->ready(smtp->ctx);
}

static void after_hello(struct smtp *smtp)
{
	if (smtp->starttls && !(smtp->can & CAN_STARTTLS))
		over(smtp, "the smarthost does not offer STARTTLS");
	else if (smtp->starttls)
		enter(smtp, SMTP_STARTTLS);
	else if (!smtp->username)
		enter(smtp, SMTP_READY);
	else if (smtp->can & CAN_PLAIN)
		enter(smtp, SMTP_PLAIN);
	else if (smtp->can & CAN_LOGIN)
		enter(smtp, SMTP_LOGIN);
	else
		over(smtp, "the smarthost offers neither AUTH PLAIN nor AUTH LOGIN");
}

/* The one answer that leads on. */
static void advance(struct smtp *smtp)
{
	switch (smtp->state) {
	case SMTP_HELLO:
		after_hello(smtp);
		return;
	case SMTP_STARTTLS:
		if (smtp->in.len > 0) /* said before TLS, and to be believed after it */
			over(smtp, "the smarthost went on in the clear after STARTTLS");
		else
			enter(smtp, SMTP_HANDSHAKE);
		return;
	case SMTP_DATA:
		enter(smtp, smtp->from ? SMTP_BODY : SMTP_EMPTY);
		return;
	case SMTP_BODY:
		mail_end(smtp, SMTP_TAKEN, buf_text(&smtp->text));
		if (smtp->state == SMTP_BODY)
			enter(smtp, SMTP_READY);
		return;
	case SMTP_QUIT:
		over(smtp, "done");
		return;
	case SMTP_PLAIN:
	case SMTP_LOGIN_PASSWORD:
	case SMTP_EMPTY:
	case SMTP_RESET:
		enter(smtp, SMTP_READY);
		return;
	case SMTP_GREETING:
	case SMTP_LOGIN:
	case SMTP_LOGIN_NAME:
	case SMTP_MAIL:
	case SMTP_RCPT:
		enter(smtp, smtp->state + 1);
		return;
	case SMTP_HANDSHAKE:
	case SMTP_READY:
	case SMTP_OVER:
	case SMTP_STATES:
		over(smtp, "the smarthost speaks out of turn");
		return;
	}
}

/* The mail has its result. What was said behind the command that was refused is answered too. */
static void after_refusal(struct smtp *smtp)
{
	enum smtp_state state = smtp->state;

	if (state == SMTP_OVER)
		return;
	if (smtp->can & CAN_PIPELINE && (state == SMTP_MAIL || state == SMTP_RCPT))
		enter(smtp, state + 1);
	else /* RSET, unless the transaction is over already */
		enter(smtp, state == SMTP_BODY || state == SMTP_EMPTY ? SMTP_READY : SMTP_RESET);
}

/* A login is missing or wrong: RFC 4954 section 6. */
static bool is_login(int code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

static void take_reply(struct smtp *smtp, int code)
{
	const char *text = buf_text(&smtp->text);

	smtp->has_begun = true;
	if (code / 10 == steps[smtp->state].code / 10) {
		advance(smtp);
		return;
	}
	if (smtp->state == SMTP_MAIL && is_login(code))
		mail_end(smtp, SMTP_AWAY, text);
	if (!steps[smtp->state].of_mail || code == 421 || is_login(code) ||
	    (code / 100 != 4 && code / 100 != 5)) {
		over(smtp, text);
		return;
	}
	if (smtp->from)
		mail_end(smtp, code / 100 == 4 ? SMTP_DEFERRED : SMTP_REFUSED, text);
	after_refusal(smtp);
}

void smtp_received(struct smtp *smtp, struct slice bytes)
{
	enum hr_status status = HR_OK;
	struct hr_err err;
	int code;

	buf_add_slice(&smtp->in, bytes);
	while (smtp->state != SMTP_OVER && status == HR_OK) {
		status = smtp_read_reply(smtp, &code, &err);
		if (status == HR_OK)
			take_reply(smtp, code);
		else if (status == HR_FAIL)
			over(smtp, err.text);
	}
}

void smtp_secured(struct smtp *smtp)
{
	smtp->starttls = false;
	enter(smtp, SMTP_HELLO);
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
		enter(smtp, SMTP_MAIL);
}

void smtp_quit(struct smtp *smtp)
{
	enter(smtp, SMTP_QUIT);
}

bool smtp_is_ready(const struct smtp *smtp)
{
	return smtp->state == SMTP_READY;
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
	buf_wipe(&smtp->out);
	buf_free(&smtp->out);
	buf_free(&smtp->text);
	free(smtp);
}
