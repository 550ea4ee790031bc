/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/letter.h"

#include "federation/address.h"
#include "federation/email.h"
#include "gateway/mail/compose.h"
#include "gateway/said.h"

static void add_text(struct letter_words *words, const struct slot *slot, size_t message,
		     char *text)
{
	words->texts[words->count++] =
		(struct letter_text){ text, slot->messages[message]->f.received, message };
}

void letter_words_read(const struct slot *slot, struct letter_words *out)
{
	*out = (struct letter_words){ 0 };
	for (size_t i = 0; i < slot->count; i++) {
		const struct envelope *envelope = slot->messages[i];
		scoped_said said = { 0 };

		said_read(envelope->f.payload, &said);
		if (!out->subject)
			out->subject = give(said.subject);
		if (!out->thread)
			out->thread = give(said.thread);
		/* An answer to what came by mail is an error; its writer is told in words. */
		if (envelope_is_error(envelope))
			out->is_error = true;
		if (!out->is_error && said.body && *said.body)
			add_text(out, slot, i, give(said.body));
		else if (out->is_error && said.error)
			add_text(out, slot, i, str_format("(not delivered: %s)", said.error));
	}
}

void letter_words_clear(struct letter_words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->texts[i].text);
	free(words->subject);
	free(words->thread);
	*words = (struct letter_words){ 0 };
}

size_t letter_words_fit(struct letter_words *words, size_t most)
{
	size_t next = words->count > most ? words->texts[most].message : 0;

	while (words->count > most)
		free(words->texts[--words->count].text);
	return next;
}

enum config_mail_mode letter_mode(const struct config_mail *mail, struct slice choice)
{
	enum config_mail_mode mine = slice_is(choice, "off")	  ? MAIL_OFF
				     : slice_is(choice, "notice") ? MAIL_NOTICE
								  : MAIL_FULL;

	return mine < mail->mode ? mine : mail->mode;
}

bool letter_is_capped(const struct config_mail *mail, const struct mail_send_answer *known)
{
	return known->recent >= mail->hourly;
}

char *letter_message_id(const struct slot *slot, const char *chat_domain)
{
	const struct slice id = slot->messages[0]->f.id;
	scoped_buf out = BUF_INIT(0);

	for (size_t i = 0; i < id.len; i++)
		buf_format(&out, "%02x", (unsigned char)id.data[i]);
	buf_format(&out, "@%s", chat_domain);
	return str_dup(buf_text(&out));
}

enum hr_status letter_reply_to(const struct letter *letter, struct buf *out, struct hr_err *err)
{
	const struct config_mail *mail = letter->mail;

	return reply_address_write(
		&(struct reply_address){ .thread = letter->known->thread,
					 .expires = letter->now + 1000 * mail->reply_life_ms },
		letter->keys, mail->chat_domain, out, err);
}

static char *text_of(struct slice text)
{
	return text.data ? mem_dup(text.data, text.len) : NULL;
}

/* Everything that has to be text with a NUL for compose_mail. */
struct copies {
	char *subject, *message_id;
	char *earlier[MAIL_EARLIER_MAX];
	size_t earlier_count;
	char *trace[ENVELOPE_HOPS_MAX + 1];
	size_t trace_count;
	struct compose_text texts[SLOT_MESSAGES_MAX];
};

static void copies_clear(struct copies *copies)
{
	free(copies->subject);
	free(copies->message_id);
	for (size_t i = 0; i < countof(copies->earlier); i++)
		free(copies->earlier[i]);
	for (size_t i = 0; i < copies->trace_count; i++)
		free(copies->trace[i]);
}

/* The sites that the messages have passed, ours last. */
static void copy_trace(const struct letter *letter, struct copies *copies)
{
	const struct envelope_fields *f = &letter->slot->messages[letter->slot->count - 1]->f;

	for (size_t i = 0; i < f->hop_count; i++)
		copies->trace[copies->trace_count++] = text_of(f->hops[i]);
	copies->trace[copies->trace_count++] = str_dup(letter->site);
}

/* Those that came may be what a header of ours cannot say: the others will do. */
static void copy_earlier(const struct mail_send_answer *known, struct copies *copies)
{
	for (size_t i = 0; i < known->earlier_count; i++) {
		scoped_str id = text_of(known->earlier[i]);

		if (id && compose_can_name(id))
			copies->earlier[copies->earlier_count++] = give(id);
	}
}

static void copy_all(const struct letter *letter, struct copies *copies)
{
	const struct mail_send_answer *known = letter->known;
	const struct letter_words *words = letter->words;

	copies->subject = text_of(known->subject);
	copies->message_id = letter_message_id(letter->slot, letter->mail->chat_domain);
	copy_earlier(known, copies);
	copy_trace(letter, copies);
	for (size_t i = 0; i < words->count; i++)
		copies->texts[i] = (struct compose_text){ slice_str(words->texts[i].text),
							  words->texts[i].sent };
}

/* How many of the texts. What is nowhere else is all shown: see letter_words_fit. */
static size_t shown_of(const struct letter *letter)
{
	size_t count = letter->words->count, digest = (size_t)letter->mail->digest;

	if (letter->mode == MAIL_NOTICE)
		return 0;
	return slot_is_copy(letter->slot) && count > digest ? digest : count;
}

enum hr_status letter_write(const struct letter *letter, struct buf *out, bool *needs_utf8,
			    struct hr_err *err)
{
	__attribute__((cleanup(copies_clear))) struct copies copies = { 0 };
	const struct config_mail *mail = letter->mail;
	const struct letter_words *words = letter->words;
	scoped_buf reply_to = BUF_INIT(0);
	scoped_buf to = BUF_INIT(0);
	scoped_buf person = BUF_INIT(0);
	size_t shown = shown_of(letter);

	if (letter_reply_to(letter, &reply_to, err) != HR_OK)
		return err_add(err, "the reply address");
	copy_all(letter, &copies);
	size_t earlier = copies.earlier_count;
	email_of_address(slice_str(letter->to->address), &to);
	email_of_address(slot_sender(letter->slot), &person);
	return compose_mail(
		&(struct compose){
			.from_name = letter->from ? letter->from->name : NULL,
			.from = mail->from,
			.person = buf_text(&person),
			.to_name = letter->to->name,
			.to = buf_text(&to),
			.reply_to = buf_text(&reply_to),
			.subject = copies.subject,
			.message_id = copies.message_id,
			.in_reply_to = earlier ? copies.earlier[earlier - 1] : NULL,
			.references = (const char *const *)copies.earlier,
			.reference_count = earlier,
			.date = words->texts[words->count - 1].sent,
			.is_automatic = shown == 0 || words->count > 1 ||
					slot_is_copy(letter->slot) || words->is_error,
			.trace = (const char *const *)copies.trace,
			.trace_count = copies.trace_count,
			.languages = (const char *const *)mail->languages,
			.language_count = (size_t)({
				size_t n = 0;
				while (mail->languages[n])
					n++;
				n;
			}),
			.texts = copies.texts,
			.text_count = shown,
			.more = words->count - shown,
		},
		out, needs_utf8, err);
}
