/* SPDX-License-Identifier: Apache-2.0 */
/* What pg.c (requests, and how they are sent), pg_connect.c (connecting and losing) and
 * pg_receive.c (answers) share. For these three only. */
#pragma once

#include "base/map.h"
#include "base/pg.h"
#include "base/pg_hosts.h"
#include "base/pg_params.h"

enum state { WAITING, RESOLVING, CONNECTING, UP };

/* What this connection knows of a statement; kept as the value of pg->prepared. Only a statement
 * whose PREPARE has been answered is used by its name, so that one that fails fails only the
 * request which brought it. */
enum prepared {
	UNKNOWN,   /* as a map answers */
	PREPARING, /* sent, not answered: others go unnamed until it is */
	PREPARED,
	UNNAMED, /* its plan has become invalid: never by name on this connection again */
};

struct request {
	struct request *next;
	const struct pg_statement *statement; /* NULL: LISTEN */
	pg_fn *fn;
	void *arg;
	bool owns_arg; /* frees it when there will be no answer */
	bool sent;     /* handed to libpq */
	bool prepares; /* the first result is that of PREPARE, and is still to come */
};

struct requests {
	struct request *first, **end; /* end: the next pointer of the last, or &first */
};

struct channel {
	struct channel *next;
	char *name;
};

struct pg {
	struct loop *loop;
	char *conninfo, *application_name;
	const struct pg_events *events;
	void *ctx;
	enum state state;
	struct timer *timer;	  /* WAITING: try again; RESOLVING, CONNECTING: give up */
	struct hr_err down;	  /* why it is not UP */
	bool is_news;		  /* that was not why before */
	msec wait;		  /* length of the last pause; 0 after a good connection */
	struct pg_lookup *lookup; /* while RESOLVING */
	PGconn *conn;		  /* CONNECTING and UP */
	struct watch *watch;	  /* on its socket */
	struct map *prepared;
	struct requests sent;	 /* in the order of the answers; unsent ones only once broken */
	struct requests refused; /* came while not UP */
	size_t pending;		 /* in both, without LISTEN */
	PGresult *held;		 /* of the first request: what it will be told after its commit */
	struct channel *channels;
	bool broken; /* UP, and a call of libpq has failed: pg_lose follows at the end of the turn
		      */
	bool dead;   /* freed by its owner inside a callback */
};

/* pg.c */
struct request *pg_take_first(struct requests *list); /* NULL: empty */
/* Tells and frees a request that has left its list. */
void pg_answer(struct pg *pg, struct request *request, enum hr_status status,
	       const PGresult *result, const struct hr_err *err);
/* Answers all: those handed to libpq may have happened, the others have not. */
void pg_fail_all(struct pg *pg, struct requests *list, const struct hr_err *err);
void pg_send_listen(struct pg *pg, const char *channel);
void pg_flush(struct pg *pg); /* what libpq holds */

/* pg_connect.c */
void pg_on_timer(void *pg);		 /* loop_fn of pg->timer */
void pg_on_socket(void *pg, int events); /* of pg->watch */
void pg_watch_socket(struct pg *pg, int events);
void pg_disconnect(struct pg *pg);
/* From any other state to WAITING: answers what was under way, in order, then says down. */
void pg_lose(struct pg *pg, const struct hr_err *err);
void pg_lose_conn(struct pg *pg); /* with what libpq says of it */
void pg_lose_broken(void *pg);	  /* the same, as a loop_fn */

/* pg_receive.c */
bool pg_read(struct pg *pg); /* false when the connection has been lost, or pg freed, with it */
