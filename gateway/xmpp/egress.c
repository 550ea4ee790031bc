/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/egress.h"

#include "base/log.h"
#include "federation/address.h"
#include "gateway/xmpp/stanza.h"

enum { FLUSH_BYTES = 64 * 1024 };

struct egress {
	char *domain;
	const struct egress_ops *ops;
	void *ctx;
	struct buf out;
	int64_t guarded;       /* the highest seq that a barrier has been sent for */
	size_t unguarded;      /* bytes handed over after that */
	int64_t suspect;       /* the first seq not acknowledged when the stream broke; 0: none */
	int deaths;	       /* how often it broke there with that one alone */
	char *reason;	       /* owned; of the last death */
	int64_t careful_until; /* up to here one message at a time */
};

struct egress *egress_new(const char *domain, const struct egress_ops *ops, void *ctx)
{
	struct egress *egress = mem_new(struct egress);

	egress->domain = str_dup(domain);
	egress->ops = ops;
	egress->ctx = ctx;
	return egress;
}

void egress_free(struct egress *egress)
{
	if (!egress)
		return;
	free(egress->domain);
	free(egress->reason);
	buf_free(&egress->out);
	free(egress);
}

static void flush(struct egress *egress)
{
	if (egress->out.len > 0)
		egress->ops->write(egress->ctx, buf_slice(&egress->out));
	buf_clear(&egress->out);
}

/* So much is past the last barrier that the next must come first. */
static bool is_due(const struct egress *egress, const struct queue *queue)
{
	int64_t covered = queue_acked(queue);

	if (egress->guarded > covered)
		covered = egress->guarded;
	int64_t messages = queue_sent(queue) - covered;
	return messages >= EGRESS_STEP_MESSAGES ||
	       (messages > 0 && egress->unguarded >= EGRESS_STEP_BYTES);
}

static bool is_careful(const struct egress *egress, const struct queue *queue)
{
	return queue_acked(queue) < egress->careful_until;
}

static bool is_full(const struct egress *egress, const struct queue *queue)
{
	return (is_careful(egress, queue) && queue_sent(queue) > queue_acked(queue)) ||
	       is_due(egress, queue) ||
	       egress->ops->waiting(egress->ctx) + egress->out.len > EGRESS_WAITING_MAX;
}

/* Why the stream can't take this envelope at all; NULL: it can. */
static const char *poison(const struct egress *egress, int64_t seq, const struct envelope *envelope)
{
	if (!slice_is(address_text_domain(envelope->f.from), egress->domain))
		return "the sender is not of the stream's domain";
	if (seq == egress->suspect && egress->deaths >= EGRESS_DEATHS_MAX)
		return egress->reason;
	return NULL;
}

/* The envelope can't go here: it leaves another way, once all before it are acknowledged. False:
 * not now. */
static bool divert(struct egress *egress, const struct queue *queue, int64_t seq,
		   struct envelope *envelope, const char *poisoned)
{
	if (queue_acked(queue) != seq - 1)
		return false;
	scoped(envelope) held = envelope_ref(envelope);
	enum hr_status status = poisoned ? egress->ops->bury(egress->ctx, seq, held, poisoned)
					 : egress->ops->reroute(egress->ctx, seq, held);
	return status == HR_OK && queue_acked(queue) >= seq;
}

static void hand_over(struct egress *egress, struct queue *queue, const struct envelope *envelope,
		      const char *native)
{
	size_t len = egress->out.len;

	stanza_write_envelope(&egress->out, envelope, native,
			      egress->ops->more(egress->ctx, envelope));
	egress->unguarded += egress->out.len - len;
	queue_take(queue);
	if (egress->out.len >= FLUSH_BYTES)
		flush(egress);
}

/* Deals with the next envelope. HR_OK: handed over; HR_NONE: it left another way; HR_RETRY: no
 * more now. */
static enum hr_status next(struct egress *egress, struct queue *queue, bool is_up)
{
	int64_t seq;
	struct envelope *envelope = queue_peek(queue, &seq);
	const char *native = NULL;

	if (!envelope || is_full(egress, queue))
		return HR_RETRY;
	const char *poisoned = poison(egress, seq, envelope);
	enum hr_status found =
		poisoned ? HR_NONE : egress->ops->find(egress->ctx, envelope, &native);
	if (found == HR_OK && is_up) {
		hand_over(egress, queue, envelope, native);
		return HR_OK;
	}
	if (found == HR_NONE && divert(egress, queue, seq, envelope, poisoned))
		return HR_NONE;
	return HR_RETRY;
}

void egress_guard(struct egress *egress, const struct queue *queue)
{
	int64_t sent = queue_sent(queue);

	if (sent <= queue_acked(queue) || sent <= egress->guarded ||
	    egress->ops->barriers(egress->ctx) >= EGRESS_BARRIERS_MAX)
		return;
	egress->ops->barrier(egress->ctx, sent);
	egress->guarded = sent;
	egress->unguarded = 0;
}

size_t egress_pump(struct egress *egress, struct queue *queue)
{
	size_t count = 0;
	enum hr_status status;

	do {
		if (is_due(egress, queue)) {
			flush(egress);
			egress_guard(egress, queue);
		}
		status = next(egress, queue, true);
		count += status == HR_OK;
	} while (status != HR_RETRY);
	flush(egress);
	egress_guard(egress, queue);
	return count;
}

void egress_divert(struct egress *egress, struct queue *queue)
{
	while (next(egress, queue, false) == HR_NONE)
		;
}

static void blame(struct egress *egress, const struct queue *queue, const char *reason,
		  bool is_certain)
{
	int64_t first = queue_acked(queue) + 1;
	bool is_again = first == egress->suspect;

	if (!is_again)
		egress->deaths = 0;
	egress->suspect = first;
	free(egress->reason);
	egress->reason = str_dup(reason);
	if (is_careful(egress, queue))
		egress->deaths++;
	else if (is_certain || is_again)
		egress->careful_until = queue_sent(queue);
	log_warn("xmpp.suspect", LOG_STR("domain", egress->domain), LOG_INT("seq", first),
		 LOG_INT("deaths", egress->deaths), LOG_STR("error", reason));
}

void egress_down(struct egress *egress, struct queue *queue, const char *reason, bool is_certain)
{
	egress->guarded = 0;
	egress->unguarded = 0;
	buf_clear(&egress->out);
	if (reason && queue_sent(queue) > queue_acked(queue))
		blame(egress, queue, reason, is_certain);
	queue_rewind(queue, 0);
}
