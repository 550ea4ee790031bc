/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/stop.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct stop {
	const struct stop *above; /* NULL: none */
	atomic_bool set;
	int event; /* readable for ever once set */
	int fd;	   /* the same, or when the one above is */
};

static void watch(int fd, int event)
{
	struct epoll_event in = { .events = EPOLLIN };

	if (fd < 0 || event < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, event, &in) != 0)
		abort(); /* out of descriptors: nothing works any more */
}

struct stop *stop_new(const struct stop *above)
{
	struct stop *stop = mem_new(struct stop);

	stop->above = above;
	stop->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	stop->fd = epoll_create1(EPOLL_CLOEXEC);
	watch(stop->fd, stop->event);
	if (above)
		watch(stop->fd, above->fd);
	return stop;
}

void stop_free(struct stop *stop)
{
	if (stop) {
		close(stop->fd);
		close(stop->event);
	}
	free(stop);
}

void stop_set(struct stop *stop)
{
	if (!atomic_exchange(&stop->set, true) && eventfd_write(stop->event, 1) != 0)
		abort(); /* only for a descriptor that is none */
}

bool stop_is_set(const struct stop *stop)
{
	return atomic_load(&stop->set) || (stop->above && stop_is_set(stop->above));
}

int stop_fd(const struct stop *stop)
{
	return stop->fd;
}

enum stop_end stop_wait(const struct stop *stop, struct pollfd *fds, size_t n, msec limit)
{
	msec deadline = time_msec() + limit;
	int ready;

	fds[n] = (struct pollfd){ stop->fd, POLLIN, 0 };
	do {
		msec left = deadline - time_msec();
		ready = poll(fds, n + 1, (int)msec_clamp(left, 0, INT32_MAX));
	} while (ready < 0 && errno == EINTR);
	if (stop_is_set(stop))
		return STOP_STOPPED;
	return ready == 0 ? STOP_TIMEOUT : STOP_READY;
}
