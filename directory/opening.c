/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/opening.h"

#include <uv.h>

struct opening {
	const struct adapter *adapter;
	const struct adapter_request *request; /* borrowed */
	struct stop *ended;
	msec began;
	uv_thread_t thread;
	/* The thread's until it has ended: */
	enum hr_status status;
	struct adapter_session *session;
	struct hr_err err;
};

static void work(void *arg)
{
	struct opening *opening = arg;

	opening->status =
		opening->adapter->open(opening->request, &opening->session, &opening->err);
	stop_set(opening->ended);
}

struct opening *opening_new(const struct adapter *adapter, const struct adapter_request *request)
{
	struct opening *opening = mem_new(struct opening);

	opening->adapter = adapter;
	opening->request = request;
	opening->ended = stop_new(NULL);
	opening->began = time_msec();
	if (uv_thread_create(&opening->thread, work, opening) != 0)
		abort(); /* no resources for a thread: nothing works any more */
	return opening;
}

int opening_fd(const struct opening *opening)
{
	return stop_fd(opening->ended);
}

bool opening_has_ended(const struct opening *opening)
{
	return stop_is_set(opening->ended);
}

msec opening_began(const struct opening *opening)
{
	return opening->began;
}

enum hr_status opening_end(struct opening *opening, struct adapter_session **out,
			   struct hr_err *err)
{
	uv_thread_join(&opening->thread);
	enum hr_status status = opening->status;
	if (status == HR_OK)
		*out = opening->session;
	else
		*err = opening->err;
	stop_free(opening->ended);
	free(opening);
	return status;
}
