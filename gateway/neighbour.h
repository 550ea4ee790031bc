/* SPDX-License-Identifier: Apache-2.0 */
/* What the sites that we have links to send us: taken in order, checked that the site may speak
 * for the sender, dispatched; and where a session resumes. */
#pragma once

#include "gateway/dispatch.h"

struct neighbours;

struct neighbours *neighbours_new(const struct dispatch *dispatch); /* borrowed */
void neighbours_free(struct neighbours *neighbours);
DEFINE_SCOPED(neighbours)

/* The whole set of sites whose links this gateway holds the lease of: their queues are consumed
 * here. After links_configure. */
void neighbours_hold(struct neighbours *neighbours, const char *const *sites, size_t n);

/* Forwarded from links_events and journal_events. The envelopes are taken. */
void neighbours_hello(struct neighbours *neighbours, struct link *link, const char *incarnation);
void neighbours_envelope(struct neighbours *neighbours, struct link *link, int64_t seq,
			 struct envelope *envelope);
void neighbours_direct(struct neighbours *neighbours, struct link *link, struct envelope *envelope);
void neighbours_position(struct neighbours *neighbours, const char *site, int64_t seq);

/* People have arrived, the journal flows again, or time has passed: goes on with what waits. */
void neighbours_go_on(struct neighbours *neighbours);
bool neighbours_are_idle(const struct neighbours *neighbours); /* nothing journaled waits */
