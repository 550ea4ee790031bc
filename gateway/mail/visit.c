/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/visit.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "gateway/mail/metric.h"
#include "gateway/mail/recipient.h"
#include "schema/mail.h"

enum { PATIENCE_MS = 10 * 1000, WAITING_MAX = 256 * 1024 };

/* A recipient of the transaction under way. */
struct guest {
	struct addressee addressee;
	bool waits; /* for the registry */
	msec since;
};

struct visit {
	const struct visit_host *host;
	uint64_t serial;
	struct conn *conn;
	struct lmtp *lmtp;
	struct timer *idle;
	struct map *guests; /* id given at RCPT -> struct guest */
};

static struct slice key_of(const uint64_t *id)
{
	return (struct slice){ (const char *)id, sizeof *id };
}

static struct guest *guest_of(const struct visit *visit, uint64_t id)
{
	return map_get(visit->guests, key_of(&id));
}

static void guest_free(struct guest *guest)
{
	addressee_clear(&guest->addressee);
	free(guest);
}

static void forget_guests(struct visit *visit)
{
	struct slice key;
	void *guest;

	for (size_t at = 0; map_next(visit->guests, &at, &key, &guest);)
		guest_free(guest);
	map_free(visit->guests);
	visit->guests = map_new();
}

/* --- the socket ------------------------------------------------------------------------------ */

static void note_room(const struct visit_host *host)
{
	metric_set(&mail_metrics[MAIL_HELD], (int64_t)host->room->held);
	metric_set(&mail_metrics[MAIL_CROWDED], (int64_t)host->room->refused);
}

/* After everything that was done with the session. */
static void look(struct visit *visit)
{
	struct buf *out = lmtp_output(visit->lmtp);

	note_room(visit->host);
	if (out->len > 0)
		conn_write(visit->conn, buf_slice(out));
	buf_clear(out);
	if (lmtp_is_ended(visit->lmtp))
		conn_end(visit->conn);
	else
		conn_pause(visit->conn, !lmtp_wants_input(visit->lmtp) ||
						conn_waiting(visit->conn) > WAITING_MAX);
}

static void arm(struct visit *visit)
{
	timer_set(visit->idle, loop_now(visit->host->loop) + LMTP_IDLE_MS);
}

static void on_received(void *ctx, struct slice bytes)
{
	struct visit *visit = ctx;

	arm(visit);
	lmtp_received(visit->lmtp, bytes);
	look(visit);
}

static void on_drained(void *ctx)
{
	look(ctx);
}

static void on_closed(void *ctx)
{
	struct visit *visit = ctx;

	visit->host->ended(visit->host->ctx, visit);
}

static const struct conn_events conn_events = { on_received, on_drained, on_closed };

static void on_idle(void *arg)
{
	struct visit *visit = arg;

	if (map_count(visit->guests) > 0 && !lmtp_wants_input(visit->lmtp)) {
		arm(visit); /* it is we who are slow */
		return;
	}
	lmtp_timeout(visit->lmtp);
	look(visit);
}

/* --- who a recipient is ----------------------------------------------------------------------- */

static void refuse(struct visit *visit, uint64_t id, enum lmtp_answer answer, const char *text)
{
	metric_add(&mail_metrics[MAIL_RECEIVED_REFUSED], 1);
	lmtp_answer(visit->lmtp, id, answer, text);
}

static void find_peer(struct visit *visit, uint64_t id, struct guest *guest)
{
	struct registry *registry = visit->host->options->dispatch->registry;
	const struct person *person = NULL;
	enum hr_status status =
		registry_find(registry, PEOPLE_ADDRESS, slice_str(guest->addressee.peer), &person);

	guest->waits = status == HR_RETRY;
	if (status == HR_RETRY)
		return;
	if (!person)
		refuse(visit, id, LMTP_NO_SUCH_PERSON, "nobody has this address");
	else if (!person->enabled)
		refuse(visit, id, LMTP_DISABLED, "this person's account is disabled");
	else if (!person->installation || !person->native)
		refuse(visit, id, LMTP_NO_SUCH_PERSON, "this person has no chat");
	else {
		/* an alias leads to the same conversation */
		free((char *)guest->addressee.peer);
		guest->addressee.peer = str_dup(person->address);
		lmtp_answer(visit->lmtp, id, LMTP_OK, NULL);
	}
}

