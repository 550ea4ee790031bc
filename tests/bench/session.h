/* SPDX-License-Identifier: Apache-2.0 */
/* One XEP-0114 stream of the load generator: as the XMPP server that a component has dialled, or
 * as a component that dials a server. Bytes written in one turn of the loop leave at its end. */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "tests/bench/stanza.h"

enum session_role { SESSION_SERVER, SESSION_COMPONENT };

struct session;

struct session_events {
	void (*opened)(void *ctx, struct session *session);
	void (*stanza)(void *ctx, struct session *session, const struct stanza *stanza);
	/* Nothing follows; the owner calls session_free, allowed here. */
	void (*closed)(void *ctx, struct session *session, const struct hr_err *err);
};

/* Takes the connected (or connecting) non-blocking socket. `domain` is the component's own: NULL
 * for a server, which learns it from the stream. */
struct session *session_new(struct loop *loop, int fd, enum session_role role, const char *domain,
			    const char *secret, const struct session_events *events, void *ctx);
void session_free(struct session *session); /* NULL is fine */

const char *session_domain(const struct session *session); /* "" before the stream has one */
/* Room for `len` bytes to be written now; session_wrote says how many of them there are. */
char *session_reserve(struct session *session, size_t len);
void session_wrote(struct session *session, size_t len);
void session_write(struct session *session, struct slice bytes);
size_t
session_waiting(const struct session *session); /* written here, not yet taken by the kernel */
