/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/lmtp.h"

#include "base/utf8.h"
#include "gateway/mail/charset.h"
#include "gateway/mail/lmtp_private.h"

enum {
	INPUT_ENOUGH = 64 * 1024,  /* waiting: read no more for now */
	INPUT_MAX = 1024 * 1024,   /* waiting: the owner doesn't stop reading */
	TOO_LARGE_SKIP_FACTOR = 4, /* that many times the size limit is read past it, then we go */
};

static const struct {
	const char *code, *text;
} answers[LMTP_ANSWERS] = {
	[LMTP_OK] = { "250 2.1.5", "Ok" },
	[LMTP_NO_SUCH_PERSON] = { "550 5.1.1", "No such person" },
	[LMTP_DISABLED] = { "550 5.2.1", "This person is not reachable any more" },
	[LMTP_REFUSED] = { "550 5.7.1", "Not allowed" },
	[LMTP_BAD_CONTENT] = { "554 5.6.0", "The mail can't be understood" },
	[LMTP_TOO_LARGE] = { "552 5.3.4", "The mail is larger than this server takes" },
	[LMTP_LOOP] = { "554 5.4.6", "The mail goes round in a loop" },
	[LMTP_LATER] = { "451 4.3.0", "Not now, try again later" },
	[LMTP_TOO_MUCH] = { "452 4.3.1", "No room now, try again later" },
	[LMTP_TOO_MANY] = { "450 4.7.1", "Too many, try again later" },
};

void lmtp_reply(struct lmtp *lmtp, const char *reply)
{
	buf_add_str(&lmtp->out, reply);
	buf_add_slice(&lmtp->out, slice_lit("\r\n"));
}

void lmtp_refuse_command(struct lmtp *lmtp, const char *reply)
{
	lmtp_reply(lmtp, reply);
	if (++lmtp->errors > LMTP_ERRORS_MAX)
		lmtp_end(lmtp, "421 4.7.0 Too many errors");
}

char *lmtp_take_bytes(struct lmtp *lmtp)
{
	char *bytes = lmtp->mail.data;

	lmtp->mail = BUF_INIT(lmtp->size_max);
	return bytes;
}

/* What is held of the mail goes. */
static void drop_mail(struct lmtp *lmtp)
{
	size_t len = lmtp->mail.len;

	room_free(lmtp->room, lmtp_take_bytes(lmtp), len);
}

static void clear_slots(struct lmtp *lmtp)
{
	for (size_t i = 0; i < lmtp->slot_count; i++) {
		free(lmtp->slots[i].address);
		free(lmtp->slots[i].reply);
	}
	lmtp->first_id += lmtp->slot_count;
	lmtp->slot_count = lmtp->replied = 0;
}

void lmtp_reset(struct lmtp *lmtp)
{
	bool is_open =
		lmtp->state == LMTP_MAIL || lmtp->state == LMTP_DATA || lmtp->state == LMTP_WAITING;

	free(lmtp->client); /* it was said of one mail */
	lmtp->client = NULL;
	if (!is_open)
		return;
	clear_slots(lmtp);
	free(lmtp->recipients);
	lmtp->recipients = NULL;
	free(lmtp->sender);
	lmtp->sender = NULL;
	drop_mail(lmtp);
	lmtp->state = LMTP_READY;
	lmtp->ops->reset(lmtp->ctx);
}

void lmtp_end(struct lmtp *lmtp, const char *reply)
{
	if (lmtp->state == LMTP_ENDED)
		return;
	lmtp_reset(lmtp);
	lmtp_reply(lmtp, reply);
	lmtp->state = LMTP_ENDED;
}

/* Says what may be said of the recipients, in their order. */
static void say_replies(struct lmtp *lmtp)
{
	while (lmtp->replied < lmtp->slot_count && lmtp->slots[lmtp->replied].reply)
		lmtp_reply(lmtp, lmtp->slots[lmtp->replied++].reply);
}

void lmtp_add_recipient(struct lmtp *lmtp, struct slice address, char *reply)
{
	if (lmtp->slot_count == LMTP_RECIPIENTS_MAX) { /* nothing is awaited: see may_run */
		free(reply);
		lmtp_reply(lmtp, "452 4.5.3 Too many recipients for one mail");
		return;
	}
	uint64_t id = lmtp->first_id + lmtp->slot_count;
	struct lmtp_slot *slot = &lmtp->slots[lmtp->slot_count++];
	*slot = (struct lmtp_slot){ .asked = id,
				    .address = mem_dup(address.data, address.len),
				    .reply = reply };
	if (reply)
		say_replies(lmtp);
	else
		lmtp->ops->recipient(lmtp->ctx, id, slot->address);
}

/* Those accepted, and only those, get a new id and an answer each. */
static void keep_accepted(struct lmtp *lmtp)
{
	size_t kept = 0;

	for (size_t i = 0; i < lmtp->slot_count; i++) {
		struct lmtp_slot slot = lmtp->slots[i];
		free(slot.reply);
		slot.reply = NULL;
		if (slot.is_accepted)
			lmtp->slots[kept++] = slot;
		else
			free(slot.address);
	}
	lmtp->first_id += lmtp->slot_count;
	lmtp->slot_count = kept;
	lmtp->replied = 0;
}

