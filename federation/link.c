/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link_private.h"

#include "base/log.h"
#include "federation/link_list.h"

#include <sys/random.h>

enum { RETRY_MIN_MS = 250 };

enum state { STALE, IDLE, DIALING, DIALED, HOSTING, WAITING, STATES };

enum event {
	WANTED,	   /* we are to dial */
	CONNECTED, /* the dial got through */
	ACCEPTED,  /* the peer has dialled us and said Hello */
	LOST,	   /* the dial or the session is over, and we are to dial again */
	UNWANTED,  /* the same, and we are not */
	TIMEOUT,
	EVENTS
};

/* A connection in place ends (LOST or UNWANTED) before another is ACCEPTED. */
static const enum state next_state[STATES][EVENTS] = {
	[IDLE] = { [WANTED] = DIALING, [ACCEPTED] = HOSTING },
	[DIALING] = { [CONNECTED] = DIALED, [LOST] = WAITING, [UNWANTED] = IDLE },
	[DIALED] = { [LOST] = WAITING, [UNWANTED] = IDLE },
	[HOSTING] = { [LOST] = WAITING, [UNWANTED] = IDLE },
	[WAITING] = { [TIMEOUT] = DIALING, [ACCEPTED] = HOSTING, [UNWANTED] = IDLE },
};

static void turn(struct link *link, enum event event);

/* --- a session's events --- */

static struct queue *queue_of(void *ctx)
{
	struct link *link = ctx;

	return link->source ? link->source->queue(link->source_arg) : NULL;
}

static const char *incarnation_of(void *ctx)
{
	struct link *link = ctx;

	return link->source ? link->source->incarnation(link->source_arg) : NULL;
}

static bool on_accepted(void *ctx, int64_t seq)
{
	struct link *link = ctx;

	return link->source && link->source->ack(link->source_arg, seq);
}

static void on_offer(void *ctx, bool yes)
{
	struct link *link = ctx;

	if (link->source && link->source->offer)
		link->source->offer(link->source_arg, yes);
}

static bool has_connection(const struct link *link)
{
	return link->state == DIALED || link->state == HOSTING;
}

static void arm(struct link *link)
{
	if (has_connection(link))
		timer_set(link->timer, session_deadline(link->session));
}

static void flush(void *arg)
{
	struct link *link = arg;

	session_flush(link->session, loop_now(link->links->loop));
	arm(link);
}

static void on_flush(void *ctx)
{
	struct link *link = ctx;

	if (has_connection(link))
		loop_later(link->links->loop, flush, link);
}

static void on_gone(void *arg)
{
	struct link *link = arg;
	struct hr_err why;

	err_set(&why, HR_RETRY, "disconnected");
	session_lost(link->session, &why);
}

static bool send_bytes(struct link *link, struct slice bytes)
{
	struct links *links = link->links;

	metric_add(&link_metrics[LINK_FRAMES_OUT], 1);
	metric_add(&link_metrics[LINK_BYTES_OUT], (int64_t)bytes.len);
	if (link->dialed)
		return link_socket_send(link->dialed, (struct slice){ 0 }, bytes);
	return links->listener && link->route.data &&
	       link_socket_send(links->listener, link->route, bytes);
}

static void on_send(void *ctx, const struct frame *frame)
{
	struct link *link = ctx;

	if (!send_bytes(link, frame_encode(link->links->codec, frame)))
		loop_later(link->links->loop, on_gone, link);
}

static void forget_connection(struct link *link)
{
	loop_cancel(link->links->loop, on_gone, link);
	loop_cancel(link->links->loop, flush, link);
	link_socket_free(give(link->dialed));
	free((char *)link->route.data);
	link->route = (struct slice){ 0 };
	free(give(link->key));
}

static bool is_wanted(struct link *link)
{
	return link->dial && link->endpoints[0] && link->keys[0] && incarnation_of(link) &&
	       queue_of(link) && !link->links->closing;
}

static size_t count_ways(const struct link *link)
{
	return link_list_count(link->endpoints) * link_list_count(link->keys);
}

/* Logged when it is news: when the link was up, or all ways were tried and the outcome differs. */
static void set_reason(struct link *link, const struct hr_err *why, bool was_up)
{
	size_t ways = count_ways(link);

	link->reason = *why;
	if (!was_up && (ways > 1 && link->attempt % ways != 0))
		return;
	if (!was_up && strcmp(link->logged.text, why->text) == 0)
		return;
	link->logged = *why;
	log_info("link.state", LOG_STR("site", link->site), LOG_STR("to", "down"),
		 LOG_STR("reason", why->text));
}

/* The connection or the try is over, whatever it was. */
static void down(struct link *link, const struct hr_err *why)
{
	struct links *links = link->links;
	bool was_up = link->up_since != 0;

	if (was_up && loop_now(links->loop) - link->up_since >= links->heartbeat)
		link->pause = 0; /* a good one: the same way again */
	else
		link->attempt++;
	link->up_since = 0;
	forget_connection(link);
	set_reason(link, why, was_up);
	turn(link, is_wanted(link) ? LOST : UNWANTED);
	if (was_up && !links->closing)
		links->events.state(links->ctx, link, false, link->reason.text);
}

