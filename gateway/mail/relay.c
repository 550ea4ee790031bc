/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/relay.h"

#include "base/log.h"
#include "base/map.h"
#include "base/secret.h"
#include "federation/address.h"
#include "federation/email.h"
#include "gateway/mail/letter.h"

enum {
	RETRY_MIN_MS = 60 * 1000,
	RETRY_MAX_MS = 3600 * 1000,
	PAUSE_MIN_MS = 1000,
	PAUSE_MAX_MS = 60 * 1000,
	CAPPED_MS = 15 * 60 * 1000, /* a conversation past its hourly bound waits so long */
	HELD_MAX = 10000,	    /* recipients known to be deferred */
};

struct metric mail_metrics[MAIL_METRICS] = {
	[MAIL_SENT] = { "mail_sent_total", "Mails that smarthosts took", 0, false },
	[MAIL_MESSAGES_OUT] = { "mail_messages_out_total", "Messages in them", 0, false },
	[MAIL_DEFERRED] = { "mail_deferred_total", "Mails deferred by a 4xx or an hourly bound", 0,
			    false },
	[MAIL_REFUSED] = { "mail_refused_total", "Mails that smarthosts refused for good", 0,
			   false },
	[MAIL_SUPPRESSED] = { "mail_suppressed_total",
			      "Messages not mailed: nothing to say, or not wanted", 0, false },
	[MAIL_AWAY] = { "mail_away_total", "Attempts that reached no smarthost", 0, false },
	[MAIL_RECEIVED] = { "mail_received_total", "Mails that became chat, by recipient", 0,
			    false },
	[MAIL_RECEIVED_REFUSED] = { "mail_received_refused_total",
				    "Recipients and mails refused by LMTP", 0, false },
	[MAIL_RECEIVED_DROPPED] = { "mail_received_dropped_total",
				    "Automatic mails taken and not answered", 0, false },
	[MAIL_REPORTS] = { "mail_reports_total", "Delivery reports that became errors", 0, false },
	[MAIL_SESSIONS] = { "mail_sessions", "LMTP connections that are open", 0, true },
};

struct relay {
	struct edge edge; /* the first: see gateway/edge.h */
	struct loop *loop;
	struct relay_options options;
	uint64_t serial;
	char *domain;
	struct journal_target *target;
	struct slots slots;
	size_t flying;
	struct timer *timer;
	msec pause; /* length of the last one; 0 after a mail was taken */
	msec pause_until;
	char *trouble;	  /* owned: why it pauses; NULL: it doesn't */
	struct map *held; /* recipient -> struct held */
	bool is_draining;
};

/* A recipient to whom something is deferred: what follows is deferred with it. */
struct held {
	usec not_before;
};

static void pump(void *arg);

static struct relay *self_of(struct edge *edge)
{
	return (struct relay *)edge;
}

static const struct relay *const_self_of(const struct edge *edge)
{
	return (const struct relay *)edge;
}

static void pump_later(struct relay *self)
{
	loop_later(self->loop, pump, self);
}

/* --- waiting -------------------------------------------------------------------------------- */

/* No mail can be sent now, whichever it is. */
static void pause_for(struct relay *self, const char *why)
{
	if (!self->trouble)
		log_warn("mail.away", LOG_STR("domain", self->domain), LOG_STR("error", why));
	free(self->trouble);
	self->trouble = str_dup(why);
	metric_add(&mail_metrics[MAIL_AWAY], 1);
	self->pause = msec_clamp(2 * self->pause, PAUSE_MIN_MS, PAUSE_MAX_MS);
	self->pause_until = loop_now(self->loop) + msec_jitter(self->pause);
	timer_set(self->timer, self->pause_until);
}

static void works(struct relay *self)
{
	if (self->trouble)
		log_info("mail.back", LOG_STR("domain", self->domain));
	free(give(self->trouble));
	self->pause = self->pause_until = 0;
}

