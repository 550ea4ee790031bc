/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/inbound.h"

#include "base/log.h"
#include "federation/address.h"
#include "gateway/xmpp/ask.h"
#include "gateway/xmpp/rewrite.h"
#include "gateway/xmpp/service.h"

_Static_assert((int)REWRITE_MENTIONS_MAX <= (int)EDGE_MENTIONS_MAX,
	       "more than the switchboard takes");

struct item {
	struct lane *lane;
	struct address from, to; /* owned; from is native */
	struct stanza stanza;	 /* as it came; its texts are in `text` */
	char *text;		 /* owned */
	size_t size;		 /* of it */
	struct rewrite *rewrite; /* owned; NULL: no native address in the payload */
	struct ask *ask;	 /* owned; NULL: it is to be passed on */
	bool is_ours;		 /* nobody is told when it is refused */
};

static void item_free(struct item *item)
{
	address_clear(&item->from);
	address_clear(&item->to);
	rewrite_free(item->rewrite);
	ask_free(item->ask);
	free(item->text);
	free(item);
}

static void refused(const struct lane *lane, const struct scan_stanza *stanza,
		    enum xmpp_metric metric, const char *why)
{
	metric_add(&xmpp_metrics[metric], 1);
	log_warn("xmpp.refused", LOG_STR("stream", lane->name), LOG_STR("why", why),
		 LOG_STR("kind", envelope_kind_name(stanza->kind)), LOG_SLICE("from", stanza->from),
		 LOG_SLICE("to", stanza->to), LOG_SLICE("id", stanza->id));
}

static struct stanza as_stanza(const struct scan_stanza *scanned)
{
	return (struct stanza){
		.kind = scanned->kind,
		.from = scanned->from,
		.to = scanned->to,
		.id = scanned->id,
		.type = scanned->type,
		.lang = scanned->lang,
		.payload = scanned->payload,
	};
}

/* Only who lives here may be the sender, only who is of the stream's domain the recipient. There
 * is nobody who could be told: one of the two is not what it says. */
static bool check_addresses(const struct lane *lane, const struct scan_stanza *stanza,
			    struct address *from, struct address *to)
{
	struct hr_err err;

	if (address_parse(stanza->from, from, &err) != HR_OK) {
		refused(lane, stanza, XMPP_REFUSED_FROM, err.text);
		return false;
	}
	if (!slice_is(address_domain(from), lane->edge->native_domain)) {
		refused(lane, stanza, XMPP_REFUSED_FROM, "the sender is not of this installation");
		return false;
	}
	if (address_parse(stanza->to, to, &err) != HR_OK) {
		refused(lane, stanza, XMPP_REFUSED_TO, err.text);
		return false;
	}
	if (!slice_is(address_domain(to), lane->domain)) {
		refused(lane, stanza, XMPP_REFUSED_TO,
			"the recipient is not of the stream's domain");
		return false;
	}
	return true;
}

static const struct {
	enum xmpp_metric metric;
	const char *why;
} flaws[] = {
	[SCAN_TOO_LARGE] = { XMPP_REFUSED_SIZE, "the stanza is too large" },
	[SCAN_TOO_DEEP] = { XMPP_REFUSED_DEPTH, "the stanza is nested too deep" },
	[SCAN_BAD_ATTRIBUTES] = { XMPP_REFUSED_SIZE,
				  "the stanza's attributes are too many or too long" },
};

static void refuse_scanned(struct lane *lane, const struct scan_stanza *stanza,
			   enum xmpp_metric metric, const char *why)
{
	struct stanza answered = as_stanza(stanza);

	refused(lane, stanza, metric, why);
	lane_refuse(lane, &answered, BOUNCE_POLICY_VIOLATION, why);
}

static struct slice copy_text(char **at, struct slice text)
{
	struct slice copy = { *at, text.len };

	if (text.len > 0)
		memcpy(*at, text.data, text.len);
	*at += text.len;
	return copy;
}

static struct item *item_new(struct lane *lane, const struct scan_stanza *scanned)
{
	struct item *item = mem_new(struct item);
	size_t len = scanned->from.len + scanned->to.len + scanned->id.len + scanned->type.len +
		     scanned->lang.len + scanned->payload.len;
	char *at = item->text = mem_resize(NULL, len, 1);

	item->lane = lane;
	item->size = len;
	item->stanza = (struct stanza){
		.kind = scanned->kind,
		.from = copy_text(&at, scanned->from),
		.to = copy_text(&at, scanned->to),
		.id = copy_text(&at, scanned->id),
		.type = copy_text(&at, scanned->type),
		.lang = copy_text(&at, scanned->lang),
		.payload = copy_text(&at, scanned->payload),
	};
	return item;
}

static void bring(struct item *item)
{
	struct edge_inbound inbound = {
		.key = PEOPLE_NATIVE,
		.installation = item->lane->edge->installation,
		.from = address_full(&item->from),
		.to = address_full(&item->to),
		.is_answered = item->ask,
		.size = sizeof *item + item->size,
		.item = item,
	};

	if (item->rewrite)
		inbound.mentions = rewrite_mentions(item->rewrite, &inbound.mention_count);
	source_bring(item->lane->source, &inbound);
}

