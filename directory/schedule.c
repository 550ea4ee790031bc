/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/schedule.h"

#include "base/log.h"
#include "base/map.h"
#include "directory/follower.h"
#include "directory/tell.h"

enum {
	NO_DATABASE_MS = 5000, /* when the plan could not be had */
	PLAN_MAX_MS = 60000,   /* the plan is asked for at least so often */
	TELL_MS = 1000,	       /* from one report to operators to the next */
};

/* A forest of the plan. */
struct duty {
	struct follower *follower;
	bool named;    /* by the plan that is being followed */
	bool stopping; /* no longer in the plan, or the daemon ends */
};

struct schedule {
	struct loop *loop;
	struct schedule_options options;
	struct pg *pg;
	struct timer *timer;
	struct map *duties; /* struct duty by forest */
	uv_async_t *told;   /* a follower has something to tell */
	bool asking, again; /* for the plan; once more */
	struct tell *tell;
	struct timer *tell_timer;
	loop_fn *stopped; /* NULL: not stopping */
	void *stopped_arg;
};

static void ask(struct schedule *schedule);

/* Followers --------------------------------------------------------------------------------------
 */

static void tell(void *arg)
{
	struct schedule *schedule = arg;

	uv_async_send(schedule->told);
}

static struct duty *duty_of(struct schedule *schedule, struct slice forest)
{
	struct duty *duty = map_get(schedule->duties, forest);

	if (duty)
		return duty;
	const struct follower_options options = {
		.database = schedule->options.database,
		.secrets = schedule->options.secrets,
		.node = schedule->options.node,
		.tell = tell,
		.arg = schedule,
	};
	scoped_str name = mem_dup(forest.data, forest.len);
	duty = mem_new(struct duty);
	duty->follower = follower_new(name, &options);
	map_put(schedule->duties, forest, duty);
	return duty;
}

static void let_go(struct duty *duty)
{
	if (!duty->stopping)
		follower_stop(duty->follower);
	duty->stopping = true;
}

/* Frees followers that have ended. One whose forest is named again meanwhile is made anew by the
 * plan that follows. */
static void bury(struct schedule *schedule)
{
	struct slice forest;
	void *value;

	for (size_t at = 0; map_next(schedule->duties, &at, &forest, &value);) {
		struct duty *duty = value;
		if (!duty->stopping || !follower_has_ended(duty->follower))
			continue;
		follower_free(duty->follower);
		map_remove(schedule->duties, forest);
		free(duty);
	}
}

static void on_tell(void *arg)
{
	struct schedule *schedule = arg;
	msec now = loop_now(schedule->loop);
	struct slice forest;
	void *value;

	tell_begin(schedule->tell);
	for (size_t at = 0; map_next(schedule->duties, &at, &forest, &value);) {
		const struct duty *duty = value;
		struct report_counts counts = { 0 };
		struct report_state state;
		follower_read(duty->follower, &counts, &state);
		tell_add(schedule->tell, &counts, state, now);
	}
	tell_send(schedule->tell, schedule->pg);
	timer_set(schedule->tell_timer, now + TELL_MS);
}

static void on_told(uv_async_t *handle)
{
	struct schedule *schedule = handle->data;

	bury(schedule);
	if (!schedule->stopped)
		ask(schedule);
	else if (map_count(schedule->duties) == 0)
		schedule->stopped(schedule->stopped_arg);
}

/* The plan ---------------------------------------------------------------------------------------
 */

/* Asks followers for what is due; returns the time of the next look. */
static msec follow(struct schedule *schedule, const struct publish_due *due, size_t n, msec now)
{
	msec next = now + PLAN_MAX_MS;
	struct slice forest;
	void *value;

	for (size_t i = 0; i < n; i++) {
		struct duty *duty = duty_of(schedule, due[i].forest);
		msec at = now + due[i].due_in;
		duty->named = true;
		if (duty->stopping || follower_is_asked(duty->follower))
			continue; /* its end asks for the plan */
		if (at <= now)
			follower_ask(duty->follower, due[i].kind, due[i].draft);
		else if (at < next)
			next = at;
	}
	for (size_t at = 0; map_next(schedule->duties, &at, &forest, &value);) {
		struct duty *duty = value;
		if (!duty->named)
			let_go(duty);
		duty->named = false;
	}
	return next;
}

static void on_plan(void *arg, enum hr_status status, const struct publish_due *due, size_t n,
		    const struct hr_err *err)
{
	struct schedule *schedule = arg;
	msec now = loop_now(schedule->loop);

	schedule->asking = false;
	if (schedule->stopped)
		return;
	if (status == HR_OK) {
		timer_set(schedule->timer, follow(schedule, due, n, now));
	} else {
		log_error("sync.unplanned", LOG_ERR(err));
		timer_set(schedule->timer, now + msec_jitter(NO_DATABASE_MS));
	}
	if (schedule->again)
		ask(schedule);
}

/* One question at a time; what comes meanwhile makes one more. */
static void ask(struct schedule *schedule)
{
	if (schedule->stopped || !pg_is_up(schedule->pg))
		return;
	schedule->again = schedule->asking;
	if (schedule->asking)
		return;
	schedule->asking = true;
	publish_plan(schedule->pg, on_plan, schedule);
}

static void on_timer(void *arg)
{
	ask(arg);
}

static void on_up(void *arg)
{
	struct schedule *schedule = arg;

	log_info("database.up");
	ask(schedule);
}

static void on_down(void *arg, const struct hr_err *err)
{
	struct schedule *schedule = arg;

	if (pg_is_news(schedule->pg))
		log_warn("database.down", LOG_ERR(err));
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
	(void)channel;
	(void)payload; /* the request itself is in the database */
	ask(arg);
}

static const struct pg_events database_events = {
	.up = on_up,
	.down = on_down,
	.notified = on_notified,
};

/* Life -------------------------------------------------------------------------------------------
 */

struct schedule *schedule_new(struct loop *loop, const struct schedule_options *options)
{
	struct schedule *schedule = mem_new(struct schedule);

	schedule->loop = loop;
	schedule->options = *options;
	schedule->duties = map_new();
	schedule->told = mem_new(uv_async_t);
	if (uv_async_init(loop_uv(loop), schedule->told, on_told) != 0)
		abort(); /* no descriptor for it */
	schedule->told->data = schedule;
	schedule->timer = timer_new(loop, on_timer, schedule);
	schedule->tell = tell_new(options->node);
	schedule->tell_timer = timer_new(loop, on_tell, schedule);
	timer_set(schedule->tell_timer, loop_now(loop) + TELL_MS);
	schedule->pg =
		pg_new(loop, options->database, "hedgerow-directory", &database_events, schedule);
	for (size_t i = 0; publish_channels[i]; i++)
		pg_listen(schedule->pg, publish_channels[i]);
	return schedule;
}

void schedule_stop(struct schedule *schedule, loop_fn *stopped, void *arg)
{
	struct slice forest;
	void *duty;

	schedule->stopped = stopped;
	schedule->stopped_arg = arg;
	timer_set(schedule->timer, 0);
	timer_set(schedule->tell_timer, 0);
	for (size_t at = 0; map_next(schedule->duties, &at, &forest, &duty);)
		let_go(duty);
	uv_async_send(schedule->told);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void schedule_free(struct schedule *schedule)
{
	if (!schedule)
		return;
	pg_free(schedule->pg);
	tell_free(schedule->tell);
	timer_free(schedule->tell_timer);
	timer_free(schedule->timer);
	uv_close((uv_handle_t *)schedule->told, on_closed);
	map_free(schedule->duties);
	free(schedule);
}