static void on_state(void *ctx, bool up, const struct hr_err *why)
{
	struct link *link = ctx;
	struct links *links = link->links;

	if (!up)
		return down(link, why);
	link->up_since = loop_now(links->loop);
	link->reason = link->logged = (struct hr_err){ HR_OK, "" };
	log_info("link.state", LOG_STR("site", link->site), LOG_STR("to", "up"),
		 LOG_STR("node", session_peer_node(link->session)),
		 LOG_STR("via", link->dialed ? link_socket_endpoint(link->dialed) : "listener"));
	links->events.state(links->ctx, link, true, "");
}

static void on_hello(void *ctx, const char *incarnation)
{
	struct link *link = ctx;

	link->links->events.hello(link->links->ctx, link, incarnation);
}

static void on_envelope(void *ctx, int64_t seq, struct envelope *envelope)
{
	struct link *link = ctx;

	link->links->events.envelope(link->links->ctx, link, seq, envelope);
}

static void on_direct(void *ctx, struct envelope *envelope)
{
	struct link *link = ctx;

	link->links->events.direct(link->links->ctx, link, envelope);
}

static const struct session_events session_events = {
	.queue = queue_of,
	.incarnation = incarnation_of,
	.accepted = on_accepted,
	.offer = on_offer,
	.send = on_send,
	.flush = on_flush,
	.state = on_state,
	.hello = on_hello,
	.envelope = on_envelope,
	.direct = on_direct,
};

static void begin_session(struct link *link)
{
	uint64_t id = 0;

	err_set(&link->reason, HR_RETRY, "connected, and waiting until both sides can resume");
	while (id == 0)
		if (getrandom(&id, sizeof id, 0) != sizeof id)
			abort();
	session_connected(link->session, id, loop_now(link->links->loop));
	arm(link);
}

/* --- dialling --- */

void link_take(struct link *link, const struct frame *frame)
{
	session_frame(link->session, frame, loop_now(link->links->loop));
	arm(link);
}

void link_receive(struct link *link, struct slice bytes)
{
	struct frame frame;
	struct hr_err err;

	metric_add(&link_metrics[LINK_FRAMES_IN], 1);
	metric_add(&link_metrics[LINK_BYTES_IN], (int64_t)bytes.len);
	if (frame_decode(link->links->codec, bytes, &frame, &err) == HR_OK)
		link_take(link, &frame);
	else
		session_refuse(link->session, &err);
}

static void on_dial_message(void *ctx, const struct link_message *message)
{
	link_receive(ctx, message->bytes);
}

static void on_dial_changed(void *ctx, enum link_socket_change change, const char *text)
{
	struct link *link = ctx;
	struct hr_err why;

	if (change == LINK_SOCKET_CONNECTED) {
		turn(link, CONNECTED);
		return;
	}
	err_set(&why, HR_RETRY, "%s: %s", link_socket_endpoint(link->dialed), text);
	if (session_is_down(link->session))
		down(link, &why);
	else
		session_lost(link->session, &why);
}

static const struct link_socket_events dial_events = { on_dial_message, on_dial_changed };

static enum hr_status dial(struct link *link, struct hr_err *err)
{
	struct links *links = link->links;
	size_t endpoints = link_list_count(link->endpoints), keys = link_list_count(link->keys);

	link->key = str_dup(link->keys[link->attempt / endpoints % keys]);
	return link_socket_new(links->loop,
			       &(struct link_socket_options){
				       .context = links->context,
				       .endpoint = link->endpoints[link->attempt % endpoints],
				       .secret_key = links->secret_key,
				       .peer_key = link->key,
				       .patience = LINK_HANDSHAKE_MS,
			       },
			       &dial_events, link, &link->dialed, err);
}

static msec next_pause(struct link *link)
{
	if (link->attempt % count_ways(link) != 0)
		return msec_jitter(RETRY_MIN_MS);
	link->pause = msec_clamp(2 * link->pause, RETRY_MIN_MS, link->links->retry_max);
	return msec_jitter(link->pause);
}

/* The only writer of link->state. */
static void turn(struct link *link, enum event event)
{
	enum state next = next_state[link->state][event];
	msec now = loop_now(link->links->loop);
	struct hr_err err;

	if (next == STALE)
		return;
	link->state = next;
	timer_set(link->timer, 0);
	switch (next) {
	case DIALING:
		timer_set(link->timer, now + LINK_HANDSHAKE_MS);
		if (dial(link, &err) != HR_OK)
			down(link, &err);
		return;
	case WAITING:
		timer_set(link->timer, now + next_pause(link));
		return;
	case DIALED:
	case HOSTING:
		begin_session(link);
		return;
	case IDLE:
		return;
	case STALE:
	case STATES:
		break;
	}
	abort(); /* no row of next_state leads here */
}

