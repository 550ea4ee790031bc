/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/schedule.h"

#include "base/log.h"
#include "base/map.h"
#include "directory/run.h"

enum {
	LEASED_MS = 2000,      /* to the next try when another daemon is reading the forest */
	NO_DATABASE_MS = 5000, /* when a run could not even be written down */
	PLAN_MAX_MS = 60000,   /* the plan is asked for at least so often */
};

/* A forest that has been seen due. At most one run at a time; kept for the life of the schedule. */
struct job {
	struct schedule *schedule;
	char *forest;
	bool running;
	msec not_before; /* 0: no matter; else wait until then whatever the plan says */
	/* The worker's, while running: */
	uv_work_t work;
	enum publish_kind kind;
	bool draft;
	msec began;
	enum hr_status status;
	struct hr_err err;
	struct run_outcome outcome;
};

struct schedule {
	struct loop *loop;
	struct schedule_options options;
	struct pg *pg;
	struct timer *timer;
	struct map *jobs; /* by forest */
	size_t running;
	bool asking, ask_again; /* for the plan */
	struct stop *stop;	/* seen by the workers */
	loop_fn *stopped;
	void *stopped_arg;
};

static void ask(struct schedule *schedule);

static void tell_stopped(struct schedule *schedule)
{
	if (schedule->running == 0 && !schedule->asking)
		schedule->stopped(schedule->stopped_arg);
}

/* A run, on the worker ---------------------------------------------------------------------------
 */

static void work(uv_work_t *handle)
{
	struct job *job = handle->data;
	const struct run_request request = {
		.database = job->schedule->options.database,
		.forest = job->forest,
		.node = job->schedule->options.node,
		.kind = job->kind,
		.draft = job->draft,
		.secrets = job->schedule->options.secrets,
		.stop = job->schedule->stop,
	};

	job->status = run_forest(&request, &job->outcome, &job->err);
}

/* Its end, on the loop ---------------------------------------------------------------------------
 */

static const struct {
	const char *state, *event;
	enum log_level level;
} ends[] = {
	{ "applied", "sync.applied", LOG_LEVEL_INFO },
	{ "unchanged", "sync.unchanged", LOG_LEVEL_INFO },
	{ "previewed", "sync.previewed", LOG_LEVEL_INFO },
	{ "held", "sync.held", LOG_LEVEL_WARN },
	{ "failed", "sync.failed", LOG_LEVEL_WARN },
};

static void log_end(const struct job *job)
{
	const struct publish_result *result = &job->outcome.result;
	size_t end = 0;

	while (end < countof(ends) - 1 && strcmp(ends[end].state, result->state) != 0)
		end++;
	const struct log_field fields[] = {
		LOG_STR("forest", job->forest),
		LOG_INT("run", result->run),
		LOG_STR("url", job->outcome.url),
		LOG_STR("error", *result->why ? result->why : NULL),
		LOG_INT("read", result->read),
		LOG_INT("added", result->added),
		LOG_INT("changed", result->changed),
		LOG_INT("readdressed", result->readdressed),
		LOG_INT("removed", result->removed),
		LOG_INT("disabled", result->disabled),
		LOG_INT("kept", result->kept),
		LOG_INT("refused", result->refused),
		LOG_INT("ms", loop_now(job->schedule->loop) - job->began),
	};

	log_write(ends[end].level, ends[end].event, fields, countof(fields));
	for (size_t i = 0; i < job->outcome.refusal_count; i++)
		log_warn("sync.refused", LOG_STR("forest", job->forest),
			 LOG_INT("run", result->run), LOG_STR("entry", job->outcome.refusals[i]));
}

static void on_ended(uv_work_t *handle, int cancelled)
{
	struct job *job = handle->data;
	struct schedule *schedule = job->schedule;
	msec now = loop_now(schedule->loop);

	job->running = false;
	schedule->running--;
	if (cancelled == 0) {
		if (job->status == HR_OK) {
			log_end(job);
		} else if (job->status == HR_NONE) {
			job->not_before = now + msec_jitter(LEASED_MS);
			log_debug("sync.leased", LOG_STR("forest", job->forest));
		} else {
			job->not_before = now + msec_jitter(NO_DATABASE_MS);
			log_error("sync.unrecorded", LOG_STR("forest", job->forest),
				  LOG_ERR(&job->err));
		}
	}
	run_outcome_clear(&job->outcome);
	if (stop_is_set(schedule->stop))
		tell_stopped(schedule);
	else
		ask(schedule);
}

