/* SPDX-License-Identifier: Apache-2.0 */
/* Answers what users ask about people, from the registry: whom they find by a name, and what is
 * known of somebody. One question at a time is in the database, so that the look-ups of messages
 * never wait for more than that; a bounded number waits here; nobody asks more than a ration.
 * Between them the desk keeps up the listing that searches look into. */
#pragma once

#include "base/metric.h"
#include "gateway/choice.h"
#include "schema/profile.h"

enum desk_metric {
	DESK_SEARCHES,
	DESK_CARDS,
	DESK_REFUSED_RATION,
	DESK_REFUSED_BUSY,
	DESK_FAILED,
	DESK_METRICS
};
extern struct metric desk_metrics[DESK_METRICS];

enum {
	DESK_FOUND_MAX = 50,	    /* people that one search shows */
	DESK_WAITING_MAX = 2000,    /* questions; more are refused */
	DESK_WINDOW_MS = 60 * 1000, /* in which everybody has */
	DESK_RATION = 600,	    /* vCards: a client asks for those of all contacts at once */
	DESK_SEARCH_COST = 20,	    /* in vCards */
	DESK_LISTED_AT_ONCE = 2000, /* people, between two questions: some 30 ms */
};

struct desk;
/* `pg` is borrowed, and freed before the desk. */
struct desk *desk_new(struct loop *loop, struct pg *pg);
void desk_free(struct desk *desk); /* questions get no answer; NULL is fine */
DEFINE_SCOPED(desk)

/* HR_OK: `profiles` is borrowed for the call. HR_RETRY: the database can't answer now. */
typedef void desk_fn(void *arg, enum hr_status status, const struct profile *profiles, size_t count,
		     bool more);

struct desk_question {
	enum desk_kind { DESK_SEARCH, DESK_CARD } kind;
	struct slice asker; /* federation address of whoever asks */
	struct slice about; /* words for a search; for a card the canonical address */
	desk_fn *fn;
	void *arg;	   /* one allocation, which the desk frees after fn */
	const void *owner; /* of the answer: see desk_forget */
};

/* HR_OK: fn will be called once, in a later turn; arg is taken. HR_RETRY: the ration is used up, or
 * too many wait; err is for whoever asked. */
HR_MUST_USE enum hr_status desk_ask(struct desk *desk, const struct desk_question *question,
				    struct hr_err *err);
/* People may have changed since the listing was made: so when the database is there, and whenever
 * it tells of people. */
void desk_people_changed(struct desk *desk);
/* What people choose for themselves is the desk's too. */
struct choices *desk_choices(struct desk *desk);
/* The owner goes: nothing of his is answered any more. */
void desk_forget(struct desk *desk, const void *owner);
