/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/delivery_private.h"

#include "base/log.h"
#include "federation/address.h"
#include "gateway/mail/author.h"
#include "gateway/mail/metric.h"
#include "schema/mail.h"

enum { PATIENCE_MS = 10 * 1000, EXPIRY_MS = 7 * 24 * 3600 * 1000 };

void addressee_clear(struct addressee *addressee)
{
	free((char *)addressee->domain);
	free((char *)addressee->person);
	free((char *)addressee->peer);
	*addressee = (struct addressee){ 0 };
}

static struct slice key_of(const uint64_t *serial)
{
	return (struct slice){ (const char *)serial, sizeof *serial };
}

struct delivery *delivery_find(const struct dispatch *dispatch, uint64_t serial)
{
	struct deliveries *deliveries = postbox_deliveries(dispatch);

	return deliveries ? map_get(deliveries->by_serial, key_of(&serial)) : NULL;
}

/* The mail, and who gets it in the chat; of a report, the conversation that it is of. */
static void leader_key(const struct delivery *delivery, struct buf *out)
{
	buf_add(out, &delivery->incoming, sizeof delivery->incoming);
	if (delivery->incoming->kind == KIND_REPORT)
		buf_add(out, &delivery->addressee.thread, sizeof delivery->addressee.thread);
	else
		buf_add_str(out, delivery->addressee.peer);
}

static struct delivery *find_leader(const struct delivery *delivery)
{
	scoped_buf key = BUF_INIT(0);

	leader_key(delivery, &key);
	return map_get(delivery->deliveries->leaders, buf_slice(&key));
}

bool delivery_follows(struct delivery *delivery)
{
	struct delivery *leader = find_leader(delivery);
	scoped_buf key = BUF_INIT(0);

	if (leader) {
		delivery->state = DELIVERY_FOLLOWS;
		delivery->next = leader->next;
		leader->next = delivery;
		return true;
	}
	leader_key(delivery, &key);
	map_put(delivery->deliveries->leaders, buf_slice(&key), delivery);
	return false;
}

/* The next message that has failed is what the delivery tells of. */
static void take_failed(struct delivery *delivery)
{
	struct failed *one = delivery->more;

	free(delivery->to);
	free(delivery->stanza_id);
	delivery->to = one->to;
	delivery->stanza_id = one->stanza_id;
	delivery->more = one->next;
	free(one);
}

static void delivery_free(struct delivery *delivery)
{
	scoped_buf key = BUF_INIT(0);

	leader_key(delivery, &key);
	if (map_get(delivery->deliveries->leaders, buf_slice(&key)) == delivery)
		map_remove(delivery->deliveries->leaders, buf_slice(&key));
	map_remove(delivery->deliveries->by_serial, key_of(&delivery->serial));
	incoming_free(delivery->incoming);
	addressee_clear(&delivery->addressee);
	buf_free(&delivery->payload);
	while (delivery->more)
		take_failed(delivery);
	free(delivery->from);
	free(delivery->to);
	free(delivery->stanza_id);
	free(delivery);
}

static void tell_one(struct delivery *delivery, enum lmtp_answer answer, const char *text)
{
	struct deliveries *deliveries = delivery->deliveries;

	if (answer != LMTP_OK) {
		metric_add(&mail_metrics[MAIL_RECEIVED_REFUSED], 1);
		log_info("mail.received_refused", LOG_STR("from", delivery->from),
			 LOG_STR("to", delivery->addressee.peer),
			 LOG_STR("message_id", delivery->incoming->message_id),
			 LOG_STR("error", text));
	}
	deliveries->told(deliveries->ctx, delivery->visit, delivery->id, answer, text);
}

/* Its recipient, and those of the deliveries that follow it, which end here. */
static void tell(struct delivery *delivery, enum lmtp_answer answer, const char *text)
{
	struct delivery *next = give(delivery->next);

	if (delivery->told)
		return;
	delivery->told = true;
	tell_one(delivery, answer, text);
	for (struct delivery *one = next; one; one = next) {
		next = one->next;
		tell_one(one, answer, text);
		delivery_free(one);
	}
}

/* The end of a delivery that the switchboard does not have. */
void delivery_end(struct delivery *delivery, enum lmtp_answer answer, const char *text)
{
	tell(delivery, answer, text);
	delivery_free(delivery);
}

void delivery_drop(struct delivery *delivery, const char *why)
{
	metric_add(&mail_metrics[MAIL_RECEIVED_DROPPED], 1);
	log_info("mail.dropped", LOG_STR("to", delivery->addressee.peer),
		 LOG_STR("kind", kind_name(delivery->incoming->kind)),
		 LOG_STR("message_id", delivery->incoming->message_id), LOG_STR("why", why));
	delivery_end(delivery, LMTP_OK, NULL);
}

