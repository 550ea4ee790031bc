/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PORT_CHARS = 6,
	KEEP_IDLE_S = 30,  /* a silent connection is tried after this, */
	KEEP_EVERY_S = 10, /* so often, */
	KEEP_PROBES = 3,   /* so many times */
	SEND_MS = 20000,   /* what was sent is acknowledged within this, or the connection ends */
};

/* Name to addresses ------------------------------------------------------------------------------
 */

/* A question to the resolver, which has no bound: asked by a thread of its own. Whoever of the two
 * is last frees it. */
struct look_up {
	atomic_int holders;
	char *host, port[PORT_CHARS];
	int answered; /* eventfd */
	int code;
	struct addrinfo *addresses;
};

static void let_go(struct look_up *look_up)
{
	if (atomic_fetch_sub(&look_up->holders, 1) > 1)
		return;
	if (look_up->addresses)
		freeaddrinfo(look_up->addresses);
	if (look_up->answered >= 0)
		close(look_up->answered);
	free(look_up->host);
	free(look_up);
}

static int ask(struct look_up *look_up, int flags)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM,
					.ai_flags = AI_NUMERICSERV | flags };

	return getaddrinfo(look_up->host, look_up->port, &hints, &look_up->addresses);
}

static void *ask_and_tell(void *arg)
{
	struct look_up *look_up = arg;

	look_up->code = ask(look_up, 0);
	if (eventfd_write(look_up->answered, 1) != 0)
		abort(); /* only for a descriptor that is none */
	let_go(look_up);
	return NULL;
}

static enum hr_status begin(struct look_up *look_up, struct hr_err *err)
{
	pthread_attr_t detached;
	pthread_t thread;

	look_up->answered = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (look_up->answered < 0)
		return err_set(err, HR_RETRY, "%s", strerror(errno));
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	atomic_store(&look_up->holders, 2);
	int error = pthread_create(&thread, &detached, ask_and_tell, look_up);
	pthread_attr_destroy(&detached);
	if (error == 0)
		return HR_OK;
	atomic_store(&look_up->holders, 1);
	return err_set(err, HR_RETRY, "a thread for the resolver: %s", strerror(error));
}

static enum hr_status wait_for_answer(struct look_up *look_up, msec limit, const struct stop *stop,
				      struct hr_err *err)
{
	struct pollfd fds[2] = { { look_up->answered, POLLIN, 0 } };
	eventfd_t ignored;

	switch (stop_wait(stop, fds, 1, limit)) {
	case STOP_READY:
		if (eventfd_read(look_up->answered, &ignored) == 0)
			break;
		return err_set(err, HR_RETRY, "%s", strerror(errno));
	case STOP_TIMEOUT:
		return err_set(err, HR_RETRY, "the resolver does not answer");
	case STOP_STOPPED:
		return err_set(err, HR_RETRY, "the daemon is ending");
	}
	return look_up->code == 0 ? HR_OK
				  : err_set(err, HR_RETRY, "%s", gai_strerror(look_up->code));
}

static enum hr_status find(const struct dial *dial, struct addrinfo **out, struct hr_err *err)
{
	struct look_up *look_up = mem_new(struct look_up);
	enum hr_status status = HR_OK;

	look_up->answered = -1;
	atomic_store(&look_up->holders, 1);
	snprintf(look_up->port, sizeof look_up->port, "%d", dial->port);
	look_up->host = str_dup(dial->host);
	if (ask(look_up, AI_NUMERICHOST) != 0) { /* an address needs nobody to be asked */
		status = begin(look_up, err);
		if (status == HR_OK)
			status = wait_for_answer(look_up, dial->limit, dial->stop, err);
	}
	if (status == HR_OK)
		*out = give(look_up->addresses);
	let_go(look_up);
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

enum hr_status dial(const struct dial *dial, int *out, struct hr_err *err)
{
	struct addrinfo *addresses = NULL;
	int fd = -1, error = 0;

	if (find(dial, &addresses, err) != HR_OK)
		return err_add(err, "look up %s", dial->host);
	for (const struct addrinfo *at = addresses; at && fd < 0 && !stop_is_set(dial->stop);
	     at = at->ai_next)
		fd = try_address(at, dial->limit, dial->stop, &error);
	freeaddrinfo(addresses);
	if (fd < 0 && stop_is_set(dial->stop))
		return err_set(err, HR_RETRY, "the daemon is ending");
	if (fd < 0)
		return err_set(err, HR_RETRY, "connect to %s, port %d: %s", dial->host, dial->port,
			       strerror(error));
	*out = fd;
	return HR_OK;
}
