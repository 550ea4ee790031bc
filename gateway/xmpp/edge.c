/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/edge.h"

#include "base/log.h"
#include "federation/address.h"
#include "gateway/xmpp/inbound.h"
#include "gateway/xmpp/lane.h"

enum {
	DIRECT_WAITING_MAX =
		8 * 1024 * 1024, /* bytes not yet sent; past it a presence is late anyway */
	DAY_MS = 24 * 3600 * 1000,
	EXPIRY_MS = 7 * DAY_MS,
};

struct metric xmpp_metrics[XMPP_METRICS] = {
	[XMPP_STANZAS_IN] = { "xmpp_stanzas_in_total", "Stanzas read from XMPP servers", 0, false },
	[XMPP_STANZAS_OUT] = { "xmpp_stanzas_out_total", "Stanzas written to XMPP servers", 0,
			       false },
	[XMPP_BYTES_IN] = { "xmpp_in_bytes_total", "Bytes read from XMPP servers", 0, false },
	[XMPP_BYTES_OUT] = { "xmpp_out_bytes_total", "Bytes written to XMPP servers", 0, false },
	[XMPP_STREAMS] = { "xmpp_streams", "Component streams that are up", 0, true },
	[XMPP_REFUSED_XML] = { "xmpp_refused_xml_total", "Streams ended for broken XML", 0, false },
	[XMPP_REFUSED_NAMESPACE] = { "xmpp_refused_namespace_total",
				     "Streams and elements of a namespace that is not ours", 0,
				     false },
	[XMPP_REFUSED_SIZE] = { "xmpp_refused_size_total", "Stanzas past a bound of size", 0,
				false },
	[XMPP_REFUSED_DEPTH] = { "xmpp_refused_depth_total", "Stanzas nested too deep", 0, false },
	[XMPP_REFUSED_DTD] = { "xmpp_refused_dtd_total",
			       "Streams ended for DTDs, comments or processing instructions", 0,
			       false },
	[XMPP_REFUSED_FROM] = { "xmpp_refused_from_total",
				"Stanzas whose sender is not of the installation", 0, false },
	[XMPP_REFUSED_TO] = { "xmpp_refused_to_total",
			      "Stanzas whose recipient is not of the stream's domain", 0, false },
	[XMPP_GONE] = { "xmpp_gone_total", "Contacts shown unavailable because their site was", 0,
			false },
	[XMPP_PROBES] = { "xmpp_probes_total", "Contacts asked for because their site was back", 0,
			  false },
	[XMPP_SIGHTINGS_DROPPED] = { "xmpp_sightings_dropped_total",
				     "Pairs of watcher and contact forgotten for want of room", 0,
				     false },
	[XMPP_REWRITTEN] = { "xmpp_rewritten_total", "Payloads that named native addresses", 0,
			     false },
};

static struct xmpp_edge *self_of(struct edge *edge)
{
	return (struct xmpp_edge *)edge;
}

static const struct xmpp_edge *const_self_of(const struct edge *edge)
{
	return (const struct xmpp_edge *)edge;
}

static struct lane *find_lane(const struct xmpp_edge *self, struct slice domain)
{
	for (size_t i = 0; i < self->lane_count; i++)
		if (slice_is(domain, self->lanes[i]->domain))
			return self->lanes[i];
	return NULL;
}

/* --- people behind links -----------------------------------------------------------------------
 */

static bool has_room(const struct lane *lane)
{
	return lane_is_up(lane) && lane_waiting(lane) < DIRECT_WAITING_MAX / 2;
}

static bool gone(void *ctx, const char *watcher, const char *contact)
{
	const struct xmpp_edge *self = ctx;
	struct lane *lane = find_lane(self, address_text_domain(slice_str(contact)));
	scoped_buf out = BUF_INIT(0);

	if (!lane)
		return true; /* the domain is federated no more */
	if (!has_room(lane))
		return false;
	stanza_write(&out, &(struct stanza){
				   .kind = ENVELOPE_PRESENCE,
				   .type = slice_lit("unavailable"),
				   .from = slice_str(contact),
				   .to = slice_str(watcher),
			   });
	metric_add(&xmpp_metrics[XMPP_GONE], 1);
	lane_write(lane, buf_slice(&out));
	return true;
}

