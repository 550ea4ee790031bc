/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/egress.h"

#include "base/log.h"
#include "federation/address.h"

enum {
	WINDOW_MESSAGES = 4096,		/* sent and not acknowledged */
	WINDOW_BYTES = 4 * 1024 * 1024, /* waiting for the kernel */
	FLUSH_BYTES = 64 * 1024,
	BARRIERS_MAX = 4, /* under way at once; a later one covers more */
	DEATHS_MAX = 3,
};

static void ready(void *arg)
{
	egress_pump(arg);
}

void egress_open(struct lane *lane)
{
	scoped_str name = str_format("xmpp:%s:%s", lane->edge->installation, lane->domain);

	lane->egress.target = journal_target(lane->edge->options.journal, name);
	journal_consume(lane->egress.target, ready, lane);
}

void egress_close(struct lane *lane)
{
	loop_cancel(lane->edge->loop, ready, lane);
	journal_release(lane->egress.target);
	buf_free(&lane->egress.out);
}

void egress_later(struct lane *lane)
{
	loop_later(lane->edge->loop, ready, lane);
}

static void flush(struct lane *lane)
{
	struct buf *out = &lane->egress.out;

	if (out->len > 0)
		lane_write(lane, buf_slice(out));
	buf_clear(out);
}

static bool is_full(const struct lane *lane, const struct queue *queue)
{
	int64_t unacked = queue_sent(queue) - queue_acked(queue);
	bool is_careful = queue_acked(queue) < lane->egress.careful_until;

	return unacked >= (is_careful ? 1 : WINDOW_MESSAGES) ||
	       lane_waiting(lane) + lane->egress.out.len > WINDOW_BYTES;
}

static void write_envelope(struct lane *lane, const struct envelope *envelope,
			   const struct person *person)
{
	struct slice resource = address_text_resource(envelope->f.to);
	scoped_str to = str_format("%s%s" SLICE_FMT, person->native, resource.len ? "/" : "",
				   SLICE_ARG(resource));

	stanza_write(&lane->egress.out, &(struct stanza){
						.kind = envelope->f.kind,
						.from = envelope->f.from,
						.to = slice_str(to),
						.id = envelope->f.stanza_id,
						.type = envelope->f.type,
						.lang = envelope->f.lang,
						.payload = envelope->f.payload,
					});
	metric_add(&xmpp_metrics[XMPP_STANZAS_OUT], 1);
	if (lane->egress.out.len >= FLUSH_BYTES)
		flush(lane);
}

/* Why the stream can't take this envelope at all; NULL: it can. */
static const char *poison(const struct lane *lane, int64_t seq, const struct envelope *envelope)
{
	if (!slice_is(address_text_domain(envelope->f.from), lane->domain))
		return "the sender is not of the stream's domain";
	if (seq == lane->egress.suspect && lane->egress.deaths >= DEATHS_MAX)
		return component_error(lane->component) ? component_error(lane->component)
							: "the stream broke on it";
	return NULL;
}

static bool is_ours(const struct lane *lane, const struct person *person)
{
	return person->enabled && person->native && person->installation &&
	       strcmp(person->installation, lane->edge->installation) == 0;
}

/* The first envelope of the queue can't go here: it leaves another way, once all before it are
 * acknowledged. False: not now. */
static bool divert(struct lane *lane, struct queue *queue, int64_t seq, struct envelope *envelope,
		   const char *poisoned)
{
	struct switchboard *switchboard = lane->edge->options.switchboard;

	if (queue_acked(queue) != seq - 1)
		return false;
	scoped(envelope) held = envelope_ref(envelope);
	enum hr_status status =
		poisoned ? switchboard_bury(switchboard, lane->egress.target, seq, held, poisoned)
			 : switchboard_reroute(switchboard, lane->egress.target, seq, held);
	if (status != HR_OK)
		return false;
	if (poisoned)
		lane->egress.deaths = 0;
	return true;
}

/* Hands over the next envelope. False: no more now. */
static bool hand_over(struct lane *lane, struct queue *queue)
{
	int64_t seq;
	struct envelope *envelope = queue_peek(queue, &seq);
	const struct person *person = NULL;

	if (!envelope || is_full(lane, queue))
		return false;
	const char *poisoned = poison(lane, seq, envelope);
	if (poisoned)
		return divert(lane, queue, seq, envelope, poisoned);
	switch (registry_find(lane->edge->options.registry, PEOPLE_ADDRESS,
			      address_text_bare(envelope->f.to), &person)) {
	case HR_OK:
		if (!is_ours(lane, person))
			return divert(lane, queue, seq, envelope, NULL);
		write_envelope(lane, envelope, person);
		queue_take(queue);
		return true;
	case HR_NONE:
		return divert(lane, queue, seq, envelope, NULL);
	case HR_RETRY:
	case HR_FAIL:
	case HR_UNSURE:
		break;
	}
	return false;
}

static void guard(struct lane *lane, const struct queue *queue)
{
	int64_t sent = queue_sent(queue);

	if (sent <= queue_acked(queue) || sent <= lane->egress.guarded ||
	    component_barriers(lane->component) >= BARRIERS_MAX)
		return;
	component_barrier(lane->component, sent, loop_now(lane->edge->loop));
	lane->egress.guarded = sent;
}

void egress_pump(struct lane *lane)
{
	struct queue *queue = journal_queue(lane->egress.target);

	if (!queue || !lane_is_up(lane))
		return;
	if (!lane->edge->is_draining)
		while (hand_over(lane, queue))
			;
	flush(lane);
	guard(lane, queue);
}

void egress_accepted(struct lane *lane, int64_t seq)
{
	if (journal_ack(lane->egress.target, seq) && seq >= lane->egress.careful_until)
		lane->egress.deaths = 0;
	egress_later(lane);
}

void egress_down(struct lane *lane, const struct component_end *end)
{
	struct queue *queue = journal_queue(lane->egress.target);
	struct egress *egress = &lane->egress;

	egress->guarded = 0;
	buf_clear(&egress->out);
	if (!queue)
		return;
	if (end->is_blamed && !egress_is_idle(lane)) {
		int64_t first = queue_acked(queue) + 1;
		egress->deaths = first == egress->suspect ? egress->deaths + 1 : 1;
		egress->suspect = first;
		if (queue_sent(queue) > egress->careful_until)
			egress->careful_until = queue_sent(queue);
		log_warn("xmpp.suspect", LOG_STR("stream", lane->name), LOG_INT("seq", first),
			 LOG_INT("deaths", egress->deaths), LOG_STR("error", end->text));
	}
	queue_rewind(queue, 0);
}

bool egress_is_idle(const struct lane *lane)
{
	const struct queue *queue = journal_queue(lane->egress.target);

	return !queue || queue_sent(queue) == queue_acked(queue);
}
