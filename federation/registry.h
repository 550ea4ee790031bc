/* SPDX-License-Identifier: Apache-2.0 */
/* The registry as a gateway sees it: the small tables whole (one immutable snapshot, replaced
 * when they change), people one by one through a cache that also remembers who does not exist.
 * Decisions (route, policy) read this and nothing else. */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/pg.h"
#include "base/slice.h"

#include "federation/route.h"
#include "schema/config.h"
#include "schema/people.h"

struct registry;

struct registry_events {
	/* People asked for have arrived: whoever got HR_RETRY may ask again. */
	void (*arrived)(void *ctx);
	/* A new snapshot is in force: the first one, or one that differs from the last. */
	void (*changed)(void *ctx, const struct config *config);
};

/* Loads the snapshot as soon as `pg` is up, follows the channels hedgerow_config and
 * hedgerow_person, and looks once a minute for what changes by the clock (keys). `pg` is borrowed;
 * its owner forwards up and notified to the two calls below. */
struct registry *registry_new(struct loop *loop, struct pg *pg,
			      const struct registry_events *events, void *ctx);
/* After pg_free, which drops the queries under way without an answer. NULL is fine. */
void registry_free(struct registry *registry);
DEFINE_SCOPED(registry)
void registry_up(struct registry *registry); /* forgets people, loads the snapshot again */
void registry_notified(struct registry *registry, const char *channel);

/* Both NULL before the first load, and valid until the end of the turn in which `changed` comes. */
const struct config *registry_config(const struct registry *registry);
const struct routes *registry_routes(const struct registry *registry); /* for route_find */

/* Who `address` is when it is that of an outsider (federation/email.h) whose mail people of `site`
 * may get and answer: valid until the end of this loop turn. NULL: it isn't, or they may not. */
const struct person *registry_outsider(struct registry *registry, struct slice address,
				       const char *site);

/* HR_OK: *out is valid until the end of this loop turn. HR_NONE: there is no such person.
 * HR_RETRY: asked for; `arrived` will come. Keys are prepared bare addresses. */
enum hr_status registry_find(struct registry *registry, enum people_key kind, struct slice key,
			     const struct person **out);
