/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link_poll.h"

#include <zmq.h>

struct link_poll {
	struct loop *loop;
	struct watch *watch;
	loop_fn *drain;
	void *arg;
};

static void on_ready(void *arg, int events)
{
	struct link_poll *poll = arg;

	(void)events;
	poll->drain(poll->arg);
}

struct link_poll *link_poll_new(struct loop *loop, void *socket, loop_fn *drain, void *arg)
{
	struct link_poll *poll = mem_new(struct link_poll);
	size_t size = sizeof(int);
	int fd = -1;

	*poll = (struct link_poll){ .loop = loop, .drain = drain, .arg = arg };
	if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0)
		abort(); /* not a socket of ours */
	poll->watch = watch_new(loop, fd, on_ready, poll);
	watch_set(poll->watch, WATCH_READ);
	link_poll_again(poll); /* what came before the watch */
	return poll;
}

void link_poll_again(struct link_poll *poll)
{
	loop_later(poll->loop, poll->drain, poll->arg);
}

void link_poll_free(struct link_poll *poll)
{
	if (!poll)
		return;
	loop_cancel(poll->loop, poll->drain, poll->arg);
	watch_free(poll->watch);
	free(poll);
}
