/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out of the journal queue of a lane onto its stream, in order, each handed over again
 * until a barrier after it has been answered. At least once, with the same stanza id.
 *
 * A stream that the server ends with an error while messages are unacknowledged may have met one
 * that is poison to it: then they go one at a time, each with a barrier, and the one that the
 * stream breaks on again and again is buried. */
#pragma once

#include "gateway/xmpp/lane.h"

void egress_open(struct lane *lane);
void egress_close(struct lane *lane);
void egress_pump(struct lane *lane);  /* hands over what there is and what may go now */
void egress_later(struct lane *lane); /* the same at the end of this turn */
void egress_accepted(struct lane *lane, int64_t seq);
void egress_down(struct lane *lane, const struct component_end *end);
bool egress_is_idle(const struct lane *lane); /* nothing is sent and not acknowledged */
