/* SPDX-License-Identifier: Apache-2.0 */
/* A handle of libuv's outlives its owner until its close callback, which frees the whole object. */
#include "base/server.h"

#include "base/buf.h"
#include "base/log.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 128, READ_BYTES = 64 << 10, SOCKET_MODE = 0660 };

union handle {
	uv_handle_t any;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct server {
	union handle handle; /* the first: on_server_closed */
	struct loop *loop;
	const struct server_events *events;
	void *ctx;
	size_t count, max; /* connections */
	size_t refs;	   /* connections, and 1 while it listens: they count down */
	char *path;	   /* of a unix socket; else NULL */
};

struct conn {
	union handle handle; /* the first: on_conn_closed */
	struct server *server;
	const struct conn_events *events;
	void *ctx;
	size_t waiting;
	char *room; /* READ_BYTES */
	bool paused, ending, broken, reported, freed;
};

struct write {
	uv_write_t request;
	struct conn *conn;
	size_t len;
	char bytes[];
};

static void server_drop(struct server *server)
{
	if (--server->refs == 0)
		free(server);
}

/* --- a connection --------------------------------------------------------------------------- */

static void on_conn_closed(uv_handle_t *handle)
{
	struct conn *conn = (struct conn *)handle;

	server_drop(conn->server);
	free(conn->room);
	free(conn);
}

static void report(void *arg)
{
	struct conn *conn = arg;

	if (conn->reported || conn->freed)
		return;
	conn->reported = true;
	conn->events->closed(conn->ctx);
}

static void break_off(struct conn *conn)
{
	conn->broken = true;
	uv_read_stop(&conn->handle.stream);
	if (conn->events)
		loop_later(conn->server->loop, report, conn);
}

void conn_free(struct conn *conn)
{
	if (!conn || conn->freed)
		return;
	conn->freed = true;
	conn->server->count--;
	loop_cancel(conn->server->loop, report, conn);
	uv_close(&conn->handle.any, on_conn_closed);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
	struct conn *conn = (struct conn *)handle;

	(void)suggested;
	*room = uv_buf_init(conn->room, READ_BYTES);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *room)
{
	struct conn *conn = (struct conn *)handle;

	if (got < 0)
		break_off(conn);
	else if (got > 0)
		conn->events->received(conn->ctx, (struct slice){ room->base, (size_t)got });
}

void conn_start(struct conn *conn, const struct conn_events *events, void *ctx)
{
	conn->events = events;
	conn->ctx = ctx;
	conn->room = mem_resize(NULL, READ_BYTES, 1);
	if (conn->broken || uv_read_start(&conn->handle.stream, on_room, on_read) != 0)
		break_off(conn);
}

void conn_pause(struct conn *conn, bool yes)
{
	if (conn->paused == yes || conn->broken || conn->ending)
		return;
	conn->paused = yes;
	if (yes)
		uv_read_stop(&conn->handle.stream);
	else if (uv_read_start(&conn->handle.stream, on_room, on_read) != 0)
		break_off(conn);
}

static void on_written(uv_write_t *request, int status)
{
	struct write *write = (struct write *)request;
	struct conn *conn = write->conn;

	conn->waiting -= write->len;
	free(write);
	if (conn->freed)
		return;
	if (status != 0 || (conn->ending && conn->waiting == 0))
		break_off(conn);
	else if (conn->waiting == 0)
		conn->events->drained(conn->ctx);
}

void conn_write(struct conn *conn, struct slice bytes)
{
	if (bytes.len == 0 || conn->broken || conn->ending)
		return;
	struct write *write = mem_alloc(sizeof *write + bytes.len);
	uv_buf_t buf = uv_buf_init(write->bytes, (unsigned)bytes.len);

	write->conn = conn;
	write->len = bytes.len;
	memcpy(write->bytes, bytes.data, bytes.len);
	if (uv_write(&write->request, &conn->handle.stream, &buf, 1, on_written) != 0) {
		free(write);
		break_off(conn);
		return;
	}
	conn->waiting += bytes.len;
}

size_t conn_waiting(const struct conn *conn)
{
	return conn->waiting;
}

void conn_end(struct conn *conn)
{
	conn->ending = true;
	if (!conn->broken)
		uv_read_stop(&conn->handle.stream);
	if (conn->waiting == 0)
		break_off(conn);
}

/* --- the listener --------------------------------------------------------------------------- */

static int init_handle(struct loop *loop, union handle *handle, bool is_pipe)
{
	return is_pipe ? uv_pipe_init(loop_uv(loop), &handle->pipe, 0)
		       : uv_tcp_init(loop_uv(loop), &handle->tcp);
}

static void on_connection(uv_stream_t *handle, int status)
{
	struct server *server = (struct server *)handle;
	struct conn *conn;

	if (status != 0) {
		log_warn("server.accept_failed", LOG_STR("error", uv_strerror(status)));
		return;
	}
	conn = mem_new(struct conn);
	conn->server = server;
	if (init_handle(server->loop, &conn->handle, server->path != NULL) != 0) {
		free(conn);
		return;
	}
	server->refs++;
	server->count++;
	if (uv_accept(handle, &conn->handle.stream) != 0 || server->count > server->max)
		conn_free(conn);
	else
		server->events->accepted(server->ctx, conn);
}

static void on_server_closed(uv_handle_t *handle)
{
	server_drop((struct server *)handle);
}

/* A name that nobody listens on any more is left over from a process that died. */
static int bind_unix(struct server *server, const char *path)
{
	struct stat at;
	int code = uv_pipe_bind(&server->handle.pipe, path);

	if (code == UV_EADDRINUSE && stat(path, &at) == 0 && S_ISSOCK(at.st_mode)) {
		unlink(path);
		code = uv_pipe_bind(&server->handle.pipe, path);
	}
	if (code == 0 && chmod(path, SOCKET_MODE) != 0)
		code = uv_translate_sys_error(errno);
	return code;
}

static int bind_tcp(struct server *server, const char *where)
{
	const char *colon = strrchr(where, ':');
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;

	if (!colon)
		return UV_EINVAL;
	bool bracketed = where[0] == '[' && colon > where && colon[-1] == ']';
	scoped_str host = mem_dup(where + bracketed, (size_t)(colon - where) - 2 * bracketed);

	hints.ai_flags |= strcmp(host, "localhost") == 0 ? 0 : AI_NUMERICHOST;
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return UV_EINVAL;
	int code = uv_tcp_bind(&server->handle.tcp, found->ai_addr, 0);
	freeaddrinfo(found);
	return code;
}

enum hr_status server_new(struct loop *loop, const char *where, size_t connections_max,
			  const struct server_events *events, void *ctx, struct server **out,
			  struct hr_err *err)
{
	bool is_pipe = strncmp(where, "unix:", 5) == 0;
	struct server *server = mem_new(struct server);
	int code;

	server->loop = loop;
	server->events = events;
	server->ctx = ctx;
	server->max = connections_max;
	server->path = is_pipe ? str_dup(where + 5) : NULL;
	server->refs = 1;
	if (init_handle(loop, &server->handle, is_pipe) != 0)
		abort(); /* no memory */
	code = is_pipe ? bind_unix(server, server->path) : bind_tcp(server, where);
	if (code == 0)
		code = uv_listen(&server->handle.stream, BACKLOG, on_connection);
	if (code != 0) {
		free(give(server->path)); /* it is not ours to remove */
		server_free(server);
		return err_set(err, HR_FAIL, "cannot listen on %s: %s", where, uv_strerror(code));
	}
	*out = server;
	return HR_OK;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	free(give(server->path)); /* libuv unlinks it */
	uv_close(&server->handle.any, on_server_closed);
}
