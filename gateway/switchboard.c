/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/switchboard.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "schema/journal.h"

enum {
	PATIENCE_MS = 10 * 1000,
	TICK_MS = 1000,
	/* Items of one source not handled yet, and their bytes, past which it is not read. */
	WAITING_ITEMS = 4096,
	WAITING_BYTES = 16 * 1024 * 1024,
};

/* Something that an edge brought and that is not handled yet. */
struct item {
	struct item *next;
	struct source *source; /* NULL: nobody waits for its commit any more */
	msec since;
	struct edge_inbound inbound;
};

/* One origin of items, handled in order. */
struct source {
	struct source *next;
	struct switchboard *switchboard;
	struct edge *edge;
	struct item *first, **last;
	struct item *committing; /* the journal has them: see edge_ops.committed */
	size_t count, bytes;
	bool handling, dead; /* freed inside its own handling: parked */
};

struct switchboard {
	struct loop *loop;
	const struct dispatch *dispatch;
	msec patience;
	struct source *sources;
	struct timer *tick;
	bool flowing; /* the journal takes what edges and links bring */
};

static void source_add(struct source *source, struct item *item)
{
	if (!source->first)
		source->last = &source->first;
	*source->last = item;
	source->last = &item->next;
	source->count++;
	source->bytes += item->inbound.size;
}

static struct item *source_take(struct source *source)
{
	struct item *item = source->first;

	source->first = item->next;
	source->count--;
	source->bytes -= item->inbound.size;
	return item;
}

/* The edge may forget the first item. */
static void source_drop(struct source *source)
{
	struct item *item = source_take(source);

	source->edge->ops->done(source->edge, item->inbound.item);
	free(item);
}

static void item_committed(void *arg)
{
	struct item *item = arg;
	struct source *source = item->source;

	if (source) {
		struct item **at = &source->committing;

		while (*at != item)
			at = &(*at)->next;
		*at = item->next;
		source->edge->ops->committed(source->edge, item->inbound.item);
		source->edge->ops->done(source->edge, item->inbound.item);
	}
	free(item);
}

/* The first item stays until the journal has committed what came of it. */
static void source_commit(struct source *source)
{
	struct item *item = source_take(source);

	item->next = source->committing;
	source->committing = item;
}

/* --- one item ------------------------------------------------------------------------------ */

static void refuse(struct source *source, const struct item *item, enum bounce bounce,
		   const char *text)
{
	metric_add(&dispatch_metrics[DISPATCH_BOUNCED], 1);
	source->edge->ops->refuse(source->edge, item->inbound.item, bounce, text);
}

static bool is_domain(struct slice address)
{
	return slice_eq(address_text_domain(address), address_text_bare(address));
}

/* The people of an item, all asked for at once so that one query brings them. `mentions` has room
 * for as many as the item names. HR_RETRY: some are being asked for. */
static enum hr_status find_people(struct registry *registry, const struct edge_inbound *inbound,
				  const struct person **mentions, struct edge_people *out)
{
	enum hr_status from =
		registry_find(registry, inbound->key, address_text_bare(inbound->from), &out->from);
	enum hr_status to = is_domain(inbound->to)
				    ? HR_NONE
				    : registry_find(registry, PEOPLE_ADDRESS,
						    address_text_bare(inbound->to), &out->to);
	enum hr_status status = from == HR_RETRY || to == HR_RETRY ? HR_RETRY : HR_OK;

	for (size_t i = 0; i < inbound->mention_count; i++) {
		mentions[i] = NULL; /* stays so when nobody has that address */
		if (registry_find(registry, PEOPLE_NATIVE, inbound->mentions[i], &mentions[i]) ==
		    HR_RETRY)
			status = HR_RETRY;
	}
	out->mentions = mentions;
	return status;
}

