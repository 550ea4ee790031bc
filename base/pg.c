/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pg.h"

#include "base/log.h"
#include "base/map.h"
#include "base/pg_hosts.h"
#include "base/pg_params.h"

#include <sys/ioctl.h>

enum {
	CONNECT_MS = 10 * 1000,
	WAIT_MIN_MS = 100,
	WAIT_MAX_MS = 1000, /* what was read and not committed waits in memory for us */
	TLS_READS_MAX = 64,
	RESULT_BINARY = 1,
};

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
	bool broken; /* UP, and a call of libpq has failed: lose() follows at the end of the turn */
	bool dead;   /* freed by its owner inside a callback */
};

static void take_up(struct pg *pg);
static void on_socket(void *arg, int events);
static void lose_broken(void *arg);

/* ---- requests ---- */

static void append(struct requests *list, struct request *request)
{
	if (!list->first)
		list->end = &list->first;
	*list->end = request;
	list->end = &request->next;
}

static struct request *take_first(struct requests *list)
{
	struct request *request = list->first;

	if (request)
		list->first = request->next;
	return request;
}

/* Tells and frees a request that has left its list. */
static void answer(struct pg *pg, struct request *request, enum hr_status status,
		   const PGresult *result, const struct hr_err *err)
{
	if (request->statement) {
		pg->pending--;
		if (request->fn)
			request->fn(request->arg, status, result, err);
	}
	free(request);
}

static void drop_all(struct requests *list)
{
	for (struct request *request; (request = take_first(list));) {
		if (request->owns_arg)
			free(request->arg);
		free(request);
	}
}

/* Those handed to libpq may have happened; the others have not. Takes them out of pg first, so that
 * what is asked for meanwhile is not among them. */
static void fail_all(struct pg *pg, struct requests *list, const struct hr_err *err)
{
	struct requests all = *list;

	list->first = NULL;
	for (struct request *request; (request = take_first(&all));) {
		struct hr_err own = *err;
		own.status = request->sent ? HR_UNSURE : HR_RETRY;
		if (pg->dead)
			free(request);
		else
			answer(pg, request, own.status, NULL, &own);
	}
}

static void refuse_all(void *arg)
{
	struct pg *pg = arg;
	struct hr_err err;

	err_set(&err, HR_RETRY, "not connected to the database");
	fail_all(pg, &pg->refused, &err);
}

/* ---- what the server says ---- */

/* Severities that end the session: what happened to requests under way is unknown. */
static bool ends_session(const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		return true;
	return sqlstate && strncmp(sqlstate, "57P0", 4) == 0; /* shutdown, crash, starting up */
}

/* What nobody is to blame for and may go well next time; all else is HR_FAIL. The first match of a
 * prefix counts (PostgreSQL manual, appendix A). */
static const struct {
	const char *prefix;
	enum hr_status status;
} classes[] = {
	{ "40003", HR_UNSURE }, /* statement completion unknown */
	{ "40", HR_RETRY },	/* rolled back: serialization failure, deadlock */
	{ "55P03", HR_RETRY },	/* lock not available */
	{ "57014", HR_RETRY },	/* cancelled, also by statement_timeout */
	{ "53", HR_RETRY },	/* disk full, out of memory, too many connections */
	{ "25006", HR_RETRY },	/* read-only: a standby, until it is promoted */
	{ "58030", HR_RETRY },	/* I/O error */
};

static enum hr_status classify(const char *sqlstate)
{
	for (size_t i = 0; i < countof(classes); i++)
		if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0)
			return classes[i].status;
	return HR_FAIL;
}

/* A prepared statement that the server cannot use any more (after a migration, or DISCARD): the
 * next request sends its text. Returns whether it was one. */