/* --- to the switchboard ---------------------------------------------------------------------- */

void delivery_bring(struct delivery *delivery)
{
	delivery->state = DELIVERY_BROUGHT;
	source_bring(delivery->deliveries->source, &(struct edge_inbound){
							   .key = PEOPLE_ADDRESS,
							   .from = slice_str(delivery->from),
							   .to = slice_str(delivery->to),
							   .item = delivery,
							   .size = delivery->payload.len,
						   });
}

static usec life(const struct delivery *delivery)
{
	const struct config *config =
		registry_config(delivery->deliveries->options.dispatch->registry);
	const struct config_site *site = config_find_site(config, config->local_site);

	return 1000 * (site ? site->message_expiry_ms : (int64_t)EXPIRY_MS);
}

enum hr_status deliveries_translate(void *item, const struct edge_people *people,
				    struct envelope **out, struct hr_err *err)
{
	struct delivery *delivery = item;
	bool is_report = delivery->stanza_id != NULL;
	struct slice resource = address_text_resource(slice_str(delivery->to));
	scoped_str to = str_format("%s%s" SLICE_FMT,
				   people->to ? people->to->address : delivery->addressee.peer,
				   resource.len ? "/" : "", SLICE_ARG(resource));
	usec now = time_usec();
	struct envelope_fields fields = {
		.kind = ENVELOPE_MESSAGE,
		.type = is_report ? slice_lit("error") : slice_lit("chat"),
		.stanza_id = is_report ? slice_str(delivery->stanza_id)
				       : slice_str(delivery->incoming->message_id),
		.from = slice_str(people->from->address),
		.to = slice_str(to),
		.payload = buf_slice(&delivery->payload),
		.received = now,
		.expires = now + life(delivery),
	};

	if (delivery->payload.overflowed)
		return err_set(err, HR_FAIL, "the text is too long for a message");
	if (envelope_check(&fields, err) != HR_OK)
		return err->status;
	*out = envelope_new(&fields);
	return HR_OK;
}

void deliveries_refuse(void *item, enum bounce bounce, const char *text)
{
	static const enum lmtp_answer answers[BOUNCES] = {
		[BOUNCE_ITEM_NOT_FOUND] = LMTP_NO_SUCH_PERSON,
		[BOUNCE_NOT_ALLOWED] = LMTP_REFUSED,
		[BOUNCE_REMOTE_TIMEOUT] = LMTP_LATER,
		[BOUNCE_RESOURCE_CONSTRAINT] = LMTP_LATER,
		[BOUNCE_RECIPIENT_UNAVAILABLE] = LMTP_DISABLED,
		[BOUNCE_SERVICE_UNAVAILABLE] = LMTP_LATER,
		[BOUNCE_POLICY_VIOLATION] = LMTP_BAD_CONTENT,
		[BOUNCE_BAD_REQUEST] = LMTP_BAD_CONTENT,
	};

	tell(item, answers[bounce], text);
}

void deliveries_committed(void *item)
{
	struct delivery *delivery = item;

	metric_add(&mail_metrics[delivery->stanza_id ? MAIL_REPORTS : MAIL_RECEIVED], 1);
	log_info("mail.received", LOG_STR("from", delivery->from), LOG_STR("to", delivery->to),
		 LOG_STR("kind", kind_name(delivery->incoming->kind)),
		 LOG_STR("message_id", delivery->incoming->message_id));
	if (!delivery->stanza_id) {
		conversation_note(delivery);
		return;
	}
	if (delivery->more)
		return; /* the report is taken when all of them are told */
	mail_reported(delivery->deliveries->options.dispatch->pg, delivery->addressee.thread,
		      slice_str(delivery->incoming->report->message_id));
	tell(delivery, LMTP_OK, NULL);
}

void deliveries_done(void *item)
{
	struct delivery *delivery = item;

	if (delivery->more && !delivery->told && delivery->deliveries->source) {
		take_failed(delivery);
		delivery_bring(delivery);
	} else if (delivery->state != DELIVERY_NOTES) { /* else it ends when that is done */
		delivery_free(delivery);
	}
}

const struct config_mail *delivery_settings(const struct delivery *delivery)
{
	const struct dispatch *dispatch = delivery->deliveries->options.dispatch;
	const struct config *config = registry_config(dispatch->registry);

	return config ? config_find_mail(config, dispatch->site,
					 slice_str(delivery->addressee.domain))
		      : NULL;
}

/* --- the author ------------------------------------------------------------------------------- */

static bool is_patient(struct delivery *delivery)
{
	const struct deliveries *deliveries = delivery->deliveries;
	msec patience = deliveries->options.patience ? deliveries->options.patience : PATIENCE_MS;

	if (loop_now(deliveries->loop) - delivery->since <= patience)
		return true;
	delivery_end(delivery, LMTP_LATER, "the gateway's database is away: try again later");
	return false;
}

