/* SPDX-License-Identifier: Apache-2.0 */
/* The server names of a conninfo, looked up off the loop: libpq itself would wait for the resolver.
 * For base/pg.c only. */
#pragma once

#include "base/err.h"
#include "base/loop.h"

/* What to tell libpq beyond the conninfo: lists of equal length, one element an address. */
struct pg_hosts {
	const char *host, *hostaddr, *port;
};

struct pg_lookup;
/* hosts NULL: err says which name has no address. Members NULL: the conninfo stands as it is, since
 * it names sockets or addresses only, or takes its host from a service file. All borrowed. */
typedef void pg_lookup_fn(void *arg, const struct pg_hosts *hosts, const struct hr_err *err);

/* Calls fn once, never inside this call. A name without an address is left out while another has
 * one. */
struct pg_lookup *pg_lookup_new(struct loop *loop, const char *conninfo, pg_lookup_fn *fn,
				void *arg);
void pg_lookup_free(struct pg_lookup *lookup); /* NULL is fine; allowed inside fn */
