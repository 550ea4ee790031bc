/* SPDX-License-Identifier: Apache-2.0 */
/* Between the switchboard and an edge. An edge turns what its outside speaks into envelopes with
 * federation addresses and back; the switchboard knows nothing of protocols, an edge knows nothing
 * of routes, rules, the journal or links.
 * It is found under the name of the destination that it serves: an installation of this site, or
 * "mail:DOMAIN" for the mail of an e-mail domain that this site carries. */
#pragma once

#include "federation/envelope.h"
#include "schema/config.h"
#include "schema/people.h"
#include "schema/status.h"

enum { EDGE_MENTIONS_MAX = 64 };

/* What an edge has read and wants delivered. Addresses of its own outside are still native. */
struct edge_inbound {
	/* PEOPLE_NATIVE: whoever `installation` serves under the native address `from`.
	 * PEOPLE_ADDRESS: `from` is a federation address that the edge has made sure of. */
	enum people_key key;
	const char *installation;
	/* A query that the edge answers itself: edge_ops.answer, once it is known who asks and that
	 * rules let it pass. `to` may be a federated domain: then there is no rule to ask. */
	bool is_answered;
	struct slice from; /* prepared, full */
	struct slice to;   /* prepared, full: a federation address */
	/* Further native bare addresses that the payload names, at most EDGE_MENTIONS_MAX. */
	const struct slice *mentions;
	size_t mention_count;
	size_t size; /* bytes that the item holds: of what waits, a bounded number is kept */
	void *item;  /* the edge's own: what it parsed */
};

struct edge_ops;
/* An edge's own struct begins with this. */
struct edge {
	const struct edge_ops *ops;
	bool is_held; /* the switchboard's: edge_ops.flow said not to read */
};

/* The people behind an edge_inbound, resolved: NULL where nobody has that address. Valid for the
 * call. */
struct edge_people {
	const struct person *from;	      /* never NULL */
	const struct person *to;	      /* its `address` is canonical, `to` may be an alias */
	const struct person *const *mentions; /* as many as asked */
};

struct edge_ops {
	/* Makes the envelope of an inbound item now that its people are known: *out owned by the
	 * caller. The item stays the edge's until `done`. */
	enum hr_status (*translate)(struct edge *edge, void *item, const struct edge_people *people,
				    struct envelope **out, struct hr_err *err);
	/* Answers an inbound item that is_answered, now or later. */
	void (*answer)(struct edge *edge, void *item, const struct edge_people *people);
	/* Refuses an inbound item to its sender, by the native address that it came from, at once
	 * (it was never accepted, so nothing is journaled). */
	void (*refuse)(struct edge *edge, void *item, enum bounce bounce, const char *text);
	/* The switchboard is through with the item. */
	void (*done)(struct edge *edge, void *item);
	/* What came of the item is committed; `done` follows. NULL: the edge doesn't wait for that,
	 * and `done` comes as soon as the journal has taken it. */
	void (*committed)(struct edge *edge, void *item);
	/* Presence or query for a person of this edge: out at once. HR_RETRY: not connected. */
	enum hr_status (*direct)(struct edge *edge, struct envelope *envelope,
				 const struct person *to, struct hr_err *err);
	/* Stop or go on reading from the outside. */
	void (*flow)(struct edge *edge, bool yes);
	/* The link to a neighbouring site went down, came up. NULL: nothing of the edge shows it.
	 */
	void (*reached)(struct edge *edge, const char *site, bool yes);
	/* People that registry_find was asked for have arrived. */
	void (*arrived)(struct edge *edge);

	/* A new snapshot of the registry. Borrowed. */
	void (*configure)(struct edge *edge, const struct config *config);
	/* Reads no more; stays until what is sent is acknowledged. */
	void (*drain)(struct edge *edge);
	bool (*is_idle)(const struct edge *edge); /* nothing sent waits for its acknowledgement */
	/* Writes at most `max` rows, returns how many. Their texts are valid for this turn. */
	size_t (*status)(const struct edge *edge, struct status_row *rows, size_t max);
	void (*free)(struct edge *edge);
};