/* Takes the first item of the source, which it is. */
static void send_item(struct source *source, struct item *item, struct envelope *envelope,
		      const struct edge_people *people)
{
	const struct dispatch *dispatch = source->switchboard->dispatch;
	struct route route = dispatch_decide(
		dispatch, envelope,
		&(struct dispatch_people){ .from = people->from, .to = people->to });
	scoped(envelope) hopped = dispatch_hop(dispatch, envelope, &route);
	struct journal_target *target = dispatch_target(dispatch, &route, envelope->f.from);
	struct hr_err err;

	if (route.kind == ROUTE_BOUNCE) {
		refuse(source, item, route.bounce, route.reason);
		source_drop(source);
		return;
	}
	if (!target) {
		refuse(source, item, BOUNCE_NOT_ALLOWED, "your address is in no federated domain");
		source_drop(source);
		return;
	}
	dispatch_count(envelope);
	if (envelope->f.kind != ENVELOPE_MESSAGE) {
		if (dispatch_direct(dispatch, hopped, &route, people->to, &err) != HR_OK)
			refuse(source, item, BOUNCE_REMOTE_TIMEOUT, err.text);
		source_drop(source);
		return;
	}
	struct journal_entry entry = { .target = target, .envelope = hopped };

	if (dispatch_away(dispatch, envelope, &route,
			  &(struct dispatch_people){ people->from, people->to }, &entry))
		entry.target = NULL;
	if (source->edge->ops->committed) {
		entry.done = item_committed;
		entry.arg = item;
		source_commit(source);
	} else {
		source_drop(source);
	}
	journal_put(dispatch->journal, &entry);
}

/* A query that its edge answers, if rules let it pass. */
static void answer_item(struct source *source, const struct item *item,
			const struct edge_people *people)
{
	const struct edge_inbound *inbound = &item->inbound;
	struct route refusal;

	if (!is_domain(inbound->to) &&
	    !dispatch_permits(source->switchboard->dispatch, inbound->to,
			      &(struct dispatch_people){ people->from, people->to }, &refusal))
		refuse(source, item, refusal.bounce, refusal.reason);
	else
		source->edge->ops->answer(source->edge, inbound->item, people);
}

/* Whether the edge may bring something from whom it says. */
static bool is_sender(const struct edge_inbound *inbound, const struct person *from)
{
	if (!from || !from->enabled)
		return false;
	return inbound->key == PEOPLE_ADDRESS ||
	       (from->installation && strcmp(from->installation, inbound->installation) == 0);
}

static void find_outsiders(const struct dispatch *dispatch, const struct edge_inbound *inbound,
			   struct edge_people *people)
{
	struct dispatch_people two = { .from = people->from, .to = people->to };

	if (!two.from && inbound->key == PEOPLE_NATIVE)
		return;
	dispatch_outsiders(dispatch, inbound->from, inbound->to, &two);
	people->from = two.from;
	people->to = two.to;
}

/* HR_OK: the source no longer has it. HR_RETRY: not now (people not here yet, or no room in the
 * journal). */
static enum hr_status handle_item(struct source *source, struct item *item)
{
	const struct dispatch *dispatch = source->switchboard->dispatch;
	const struct edge_inbound *inbound = &item->inbound;
	const struct person *mentions[EDGE_MENTIONS_MAX];
	struct edge_people people = { 0 };
	scoped(envelope) envelope = NULL;
	struct hr_err err;

	if (!journal_is_flowing(dispatch->journal) || !registry_config(dispatch->registry) ||
	    find_people(dispatch->registry, inbound, mentions, &people) == HR_RETRY)
		return HR_RETRY;
	find_outsiders(dispatch, inbound, &people);
	if (!is_sender(inbound, people.from)) {
		metric_add(&dispatch_metrics[DISPATCH_REFUSED_SENDER], 1);
		log_info("switchboard.sender_refused", LOG_SLICE("from", inbound->from),
			 LOG_STR("installation", inbound->installation));
		refuse(source, item, BOUNCE_NOT_ALLOWED, "you have no federation address here");
		source_drop(source);
		return HR_OK;
	}
	if (inbound->is_answered) {
		answer_item(source, item, &people);
		source_drop(source);
		return HR_OK;
	}
	if (source->edge->ops->translate(source->edge, inbound->item, &people, &envelope, &err) !=
	    HR_OK) {
		refuse(source, item, BOUNCE_BAD_REQUEST, err.text);
		source_drop(source);
		return HR_OK;
	}
	send_item(source, item, envelope, &people);
	return HR_OK;
}

static void handle_source(struct source *source)
{
	if (source->handling)
		return;
	source->handling = true;
	while (!source->dead && source->first && handle_item(source, source->first) == HR_OK)
		;
	source->handling = false;
}

