/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/trial.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "gateway/mail/draft.h"
#include "gateway/xmpp/stanza.h"
#include "schema/mail_trial.h"

struct trials {
	const struct dispatch *dispatch;
	const char *secrets;
	bool looking, again;
	bool waiting; /* one for people: go_on looks again */
};

/* One of them, while it is answered. */
struct trial {
	const struct trials *trials;
	const struct mail_trial *asked;
	struct dispatch_people people;
	struct envelope *envelope;
	struct slots slots; /* of that envelope alone */
	const struct config_mail *mail;
};

/* Who writes when nobody is named. */
static char example_address[] = "somebody@example.invalid", example_name[] = "Somebody";
static const struct person example = { .address = example_address, .name = example_name };

static void trial_end(struct trial *trial)
{
	slots_clear(&trial->slots);
	envelope_free(trial->envelope);
}

/* Always HR_OK, for who is through with it. */
static enum hr_status answer(const struct trial *trial, enum mail_trial_outcome outcome,
			     const char *reason, struct slice mail)
{
	mail_trial_answer(trial->trials->dispatch->pg, trial->asked->id,
			  &(struct mail_trial_answer){ outcome, reason, mail });
	return HR_OK;
}

static enum hr_status answer_none(const struct trial *trial, const char *reason)
{
	return answer(trial, MAIL_TRIAL_NONE, reason, (struct slice){ 0 });
}

static enum hr_status answer_bounce(const struct trial *trial, enum bounce bounce,
				    const char *reason)
{
	scoped_str text =
		str_format("it goes back to its sender: %s (%s)", reason, bounce_condition(bounce));

	return answer_none(trial, text);
}

/* --- the message ------------------------------------------------------------------------------ */

static enum hr_status find(struct trial *trial, struct slice address, const struct person **out)
{
	return registry_find(trial->trials->dispatch->registry, PEOPLE_ADDRESS, address, out);
}

/* HR_RETRY: being asked for. */
static enum hr_status find_people(struct trial *trial, const struct address *from,
				  const struct address *to)
{
	struct dispatch_people people = { 0 };
	enum hr_status known = find(trial, address_bare(to), &people.to);

	if (from->text && find(trial, address_bare(from), &people.from) == HR_RETRY)
		known = HR_RETRY;
	if (known == HR_RETRY)
		return HR_RETRY;
	if (from->text)
		dispatch_outsiders(trial->trials->dispatch, address_bare(from), address_bare(to),
				   &people);
	trial->people = people;
	return HR_OK;
}

/* As the site of whoever writes would pass it on. */
static enum hr_status make_envelope(struct trial *trial, const struct address *from,
				    const struct address *to, struct hr_err *err)
{
	const struct person *writer = trial->people.from;
	scoped_buf payload = BUF_INIT(0);
	struct envelope_fields fields = {
		.kind = ENVELOPE_MESSAGE,
		.type = slice_lit("chat"),
		.stanza_id = slice_lit("test"),
		.from = writer	     ? slice_str(writer->address)
			: from->text ? address_bare(from)
				     : slice_str(example.address),
		.to = trial->people.to ? slice_str(trial->people.to->address) : address_bare(to),
		.received = time_usec(),
	};

	buf_add_str(&payload, "<body>");
	stanza_escape(&payload, trial->asked->body);
	buf_add_str(&payload, "</body>");
	fields.payload = buf_slice(&payload);
	if (writer && strcmp(writer->site, trial->trials->dispatch->site) != 0)
		fields.hops[fields.hop_count++] = slice_str(writer->site);
	if (envelope_check(&fields, err) != HR_OK)
		return err->status;
	trial->envelope = envelope_new(&fields);
	slots_add(&trial->slots, 1, trial->envelope, NULL);
	return HR_OK;
}

/* --- the mail --------------------------------------------------------------------------------- */

static enum hr_status answer_mail(const struct trial *trial, const struct draft *draft,
				  const struct mail_send_answer *known)
{
	scoped_buf reason = BUF_INIT(0);
	bool is_later = letter_is_capped(trial->mail, known);

	if (is_later)
		buf_add_str(&reason, "it waits: " LETTER_CAPPED "; then ");
	else if (slot_is_copy(trial->slots.first))
		buf_format(&reason, "after %lld s without a receipt, ",
			   (long long)trial->mail->away_ms / 1000);
	buf_format(&reason, "MAIL FROM:<" SLICE_FMT ">%s RCPT TO:<" SLICE_FMT ">",
		   SLICE_ARG(buf_slice(&draft->from)), draft->is_utf8 ? " SMTPUTF8" : "",
		   SLICE_ARG(buf_slice(&draft->to)));
	return answer(trial, is_later ? MAIL_TRIAL_LATER : MAIL_TRIAL_MAIL, buf_text(&reason),
		      buf_slice(&draft->bytes));
}

static enum hr_status compose(const struct trial *trial, const struct letter_words *words,
			      enum config_mail_mode mode)
{
	const struct mail_send_answer known = { .recent = trial->asked->recent };
	const struct letter letter = {
		.mail = trial->mail,
		.site = trial->trials->dispatch->site,
		.slot = trial->slots.first,
		.words = words,
		.from = trial->people.from ? trial->people.from : &example,
		.to = trial->people.to,
		.known = &known,
		.mode = mode,
		.now = time_usec(),
	};
	scoped_draft draft = { 0 };
	struct hr_err err;

