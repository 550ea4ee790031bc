/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/journal.h"
#include "federation/link.h"
#include "federation/registry.h"
#include "gateway/duty.h"
#include "gateway/neighbour.h"
#include "gateway/secret.h"
#include "gateway/switchboard.h"
#include "gateway/xmpp/edge.h"
#include "schema/journal.h"
#include "schema/status.h"

#include <signal.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum {
	STATUS_MS = 1000,
	MAINTAIN_MS = 60 * 1000,
	DRAIN_LOOK_MS = 20,
	STATUS_ROWS = 1024,
};

#define OPTION(section_, key_, kind_, field, ...)                              \
	{                                                                      \
		.section = section_, .key = key_, .kind = kind_,               \
		.offset = offsetof(struct gateway_options, field), __VA_ARGS__ \
	}

const struct ini_option gateway_option_table[] = {
	OPTION("gateway", "node", OPTION_TEXT, node, .required = true),
	OPTION("gateway", "database", OPTION_TEXT, database, .required = true),
	OPTION("gateway", "secrets", OPTION_PATH, secrets),
	OPTION("gateway", "log_level", OPTION_TEXT, log_level, .value = "info"),
	OPTION("gateway", "drain", OPTION_DURATION, drain, .value = "10s", .high = 600000),
	OPTION("gateway", "patience", OPTION_DURATION, patience, .value = "10s", .low = 100,
	       .high = 600000),
	OPTION("link", "listen", OPTION_TEXT, listen),
	OPTION("link", "key", OPTION_TEXT, key, .value = "link.key"),
	OPTION("link", "heartbeat", OPTION_DURATION, heartbeat, .value = "5s", .low = 100,
	       .high = 10000),
	OPTION("link", "retry_max", OPTION_DURATION, retry_max, .value = "30s", .low = 100,
	       .high = 3600000),
};
const size_t gateway_option_count = countof(gateway_option_table);

struct gateway {
	const struct gateway_options *options;
	struct loop *loop;
	struct pg *journal_pg; /* commits and leases */
	struct pg *side_pg;    /* look-ups, LISTEN, status */
	struct journal *journal;
	struct registry *registry;
	struct duties *duties;
	char *site; /* once the local site is known, with what is made then: */
	struct dispatch dispatch;
	struct switchboard *switchboard;
	struct neighbours *neighbours;
	struct timer *status_timer, *maintain_timer, *drain_timer;
	msec drain_until; /* 0: not draining */
	bool reporting, ready;
	struct hr_err fatal; /* status HR_OK: none */
};

static void notify_manager(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

static void end_with(struct gateway *gateway, const struct hr_err *err)
{
	if (gateway->fatal.status == HR_OK)
		gateway->fatal = *err;
	gateway->fatal.status = HR_FAIL;
	loop_stop(gateway->loop);
}

/* --- duties -------------------------------------------------------------------------------- */

/* A link needs the consent of both sites. */
static bool is_mutual(const struct config *config, const char *peer)
{
	bool ours = false, theirs = false;

	for (size_t i = 0; i < config->link_count; i++) {
		const struct config_link *link = &config->links[i];

		ours = ours || (strcmp(link->site, config->local_site) == 0 &&
				strcmp(link->peer, peer) == 0);
		theirs = theirs || (strcmp(link->site, peer) == 0 &&
				    strcmp(link->peer, config->local_site) == 0);
	}
	return ours && theirs;
}

static const struct config_site *find_site(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->site_count; i++)
		if (strcmp(config->sites[i].name, name) == 0)
			return &config->sites[i];
	return NULL;
}

static const struct config_installation *find_installation(const struct config *config,
							   struct slice name)
{
	for (size_t i = 0; i < config->installation_count; i++)
		if (slice_is(name, config->installations[i].name) &&
		    strcmp(config->installations[i].site, config->local_site) == 0)
			return &config->installations[i];
	return NULL;
}

