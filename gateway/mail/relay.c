/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/relay.h"

#include "base/log.h"
#include "gateway/mail/metric.h"
#include "gateway/mail/relay_private.h"
#include "schema/journal.h"

enum {
	PAUSE_MIN_MS = 1000,
	PAUSE_MAX_MS = 60 * 1000,
};

static void pump(void *arg);

static struct relay *self_of(struct edge *edge)
{
	return (struct relay *)edge;
}

static const struct relay *const_self_of(const struct edge *edge)
{
	return (const struct relay *)edge;
}

void relay_look(struct relay *self)
{
	loop_later(self->loop, pump, self);
}

const struct config_mail *relay_settings(const struct relay *self)
{
	const struct dispatch *dispatch = self->options.dispatch;

	return config_find_mail(registry_config(dispatch->registry), dispatch->site,
				slice_str(self->domain));
}

/* --- waiting -------------------------------------------------------------------------------- */

/* No mail can be sent now, whichever it is. */
void relay_pause(struct relay *self, const char *why)
{
	if (!self->trouble)
		log_warn("mail.away", LOG_STR("domain", self->domain), LOG_STR("error", why));
	free(self->trouble);
	self->trouble = str_dup(why);
	if (loop_now(self->loop) < self->pause_until) /* many hear of one event */
		return;
	metric_add(&mail_metrics[MAIL_AWAY], 1);
	self->pause = msec_clamp(2 * self->pause, PAUSE_MIN_MS, PAUSE_MAX_MS);
	self->pause_until = loop_now(self->loop) + msec_jitter(self->pause);
	timer_set(self->timer, self->pause_until);
}

void relay_works(struct relay *self)
{
	if (self->trouble)
		log_info("mail.back", LOG_STR("domain", self->domain));
	free(give(self->trouble));
	self->pause = self->pause_until = 0;
}

/* --- the end of a slot ---------------------------------------------------------------------- */

void relay_defer(struct slot *slot, usec not_before, const char *why)
{
	metric_add(&mail_metrics[MAIL_DEFERRED], 1);
	log_info("mail.deferred", LOG_SLICE("from", slot_sender(slot)),
		 LOG_SLICE("to", slot_recipient(slot)), LOG_STR("error", why),
		 LOG_INT("seconds", (not_before - time_usec()) / 1000000));
	slot_defer(slot, not_before);
}

void relay_suppress(struct slot *slot, const char *why)
{
	metric_add(&mail_metrics[MAIL_SUPPRESSED], (int64_t)slot->count);
	log_debug("mail.suppressed", LOG_SLICE("from", slot_sender(slot)),
		  LOG_SLICE("to", slot_recipient(slot)), LOG_STR("why", why));
	slot_taken(slot);
}

void relay_bounce(struct slot *slot, enum bounce how, const char *why)
{
	if (slot_is_copy(slot))
		relay_suppress(slot, why);
	else
		slot_bounce(slot, how, why);
}

/* What it holds is held by the database from now on. */
static void left(void *arg)
{
	struct relay_asking *asking = arg;
	struct slot *slot = relay_find(asking, SLOT_LEAVES);

	free(asking);
	if (!slot)
		return;
	struct relay *self = slot->owner;
	slots_drop(&self->slots, slot);
	relay_look(self);
}

static struct relay_asking *asking_of(const struct relay *self, const struct slot *slot)
{
	struct relay_asking *asking = mem_new(struct relay_asking);

	*asking = (struct relay_asking){ self->options.dispatch, self->serial, slot->first };
	return asking;
}

static void defer(const struct relay *self, const struct slot *slot, int64_t seq,
		  struct envelope *envelope)
{
	bool is_last = seq == slot->last;

	journal_put(self->options.dispatch->journal,
		    &(struct journal_entry){
			    .envelope = envelope,
			    .skip = self->target,
			    .skip_seq = seq,
			    .later = { .target = self->target,
				       .not_before = slot->not_before,
				       .awaits = slot_is_copy(slot),
				       .whole = slot->holds_all },
			    .done = is_last ? left : NULL,
			    .arg = is_last ? asking_of(self, slot) : NULL,
		    });
}

/* One message of a slot that is done leaves the queue. HR_RETRY: not now. */
static enum hr_status settle_message(const struct relay *self, const struct slot *slot, int64_t seq,
				     struct envelope *envelope)
{
	switch (slot->end) {
	case SLOT_TAKEN:
		break;
	case SLOT_DEFER:
		defer(self, slot, seq, envelope);
		break;
	case SLOT_MOVE:
		return switchboard_reroute(self->options.switchboard, self->target, seq, envelope);
	case SLOT_BOUNCE:
		return dispatch_give_up(self->options.dispatch, self->target, seq, envelope,
					dispatch_bounce(slot->bounce, slot->reason));
	}
	return HR_OK;
}

/* The journal moves past a slot that is done. HR_RETRY: not now. */
static enum hr_status settle_slot(struct relay *self, struct slot *slot)
{
	const struct queue *queue = journal_queue(self->target);

	for (size_t i = 0; i < slot->count; i++) {
		int64_t seq = slot->first + (int64_t)i;

		if (seq <= queue_acked(queue) ||
		    settle_message(self, slot, seq, slot->messages[i]) == HR_OK)
			continue;
		if (slot->end == SLOT_MOVE) { /* it may be for the mail again */
			slot->state = SLOT_WAITS;
			relay_look(self);
		}
		return HR_RETRY;
	}
	if (slot->end == SLOT_TAKEN)
		journal_ack(self->target, slot->last);
	if (slot->end == SLOT_DEFER)
		slot->state = SLOT_LEAVES; /* it holds what follows until that is committed */
	else
		slots_drop(&self->slots, slot);
	return HR_OK;
}

