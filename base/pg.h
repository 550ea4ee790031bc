/* SPDX-License-Identifier: Apache-2.0 */
/* One PostgreSQL connection on the loop: libpq in pipeline mode, never blocking, connecting again
 * for ever with jitter (100 ms to 1 s; one attempt takes at most 10 s). Each request is one
 * prepared statement and its own transaction; what must be atomic is one SQL function. Answers come
 * in the order of the requests. A server that falls silent is noticed by TCP keepalive within 30 s,
 * unless conninfo sets other times. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"

#include <libpq-fe.h>

struct pg;

/* A statement: static, one per query; prepared on a connection at its first use there. */
struct pg_statement {
	const char *name; /* unique in the program */
	const char *sql;  /* $1 ... parameters; types are written in the SQL ($1::text[]) */
};

/* Parameters in PostgreSQL's binary format, built in the order of $1, $2, ... The bytes are held
 * by the struct. Arrays have one dimension, lower bound 1. */
struct pg_params;
struct pg_params *pg_params_new(void);
void pg_params_clear(struct pg_params *params); /* for the next request; keeps the memory */
void pg_params_free(struct pg_params *params);
DEFINE_SCOPED(pg_params)
void pg_add_null(struct pg_params *params);
void pg_add_text(struct pg_params *params, struct slice text);	 /* data NULL: SQL NULL */
void pg_add_bytes(struct pg_params *params, struct slice bytes); /* bytea */
void pg_add_int(struct pg_params *params, int32_t value);
void pg_add_bigint(struct pg_params *params, int64_t value);
void pg_add_bool(struct pg_params *params, bool value);
void pg_add_time(struct pg_params *params, usec unix_time); /* timestamptz; <= 0: NULL */
/* An array parameter: begin with the element's kind, add exactly `n` elements with pg_item_*, which
 * must be of that kind (the program aborts otherwise), no end call. */
enum pg_type { PG_TEXT, PG_BYTEA, PG_INT, PG_BIGINT, PG_BOOL, PG_TIMESTAMPTZ };
void pg_begin_array(struct pg_params *params, enum pg_type element, size_t n);
void pg_item_text(struct pg_params *params, struct slice text); /* data NULL: SQL NULL */
void pg_item_bytes(struct pg_params *params, struct slice bytes);
void pg_item_int(struct pg_params *params, int32_t value);
void pg_item_bigint(struct pg_params *params, int64_t value);
void pg_item_bool(struct pg_params *params, bool value);
void pg_item_time(struct pg_params *params, usec unix_time);

/* Reading a result (binary format). A NULL reads as zero, false, or a slice with data NULL. A whole
 * number may have any width in SQL; what does not fit is clamped. */
struct slice pg_text(const PGresult *result, int row, int column); /* text or bytea, borrowed */
int32_t pg_int(const PGresult *result, int row, int column);
int64_t pg_bigint(const PGresult *result, int row, int column);
bool pg_bool(const PGresult *result, int row, int column);
usec pg_time(const PGresult *result, int row, int column);
size_t pg_array_length(const PGresult *result, int row, int column); /* 0 for NULL and {} */
/* The first `max` elements of a one-dimensional array, to out; returns how many were written. */
size_t pg_bigints(const PGresult *result, int row, int column, int64_t *out, size_t max);
size_t pg_texts(const PGresult *result, int row, int column, struct slice *out, size_t max);

/* status HR_OK: committed; result holds the rows, borrowed for the call.
 * HR_FAIL: the server refused it (err has SQLSTATE and message); the connection goes on.
 * HR_RETRY: serialization, deadlock, no resources, cancelled, or never sent: nothing happened.
 * HR_UNSURE: the connection went after it was sent.
 * In all but HR_OK result is NULL. err is never NULL. */
typedef void pg_fn(void *arg, enum hr_status status, const PGresult *result,
		   const struct hr_err *err);

struct pg_events {
	/* Connected and ready, also after a reconnect: leases and LISTEN are to be made again
	 * (channels given to pg_listen are listened to already). */
	void (*up)(void *ctx);
	/* Connection lost or refused; every pending request has been answered before this. */
	void (*down)(void *ctx, const struct hr_err *err);
	void (*notified)(void *ctx, const char *channel, const char *payload); /* may be NULL */
};

/* Begins to connect. `conninfo` as libpq takes it; application_name is added. */
struct pg *pg_new(struct loop *loop, const char *conninfo, const char *application_name,
		  const struct pg_events *events, void *ctx);
void pg_free(struct pg *pg); /* pending requests are dropped without answer; NULL is fine */
DEFINE_SCOPED(pg)
bool pg_is_up(const struct pg *pg);
/* Inside `down`: the connection was up, or is refused for another reason than the last time. */
bool pg_is_news(const struct pg *pg);
void pg_listen(struct pg *pg, const char *channel); /* once; survives reconnects */
/* Sends one statement. `params` may be NULL; borrowed. When the connection is down, fn is called
 * with HR_RETRY at the end of the turn, never inside this call. */
void pg_send(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
	     pg_fn *fn, void *arg);
/* The same; `arg` is one allocation that fn frees. pg_free does, when it drops the request. */
void pg_send_owned(struct pg *pg, const struct pg_statement *statement,
		   const struct pg_params *params, pg_fn *fn, void *arg);
size_t pg_pending(const struct pg *pg); /* requests without an answer yet */