/* Gives the links and the switchboard the peers whose links are ours. */
static void update_links(struct gateway *gateway)
{
	const struct config *config = registry_config(gateway->registry);
	struct link_peer *peers = mem_array(struct link_peer, config->link_count);
	const char **sites = mem_array(const char *, config->link_count);
	size_t n = 0;

	for (size_t i = 0; i < config->link_count; i++) {
		const struct config_link *link = &config->links[i];
		const struct config_site *site = find_site(config, link->peer);

		if (strcmp(link->site, config->local_site) != 0 || !site ||
		    !duties_hold(gateway->duties, DUTY_LINK, link->peer))
			continue;
		sites[n] = site->name;
		peers[n++] = (struct link_peer){
			.site = site->name,
			.dial = strcmp(link->dialer, config->local_site) == 0,
			.endpoints = site->endpoints,
			.public_keys = site->public_keys,
		};
	}
	links_configure(gateway->dispatch.links, peers, n);
	neighbours_hold(gateway->neighbours, sites, n);
	free(peers);
	free(sites);
}

static void start_edge(struct gateway *gateway, const char *name)
{
	const struct config *config = registry_config(gateway->registry);
	const struct config_installation *installation = find_installation(config, slice_str(name));

	if (!installation || map_get(gateway->dispatch.edges, slice_str(name)) ||
	    gateway->drain_until)
		return;
	struct edge *edge = xmpp_edge_new(gateway->loop,
					  &(struct xmpp_edge_options){
						  .secrets = gateway->options->secrets,
						  .journal = gateway->journal,
						  .registry = gateway->registry,
						  .switchboard = gateway->switchboard,
						  .retry_max = gateway->options->retry_max,
					  },
					  config, installation);

	switchboard_serve(gateway->switchboard, name, edge);
}

static void stop_edge(struct gateway *gateway, const char *name)
{
	struct edge *edge = map_get(gateway->dispatch.edges, slice_str(name));

	switchboard_serve(gateway->switchboard, name, NULL);
	if (edge)
		xmpp_edge_free(edge);
}

static void duty_taken(void *ctx, enum duty_kind kind, const char *name)
{
	switch (kind) {
	case DUTY_INSTALLATION:
		start_edge(ctx, name);
		return;
	case DUTY_LINK:
		update_links(ctx);
		return;
	}
}

static void duty_lost(void *ctx, enum duty_kind kind, const char *name)
{
	switch (kind) {
	case DUTY_INSTALLATION:
		stop_edge(ctx, name);
		return;
	case DUTY_LINK:
		update_links(ctx);
		return;
	}
}

static const struct duties_events duties_events = { .taken = duty_taken, .lost = duty_lost };

static void update_duties(struct gateway *gateway, const struct config *config)
{
	duties_begin(gateway->duties);
	for (size_t i = 0; i < config->installation_count; i++)
		if (strcmp(config->installations[i].site, config->local_site) == 0)
			duties_want(gateway->duties, DUTY_INSTALLATION,
				    config->installations[i].name);
	for (size_t i = 0; i < config->site_count; i++)
		if (is_mutual(config, config->sites[i].name))
			duties_want(gateway->duties, DUTY_LINK, config->sites[i].name);
	duties_end(gateway->duties);
}

/* --- events of the parts --------------------------------------------------------------------- */

static void link_state(void *ctx, struct link *link, bool up, const char *reason)
{
	(void)ctx, (void)link, (void)up, (void)reason; /* links log it; status reports it */
}

static void link_hello(void *ctx, struct link *link, const char *incarnation)
{
	neighbours_hello(((struct gateway *)ctx)->neighbours, link, incarnation);
}

static void link_envelope(void *ctx, struct link *link, int64_t seq, struct envelope *envelope)
{
	neighbours_envelope(((struct gateway *)ctx)->neighbours, link, seq, envelope);
}

static void link_direct(void *ctx, struct link *link, struct envelope *envelope)
{
	neighbours_direct(((struct gateway *)ctx)->neighbours, link, envelope);
}

static const struct links_events links_events = {
	.state = link_state,
	.hello = link_hello,
	.envelope = link_envelope,
	.direct = link_direct,
};

/* The local site is known: the parts that need its name can be made. */
static enum hr_status settle(struct gateway *gateway, const struct config *config,
			     struct hr_err *err)
{
	const struct gateway_options *options = gateway->options;
	scoped_str key = NULL;