/* What has come is read before silence is believed: it may be we who were slow. */
static void read_first(struct link *link)
{
	link_socket_read(link->dialed ? link->dialed : link->links->listener);
}

static void on_timer(void *arg)
{
	struct link *link = arg;
	struct hr_err why;

	if (link->state == DIALING) {
		err_set(&why, HR_RETRY, "%s: no answer", link_socket_endpoint(link->dialed));
		down(link, &why);
	} else if (link->state == WAITING) {
		turn(link, is_wanted(link) ? TIMEOUT : UNWANTED);
	} else if (has_connection(link)) {
		read_first(link);
		session_timeout(link->session, loop_now(link->links->loop));
		arm(link);
	}
}

/* Ends what there is, a dial or a session; LOST or UNWANTED follows. */
static void stop(struct link *link, const char *reason)
{
	struct hr_err why;

	if (link->state == DIALING) {
		err_set(&why, HR_RETRY, "%s", reason);
		down(link, &why);
	} else {
		session_close(link->session, reason);
	}
}

static void consider(struct link *link)
{
	if (link->state == IDLE && is_wanted(link))
		turn(link, WANTED);
	else if (link->state == WAITING && !is_wanted(link))
		turn(link, UNWANTED);
}

/* --- for links.c --- */

struct link *link_new(struct links *links, const char *site)
{
	struct link *link = mem_new(struct link);

	link->links = links;
	link->site = str_dup(site);
	link->endpoints = link_list_dup(NULL);
	link->keys = link_list_dup(NULL);
	link->session = session_new(
		&(struct session_options){
			.site = links->site,
			.node = links->node,
			.peer = site,
			.heartbeat = links->heartbeat,
		},
		&session_events, link);
	session_flow(link->session, links->flowing);
	link->state = IDLE;
	link->timer = timer_new(links->loop, on_timer, link);
	err_set(&link->reason, HR_RETRY, "not attached");
	return link;
}

static void destroy(void *arg)
{
	struct link *link = arg;

	session_free(link->session);
	link_list_free(link->endpoints);
	link_list_free(link->keys);
	free(link->site);
	free(link);
}

void link_remove(struct link *link, const char *reason)
{
	map_remove(link->links->sites, slice_str(link->site));
	link->dial = false;
	stop(link, reason);
	turn(link, UNWANTED);
	timer_free(give(link->timer));
	link->state = STALE; /* whoever still has it on the stack changes nothing any more */
	loop_park(link->links->loop, link, destroy);
}

static void replace_list(char ***list, char *const *with, bool *changed)
{
	*changed = *changed || !link_list_eq(*list, with);
	link_list_free(*list);
	*list = link_list_dup(with);
}

void link_configure(struct link *link, const struct link_peer *peer)
{
	bool changed = link->dial != peer->dial;

	link->dial = peer->dial;
	replace_list(&link->endpoints, peer->endpoints, &changed);
	replace_list(&link->keys, peer->public_keys, &changed);
	if (!changed)
		return;
	link->attempt = 0;
	link->pause = 0;
	if (link->state == WAITING)
		timer_set(link->timer, loop_now(link->links->loop) + msec_jitter(RETRY_MIN_MS));
}

void link_review(struct link *link)
{
	if (link->key && !link_list_has(link->keys, link->key))
		stop(link, "the key of the connection is withdrawn");
	else if (link->dialed && !link->dial)
		stop(link, "the peer is to dial");
	else if (link->dialed &&
		 !link_list_has(link->endpoints, link_socket_endpoint(link->dialed)))
		stop(link, "the endpoint of the connection is withdrawn");
	consider(link);
}

bool link_is_current(const struct link *link, struct slice route)
{
	return link->state == HOSTING && slice_eq(link->route, route);
}

enum hr_status link_host(struct link *link, const struct link_message *message, struct hr_err *err)
{
	/* When both sides dial, the dial of the lesser name is kept. */
	if (link->state == DIALED && strcmp(link->links->site, link->site) < 0)
		return err_set(err, HR_FAIL, "both sides dial: the connection of %s is kept",
			       link->links->site);
	if (!link->source)
		return err_set(err, HR_FAIL, "this gateway does not have the link");
	stop(link, "another connection of the peer took over");
	if (next_state[link->state][ACCEPTED] == STALE)
		return err_set(err, HR_FAIL, "the link has changed meanwhile");
	link->route.data = mem_dup(message->route.data, message->route.len);
	link->route.len = message->route.len;
	link->key = str_dup(message->key);
	turn(link, ACCEPTED);
	return HR_OK;
}

void link_attach_source(struct link *link, const struct link_source *source, void *arg)
{
	if (link->source == source && link->source_arg == arg)
		return;
	stop(link, "the queue of the link is taken away");
	link->source = source;
	link->source_arg = arg;
	if (!session_is_up(link->session))
		err_set(&link->reason, HR_RETRY, "%s",
			!source	     ? "not attached"
			: link->dial ? "the queue is not open yet"
				     : "waiting for the peer to dial");
	consider(link);
}

void link_send(struct link *link)
{
	consider(link);
	session_wake(link->session);
}
