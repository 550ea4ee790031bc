/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include "base/log.h"
#include "base/map.h"
#include "gateway/edges.h"
#include "gateway/leftovers.h"
#include "gateway/mail/trial.h"
#include "gateway/neighbours.h"
#include "gateway/report.h"
#include "schema/journal.h"
#include "schema/mail.h"

#include <signal.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum {
	TICK_MS = 1000,
	MAINTAIN_MS = 60 * 1000,
	DRAIN_LOOK_MS = 20,
};

struct gateway {
	const struct gateway_options *options;
	struct loop *loop;
	struct pg *journal_pg; /* commits and leases */
	struct pg *side_pg;    /* look-ups, LISTEN, status */
	struct journal *journal;
	struct registry *registry;
	struct desk *desk;
	struct duties *duties;
	char *site; /* once the local site is known, with what is made then: */
	struct dispatch dispatch;
	struct switchboard *switchboard;
	struct neighbours *neighbours;
	struct edges *edges;
	struct leftovers *leftovers;
	struct trials *trials;
	struct report *report;
	struct timer *tick_timer, *maintain_timer, *drain_timer;
	msec drain_until; /* 0: not draining */
	bool ready, asking_due;
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

static void update_links(struct gateway *gateway)
{
	neighbours_configure(gateway->neighbours, registry_config(gateway->registry),
			     gateway->duties);
}

static void duty_taken(void *ctx, enum duty_kind kind, const char *name)
{
	struct gateway *gateway = ctx;

	switch (kind) {
	case DUTY_INSTALLATION:
		edges_start(gateway->edges, registry_config(gateway->registry), name);
		break;
	case DUTY_MAIL:
		edges_start_mail(gateway->edges, registry_config(gateway->registry), name);
		break;
	case DUTY_LINK:
		update_links(gateway);
		break;
	}
	leftovers_update(gateway->leftovers, gateway->duties);
}

static void duty_lost(void *ctx, enum duty_kind kind, const char *name)
{
	struct gateway *gateway = ctx;

	switch (kind) {
	case DUTY_INSTALLATION:
		edges_stop(gateway->edges, name);
		break;
	case DUTY_MAIL:
		edges_stop_mail(gateway->edges, name);
		break;
	case DUTY_LINK:
		update_links(gateway);
		break;
	}
	leftovers_update(gateway->leftovers, gateway->duties);
}

static const struct duties_events duties_events = { .taken = duty_taken, .lost = duty_lost };

static void update_duties(struct gateway *gateway)
{
	const struct config *config = registry_config(gateway->registry);

	duties_begin(gateway->duties);
	for (size_t i = 0; i < config->installation_count; i++)
		if (strcmp(config->installations[i].site, config->local_site) == 0)
			duties_want(gateway->duties, DUTY_INSTALLATION,
				    config->installations[i].name);
	for (size_t i = 0; i < config->mail_count; i++)
		if (strcmp(config->mails[i].site, config->local_site) == 0 &&
		    strcmp(config->mails[i].carrier, config->local_site) == 0)
			duties_want(gateway->duties, DUTY_MAIL, config->mails[i].domain);
	for (size_t i = 0; i < config->site_count; i++)
		if (config_is_linked(config, config->sites[i].name))
			duties_want(gateway->duties, DUTY_LINK, config->sites[i].name);
	leftovers_want(gateway->leftovers, gateway->duties);
	duties_end(gateway->duties);
}

static void leftovers_found(void *arg)
{
	struct gateway *gateway = arg;

	update_duties(gateway);
	leftovers_update(gateway->leftovers, gateway->duties);
}

/* --- events of the parts --------------------------------------------------------------------- */

/* The local site is known: the parts that need its name can be made. */
static enum hr_status settle(struct gateway *gateway, const struct config *config,
			     struct hr_err *err)
{
	const struct gateway_options *options = gateway->options;
	struct dispatch *dispatch = &gateway->dispatch;
	scoped_str site = str_dup(config->local_site);

