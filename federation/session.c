/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/session_private.h"

#include "base/log.h"
#include "federation/link.h"

#include <inttypes.h>

static const char *const state_name[STATES] = {
	[STALE] = "stale",     [DOWN] = "down",	    [OPENING] = "opening",
	[CALLING] = "calling", [CALLED] = "called", [MET] = "met",
	[TOLD] = "told",       [HEARD] = "heard",   [UP] = "up",
};

enum { MARK_ROOM = 16 }; /* bytes; see journal_due() */

enum event {
	CONNECTED, /* the connection stands */
	OPENED,	   /* our queue is open: our Hello goes out */
	GREETED,   /* the peer's Hello came */
	ANSWERED,  /* our owner says what is committed: our Resume goes out */
	WELCOMED,  /* the peer's Resume came */
	ENDED,
	EVENTS
};

/* The whole handshake, one row a state. A blank is STALE: the event is not for this state. */
static const enum state next_state[STATES][EVENTS] = {
	[DOWN] = { [CONNECTED] = OPENING },
	[OPENING] = { [OPENED] = CALLING, [GREETED] = CALLED, [ENDED] = DOWN },
	[CALLING] = { [GREETED] = MET, [ENDED] = DOWN },
	[CALLED] = { [OPENED] = MET, [ENDED] = DOWN },
	[MET] = { [ANSWERED] = TOLD, [WELCOMED] = HEARD, [ENDED] = DOWN },
	[TOLD] = { [WELCOMED] = UP, [ENDED] = DOWN },
	[HEARD] = { [ANSWERED] = UP, [ENDED] = DOWN },
	[UP] = { [ENDED] = DOWN },
};

struct session *session_new(const struct session_options *options,
			    const struct session_events *events, void *ctx)
{
	struct session *session = mem_new(struct session);

	session->site = str_dup(options->site);
	session->node = str_dup(options->node);
	session->peer = str_dup(options->peer);
	session->heartbeat = options->heartbeat;
	session->events = *events;
	session->ctx = ctx;
	session->state = DOWN;
	session->flowing = true;
	session->inbox = inbox_new();
	session->direct = direct_new();
	return session;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	free(session->site);
	free(session->node);
	free(session->peer);
	free(session->peer_node);
	free(session->offered);
	free(session->incarnation);
	inbox_free(session->inbox);
	direct_free(session->direct);
	free(session);
}

static void replace(char **text, char *with)
{
	free(*text);
	*text = with;
}

/* The only writer of session->state. False: the event is not for this state, nothing changed. */
static bool enter(struct session *session, enum event event)
{
	enum state next = next_state[session->state][event];

	if (next == STALE)
		return false;
	log_debug("link.session", LOG_STR("site", session->peer), LOG_STR("to", state_name[next]));
	session->state = next;
	return true;
}

void session_owe(struct session *session, enum frame_kind kind)
{
	session->owed |= 1U << kind;
	session->events.flush(session->ctx);
}

static void end(struct session *session, const struct hr_err *why)
{
	if (!enter(session, ENDED))
		return;
	struct queue *queue = session->events.queue(session->ctx);
	if (queue)
		queue_rewind(queue, queue_acked(queue));
	session->events.offer(session->ctx, false);
	direct_reset(session->direct);
	session->direct_taken = 0;
	session->owed = 0;
	session->peer_id = 0;
	replace(&session->peer_node, NULL);
	session->events.state(session->ctx, false, why);
}

void session_end(struct session *session, const struct hr_err *why)
{
	struct slice reason = slice_str(why->text);
	struct frame bye = { .session = session->id, .kind = FRAME_BYE, .reason = reason };

	if (reason.len > FRAME_REASON_MAX)
		bye.reason.len = FRAME_REASON_MAX;
	session->events.send(session->ctx, &bye);
	end(session, why);
}

void session_close(struct session *session, const char *reason)
{
	struct hr_err why;

	if (session->state == DOWN)
		return;
	err_set(&why, HR_RETRY, "%s", reason);
	session_end(session, &why);
}

void session_lost(struct session *session, const struct hr_err *why)
{
	end(session, why);
}

