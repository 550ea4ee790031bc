/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/duty.h"

#include "base/log.h"
#include "base/map.h"
#include "schema/journal.h"

enum { AGAIN_MS = 1000 };

struct duty {
	struct duties *duties;
	enum duty_kind kind;
	char *lease;	  /* "installation:NAME", "mail:DOMAIN", "link:SITE" */
	const char *name; /* within lease */
	bool wanted, held;
	bool asking;  /* for the lease */
	bool leaving; /* it is being given back */
};

struct duties {
	struct loop *loop;
	struct pg *pg;
	struct journal *journal;
	const struct duties_events *events;
	void *ctx;
	struct map *by_lease;
	struct timer *again;
};

static const char *const prefix[] = {
	[DUTY_INSTALLATION] = "installation:",
	[DUTY_MAIL] = "mail:",
	[DUTY_LINK] = "link:",
};

static void set_held(struct duty *duty, bool held)
{
	if (duty->held == held)
		return;
	duty->held = held;
	log_info("duty.state", LOG_STR("lease", duty->lease),
		 LOG_STR("to", held ? "held" : "lost"));
	(held ? duty->duties->events->taken : duty->duties->events->lost)(duty->duties->ctx,
									  duty->kind, duty->name);
}

static void ask(struct duty *duty);

static void given_back(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct duty *duty = arg;

	duty->leaving = false;
	if (status == HR_FAIL)
		log_error("duty.not_given_back", LOG_STR("lease", duty->lease), LOG_ERR(err));
	ask(duty); /* it may be wanted again */
}

/* Everything that was put while it was held is committed. */
static void give_back(void *arg)
{
	struct duty *duty = arg;

	journal_end_lease(duty->duties->pg, slice_str(duty->lease), given_back, duty);
}

static void leave(struct duty *duty)
{
	if (duty->leaving)
		return;
	duty->leaving = true;
	journal_put(duty->duties->journal,
		    &(struct journal_entry){ .done = give_back, .arg = duty });
}

static void leased(void *arg, enum hr_status status, const struct hr_err *err)
{
	struct duty *duty = arg;

	duty->asking = false;
	if (status == HR_OK && duty->wanted)
		set_held(duty, true);
	else if (status == HR_OK)
		leave(duty);
	else if (status == HR_NONE)
		set_held(duty, false);
	else
		log_debug("duty.unknown", LOG_STR("lease", duty->lease), LOG_ERR(err));
}

static void ask(struct duty *duty)
{
	if (duty->asking || duty->leaving || !duty->wanted || !pg_is_up(duty->duties->pg))
		return;
	duty->asking = true;
	journal_lease(duty->duties->pg, slice_str(duty->lease), leased, duty);
}

static void ask_all(struct duties *duties, bool held_too)
{
	struct slice key;
	void *duty;

	for (size_t at = 0; map_next(duties->by_lease, &at, &key, &duty);)
		if (held_too || !((struct duty *)duty)->held)
			ask(duty);
}

static void again(void *arg)
{
	struct duties *duties = arg;

	ask_all(duties, false);
	timer_set(duties->again, loop_now(duties->loop) + msec_jitter(AGAIN_MS));
}

void duties_up(struct duties *duties)
{
	ask_all(duties, true);
}

static struct duty *find(const struct duties *duties, enum duty_kind kind, const char *name)
{
	scoped_str lease = str_format("%s%s", prefix[kind], name);

	return map_get(duties->by_lease, slice_str(lease));
}

bool duties_hold(const struct duties *duties, enum duty_kind kind, const char *name)
{
	const struct duty *duty = find(duties, kind, name);

	return duty && duty->held;
}

void duties_begin(struct duties *duties)
{
	struct slice key;
	void *duty;

	for (size_t at = 0; map_next(duties->by_lease, &at, &key, &duty);)
		((struct duty *)duty)->wanted = false;
}

void duties_want(struct duties *duties, enum duty_kind kind, const char *name)
{
	struct duty *duty = find(duties, kind, name);

	if (!duty) {
		duty = mem_new(struct duty);
		duty->duties = duties;
		duty->kind = kind;
		duty->lease = str_format("%s%s", prefix[kind], name);
		duty->name = duty->lease + strlen(prefix[kind]);
		map_put(duties->by_lease, slice_str(duty->lease), duty);
	}
	duty->wanted = true;
}

void duties_end(struct duties *duties)
{
	struct slice key;
	void *value;

	for (size_t at = 0; map_next(duties->by_lease, &at, &key, &value);) {
		struct duty *duty = value;

		if (duty->held && !duty->wanted) {
			set_held(duty, false);
			leave(duty);
		}
	}
	ask_all(duties, false);
}

struct duties *duties_new(struct loop *loop, struct pg *pg, struct journal *journal,
			  const struct duties_events *events, void *ctx)
{
	struct duties *duties = mem_new(struct duties);

	duties->loop = loop;
	duties->pg = pg;
	duties->journal = journal;
	duties->events = events;
	duties->ctx = ctx;
	duties->by_lease = map_new();
	duties->again = timer_new(loop, again, duties);
	timer_set(duties->again, loop_now(loop) + msec_jitter(AGAIN_MS));
	return duties;
}

void duties_free(struct duties *duties)
{
	struct slice key;
	void *value;

	if (!duties)
		return;
	for (size_t at = 0; map_next(duties->by_lease, &at, &key, &value);) {
		struct duty *duty = value;

		free(duty->lease);
		free(duty);
	}
	map_free(duties->by_lease);
	timer_free(duties->again);
	free(duties);
}
