/* SPDX-License-Identifier: Apache-2.0 */
/* The edges that this gateway serves: one for each installation and each mail domain whose duty it
 * holds. The only place that knows which kinds of edges there are; whoever else meets one uses its
 * edge_ops. */
#pragma once

#include "gateway/desk.h"
#include "gateway/options.h"
#include "gateway/switchboard.h"

struct edges;

/* Everything is borrowed; dispatch->edges is where they are found. */
struct edges *edges_new(struct loop *loop, const struct gateway_options *options,
			const struct dispatch *dispatch, struct switchboard *switchboard,
			struct desk *desk);
void edges_free(struct edges *edges); /* with those that are served; before the switchboard */
DEFINE_SCOPED(edges)

/* The duty of an installation was taken, was lost; of the mail of a domain. */
void edges_start(struct edges *edges, const struct config *config, const char *installation);
void edges_stop(struct edges *edges, const char *installation);
/* Listens for what comes from outside, where gateway.ini says so. HR_FAIL: it can't. */
HR_MUST_USE enum hr_status edges_listen(struct edges *edges, struct hr_err *err);
void edges_start_mail(struct edges *edges, const struct config *config, const char *domain);
void edges_stop_mail(struct edges *edges, const char *domain);

void edges_configure(struct edges *edges, const struct config *config); /* a new snapshot */
void edges_drain(struct edges *edges); /* nothing starts any more */
bool edges_are_idle(const struct edges *edges);
