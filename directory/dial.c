/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LOOK_UP_TICK_MS = 50, /* how often the end of the daemon is looked for meanwhile */
	PORT_CHARS = 6,
	KEEP_IDLE_S = 30,  /* a silent connection is tried after this, */
	KEEP_EVERY_S = 10, /* so often, */
	KEEP_PROBES = 3,   /* so many times */
	SEND_MS = 20000,   /* what was sent is acknowledged within this, or the connection ends */
};

/* Name to addresses ------------------------------------------------------------------------------
 */

/* A look-up under way, which glibc's own thread writes to. One that cannot be cancelled is left to
 * it: the daemon is ending then, or the resolver hangs. */
struct look_up {
	struct gaicb item;
	struct addrinfo hints;
	char port[PORT_CHARS];
	char *host;
};

static void look_up_free(struct look_up *look_up)
{
	if (look_up->item.ar_result)
		freeaddrinfo(look_up->item.ar_result);
	free(look_up->host);
	free(look_up);
}

static enum hr_status wait_for_addresses(struct look_up *look_up, msec limit,
					 const struct stop *stop, struct hr_err *err)
{
	const struct gaicb *list[] = { &look_up->item };
	const struct timespec tick = { 0, LOOK_UP_TICK_MS * 1000000L };
	msec deadline = time_msec() + limit;
	int code;

	while ((code = gai_error(&look_up->item)) == EAI_INPROGRESS) {
		if (stop_is_set(stop))
			return err_set(err, HR_RETRY, "the daemon is ending");
		if (time_msec() >= deadline)
			return err_set(err, HR_RETRY, "the resolver does not answer");
		gai_suspend(list, 1, &tick);
	}
	if (code != 0)
		return err_set(err, HR_RETRY, "%s", gai_strerror(code));
	return HR_OK;
}

static enum hr_status find(const char *host, int port, msec limit, const struct stop *stop,
			   struct addrinfo **out, struct hr_err *err)
{
	struct look_up *look_up = mem_new(struct look_up);
	struct gaicb *list[] = { &look_up->item };

	snprintf(look_up->port, sizeof look_up->port, "%d", port);
	look_up->host = str_dup(host);
	look_up->hints = (struct addrinfo){ .ai_family = AF_UNSPEC,
					    .ai_socktype = SOCK_STREAM,
					    .ai_flags = AI_NUMERICSERV };
	look_up->item = (struct gaicb){ .ar_name = look_up->host,
					.ar_service = look_up->port,
					.ar_request = &look_up->hints };
	if (getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) != 0) {
		look_up_free(look_up);
		return err_set(err, HR_RETRY, "the resolver takes no question");
	}
	enum hr_status status = wait_for_addresses(look_up, limit, stop, err);
	if (gai_error(&look_up->item) == EAI_INPROGRESS && gai_cancel(list[0]) == EAI_NOTCANCELED)
		return status; /* look_up is the resolver's */
	if (status == HR_OK)
		*out = give(look_up->item.ar_result);
	look_up_free(look_up);
	return status;
}

/* Addresses to a connection ----------------------------------------------------------------------
 */

static void keep_alive(int fd)
{
	const struct {
		int level, option, value;
	} settings[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, SEND_MS },
	};

	for (size_t i = 0; i < countof(settings); i++)
		setsockopt(fd, settings[i].level, settings[i].option, &settings[i].value,
			   sizeof settings[i].value);
}

/* 0, or why not. */
static int connect_to(int fd, const struct addrinfo *address, msec limit, const struct stop *stop)
{
	struct pollfd fds[2] = { { fd, POLLOUT, 0 } };
	int error = 0;
	socklen_t len = sizeof error;

	if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	switch (stop_wait(stop, fds, 1, limit)) {
	case STOP_READY:
		return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
	case STOP_TIMEOUT:
		return ETIMEDOUT;
	case STOP_STOPPED:
		break;
	}
	return ECANCELED;
}

/* One address: a socket, or -1 with *error. */
static int try_address(const struct addrinfo *address, msec limit, const struct stop *stop,
		       int *error)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		*error = errno;
		return -1;
	}
	keep_alive(fd);
	*error = connect_to(fd, address, limit, stop);
	if (*error == 0 && fcntl(fd, F_SETFL, 0) == 0)
		return fd;
	close(fd);
	return -1;
}

enum hr_status dial(const char *host, int port, msec limit, const struct stop *stop, int *out,
		    struct hr_err *err)
{
	struct addrinfo *addresses = NULL;
	int fd = -1, error = 0;

	if (find(host, port, limit, stop, &addresses, err) != HR_OK)
		return err_add(err, "look up %s", host);
	for (const struct addrinfo *at = addresses; at && fd < 0 && !stop_is_set(stop);
	     at = at->ai_next)
		fd = try_address(at, limit, stop, &error);
	freeaddrinfo(addresses);
	if (fd < 0 && stop_is_set(stop))
		return err_set(err, HR_RETRY, "the daemon is ending");
	if (fd < 0)
		return err_set(err, HR_RETRY, "connect to %s, port %d: %s", host, port,
			       strerror(error));
	*out = fd;
	return HR_OK;
}
