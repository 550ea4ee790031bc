/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"
#include "gateway/mail/lmtp_private.h"
#include "gateway/mail/mailbox.h"

#include <strings.h>

enum { CLIENT_MAX = 64 };

static struct slice from(struct slice text, size_t at)
{
	return (struct slice){ text.data + at, text.len - at };
}

static struct slice without_spaces(struct slice text)
{
	while (text.len > 0 && text.data[0] == ' ')
		text = from(text, 1);
	while (text.len > 0 && text.data[text.len - 1] == ' ')
		text.len--;
	return text;
}

static bool is_word(struct slice text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

/* Takes `word` off the beginning of `text`, if it is there. */
static bool take_prefix(struct slice *text, const char *word)
{
	size_t len = strlen(word);

	if (text->len < len || strncasecmp(text->data, word, len) != 0)
		return false;
	*text = from(*text, len);
	return true;
}

/* Takes the first word off `text`; false: there is none. */
static bool take_word(struct slice *text, struct slice *word)
{
	*text = without_spaces(*text);
	const char *space = text->len ? memchr(text->data, ' ', text->len) : NULL;
	*word = (struct slice){ text->data, space ? (size_t)(space - text->data) : text->len };
	*text = from(*text, word->len);
	return word->len > 0;
}

static void run_lhlo(struct lmtp *lmtp, struct slice args)
{
	if (args.len == 0) {
		lmtp_refuse_command(lmtp, "501 5.5.4 LHLO needs the name of the client");
		return;
	}
	lmtp_reset(lmtp);
	lmtp->state = LMTP_READY;
	buf_format(&lmtp->out,
		   "250-%s\r\n250-PIPELINING\r\n250-SIZE %zu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		   "250-ENHANCEDSTATUSCODES\r\n250 XFORWARD ADDR\r\n",
		   lmtp->host, lmtp->size_max);
}

static void run_smtp(struct lmtp *lmtp, struct slice args)
{
	(void)args;
	lmtp_refuse_command(lmtp, "500 5.5.1 This is LMTP (RFC 2033): say LHLO");
}

/* A parameter of MAIL: what follows "NAME=", or nothing. Returns the refusal; NULL: fine. */
static const char *take_size(struct lmtp *lmtp, struct slice value)
{
	size_t size = 0;

	if (value.len == 0 || value.len > 20)
		return "501 5.5.4 SIZE is no number";
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return "501 5.5.4 SIZE is no number";
		if (__builtin_mul_overflow(size, 10, &size) ||
		    __builtin_add_overflow(size, (size_t)(value.data[i] - '0'), &size))
			size = SIZE_MAX / 10;
	}
	if (size > lmtp->size_max)
		return "552 5.3.4 The mail is larger than this server takes";
	return room_has(lmtp->room, size) ? NULL : "452 4.3.1 No room now, try again later";
}

static const char *take_body(struct lmtp *lmtp, struct slice value)
{
	(void)lmtp;
	return is_word(value, "7BIT") || is_word(value, "8BITMIME")
		       ? NULL
		       : "501 5.5.4 BODY is neither 7BIT nor 8BITMIME";
}

static const char *take_smtputf8(struct lmtp *lmtp, struct slice value)
{
	if (value.len > 0)
		return "501 5.5.4 SMTPUTF8 has no value";
	lmtp->is_utf8 = true;
	return NULL;
}

static const struct {
	const char *name;
	const char *(*take)(struct lmtp *lmtp, struct slice value);
} mail_parameters[] = {
	{ "SIZE=", take_size },
	{ "BODY=", take_body },
	{ "SMTPUTF8", take_smtputf8 },
};

static const char *take_parameters(struct lmtp *lmtp, struct slice args)
{
	struct slice word;

	while (take_word(&args, &word)) {
		const char *refusal = "555 5.5.4 Unknown parameter";
		for (size_t i = 0; i < countof(mail_parameters); i++) {
			struct slice value = word;
			if (!take_prefix(&value, mail_parameters[i].name))
				continue;
			refusal = mail_parameters[i].take(lmtp, value);
			break;
		}
		if (refusal)
			return refusal;
	}
	return NULL;
}