void session_refuse(struct session *session, const struct hr_err *why)
{
	if (session->state == DOWN)
		return;
	metric_add(&link_metrics[LINK_REFUSED_FRAMES], 1);
	log_warn("link.frame_refused", LOG_STR("site", session->peer), LOG_ERR(why));
	session_end(session, why);
}

static void up(struct session *session)
{
	struct hr_err none = { HR_OK, "" };

	metric_add(&link_metrics[LINK_SESSIONS], 1);
	session->events.offer(session->ctx, true);
	session->events.flush(session->ctx);
	session->events.state(session->ctx, true, &none);
}

/* Our Hello names our queue, so it waits for that. */
static void try_open(struct session *session)
{
	const char *incarnation = session->events.incarnation(session->ctx);

	if (!incarnation || !session->events.queue(session->ctx) || !enter(session, OPENED))
		return;
	replace(&session->offered, str_dup(incarnation));
	session_owe(session, FRAME_HELLO);
	if (session->state == MET)
		session->events.hello(session->ctx, session->incarnation);
}

void session_connected(struct session *session, uint64_t id, msec now)
{
	if (!enter(session, CONNECTED))
		return;
	session->id = id;
	session->strays = 0;
	session->began = session->said = session->heard = now;
	try_open(session);
}

void session_wake(struct session *session)
{
	try_open(session);
	if (session->state == UP)
		session->events.flush(session->ctx);
}

void session_resume(struct session *session, int64_t position)
{
	if (!enter(session, ANSWERED))
		return;
	inbox_commit(session->inbox, position);
	session_owe(session, FRAME_RESUME);
	if (session->state == UP)
		up(session);
}

void session_committed(struct session *session, int64_t seq)
{
	if (seq > inbox_received(session->inbox) || seq <= inbox_committed(session->inbox))
		return;
	inbox_commit(session->inbox, seq);
	session_owe(session, FRAME_ACK);
}

void session_flow(struct session *session, bool yes)
{
	if (session->flowing == yes)
		return;
	session->flowing = yes;
	session_owe(session, FRAME_ACK);
}

static enum hr_status on_hello(struct session *session, const struct frame *frame,
			       struct hr_err *err)
{
	int64_t ahead = (int64_t)frame->hello.version - SESSION_VERSION;
	struct slice node = frame->hello.node, incarnation = frame->hello.incarnation;

	if (frame->session == 0)
		return err_set(err, HR_FAIL, "Hello without a session");
	if (frame->hello.version < 1 || ahead > 1 || ahead < -1)
		return err_set(err, HR_FAIL, "protocol version %" PRIu32 " here, %d there",
			       frame->hello.version, SESSION_VERSION);
	if (!slice_is(frame->hello.site, session->peer))
		return err_set(err, HR_FAIL, "Hello of site " SLICE_FMT " with the key of %s",
			       SLICE_ARG(frame->hello.site), session->peer);
	if (!enter(session, GREETED))
		return err_set(err, HR_FAIL, "a second Hello");

	session->peer_id = frame->session;
	replace(&session->peer_node, mem_dup(node.data, node.len));
	if (!session->incarnation || !slice_is(incarnation, session->incarnation)) {
		replace(&session->incarnation, mem_dup(incarnation.data, incarnation.len));
		inbox_reset(session->inbox);
	}
	if (session->state == MET)
		session->events.hello(session->ctx, session->incarnation);
	else
		try_open(session);
	return HR_OK;
}

static enum hr_status on_resume(struct session *session, const struct frame *frame,
				struct hr_err *err)
{
	struct queue *queue = session->events.queue(session->ctx);
	int64_t position = frame->resume.position;