static bool probe(void *ctx, const char *watcher, const char *contact)
{
	const struct xmpp_edge *self = ctx;
	struct lane *lane = find_lane(self, address_text_domain(slice_str(contact)));

	if (!lane)
		return true;
	if (self->is_paused || !has_room(lane))
		return false;
	metric_add(&xmpp_metrics[XMPP_PROBES], 1);
	inbound_probe(lane, watcher, contact);
	return true;
}

static void dropped(void *ctx)
{
	(void)ctx;
	metric_add(&xmpp_metrics[XMPP_SIGHTINGS_DROPPED], 1);
}

static const struct sightings_ops sightings_ops = { gone, probe, dropped };

static void work(void *arg)
{
	struct xmpp_edge *self = arg;

	timer_set(self->sightings_timer, sightings_work(self->sightings, loop_now(self->loop)));
}

static void reached(struct edge *edge, const char *site, bool yes)
{
	struct xmpp_edge *self = self_of(edge);

	(yes ? sightings_back : sightings_lost)(self->sightings, site, loop_now(self->loop));
	work(self);
}

static void notice(struct xmpp_edge *self, const struct envelope *envelope,
		   const struct person *person)
{
	const struct envelope_fields *f = &envelope->f;
	struct slice site = f->hop_count ? f->hops[f->hop_count - 1] : (struct slice){ 0 };
	bool is_gone = slice_is(f->type, "unavailable");

	if (f->kind == ENVELOPE_PRESENCE && (f->type.len == 0 || is_gone))
		sightings_seen(self->sightings, slice_str(person->native), f->from, site, !is_gone);
}

/* --- what the switchboard asks for -------------------------------------------------------------
 */

static enum hr_status direct(struct edge *edge, struct envelope *envelope,
			     const struct person *person, struct hr_err *err)
{
	struct lane *lane = find_lane(self_of(edge), address_text_domain(envelope->f.from));

	if (!lane)
		return err_set(err, HR_FAIL, "no stream for the sender's domain");
	if (!person->native)
		return err_set(err, HR_FAIL, "the recipient has no native address");
	if (!lane_is_up(lane) || lane_waiting(lane) > DIRECT_WAITING_MAX)
		return err_set(err, HR_RETRY, "stream %s is not up", lane->name);
	scoped_buf out = BUF_INIT(0);
	stanza_write_envelope(&out, envelope, person->native, "");
	notice(self_of(edge), envelope, person);
	metric_add(&xmpp_metrics[XMPP_STANZAS_OUT], 1);
	lane_write(lane, buf_slice(&out));
	return HR_OK;
}

static void flow(struct edge *edge, bool yes)
{
	struct xmpp_edge *self = self_of(edge);

	self->is_paused = !yes;
	for (size_t i = 0; i < self->lane_count; i++)
		lane_pause(self->lanes[i], !yes);
}

