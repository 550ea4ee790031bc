/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/leftovers.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "schema/journal.h"

enum {
	LOOK_MS = 5 * 1000, /* what was put for a destination while it went is found so late */
	AT_ONCE = 512,	    /* envelopes of one queue in one turn */
};

/* One queue. */
struct leftover {
	struct leftovers *leftovers;
	char *queue, *name;	       /* owned; `name` is that of the duty */
	const char *domain;	       /* of a stream, within `queue`; NULL: not a stream's queue */
	bool is_mail;		       /* the mail of the e-mail domain `name` */
	int64_t upto;		       /* what comes after is for a destination that is back */
	struct journal_target *target; /* NULL: not consumed */
	bool listed;		       /* by the look under way */
};

struct leftovers {
	struct loop *loop;
	const struct dispatch *dispatch;
	struct switchboard *switchboard;
	loop_fn *found;
	void *arg;
	struct map *by_queue;
	struct timer *timer;
	bool looking, again, draining;
};

static struct leftover *next_leftover(const struct leftovers *leftovers, size_t *at)
{
	struct slice queue;
	void *leftover;

	return map_next(leftovers->by_queue, at, &queue, &leftover) ? leftover : NULL;
}

static enum duty_kind duty_of(const struct leftover *leftover)
{
	return leftover->is_mail ? DUTY_MAIL : leftover->domain ? DUTY_INSTALLATION : DUTY_LINK;
}

/* --- one of them --------------------------------------------------------------------------- */

/* "xmpp:INSTALLATION:DOMAIN", "mail:DOMAIN" or "link:SITE". */
static struct leftover *leftover_new(struct leftovers *leftovers, struct slice queue)
{
	struct leftover *leftover = mem_new(struct leftover);

	leftover->leftovers = leftovers;
	leftover->queue = mem_dup(queue.data, queue.len);
	const char *name = strchr(leftover->queue, ':') + 1, *domain = strchr(name, ':');
	leftover->name = domain ? mem_dup(name, (size_t)(domain - name)) : str_dup(name);
	leftover->domain = domain ? domain + 1 : NULL;
	leftover->is_mail = strncmp(leftover->queue, "mail:", strlen("mail:")) == 0;
	return leftover;
}

static void work(void *arg);
static void look(void *arg);

static void let_go(struct leftover *leftover)
{
	loop_cancel(leftover->leftovers->loop, work, leftover);
	if (leftover->target)
		journal_release(leftover->target);
	leftover->target = NULL;
}

static void leftover_free(struct leftover *leftover)
{
	let_go(leftover);
	map_remove(leftover->leftovers->by_queue, slice_str(leftover->queue));
	free(leftover->queue);
	free(leftover->name);
	free(leftover);
}

static bool is_back(const struct leftover *leftover, const struct config *config)
{
	if (leftover->is_mail)
		return config_find_mail(config, config->local_site, slice_str(leftover->name));
	if (leftover->domain && !config_find_installation(config, slice_str(leftover->name)))
		return false;
	for (size_t i = 0; leftover->domain && i < config->domain_count; i++)
		if (strcmp(config->domains[i].name, leftover->domain) == 0)
			return true;
	for (size_t i = 0; !leftover->domain && i < config->link_count; i++)
		if (strcmp(config->links[i].site, config->local_site) == 0 &&
		    strcmp(config->links[i].peer, leftover->name) == 0)
			return true;
	return false;
}

/* --- its envelopes leave ---------------------------------------------------------------------- */

/* HR_OK: it has left the queue. HR_RETRY: people are being asked for. */
static enum hr_status leave(struct leftover *leftover, int64_t seq, struct envelope *envelope)
{
	const struct dispatch *dispatch = leftover->leftovers->dispatch;
	struct switchboard *switchboard = leftover->leftovers->switchboard;
	struct journal_target *target = leftover->target;
	const struct person *sender;
	enum hr_status known = registry_find(dispatch->registry, PEOPLE_ADDRESS,
					     address_text_bare(envelope->f.from), &sender);

	if (known == HR_RETRY)
		return HR_RETRY;
	if (known == HR_NONE && !envelope_is_error(envelope) && !envelope->f.is_copy)
		return switchboard_bury(switchboard, target, seq, envelope,
					"its destination was removed, and nobody has the address "
					"of its sender any more");
	if (!leftover->domain && !leftover->is_mail && seq <= queue_handed(journal_queue(target)))
		return dispatch_give_up(
			dispatch, target, seq, envelope,
			dispatch_bounce(BOUNCE_REMOTE_TIMEOUT,
					"the link to the recipient's site was removed before this "
					"was confirmed: it may have arrived"));
	return switchboard_reroute(switchboard, target, seq, envelope);
}

