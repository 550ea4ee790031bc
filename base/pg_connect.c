/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pg_private.h"

#include "base/log.h"

enum {
	CONNECT_MS = 10 * 1000,
	WAIT_MIN_MS = 100,
	WAIT_MAX_MS = 1000, /* what was read and not committed waits in memory for us */
};

static void on_notice(void *arg, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	log_debug("pg.notice", LOG_STR("text", message));
}

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

void pg_watch_socket(struct pg *pg, int events)
{
	if (!pg->watch)
		pg->watch = watch_new(pg->loop, PQsocket(pg->conn), pg_on_socket, pg);
	watch_set(pg->watch, events);
}

/* libpq closes its socket as it pleases while it connects: never watched during its calls. */
static void unwatch(struct pg *pg)
{
	watch_free(give(pg->watch));
}

void pg_disconnect(struct pg *pg)
{
	loop_cancel(pg->loop, pg_lose_broken, pg);
	pg->broken = false;
	unwatch(pg);
	pg_lookup_free(give(pg->lookup));
	PQclear(give(pg->held));
	PQfinish(give(pg->conn));
	map_free(give(pg->prepared));
}

void pg_lose(struct pg *pg, const struct hr_err *err)
{
	pg->is_news = pg->state == UP || strcmp(pg->down.text, err->text) != 0;
	pg->down = *err;
	pg_disconnect(pg);
	enter(pg, WAITING);
	pg_fail_all(pg, &pg->sent, err);
	if (!pg->dead)
		pg->events->down(pg->ctx, err);
}

bool pg_is_news(const struct pg *pg)
{
	return pg->is_news;
}

void pg_lose_conn(struct pg *pg)
{
	struct hr_err err;

	err_set(&err, HR_RETRY, "%s", PQerrorMessage(pg->conn));
	pg_lose(pg, &err);
}

void pg_lose_broken(void *arg)
{
	pg_lose_conn(arg);
}

static void take_up(struct pg *pg)
{
	if (PQsetnonblocking(pg->conn, 1) != 0 || !PQenterPipelineMode(pg->conn)) {
		pg_lose_conn(pg);
		return;
	}
	enter(pg, UP);
	pg_watch_socket(pg, WATCH_READ);
	for (struct channel *channel = pg->channels; channel && !pg->broken;
	     channel = channel->next)
		pg_send_listen(pg, channel->name);
	pg->events->up(pg->ctx);
}

static void go_on_connecting(struct pg *pg)
{
	unwatch(pg);
	switch (PQconnectPoll(pg->conn)) {
	case PGRES_POLLING_READING:
		pg_watch_socket(pg, WATCH_READ);
		break;
	case PGRES_POLLING_WRITING:
		pg_watch_socket(pg, WATCH_WRITE);
		break;
	case PGRES_POLLING_OK:
		take_up(pg);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		pg_lose_conn(pg);
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
		pg_lose_conn(pg);
	else
		pg_watch_socket(pg, WATCH_WRITE);
}

static void on_hosts(void *arg, const struct pg_hosts *hosts, const struct hr_err *err)
{
	struct pg *pg = arg;

	if (!hosts) {
		pg_lose(pg, err);
		return;
	}
	begin_connect(pg, hosts);
	pg_lookup_free(give(pg->lookup)); /* it lives to the end of the turn */
}

void pg_on_timer(void *arg)
{
	struct pg *pg = arg;

	if (pg->state == WAITING) {
		enter(pg, RESOLVING);
		pg->lookup = pg_lookup_new(pg->loop, pg->conninfo, on_hosts, pg);
		return;
	}
	struct hr_err err;
	err_set(&err, HR_RETRY, "no connection to the database within %d s", CONNECT_MS / 1000);
	pg_lose(pg, &err);
}

void pg_on_socket(void *arg, int events)
{
	struct pg *pg = arg;

	if (pg->state == CONNECTING)
		go_on_connecting(pg);
	else if (!pg->broken && (!(events & WATCH_READ) || pg_read(pg)) && !pg->broken)
		pg_flush(pg);
}
