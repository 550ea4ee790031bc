/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/follower.h"

#include "base/log.h"
#include "directory/changes.h"
#include "directory/mailbox.h"
#include "directory/run.h"

#include <stdatomic.h>
#include <uv.h>

enum {
	STANDBY_MS = 2000, /* to the next try when another daemon has the lease */
	REGISTRY_MIN_MS = 250,
	REGISTRY_MAX_MS = 5000, /* between tries when the database fails */
	IDLE_MAX_MS = 10 * 60 * 1000,
};

struct follower {
	char *name;
	struct follower_options options;
	struct mailbox *mailbox;
	uv_thread_t thread;
	atomic_bool ended;
	/* The thread's: */
	struct forest forest;
	struct publish *publish; /* NULL: no session of the database, and no lease */
	msec registry_pause;
	bool wants_whole; /* whatever the plan says */
	msec whole_at;	  /* when */
	bool again;	  /* there may be more changes */
	bool standby;
};

/* The session of the database --------------------------------------------------------------------
 */

static void tell(struct follower *follower)
{
	follower->options.tell(follower->options.arg);
}

static void rest(const struct follower *follower, msec pause)
{
	struct pollfd none[1];

	stop_wait(follower->forest.stop, none, 0, msec_jitter(pause));
}

/* Ends the session, and with it the lease. Wishes are in the database: they come again. */
static void leave(struct follower *follower)
{
	forest_clear(&follower->forest);
	publish_free(give(follower->publish));
	mailbox_forget(follower->mailbox);
	follower->again = false;
}

static void fail(struct follower *follower, const struct hr_err *err)
{
	leave(follower);
	if (stop_is_set(follower->forest.stop))
		return;
	if (follower->registry_pause == 0)
		log_error("sync.unrecorded", LOG_STR("forest", follower->name), LOG_ERR(err));
	follower->registry_pause =
		msec_clamp(2 * follower->registry_pause, REGISTRY_MIN_MS, REGISTRY_MAX_MS);
	rest(follower, follower->registry_pause);
	tell(follower);
}

static void show(struct follower *follower)
{
	struct report_state state = forest_state(&follower->forest);

	if (follower->standby) {
		report_state_clear(&state);
		state = (struct report_state){ mem_new(struct report_row), 1 };
		state.rows[0] = (struct report_row){ str_dup(follower->name), "standby", NULL, 0 };
	}
	mailbox_show(follower->mailbox, state);
}

static void enter(struct follower *follower)
{
	struct hr_err err;

	enum hr_status status = publish_open(follower->options.database, follower->name,
					     follower->options.node, &follower->publish, &err);
	bool standby = status == HR_NONE;
	if (standby && !follower->standby)
		log_debug("sync.leased", LOG_STR("forest", follower->name));
	follower->standby = standby;
	if (status == HR_OK)
		status = forest_adopt(&follower->forest, publish_source(follower->publish), &err);
	if (standby) {
		mailbox_forget(follower->mailbox);
		show(follower);
		rest(follower, STANDBY_MS);
	} else if (status != HR_OK) {
		fail(follower, &err);
	} else {
		follower->registry_pause = 0;
		mailbox_forget(follower->mailbox);
		tell(follower);
	}
}

/* Runs -------------------------------------------------------------------------------------------
 */

static void report(struct follower *follower, struct report_run *run, struct report_counts *counts)
{
	if (run->result.run != 0)
		report_run(follower->name, run, counts);
	mailbox_count(follower->mailbox, counts);
	report_run_clear(run);
}

static void read_whole(struct follower *follower, enum publish_kind kind, bool draft)
{
	const struct publish_due what = { .kind = kind, .draft = draft };
	struct report_counts counts = { 0 };
	struct report_run run = { 0 };
	struct hr_err err;

	log_debug("sync.begin", LOG_STR("forest", follower->name));
	enum hr_status status = run_whole(&follower->forest, follower->publish, &what, &run, &err);
	if (status == HR_OK) {
		mailbox_done(follower->mailbox, kind);
		follower->wants_whole &= kind != PUBLISH_FULL;
	}
	report(follower, &run, &counts);
	if (status == HR_OK && draft)
		leave(follower); /* what is followed is not read by the draft's attributes */
	if (status != HR_OK)
		fail(follower, &err);
	else
		tell(follower);
}

static void take_changes(struct follower *follower, const bool *due)
{
	struct changes changes;
	struct hr_err err;

	enum hr_status status =
		changes_take(&follower->forest, follower->publish, due, &changes, &err);
	bool published = changes.run.result.run != 0;
	report(follower, &changes.run, &changes.counts);
	follower->again = changes.again;
	if (changes.lost) {
		msec at = time_msec() + changes.pause;
		if (!follower->wants_whole || at < follower->whole_at)
			follower->whole_at = at;
		follower->wants_whole = true;
	}
	if (status != HR_OK)
		fail(follower, &err);
	else if (published)
		tell(follower);
}