	dispatch->site = site;
	if (neighbours_new(gateway->loop, options, dispatch, &gateway->neighbours, err) != HR_OK)
		return err->status;
	gateway->switchboard = switchboard_new(gateway->loop, dispatch, options->patience);
	gateway->edges =
		edges_new(gateway->loop, options, dispatch, gateway->switchboard, gateway->desk);
	gateway->leftovers = leftovers_new(gateway->loop, dispatch, gateway->switchboard,
					   leftovers_found, gateway);
	gateway->report = report_new(options->node, dispatch);
	gateway->trials = trials_new(dispatch, options->secrets);
	gateway->site = give(site);
	return edges_listen(gateway->edges, err);
}

/* Whatever had to wait may go on now. */
static void go_on(struct gateway *gateway)
{
	if (!gateway->site)
		return;
	neighbours_go_on(gateway->neighbours);
	switchboard_go_on(gateway->switchboard);
	leftovers_go_on(gateway->leftovers);
	trials_go_on(gateway->trials);
}

static void registry_changed(void *ctx, const struct config *config)
{
	struct gateway *gateway = ctx;
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
	leftovers_configure(gateway->leftovers);
	edges_configure(gateway->edges, config);
	update_duties(gateway);
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
	if (pg_is_news(((struct gateway *)ctx)->journal_pg))
		log_warn("database.down", LOG_STR("use", "journal"), LOG_ERR(err));
	journal_down(((struct gateway *)ctx)->journal);
}

static void side_pg_up(void *ctx)
{
	struct gateway *gateway = ctx;

	registry_up(gateway->registry);
	away_up(gateway->dispatch.away);
	desk_people_changed(gateway->desk);
	journal_look(gateway->journal);
	trials_look(gateway->trials);
}

static void side_pg_down(void *ctx, const struct hr_err *err)
{
	if (pg_is_news(((struct gateway *)ctx)->side_pg))
		log_warn("database.down", LOG_STR("use", "registry"), LOG_ERR(err));
}

static void side_pg_notified(void *ctx, const char *channel, const char *payload)
{
	struct gateway *gateway = ctx;

	if (strcmp(channel, "hedgerow_queue") == 0) {
		journal_woken(gateway->journal, payload);
		return;
	}
	if (strcmp(channel, TRIALS_CHANNEL) == 0) {
		trials_look(gateway->trials);
		return;
	}
	registry_notified(gateway->registry, channel);
	if (strcmp(channel, "hedgerow_person") == 0)
		desk_people_changed(gateway->desk);
}

static const struct pg_events journal_pg_events = { .up = journal_pg_up, .down = journal_pg_down };
static const struct pg_events side_pg_events = {
	.up = side_pg_up,
	.down = side_pg_down,
	.notified = side_pg_notified,
};

/* --- what repeats ------------------------------------------------------------------------------
 */

static void due_appended(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct gateway *gateway = arg;

	gateway->asking_due = false;
	if (status == HR_FAIL)
		log_error("journal.due_failed", LOG_ERR(err));
}

static void tick(void *arg)
{
	struct gateway *gateway = arg;

	timer_set(gateway->tick_timer, loop_now(gateway->loop) + TICK_MS);
	if (!gateway->site)
		return;
	neighbours_go_on(gateway->neighbours); /* what failed is asked again */
	report_send(gateway->report);
	if (!gateway->asking_due && pg_is_up(gateway->side_pg)) {
		gateway->asking_due = true;
		journal_due(gateway->side_pg, due_appended, gateway);
	}
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
	if (gateway->ready && pg_is_up(gateway->side_pg)) {
		journal_maintain(gateway->side_pg, maintained, gateway);
		mail_forget(gateway->side_pg);
		trials_look(gateway->trials);
	}
}

/* --- the end -------------------------------------------------------------------------------------
 */

static bool is_drained(struct gateway *gateway)
{
	if (!gateway->site)
		return true;
	return edges_are_idle(gateway->edges) && switchboard_is_idle(gateway->switchboard) &&
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

	if (gateway->drain_until)
		return;
	log_info("gateway.drain", LOG_STR("node", gateway->options->node));
	notify_manager("STOPPING=1");
	gateway->drain_until = loop_now(gateway->loop) + gateway->options->drain;
	if (gateway->site) {
		edges_drain(gateway->edges);
		neighbours_drain(gateway->neighbours);
		leftovers_drain(gateway->leftovers);
	}
	look_drained(gateway);
}

static void gateway_close(struct gateway *gateway)
{
	timer_free(gateway->tick_timer);
	timer_free(gateway->maintain_timer);
	timer_free(gateway->drain_timer);
	leftovers_free(gateway->leftovers);
	edges_free(gateway->edges);
	switchboard_free(gateway->switchboard);
	neighbours_free(gateway->neighbours);
	pg_free(gateway->journal_pg); /* what asked is freed after who would answer */
	pg_free(gateway->side_pg);
	trials_free(gateway->trials);
	report_free(gateway->report);
	duties_free(gateway->duties);
	desk_free(gateway->desk);
	away_free(gateway->dispatch.away);
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
	gateway->desk = desk_new(loop, gateway->side_pg);
	gateway->duties =
		duties_new(loop, gateway->journal_pg, gateway->journal, &duties_events, gateway);
	gateway->dispatch = (struct dispatch){
		.journal = gateway->journal,
		.registry = gateway->registry,
		.pg = gateway->side_pg,
		.edges = map_new(),
		.away = away_new(gateway->registry, gateway->journal, gateway->side_pg),
	};
	gateway->tick_timer = timer_new(loop, tick, gateway);
	gateway->maintain_timer = timer_new(loop, maintain, gateway);
	gateway->drain_timer = timer_new(loop, look_drained, gateway);
	pg_listen(gateway->side_pg, "hedgerow_queue");
	pg_listen(gateway->side_pg, TRIALS_CHANNEL);
	timer_set(gateway->tick_timer, loop_now(loop) + TICK_MS);
	timer_set(gateway->maintain_timer, loop_now(loop) + msec_jitter(MAINTAIN_MS));
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
