/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a destination that operators have removed: an installation, an e-mail domain, its
 * mail, a link. It is routed anew, or goes back to its sender, or, when nobody knows the sender any
 * more, becomes a dead letter; each once. What may have arrived over a link goes no other way: it
 * could arrive twice. The gateway that does so holds the lease of the destination. */
#pragma once

#include "gateway/duty.h"
#include "gateway/switchboard.h"

struct leftovers;

/* Everything is borrowed. `found` is called when the set has changed: leftovers_want is asked
 * again, then leftovers_update. */
struct leftovers *leftovers_new(struct loop *loop, const struct dispatch *dispatch,
				struct switchboard *switchboard, loop_fn *found, void *arg);
void leftovers_free(struct leftovers *leftovers);
DEFINE_SCOPED(leftovers)

/* A new snapshot is in force: what has its destination back is let go, before that consumes its
 * queue; what has lost it is looked for. */
void leftovers_configure(struct leftovers *leftovers);
/* Wants the duties that the leftovers need. Between duties_begin and duties_end. */
void leftovers_want(const struct leftovers *leftovers, struct duties *duties);
/* Duties were taken or lost. */
void leftovers_update(struct leftovers *leftovers, const struct duties *duties);
void leftovers_go_on(struct leftovers *leftovers); /* people have arrived, or the journal flows */
void leftovers_drain(struct leftovers *leftovers); /* what is left stays for the next gateway */
