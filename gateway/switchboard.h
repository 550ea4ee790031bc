/* SPDX-License-Identifier: Apache-2.0 */
/* The middle of a gateway: takes what edges and links bring, in order for each source, finds the
 * people, asks policy and route, and hands on: messages to the journal, presence and queries at
 * once, refusals back to the sender. */
#pragma once

#include "federation/journal.h"
#include "federation/link.h"
#include "federation/registry.h"
#include "gateway/edge.h"

struct switchboard_options {
	const char *site;
	msec patience; /* how long inbound items wait for a database that is away before they are
			  refused with resource-constraint; 0: 10 s */
};

enum switchboard_metric {
	SWITCHBOARD_MESSAGES, SWITCHBOARD_PRESENCES, SWITCHBOARD_QUERIES,
	SWITCHBOARD_BOUNCED, SWITCHBOARD_EXPIRED, SWITCHBOARD_DROPPED,
	SWITCHBOARD_REFUSED_RULE, SWITCHBOARD_REFUSED_SENDER, SWITCHBOARD_DEAD,
	SWITCHBOARD_METRICS
};
extern struct metric switchboard_metrics[SWITCHBOARD_METRICS];

struct switchboard *switchboard_new(struct loop *loop, const struct switchboard_options *options,
				    struct journal *journal, struct registry *registry,
				    struct links *links, struct pg *pg);
void switchboard_free(struct switchboard *switchboard);
DEFINE_SCOPED(switchboard)

/* An inbound source of an edge: its items are handled in order. */
struct source;
struct source *switchboard_source(struct switchboard *switchboard, struct edge *edge);
void source_free(struct source *source); /* items not yet handled are dropped: ops->done each */
/* Brings one item. Everything in `inbound` is borrowed until ops->done(item). */
void source_bring(struct source *source, const struct edge_inbound *inbound);

/* What serves the people of an installation; NULL takes it away. */
void switchboard_serve(struct switchboard *switchboard, const char *installation,
		       struct edge *edge);

/* For the consumer of a queue whose first envelope (acked + 1) can't go where the queue leads: its
 * recipient has moved (routed anew, or bounced when there is none), or the destination breaks on it
 * (kept as a dead letter and bounced). HR_OK: the queue has moved past seq, in the same commit.
 * HR_RETRY: people are being asked for; ask again when edge_ops.arrived says so. Expiry is not the
 * consumer's business: the switchboard bounces what has expired and is not sent. */
enum hr_status switchboard_reroute(struct switchboard *switchboard, struct journal_target *target,
				   int64_t seq, struct envelope *envelope);
enum hr_status switchboard_bury(struct switchboard *switchboard, struct journal_target *target,
				int64_t seq, struct envelope *envelope, const char *reason);

/* Forwarded from links, registry and journal by main. */
void switchboard_link_hello(struct switchboard *switchboard, struct link *link, const char *incarnation);
void switchboard_link_envelope(struct switchboard *switchboard, struct link *link, int64_t seq,
			       struct envelope *envelope);
void switchboard_link_direct(struct switchboard *switchboard, struct link *link,
			     struct envelope *envelope);
void switchboard_position(struct switchboard *switchboard, const char *site, int64_t seq);
void switchboard_arrived(struct switchboard *switchboard);
/* The site's links that this gateway holds the lease of; their queues are consumed here. */
void switchboard_neighbours(struct switchboard *switchboard, const char *const *sites, size_t n);
void switchboard_flowing(struct switchboard *switchboard, bool yes);
bool switchboard_is_idle(const struct switchboard *switchboard);