static enum hr_status take_keyword(struct slice *args, const char *word, struct hr_err *err)
{
	if (!take_prefix(args, word))
		return err_set(err, HR_FAIL, "%s<address> is expected", word);
	*args = without_spaces(*args);
	return HR_OK;
}

/* The path that `args` begins with; what follows it stays in `args`. */
static enum hr_status take_path(struct slice *args, struct mailbox *box, struct hr_err *err)
{
	size_t len;
	enum hr_status status = mailbox_parse_path(*args, box, &len, err);
	if (status != HR_OK && status != HR_NONE)
		return status;
	if (len < args->len && args->data[len] != ' ')
		return err_set(err, HR_FAIL, "something follows the address");
	*args = from(*args, len);
	return status;
}

/* A sender that the MTA has let in need not be an address (dots in odd places are common): text
 * between < and > will do. `err` has what is wrong with it as an address. */
static enum hr_status take_odd_path(struct slice *args, struct mailbox *box, struct hr_err *err)
{
	const char *end = args->len ? memchr(args->data, '>', args->len) : NULL;
	size_t len = end ? (size_t)(end - args->data) + 1 : 0;

	if (len < 3 || len > MAILBOX_MAX || args->data[0] != '<' ||
	    (len < args->len && args->data[len] != ' '))
		return err->status;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)args->data[i] < ' ')
			return err->status;
	box->text = (struct slice){ args->data + 1, len - 2 };
	box->is_utf8 = !utf8_ascii(box->text);
	*args = from(*args, len);
	return HR_OK;
}

static enum hr_status take_sender(struct slice *args, struct mailbox *box, struct hr_err *err)
{
	if (take_keyword(args, "FROM:", err) != HR_OK)
		return err->status;
	enum hr_status status = take_path(args, box, err);
	return status == HR_FAIL ? take_odd_path(args, box, err) : status;
}

static void refuse_mail(struct lmtp *lmtp, const char *reply)
{
	lmtp_reset(lmtp);
	lmtp_reply(lmtp, reply);
}

static void run_mail(struct lmtp *lmtp, struct slice args)
{
	struct mailbox box = { 0 };
	struct hr_err err;

	if (take_sender(&args, &box, &err) == HR_FAIL) {
		scoped_str reply = str_format("501 5.1.7 %s", err.text);
		refuse_mail(lmtp, reply);
		return;
	}
	lmtp->is_utf8 = false;
	const char *refusal = take_parameters(lmtp, args);
	if (!refusal && box.is_utf8 && !lmtp->is_utf8)
		refusal = "553 5.6.7 An address that is not ASCII needs SMTPUTF8";
	if (refusal) {
		refuse_mail(lmtp, refusal);
		return;
	}
	lmtp->sender = mem_dup(box.text.data, box.text.len);
	lmtp->state = LMTP_MAIL;
	lmtp_reply(lmtp, "250 2.1.0 Ok");
}

static void run_rcpt(struct lmtp *lmtp, struct slice args)
{
	struct mailbox box;
	struct hr_err err;
	enum hr_status status = take_keyword(&args, "TO:", &err);

	if (status == HR_OK)
		status = take_path(&args, &box, &err);
	if (status == HR_NONE)
		err_set(&err, HR_FAIL, "the recipient is empty");
	if (status != HR_OK)
		lmtp_add_recipient(lmtp, (struct slice){ 0 }, str_format("501 5.1.3 %s", err.text));
	else if (without_spaces(args).len > 0)
		lmtp_add_recipient(lmtp, box.text, str_dup("555 5.5.4 Unknown parameter"));
	else if (box.is_utf8 && !lmtp->is_utf8)
		lmtp_add_recipient(
			lmtp, box.text,
			str_dup("553 5.6.7 An address that is not ASCII needs SMTPUTF8"));
	else
		lmtp_add_recipient(lmtp, box.text, NULL);
}