	if (secret_link_key(options->secrets, options->key, &key, err) != HR_OK)
		return err->status;
	if (links_new(gateway->loop,
		      &(struct links_options){
			      .site = config->local_site,
			      .node = options->node,
			      .listen = options->listen,
			      .secret_key = key,
			      .heartbeat = options->heartbeat,
			      .retry_max = options->retry_max,
		      },
		      &links_events, gateway, &gateway->dispatch.links, err) != HR_OK)
		return err->status;
	gateway->site = str_dup(config->local_site);
	gateway->dispatch.site = gateway->site;
	gateway->switchboard =
		switchboard_new(gateway->loop, &gateway->dispatch, options->patience);
	gateway->neighbours = neighbours_new(&gateway->dispatch);
	return HR_OK;
}

/* Whatever had to wait may go on now. */
static void go_on(struct gateway *gateway)
{
	if (!gateway->site)
		return;
	neighbours_go_on(gateway->neighbours);
	switchboard_go_on(gateway->switchboard);
}

static void registry_changed(void *ctx, const struct config *config)
{
	struct gateway *gateway = ctx;
	struct slice name;
	void *edge;
	struct hr_err err;

	if (!gateway->site && settle(gateway, config, &err) != HR_OK) {
		end_with(gateway, &err);
		return;
	}
	if (strcmp(gateway->site, config->local_site) != 0) {
		err_set(&err, HR_FAIL, "the database is now of site %s, it was of %s",
			config->local_site, gateway->site);
		end_with(gateway, &err);
		return;
	}
	for (size_t at = 0; map_next(gateway->dispatch.edges, &at, &name, &edge);) {
		const struct config_installation *installation = find_installation(config, name);

		if (installation)
			xmpp_edge_configure(edge, config, installation);
	}
	update_duties(gateway, config);
	update_links(gateway);
	go_on(gateway);
	if (!gateway->ready) {
		gateway->ready = true;
		log_info("gateway.ready", LOG_STR("site", gateway->site),
			 LOG_STR("node", gateway->options->node));
		notify_manager("READY=1");
	}
}

static void registry_arrived(void *ctx)
{
	go_on(ctx);
}

static const struct registry_events registry_events = {
	.arrived = registry_arrived,
	.changed = registry_changed,
};

static void journal_ready(void *ctx)
{
	duties_up(((struct gateway *)ctx)->duties);
}

static void journal_position_committed(void *ctx, const char *site, int64_t seq)
{
	neighbours_position(((struct gateway *)ctx)->neighbours, site, seq);
}

static void journal_flowing(void *ctx, bool yes)
{
	(void)yes;
	go_on(ctx);
}

static void journal_fatal(void *ctx, const struct hr_err *err)
{
	end_with(ctx, err);
}

static const struct journal_events journal_events = {
	.ready = journal_ready,
	.position = journal_position_committed,
	.flowing = journal_flowing,
	.fatal = journal_fatal,
};

static void journal_pg_up(void *ctx)
{
	journal_up(((struct gateway *)ctx)->journal);
}

static void journal_pg_down(void *ctx, const struct hr_err *err)
{
	log_warn("database.down", LOG_STR("use", "journal"), LOG_ERR(err));
	journal_down(((struct gateway *)ctx)->journal);
}

static void side_pg_up(void *ctx)
{
	struct gateway *gateway = ctx;

	registry_up(gateway->registry);
	journal_look(gateway->journal);
}

static void side_pg_down(void *ctx, const struct hr_err *err)
{
	(void)ctx;
	log_warn("database.down", LOG_STR("use", "registry"), LOG_ERR(err));
}

static void side_pg_notified(void *ctx, const char *channel, const char *payload)
{
	struct gateway *gateway = ctx;

	if (strcmp(channel, "hedgerow_queue") == 0)
		journal_woken(gateway->journal, payload);
	else
		registry_notified(gateway->registry, channel);
}

static const struct pg_events journal_pg_events = { .up = journal_pg_up, .down = journal_pg_down };
static const struct pg_events side_pg_events = {
	.up = side_pg_up,
	.down = side_pg_down,
	.notified = side_pg_notified,
};