static void held_clear(struct relay *self)
{
	struct slice recipient;
	void *held;

	for (size_t at = 0; map_next(self->held, &at, &recipient, &held);)
		free(held);
	map_free(self->held);
	self->held = map_new();
}

static void hold(struct relay *self, struct slice recipient, usec not_before)
{
	struct held *held = map_get(self->held, recipient);

	if (!held) {
		if (map_count(self->held) >= HELD_MAX)
			held_clear(self);
		held = mem_new(struct held);
		map_put(self->held, recipient, held);
	}
	held->not_before = not_before;
}

/* Until when what is for this recipient waits behind what is deferred; 0: it doesn't. */
static usec held_until(struct relay *self, struct slice recipient)
{
	struct held *held = map_get(self->held, recipient);

	if (!held)
		return 0;
	if (held->not_before > time_usec())
		return held->not_before;
	free(map_remove(self->held, recipient));
	return 0;
}

/* The older a message, the longer until the next attempt. */
static usec retry_at(const struct relay *self, const struct slot *slot)
{
	msec low = self->options.retry_min ? self->options.retry_min : RETRY_MIN_MS;
	msec high = self->options.retry_max ? self->options.retry_max : RETRY_MAX_MS;
	usec now = time_usec();
	msec age = (now - slot->messages[0]->f.received) / 1000;

	return now + 1000 * msec_jitter(msec_clamp(age, low, high));
}

/* --- the end of a slot ---------------------------------------------------------------------- */

static void defer(struct relay *self, struct slot *slot, usec not_before, const char *why)
{
	metric_add(&mail_metrics[MAIL_DEFERRED], 1);
	log_info("mail.deferred", LOG_SLICE("from", slot_sender(slot)),
		 LOG_SLICE("to", slot_recipient(slot)), LOG_STR("error", why),
		 LOG_INT("seconds", (not_before - time_usec()) / 1000000));
	hold(self, slot_recipient(slot), not_before);
	slot_defer(slot, not_before);
}

static void suppress(struct slot *slot, const char *why)
{
	metric_add(&mail_metrics[MAIL_SUPPRESSED], (int64_t)slot->count);
	log_debug("mail.suppressed", LOG_SLICE("from", slot_sender(slot)),
		  LOG_SLICE("to", slot_recipient(slot)), LOG_STR("why", why));
	slot_taken(slot);
}

/* A message that somebody else is to know of; a copy for who is away goes in silence. */
static void bounce(struct slot *slot, enum bounce how, const char *why)
{
	if (slot->is_away)
		suppress(slot, why);
	else
		slot_bounce(slot, how, why);
}

/* The journal moves past a slot that is done. HR_RETRY: not now. */
static enum hr_status settle_first(struct relay *self)
{
	struct slot *slot = self->slots.first;
	const struct dispatch *dispatch = self->options.dispatch;
	const struct queue *queue = journal_queue(self->target);

	for (size_t i = 0; i < slot->count && slot->end != SLOT_TAKEN; i++) {
		int64_t seq = slot->first + (int64_t)i;
		struct envelope *envelope = slot->messages[i];

		if (seq <= queue_acked(queue))
			continue;
		if (slot->end == SLOT_DEFER)
			journal_put(dispatch->journal,
				    &(struct journal_entry){
					    .envelope = envelope,
					    .skip = self->target,
					    .skip_seq = seq,
					    .later = { .target = self->target,
						       .not_before = slot->not_before },
				    });
		else if (dispatch_give_up(dispatch, self->target, seq, envelope,
					  dispatch_bounce(slot->bounce, slot->reason)) != HR_OK)
			return HR_RETRY;
	}
	if (slot->end == SLOT_TAKEN)
		journal_ack(self->target, slot->last);
	slots_drop_first(&self->slots);
	return HR_OK;
}

static void settle(struct relay *self)
{
	while (self->slots.first && self->slots.first->state == SLOT_DONE &&
	       journal_is_flowing(self->options.dispatch->journal) && settle_first(self) == HR_OK)
		;
}

/* --- the smarthost's answer ----------------------------------------------------------------- */

