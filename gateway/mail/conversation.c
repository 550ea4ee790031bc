/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "federation/address.h"
#include "gateway/mail/delivery_private.h"
#include "schema/mail.h"

struct asking {
	const struct dispatch *dispatch;
	uint64_t serial;
};

/* NULL: it has ended. */
static struct delivery *find_asking(const struct asking *asking, enum delivery_state state)
{
	struct delivery *delivery = delivery_find(asking->dispatch, asking->serial);

	return delivery && delivery->state == state ? delivery : NULL;
}

static void have_conversation(void *arg, enum hr_status status,
			      const struct mail_conversation_answer *answer,
			      const struct hr_err *err)
{
	static const struct mail_conversation_answer none;
	struct delivery *delivery = find_asking(arg, DELIVERY_ASKS);
	const struct config_mail *mail = delivery ? delivery_settings(delivery) : NULL;

	if (!delivery)
		return;
	if (status == HR_NONE) {
		answer = &none;
	} else if (status != HR_OK) {
		delivery_end(delivery, LMTP_LATER, err->text);
		return;
	}
	if (!mail || answer->recent >= mail->hourly) {
		delivery_end(delivery, mail ? LMTP_TOO_MANY : LMTP_LATER,
			     mail ? "too many mails of this conversation in an hour" : NULL);
		return;
	}
	incoming_payload(delivery->incoming, answer->thread,
			 !delivery->addressee.thread && answer->recent == 0, &delivery->payload);
	delivery_bring(delivery);
}

static void add_failed(struct delivery *delivery, const struct mail_said *said)
{
	struct failed *one = mem_new(struct failed);

	one->to = mem_dup(said->sender.data, said->sender.len);
	one->stanza_id = mem_dup(said->stanza_id.data, said->stanza_id.len);
	one->next = delivery->more;
	delivery->more = one;
}

/* What a report is about: an error for whoever wrote the message, if there is one. */
static void reported(void *arg, enum hr_status status, const struct mail_report_answer *answer,
		     const struct hr_err *err)
{
	struct delivery *delivery = find_asking(arg, DELIVERY_ASKS);

	if (!delivery)
		return;
	if (status == HR_NONE) {
		delivery_drop(delivery,
			      "the report is about no message whose sender is to be told");
		return;
	}
	if (status != HR_OK) {
		delivery_end(delivery, LMTP_LATER, err->text);
		return;
	}
	switch (answer->standing) {
	case MAIL_REPORT_TOLD:
		delivery_drop(delivery, "an earlier report has told of this message");
		return;
	case MAIL_REPORT_BUSY:
		delivery_end(delivery, LMTP_LATER, "another report of this message is being taken");
		return;
	case MAIL_REPORT_CAPPED:
		delivery_end(delivery, LMTP_TOO_MANY,
			     "too many reports of this conversation in an hour");
		return;
	case MAIL_REPORT_NEW:
		break;
	}
	delivery->from = mem_dup(answer->person.data, answer->person.len);
	delivery->to = mem_dup(answer->sender.data, answer->sender.len);
	delivery->stanza_id = mem_dup(answer->stanza_id.data, answer->stanza_id.len);
	for (size_t i = answer->more_count; i > 0; i--)
		add_failed(delivery, &answer->more[i - 1]);
	delivery_bring(delivery);
}

void conversation_ask_report(struct delivery *delivery, const struct config_mail *mail)
{
	const struct dispatch *dispatch = delivery->deliveries->options.dispatch;
	struct asking asking = { dispatch, delivery->serial };
	const struct dsn *report = delivery->incoming->report;

	if (!report || !report->message_id || !delivery->addressee.thread ||
	    !incoming_failure(delivery->incoming, &delivery->payload)) {
		delivery_drop(delivery, "the report names no failure of a mail of ours");
		return;
	}
	if (delivery_follows(delivery))
		return;
	delivery->state = DELIVERY_ASKS;
	mail_report(dispatch->pg, delivery->addressee.thread, slice_str(report->message_id),
		    mail->hourly, reported, &asking, sizeof asking);
}

/* An answer from the chat is mailed by the carrier of the author's domain, and looks for it there.
 */
static struct slice conversation_domain(const struct delivery *delivery)
{
	const struct dispatch *dispatch = delivery->deliveries->options.dispatch;
	struct slice domain = address_text_domain(slice_str(delivery->from));
	const struct config_mail *mail =
		config_find_mail(registry_config(dispatch->registry), dispatch->site, domain);

	return mail && strcmp(mail->carrier, dispatch->site) == 0
		       ? domain
		       : slice_str(delivery->addressee.domain);
}

/* Once a mail: its first recipient's domain that keeps them has it for all. */
static void keep_original(struct delivery *delivery)
{
	struct incoming *incoming = delivery->incoming;
	const struct config_mail *mail = delivery_settings(delivery);

	if (!mail || !mail->keeps_originals || !incoming->original)
		return;
	mail_keep(delivery->deliveries->options.dispatch->pg, slice_str(mail->domain),
		  slice_str(incoming->message_id),
		  (struct slice){ incoming->original, incoming->original_len });
	incoming_kept(incoming);
}

static struct mail_receive mail_of(const struct delivery *delivery)
{
	return (struct mail_receive){
		.domain = conversation_domain(delivery),
		.person = slice_str(delivery->from),
		.peer = slice_str(delivery->addressee.peer),
		.message_id = slice_str(delivery->incoming->message_id),
		.subject = slice_str(delivery->incoming->said.subject),
	};
}

void conversation_ask(struct delivery *delivery)
{
	const struct dispatch *dispatch = delivery->deliveries->options.dispatch;
	struct asking asking = { dispatch, delivery->serial };
	struct mail_receive mail = mail_of(delivery);

	if (delivery_follows(delivery))
		return;
	delivery->state = DELIVERY_ASKS;
	mail_conversation(dispatch->pg, &mail, have_conversation, &asking, sizeof asking);
}

static void noted(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct delivery *delivery = find_asking(arg, DELIVERY_NOTES);

	if (!delivery)
		return;
	if (status != HR_OK) /* the chat has it: to be brought again is worse */
		log_error("mail.not_noted", LOG_STR("message_id", delivery->incoming->message_id),
			  LOG_ERR(err));
	delivery_end(delivery, LMTP_OK, NULL);
}

void conversation_note(struct delivery *delivery)
{
	const struct dispatch *dispatch = delivery->deliveries->options.dispatch;
	struct asking asking = { dispatch, delivery->serial };
	struct mail_receive mail = mail_of(delivery);

	delivery->state = DELIVERY_NOTES;
	keep_original(delivery);
	mail_receive(dispatch->pg, &mail, noted, &asking, sizeof asking);
}
