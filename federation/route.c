/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/route.h"

/* A site and the cheapest way to it. The row of the local site is in it as well: cost 0. */
struct place {
	const char *site;
	int64_t cost; /* UNREACHED: no path is known */
	int hops;
	const char *via; /* the neighbour where the path begins; NULL: none, or the local site */
	bool settled;
};

enum { UNREACHED = -1 };

/* Which two places a link joins; both ends have agreed. */
struct edge {
	size_t from, to;
	int64_t cost;
};

struct routes {
	const struct config *config;
	struct place *places; /* by site name */
	size_t place_count;
	struct edge *edges; /* by from, then to; each link is in it both ways */
	size_t edge_count;
};

static int by_site(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->site, ((const struct place *)b)->site);
}

static struct place *place_of(const struct routes *routes, const char *site)
{
	struct place key = { .site = site };

	return bsearch(&key, routes->places, routes->place_count, sizeof key, by_site);
}

static int by_ends(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return x->to < y->to ? -1 : x->to > y->to;
}

/* One edge a row, sorted; then only those whose other end has a row too, at the dearer cost. */
static void find_edges(struct routes *routes)
{
	const struct config *config = routes->config;
	struct edge *rows = mem_array(struct edge, config->link_count);
	size_t n = 0;

	for (size_t i = 0; i < config->link_count; i++) {
		const struct config_link *link = &config->links[i];
		const struct place *from = place_of(routes, link->site);
		const struct place *to = place_of(routes, link->peer);
		if (!from || !to || from == to)
			continue;
		rows[n++] = (struct edge){ (size_t)(from - routes->places),
					   (size_t)(to - routes->places),
					   link->cost > 0 ? link->cost : 1 };
	}
	qsort(rows, n, sizeof *rows, by_ends);
	routes->edges = mem_array(struct edge, n);
	for (size_t i = 0; i < n; i++) {
		struct edge back = { rows[i].to, rows[i].from, 0 };
		const struct edge *other = bsearch(&back, rows, n, sizeof back, by_ends);
		if (!other)
			continue;
		struct edge *edge = &routes->edges[routes->edge_count++];
		*edge = rows[i];
		if (edge->cost < other->cost)
			edge->cost = other->cost;
	}
	free(rows);
}

static struct place *nearest(struct routes *routes)
{
	struct place *best = NULL;

	for (size_t i = 0; i < routes->place_count; i++) {
		struct place *place = &routes->places[i];
		if (!place->settled && place->cost != UNREACHED &&
		    (!best || place->cost < best->cost ||
		     (place->cost == best->cost && place->hops < best->hops)))
			best = place;
	}
	return best;
}

static bool is_better(const struct place *known, const struct place *offer)
{
	if (known->cost == UNREACHED || offer->cost != known->cost)
		return known->cost == UNREACHED || offer->cost < known->cost;
	if (offer->hops != known->hops)
		return offer->hops < known->hops;
	return known->via && strcmp(offer->via, known->via) < 0;
}

/* Dijkstra from the local site. */
static void find_paths(struct routes *routes)
{
	struct place *here;

	while ((here = nearest(routes))) {
		here->settled = true;
		for (size_t i = 0; i < routes->edge_count; i++) {
			const struct edge *edge = &routes->edges[i];
			struct place *there = &routes->places[edge->to];
			if (&routes->places[edge->from] != here || there->settled)
				continue;
			struct place offer = *there;
			offer.cost = here->cost + edge->cost;
			offer.hops = here->hops + 1;
			offer.via = here->via ? here->via : there->site;
			if (is_better(there, &offer))
				*there = offer;
		}
	}
}

struct routes *routes_new(const struct config *config)
{
	struct routes *routes = mem_new(struct routes);

	routes->config = config;
	routes->places = mem_array(struct place, config->site_count);
	routes->place_count = config->site_count;
	for (size_t i = 0; i < config->site_count; i++)
		routes->places[i] =
			(struct place){ .site = config->sites[i].name, .cost = UNREACHED };
	qsort(routes->places, routes->place_count, sizeof *routes->places, by_site);
	find_edges(routes);
	struct place *local = config->local_site ? place_of(routes, config->local_site) : NULL;
	if (local)
		local->cost = 0;
	find_paths(routes);
	return routes;
}

void routes_free(struct routes *routes)
{
	if (routes) {
		free(routes->places);
		free(routes->edges);
	}
	free(routes);
}

const char *route_next_site(const struct routes *routes, const char *site)
{
	const struct place *place = place_of(routes, site);

	return place && place->hops <= ENVELOPE_HOPS_MAX ? place->via : NULL;
}

static struct route bounced(enum bounce bounce, const char *reason)
{
	return (struct route){ .kind = ROUTE_BOUNCE, .bounce = bounce, .reason = reason };
}

static bool is_federated(const struct config *config, struct slice domain)
{
	for (size_t i = 0; i < config->domain_count; i++)
		if (slice_is(domain, config->domains[i].name))
			return true;
	return false;
}

static const struct config_installation *installation_of(const struct config *config,
							 const struct person *to)
{
	for (size_t i = 0; i < config->installation_count; i++) {
		const struct config_installation *at = &config->installations[i];
		if (strcmp(at->name, to->installation) == 0 && strcmp(at->site, to->site) == 0)
			return at;
	}
	return NULL;
}

/* To or towards `site`, where `here` is how it goes on. */
static struct route by_site_of(const struct routes *routes, const char *site, struct route here)
{
	const struct config *config = routes->config;

	if (config->local_site && strcmp(site, config->local_site) == 0)
		return here;
	const char *next = route_next_site(routes, site);
	if (!next)
		return bounced(BOUNCE_REMOTE_TIMEOUT, "no link leads to this person's site");
	return (struct route){ .kind = ROUTE_SITE, .site = next };
}

/* Without an installation. An outsider's `site` is the carrier already. */
static struct route by_mail(const struct routes *routes, const struct person *to,
			    struct slice domain)
{
	const struct config_mail *mail = config_find_mail(routes->config, to->site, domain);

	if (!mail || mail->mode == MAIL_OFF || (to->outsider && !mail->outsiders))
		return bounced(BOUNCE_RECIPIENT_UNAVAILABLE,
			       "this person is reached by e-mail only, and no mail is set up");
	return by_site_of(routes, mail->carrier,
			  (struct route){ .kind = ROUTE_MAIL, .mail = mail });
}

struct route route_find(const struct routes *routes, const struct person *to, struct slice domain)
{
	const struct config *config = routes->config;

	if (!to)
		return bounced(BOUNCE_ITEM_NOT_FOUND, is_federated(config, domain)
							      ? "nobody has this address"
							      : "this domain is not served here");
	if (!to->enabled)
		return bounced(BOUNCE_RECIPIENT_UNAVAILABLE, "this person's account is disabled");
	if (!to->installation || !to->native)
		return by_mail(routes, to, domain);

	const struct config_installation *at = installation_of(config, to);

	return by_site_of(routes, to->site,
			  at ? (struct route){ .kind = ROUTE_INSTALLATION, .installation = at }
			     : bounced(BOUNCE_SERVICE_UNAVAILABLE,
				       "this person's installation is not configured"));
}