static void refuse_all(struct lmtp *lmtp, enum lmtp_answer answer)
{
	for (size_t i = 0; i < lmtp->slot_count; i++)
		lmtp->slots[i].reply =
			str_format("%s %s", answers[answer].code, answers[answer].text);
	say_replies(lmtp);
}

/* The mail is complete. */
static void hand_over(struct lmtp *lmtp)
{
	keep_accepted(lmtp);
	lmtp->state = LMTP_WAITING;
	if (lmtp->is_refused) {
		refuse_all(lmtp,
			   lmtp->mail_bytes > lmtp->size_max ? LMTP_TOO_LARGE : LMTP_TOO_MUCH);
		return;
	}
	lmtp->recipients = mem_array(struct lmtp_recipient, lmtp->slot_count);
	for (size_t i = 0; i < lmtp->slot_count; i++)
		lmtp->recipients[i] =
			(struct lmtp_recipient){ lmtp->first_id + i, lmtp->slots[i].asked,
						 lmtp->slots[i].address };
	lmtp->ops->message(lmtp->ctx, &(struct lmtp_mail){
					      .sender = lmtp->sender,
					      .recipients = lmtp->recipients,
					      .recipient_count = lmtp->slot_count,
					      .bytes = buf_slice(&lmtp->mail),
					      .client = slice_str(lmtp->client),
					      .is_utf8 = lmtp->is_utf8,
				      });
	drop_mail(lmtp);
}

static struct slice waiting(const struct lmtp *lmtp)
{
	return (struct slice){ lmtp->in.data + lmtp->taken, lmtp->in.len - lmtp->taken };
}

/* Takes `len` bytes of the input, which are part of the mail. */
static void keep_mail(struct lmtp *lmtp, size_t len)
{
	struct slice bytes = { waiting(lmtp).data, len };

	lmtp->taken += len;
	lmtp->mail_bytes += len;
	if (!lmtp->is_refused &&
	    (lmtp->mail_bytes > lmtp->size_max || !room_has(lmtp->room, len))) {
		lmtp->is_refused = true;
		drop_mail(lmtp);
	}
	if (!lmtp->is_refused) {
		buf_add_slice(&lmtp->mail, bytes);
		lmtp->room->held += len;
	}
	if (lmtp->mail_bytes / (1 + TOO_LARGE_SKIP_FACTOR) > lmtp->size_max)
		lmtp_end(lmtp, "421 4.3.4 The mail is far larger than this server takes");
}

/* What a line of the mail begins with: a dot more than it should, or the end. False: not to be told
 * yet. */
static bool begin_line(struct lmtp *lmtp)
{
	struct slice rest = waiting(lmtp);

	if (rest.len == 0 || (rest.len < 3 && memcmp(rest.data, ".\r\n", rest.len) == 0))
		return false;
	lmtp->is_line_start = false;
	if (memcmp(rest.data, ".\r\n", rest.len < 3 ? rest.len : 3) == 0) {
		lmtp->taken += 3;
		hand_over(lmtp);
	} else if (rest.data[0] == '.') {
		lmtp->taken++;
	}
	return true;
}

/* Takes what there is of the mail. Only CRLF ends a line here: a dot after a bare LF is a dot.
 * False: more input is needed. */
static bool take_mail(struct lmtp *lmtp)
{
	if (lmtp->is_line_start)
		return begin_line(lmtp);
	struct slice rest = waiting(lmtp);
	const char *hit = memmem(rest.data, rest.len, "\r\n.", 3);
	if (hit) {
		keep_mail(lmtp, (size_t)(hit - rest.data) + 2);
		lmtp->is_line_start = true;
		return true;
	}
	size_t len = rest.len;
	if (len > 0 && rest.data[len - 1] == '\n')
		len -= len > 1 && rest.data[len - 2] == '\r' ? 2 : 0;
	else if (len > 0 && rest.data[len - 1] == '\r')
		len--;
	keep_mail(lmtp, len);
	return false;
}

/* Whether a command may run while answers to recipients are awaited. */
static bool may_run(const struct lmtp *lmtp, struct slice line)
{
	return lmtp->replied == lmtp->slot_count ||
	       (lmtp_is_recipient(line) && lmtp->slot_count < LMTP_RECIPIENTS_MAX);
}

static void skip_line(struct lmtp *lmtp, size_t len, bool is_whole)
{
	lmtp->taken += len;
	if (!lmtp->is_skipping)
		lmtp_refuse_command(lmtp, "500 5.5.6 The line is too long");
	lmtp->is_skipping = !is_whole;
}

