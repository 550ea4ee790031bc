/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/edges.h"

#include "base/map.h"
#include "gateway/mail/postbox.h"
#include "gateway/mail/relay.h"
#include "gateway/xmpp/edge.h"

struct edges {
	struct loop *loop;
	const struct gateway_options *options;
	const struct dispatch *dispatch;
	struct switchboard *switchboard;
	struct desk *desk;
	struct submit *submit;
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
						  .away = edges->dispatch->away,
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

void edges_start_mail(struct edges *edges, const struct config *config, const char *domain)
{
	scoped_str name = str_format("mail:%s", domain);

	if (!config_find_mail(config, config->local_site, slice_str(domain)) ||
	    map_get(edges->dispatch->edges, slice_str(name)) || edges->is_draining)
		return;
	switchboard_serve(edges->switchboard, name,
			  relay_new(edges->loop,
				    &(struct relay_options){
					    .secrets = edges->options->secrets,
					    .dispatch = edges->dispatch,
					    .switchboard = edges->switchboard,
					    .submit = edges->submit,
					    .retry_min = edges->options->mail_retry_min,
					    .retry_max = edges->options->mail_retry_max,
				    },
				    domain));
}

enum hr_status edges_listen(struct edges *edges, struct hr_err *err)
{
	const struct gateway_options *options = edges->options;
	struct edge *edge;

	if (!options->mail_listen)
		return HR_OK;
	if (postbox_new(edges->loop,
			&(struct postbox_options){
				.listen = options->mail_listen,
				.size_max = (size_t)options->mail_size * 1024 * 1024,
				.memory_max = (size_t)options->mail_memory * 1024 * 1024,
				.secrets = options->secrets,
				.dispatch = edges->dispatch,
				.switchboard = edges->switchboard,
				.patience = options->patience,
			},
			&edge, err) != HR_OK)
		return err_add(err, "[mail] listen");
	switchboard_serve(edges->switchboard, POSTBOX, edge);
	return HR_OK;
}

void edges_stop_mail(struct edges *edges, const char *domain)
{
	scoped_str name = str_format("mail:%s", domain);

	edges_stop(edges, name);
}

void edges_configure(struct edges *edges, const struct config *config)
{
	struct slice name;
	struct edge *edge;

	for (size_t at = 0; (edge = next_edge(edges, &at, &name));)
		edge->ops->configure(edge, config);
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
		.submit = submit_new(loop),
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
	submit_free(edges->submit);
	free(edges);
}
