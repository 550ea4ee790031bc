/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket, TCP or of the unix domain, and the connections that it accepted, on the loop;
 * plain, for peers of this machine. A connection reports exactly one `closed`, never inside a call
 * of its owner, after which the owner calls conn_free (allowed inside every callback). */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/slice.h"

struct server;
struct conn;

struct server_events {
	/* A new connection; the callee gives it events with conn_start, or frees it. */
	void (*accepted)(void *ctx, struct conn *conn);
};

/* `where`: "unix:/path" (what a dead process left there is replaced; mode 0660) or "host:port" with
 * an address or "localhost". HR_FAIL: it can't be listened on. */
HR_MUST_USE enum hr_status server_new(struct loop *loop, const char *where, size_t connections_max,
				      const struct server_events *events, void *ctx,
				      struct server **out, struct hr_err *err);
void server_free(struct server *server); /* connections stay; NULL is fine */
DEFINE_SCOPED(server)

struct conn_events {
	void (*received)(void *ctx, struct slice bytes); /* borrowed for the call */
	void (*drained)(void *ctx);			 /* all that was written is in the kernel */
	void (*closed)(void *ctx); /* by the peer, by an error, or after conn_end */
};

void conn_start(struct conn *conn, const struct conn_events *events, void *ctx); /* reads */
void conn_write(struct conn *conn, struct slice bytes);				 /* copied */
size_t conn_waiting(const struct conn *conn); /* bytes not yet given to the kernel */
void conn_pause(struct conn *conn, bool yes); /* reads no more, or again */
void conn_end(struct conn *conn);	      /* writes what waits, then closes */
void conn_free(struct conn *conn);	      /* closes at once; NULL is fine */
DEFINE_SCOPED(conn)
