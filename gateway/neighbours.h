/* SPDX-License-Identifier: Apache-2.0 */
/* The sites that we have links to, and the links: which of them are this gateway's, and who takes
 * what comes over each. */
#pragma once

#include "gateway/duty.h"
#include "gateway/neighbour.h"
#include "gateway/options.h"

struct neighbours;

/* Opens the links and sets dispatch->links, as long as the neighbours live. dispatch->site is
 * known; everything is borrowed. HR_FAIL: the link key or the address to listen on. */
HR_MUST_USE enum hr_status neighbours_new(struct loop *loop, const struct gateway_options *options,
					  struct dispatch *dispatch, struct neighbours **out,
					  struct hr_err *err);
void neighbours_free(struct neighbours *neighbours); /* says Bye */
DEFINE_SCOPED(neighbours)

/* A new snapshot of the registry, or a duty was taken or lost: the links whose duty is held. */
void neighbours_configure(struct neighbours *neighbours, const struct config *config,
			  const struct duties *duties);
/* From journal_events. */
void neighbours_position(struct neighbours *neighbours, const char *site, int64_t seq);

/* People have arrived, the journal flows again, or time has passed: goes on with what waits. */
void neighbours_go_on(struct neighbours *neighbours);
void neighbours_drain(struct neighbours *neighbours);	       /* no more batches are wanted */
bool neighbours_are_idle(const struct neighbours *neighbours); /* nothing journaled waits */