static void work(void *arg)
{
	struct leftover *leftover = arg;
	struct leftovers *leftovers = leftover->leftovers;
	struct queue *queue = journal_queue(leftover->target);
	struct envelope *envelope;
	int64_t seq;
	bool sent;

	for (int n = 0; queue && (envelope = queue_first(queue, &seq, &sent)) &&
			seq <= leftover->upto && journal_is_flowing(leftovers->dispatch->journal);
	     n++) {
		scoped(envelope) held = envelope_ref(envelope);

		if (n == AT_ONCE) {
			loop_later(leftovers->loop, work, leftover);
			return;
		}
		if (leave(leftover, seq, held) != HR_OK)
			return;
	}
	if (queue && queue_acked(queue) >= leftover->upto) {
		log_info("leftovers.gone", LOG_STR("queue", leftover->queue),
			 LOG_INT("upto", leftover->upto));
		let_go(leftover);
		journal_put(leftovers->dispatch->journal, /* the lease goes once it is committed */
			    &(struct journal_entry){ .done = look, .arg = leftovers });
	}
}

void leftovers_go_on(struct leftovers *leftovers)
{
	struct leftover *leftover;

	for (size_t at = 0; (leftover = next_leftover(leftovers, &at));)
		if (leftover->target)
			work(leftover);
}

void leftovers_want(const struct leftovers *leftovers, struct duties *duties)
{
	struct leftover *leftover;

	for (size_t at = 0; (leftover = next_leftover(leftovers, &at));)
		duties_want(duties, duty_of(leftover), leftover->name);
}

void leftovers_update(struct leftovers *leftovers, const struct duties *duties)
{
	struct leftover *leftover;

	for (size_t at = 0; (leftover = next_leftover(leftovers, &at));) {
		bool held = duties_hold(duties, duty_of(leftover), leftover->name);

		if (leftover->target && !held)
			let_go(leftover);
		if (leftover->target || !held || leftovers->draining)
			continue;
		leftover->target = journal_target(leftovers->dispatch->journal, leftover->queue);
		journal_consume(leftover->target, work, leftover);
	}
}

/* --- which there are ---------------------------------------------------------------------------
 */

static void forget(struct leftovers *leftovers,
		   bool (*is_over)(const struct leftover *leftover, const struct config *config))
{
	const struct config *config = registry_config(leftovers->dispatch->registry);
	struct leftover *leftover;

	for (size_t at = 0; (leftover = next_leftover(leftovers, &at));)
		if (is_over(leftover, config))
			leftover_free(leftover);
}

static bool is_unlisted(const struct leftover *leftover, const struct config *config)
{
	(void)config;
	return !leftover->listed;
}

static void list(struct leftovers *leftovers, struct slice queue, int64_t upto)
{
	struct leftover *leftover = map_get(leftovers->by_queue, queue);

	if (!leftover) {
		leftover = leftover_new(leftovers, queue);
		map_put(leftovers->by_queue, queue, leftover);
		log_info("leftovers.found", LOG_SLICE("queue", queue), LOG_INT("upto", upto));
	}
	leftover->upto = upto;
	leftover->listed = true;
}

static void took_row(void *arg, enum hr_status status, struct slice queue, int64_t upto,
		     const struct hr_err *err)
{
	struct leftovers *leftovers = arg;

	if (queue.data) {
		list(leftovers, queue, upto);
		return;
	}
	leftovers->looking = false;
	if (status != HR_OK) {
		if (status == HR_FAIL)
			log_error("leftovers.failed", LOG_ERR(err));
		return;
	}
	forget(leftovers, is_back); /* by a snapshot that is newer than the answer, or older */
	forget(leftovers, is_unlisted);
	leftovers->found(leftovers->arg);
	if (leftovers->again)
		look(leftovers);
}

static void look(void *arg)
{
	struct leftovers *leftovers = arg;
	struct leftover *leftover;

	timer_set(leftovers->timer, loop_now(leftovers->loop) + msec_jitter(LOOK_MS));
	leftovers->again = leftovers->looking;
	if (leftovers->looking || leftovers->draining || !pg_is_up(leftovers->dispatch->pg))
		return;
	for (size_t at = 0; (leftover = next_leftover(leftovers, &at));)
		leftover->listed = false;
	leftovers->looking = true;
	journal_leftovers(leftovers->dispatch->pg, took_row, leftovers);
}

void leftovers_configure(struct leftovers *leftovers)
{
	forget(leftovers, is_back);
	look(leftovers);
}

void leftovers_drain(struct leftovers *leftovers)
{
	struct leftover *leftover;

	leftovers->draining = true;
	for (size_t at = 0; (leftover = next_leftover(leftovers, &at));)
		let_go(leftover);
}

struct leftovers *leftovers_new(struct loop *loop, const struct dispatch *dispatch,
				struct switchboard *switchboard, loop_fn *found, void *arg)
{
	struct leftovers *leftovers = mem_new(struct leftovers);

	leftovers->loop = loop;
	leftovers->dispatch = dispatch;
	leftovers->switchboard = switchboard;
	leftovers->found = found;
	leftovers->arg = arg;
	leftovers->by_queue = map_new();
	leftovers->timer = timer_new(loop, look, leftovers);
	timer_set(leftovers->timer, loop_now(loop) + msec_jitter(LOOK_MS));
	return leftovers;
}

static bool is_over(const struct leftover *leftover, const struct config *config)
{
	(void)leftover, (void)config;
	return true;
}

void leftovers_free(struct leftovers *leftovers)
{
	if (!leftovers)
		return;
	forget(leftovers, is_over);
	timer_free(leftovers->timer);
	map_free(leftovers->by_queue);
	free(leftovers);
}
