/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/desk.h"

#include "base/log.h"
#include "gateway/ration.h"

struct metric desk_metrics[DESK_METRICS] = {
	[DESK_SEARCHES] = { "desk_searches_total", "Searches for people answered", 0, false },
	[DESK_CARDS] = { "desk_cards_total", "VCards answered from the registry", 0, false },
	[DESK_REFUSED_RATION] = { "desk_refused_ration_total",
				  "Searches and vCards refused: the asker had too many", 0, false },
	[DESK_REFUSED_BUSY] = { "desk_refused_busy_total",
				"Searches and vCards refused: too many were waiting", 0, false },
	[DESK_FAILED] = { "desk_failed_total",
			  "Searches and vCards that the database did not answer", 0, false },
};

struct question {
	struct question *next;
	struct desk_question q;
	char text[]; /* of asker and about */
};

struct desk {
	struct loop *loop;
	struct pg *pg;
	struct ration *ration;
	struct choices *choices;
	struct question *first, **last; /* the first is in the database, if `asking` */
	size_t count;
	bool asking;
	bool unlisted, listed_last; /* the listing may be behind; it had the last turn */
};

static const struct {
	enum desk_metric metric;
	size_t cost;
} kinds[] = {
	[DESK_SEARCH] = { DESK_SEARCHES, DESK_SEARCH_COST },
	[DESK_CARD] = { DESK_CARDS, 1 },
};

struct desk *desk_new(struct loop *loop, struct pg *pg)
{
	struct desk *desk = mem_new(struct desk);

	desk->loop = loop;
	desk->pg = pg;
	desk->ration = ration_new(DESK_RATION, DESK_WINDOW_MS);
	desk->choices = choices_new(pg);
	desk->last = &desk->first;
	return desk;
}

static void drop_first(struct desk *desk)
{
	struct question *question = desk->first;

	desk->first = question->next;
	if (!desk->first)
		desk->last = &desk->first;
	desk->count--;
	free(question->q.arg);
	free(question);
}

void desk_free(struct desk *desk)
{
	if (!desk)
		return;
	while (desk->first)
		drop_first(desk);
	ration_free(desk->ration);
	choices_free(desk->choices);
	free(desk);
}

static void go_on(struct desk *desk);

static void answered(void *arg, enum hr_status status, const struct profile *profiles, size_t count,
		     bool more, const struct hr_err *err)
{
	struct desk *desk = arg;
	const struct desk_question *q = &desk->first->q;

	if (status == HR_FAIL) /* else the connection is gone, which is logged */
		log_error("desk.failed",
			  LOG_STR("what", q->kind == DESK_SEARCH ? "search" : "card"),
			  LOG_ERR(err));
	metric_add(&desk_metrics[status == HR_OK ? kinds[q->kind].metric : DESK_FAILED], 1);
	if (q->fn)
		q->fn(q->arg, status == HR_OK ? HR_OK : HR_RETRY, profiles, count, more);
	drop_first(desk);
	desk->asking = false;
	go_on(desk);
}

static void listed(void *arg, enum hr_status status, bool more, const struct hr_err *err)
{
	struct desk *desk = arg;

	if (status == HR_FAIL)
		log_error("desk.failed", LOG_STR("what", "listing"), LOG_ERR(err));
	desk->unlisted |= more;
	desk->asking = false;
	go_on(desk);
}

static void ask_first(struct desk *desk)
{
	const struct desk_question *q = &desk->first->q;

	switch (q->kind) {
	case DESK_SEARCH:
		profile_search(desk->pg, q->asker, q->about, DESK_FOUND_MAX, answered, desk);
		return;
	case DESK_CARD:
		profile_find(desk->pg, q->about, answered, desk);
		return;
	}
}

/* The next to be in the database: a question and some of the listing, in turn. */
static void go_on(struct desk *desk)
{
	if (desk->asking)
		return;
	if (desk->unlisted && !(desk->first && desk->listed_last)) {
		desk->asking = desk->listed_last = true;
		desk->unlisted = false;
		profile_list(desk->pg, DESK_LISTED_AT_ONCE, listed, desk);
	} else if (desk->first) {
		desk->asking = true;
		desk->listed_last = false;
		ask_first(desk);
	}
}

void desk_people_changed(struct desk *desk)
{
	desk->unlisted = true;
	go_on(desk);
}

static struct question *copy(const struct desk_question *q)
{
	struct question *copy = mem_alloc(sizeof *copy + q->asker.len + q->about.len);

	copy->q = *q;
	memcpy(copy->text, q->asker.data, q->asker.len);
	memcpy(copy->text + q->asker.len, q->about.data, q->about.len);
	copy->q.asker.data = copy->text;
	copy->q.about.data = copy->text + q->asker.len;
	return copy;
}

enum hr_status desk_ask(struct desk *desk, const struct desk_question *question, struct hr_err *err)
{
	if (desk->count == DESK_WAITING_MAX) {
		metric_add(&desk_metrics[DESK_REFUSED_BUSY], 1);
		return err_set(err, HR_RETRY, "the directory is busy: try again later");
	}
	if (!ration_take(desk->ration, question->asker, kinds[question->kind].cost,
			 loop_now(desk->loop))) {
		metric_add(&desk_metrics[DESK_REFUSED_RATION], 1);
		return err_set(err, HR_RETRY,
			       "you have asked the directory too often: try again in a minute");
	}
	*desk->last = copy(question);
	desk->last = &(*desk->last)->next;
	desk->count++;
	go_on(desk);
	return HR_OK;
}

struct choices *desk_choices(struct desk *desk)
{
	return desk->choices;
}

void desk_forget(struct desk *desk, const void *owner)
{
	choices_forget(desk->choices, owner);
	for (struct question *question = desk->first; question; question = question->next)
		if (question->q.owner == owner)
			question->q.fn = NULL;
}