/* Begins the run that is wanted most; false: none is. */
static bool read_if_wanted(struct follower *follower)
{
	struct mailbox_wishes wishes = mailbox_look(follower->mailbox);

	if (wishes.full || (follower->wants_whole && time_msec() >= follower->whole_at))
		read_whole(follower, PUBLISH_FULL, false);
	else if (wishes.dry_run)
		read_whole(follower, PUBLISH_DRY_RUN, wishes.draft);
	else
		return false;
	return true;
}

/* Waiting ----------------------------------------------------------------------------------------
 */

/* How long nothing is to be done, unless something comes. */
static msec idle_time(const struct follower *follower, msec now)
{
	const struct forest *forest = &follower->forest;
	msec next = now + IDLE_MAX_MS;

	if (follower->again)
		return 0;
	if (follower->wants_whole && follower->whole_at < next)
		next = follower->whole_at;
	for (size_t i = 0; i < forest->n; i++)
		if (forest_is_watched(forest, &forest->contexts[i]) &&
		    forest->contexts[i].poll_at < next)
			next = forest->contexts[i].poll_at;
	return next > now ? next - now : 0;
}

enum { AT_MAILBOX, AT_DATABASE, AT_CONTEXTS };

static void set_fds(const struct follower *follower, struct pollfd *fds)
{
	const struct forest *forest = &follower->forest;

	fds[AT_MAILBOX] = (struct pollfd){ mailbox_fd(follower->mailbox), POLLIN, 0 };
	fds[AT_DATABASE] = (struct pollfd){ publish_fd(follower->publish), POLLIN, 0 };
	for (size_t i = 0; i < forest->n; i++)
		fds[AT_CONTEXTS + i] =
			(struct pollfd){ forest_fd(forest, &forest->contexts[i]), POLLIN, 0 };
}

/* Waits for wishes, changes or the time to ask for them, and takes the changes. */
static void wait_and_take(struct follower *follower)
{
	struct forest *forest = &follower->forest;
	struct pollfd *fds = mem_array(struct pollfd, AT_CONTEXTS + forest->n + 1);
	bool *due = mem_array(bool, forest->n), any = false;
	struct hr_err err;

	set_fds(follower, fds);
	enum stop_end end = stop_wait(forest->stop, fds, AT_CONTEXTS + forest->n,
				      idle_time(follower, time_msec()));
	msec now = time_msec();
	for (size_t i = 0; i < forest->n; i++) {
		const struct forest_context *context = &forest->contexts[i];
		due[i] = fds[AT_CONTEXTS + i].revents ||
			 (forest_is_watched(forest, context) &&
			  (follower->again || context->poll_at <= now));
		any |= due[i];
	}
	if (end != STOP_STOPPED) {
		if (fds[AT_DATABASE].revents && publish_check(follower->publish, &err) != HR_OK)
			fail(follower, &err);
		else if (any)
			take_changes(follower, due);
		else
			follower->again = false; /* nobody may be asked */
	}
	free(due);
	free(fds);
}

static void work(void *arg)
{
	struct follower *follower = arg;

	while (!stop_is_set(follower->forest.stop)) {
		if (!follower->publish)
			enter(follower);
		else if (!read_if_wanted(follower))
			wait_and_take(follower);
		if (follower->publish)
			show(follower);
	}
	leave(follower);
	atomic_store(&follower->ended, true);
	tell(follower);
}

/* From the loop ----------------------------------------------------------------------------------
 */

struct follower *follower_new(const char *forest, const struct follower_options *options)
{
	struct follower *follower = mem_new(struct follower);

	follower->name = str_dup(forest);
	follower->options = *options;
	follower->mailbox = mailbox_new();
	follower->forest = (struct forest){
		.name = follower->name,
		.secrets = options->secrets,
		.stop = mailbox_stop(follower->mailbox),
	};
	if (uv_thread_create(&follower->thread, work, follower) != 0)
		abort(); /* no resources for a thread: nothing works any more */
	return follower;
}

void follower_ask(struct follower *follower, enum publish_kind kind, bool draft)
{
	mailbox_wish(follower->mailbox, kind, draft);
}

bool follower_is_asked(const struct follower *follower)
{
	return mailbox_is_wished(follower->mailbox);
}

void follower_read(struct follower *follower, struct report_counts *counts,
		   struct report_state *state)
{
	mailbox_read(follower->mailbox, counts, state);
}

void follower_stop(struct follower *follower)
{
	stop_set(mailbox_stop(follower->mailbox));
}

bool follower_has_ended(const struct follower *follower)
{
	return atomic_load(&follower->ended);
}

void follower_free(struct follower *follower)
{
	if (!follower)
		return;
	uv_thread_join(&follower->thread);
	mailbox_free(follower->mailbox);
	free(follower->name);
	free(follower);
}