/* Runs the next command. False: it is not all there, or has to wait. */
static bool take_command(struct lmtp *lmtp)
{
	struct slice rest = waiting(lmtp);
	const char *end = rest.len ? memchr(rest.data, '\n', rest.len) : NULL;
	struct slice line = { rest.data, end ? (size_t)(end - rest.data) : rest.len };
	size_t len = line.len + (end ? 1 : 0);

	if (line.len > LMTP_LINE_MAX || (lmtp->is_skipping && len > 0)) {
		if (!may_run(lmtp, slice_lit("")))
			return false;
		skip_line(lmtp, len, end != NULL);
		return true;
	}
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (!end || !may_run(lmtp, line))
		return false;
	lmtp->taken += len;
	lmtp_command(lmtp, line);
	return true;
}

static bool take(struct lmtp *lmtp)
{
	switch (lmtp->state) {
	case LMTP_START:
	case LMTP_READY:
	case LMTP_MAIL:
		if (lmtp->is_leaving && lmtp->replied == lmtp->slot_count)
			lmtp_end(lmtp, "421 4.3.2 This server is going down");
		return lmtp->state != LMTP_ENDED && take_command(lmtp);
	case LMTP_DATA:
		return take_mail(lmtp);
	case LMTP_WAITING:
		if (lmtp->replied < lmtp->slot_count)
			return false;
		lmtp_reset(lmtp);
		return true;
	case LMTP_ENDED:
		return false;
	}
	abort();
}

/* Goes on with the input as far as it makes sense. */
static void run(struct lmtp *lmtp)
{
	if (lmtp->is_running)
		return;
	lmtp->is_running = true;
	while (take(lmtp))
		;
	lmtp->is_running = false;
	buf_drop(&lmtp->in, lmtp->taken);
	lmtp->taken = 0;
}

void lmtp_received(struct lmtp *lmtp, struct slice bytes)
{
	if (lmtp->state == LMTP_ENDED)
		return;
	buf_add_slice(&lmtp->in, bytes);
	if (lmtp->in.overflowed)
		lmtp_end(lmtp, "421 4.7.0 Wait for the answers");
	run(lmtp);
}

/* "550 5.1.1 words", without what the client can't take. */
static char *reply_of(const struct lmtp *lmtp, enum lmtp_answer answer, const char *text)
{
	const char *code = answers[answer].code;
	scoped_str words =
		charset_line(slice_str(text ? text : answers[answer].text), LMTP_TEXT_MAX);

	if (answer == LMTP_OK && lmtp->state == LMTP_WAITING)
		code = "250 2.0.0";
	if (!lmtp->is_utf8)
		for (char *c = words; *c; c++)
			if ((unsigned char)*c >= 0x80)
				*c = '?';
	return str_format("%s %s", code, words);
}

void lmtp_answer(struct lmtp *lmtp, uint64_t id, enum lmtp_answer answer, const char *text)
{
	if (id < lmtp->first_id || id - lmtp->first_id >= lmtp->slot_count)
		return;
	struct lmtp_slot *slot = &lmtp->slots[id - lmtp->first_id];
	if (slot->reply)
		return;
	slot->reply = reply_of(lmtp, answer, text);
	slot->is_accepted = answer == LMTP_OK;
	say_replies(lmtp);
	run(lmtp);
}

void lmtp_timeout(struct lmtp *lmtp)
{
	lmtp_end(lmtp, "421 4.4.2 Nothing came for too long");
}

void lmtp_shutdown(struct lmtp *lmtp)
{
	lmtp->is_leaving = true;
	run(lmtp);
}

struct lmtp *lmtp_new(const struct lmtp_options *options, const struct lmtp_ops *ops, void *ctx)
{
	struct lmtp *lmtp = mem_new(struct lmtp);

	lmtp->host = str_dup(options->host);
	lmtp->size_max = options->size_max;
	lmtp->room = options->room;
	lmtp->ops = ops;
	lmtp->ctx = ctx;
	lmtp->in = BUF_INIT(INPUT_MAX);
	lmtp->mail = BUF_INIT(options->size_max);
	lmtp->slots = mem_array(struct lmtp_slot, LMTP_RECIPIENTS_MAX);
	lmtp->first_id = 1;
	buf_format(&lmtp->out, "220 %s LMTP Hedgerow\r\n", lmtp->host);
	return lmtp;
}

void lmtp_free(struct lmtp *lmtp)
{
	if (!lmtp)
		return;
	clear_slots(lmtp);
	free(lmtp->slots);
	free(lmtp->recipients);
	free(lmtp->sender);
	free(lmtp->client);
	free(lmtp->host);
	buf_free(&lmtp->in);
	buf_free(&lmtp->out);
	drop_mail(lmtp);
	free(lmtp);
}

struct buf *lmtp_output(struct lmtp *lmtp)
{
	return &lmtp->out;
}

bool lmtp_wants_input(const struct lmtp *lmtp)
{
	return lmtp->state != LMTP_ENDED && lmtp->in.len < INPUT_ENOUGH;
}

bool lmtp_is_ended(const struct lmtp *lmtp)
{
	return lmtp->state == LMTP_ENDED;
}