	if (!queue)
		return err_set(err, HR_RETRY, "the queue is closed");
	if (!slice_is(frame->resume.incarnation, session->offered))
		return err_set(err, HR_FAIL, "Resume in an incarnation that is not ours");
	if (position > queue_head(queue)) {
		metric_add(&link_metrics[LINK_PEER_AHEAD], 1);
		log_error("link.peer_ahead", LOG_STR("site", session->peer),
			  LOG_INT("position", position), LOG_INT("head", queue_head(queue)));
		return err_set(err, HR_FAIL,
			       "peer is ahead: %s has %" PRId64
			       " of the queue, which ends at %" PRId64
			       ": the database of %s was restored from an older copy?",
			       session->peer, position, queue_head(queue), session->site);
	}
	if (!enter(session, WELCOMED))
		return err_set(err, HR_FAIL, "a second Resume");
	queue_resume(queue, position);
	session->peer_committed = position;
	session->credit = frame->resume.window;
	session->next = position + 1;
	if (session->state == UP)
		up(session);
	return HR_OK;
}

/* What is a copy only its recipient's own site can know; and the journal has room for its mark
 * where the peer packed more than there is to pack. */
static void repack(struct envelope **envelope)
{
	struct envelope_fields fields = (*envelope)->f;
	scoped(envelope) came = *envelope;

	fields.is_copy = false;
	*envelope = envelope_new(&fields);
}

/* One journaled envelope that is not known yet. */
static enum hr_status take(struct session *session, int64_t seq, struct slice packed,
			   struct hr_err *err)
{
	scoped(envelope) envelope = NULL;

	if (envelope_unpack(packed, &envelope, err) != HR_OK)
		return err_add(err, "envelope %" PRId64, seq);
	if (!inbox_take(session->inbox, seq, packed.len))
		return err_set(err, HR_FAIL, "envelope %" PRId64 " is past the window", seq);
	if (envelope->f.is_copy || packed.len > ENVELOPE_PACKED_MAX - MARK_ROOM)
		repack(&envelope);
	metric_add(&link_metrics[LINK_ENVELOPES_IN], 1);
	session->events.envelope(session->ctx, seq, give(envelope));
	return HR_OK;
}

static enum hr_status on_batch(struct session *session, const struct frame *frame,
			       struct hr_err *err)
{
	int64_t received = inbox_received(session->inbox), n = (int64_t)frame->batch.n;
	int64_t first = frame->batch.first, replayed = msec_clamp(received - first + 1, 0, n);

	if (first > received + 1 && !frame->batch.skip)
		return err_set(err, HR_FAIL,
			       "a batch begins at %" PRId64 ", the last one ended at %" PRId64,
			       first, received);
	if (replayed > 0) {
		metric_add(&link_metrics[LINK_REPLAYED], replayed);
		log_info("link.replayed", LOG_STR("site", session->peer), LOG_INT("first", first),
			 LOG_INT("envelopes", replayed));
	}
	for (int64_t i = replayed; i < n && session->state == UP; i++)
		if (take(session, first + i, frame->batch.envelopes[i], err) != HR_OK)
			return err->status;
	return HR_OK;
}

static enum hr_status on_ack(struct session *session, const struct frame *frame, struct hr_err *err)
{
	struct queue *queue = session->events.queue(session->ctx);
	int64_t seq = frame->ack.committed;

	if (!queue)
		return err_set(err, HR_RETRY, "the queue is closed");
	if (seq < session->peer_committed || seq >= session->next)
		return err_set(err, HR_FAIL, "Ack of %" PRId64 ", not of %" PRId64 " to %" PRId64,
			       seq, session->peer_committed, session->next - 1);
	session->peer_committed = seq;
	session->credit = frame->ack.window;
	if (seq > queue_acked(queue) && seq <= queue_sent(queue) &&
	    !session->events.accepted(session->ctx, seq))
		return err_set(err, HR_FAIL, "Ack of %" PRId64 ", unknown to the journal", seq);
	session->events.flush(session->ctx);
	return HR_OK;
}

static enum hr_status on_direct(struct session *session, const struct frame *frame,
				struct hr_err *err)
{
	for (size_t i = 0; i < frame->direct.n && session->state == UP; i++) {
		struct envelope *envelope = NULL;

		if (envelope_unpack(frame->direct.envelopes[i], &envelope, err) != HR_OK)
			return err_add(err, "a direct envelope");
		session->direct_taken++;
		session_owe(session, FRAME_DIRECT_ACK);
		metric_add(&link_metrics[LINK_DIRECT_IN], 1);
		session->events.direct(session->ctx, envelope);
	}
	return HR_OK;
}