struct asking {
	const struct dispatch *dispatch;
	uint64_t serial, id;
};

static void have_thread(void *arg, enum hr_status status, const struct mail_find_answer *answer,
			const struct hr_err *err)
{
	const struct asking *asking = arg;
	struct visit *visit = postbox_visit(asking->dispatch, asking->serial);

	(void)err;
	if (visit)
		visit_found(visit, asking->id, status,
			    answer ? answer->person : (struct slice){ 0 },
			    answer ? answer->peer : (struct slice){ 0 });
}

static void find_thread(struct visit *visit, uint64_t id, struct guest *guest)
{
	const struct dispatch *dispatch = visit->host->options->dispatch;
	struct asking asking = { dispatch, visit->serial, id };

	mail_find(dispatch->pg, guest->addressee.thread, have_thread, &asking, sizeof asking);
}

void visit_found(struct visit *visit, uint64_t id, enum hr_status status, struct slice person,
		 struct slice peer)
{
	struct guest *guest = guest_of(visit, id);

	if (!guest || guest->addressee.peer)
		return;
	if (status == HR_OK) {
		guest->addressee.person = mem_dup(person.data, person.len);
		guest->addressee.peer = mem_dup(peer.data, peer.len);
		lmtp_answer(visit->lmtp, id, LMTP_OK, NULL);
	} else if (status == HR_NONE) {
		refuse(visit, id, LMTP_NO_SUCH_PERSON,
		       "the conversation of this reply address is forgotten");
	} else {
		refuse(visit, id, LMTP_LATER, NULL);
	}
	look(visit);
}

static void on_recipient(void *ctx, uint64_t id, const char *text)
{
	struct visit *visit = ctx;
	const struct postbox_options *options = visit->host->options;
	struct recipient recipient = { 0 };
	struct hr_err err;
	enum hr_status status =
		recipient_read(slice_str(text), registry_config(options->dispatch->registry),
			       options->secrets, time_usec(), &recipient, &err);

	if (status == HR_RETRY)
		log_error("mail.key_missing", LOG_ERR(&err));
	if (status != HR_OK) {
		refuse(visit, id, status == HR_RETRY ? LMTP_LATER : LMTP_NO_SUCH_PERSON,
		       status == HR_RETRY ? NULL : err.text);
		return;
	}
	struct guest *guest = mem_new(struct guest);

	guest->addressee = (struct addressee){ .domain = str_dup(recipient.mail->domain),
					       .peer = recipient.peer,
					       .thread = recipient.thread };
	guest->since = loop_now(visit->host->loop);
	map_put(visit->guests, key_of(&id), guest);
	if (recipient.is_reply)
		find_thread(visit, id, guest);
	else
		find_peer(visit, id, guest);
}

/* --- the mail ----------------------------------------------------------------------------------
 */

static void answer_all(struct visit *visit, const struct lmtp_mail *mail, enum lmtp_answer answer,
		       const char *text)
{
	size_t count = mail->recipient_count; /* the last answer ends the mail */
	uint64_t *ids = mem_array(uint64_t, count + 1);

	metric_add(&mail_metrics[MAIL_RECEIVED_REFUSED], (int64_t)count);
	log_info("mail.received_refused", LOG_STR("from", mail->sender),
		 LOG_INT("recipients", count), LOG_STR("error", text));
	for (size_t i = 0; i < count; i++)
		ids[i] = mail->recipients[i].id;
	for (size_t i = 0; i < count; i++)
		refuse(visit, ids[i], answer, text);
	free(ids);
}

/* Whether one of its recipients' domains keeps mails whole. */
static bool is_kept(const struct visit *visit, const struct lmtp_mail *mail,
		    struct guest *const *guests)
{
	const struct dispatch *dispatch = visit->host->options->dispatch;
	const struct config *config = registry_config(dispatch->registry);
	bool is_wanted = false;

	for (size_t i = 0; i < mail->recipient_count; i++) {
		const struct config_mail *of = config_find_mail(
			config, dispatch->site, slice_str(guests[i]->addressee.domain));
		is_wanted |= of && of->keeps_originals;
	}
	return is_wanted;
}