static void run_data(struct lmtp *lmtp, struct slice args)
{
	bool is_any = false;

	for (size_t i = 0; i < lmtp->slot_count; i++)
		is_any |= lmtp->slots[i].is_accepted;
	if (args.len > 0) {
		lmtp_refuse_command(lmtp, "501 5.5.4 DATA has no parameter");
	} else if (!is_any) {
		lmtp_reply(lmtp, "503 5.5.1 No recipient was accepted");
	} else {
		lmtp->state = LMTP_DATA;
		lmtp->is_line_start = true;
		lmtp->is_refused = false;
		lmtp->mail_bytes = 0;
		lmtp_reply(lmtp, "354 End with a dot on a line by itself");
	}
}

static void run_rset(struct lmtp *lmtp, struct slice args)
{
	(void)args;
	lmtp_reset(lmtp);
	lmtp_reply(lmtp, "250 2.0.0 Ok");
}

static void run_noop(struct lmtp *lmtp, struct slice args)
{
	(void)args;
	lmtp_reply(lmtp, "250 2.0.0 Ok");
}

static void run_vrfy(struct lmtp *lmtp, struct slice args)
{
	(void)args;
	lmtp_reply(lmtp, "252 2.5.0 Send a mail and see");
}

static void run_quit(struct lmtp *lmtp, struct slice args)
{
	(void)args;
	lmtp_end(lmtp, "221 2.0.0 Bye");
}

/* What Postfix says of the client that it had the mail from; only the address is asked for. */
static void run_xforward(struct lmtp *lmtp, struct slice args)
{
	struct slice word;

	while (take_word(&args, &word)) {
		if (!take_prefix(&word, "ADDR="))
			continue;
		take_prefix(&word, "IPV6:");
		free(lmtp->client);
		lmtp->client = NULL;
		if (word.len > 0 && word.len <= CLIENT_MAX && word.data[0] != '[')
			lmtp->client = mem_dup(word.data, word.len);
	}
	lmtp_reply(lmtp, "250 2.0.0 Ok");
}

#define IN(state) (1u << (state))
enum { ANY = IN(LMTP_START) | IN(LMTP_READY) | IN(LMTP_MAIL) };

/* Every command, and the states in which it may come. */
static const struct {
	const char *name;
	unsigned states;
	void (*run)(struct lmtp *lmtp, struct slice args);
} commands[] = {
	{ "LHLO", ANY, run_lhlo },
	{ "HELO", ANY, run_smtp },
	{ "EHLO", ANY, run_smtp },
	{ "XFORWARD", IN(LMTP_READY), run_xforward },
	{ "MAIL", IN(LMTP_READY), run_mail },
	{ "RCPT", IN(LMTP_MAIL), run_rcpt },
	{ "DATA", IN(LMTP_MAIL), run_data },
	{ "RSET", ANY, run_rset },
	{ "NOOP", ANY, run_noop },
	{ "VRFY", ANY, run_vrfy },
	{ "QUIT", ANY, run_quit },
};

static bool is_text(struct slice line)
{
	return !memchr(line.data, '\0', line.len);
}

bool lmtp_is_recipient(struct slice line)
{
	struct slice word;

	return is_text(line) && take_word(&line, &word) && is_word(word, "RCPT");
}

void lmtp_command(struct lmtp *lmtp, struct slice line)
{
	struct slice word;

	if (!is_text(line) || !take_word(&line, &word)) {
		lmtp_refuse_command(lmtp, "500 5.5.2 That is no command");
		return;
	}
	for (size_t i = 0; i < countof(commands); i++) {
		if (!is_word(word, commands[i].name))
			continue;
		if (commands[i].states & IN(lmtp->state))
			commands[i].run(lmtp, without_spaces(line));
		else
			lmtp_refuse_command(lmtp, "503 5.5.1 Not now");
		return;
	}
	lmtp_refuse_command(lmtp, "500 5.5.1 Unknown command");
}