/* --- what repeats ------------------------------------------------------------------------------
 */

static size_t gather_metrics(struct metric *out)
{
	const struct {
		const struct metric *metrics;
		size_t n;
	} all[] = {
		{ xmpp_metrics, XMPP_METRICS },
		{ dispatch_metrics, DISPATCH_METRICS },
		{ journal_metrics, JOURNAL_METRICS },
		{ link_metrics, LINK_METRICS },
	};
	size_t n = 0;

	for (size_t i = 0; i < countof(all); i++) {
		memcpy(out + n, all[i].metrics, all[i].n * sizeof *out);
		n += all[i].n;
	}
	return n;
}

static size_t gather_rows(struct gateway *gateway, struct status_row *rows, size_t max)
{
	const struct config *config = registry_config(gateway->registry);
	struct slice name;
	void *edge;
	size_t n = 0;

	for (size_t i = 0; i < config->site_count && n < max; i++) {
		const struct link *link =
			links_find(gateway->dispatch.links, config->sites[i].name);

		if (link)
			rows[n++] = (struct status_row){
				.kind = "link",
				.name = config->sites[i].name,
				.state = link_is_up(link) ? "up" : "down",
				.detail = link_is_up(link) ? NULL : link_reason(link),
			};
	}
	for (size_t at = 0; map_next(gateway->dispatch.edges, &at, &name, &edge);)
		n += xmpp_edge_status(edge, rows + n, max - n);
	return n;
}

static void reported(void *arg, enum hr_status status, const PGresult *result,
		     const struct hr_err *err)
{
	struct gateway *gateway = arg;

	(void)result;
	gateway->reporting = false;
	if (status == HR_FAIL)
		log_error("gateway.status_failed", LOG_ERR(err));
}

static void report_status(void *arg)
{
	struct gateway *gateway = arg;
	struct metric metrics[XMPP_METRICS + DISPATCH_METRICS + JOURNAL_METRICS + LINK_METRICS];

	timer_set(gateway->status_timer, loop_now(gateway->loop) + STATUS_MS);
	if (gateway->site)
		neighbours_go_on(gateway->neighbours); /* what failed is asked again */
	if (gateway->reporting || !gateway->ready || !pg_is_up(gateway->side_pg))
		return;

	struct status_row *rows = mem_array(struct status_row, STATUS_ROWS);
	size_t row_count = gather_rows(gateway, rows, STATUS_ROWS);

	gateway->reporting = true;
	status_report(gateway->side_pg, slice_str(gateway->options->node), rows, row_count, metrics,
		      gather_metrics(metrics), reported, gateway);
	free(rows);
}

static void maintained(void *arg, enum hr_status status, const struct hr_err *err)
{
	(void)arg;
	if (status == HR_FAIL)
		log_error("journal.maintenance_failed", LOG_ERR(err));
}

static void maintain(void *arg)
{
	struct gateway *gateway = arg;

	timer_set(gateway->maintain_timer, loop_now(gateway->loop) + msec_jitter(MAINTAIN_MS));
	if (gateway->ready && pg_is_up(gateway->side_pg))
		journal_maintain(gateway->side_pg, maintained, gateway);
}

/* --- the end -------------------------------------------------------------------------------------
 */

static bool is_drained(struct gateway *gateway)
{
	struct slice name;
	void *edge;

	if (!gateway->site)
		return true;
	for (size_t at = 0; map_next(gateway->dispatch.edges, &at, &name, &edge);)
		if (!xmpp_edge_is_idle(edge))
			return false;
	return switchboard_is_idle(gateway->switchboard) &&
	       neighbours_are_idle(gateway->neighbours) && journal_is_idle(gateway->journal);
}

static void look_drained(void *arg)
{
	struct gateway *gateway = arg;
	bool drained = is_drained(gateway);

	if (drained || loop_now(gateway->loop) >= gateway->drain_until) {
		log_info("gateway.drained", LOG_STR("complete", drained ? "yes" : "no"));
		loop_stop(gateway->loop);
		return;
	}
	timer_set(gateway->drain_timer, loop_now(gateway->loop) + DRAIN_LOOK_MS);
}

