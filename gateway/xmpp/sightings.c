/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/sightings.h"

#include "base/map.h"
#include "federation/address.h"

enum {
	AT_ONCE = 128, /* pairs in one step */
	PACE_MS = 50,
	BLOCKED_MS = 1000,
	GRACE_MS = 3 * 1000,   /* a gateway that is started again is back by then */
	SETTLE_MS = 30 * 1000, /* after the last probe: who has not answered is gone */
};

enum state { STALE, REACHED, MISSED, GONE, SETTLING, STATES };
enum event { LOST, BACK, DUE, EVENTS };

static const enum state next_state[STATES][EVENTS] = {
	[REACHED] = { [LOST] = MISSED },
	[MISSED] = { [BACK] = SETTLING, [DUE] = GONE },
	[GONE] = { [BACK] = SETTLING },
	[SETTLING] = { [LOST] = MISSED, [DUE] = REACHED },
};

/* A neighbouring site. */
struct way {
	struct way *next;
	char *site;
	enum state state;
	msec due;
	unsigned round; /* counts how often it came back */
};

struct resource {
	char *contact;	/* owned; full */
	unsigned round; /* of its way when it was seen last */
};

/* The lists that a pair is in: all, by the time of the last touch; those to be looked at. */
enum { TOUCHED, PENDING, LISTS };

struct pair {
	struct pair *next[LISTS], *prev[LISTS];
	char *watcher, *contact;    /* owned; bare */
	struct way *way;	    /* NULL: the contact was never seen */
	struct resource *resources; /* owned */
	size_t resource_count;
	bool is_pending, is_to_probe;
};

struct sightings {
	const struct sightings_ops *ops;
	void *ctx;
	struct way *ways;
	struct map *by_key;
	struct pair *first[LISTS], *last[LISTS];
	size_t pending_count;
};

struct sightings *sightings_new(const struct sightings_ops *ops, void *ctx)
{
	struct sightings *sightings = mem_new(struct sightings);

	sightings->ops = ops;
	sightings->ctx = ctx;
	sightings->by_key = map_new();
	return sightings;
}

/* --- pairs --------------------------------------------------------------------------------- */

static void list_add(struct sightings *sightings, int list, struct pair *pair)
{
	pair->prev[list] = sightings->last[list];
	pair->next[list] = NULL;
	*(pair->prev[list] ? &pair->prev[list]->next[list] : &sightings->first[list]) = pair;
	sightings->last[list] = pair;
}

static void list_remove(struct sightings *sightings, int list, struct pair *pair)
{
	struct pair *next = pair->next[list], *prev = pair->prev[list];

	*(prev ? &prev->next[list] : &sightings->first[list]) = next;
	*(next ? &next->prev[list] : &sightings->last[list]) = prev;
}

static void set_pending(struct sightings *sightings, struct pair *pair, bool yes)
{
	if (pair->is_pending == yes)
		return;
	pair->is_pending = yes;
	(yes ? list_add : list_remove)(sightings, PENDING, pair);
	sightings->pending_count += yes ? 1 : (size_t)-1;
}

static char *key_of(struct slice watcher, struct slice contact)
{
	return str_format(SLICE_FMT "\n" SLICE_FMT, SLICE_ARG(watcher), SLICE_ARG(contact));
}

static void drop_resource(struct pair *pair, size_t i)
{
	free(pair->resources[i].contact);
	pair->resources[i] = pair->resources[--pair->resource_count];
}

static void pair_free(struct sightings *sightings, struct pair *pair)
{
	scoped_str key = key_of(slice_str(pair->watcher), slice_str(pair->contact));

	map_remove(sightings->by_key, slice_str(key));
	set_pending(sightings, pair, false);
	list_remove(sightings, TOUCHED, pair);
	while (pair->resource_count)
		drop_resource(pair, 0);
	free(pair->resources);
	free(pair->watcher);
	free(pair->contact);
	free(pair);
}

static struct pair *find_pair(const struct sightings *sightings, struct slice watcher,
			      struct slice contact)
{
	scoped_str key = key_of(watcher, contact);

	return map_get(sightings->by_key, slice_str(key));
}

/* The pair, as the one touched last. */
static struct pair *touch(struct sightings *sightings, struct slice watcher, struct slice contact)
{
	struct pair *pair = find_pair(sightings, watcher, contact);
	scoped_str key = key_of(watcher, contact);

	if (pair) {
		list_remove(sightings, TOUCHED, pair);
		list_add(sightings, TOUCHED, pair);
		return pair;
	}
	if (map_count(sightings->by_key) >= SIGHTINGS_PAIRS_MAX) {
		pair_free(sightings, sightings->first[TOUCHED]);
		sightings->ops->dropped(sightings->ctx);
	}
	pair = mem_new(struct pair);
	pair->watcher = mem_dup(watcher.data, watcher.len);
	pair->contact = mem_dup(contact.data, contact.len);
	map_put(sightings->by_key, slice_str(key), pair);
	list_add(sightings, TOUCHED, pair);
	return pair;
}

void sightings_free(struct sightings *sightings)
{
	if (!sightings)
		return;
	while (sightings->first[TOUCHED])
		pair_free(sightings, sightings->first[TOUCHED]);
	for (struct way *way = sightings->ways, *next; way; way = next) {
		next = way->next;
		free(way->site);
		free(way);
	}
	map_free(sightings->by_key);
	free(sightings);
}

