/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pg_private.h"

#include "base/log.h"

#include <sys/ioctl.h>

enum { TLS_READS_MAX = 64 };

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

/* ---- what it answers ---- */

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
	struct request *request = pg_take_first(&pg->sent);
	PGresult *result = give(pg->held);
	enum hr_status status = HR_OK;
	struct hr_err err = { .status = HR_OK };

	if (!result)
		status = err_set(&err, HR_FAIL, "the server gave no result");
	else if (PQresultStatus(result) == PGRES_FATAL_ERROR)
		status = translate(pg, request->statement, result, &err);
	if (!request->statement && status != HR_OK)
		log_error("pg.listen", LOG_ERR(&err));
	pg_answer(pg, request, status, status == HR_OK ? result : NULL, &err);
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
		pg_lose(pg, &err);
		return false;
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_SINGLE_TUPLE:
	case PGRES_COPY_OUT:
	case PGRES_COPY_IN:
	case PGRES_COPY_BOTH:
		break;
	}
	err_set(&err, HR_RETRY, "%s: not an pg_answer to a request",
		PQresStatus(PQresultStatus(result)));
	PQclear(result);
	pg_lose(pg, &err);
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
	pg_lose_conn(pg);
	return false;
}

/* OpenSSL takes a whole record off the socket, of which libpq may leave a part that no poll ever
 * shows. A read takes 8 kB or more and a record has 16 kB: two reads after the socket is empty
 * leave nothing. */
bool pg_read(struct pg *pg)
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
