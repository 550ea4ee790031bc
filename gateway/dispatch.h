/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of one envelope: policy and route decide, then it goes to a journal queue, straight
 * out, or back to its sender. The part that what comes from edges and from links has in common. */
#pragma once

#include "federation/journal.h"
#include "federation/link.h"
#include "federation/registry.h"
#include "federation/route.h"
#include "gateway/away.h"
#include "gateway/edge.h"

enum dispatch_metric {
	DISPATCH_MESSAGES,
	DISPATCH_PRESENCES,
	DISPATCH_QUERIES,
	DISPATCH_BOUNCED,
	DISPATCH_EXPIRED,
	DISPATCH_DROPPED,
	DISPATCH_REFUSED_RULE,
	DISPATCH_REFUSED_SENDER,
	DISPATCH_REFUSED_PAYLOAD,
	DISPATCH_DEAD,
	DISPATCH_METRICS
};
extern struct metric dispatch_metrics[DISPATCH_METRICS];

/* What decisions need; everything is borrowed. */
struct dispatch {
	const char *site;
	struct journal *journal;
	struct registry *registry;
	struct links *links;
	struct pg *pg;
	struct away *away;
	struct map *edges; /* destination (gateway/edge.h) -> struct edge, those served here */
};

struct dispatch_people {
	const struct person *from, *to; /* NULL: nobody has that address */
};

/* Both at once, so that one query brings both. HR_RETRY: being asked for. */
enum hr_status dispatch_find(const struct dispatch *dispatch, const struct envelope *envelope,
			     struct dispatch_people *out);
/* The same for who is not in the registry and is not to be asked for any more. */
void dispatch_outsiders(const struct dispatch *dispatch, struct slice from, struct slice to,
			struct dispatch_people *people);
struct route dispatch_decide(const struct dispatch *dispatch, const struct envelope *envelope,
			     const struct dispatch_people *people);
/* The same for an envelope that is none yet: nothing is counted or logged. */
struct route dispatch_judge(const struct dispatch *dispatch, const struct envelope *envelope,
			    const struct dispatch_people *people);
/* Whether rules let `from` ask about `to`, whatever the way there is; *refusal says why not. */
bool dispatch_permits(const struct dispatch *dispatch, struct slice to,
		      const struct dispatch_people *people, struct route *refusal);
struct route dispatch_bounce(enum bounce bounce, const char *reason); /* the route back */
/* It waits, or waited, for another site: this one is its last hop already. */
bool dispatch_is_hopped(const struct dispatch *dispatch, const struct envelope *envelope);
/* A reference to the envelope as the next site must see it: with this site as its last hop. A loop
 * turns *route into a bounce. */
struct envelope *dispatch_hop(const struct dispatch *dispatch, struct envelope *envelope,
			      struct route *route);
/* The queue a route leads to; NULL: a bounce, or `from` is in no federated domain. */
struct journal_target *dispatch_target(const struct dispatch *dispatch, const struct route *route,
				       struct slice from);
struct journal_target *dispatch_site_target(const struct dispatch *dispatch, const char *site);
/* For a message on that route: what is to be mailed unless a receipt comes, and what the message
 * itself says of such mail. True: it is for nobody but us, and goes no further. */
bool dispatch_away(const struct dispatch *dispatch, struct envelope *envelope,
		   const struct route *route, const struct dispatch_people *people,
		   struct journal_entry *entry);
/* Presence or query, at once. HR_RETRY: the way is down; HR_FAIL: it takes no more. */
enum hr_status dispatch_direct(const struct dispatch *dispatch, struct envelope *envelope,
			       const struct route *route, const struct person *to,
			       struct hr_err *err);
void dispatch_count(const struct envelope *envelope); /* accepted: in the metric of its kind */

/* Bounces a journaled envelope and moves its queue past it in one commit. HR_RETRY: its sender is
 * being asked for. */
enum hr_status dispatch_give_up(const struct dispatch *dispatch, struct journal_target *target,
				int64_t seq, struct envelope *envelope, struct route why);
/* Bounces what has expired and is not on its way, a bounded number at once; true: there is more. */
bool dispatch_expire(const struct dispatch *dispatch, usec now);
