/* SPDX-License-Identifier: Apache-2.0 */
/* The middle of a gateway as its edges see it: takes what they bring, in order for each source,
 * finds the people and dispatches; messages are journaled, presence and queries go at once,
 * refusals go straight back. Stops the edges while the journal takes no more, and an edge while one
 * of its sources has brought more than may wait. */
#pragma once

#include "gateway/dispatch.h"

struct switchboard;

/* `patience`: how long items wait for a database that is away before they are refused with
 * resource-constraint; 0: 10 s. */
struct switchboard *switchboard_new(struct loop *loop, const struct dispatch *dispatch,
				    msec patience);
void switchboard_free(struct switchboard *switchboard); /* after its sources */
DEFINE_SCOPED(switchboard)

/* An inbound source of an edge: its items are handled in order. */
struct source;
struct source *switchboard_source(struct switchboard *switchboard, struct edge *edge);
/* edge_ops.done for each item not yet handled. Of one that the journal has, nothing more is heard.
 */
void source_free(struct source *source);
/* Brings one item. Everything in `inbound` stays the edge's until edge_ops.done(item). */
void source_bring(struct source *source, const struct edge_inbound *inbound);

/* What serves a destination (gateway/edge.h); NULL takes it away. */
void switchboard_serve(struct switchboard *switchboard, const char *destination, struct edge *edge);

/* For the consumer of a queue whose first envelope (acked + 1) can't go where the queue leads: its
 * recipient has moved (routed anew, or bounced when there is none), or the destination breaks on it
 * (kept as a dead letter and bounced). HR_OK: the queue has moved past seq, in the same commit.
 * HR_RETRY: people are being asked for; ask again when edge_ops.arrived says so. Expiry is not the
 * consumer's business: the switchboard bounces what has expired and is not sent. */
enum hr_status switchboard_reroute(struct switchboard *switchboard, struct journal_target *target,
				   int64_t seq, struct envelope *envelope);
enum hr_status switchboard_bury(struct switchboard *switchboard, struct journal_target *target,
				int64_t seq, struct envelope *envelope, const char *reason);

/* People have arrived, or the journal flows again. */
void switchboard_go_on(struct switchboard *switchboard);
bool switchboard_is_idle(const struct switchboard *switchboard); /* nothing brought waits */
