/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/edges.h"

#include "base/map.h"
#include "gateway/xmpp/edge.h"

struct edges {
	struct loop *loop;
	const struct gateway_options *options;
	const struct dispatch *dispatch;
	struct switchboard *switchboard;
	struct desk *desk;
	bool is_draining;
};

static struct edge *next_edge(const struct edges *edges, size_t *at, struct slice *name)
{
	void *edge;

	return map_next(edges->dispatch->edges, at, name, &edge) ? edge : NULL;
}

void edges_start(struct edges *edges, const struct config *config, const char *name)
{
	const struct config_installation *installation =
		config_find_installation(config, slice_str(name));

	if (!installation || map_get(edges->dispatch->edges, slice_str(name)) || edges->is_draining)
		return;
	struct edge *edge = xmpp_edge_new(edges->loop,
					  &(struct xmpp_edge_options){
						  .secrets = edges->options->secrets,
						  .journal = edges->dispatch->journal,
						  .registry = edges->dispatch->registry,
						  .switchboard = edges->switchboard,
						  .desk = edges->desk,
						  .retry_max = edges->options->retry_max,
					  },
					  config, installation);

	switchboard_serve(edges->switchboard, name, edge);
}

void edges_stop(struct edges *edges, const char *name)
{
	struct edge *edge = map_get(edges->dispatch->edges, slice_str(name));

	switchboard_serve(edges->switchboard, name, NULL);
	if (edge)
		edge->ops->free(edge);
}

void edges_configure(struct edges *edges, const struct config *config)
{
	struct slice name;
	struct edge *edge;

	for (size_t at = 0; (edge = next_edge(edges, &at, &name));) {
		const struct config_installation *installation =
			config_find_installation(config, name);

		if (installation)
			edge->ops->configure(edge, config, installation);
	}
}

void edges_drain(struct edges *edges)
{
	struct slice name;
	struct edge *edge;

	edges->is_draining = true;
	for (size_t at = 0; (edge = next_edge(edges, &at, &name));)
		edge->ops->drain(edge);
}

bool edges_are_idle(const struct edges *edges)
{
	struct slice name;
	struct edge *edge;

	for (size_t at = 0; (edge = next_edge(edges, &at, &name));)
		if (!edge->ops->is_idle(edge))
			return false;
	return true;
}

struct edges *edges_new(struct loop *loop, const struct gateway_options *options,
			const struct dispatch *dispatch, struct switchboard *switchboard,
			struct desk *desk)
{
	struct edges *edges = mem_new(struct edges);

	*edges = (struct edges){
		.loop = loop,
		.options = options,
		.dispatch = dispatch,
		.switchboard = switchboard,
		.desk = desk,
	};
	return edges;
}

void edges_free(struct edges *edges)
{
	struct slice name;
	struct edge *edge;

	if (!edges)
		return;
	for (size_t at = 0; (edge = next_edge(edges, &at, &name));)
		edge->ops->free(edge);
	free(edges);
}