/* --- what is seen ------------------------------------------------------------------------------
 */

static struct way *find_way(struct sightings *sightings, struct slice site)
{
	struct way *way = sightings->ways;

	while (way && !slice_is(site, way->site))
		way = way->next;
	if (way)
		return way;
	way = mem_new(struct way);
	way->site = mem_dup(site.data, site.len);
	way->state = REACHED;
	way->next = sightings->ways;
	sightings->ways = way;
	return way;
}

void sightings_asked(struct sightings *sightings, struct slice watcher, struct slice contact)
{
	touch(sightings, watcher, address_text_bare(contact));
}

static void forget_resource(struct pair *pair, struct slice contact)
{
	bool all = address_text_resource(contact).len == 0;

	for (size_t i = pair->resource_count; i > 0; i--)
		if (all || slice_is(contact, pair->resources[i - 1].contact))
			drop_resource(pair, i - 1);
}

void sightings_seen(struct sightings *sightings, struct slice watcher, struct slice contact,
		    struct slice site, bool is_available)
{
	struct pair *pair;

	if (site.len == 0) {
		pair = find_pair(sightings, watcher, address_text_bare(contact));
		if (pair)
			pair_free(sightings, pair);
		return;
	}
	pair = touch(sightings, watcher, address_text_bare(contact));
	pair->way = find_way(sightings, site);
	forget_resource(pair, contact);
	if (!is_available)
		return;
	if (pair->resource_count == SIGHTINGS_RESOURCES_MAX)
		drop_resource(pair, 0);
	pair->resources =
		mem_resize(pair->resources, pair->resource_count + 1, sizeof *pair->resources);
	pair->resources[pair->resource_count++] =
		(struct resource){ mem_dup(contact.data, contact.len), pair->way->round };
}

/* --- a link goes and comes ---------------------------------------------------------------------
 */

static void all_pending(struct sightings *sightings, const struct way *way, bool is_to_probe)
{
	for (struct pair *pair = sightings->first[TOUCHED]; pair; pair = pair->next[TOUCHED]) {
		if (pair->way != way && (pair->way || !is_to_probe))
			continue;
		pair->is_to_probe = pair->is_to_probe || is_to_probe;
		set_pending(sightings, pair, true);
	}
}

/* The only writer of way->state. */
static void enter(struct sightings *sightings, struct way *way, enum event event, msec now)
{
	enum state next = next_state[way->state][event];

	if (next == STALE)
		return;
	way->state = next;
	way->due = 0;
	switch (next) {
	case MISSED:
		way->due = now + GRACE_MS;
		return;
	case SETTLING:
		way->due = now + SETTLE_MS;
		way->round++;
		all_pending(sightings, way, true);
		return;
	case REACHED: /* who has not been seen since is gone */
	case GONE:
		all_pending(sightings, way, false);
		return;
	case STALE:
	case STATES:
		break;
	}
	abort(); /* no row of next_state leads here */
}

void sightings_lost(struct sightings *sightings, const char *site, msec now)
{
	enter(sightings, find_way(sightings, slice_str(site)), LOST, now);
}

void sightings_back(struct sightings *sightings, const char *site, msec now)
{
	struct way *way = find_way(sightings, slice_str(site));

	if (way->state == REACHED) /* the first time: there may be who has asked before it came */
		all_pending(sightings, way, true);
	else
		enter(sightings, way, BACK, now);
}

static bool is_gone(const struct pair *pair, const struct resource *resource)
{
	return pair->way->state == GONE ||
	       (pair->way->state == REACHED && resource->round != pair->way->round);
}

/* False: not now. */
static bool deal_with(struct sightings *sightings, struct pair *pair, msec now)
{
	struct way *way = pair->way;

	for (size_t i = pair->resource_count; i > 0; i--) {
		struct resource *resource = &pair->resources[i - 1];

		if (!is_gone(pair, resource))
			continue;
		if (!sightings->ops->gone(sightings->ctx, pair->watcher, resource->contact))
			return false;
		drop_resource(pair, i - 1);
	}
	if (!pair->is_to_probe || (way && (way->state == MISSED || way->state == GONE)))
		return true; /* asked when the link is back */
	if (!sightings->ops->probe(sightings->ctx, pair->watcher, pair->contact))
		return false;
	pair->is_to_probe = false;
	if (way && way->state == SETTLING)
		way->due = now + SETTLE_MS;
	return true;
}

msec sightings_work(struct sightings *sightings, msec now)
{
	msec next = 0;
	bool is_blocked = true;

	for (struct way *way = sightings->ways; way; way = way->next)
		if (way->due && way->due <= now)
			enter(sightings, way, DUE, now);
	for (size_t n = sightings->pending_count < AT_ONCE ? sightings->pending_count : AT_ONCE; n;
	     n--) {
		struct pair *pair = sightings->first[PENDING];

		set_pending(sightings, pair, false);
		if (deal_with(sightings, pair, now))
			is_blocked = false;
		else
			set_pending(sightings, pair, true); /* as the last */
	}
	if (sightings->pending_count)
		next = now + (is_blocked ? BLOCKED_MS : PACE_MS);
	for (const struct way *way = sightings->ways; way; way = way->next)
		if (way->due && (!next || way->due < next))
			next = way->due;
	return next;
}