static bool forget_plan(struct pg *pg, const struct pg_statement *statement, const char *sqlstate)
{
	struct slice name = slice_str(statement ? statement->name : "");

	if ((enum prepared)(intptr_t)map_get(pg->prepared, name) != PREPARED)
		return false;
	if (strcmp(sqlstate, "0A000") != 0 && strcmp(sqlstate, "26000") != 0)
		return false;
	map_put(pg->prepared, name, (void *)(intptr_t)UNNAMED);
	return true;
}

static enum hr_status translate(struct pg *pg, const struct pg_statement *statement,
				const PGresult *result, struct hr_err *err)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (!sqlstate || !message)
		return err_set(err, HR_FAIL, "%s: %s", PQresStatus(PQresultStatus(result)),
			       PQresultErrorMessage(result));
	enum hr_status status =
		forget_plan(pg, statement, sqlstate) ? HR_RETRY : classify(sqlstate);
	return err_set(err, status, "SQLSTATE %s: %s%s%s%s%s", sqlstate, message,
		       detail ? "; " : "", detail ? detail : "", hint ? "; " : "",
		       hint ? hint : "");
}

static void on_notice(void *arg, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	log_debug("pg.notice", LOG_STR("text", message));
}

/* ---- connecting and losing ---- */

/* The only writer of pg->state; arms its timer. */
static void enter(struct pg *pg, enum state state)
{
	msec now = loop_now(pg->loop);

	pg->state = state;
	switch (state) {
	case WAITING:
		pg->wait = msec_clamp(2 * pg->wait, WAIT_MIN_MS, WAIT_MAX_MS);
		timer_set(pg->timer, now + msec_jitter(pg->wait));
		break;
	case RESOLVING:
		timer_set(pg->timer, now + CONNECT_MS);
		break;
	case CONNECTING:
		break; /* what is left of the time of RESOLVING */
	case UP:
		pg->wait = 0;
		timer_set(pg->timer, 0);
		break;
	}
}

static void watch_socket(struct pg *pg, int events)
{
	if (!pg->watch)
		pg->watch = watch_new(pg->loop, PQsocket(pg->conn), on_socket, pg);
	watch_set(pg->watch, events);
}

/* libpq closes its socket as it pleases while it connects: never watched during its calls. */
static void unwatch(struct pg *pg)
{
	watch_free(give(pg->watch));
}

static void disconnect(struct pg *pg)
{
	loop_cancel(pg->loop, lose_broken, pg);
	pg->broken = false;
	unwatch(pg);
	pg_lookup_free(give(pg->lookup));
	PQclear(give(pg->held));
	PQfinish(give(pg->conn));
	map_free(give(pg->prepared));
}

/* From any other state to WAITING: answers what was under way, in order, then says down. */
static void lose(struct pg *pg, const struct hr_err *err)
{
	disconnect(pg);
	enter(pg, WAITING);
	fail_all(pg, &pg->sent, err);
	if (!pg->dead)
		pg->events->down(pg->ctx, err);
}

static void lose_conn(struct pg *pg)
{
	struct hr_err err;

	err_set(&err, HR_RETRY, "%s", PQerrorMessage(pg->conn));
	lose(pg, &err);
}

static void lose_broken(void *arg)
{
	lose_conn(arg);
}

