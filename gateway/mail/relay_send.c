/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "federation/address.h"
#include "gateway/mail/draft.h"
#include "gateway/mail/metric.h"
#include "gateway/mail/relay_private.h"

enum {
	RETRY_MIN_MS = 60 * 1000,
	RETRY_MAX_MS = 3600 * 1000,
	CAPPED_MS = 15 * 60 * 1000, /* a conversation past its hourly bound waits so long */
};

/* --- the smarthost's answer ----------------------------------------------------------------- */

/* The older a message, the longer until the next attempt. */
static usec retry_at(const struct relay *self, const struct slot *slot)
{
	msec low = self->options.retry_min ? self->options.retry_min : RETRY_MIN_MS;
	msec high = self->options.retry_max ? self->options.retry_max : RETRY_MAX_MS;
	usec now = time_usec();
	msec age = (now - slot->messages[0]->f.received) / 1000;

	return now + 1000 * msec_jitter(msec_clamp(age, low, high));
}

static void log_sent(const struct slot *slot, const char *text)
{
	metric_add(&mail_metrics[MAIL_SENT], 1);
	metric_add(&mail_metrics[MAIL_MESSAGES_OUT], (int64_t)slot->count);
	log_info("mail.sent", LOG_SLICE("from", slot_sender(slot)),
		 LOG_SLICE("to", slot_recipient(slot)), LOG_INT("messages", slot->count),
		 LOG_STR("answer", text));
}

/* Those before it may be under way for long, and the queue moves in order: a crash until then must
 * not send it again. */
static void note_taken(const struct relay *self, const struct slot *slot)
{
	const struct config_mail *mail = relay_settings(self);

	if (!mail)
		return;
	scoped_str message_id = letter_message_id(slot, mail->chat_domain);

	mail_taken(self->options.dispatch->pg, slot->thread, slice_str(message_id),
		   (int32_t)slot->count);
}

/* Nothing for that recipient is taken now. */
static void put_off(const struct relay *self, struct slot *slot, const char *why)
{
	slot->holds_all = true;
	relay_defer(slot, retry_at(self, slot), why);
}

/* SMTP knows no other way. */
static void send_again(struct relay *self, struct slot *slot, const char *why)
{
	slot->state = SLOT_WAITS;
	slot->is_digest_closed = true; /* the same mail under the same Message-ID */
	relay_pause(self, why);
}

static void answered(void *arg, enum smtp_result result, const char *text)
{
	struct slot *slot = arg;
	struct relay *self = slot->owner;

	self->flying--;
	slot->submission = NULL;
	switch (result) {
	case SMTP_TAKEN:
		relay_works(self);
		log_sent(slot, text);
		note_taken(self, slot);
		slot_taken(slot);
		break;
	case SMTP_DEFERRED:
		relay_works(self);
		put_off(self, slot, text);
		break;
	case SMTP_REFUSED:
		relay_works(self);
		metric_add(&mail_metrics[MAIL_REFUSED], 1);
		log_info("mail.refused", LOG_SLICE("from", slot_sender(slot)),
			 LOG_SLICE("to", slot_recipient(slot)), LOG_STR("error", text));
		relay_bounce(slot, BOUNCE_RECIPIENT_UNAVAILABLE, text);
		break;
	case SMTP_AWAY:
		send_again(self, slot, text);
		break;
	case SMTP_CUT: /* once is chance, twice is the mail */
		send_again(self, slot, text);
		if (slot->was_cut)
			put_off(self, slot, text);
		slot->was_cut = true;
		break;
	}
	relay_look(self);
}

/* --- the conversation is known: the mail can be written -------------------------------------- */

static void fly(struct relay *self, struct slot *slot, const struct submit_job *job)
{
	slot->state = SLOT_FLIES;
	self->flying++;
	slot->submission = submit_send(self->options.submit, job, answered, slot);
}