static void log_sent(const struct slot *slot, const char *text)
{
	metric_add(&mail_metrics[MAIL_SENT], 1);
	metric_add(&mail_metrics[MAIL_MESSAGES_OUT], (int64_t)slot->count);
	log_info("mail.sent", LOG_SLICE("from", slot_sender(slot)),
		 LOG_SLICE("to", slot_recipient(slot)), LOG_INT("messages", slot->count),
		 LOG_STR("answer", text));
}

static void answered(void *arg, enum submit_result result, const char *text)
{
	struct slot *slot = arg;
	struct relay *self = slot->owner;

	self->flying--;
	slot->submission = NULL;
	switch (result) {
	case SUBMIT_TAKEN:
		works(self);
		log_sent(slot, text);
		slot_taken(slot);
		break;
	case SUBMIT_DEFERRED:
		works(self);
		defer(self, slot, retry_at(self, slot), text);
		break;
	case SUBMIT_REFUSED:
		works(self);
		metric_add(&mail_metrics[MAIL_REFUSED], 1);
		log_info("mail.refused", LOG_SLICE("from", slot_sender(slot)),
			 LOG_SLICE("to", slot_recipient(slot)), LOG_STR("error", text));
		bounce(slot, BOUNCE_RECIPIENT_UNAVAILABLE, text);
		break;
	case SUBMIT_AWAY:
	case SUBMIT_UNSURE: /* it goes again: SMTP knows no other way */
		slot->state = SLOT_WAITS;
		slot->is_digest_closed = true; /* the same mail under the same Message-ID */
		pause_for(self, text);
		break;
	}
	pump_later(self);
}

/* --- the conversation is known: the mail can be written -------------------------------------- */

static const struct config_mail *settings(const struct relay *self)
{
	const struct dispatch *dispatch = self->options.dispatch;

	return config_find_mail(registry_config(dispatch->registry), dispatch->site,
				slice_str(self->domain));
}

static enum config_mail_mode chosen_mode(const struct config_mail *mail, struct slice choice)
{
	enum config_mail_mode mine = slice_is(choice, "off")	  ? MAIL_OFF
				     : slice_is(choice, "notice") ? MAIL_NOTICE
								  : MAIL_FULL;