static void drain(void *arg)
{
	struct gateway *gateway = arg;
	struct slice name;
	void *edge;

	if (gateway->drain_until)
		return;
	log_info("gateway.drain", LOG_STR("node", gateway->options->node));
	notify_manager("STOPPING=1");
	gateway->drain_until = loop_now(gateway->loop) + gateway->options->drain;
	for (size_t at = 0; map_next(gateway->dispatch.edges, &at, &name, &edge);)
		xmpp_edge_drain(edge);
	if (gateway->dispatch.links)
		links_flow(gateway->dispatch.links, false);
	look_drained(gateway);
}

static void gateway_close(struct gateway *gateway)
{
	struct slice name;
	void *edge;

	timer_free(gateway->status_timer);
	timer_free(gateway->maintain_timer);
	timer_free(gateway->drain_timer);
	for (size_t at = 0; map_next(gateway->dispatch.edges, &at, &name, &edge);)
		xmpp_edge_free(edge);
	neighbours_free(gateway->neighbours);
	switchboard_free(gateway->switchboard);
	links_free(gateway->dispatch.links);
	pg_free(gateway->journal_pg); /* what asked is freed after who would answer */
	pg_free(gateway->side_pg);
	duties_free(gateway->duties);
	registry_free(gateway->registry);
	journal_free(gateway->journal);
	map_free(gateway->dispatch.edges);
	free(gateway->site);
}

static void gateway_open(struct gateway *gateway)
{
	const struct gateway_options *options = gateway->options;
	struct loop *loop = gateway->loop;

	gateway->journal_pg = pg_new(loop, options->database, "hedgerow-gateway journal",
				     &journal_pg_events, gateway);
	gateway->side_pg =
		pg_new(loop, options->database, "hedgerow-gateway", &side_pg_events, gateway);
	gateway->journal =
		journal_new(loop, gateway->journal_pg, options->node, &journal_events, gateway);
	gateway->registry = registry_new(loop, gateway->side_pg, &registry_events, gateway);
	gateway->duties = duties_new(loop, gateway->journal_pg, &duties_events, gateway);
	gateway->dispatch = (struct dispatch){
		.journal = gateway->journal,
		.registry = gateway->registry,
		.pg = gateway->side_pg,
		.edges = map_new(),
	};
	gateway->status_timer = timer_new(loop, report_status, gateway);
	gateway->maintain_timer = timer_new(loop, maintain, gateway);
	gateway->drain_timer = timer_new(loop, look_drained, gateway);
	pg_listen(gateway->side_pg, "hedgerow_queue");
	timer_set(gateway->status_timer, loop_now(loop) + STATUS_MS);
	timer_set(gateway->maintain_timer, loop_now(loop) + msec_jitter(MAINTAIN_MS));
}

enum hr_status gateway_check(const struct gateway_options *options, struct hr_err *err)
{
	scoped_str key = NULL;
	enum log_level level;

	if (log_level_parse(options->log_level, &level, err) != HR_OK)
		return err_add(err, "[gateway] log_level");
	if (!options->secrets)
		return err_set(
			err, HR_FAIL,
			"[gateway] secrets is not set, and there is no $CREDENTIALS_DIRECTORY");
	return secret_link_key(options->secrets, options->key, &key, err);
}

enum hr_status gateway_run(const struct gateway_options *options, struct hr_err *err)
{
	scoped(loop) loop = loop_new();
	struct gateway gateway = { .options = options, .loop = loop };
	scoped(on_signal) terminate = on_signal_new(loop, SIGTERM, drain, &gateway);
	scoped(on_signal) interrupt = on_signal_new(loop, SIGINT, drain, &gateway);

	signal(SIGPIPE, SIG_IGN);
	log_info("gateway.start", LOG_STR("node", options->node),
		 LOG_STR("version", PACKAGE_VERSION));
	gateway_open(&gateway);
	loop_run(loop);
	gateway_close(&gateway);
	log_info("gateway.stop", LOG_STR("node", options->node));
	if (gateway.fatal.status == HR_OK)
		return HR_OK;
	*err = gateway.fatal;
	return err->status;
}
