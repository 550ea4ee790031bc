/* SPDX-License-Identifier: Apache-2.0 */
/* Who of an installation has seen whom of another site available, so that people behind a link that
 * is lost are shown unavailable, and as they are when it is back. Pure.
 *
 *   lost   for a moment nothing; then each contact seen over it is gone for those who saw it
 *   back   each pair is probed (RFC 6121 section 4.3); who was lost for that moment only and does
 *          not answer is gone too
 *
 * Both in small steps, so that a link which comes back brings no storm. Pairs are bounded: the one
 * not touched for longest is forgotten. */
#pragma once

#include "base/mem.h"
#include "base/slice.h"
#include "base/time.h"

enum { SIGHTINGS_PAIRS_MAX = 64 * 1024, SIGHTINGS_RESOURCES_MAX = 16 };

struct sightings_ops {
	/* False: not now. `contact` is a full address, as it was seen. */
	bool (*gone)(void *ctx, const char *watcher, const char *contact);
	bool (*probe)(void *ctx, const char *watcher, const char *contact); /* bare */
	void (*dropped)(void *ctx);					    /* one is forgotten */
};

struct sightings;
struct sightings *sightings_new(const struct sightings_ops *ops, void *ctx);
void sightings_free(struct sightings *sightings); /* NULL is fine */
DEFINE_SCOPED(sightings)

/* Addresses are prepared; those of watchers bare. */
void sightings_asked(struct sightings *sightings, struct slice watcher, struct slice contact);
/* `site`: the neighbour that it came from; len 0: it is of this site, and nothing to us. */
void sightings_seen(struct sightings *sightings, struct slice watcher, struct slice contact,
		    struct slice site, bool is_available);

void sightings_lost(struct sightings *sightings, const char *site, msec now);
void sightings_back(struct sightings *sightings, const char *site, msec now);
/* Does what is due; returns when to be called again, 0: not before lost or back. */
msec sightings_work(struct sightings *sightings, msec now);