	return mine < mail->mode ? mine : mail->mode;
}

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
	scoped_secret key = NULL;
	scoped_secret password = NULL;
	const struct config_mail *mail = letter->mail;
	scoped_buf bytes = BUF_INIT(0);
	scoped_buf from = BUF_INIT(0);
	scoped_buf to = BUF_INIT(0);
	scoped_str ca = mail->ca ? str_format("%s/%s", self->options.secrets, mail->ca) : NULL;

	if (secret_read(self->options.secrets, mail->reply_key, &key, err) != HR_OK ||
	    (mail->secret &&
	     secret_read(self->options.secrets, mail->secret, &password, err) != HR_OK))
		return err->status = HR_RETRY; /* an operator's matter */
	struct reply_keys keys = { .current = slice_str(key) };
	letter->keys = &keys;
	if (letter_reply_to(letter, &from, err) != HR_OK) {
		err->status = HR_RETRY; /* the key is too short */
		return err_add(err, "secret %s", mail->reply_key);
	}
	if (letter_write(letter, &bytes, err) != HR_OK)
		return err->status;
	email_of_address(slice_str(letter->to->address), &to);
	static const int tls[] = { [CONFIG_TLS_NONE] = SUBMIT_PLAIN,
				   [CONFIG_TLS_STARTTLS] = SUBMIT_STARTTLS,
				   [CONFIG_TLS_ALWAYS] = SUBMIT_TLS };
	fly(self, slot,
	    &(struct submit_job){
		    .host = mail->host,
		    .port = (uint16_t)mail->port,
		    .tls = (__typeof__(((struct submit_job *)0)->tls))tls[mail->tls],
		    .ca_file = ca,
		    .username = mail->username,
		    .password = password,
		    .helo = mail->chat_domain,
		    .from = buf_text(&from),
		    .to = buf_text(&to),
		    .mail = buf_slice(&bytes),
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
	const struct config_mail *mail = settings(self);
	struct dispatch_people people;
	struct hr_err err;

	slot->state = SLOT_WAITS;
	slot->is_digest_closed = true;
	if (!mail || find_people(self, slot, &people) != HR_OK || !people.to)
		return; /* looked at again by the next pump */
	enum config_mail_mode mode = chosen_mode(mail, known->choice);
	if (mode == MAIL_OFF) {
		bounce(slot, BOUNCE_RECIPIENT_UNAVAILABLE, "this person does not want mail");
		return;
	}
	if (known->recent >= mail->hourly) {
		defer(self, slot, time_usec() + INT64_C(1000) * CAPPED_MS,
		      "too many mails of this conversation in an hour");
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
		pause_for(self, err.text);
	else if (status != HR_OK)
		bounce(slot, BOUNCE_BAD_REQUEST, err.text);
}

/* --- asking for the conversation ---------------------------------------------------------------
 */

/* Which slot of which relay asked: either may be gone when the answer comes. */
struct asking {
	const struct dispatch *dispatch;
	uint64_t serial;
	int64_t first;
};

static struct slot *find_asking(const struct asking *asking);

static void known(void *arg, enum hr_status status, const struct mail_send_answer *answer,
		  const struct hr_err *err)
{
	struct slot *slot = find_asking(arg);
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
		pause_for(self, err->text);
	}
	pump_later(self);
}

static void ask(struct relay *self, struct slot *slot, const struct letter_words *words,
		const struct config_mail *mail, const struct person *to)
{
	const struct dispatch *dispatch = self->options.dispatch;
	const struct envelope_fields *f = &slot->messages[0]->f;
	scoped_str message_id = letter_message_id(slot, mail->chat_domain);
	struct asking asking = { dispatch, self->serial, slot->first };

	slot->state = SLOT_ASKS;
	mail_send(dispatch->pg,
		  &(struct mail_send){
			  .domain = slice_str(self->domain),
			  .person = slice_str(to->address),
			  .peer = slot_sender(slot),
			  .message_id = slice_str(message_id),
			  .stanza_id = f->stanza_id,
			  .sender = f->from,
			  .thread = slice_str(words->thread),
			  .subject = slice_str(words->subject),
		  },
		  known, &asking, sizeof asking);
}

/* Whether the person has chat, where the message is too. */
static bool has_chat(const struct person *person)
{
	return !person->outsider && person->installation && person->native;
}

static void start(struct relay *self, struct slot *slot, const struct config_mail *mail)
{
	const struct envelope_fields *f = &slot->messages[0]->f;
	struct dispatch_people people;
	struct letter_words words;
	usec held;

	if (find_people(self, slot, &people) != HR_OK)
		return;
	slot->is_away = people.to && has_chat(people.to);
	if (!people.to || !people.to->enabled) {
		bounce(slot, BOUNCE_ITEM_NOT_FOUND, "nobody has this address");
		return;
	}
	if (f->expires && f->expires < time_usec()) {
		bounce(slot, BOUNCE_REMOTE_TIMEOUT, "the mail could not be sent in time");
		return;
	}
	letter_words_read(slot, &words);
	held = held_until(self, slot_recipient(slot));
	if (words.count == 0)
		suppress(slot, "it says nothing for a mail");
	else if (held)
		slot_defer(slot, held);
	else if (pg_is_up(self->options.dispatch->pg))
		ask(self, slot, &words, mail, people.to);
	letter_words_clear(&words);
}

/* --- the queue ---------------------------------------------------------------------------------
 */

static void fetch(struct relay *self, struct queue *queue)
{
	struct envelope *envelope;
	int64_t seq;

	while ((envelope = queue_peek(queue, &seq)) && slots_add(&self->slots, seq, envelope, self))
		queue_take(queue);
}

static void pump(void *arg)
{
	struct relay *self = arg;
	struct queue *queue = journal_queue(self->target);
	const struct config_mail *mail = settings(self);

	if (!queue || !mail)
		return;
	settle(self);
	if (!self->is_draining)
		fetch(self, queue);
	for (struct slot *slot = self->slots.first; slot; slot = slot->next) {
		if (self->is_draining || self->flying >= SUBMIT_AT_ONCE ||
		    loop_now(self->loop) < self->pause_until)
			break;
		if (slot->state == SLOT_WAITS && !slots_is_blocked(&self->slots, slot))
			start(self, slot, mail);
	}
	if (self->slots.first && self->slots.first->state == SLOT_DONE) {
		settle(self);
		if (!self->slots.first)
			pump_later(self); /* there may be more */
	}
}

/* --- the edge ----------------------------------------------------------------------------------
 */

static enum hr_status direct(struct edge *edge, struct envelope *envelope, const struct person *to,
			     struct hr_err *err)
{
	(void)edge, (void)envelope, (void)to;
	return err_set(err, HR_FAIL, "mail carries messages only");
}

static void flow(struct edge *edge, bool yes)
{
	(void)edge, (void)yes; /* it brings nothing */
}

static void arrived(struct edge *edge)
{
	pump_later(self_of(edge));
}

static void configure(struct edge *edge, const struct config *config)
{
	struct relay *self = self_of(edge);

	(void)config;	       /* looked up when it is needed */
	self->pause_until = 0; /* what was wrong may be right now */
	pump_later(self);
}

static void drain(struct edge *edge)
{
	self_of(edge)->is_draining = true;
}

static bool is_idle(const struct edge *edge)
{
	const struct relay *self = const_self_of(edge);

	return self->flying == 0;
}

static size_t status(const struct edge *edge, struct status_row *rows, size_t max)
{
	const struct relay *self = const_self_of(edge);

	if (max == 0)
		return 0;
	rows[0] = (struct status_row){
		.kind = "mail",
		.name = self->domain,
		.state = self->trouble ? "away" : "up",
		.detail = self->trouble,
	};
	return 1;
}

/* What is being sent is cut off: whoever serves the domain next begins after the last commit. */
static void relay_free(struct edge *edge)
{
	struct relay *self = self_of(edge);

	for (struct slot *slot = self->slots.first; slot; slot = slot->next)
		submit_cancel(slot->submission);
	journal_release(self->target);
	slots_clear(&self->slots);
	loop_cancel(self->loop, pump, self);
	timer_free(self->timer);
	held_clear(self);
	map_free(self->held);
	free(self->trouble);
	free(self->domain);
	free(self);
}

static const struct edge_ops ops = {
	.direct = direct,
	.flow = flow,
	.arrived = arrived,
	.configure = configure,
	.drain = drain,
	.is_idle = is_idle,
	.status = status,
	.free = relay_free,
};

static struct slot *find_asking(const struct asking *asking)
{
	struct slice name;
	void *value;

	for (size_t at = 0; map_next(asking->dispatch->edges, &at, &name, &value);) {
		struct relay *self = value;

		if (self->edge.ops != &ops || self->serial != asking->serial)
			continue;
		for (struct slot *slot = self->slots.first; slot; slot = slot->next)
			if (slot->first == asking->first && slot->state == SLOT_ASKS)
				return slot;
	}
	return NULL;
}

struct edge *relay_new(struct loop *loop, const struct relay_options *options, const char *domain)
{
	static uint64_t last_serial;
	struct relay *self = mem_new(struct relay);
	scoped_str queue = str_format("mail:%s", domain);

	self->edge.ops = &ops;
	self->loop = loop;
	self->options = *options;
	self->serial = ++last_serial;
	self->domain = str_dup(domain);
	self->held = map_new();
	self->timer = timer_new(loop, pump, self);
	self->target = journal_target(options->dispatch->journal, queue);
	journal_consume(self->target, pump, self);
	return &self->edge;
}