/* HR_RETRY: not now (a secret is missing). HR_FAIL: it can't be said in a mail. */
static enum hr_status send_letter(struct relay *self, struct slot *slot, struct letter *letter,
				  struct hr_err *err)
{
	scoped_draft draft = { 0 };
	const struct config_mail *mail = letter->mail;
	scoped_str ca = mail->ca ? str_format("%s/%s", self->options.secrets, mail->ca) : NULL;

	if (draft_write(letter, self->options.secrets, &draft, err) != HR_OK)
		return err->status;
	static const enum submit_tls tls[] = { [CONFIG_TLS_NONE] = SUBMIT_PLAIN,
					       [CONFIG_TLS_STARTTLS] = SUBMIT_STARTTLS,
					       [CONFIG_TLS_ALWAYS] = SUBMIT_TLS };
	fly(self, slot,
	    &(struct submit_job){
		    .way = { .host = mail->host,
			     .port = (uint16_t)mail->port,
			     .tls = tls[mail->tls],
			     .ca_file = ca,
			     .username = mail->username,
			     .password = draft.password,
			     .helo = mail->chat_domain },
		    .mail = { .from = buf_text(&draft.from),
			      .to = buf_text(&draft.to),
			      .bytes = buf_slice(&draft.bytes),
			      .is_utf8 = draft.is_utf8 },
	    });
	return HR_OK;
}

/* Who is at both ends of a slot. HR_RETRY: being asked for. */
static enum hr_status find_people(struct relay *self, const struct slot *slot,
				  struct dispatch_people *out)
{
	return dispatch_find(self->options.dispatch, slot->messages[0], out);
}

static void write_letter(struct relay *self, struct slot *slot, const struct letter_words *words,
			 const struct mail_send_answer *known)
{
	const struct config_mail *mail = relay_settings(self);
	struct dispatch_people people;
	struct hr_err err;

	slot->state = SLOT_WAITS;
	slot->is_digest_closed = true;
	if (!mail || self->is_draining || find_people(self, slot, &people) != HR_OK || !people.to)
		return; /* looked at again by the next pump */
	slot->thread = known->thread;
	if (known->taken > 0) { /* before a crash; the queue did not know yet */
		if ((size_t)known->taken < slot->count)
			slots_split(&self->slots, slot, (size_t)known->taken);
		relay_suppress(slot, "it was sent before");
		return;
	}
	if (known->tried > 0 && (size_t)known->tried < slot->count) {
		slots_split(&self->slots, slot, (size_t)known->tried);
		return; /* it is asked for again, as what it was */
	}
	enum config_mail_mode mode = letter_mode(mail, known->choice);
	if (mode == MAIL_OFF) {
		relay_bounce(slot, BOUNCE_RECIPIENT_UNAVAILABLE, LETTER_UNWANTED);
		return;
	}
	if (known->held) {
		slot_defer(slot, known->held); /* with what was deferred before */
		return;
	}
	if (letter_is_capped(mail, known)) {
		relay_defer(slot, time_usec() + INT64_C(1000) * CAPPED_MS, LETTER_CAPPED);
		return;
	}
	struct letter letter = {
		.mail = mail,
		.site = self->options.dispatch->site,
		.slot = slot,
		.words = words,
		.from = people.from,
		.to = people.to,
		.known = known,
		.mode = mode,
		.now = time_usec(),
	};
	enum hr_status status = send_letter(self, slot, &letter, &err);
	if (status == HR_RETRY)
		relay_pause(self, err.text);
	else if (status != HR_OK)
		relay_bounce(slot, BOUNCE_BAD_REQUEST, err.text);
}

/* --- asking for the conversation ---------------------------------------------------------------
 */

static void known(void *arg, enum hr_status status, const struct mail_send_answer *answer,
		  const struct hr_err *err)
{
	struct slot *slot = relay_find(arg, SLOT_ASKS);
	struct letter_words words;

	if (!slot)
		return;
	struct relay *self = slot->owner;
	if (status == HR_OK) {
		letter_words_read(slot, &words);
		write_letter(self, slot, &words, answer);
		letter_words_clear(&words);
	} else {
		slot->state = SLOT_WAITS;
		relay_pause(self, err->text);
	}
	relay_look(self);
}

