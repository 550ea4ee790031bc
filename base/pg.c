/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pg_private.h"

enum { RESULT_BINARY = 1 };

/* ---- requests ---- */

static void append(struct requests *list, struct request *request)
{
	if (!list->first)
		list->end = &list->first;
	*list->end = request;
	list->end = &request->next;
}

struct request *pg_take_first(struct requests *list)
{
	struct request *request = list->first;

	if (request)
		list->first = request->next;
	return request;
}

void pg_answer(struct pg *pg, struct request *request, enum hr_status status,
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
	for (struct request *request; (request = pg_take_first(list));) {
		if (request->owns_arg)
			free(request->arg);
		free(request);
	}
}

/* Those handed to libpq may have happened; the others have not. Takes them out of pg first, so that
 * what is asked for meanwhile is not among them. */
void pg_fail_all(struct pg *pg, struct requests *list, const struct hr_err *err)
{
	struct requests all = *list;

	list->first = NULL;
	for (struct request *request; (request = pg_take_first(&all));) {
		struct hr_err own = *err;
		own.status = request->sent ? HR_UNSURE : HR_RETRY;
		if (pg->dead)
			free(request);
		else
			pg_answer(pg, request, own.status, NULL, &own);
	}
}

static void refuse_all(void *arg)
{
	struct pg *pg = arg;
	struct hr_err err;

	err_set(&err, HR_RETRY, "not connected to the database");
	pg_fail_all(pg, &pg->refused, &err);
}

/* ---- sending ---- */

void pg_flush(struct pg *pg)
{
	int left = PQflush(pg->conn);

	if (left < 0) {
		pg->broken = true;
		loop_later(pg->loop, pg_lose_broken, pg);
		return;
	}
	pg_watch_socket(pg, left ? WATCH_READ | WATCH_WRITE : WATCH_READ);
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
		pg_flush(pg);
		return;
	}
	pg->broken = true;
	loop_later(pg->loop, pg_lose_broken, pg);
}

void pg_send_listen(struct pg *pg, const char *channel)
{
	struct request *request = mem_new(struct request);
	char *quoted = PQescapeIdentifier(pg->conn, channel, strlen(channel));
	scoped_str sql = str_format("LISTEN %s", quoted ? quoted : "\"\"");

	PQfreemem(quoted);
	append(&pg->sent, request);
	bool good = PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, RESULT_BINARY);
	close_request(pg, request, good);
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
	pg->timer = timer_new(loop, pg_on_timer, pg);
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
	pg_disconnect(pg);
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
		pg_send_listen(pg, channel);
}

size_t pg_pending(const struct pg *pg)
{
	return pg->pending;
}
