/* SPDX-License-Identifier: Apache-2.0 */
/* One component stream (XEP-0114) to an XMPP server, for one domain: connects, shakes hands, and
 * connects again for ever. A barrier is an XEP-0199 ping to the server itself: its answer, result
 * or error, proves that the server has read everything written before it.
 * When we end a stream that is up, what the server has written still counts: stanzas come until it
 * ends its side too, or is given up.
 *
 * Pure protocol: the owner brings bytes, events and the time, and lends a connection and one
 * timer through component_ops. Everything here may be called from within an op, but
 * component_free. */
#pragma once

#include "base/time.h"
#include "gateway/xmpp/scan.h"

struct component;

/* Whether what the server was sent may be why a stream that was up is no longer. */
enum component_blame {
	COMPONENT_BLAMELESS, /* we ended it, or it says that it has other reasons */
	COMPONENT_CUT,	     /* without a word: perhaps */
	COMPONENT_BLAMED,    /* with a stream error that speaks of what it was sent */
};

struct component_end {
	const char *text; /* borrowed */
	enum component_blame blame;
};

struct component_ops {
	/* Begins to connect; component_connected or component_lost follows. Failure: as if lost. */
	enum hr_status (*connect)(void *ctx, struct hr_err *err);
	void (*write)(void *ctx, struct slice bytes);
	void (*shutdown)(void *ctx); /* writes what waits, then closes; component_lost follows */
	void (*drop)(void *ctx);     /* closes at once, if there is a connection; nothing follows */
	void (*pause)(void *ctx, bool yes);	 /* reads no more, or again */
	void (*timer)(void *ctx, msec deadline); /* then component_timeout; 0: never */

	void (*up)(void *ctx);
	void (*down)(void *ctx, const struct component_end *end); /* only after up */
	void (*stanza)(void *ctx, const struct scan_stanza *stanza);
	void (*accepted)(void *ctx, int64_t seq); /* the barrier of that seq, and all before */
	void (*refused)(void *ctx, enum scan_fault fault, const char *text); /* XML of the server */
};

struct component_options {
	const char *domain, *native_domain; /* copied */
	const char *name;		    /* for the log: "installation/domain"; copied */
	msec retry_max;			    /* 0: 30 s */
	msec barrier_timeout;		    /* since the one before was answered; 0: 30 s */
};

struct component *component_new(const struct component_options *options,
				const struct component_ops *ops, void *ctx);
void component_free(struct component *component); /* no op is called; NULL is fine */
DEFINE_SCOPED(component)
/* What the handshake hashes; may be given anew in the connect op. */
void component_secret(struct component *component, struct slice secret);

void component_start(struct component *component, msec now);
void component_stop(struct component *component, msec now); /* in good order */
void component_restart(struct component *component,
		       msec now); /* ends what is, then connects anew */
void component_connected(struct component *component, msec now);
void component_received(struct component *component, struct slice bytes, msec now);
void component_lost(struct component *component, const struct hr_err *err, msec now);
void component_timeout(struct component *component, msec now);
void component_pause(struct component *component, bool yes, msec now); /* in force once up */

bool component_is_up(const struct component *component);
bool component_is_idle(const struct component *component);	/* stopped, nothing to wait for */
const char *component_state(const struct component *component); /* static: "up", ... */
const char *component_error(const struct component *component); /* the last one; NULL: none */

/* Only while up. */
void component_write(struct component *component, struct slice bytes);
void component_barrier(struct component *component, int64_t seq, msec now);
size_t component_barriers(const struct component *component); /* not answered yet */