static void go_on_connecting(struct pg *pg)
{
	unwatch(pg);
	switch (PQconnectPoll(pg->conn)) {
	case PGRES_POLLING_READING:
		watch_socket(pg, WATCH_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch_socket(pg, WATCH_WRITE);
		break;
	case PGRES_POLLING_OK:
		take_up(pg);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		lose_conn(pg);
		break;
	}
}

/* What conninfo (given as dbname) says itself comes later and wins, but for the addresses found and
 * the encoding. A keyword without a value is passed over. */
static void begin_connect(struct pg *pg, const struct pg_hosts *hosts)
{
	const char *const settings[][2] = {
		{ "application_name", pg->application_name },
		{ "keepalives_idle", "10" },
		{ "keepalives_interval", "5" },
		{ "keepalives_count", "3" },
		{ "tcp_user_timeout", "25000" },
		{ "dbname", pg->conninfo },
		{ "host", hosts->host },
		{ "hostaddr", hosts->hostaddr },
		{ "port", hosts->port },
		{ "client_encoding", "UTF8" },
	};
	const char *keywords[countof(settings) + 1] = { 0 };
	const char *values[countof(settings) + 1] = { 0 };

	for (size_t i = 0; i < countof(settings); i++) {
		keywords[i] = settings[i][0];
		values[i] = settings[i][1];
	}
	pg->conn = PQconnectStartParams(keywords, values, true);
	if (!pg->conn)
		abort(); /* out of memory */
	pg->prepared = map_new();
	PQsetNoticeReceiver(pg->conn, on_notice, NULL);
	enter(pg, CONNECTING);
	if (PQstatus(pg->conn) == CONNECTION_BAD)
		lose_conn(pg);
	else
		watch_socket(pg, WATCH_WRITE);
}

static void on_hosts(void *arg, const struct pg_hosts *hosts, const struct hr_err *err)
{
	struct pg *pg = arg;

	if (!hosts) {
		lose(pg, err);
		return;
	}
	begin_connect(pg, hosts);
	pg_lookup_free(give(pg->lookup)); /* it lives to the end of the turn */
}

static void on_timer(void *arg)
{
	struct pg *pg = arg;

	if (pg->state == WAITING) {
		enter(pg, RESOLVING);
		pg->lookup = pg_lookup_new(pg->loop, pg->conninfo, on_hosts, pg);
		return;
	}
	struct hr_err err;
	err_set(&err, HR_RETRY, "no connection to the database within %d s", CONNECT_MS / 1000);
	lose(pg, &err);
}

/* ---- sending ---- */

static void flush(struct pg *pg)
{
	int left = PQflush(pg->conn);

	if (left < 0) {
		pg->broken = true;
		loop_later(pg->loop, lose_broken, pg);
		return;
	}
	watch_socket(pg, left ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

/* False when libpq refuses, which it does only on a connection that has gone. */
static bool hand_over(struct pg *pg, struct request *request, struct pg_view view)
{
	const struct pg_statement *statement = request->statement;
	struct slice name = slice_str(statement->name);
	enum prepared prepared = (enum prepared)(intptr_t)map_get(pg->prepared, name);

	if (prepared == UNKNOWN) {
		if (!PQsendPrepare(pg->conn, statement->name, statement->sql, 0, NULL))
			return false;
		map_put(pg->prepared, name, (void *)(intptr_t)PREPARING);
		request->prepares = true;
	}
	if (prepared == UNKNOWN || prepared == PREPARED)
		return PQsendQueryPrepared(pg->conn, statement->name, view.n, view.values,
					   view.lengths, view.formats, RESULT_BINARY);
	return PQsendQueryParams(pg->conn, statement->sql, view.n, NULL, view.values, view.lengths,
				 view.formats, RESULT_BINARY);
}

/* Whatever of a request has reached libpq may reach the server, but nothing is committed before its
 * sync: without it the request has not happened. */
static void close_request(struct pg *pg, struct request *request, bool good)
{
	if (good && PQpipelineSync(pg->conn)) {
		request->sent = true;
		flush(pg);
		return;
	}
	pg->broken = true;
	loop_later(pg->loop, lose_broken, pg);
}

static void send_listen(struct pg *pg, const char *channel)
{
	struct request *request = mem_new(struct request);
	char *quoted = PQescapeIdentifier(pg->conn, channel, strlen(channel));
	scoped_str sql = str_format("LISTEN %s", quoted ? quoted : "\"\"");

	PQfreemem(quoted);
	append(&pg->sent, request);
	bool good = PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, RESULT_BINARY);
	close_request(pg, request, good);
}

static void take_up(struct pg *pg)
{
	if (PQsetnonblocking(pg->conn, 1) != 0 || !PQenterPipelineMode(pg->conn)) {
		lose_conn(pg);
		return;
	}
	enter(pg, UP);
	watch_socket(pg, WATCH_READ);
	for (struct channel *channel = pg->channels; channel && !pg->broken;
	     channel = channel->next)
		send_listen(pg, channel->name);
	pg->events->up(pg->ctx);
}

static void add(struct pg *pg, struct request *request, const struct pg_params *params)
{
	pg->pending++;
	if (pg->state != UP) {
		append(&pg->refused, request);
		loop_later(pg->loop, refuse_all, pg);
		return;
	}
	append(&pg->sent, request);
	if (!pg->broken)
		close_request(pg, request, hand_over(pg, request, pg_params_view(params)));
}

void pg_send(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
	     pg_fn *fn, void *arg)
{
	struct request *request = mem_new(struct request);

	*request = (struct request){ .statement = statement, .fn = fn, .arg = arg };
	add(pg, request, params);
}

void pg_send_owned(struct pg *pg, const struct pg_statement *statement,
		   const struct pg_params *params, pg_fn *fn, void *arg)
{
	struct request *request = mem_new(struct request);

	*request =
		(struct request){ .statement = statement, .fn = fn, .arg = arg, .owns_arg = true };
	add(pg, request, params);
}

/* ---- receiving ---- */

/* PREPARE of the first request has been answered, well or not. */
static void end_prepare(struct pg *pg, struct request *request, bool good)
{
	struct slice name = slice_str(request->statement->name);

	request->prepares = false;
	if (good)
		map_put(pg->prepared, name, (void *)(intptr_t)PREPARED);
	else
		map_remove(pg->prepared, name);
}

/* The sync of the first request: it is committed, or the error in pg->held was the end of it. */
static void finish_first(struct pg *pg)
{
	struct request *request = take_first(&pg->sent);
	PGresult *result = give(pg->held);
	enum hr_status status = HR_OK;
	struct hr_err err = { .status = HR_OK };

	if (!result)
		status = err_set(&err, HR_FAIL, "the server gave no result");
	else if (PQresultStatus(result) == PGRES_FATAL_ERROR)
		status = translate(pg, request->statement, result, &err);
	if (!request->statement && status != HR_OK)
		log_error("pg.listen", LOG_ERR(&err));
	answer(pg, request, status, status == HR_OK ? result : NULL, &err);
	PQclear(result);
}

/* Keeps the rows of the first request, and in their place an error that follows: some are found
 * only at commit. */
static void hold(struct pg *pg, PGresult *result)
{
	bool failed = pg->held && PQresultStatus(pg->held) == PGRES_FATAL_ERROR;

	PQclear(failed ? result : pg->held);
	if (!failed)
		pg->held = result;
}

/* One result of the first request; taken. False when the connection has been lost with it. */
static bool take_result(struct pg *pg, PGresult *result)
{
	struct request *first = pg->sent.first;
	struct hr_err err;

	switch (PQresultStatus(result)) {
	case PGRES_PIPELINE_SYNC:
		PQclear(result);
		finish_first(pg);
		return !pg->dead && pg->state == UP;
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_EMPTY_QUERY:
		if (!first->prepares) {
			hold(pg, result);
			return true;
		}
		end_prepare(pg, first, true);
		PQclear(result);
		return true;
	case PGRES_PIPELINE_ABORTED:
		PQclear(result);
		return true;
	case PGRES_FATAL_ERROR:
		if (first->prepares)
			end_prepare(pg, first, false);
		if (!ends_session(result) && PQstatus(pg->conn) == CONNECTION_OK) {
			hold(pg, result);
			return true;
		}
		err_set(&err, HR_RETRY, "%s", PQresultErrorMessage(result));
		PQclear(result);
		lose(pg, &err);
		return false;
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_SINGLE_TUPLE:
	case PGRES_COPY_OUT:
	case PGRES_COPY_IN:
	case PGRES_COPY_BOTH:
		break;
	}
	err_set(&err, HR_RETRY, "%s: not an answer to a request",
		PQresStatus(PQresultStatus(result)));
	PQclear(result);
	lose(pg, &err);
	return false;
}

/* Two NULLs in a row: nothing is left, though PQisBusy does not say so. */
static bool take_results(struct pg *pg)
{
	int nulls = 0;

	while (pg->sent.first && nulls < 2 && !PQisBusy(pg->conn)) {
		PGresult *result = PQgetResult(pg->conn);
		nulls = result ? 0 : nulls + 1;
		if (result && !take_result(pg, result))
			return false;
	}
	return true;
}

static bool take_notifications(struct pg *pg)
{
	for (PGnotify *notify; (notify = PQnotifies(pg->conn)); PQfreemem(notify)) {
		if (!pg->events->notified)
			continue;
		pg->events->notified(pg->ctx, notify->relname, notify->extra);
		if (pg->dead || pg->state != UP) {
			PQfreemem(notify);
			return false;
		}
	}
	return true;
}

static bool read_once(struct pg *pg)
{
	bool good = PQconsumeInput(pg->conn);

	if (!take_results(pg) || !take_notifications(pg))
		return false;
	if (good)
		return true;
	lose_conn(pg);
	return false;
}

/* OpenSSL takes a whole record off the socket, of which libpq may leave a part that no poll ever
 * shows. A read takes 8 kB or more and a record has 16 kB: two reads after the socket is empty
 * leave nothing. */
static bool read_all(struct pg *pg)
{
	if (!PQsslInUse(pg->conn))
		return read_once(pg);
	for (int reads = 0, empty = 0; empty < 2 && reads < TLS_READS_MAX; reads++) {
		int waiting = 0;
		ioctl(PQsocket(pg->conn), FIONREAD, &waiting);
		empty = waiting > 0 ? 0 : empty + 1;
		if (!read_once(pg))
			return false;
	}
	return true;
}

static void on_socket(void *arg, int events)
{
	struct pg *pg = arg;

	if (pg->state == CONNECTING)
		go_on_connecting(pg);
	else if (!pg->broken && (!(events & WATCH_READ) || read_all(pg)) && !pg->broken)
		flush(pg);
}

/* ---- life ---- */

struct pg *pg_new(struct loop *loop, const char *conninfo, const char *application_name,
		  const struct pg_events *events, void *ctx)
{
	struct pg *pg = mem_new(struct pg);

	*pg = (struct pg){ .loop = loop,
			   .conninfo = str_dup(conninfo),
			   .application_name = str_dup(application_name),
			   .events = events,
			   .ctx = ctx,
			   .state = WAITING };
	pg->timer = timer_new(loop, on_timer, pg);
	timer_set(pg->timer, loop_now(loop));
	return pg;
}

static void destroy(void *arg)
{
	struct pg *pg = arg;

	for (struct channel *next; pg->channels; pg->channels = next) {
		next = pg->channels->next;
		free(pg->channels->name);
		free(pg->channels);
	}
	free(pg->conninfo);
	free(pg->application_name);
	free(pg);
}

void pg_free(struct pg *pg)
{
	if (!pg)
		return;
	pg->dead = true;
	disconnect(pg);
	loop_cancel(pg->loop, refuse_all, pg);
	timer_free(give(pg->timer));
	drop_all(&pg->sent);
	drop_all(&pg->refused);
	loop_park(pg->loop, pg, destroy);
}

bool pg_is_up(const struct pg *pg)
{
	return pg->state == UP && !pg->broken;
}

void pg_listen(struct pg *pg, const char *channel)
{
	struct channel **end = &pg->channels;

	for (; *end; end = &(*end)->next)
		if (strcmp((*end)->name, channel) == 0)
			return;
	*end = mem_new(struct channel);
	(*end)->name = str_dup(channel);
	if (pg_is_up(pg))
		send_listen(pg, channel);
}

size_t pg_pending(const struct pg *pg)
{
	return pg->pending;
}
