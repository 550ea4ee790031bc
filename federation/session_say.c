/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/session_private.h"

#include "federation/link.h"

#include <inttypes.h>

enum { SILENT_BEATS = 3 };

static void say(struct session *session, struct frame *frame, msec now)
{
	frame->session = session->id;
	session->said = now;
	session->events.send(session->ctx, frame);
}

static void say_owed(struct session *session, enum frame_kind kind, msec now)
{
	struct frame frame = { .kind = kind };
	uint32_t window = session->flowing ? SESSION_WINDOW : 0;

	if (kind == FRAME_HELLO) {
		frame.hello.version = SESSION_VERSION;
		frame.hello.site = slice_str(session->site);
		frame.hello.node = slice_str(session->node);
		frame.hello.incarnation = slice_str(session->offered);
	} else if (kind == FRAME_RESUME) {
		frame.resume.incarnation = slice_str(session->incarnation);
		frame.resume.position = inbox_committed(session->inbox);
		frame.resume.window = window;
	} else if (kind == FRAME_ACK) {
		frame.ack.committed = inbox_committed(session->inbox);
		frame.ack.window = window;
	} else if (kind == FRAME_DIRECT_ACK) {
		frame.handled = session->direct_taken;
	} else if (kind == FRAME_PING) {
		frame.token = (uint64_t)now;
	} else if (kind == FRAME_PONG) {
		frame.token = session->token;
	}
	say(session, &frame, now);
}

static void say_control(struct session *session, msec now)
{
	static const enum frame_kind order[] = { FRAME_HELLO, FRAME_RESUME, FRAME_PING,
						 FRAME_PONG,  FRAME_ACK,    FRAME_DIRECT_ACK };

	for (size_t i = 0; i < countof(order); i++) {
		unsigned bit = 1U << order[i];
		bool later = session_state_for(order[i]) > session->state;

		if (!(session->owed & bit) || later)
			continue;
		session->owed &= ~bit;
		if (order[i] == FRAME_RESUME) /* says what the Ack would */
			session->owed &= ~(1U << FRAME_ACK);
		say_owed(session, order[i], now);
	}
}

/* After a loss the peer may have committed more than it could tell us: those are not sent again
 * but accepted as they come into memory. */
static bool pass_over(struct session *session, struct queue *queue)
{
	int64_t seq, upto;

	while (queue_peek(queue, &seq) && seq <= session->peer_committed)
		queue_take(queue);
	upto = queue_sent(queue);
	if (upto > session->peer_committed)
		upto = session->peer_committed;
	return upto <= queue_acked(queue) || session->events.accepted(session->ctx, upto);
}

/* False: nothing to send, or no credit. */
static bool say_batch(struct session *session, struct queue *queue, msec now)
{
	struct slice envelopes[SESSION_BATCH_MAX];
	struct frame frame = { .kind = FRAME_BATCH, .batch.envelopes = envelopes };
	int64_t acked = queue_acked(queue), seq = 0;
	int64_t base = acked > session->peer_committed ? acked : session->peer_committed;
	const struct envelope *envelope;
	size_t n = 0, bytes = 0;

	while (n < SESSION_BATCH_MAX && bytes < SESSION_BATCH_BYTES &&
	       (envelope = queue_peek(queue, &seq)) && seq - base <= session->credit) {
		if (n == 0)
			frame.batch.first = seq;
		else if (seq != frame.batch.first + (int64_t)n)
			break;
		envelopes[n++] = envelope->packed;
		bytes += envelope->packed.len;
		queue_take(queue);
	}
	if (n == 0)
		return false;
	frame.batch.n = n;
	frame.batch.skip = frame.batch.first != session->next;
	session->next = frame.batch.first + (int64_t)n;
	metric_add(&link_metrics[LINK_ENVELOPES_OUT], (int64_t)n);
	say(session, &frame, now);
	return true;
}

static bool say_direct(struct session *session, msec now)
{
	struct envelope *sent[SESSION_BATCH_MAX], *envelope;
	struct slice envelopes[SESSION_BATCH_MAX];
	struct frame frame = { .kind = FRAME_DIRECT, .direct.envelopes = envelopes };
	size_t n = 0, bytes = 0;

	while (n < SESSION_BATCH_MAX && bytes < SESSION_BATCH_BYTES &&
	       (envelope = direct_next(session->direct))) {
		sent[n] = envelope;
		envelopes[n++] = envelope->packed;
		bytes += envelope->packed.len;
	}
	if (n == 0)
		return false;
	frame.direct.n = n;
	metric_add(&link_metrics[LINK_DIRECT_OUT], (int64_t)n);
	say(session, &frame, now);
	for (size_t i = 0; i < n; i++)
		envelope_free(sent[i]);
	return true;
}

void session_flush(struct session *session, msec now)
{
	say_control(session, now);
	if (session->state != UP)
		return;
	struct queue *queue = session->events.queue(session->ctx);
	if (!queue)
		return session_close(session, "the queue is closed");
	if (!pass_over(session, queue))
		return session_close(session, "the journal does not know what the peer has");
	while (say_batch(session, queue, now))
		;
	while (say_direct(session, now))
		;
}

/* Before Hello has gone both ways there are no heartbeats: the whole of it has a deadline. */
static bool is_greeting(const struct session *session)
{
	return session->state < MET;
}

static msec silent_at(const struct session *session)
{
	msec since = is_greeting(session) ? session->began : session->heard;

	return since + SILENT_BEATS * session->heartbeat;
}

msec session_deadline(const struct session *session)
{
	msec beat = session->said + session->heartbeat;

	if (session->state == DOWN)
		return 0;
	return is_greeting(session) || silent_at(session) < beat ? silent_at(session) : beat;
}

void session_timeout(struct session *session, msec now)
{
	struct hr_err why;

	if (session->state == DOWN)
		return;
	if (now >= silent_at(session)) {
		err_set(&why, HR_RETRY, "%s within %" PRId64 " ms",
			is_greeting(session) ? "no Hello" : "nothing was heard",
			SILENT_BEATS * session->heartbeat);
		session_end(session, &why);
	} else if (!is_greeting(session) && now >= session->said + session->heartbeat) {
		session->said = now; /* by the flush of this turn */
		session_owe(session, FRAME_PING);
	}
}