static void deliver(struct visit *visit, const struct lmtp_mail *mail, struct incoming *incoming)
{
	size_t count = mail->recipient_count; /* the last answer ends the mail */
	uint64_t *ids = mem_array(uint64_t, count + 1);
	struct guest **guests = mem_array(struct guest *, count + 1);

	for (size_t i = 0; i < count; i++) {
		ids[i] = mail->recipients[i].id;
		guests[i] = guest_of(visit, mail->recipients[i].asked);
	}
	if (incoming->kind == KIND_PERSONAL && is_kept(visit, mail, guests))
		incoming_keep(incoming, visit->lmtp, visit->host->room, mail->bytes.len);
	for (size_t i = 0; i < count; i++)
		deliveries_begin(visit->host->deliveries, incoming, &guests[i]->addressee,
				 visit->serial, ids[i]);
	free(ids);
	free(guests);
}

static void on_message(void *ctx, const struct lmtp_mail *mail)
{
	struct visit *visit = ctx;
	scoped(incoming) incoming = NULL;
	const char *why = NULL;
	struct hr_err err;

	if (incoming_new(mail, visit->host->options->dispatch->site, &incoming, &why, &err) !=
	    HR_OK)
		answer_all(visit, mail, LMTP_BAD_CONTENT, err.text);
	else if (incoming->kind == KIND_LOOP)
		answer_all(visit, mail, LMTP_LOOP, why);
	else
		deliver(visit, mail, incoming);
	if (incoming)
		incoming_shed(incoming);
}

static void on_reset(void *ctx)
{
	forget_guests(ctx);
}

static const struct lmtp_ops lmtp_ops = {
	.recipient = on_recipient,
	.message = on_message,
	.reset = on_reset,
};

void visit_answer(struct visit *visit, uint64_t id, enum lmtp_answer answer, const char *text)
{
	lmtp_answer(visit->lmtp, id, answer, text);
	look(visit);
}

/* --- life ---------------------------------------------------------------------------------------
 */

void visit_go_on(struct visit *visit)
{
	msec patience =
		visit->host->options->patience ? visit->host->options->patience : PATIENCE_MS;
	msec now = loop_now(visit->host->loop);
	struct slice key;
	void *value;

	for (size_t at = 0; map_next(visit->guests, &at, &key, &value);) {
		struct guest *guest = value;
		uint64_t id;

		if (!guest->waits)
			continue;
		memcpy(&id, key.data, sizeof id);
		find_peer(visit, id, guest);
		guest = guest_of(visit, id); /* an answer lets the client's next command run */
		if (guest && guest->waits && now - guest->since > patience) {
			guest->waits = false;
			refuse(visit, id, LMTP_LATER,
			       "the gateway's database is away: try again later");
		}
	}
	look(visit);
}

void visit_shutdown(struct visit *visit)
{
	lmtp_shutdown(visit->lmtp);
	look(visit);
}

uint64_t visit_serial(const struct visit *visit)
{
	return visit->serial;
}

struct visit *visit_new(const struct visit_host *host, uint64_t serial, struct conn *conn)
{
	struct visit *visit = mem_new(struct visit);

	visit->host = host;
	visit->serial = serial;
	visit->conn = conn;
	visit->guests = map_new();
	visit->idle = timer_new(host->loop, on_idle, visit);
	visit->lmtp = lmtp_new(&(struct lmtp_options){ .host = host->options->dispatch->site,
						       .size_max = host->options->size_max,
						       .room = host->room },
			       &lmtp_ops, visit);
	metric_add(&mail_metrics[MAIL_SESSIONS], 1);
	arm(visit);
	conn_start(conn, &conn_events, visit);
	look(visit); /* the greeting */
	return visit;
}

void visit_free(struct visit *visit)
{
	if (!visit)
		return;
	metric_add(&mail_metrics[MAIL_SESSIONS], -1);
	lmtp_free(visit->lmtp);
	note_room(visit->host);
	forget_guests(visit);
	map_free(visit->guests);
	timer_free(visit->idle);
	conn_free(visit->conn);
	free(visit);
}
