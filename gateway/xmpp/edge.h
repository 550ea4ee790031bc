/* SPDX-License-Identifier: Apache-2.0 */
/* The XMPP component edge (XEP-0114) of one installation: one stream for each federated domain,
 * each the consumer of the journal queue xmpp:INSTALLATION:DOMAIN. Owned by the gateway that holds
 * the lease of the installation. */
#pragma once

#include "base/metric.h"
#include "federation/journal.h"
#include "federation/registry.h"
#include "gateway/away.h"
#include "gateway/edge.h"
#include "gateway/switchboard.h"

struct xmpp_edge_options {
	const char *secrets; /* directory with the component secret and the CA */
	struct journal *journal;
	struct registry *registry;
	struct switchboard *switchboard;
	struct away *away;
	struct desk *desk;
	msec retry_max;	      /* longest pause between connects; 0: 30 s */
	msec barrier_timeout; /* an XEP-0199 ping without answer for so long ends the stream; 0: 30
				 s */
};

enum xmpp_metric {
	XMPP_STANZAS_IN,
	XMPP_STANZAS_OUT,
	XMPP_BYTES_IN,
	XMPP_BYTES_OUT,
	XMPP_STREAMS,
	XMPP_REFUSED_XML,
	XMPP_REFUSED_NAMESPACE,
	XMPP_REFUSED_SIZE,
	XMPP_REFUSED_DEPTH,
	XMPP_REFUSED_DTD,
	XMPP_REFUSED_FROM,
	XMPP_REFUSED_TO,
	XMPP_REWRITTEN,
	XMPP_GONE,
	XMPP_PROBES,
	XMPP_SIGHTINGS_DROPPED,
	XMPP_METRICS
};
extern struct metric xmpp_metrics[XMPP_METRICS];

/* Starts to serve; the config is borrowed for the call. edge_ops.configure: streams of new domains
 * begin, those of domains that are gone end, a changed host, port or secret reconnects. */
struct edge *xmpp_edge_new(struct loop *loop, const struct xmpp_edge_options *options,
			   const struct config *config,
			   const struct config_installation *installation);
