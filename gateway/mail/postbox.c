/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/postbox.h"

#include "base/log.h"
#include "base/map.h"
#include "gateway/mail/visit.h"

struct postbox {
	struct edge edge; /* the first: see gateway/edge.h */
	struct loop *loop;
	struct postbox_options options; /* listen is owned */
	struct server *server;		/* NULL: draining */
	struct deliveries *deliveries;
	struct room room;
	struct visit_host host;
	struct visit *visits[POSTBOX_VISITS_MAX]; /* a blank is NULL */
	uint64_t last_serial;
	struct timer *tick;
};

enum { TICK_MS = 1000 };

static struct postbox *self_of(struct edge *edge)
{
	return (struct postbox *)edge;
}

static struct postbox *find(const struct dispatch *dispatch)
{
	return map_get(dispatch->edges, slice_lit(POSTBOX));
}

struct deliveries *postbox_deliveries(const struct dispatch *dispatch)
{
	struct postbox *self = find(dispatch);

	return self ? self->deliveries : NULL;
}

static struct visit *find_visit(struct postbox *self, uint64_t serial)
{
	for (size_t i = 0; i < countof(self->visits); i++)
		if (self->visits[i] && visit_serial(self->visits[i]) == serial)
			return self->visits[i];
	return NULL;
}

struct visit *postbox_visit(const struct dispatch *dispatch, uint64_t serial)
{
	struct postbox *self = find(dispatch);

	return self ? find_visit(self, serial) : NULL;
}

/* --- visits ------------------------------------------------------------------------------------
 */

static void told(void *ctx, uint64_t serial, uint64_t id, enum lmtp_answer answer, const char *text)
{
	struct visit *visit = find_visit(ctx, serial);

	if (visit) /* else the client has gone, and will come again with it */
		visit_answer(visit, id, answer, text);
}

static void on_ended(void *ctx, struct visit *visit)
{
	struct postbox *self = ctx;

	for (size_t i = 0; i < countof(self->visits); i++)
		if (self->visits[i] == visit)
			self->visits[i] = NULL;
	visit_free(visit);
}

static void on_accepted(void *ctx, struct conn *conn)
{
	struct postbox *self = ctx;

	for (size_t i = 0; i < countof(self->visits); i++)
		if (!self->visits[i]) {
			self->visits[i] = visit_new(&self->host, ++self->last_serial, conn);
			return;
		}
	conn_free(conn); /* the server has a bound of its own: it doesn't come to this */
}

static const struct server_events server_events = { on_accepted };

static void go_on(struct postbox *self)
{
	for (size_t i = 0; i < countof(self->visits); i++)
		if (self->visits[i])
			visit_go_on(self->visits[i]);
	deliveries_go_on(self->deliveries);
}

static void on_tick(void *arg)
{
	struct postbox *self = arg;

	go_on(self);
	timer_set(self->tick, loop_now(self->loop) + TICK_MS);
}

/* --- the edge ----------------------------------------------------------------------------------
 */

static enum hr_status translate(struct edge *edge, void *item, const struct edge_people *people,
				struct envelope **out, struct hr_err *err)
{
	(void)edge;
	return deliveries_translate(item, people, out, err);
}

static void refuse(struct edge *edge, void *item, enum bounce bounce, const char *text)
{
	(void)edge;
	deliveries_refuse(item, bounce, text);
}

static void committed(struct edge *edge, void *item)
{
	(void)edge;
	deliveries_committed(item);
}

static void done(struct edge *edge, void *item)
{
	(void)edge;
	deliveries_done(item);
}

static enum hr_status direct(struct edge *edge, struct envelope *envelope, const struct person *to,
			     struct hr_err *err)
{
	(void)edge, (void)envelope, (void)to;
	return err_set(err, HR_FAIL, "nothing goes out here");
}

static void flow(struct edge *edge, bool yes)
{
	(void)edge,
		(void)yes; /* a client brings one mail at a time, and is told when to come again */
}

static void arrived(struct edge *edge)
{
	go_on(self_of(edge));
}

static void configure(struct edge *edge, const struct config *config)
{
	(void)edge, (void)config; /* looked up when it is needed */
}

static void drain(struct edge *edge)
{
	struct postbox *self = self_of(edge);

	server_free(give(self->server));
	for (size_t i = 0; i < countof(self->visits); i++)
		if (self->visits[i])
			visit_shutdown(self->visits[i]);
}

static bool is_idle(const struct edge *edge)
{
	const struct postbox *self = (const struct postbox *)edge;

	return deliveries_are_idle(self->deliveries);
}

static size_t status(const struct edge *edge, struct status_row *rows, size_t max)
{
	const struct postbox *self = (const struct postbox *)edge;

	if (max == 0)
		return 0;
	rows[0] = (struct status_row){ .kind = "lmtp",
				       .name = self->options.listen,
				       .state = self->server ? "up" : "draining" };
	return 1;
}

static void postbox_free(struct edge *edge)
{
	struct postbox *self = self_of(edge);

	server_free(self->server);
	for (size_t i = 0; i < countof(self->visits); i++)
		visit_free(self->visits[i]);
	deliveries_free(self->deliveries);
	timer_free(self->tick);
	free((char *)self->options.listen);
	free(self);
}

static const struct edge_ops ops = {
	.translate = translate,
	.refuse = refuse,
	.done = done,
	.committed = committed,
	.direct = direct,
	.flow = flow,
	.arrived = arrived,
	.configure = configure,
	.drain = drain,
	.is_idle = is_idle,
	.status = status,
	.free = postbox_free,
};

enum hr_status postbox_new(struct loop *loop, const struct postbox_options *options,
			   struct edge **out, struct hr_err *err)
{
	struct postbox *self = mem_new(struct postbox);

	self->edge.ops = &ops;
	self->loop = loop;
	self->options = *options;
	if (server_new(loop, options->listen, POSTBOX_VISITS_MAX, &server_events, self,
		       &self->server, err) != HR_OK) {
		free(self);
		return err->status;
	}
	self->options.listen = str_dup(options->listen);
	self->deliveries =
		deliveries_new(loop,
			       &(struct deliveries_options){
				       options->dispatch, options->switchboard, options->patience },
			       &self->edge, told, self);
	self->room.max = options->memory_max;
	self->host = (struct visit_host){
		loop, &self->options, self->deliveries, &self->room, on_ended, self,
	};
	self->tick = timer_new(loop, on_tick, self);
	timer_set(self->tick, loop_now(loop) + TICK_MS);
	log_info("mail.listen", LOG_STR("where", options->listen));
	*out = &self->edge;
	return HR_OK;
}
