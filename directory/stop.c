/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/stop.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct stop {
	atomic_bool set;
	int fd; /* readable for ever once set */
};

struct stop *stop_new(void)
{
	struct stop *stop = mem_new(struct stop);

	stop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop->fd < 0)
		abort(); /* out of descriptors when the daemon has just begun */
	return stop;
}

void stop_free(struct stop *stop)
{
	if (stop)
		close(stop->fd);
	free(stop);
}

void stop_set(struct stop *stop)
{
	if (!atomic_exchange(&stop->set, true) && eventfd_write(stop->fd, 1) != 0)
		abort(); /* only for a descriptor that is none */
}

bool stop_is_set(const struct stop *stop)
{
	return atomic_load(&stop->set);
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