static void arrived(struct edge *edge)
{
	struct xmpp_edge *self = self_of(edge);

	for (size_t i = 0; i < self->lane_count; i++)
		lane_later(self->lanes[i]);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Returns whether it changed. */
static bool set_text(char **slot, const char *value)
{
	if (same_text(*slot, value))
		return false;
	free(*slot);
	*slot = str_dup(value);
	return true;
}

/* Takes over where and how to connect; returns whether anything of it changed. */
static bool set_peer(struct xmpp_edge *self, const struct config_installation *installation)
{
	bool changed = self->port != installation->port || self->tls != installation->tls;

	changed = set_text(&self->host, installation->host) || changed;
	changed = set_text(&self->secret, installation->secret) || changed;
	changed = set_text(&self->ca, installation->ca) || changed;
	self->port = installation->port;
	self->tls = installation->tls;
	return changed;
}

static msec expiry_of(const struct config *config)
{
	for (size_t i = 0; i < config->site_count; i++)
		if (config->sites[i].is_local)
			return config->sites[i].message_expiry_ms;
	return EXPIRY_MS;
}

static bool has_domain(const struct config *config, const char *domain)
{
	for (size_t i = 0; i < config->domain_count; i++)
		if (strcmp(config->domains[i].name, domain) == 0)
			return true;
	return false;
}

static void remove_lanes(struct xmpp_edge *self, const struct config *kept)
{
	size_t left = 0;

	for (size_t i = 0; i < self->lane_count; i++) {
		if (kept && has_domain(kept, self->lanes[i]->domain))
			self->lanes[left++] = self->lanes[i];
		else
			lane_free(self->lanes[i]);
	}
	self->lane_count = left;
}

static void add_lanes(struct xmpp_edge *self, const struct config *config)
{
	for (size_t i = 0; i < config->domain_count; i++) {
		if (find_lane(self, slice_str(config->domains[i].name)))
			continue;
		self->lanes = mem_resize(self->lanes, self->lane_count + 1, sizeof(struct lane *));
		self->lanes[self->lane_count++] = lane_new(self, config->domains[i].name);
	}
}

static void configure(struct edge *edge, const struct config *config)
{
	struct xmpp_edge *self = self_of(edge);
	const struct config_installation *installation =
		config_find_installation(config, slice_str(self->installation));

	if (!installation) /* its duty will be lost */
		return;

	self->message_expiry = expiry_of(config);
	bool changed = set_peer(self, installation);
	if (set_text(&self->native_domain, installation->native_domain))
		remove_lanes(self, NULL);
	else
		remove_lanes(self, config);
	for (size_t i = 0; changed && i < self->lane_count; i++)
		lane_restart(self->lanes[i]);
	if (!self->is_draining)
		add_lanes(self, config);
}

static void edge_free(struct edge *edge)
{
	struct xmpp_edge *self = self_of(edge);

	if (!self)
		return;
	remove_lanes(self, NULL);
	timer_free(self->sightings_timer);
	sightings_free(self->sightings);
	free(self->lanes);
	free((char *)self->options.secrets);
	free(self->installation);
	free(self->native_domain);
	free(self->host);
	free(self->secret);
	free(self->ca);
	free(self);
}

static void drain(struct edge *edge)
{
	struct xmpp_edge *self = self_of(edge);

	self->is_draining = true;
	for (size_t i = 0; i < self->lane_count; i++)
		if (!lane_is_up(self->lanes[i]) || lane_is_idle(self->lanes[i]))
			lane_stop(self->lanes[i]);
}

static bool is_idle(const struct edge *edge)
{
	const struct xmpp_edge *self = const_self_of(edge);

	for (size_t i = 0; i < self->lane_count; i++) {
		const struct lane *lane = self->lanes[i];
		if (self->is_draining ? !component_is_idle(lane->component) : !lane_is_idle(lane))
			return false;
	}
	return true;
}

static size_t status(const struct edge *edge, struct status_row *rows, size_t max)
{
	const struct xmpp_edge *self = const_self_of(edge);
	size_t n = 0;

	for (; n < self->lane_count && n < max; n++) {
		const struct lane *lane = self->lanes[n];
		rows[n] = (struct status_row){
			.kind = "stream",
			.name = lane->name,
			.state = component_state(lane->component),
			.detail = component_error(lane->component),
		};
	}
	return n;
}

static const struct edge_ops ops = {
	.translate = inbound_translate,
	.answer = inbound_answer,
	.refuse = inbound_refuse,
	.done = inbound_done,
	.direct = direct,
	.flow = flow,
	.reached = reached,
	.arrived = arrived,
	.configure = configure,
	.drain = drain,
	.is_idle = is_idle,
	.status = status,
	.free = edge_free,
};

struct edge *xmpp_edge_new(struct loop *loop, const struct xmpp_edge_options *options,
			   const struct config *config,
			   const struct config_installation *installation)
{
	struct xmpp_edge *self = mem_new(struct xmpp_edge);

	self->edge.ops = &ops;
	self->loop = loop;
	self->options = *options;
	self->options.secrets = str_dup(options->secrets);
	self->installation = str_dup(installation->name);
	self->is_paused = !journal_is_flowing(options->journal);
	self->sightings = sightings_new(&sightings_ops, self);
	self->sightings_timer = timer_new(loop, work, self);
	configure(&self->edge, config);
	return &self->edge;
}
