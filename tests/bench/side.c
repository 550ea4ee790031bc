/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/side.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SESSIONS_MAX = 64 };

struct side {
	struct loop *loop;
	struct side_options options;
	const struct side_events *events;
	void *ctx;
	int fd; /* the listener, or -1 */
	struct watch *watch;
	struct session *sessions[SESSIONS_MAX]; /* those open or opening */
	size_t count;
	bool open[SESSIONS_MAX];
};

bool side_is_open(const struct side *side)
{
	return side_find(side, NULL) != NULL;
}

struct session *side_find(const struct side *side, const char *domain)
{
	for (size_t i = 0; i < side->count; i++)
		if (side->open[i] &&
		    (!domain || strcmp(domain, session_domain(side->sessions[i])) == 0))
			return side->sessions[i];
	return NULL;
}

static void on_opened(void *ctx, struct session *session)
{
	struct side *side = ctx;

	for (size_t i = 0; i < side->count; i++)
		if (side->sessions[i] == session)
			side->open[i] = true;
	side->events->opened(side->ctx, side);
}

static void on_stanza(void *ctx, struct session *session, const struct stanza *stanza)
{
	struct side *side = ctx;

	side->events->stanza(side->ctx, side, session, stanza);
}

static void on_closed(void *ctx, struct session *session, const struct hr_err *err)
{
	struct side *side = ctx;

	for (size_t i = 0; i < side->count; i++)
		if (side->sessions[i] == session) {
			side->count--;
			side->sessions[i] = side->sessions[side->count];
			side->open[i] = side->open[side->count];
			break;
		}
	side->events->closed(side->ctx, side, session, err);
	session_free(session);
}

static const struct session_events session_events = { on_opened, on_stanza, on_closed };

static void add_session(struct side *side, int fd)
{
	const struct side_options *options = &side->options;
	int yes = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	side->open[side->count] = false;
	side->sessions[side->count++] =
		session_new(side->loop, fd, options->role,
			    options->role == SESSION_COMPONENT ? options->domain : NULL,
			    options->secret, &session_events, side);
}

static void on_connection(void *arg, int events)
{
	struct side *side = arg;
	int fd = accept4(side->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return; /* it has gone again */
	if (side->count == SESSIONS_MAX)
		close(fd);
	else
		add_session(side, fd);
}

static enum hr_status listen_at(struct side *side, int fd, const struct sockaddr_in *address,
				struct hr_err *err)
{
	int yes = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    listen(fd, SESSIONS_MAX) < 0) {
		close(fd);
		return err_set(err, HR_FAIL, "listen: %s", strerror(errno));
	}
	side->fd = fd;
	side->watch = watch_new(side->loop, fd, on_connection, side);
	watch_set(side->watch, WATCH_READ);
	return HR_OK;
}

static enum hr_status begin(struct side *side, struct hr_err *err)
{
	const struct sockaddr_in *address = &side->options.address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, HR_FAIL, "socket: %s", strerror(errno));
	if (side->options.role == SESSION_SERVER)
		return listen_at(side, fd, address, err);
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		return err_set(err, HR_FAIL, "connect: %s", strerror(errno));
	}
	add_session(side, fd);
	return HR_OK;
}

enum hr_status side_new(struct loop *loop, const struct side_options *options,
			const struct side_events *events, void *ctx, struct side **out,
			struct hr_err *err)
{
	scoped(side) side = mem_new(struct side);

	*side = (struct side){
		.loop = loop, .options = *options, .events = events, .ctx = ctx, .fd = -1
	};
	if (begin(side, err) != HR_OK)
		return err->status;
	*out = give(side);
	return HR_OK;
}

void side_free(struct side *side)
{
	if (!side)
		return;
	for (size_t i = 0; i < side->count; i++)
		session_free(side->sessions[i]);
	watch_free(side->watch);
	if (side->fd >= 0)
		close(side->fd);
	free(side);
}