static void find_author(struct delivery *delivery)
{
	const struct dispatch *dispatch = delivery->deliveries->options.dispatch;
	const struct config_mail *mail = delivery_settings(delivery);
	const struct person *author = NULL;
	char *address;
	struct hr_err err;
	enum hr_status status = registry_find(dispatch->registry, PEOPLE_ADDRESS,
					      slice_str(delivery->from), &author);

	if (status == HR_RETRY || !pg_is_up(dispatch->pg)) {
		is_patient(delivery);
		return;
	}
	if (!mail) {
		delivery_end(delivery, LMTP_LATER,
			     "the mail of this domain is not set up any more");
		return;
	}
	if (author_admit(registry_config(dispatch->registry), mail, author,
			 slice_str(delivery->from), &address, &err) != HR_OK) {
		delivery_end(delivery, LMTP_REFUSED, err.text);
		return;
	}
	free(delivery->from);
	delivery->from = address;
	conversation_ask(delivery);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void begin(struct delivery *delivery, const struct config_mail *mail)
{
	struct incoming *incoming = delivery->incoming;
	struct vouched vouched = { 0 };
	struct hr_err err;

	if (!mail) {
		delivery_end(delivery, LMTP_LATER,
			     "the mail of this domain is not set up any more");
		return;
	}
	if (incoming->kind == KIND_REPORT) {
		conversation_ask_report(delivery, mail);
		return;
	}
	if (incoming->kind != KIND_PERSONAL) {
		delivery_drop(delivery, "not written by a person for a person");
		return;
	}
	if (incoming_vouch(incoming, mail, &vouched, &err) != HR_OK) {
		delivery_end(delivery, err.status == HR_RETRY ? LMTP_LATER : LMTP_REFUSED,
			     err.text);
		return;
	}
	delivery->from = str_dup(vouched.address);
	delivery->to = str_dup(delivery->addressee.peer);
	vouched_clear(&vouched);
	incoming_read(incoming);
	if (!mail->names_attachments && read_has_attachments(&incoming->said))
		delivery_end(delivery, LMTP_REFUSED, "mails with attachments are not taken here");
	else if (!*incoming->said.text && incoming->said.attachment_count == 0)
		delivery_end(delivery, LMTP_BAD_CONTENT,
			     "the mail has no text that could be shown");
	else
		find_author(delivery);
}

void deliveries_begin(struct deliveries *deliveries, struct incoming *incoming,
		      const struct addressee *addressee, uint64_t visit, uint64_t id)
{
	struct delivery *delivery = mem_new(struct delivery);

	*delivery = (struct delivery){
		.deliveries = deliveries,
		.serial = ++deliveries->last_serial,
		.visit = visit,
		.id = id,
		.incoming = incoming_ref(incoming),
		.addressee = { .domain = str_dup(addressee->domain),
			       .person = str_dup(addressee->person),
			       .peer = str_dup(addressee->peer),
			       .thread = addressee->thread },
		.since = loop_now(deliveries->loop),
		.payload = BUF_INIT(ENVELOPE_PAYLOAD_MAX),
	};
	map_put(deliveries->by_serial, key_of(&delivery->serial), delivery);
	begin(delivery, delivery_settings(delivery));
}

void deliveries_go_on(struct deliveries *deliveries)
{
	struct slice key;
	void *value;

	for (size_t at = 0; map_next(deliveries->by_serial, &at, &key, &value);)
		if (((struct delivery *)value)->state == DELIVERY_FINDS)
			find_author(value);
}

bool deliveries_are_idle(const struct deliveries *deliveries)
{
	return map_count(deliveries->by_serial) == 0;
}

struct deliveries *deliveries_new(struct loop *loop, const struct deliveries_options *options,
				  struct edge *edge, delivery_fn *told, void *ctx)
{
	struct deliveries *deliveries = mem_new(struct deliveries);

	deliveries->loop = loop;
	deliveries->options = *options;
	deliveries->by_serial = map_new();
	deliveries->leaders = map_new();
	deliveries->told = told;
	deliveries->ctx = ctx;
	deliveries->source = switchboard_source(options->switchboard, edge);
	return deliveries;
}

void deliveries_free(struct deliveries *deliveries)
{
	struct slice key;
	void *value;

	if (!deliveries)
		return;
	source_free(give(deliveries->source)); /* frees what it has */
	for (size_t at = 0; map_next(deliveries->by_serial, &at, &key, &value);)
		delivery_free(value);
	map_free(deliveries->by_serial);
	map_free(deliveries->leaders);
	free(deliveries);
}
