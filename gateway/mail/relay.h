/* SPDX-License-Identifier: Apache-2.0 */
/* Chat that goes out as mail: the edge of the destination mail:DOMAIN, consumer of the journal
 * queue of that name, owned by the gateway that holds the lease. Consecutive messages of one sender
 * to one recipient become one mail. Several mails go at once, one at a time to each recipient; the
 * queue moves past them in its own order. What the smarthost will not take now is deferred, with
 * what follows it for that recipient, and so is a mail on which it ends the session twice; what it
 * refuses goes back to the sender; while it is away nothing moves. A mail is taken when the
 * smarthost says 250: until that is committed, a crash sends it again, with the same Message-ID. */
#pragma once

#include "gateway/mail/submit.h"
#include "gateway/switchboard.h"

/* Everything is borrowed. */
struct relay_options {
	const char *secrets;
	const struct dispatch *dispatch;
	struct switchboard *switchboard;
	struct submit *submit;
	msec retry_min, retry_max; /* of what is deferred, by its age; 0: 1 min, 1 h */
};

struct edge *relay_new(struct loop *loop, const struct relay_options *options, const char *domain);
