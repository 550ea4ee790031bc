/* SPDX-License-Identifier: Apache-2.0 */
/* What one site that we have a link to sends us: taken in order, checked that the site may speak
 * for the sender, dispatched; and where a session resumes. */
#pragma once

#include "gateway/content.h"
#include "gateway/dispatch.h"

struct neighbour;

/* `dispatch` and `content` are borrowed. */
struct neighbour *neighbour_new(const struct dispatch *dispatch, struct content *content,
				const char *site);
void neighbour_free(struct neighbour *neighbour);
DEFINE_SCOPED(neighbour)

/* This gateway holds the lease of the link: the site's queue is consumed here. After
 * links_configure, each time. */
void neighbour_hold(struct neighbour *neighbour);
/* Another gateway may have the link now: what the site sends is counted there. */
void neighbour_let_go(struct neighbour *neighbour);

/* As in links_events and journal_events. The envelopes are taken. */
void neighbour_hello(struct neighbour *neighbour, const char *incarnation);
void neighbour_envelope(struct neighbour *neighbour, int64_t seq, struct envelope *envelope);
void neighbour_direct(struct neighbour *neighbour, struct envelope *envelope);
void neighbour_position(struct neighbour *neighbour, int64_t seq);

/* People have arrived, the journal flows again, or time has passed: goes on with what waits. */
void neighbour_go_on(struct neighbour *neighbour);
bool neighbour_is_idle(const struct neighbour *neighbour); /* nothing journaled waits */