static void begin(struct job *job, const struct publish_due *due)
{
	struct schedule *schedule = job->schedule;

	job->running = true;
	job->kind = due->kind;
	job->draft = due->draft;
	job->not_before = 0;
	job->began = loop_now(schedule->loop);
	schedule->running++;
	log_debug("sync.begin", LOG_STR("forest", job->forest));
	job->work.data = job;
	if (uv_queue_work(loop_uv(schedule->loop), &job->work, work, on_ended) != 0)
		abort(); /* only for a missing callback */
}

/* The plan
 * ----------------------------------------------------------------------------------------- */

static struct job *job_of(struct schedule *schedule, struct slice forest)
{
	struct job *job = map_get(schedule->jobs, forest);

	if (job)
		return job;
	job = mem_new(struct job);
	job->schedule = schedule;
	job->forest = mem_dup(forest.data, forest.len);
	map_put(schedule->jobs, forest, job);
	return job;
}

/* Begins what is due; returns the time of the next look. */
static msec follow(struct schedule *schedule, const struct publish_due *due, size_t n, msec now)
{
	msec next = now + PLAN_MAX_MS;

	for (size_t i = 0; i < n; i++) {
		struct job *job = job_of(schedule, due[i].forest);
		msec at = now + due[i].due_in;
		if (job->running)
			continue; /* its end asks for the plan */
		if (at < job->not_before)
			at = job->not_before;
		if (at <= now)
			begin(job, &due[i]);
		else if (at < next)
			next = at;
	}
	return next;
}

static void on_plan(void *arg, enum hr_status status, const struct publish_due *due, size_t n,
		    const struct hr_err *err)
{
	struct schedule *schedule = arg;
	msec now = loop_now(schedule->loop);

	schedule->asking = false;
	if (stop_is_set(schedule->stop)) {
		tell_stopped(schedule);
		return;
	}
	if (status == HR_OK) {
		timer_set(schedule->timer, follow(schedule, due, n, now));
	} else {
		log_error("sync.unplanned", LOG_ERR(err));
		timer_set(schedule->timer, now + msec_jitter(NO_DATABASE_MS));
	}
	if (schedule->ask_again)
		ask(schedule);
}

/* One question at a time; what comes meanwhile makes one more. */
static void ask(struct schedule *schedule)
{
	if (stop_is_set(schedule->stop) || !pg_is_up(schedule->pg))
		return;
	schedule->ask_again = schedule->asking;
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
	(void)arg;
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

struct schedule *schedule_new(struct loop *loop, const struct schedule_options *options)
{
	struct schedule *schedule = mem_new(struct schedule);

	schedule->loop = loop;
	schedule->options = *options;
	schedule->jobs = map_new();
	schedule->stop = stop_new();
	schedule->timer = timer_new(loop, on_timer, schedule);
	schedule->pg =
		pg_new(loop, options->database, "hedgerow-directory", &database_events, schedule);
	for (size_t i = 0; publish_channels[i]; i++)
		pg_listen(schedule->pg, publish_channels[i]);
	return schedule;
}

void schedule_stop(struct schedule *schedule, loop_fn *stopped, void *arg)
{
	stop_set(schedule->stop);
	timer_set(schedule->timer, 0);
	schedule->stopped = stopped;
	schedule->stopped_arg = arg;
	tell_stopped(schedule);
}

void schedule_free(struct schedule *schedule)
{
	struct slice forest;
	void *value;

	if (!schedule)
		return;
	pg_free(schedule->pg);
	timer_free(schedule->timer);
	for (size_t at = 0; map_next(schedule->jobs, &at, &forest, &value);) {
		struct job *job = value;
		free(job->forest);
		free(job);
	}
	map_free(schedule->jobs);
	stop_free(schedule->stop);
	free(schedule);
}
