/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/neighbours.h"

#include "base/map.h"
#include "base/secret.h"
#include "gateway/key_file.h"

struct neighbours {
	struct dispatch *dispatch;
	struct content *content;
	struct map *by_site;
};

static struct neighbour *find(const struct neighbours *neighbours, const char *site)
{
	return map_get(neighbours->by_site, slice_str(site));
}

static struct neighbour *next_neighbour(const struct neighbours *neighbours, size_t *at,
					struct slice *site)
{
	void *neighbour;

	return map_next(neighbours->by_site, at, site, &neighbour) ? neighbour : NULL;
}

/* Links log it, report tells operators; edges show it to people. */
static void link_state(void *ctx, struct link *link, bool up, const char *reason)
{
	const struct neighbours *neighbours = ctx;
	struct slice name;
	void *value;

	(void)reason;
	for (size_t at = 0; map_next(neighbours->dispatch->edges, &at, &name, &value);) {
		struct edge *edge = value;

		if (edge->ops->reached)
			edge->ops->reached(edge, link_site(link), up);
	}
}

static void link_hello(void *ctx, struct link *link, const char *incarnation)
{
	struct neighbour *neighbour = find(ctx, link_site(link));

	if (neighbour)
		neighbour_hello(neighbour, incarnation);
}

static void link_envelope(void *ctx, struct link *link, int64_t seq, struct envelope *envelope)
{
	struct neighbour *neighbour = find(ctx, link_site(link));

	if (neighbour)
		neighbour_envelope(neighbour, seq, envelope);
	else
		envelope_free(envelope);
}

static void link_direct(void *ctx, struct link *link, struct envelope *envelope)
{
	struct neighbour *neighbour = find(ctx, link_site(link));

	if (neighbour)
		neighbour_direct(neighbour, envelope);
	else
		envelope_free(envelope);
}

static const struct links_events links_events = {
	.state = link_state,
	.hello = link_hello,
	.envelope = link_envelope,
	.direct = link_direct,
};

void neighbours_position(struct neighbours *neighbours, const char *site, int64_t seq)
{
	struct neighbour *neighbour = find(neighbours, site);

	if (neighbour)
		neighbour_position(neighbour, seq);
}

void neighbours_go_on(struct neighbours *neighbours)
{
	struct slice site;
	struct neighbour *neighbour;

	for (size_t at = 0; (neighbour = next_neighbour(neighbours, &at, &site));)
		neighbour_go_on(neighbour);
}

void neighbours_drain(struct neighbours *neighbours)
{
	links_flow(neighbours->dispatch->links, false);
}

bool neighbours_are_idle(const struct neighbours *neighbours)
{
	struct slice site;
	struct neighbour *neighbour;

	for (size_t at = 0; (neighbour = next_neighbour(neighbours, &at, &site));)
		if (!neighbour_is_idle(neighbour))
			return false;
	return true;
}

static void hold(struct neighbours *neighbours, const struct link_peer *peers, size_t n)
{
	struct slice site;
	struct neighbour *neighbour;

	for (size_t at = 0; (neighbour = next_neighbour(neighbours, &at, &site));) {
		bool kept = false;

		for (size_t i = 0; i < n; i++)
			kept = kept || slice_is(site, peers[i].site);
		if (!kept)
			neighbour_let_go(neighbour);
	}
	for (size_t i = 0; i < n; i++) {
		neighbour = find(neighbours, peers[i].site);
		if (!neighbour) {
			neighbour = neighbour_new(neighbours->dispatch, neighbours->content,
						  peers[i].site);
			map_put(neighbours->by_site, slice_str(peers[i].site), neighbour);
		}
		neighbour_hold(neighbour);
	}
}

void neighbours_configure(struct neighbours *neighbours, const struct config *config,
			  const struct duties *duties)
{
	struct link_peer *peers = mem_array(struct link_peer, config->link_count);
	size_t n = 0;

	for (size_t i = 0; i < config->link_count; i++) {
		const struct config_link *link = &config->links[i];
		const struct config_site *site = config_find_site(config, link->peer);

		if (strcmp(link->site, config->local_site) != 0 || !site ||
		    !duties_hold(duties, DUTY_LINK, link->peer))
			continue;
		peers[n++] = (struct link_peer){
			.site = site->name,
			.dial = strcmp(link->dialer, config->local_site) == 0,
			.endpoints = site->endpoints,
			.public_keys = site->public_keys,
		};
	}
	links_configure(neighbours->dispatch->links, peers, n);
	hold(neighbours, peers, n);
	free(peers);
}

enum hr_status neighbours_new(struct loop *loop, const struct gateway_options *options,
			      struct dispatch *dispatch, struct neighbours **out,
			      struct hr_err *err)
{
	scoped(neighbours) neighbours = mem_new(struct neighbours);
	scoped_secret key = NULL;

	neighbours->dispatch = dispatch;
	neighbours->content = content_new();
	neighbours->by_site = map_new();
	if (key_file_read(options->secrets, options->key, &key, err) != HR_OK)
		return err->status;
	if (links_new(loop,
		      &(struct links_options){
			      .site = dispatch->site,
			      .node = options->node,
			      .listen = options->listen,
			      .secret_key = key,
			      .heartbeat = options->heartbeat,
			      .retry_max = options->retry_max,
		      },
		      &links_events, neighbours, &dispatch->links, err) != HR_OK)
		return err->status;
	*out = give(neighbours);
	return HR_OK;
}

void neighbours_free(struct neighbours *neighbours)
{
	struct slice site;
	struct neighbour *neighbour;

	if (!neighbours)
		return;
	for (size_t at = 0; (neighbour = next_neighbour(neighbours, &at, &site));)
		neighbour_free(neighbour);
	links_free(give(neighbours->dispatch->links));
	map_free(neighbours->by_site);
	content_free(neighbours->content);
	free(neighbours);
}