	switch (draft_write(&letter, trial->trials->secrets, &draft, &err)) {
	case HR_OK:
		return answer_mail(trial, &draft, &known);
	case HR_RETRY: {
		scoped_str text =
			str_format("all mail of %s waits: %s", trial->mail->domain, err.text);
		return answer(trial, MAIL_TRIAL_LATER, text, (struct slice){ 0 });
	}
	case HR_NONE:
	case HR_FAIL:
	case HR_UNSURE:
		break;
	}
	return answer_bounce(trial, BOUNCE_BAD_REQUEST, err.text);
}

/* Of a message that goes to the mail of `trial->mail`. */
static enum hr_status write_mail(struct trial *trial)
{
	enum config_mail_mode mode = letter_mode(trial->mail, trial->asked->choice);
	struct letter_words words;
	enum hr_status status;

	letter_words_read(trial->slots.first, &words);
	if (words.count == 0)
		status = answer_none(trial, LETTER_EMPTY);
	else if (mode != MAIL_OFF)
		status = compose(trial, &words, mode);
	else if (slot_is_copy(trial->slots.first))
		status = answer_none(trial, "it stays in the chat: " LETTER_UNWANTED);
	else
		status = answer_bounce(trial, BOUNCE_RECIPIENT_UNAVAILABLE, LETTER_UNWANTED);
	letter_words_clear(&words);
	return status;
}

/* --- where it goes ------------------------------------------------------------------------------
 */

static struct route decide(const struct trial *trial)
{
	const struct dispatch *dispatch = trial->trials->dispatch;

	if (trial->asked->sender.data)
		return dispatch_judge(dispatch, trial->envelope, &trial->people);
	return route_find(registry_routes(dispatch->registry), trial->people.to,
			  address_text_domain(trial->envelope->f.to));
}

/* NULL: to the chat only. */
static const struct config_mail *mail_of_away(const struct trial *trial)
{
	const struct dispatch *dispatch = trial->trials->dispatch;
	const struct person *to = trial->people.to;
	struct journal_later later;

	return away_defers(dispatch->away, trial->envelope, to, &later)
		       ? config_find_mail(registry_config(dispatch->registry), to->site,
					  address_text_domain(slice_str(to->address)))
		       : NULL;
}

static enum hr_status follow(struct trial *trial)
{
	const struct dispatch *dispatch = trial->trials->dispatch;
	struct route route = decide(trial);
	scoped_str text = NULL;

	switch (route.kind) {
	case ROUTE_BOUNCE:
		return answer_bounce(trial, route.bounce, route.reason);
	case ROUTE_SITE:
		text = str_format("it goes on to site \"%s\": ask there", route.site);
		return answer_none(trial, text);
	case ROUTE_INSTALLATION:
		trial->mail = mail_of_away(trial);
		trial->envelope->f.is_copy = true; /* nobody else has it */
		break;
	case ROUTE_MAIL:
		trial->mail = route.mail;
		break;
	}
	if (!trial->mail) {
		text = str_format("it stays in the chat of installation \"%s\"",
				  route.installation->name);
		return answer_none(trial, text);
	}
	text = str_format("mail:%s", trial->mail->domain);
	if (!map_get(dispatch->edges, slice_str(text)))
		return HR_NONE; /* another gateway's */
	return write_mail(trial);
}

/* HR_NONE: it is not for this gateway. HR_RETRY: people are being asked for. */
static enum hr_status try_one(struct trials *trials, const struct mail_trial *asked)
{
	__attribute__((cleanup(trial_end))) struct trial trial = { .trials = trials,
								   .asked = asked };
	scoped_address from = { 0 };
	scoped_address to = { 0 };
	struct hr_err err;

	if (!registry_config(trials->dispatch->registry))
		return HR_RETRY;
	if (address_parse(asked->recipient, &to, &err) != HR_OK ||
	    (asked->sender.data && address_parse(asked->sender, &from, &err) != HR_OK))
		return answer_none(&trial, err.text);
	if (find_people(&trial, &from, &to) == HR_RETRY)
		return HR_RETRY;
	if (make_envelope(&trial, &from, &to, &err) != HR_OK)
		return answer_none(&trial, err.text);
	return follow(&trial);
}

/* --- which there are ----------------------------------------------------------------------------
 */

static void took(void *arg, enum hr_status status, const struct mail_trial *asked,
		 const struct hr_err *err)
{
	struct trials *trials = arg;

	if (asked) {
		if (try_one(trials, asked) == HR_RETRY)
			trials->waiting = true;
		return;
	}
	trials->looking = false;
	if (status == HR_FAIL)
		log_error("mail.test_failed", LOG_ERR(err));
	else if (status == HR_OK && trials->again)
		trials_look(trials);
}

void trials_look(struct trials *trials)
{
	if (!trials)
		return;
	trials->again = trials->looking;
	if (trials->looking || !pg_is_up(trials->dispatch->pg))
		return;
	trials->looking = true;
	trials->waiting = false;
	mail_trials(trials->dispatch->pg, took, trials);
}

void trials_go_on(struct trials *trials)
{
	if (trials->waiting)
		trials_look(trials);
}

struct trials *trials_new(const struct dispatch *dispatch, const char *secrets)
{
	struct trials *trials = mem_new(struct trials);

	trials->dispatch = dispatch;
	trials->secrets = secrets;
	trials->waiting = true; /* what was asked before there was a gateway */
	return trials;
}

void trials_free(struct trials *trials)
{
	free(trials);
}