/* --- flow: read only what there is room for ----------------------------------------------------
 */

/* Once it is, it stays so until half of it is handled. */
static bool is_full(const struct source *source)
{
	size_t part = source->edge->is_held ? 2 : 1;

	return source->count >= WAITING_ITEMS / part || source->bytes >= WAITING_BYTES / part;
}

static void update_edge(const struct switchboard *switchboard, struct edge *edge)
{
	bool is_held = !switchboard->flowing;

	for (const struct source *source = switchboard->sources; source; source = source->next)
		is_held = is_held || (source->edge == edge && is_full(source));
	if (is_held == edge->is_held)
		return;
	edge->is_held = is_held;
	edge->ops->flow(edge, !is_held);
}

static void update_flow(struct switchboard *switchboard)
{
	bool flowing = journal_is_flowing(switchboard->dispatch->journal);

	if (flowing != switchboard->flowing) {
		switchboard->flowing = flowing;
		links_flow(switchboard->dispatch->links, flowing);
	}
	for (const struct source *source = switchboard->sources; source; source = source->next)
		update_edge(switchboard, source->edge);
}

void source_bring(struct source *source, const struct edge_inbound *inbound)
{
	const struct dispatch *dispatch = source->switchboard->dispatch;
	const struct person *mentions[EDGE_MENTIONS_MAX];
	struct edge_people people;
	struct item *item = mem_new(struct item);

	item->inbound = *inbound;
	item->source = source;
	item->since = loop_now(source->switchboard->loop);
	source_add(source, item);
	if (source->first == item)
		handle_source(source);
	else /* its people are asked for while it waits its turn */
		find_people(dispatch->registry, inbound, mentions, &people);
	update_edge(source->switchboard, source->edge);
}

struct source *switchboard_source(struct switchboard *switchboard, struct edge *edge)
{
	struct source *source = mem_new(struct source);

	source->switchboard = switchboard;
	source->edge = edge;
	source->next = switchboard->sources;
	switchboard->sources = source;
	return source;
}

void source_free(struct source *source)
{
	if (!source)
		return;

	struct source **at = &source->switchboard->sources;

	while (*at != source)
		at = &(*at)->next;
	*at = source->next;
	while (source->first)
		source_drop(source);
	for (struct item *item = source->committing; item; item = item->next) {
		source->edge->ops->done(source->edge, item->inbound.item);
		item->source = NULL;
	}
	source->dead = true;
	loop_park(source->switchboard->loop, source, free);
}

void switchboard_serve(struct switchboard *switchboard, const char *destination, struct edge *edge)
{
	struct map *edges = switchboard->dispatch->edges;

	if (!edge) {
		map_remove(edges, slice_str(destination));
		return;
	}
	map_put(edges, slice_str(destination), edge);
	edge->is_held = !switchboard->flowing;
	edge->ops->flow(edge, switchboard->flowing);
}

/* --- what can't go where its queue leads -------------------------------------------------------
 */

enum hr_status switchboard_reroute(struct switchboard *switchboard, struct journal_target *target,
				   int64_t seq, struct envelope *envelope)
{
	const struct dispatch *dispatch = switchboard->dispatch;
	struct dispatch_people people;

	if (envelope->f.is_copy) /* its recipient has it already */
		return dispatch_give_up(dispatch, target, seq, envelope,
					dispatch_bounce(BOUNCE_RECIPIENT_UNAVAILABLE,
							"a copy that can't be mailed"));
	if (dispatch_find(dispatch, envelope, &people) != HR_OK)
		return HR_RETRY;

	struct route route = dispatch_decide(dispatch, envelope, &people);

	if (route.kind == ROUTE_SITE && envelope->f.hop_count &&
	    !dispatch_is_hopped(dispatch, envelope))
		/* No site would believe that this one speaks for the sender. */
		route = dispatch_bounce(BOUNCE_RECIPIENT_UNAVAILABLE,
					"the recipient moved to another site: send it again");
	scoped(envelope) hopped = dispatch_hop(dispatch, envelope, &route);
	struct journal_target *next = dispatch_target(dispatch, &route, envelope->f.from);

	if (!next && route.kind != ROUTE_BOUNCE)
		route = dispatch_bounce(BOUNCE_NOT_ALLOWED,
					"the sender's domain is no longer federated");
	if (!next)
		return dispatch_give_up(dispatch, target, seq, envelope, route);
	if (next == target)
		return HR_RETRY; /* it is back where it was: the consumer looks again */
	log_info("switchboard.rerouted", LOG_STR("queue", journal_target_name(target)),
		 LOG_STR("to_queue", journal_target_name(next)), LOG_INT("seq", seq),
		 LOG_SLICE("to", envelope->f.to));
	struct journal_entry entry = {
		.target = next, .envelope = hopped, .skip = target, .skip_seq = seq
	};

	if (route.kind == ROUTE_INSTALLATION)
		away_defers(dispatch->away, hopped, people.to, &entry.later);
	journal_put(dispatch->journal, &entry);
	return HR_OK;
}