static enum hr_status on_direct_ack(struct session *session, const struct frame *frame,
				    struct hr_err *err)
{
	if (!direct_handled(session->direct, frame->handled))
		return err_set(err, HR_FAIL, "DirectAck of %" PRId64 ", which is not possible",
			       frame->handled);
	return HR_OK;
}

static enum hr_status on_ping(struct session *session, const struct frame *frame,
			      struct hr_err *err)
{
	(void)err;
	session->token = frame->token;
	session_owe(session, FRAME_PONG);
	return HR_OK;
}

/* That it came is all there is to a Pong: session->heard. */
static enum hr_status on_pong(struct session *session, const struct frame *frame,
			      struct hr_err *err)
{
	(void)session;
	(void)frame;
	(void)err;
	return HR_OK;
}

static enum hr_status on_bye(struct session *session, const struct frame *frame, struct hr_err *err)
{
	err_set(err, HR_RETRY, "the peer said: " SLICE_FMT, SLICE_ARG(frame->reason));
	end(session, err);
	return HR_OK;
}

/* What each frame does, and the first state in which it may come. */
static const struct {
	enum hr_status (*handle)(struct session *session, const struct frame *frame,
				 struct hr_err *err);
	enum state from;
} on_frame[FRAME_KINDS] = {
	[FRAME_HELLO] = { on_hello, OPENING }, [FRAME_RESUME] = { on_resume, MET },
	[FRAME_BATCH] = { on_batch, UP },      [FRAME_ACK] = { on_ack, UP },
	[FRAME_DIRECT] = { on_direct, UP },    [FRAME_DIRECT_ACK] = { on_direct_ack, UP },
	[FRAME_PING] = { on_ping, MET },       [FRAME_PONG] = { on_pong, MET },
	[FRAME_BYE] = { on_bye, OPENING },
};

enum state session_state_for(enum frame_kind kind)
{
	return on_frame[kind].from;
}

/* Hello says what the session is. A Bye may come from a side that knows of no session. */
static bool is_of_session(const struct session *session, const struct frame *frame)
{
	if (frame->kind == FRAME_HELLO)
		return true;
	if (frame->kind == FRAME_BYE && (frame->session == 0 || session->peer_id == 0))
		return true;
	return session->peer_id != 0 && frame->session == session->peer_id;
}

void session_frame(struct session *session, const struct frame *frame, msec now)
{
	const char *kind = frame_kind_name(frame->kind);
	struct hr_err err = { HR_OK, "" };

	if (session->state == DOWN)
		return;
	if (!is_of_session(session, frame)) {
		metric_add(&link_metrics[LINK_REFUSED_FRAMES], 1);
		if (session->strays++ == 0)
			log_warn("link.frame_stray", LOG_STR("site", session->peer),
				 LOG_STR("kind", kind));
		return;
	}
	session->heard = now;
	if (session->state < on_frame[frame->kind].from)
		err_set(&err, HR_FAIL, "%s in state %s", kind, state_name[session->state]);
	else if (on_frame[frame->kind].handle(session, frame, &err) == HR_OK)
		return;
	if (err.status == HR_FAIL)
		session_refuse(session, &err);
	else
		session_close(session, err.text);
}

enum hr_status session_direct(struct session *session, struct envelope *envelope,
			      struct hr_err *err)
{
	if (session->state != UP)
		return err_set(err, HR_RETRY, "the link to %s is down", session->peer);
	if (!direct_add(session->direct, envelope))
		return err_set(err, HR_FAIL, "the link to %s takes no more now", session->peer);
	session->events.flush(session->ctx);
	return HR_OK;
}

bool session_is_up(const struct session *session)
{
	return session->state == UP;
}

bool session_is_down(const struct session *session)
{
	return session->state == DOWN;
}

const char *session_state(const struct session *session)
{
	return state_name[session->state];
}

const char *session_peer_node(const struct session *session)
{
	return session->peer_node ? session->peer_node : "";
}