void inbound_probe(struct lane *lane, const char *from, const char *to)
{
	struct item *item = item_new(lane, &(struct scan_stanza){
						   .kind = ENVELOPE_PRESENCE,
						   .type = slice_lit("probe"),
						   .from = slice_str(from),
						   .to = slice_str(to),
					   });
	struct hr_err err;

	item->is_ours = true;
	if (address_parse(item->stanza.from, &item->from, &err) == HR_OK &&
	    address_parse(item->stanza.to, &item->to, &err) == HR_OK)
		bring(item);
	else
		item_free(item);
}

void inbound_stanza(struct lane *lane, const struct scan_stanza *stanza)
{
	scoped_address from = { 0 }, to = { 0 };
	scoped(rewrite) rewrite = NULL;
	scoped(ask) ask = NULL;
	enum bounce bounce;
	struct hr_err err;

	metric_add(&xmpp_metrics[XMPP_STANZAS_IN], 1);
	if (!check_addresses(lane, stanza, &from, &to))
		return;
	if (stanza->flaw != SCAN_SOUND) {
		refuse_scanned(lane, stanza, flaws[stanza->flaw].metric, flaws[stanza->flaw].why);
		return;
	}
	struct stanza answered = as_stanza(stanza);
	enum hr_status asked = ask_read(stanza, &to, &ask, &bounce, &err);
	if (asked == HR_FAIL) {
		lane_refuse(lane, &answered, bounce, err.text);
		return;
	}
	if (asked == HR_NONE && address_local(&to).len == 0) {
		service_stanza(lane, stanza);
		return;
	}
	if (asked == HR_NONE && rewrite_plan(stanza->payload, slice_str(lane->edge->native_domain),
					     &rewrite, &err) == HR_FAIL) {
		refuse_scanned(lane, stanza, XMPP_REFUSED_SIZE, err.text);
		return;
	}
	if (stanza->kind == ENVELOPE_PRESENCE && slice_is(stanza->type, "probe"))
		sightings_asked(lane->edge->sightings, address_bare(&from), address_bare(&to));
	struct item *item = item_new(lane, stanza);
	item->from = from;
	item->to = to;
	from = to = (struct address){ 0 };
	item->rewrite = give(rewrite);
	item->ask = give(ask);
	bring(item);
}

/* The payload without native addresses, in `out` when it had to be changed. */
static struct slice rewritten(const struct item *item, const struct edge_people *people,
			      struct buf *out)
{
	struct slice addresses[REWRITE_MENTIONS_MAX];
	size_t count;

	if (!item->rewrite)
		return item->stanza.payload;
	rewrite_mentions(item->rewrite, &count);
	for (size_t i = 0; i < count; i++)
		addresses[i] = people->mentions[i] ? slice_str(people->mentions[i]->address)
						   : (struct slice){ 0 };
	rewrite_apply(item->rewrite, item->stanza.payload, addresses, out);
	metric_add(&xmpp_metrics[XMPP_REWRITTEN], 1);
	return buf_slice(out);
}

static char *with_resource(struct slice bare, struct slice resource)
{
	return str_format(SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(bare), resource.len ? "/" : "",
			  SLICE_ARG(resource));
}

enum hr_status inbound_translate(struct edge *edge, void *arg, const struct edge_people *people,
				 struct envelope **out, struct hr_err *err)
{
	const struct xmpp_edge *self = (const struct xmpp_edge *)edge;
	const struct item *item = arg;
	scoped_buf payload = BUF_INIT(ENVELOPE_PAYLOAD_MAX);
	struct slice to_bare =
		people->to ? slice_str(people->to->address) : address_bare(&item->to);
	scoped_str from =
		with_resource(slice_str(people->from->address), address_resource(&item->from));
	scoped_str to = with_resource(to_bare, address_resource(&item->to));
	struct slice inner = rewritten(item, people, &payload);
	usec now = time_usec();

	if (payload.overflowed)
		return err_set(err, HR_FAIL,
			       "the payload is too large with its addresses rewritten");
	struct envelope_fields fields = {
		.kind = item->stanza.kind,
		.type = item->stanza.type,
		.stanza_id = item->stanza.id,
		.from = slice_str(from),
		.to = slice_str(to),
		.lang = item->stanza.lang,
		.payload = inner,
		.received = now,
		.expires = item->stanza.kind == ENVELOPE_MESSAGE ? now + 1000 * self->message_expiry
								 : 0,
	};
	if (envelope_check(&fields, err) != HR_OK)
		return err->status;
	*out = envelope_new(&fields);
	return HR_OK;
}

void inbound_answer(struct edge *edge, void *arg, const struct edge_people *people)
{
	const struct item *item = arg;

	(void)edge;
	ask_answer(item->ask, item->lane, &item->stanza, people);
}

void inbound_refuse(struct edge *edge, void *arg, enum bounce bounce, const char *text)
{
	struct item *item = arg;

	(void)edge;
	if (!item->is_ours)
		lane_refuse(item->lane, &item->stanza, bounce, text);
}

void inbound_done(struct edge *edge, void *item)
{
	(void)edge;
	item_free(item);
}