/* Whether there was something to settle. */
static bool settle(struct relay *self)
{
	bool has_settled = false;

	for (struct slot *slot = self->slots.first, *next; slot; slot = next) {
		next = slot->next;
		if (slot->state == SLOT_LEAVES)
			continue;
		if (slot->state != SLOT_DONE ||
		    !journal_is_flowing(self->options.dispatch->journal) ||
		    settle_slot(self, slot) != HR_OK)
			break;
		has_settled = true;
	}
	return has_settled;
}

/* --- the queue ---------------------------------------------------------------------------------
 */

static void fetch(struct relay *self, struct queue *queue)
{
	struct envelope *envelope;
	int64_t seq;

	while ((envelope = queue_peek(queue, &seq)) && slots_add(&self->slots, seq, envelope, self))
		queue_take(queue);
}

static void pump(void *arg)
{
	struct relay *self = arg;
	struct queue *queue = journal_queue(self->target);
	const struct config_mail *mail = relay_settings(self);

	if (!queue)
		return;
	settle(self);
	if (!mail)
		return;
	if (!self->is_draining)
		fetch(self, queue);
	for (struct slot *slot = self->slots.first; slot; slot = slot->next) {
		if (self->is_draining || self->flying >= SUBMIT_AT_ONCE ||
		    loop_now(self->loop) < self->pause_until)
			break;
		if (slot->state == SLOT_WAITS && !slots_is_blocked(&self->slots, slot))
			relay_start(self, slot, mail);
	}
	if (settle(self) && !self->slots.first)
		relay_look(self); /* there may be more */
}

/* --- the edge ----------------------------------------------------------------------------------
 */

static enum hr_status direct(struct edge *edge, struct envelope *envelope, const struct person *to,
			     struct hr_err *err)
{
	(void)edge, (void)envelope, (void)to;
	return err_set(err, HR_FAIL, "mail carries messages only");
}

static void flow(struct edge *edge, bool yes)
{
	(void)edge, (void)yes; /* it brings nothing */
}

static void arrived(struct edge *edge)
{
	relay_look(self_of(edge));
}

static void configure(struct edge *edge, const struct config *config)
{
	struct relay *self = self_of(edge);

	(void)config;	       /* looked up when it is needed */
	self->pause_until = 0; /* what was wrong may be right now */
	relay_look(self);
}

static void drain(struct edge *edge)
{
	self_of(edge)->is_draining = true;
}

static bool is_idle(const struct edge *edge)
{
	const struct relay *self = const_self_of(edge);

	for (const struct slot *slot = self->slots.first; slot; slot = slot->next)
		if (slot->state == SLOT_ASKS || slot->state == SLOT_FLIES ||
		    slot->state == SLOT_LEAVES)
			return false;
	return !self->slots.first || self->slots.first->state != SLOT_DONE;
}

static size_t status(const struct edge *edge, struct status_row *rows, size_t max)
{
	const struct relay *self = const_self_of(edge);

	if (max == 0)
		return 0;
	rows[0] = (struct status_row){
		.kind = "mail",
		.name = self->domain,
		.state = self->trouble ? "away" : "up",
		.detail = self->trouble,
	};
	return 1;
}

/* What is being sent is cut off: whoever serves the domain next begins after the last commit. */
static void relay_free(struct edge *edge)
{
	struct relay *self = self_of(edge);

	for (struct slot *slot = self->slots.first; slot; slot = slot->next)
		submit_cancel(slot->submission);
	journal_release(self->target);
	slots_clear(&self->slots);
	loop_cancel(self->loop, pump, self);
	timer_free(self->timer);
	free(self->trouble);
	free(self->domain);
	free(self);
}

static const struct edge_ops ops = {
	.direct = direct,
	.flow = flow,
	.arrived = arrived,
	.configure = configure,
	.drain = drain,
	.is_idle = is_idle,
	.status = status,
	.free = relay_free,
};

static struct relay *find(const struct dispatch *dispatch, uint64_t serial)
{
	struct slice name;
	void *value;

	for (size_t at = 0; map_next(dispatch->edges, &at, &name, &value);) {
		struct relay *self = value;

		if (self->edge.ops == &ops && self->serial == serial)
			return self;
	}
	return NULL;
}

struct slot *relay_find(const struct relay_asking *asking, enum slot_state state)
{
	const struct relay *self = find(asking->dispatch, asking->serial);

	for (struct slot *slot = self ? self->slots.first : NULL; slot; slot = slot->next)
		if (slot->first == asking->first && slot->state == state)
			return slot;
	return NULL;
}

struct edge *relay_new(struct loop *loop, const struct relay_options *options, const char *domain)
{
	static uint64_t last_serial;
	struct relay *self = mem_new(struct relay);
	scoped_str queue = str_format("mail:%s", domain);

	self->edge.ops = &ops;
	self->loop = loop;
	self->options = *options;
	self->serial = ++last_serial;
	self->domain = str_dup(domain);
	self->timer = timer_new(loop, pump, self);
	self->target = journal_target(options->dispatch->journal, queue);
	journal_consume(self->target, pump, self);
	return &self->edge;
}