static void buried(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct journal_target *target = arg;

	if (status != HR_OK)
		log_error("switchboard.dead_letter_lost",
			  LOG_STR("queue", journal_target_name(target)), LOG_ERR(err));
}

enum hr_status switchboard_bury(struct switchboard *switchboard, struct journal_target *target,
				int64_t seq, struct envelope *envelope, const char *reason)
{
	const struct dispatch *dispatch = switchboard->dispatch;
	scoped(envelope) held = envelope_ref(envelope);
	struct route why = dispatch_bounce(BOUNCE_SERVICE_UNAVAILABLE,
					   "the recipient's server does not accept this message");

	if (dispatch_give_up(dispatch, target, seq, held, why) != HR_OK)
		return HR_RETRY;
	metric_add(&dispatch_metrics[DISPATCH_DEAD], 1);
	log_error("switchboard.dead_letter", LOG_STR("queue", journal_target_name(target)),
		  LOG_INT("seq", seq), LOG_SLICE("from", held->f.from), LOG_SLICE("to", held->f.to),
		  LOG_STR("reason", reason));
	journal_dead_letter(dispatch->pg, journal_target_id(target), seq, held->packed, reason,
			    buried, target);
	return HR_OK;
}

/* --- time passes, people arrive, the journal flows again -----------------------------------------
 */

static void lose_patience(struct source *source)
{
	msec now = loop_now(source->switchboard->loop);

	while (source->first && now - source->first->since > source->switchboard->patience) {
		refuse(source, source->first, BOUNCE_RESOURCE_CONSTRAINT,
		       "the gateway's database is away: try again later");
		source_drop(source);
	}
}

void switchboard_go_on(struct switchboard *switchboard)
{
	struct slice name;
	void *edge;

	for (struct source *source = switchboard->sources, *next; source; source = next) {
		next = source->next;
		handle_source(source);
	}
	update_flow(switchboard);
	for (size_t at = 0; map_next(switchboard->dispatch->edges, &at, &name, &edge);)
		((struct edge *)edge)->ops->arrived(edge);
}

static void tick(void *arg)
{
	struct switchboard *switchboard = arg;

	for (struct source *source = switchboard->sources; source; source = source->next)
		lose_patience(source);
	bool more = dispatch_expire(switchboard->dispatch, time_usec());

	update_flow(switchboard);
	timer_set(switchboard->tick, loop_now(switchboard->loop) + (more ? 1 : TICK_MS));
}

bool switchboard_is_idle(const struct switchboard *switchboard)
{
	for (const struct source *source = switchboard->sources; source; source = source->next)
		if (source->first || source->committing)
			return false;
	return true;
}

struct switchboard *switchboard_new(struct loop *loop, const struct dispatch *dispatch,
				    msec patience)
{
	struct switchboard *switchboard = mem_new(struct switchboard);

	switchboard->loop = loop;
	switchboard->dispatch = dispatch;
	switchboard->patience = patience ? patience : PATIENCE_MS;
	switchboard->flowing = journal_is_flowing(dispatch->journal);
	switchboard->tick = timer_new(loop, tick, switchboard);
	timer_set(switchboard->tick, loop_now(loop) + TICK_MS);
	return switchboard;
}

void switchboard_free(struct switchboard *switchboard)
{
	if (switchboard)
		timer_free(switchboard->tick);
	free(switchboard);
}