/* What a report that comes later is about. Nothing, where it is a copy or an error. */
static size_t list_said(const struct slot *slot, struct mail_said *out)
{
	size_t count = 0;

	for (size_t i = 0; i < slot->count && !slot_is_copy(slot); i++) {
		const struct envelope_fields *f = &slot->messages[i]->f;

		if (f->stanza_id.len > 0 && !envelope_is_error(slot->messages[i]))
			out[count++] = (struct mail_said){ f->stanza_id, f->from };
	}
	return count;
}

static void ask(struct relay *self, struct slot *slot, const struct letter_words *words,
		const struct config_mail *mail, const struct person *to)
{
	const struct dispatch *dispatch = self->options.dispatch;
	const struct envelope_fields *f = &slot->messages[0]->f;
	scoped_str message_id = letter_message_id(slot, mail->chat_domain);
	struct relay_asking asking = { dispatch, self->serial, slot->first };
	struct mail_said said[SLOT_MESSAGES_MAX] = { { .sender = f->from } };
	size_t count = list_said(slot, said);

	slot->state = SLOT_ASKS;
	mail_send(dispatch->pg,
		  &(struct mail_send){
			  .domain = slice_str(self->domain),
			  .person = slice_str(to->address),
			  .peer = slot_sender(slot),
			  .message_id = slice_str(message_id),
			  .stanza_id = said[0].stanza_id,
			  .recipient = slot_recipient(slot),
			  .envelope_id = f->id,
			  .sender = said[0].sender,
			  .more = said + 1,
			  .more_count = count ? count - 1 : 0,
			  .messages = (int32_t)slot->count,
			  .hourly = mail->hourly,
			  .thread = slice_str(words->thread),
			  .subject = slice_str(words->subject),
		  },
		  known, &asking, sizeof asking);
}

/* Whether the person got an installation of this site since it was queued. Behind another site's it
 * goes by mail: that site would see its own message come back. */
static bool has_chat(const struct relay *self, const struct slot *slot, const struct person *to)
{
	const struct dispatch *dispatch = self->options.dispatch;

	return !slot_is_copy(slot) && route_find(registry_routes(dispatch->registry), to,
						 address_text_domain(slot_recipient(slot)))
						      .kind == ROUTE_INSTALLATION;
}

/* A copy, or a notice, counts what one mail does not say; what is nowhere else goes in the next. */
static void limit(struct relay *self, struct slot *slot, struct letter_words *words,
		  const struct config_mail *mail)
{
	size_t next = 0;

	if (!slot_is_copy(slot) && mail->mode == MAIL_FULL)
		next = letter_words_fit(words, (size_t)mail->digest);
	if (next > 0)
		slots_split(&self->slots, slot, next);
}

static void start_mail(struct relay *self, struct slot *slot, const struct config_mail *mail,
		       const struct person *to)
{
	struct letter_words words;

	letter_words_read(slot, &words);
	if (words.count == 0) {
		relay_suppress(slot, LETTER_EMPTY);
	} else if (pg_is_up(self->options.dispatch->pg)) {
		limit(self, slot, &words, mail);
		ask(self, slot, &words, mail, to);
	}
	letter_words_clear(&words);
}

void relay_start(struct relay *self, struct slot *slot, const struct config_mail *mail)
{
	struct dispatch_people people;
	bool has_expired = slots_split_expired(&self->slots, slot, time_usec());

	if (find_people(self, slot, &people) != HR_OK)
		return;
	if (!people.to || !people.to->enabled) {
		relay_bounce(slot, BOUNCE_ITEM_NOT_FOUND, "nobody has this address");
	} else if (has_expired) {
		relay_bounce(slot, BOUNCE_REMOTE_TIMEOUT, "the mail could not be sent in time");
	} else if (has_chat(self, slot, people.to)) {
		if (slot->count > 1) /* each by itself: it may be for the mail again by then */
			slots_split(&self->slots, slot, 1);
		slot_move(slot);
	} else {
		start_mail(self, slot, mail, people.to);
	}
}
