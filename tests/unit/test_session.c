/* SPDX-License-Identifier: Apache-2.0 */
/* The session of site "a" with site "b", step by step: what is done to it at which time, and all
 * that it then says (lower case) and tells its owner (upper case), in order. */
#include "federation/session.h"

#include "base/buf.h"
#include "base/log.h"
#include "federation/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define OURS "0b8f3b1e-8f4e-4f0e-9a3e-1d3f5b6c7d8e"
#define THEIRS "1c9f3b1e-8f4e-4f0e-9a3e-1d3f5b6c7d8e"
#define OTHER "2daf3b1e-8f4e-4f0e-9a3e-1d3f5b6c7d8e"

enum { HEARTBEAT = 1000, OUR_ID = 100, PEER_ID = 200, LOG_MAX = 64 * 1024 };

enum act {
	CONNECT,
	LOSE,
	CLOSE,
	OPEN,
	SHUT,
	WAKE,
	TIMEOUT,
	PUT,	 /* x envelopes into our queue */
	SKIP,	 /* our queue gives up those up to x */
	ANSWER,	 /* link_resume(x) */
	COMMIT,	 /* link_committed(x) */
	FLOW,	 /* x: yes or no */
	DIRECT,	 /* we send x */
	REFUSED, /* we send one more: HR_FAIL */
	DOWN,	 /* we send one: HR_RETRY */
	GARBAGE, /* bytes that are no frame */
	/* Frames of the peer. */
	HELLO,
	HELLO_VERSION,
	HELLO_SITE,
	HELLO_OTHER_QUEUE,
	RESUME, /* position x, window y */
	RESUME_OTHER_QUEUE,
	BATCH,	  /* first x, y of them */
	JUMP,	  /* the same with skip */
	BROKEN,	  /* a batch of one, x, that is no envelope */
	HUGE,	  /* a batch of y from x, of the largest envelopes */
	ACK,	  /* committed x, window y */
	PRESENCE, /* x of them */
	TAKEN,	  /* direct ack of x */
	PING,
	PONG,
	BYE,
	BYE_OF_NONE,
	STRAY
};

struct step {
	msec now;
	enum act act;
	int64_t x, y;
	const char *expect;
};

static struct {
	struct session *session;
	struct queue *queue;
	bool open, flush, offering;
	struct buf log;
} t;

/* --- what the session does --- */

#define NOTE(...) buf_format(&t.log, __VA_ARGS__)

static struct queue *queue_of(void *ctx)
{
	(void)ctx;
	return t.open ? t.queue : NULL;
}

static const char *incarnation_of(void *ctx)
{
	(void)ctx;
	return t.open ? OURS : NULL;
}

static bool on_accepted(void *ctx, int64_t seq)
{
	(void)ctx;
	NOTE("ACCEPTED %d; ", (int)seq);
	return queue_ack(t.queue, seq);
}

static void on_offer(void *ctx, bool yes)
{
	(void)ctx;
	t.offering = yes;
}

static void on_send(void *ctx, const struct frame *frame)
{
	(void)ctx;
	assert_true(t.offering || frame->kind != FRAME_BATCH);
	assert_int_equal(frame->session, OUR_ID);
	NOTE("%s", frame_kind_name(frame->kind));
	if (frame->kind == FRAME_HELLO)
		assert_true(slice_is(frame->hello.site, "a") &&
			    slice_is(frame->hello.incarnation, OURS));
	if (frame->kind == FRAME_RESUME)
		NOTE(" %d %d", (int)frame->resume.position, (int)frame->resume.window);
	if (frame->kind == FRAME_BATCH)
		NOTE(" %d+%d%s", (int)frame->batch.first, (int)frame->batch.n,
		     frame->batch.skip ? " skip" : "");
	if (frame->kind == FRAME_ACK)
		NOTE(" %d %d", (int)frame->ack.committed, (int)frame->ack.window);
	if (frame->kind == FRAME_DIRECT)
		NOTE(" %d", (int)frame->direct.n);
	if (frame->kind == FRAME_DIRECT_ACK)
		NOTE(" %d", (int)frame->handled);
	if (frame->kind == FRAME_PONG)
		NOTE(" %d", (int)frame->token);
	if (frame->kind == FRAME_BYE)
		NOTE(" " SLICE_FMT, SLICE_ARG(frame->reason));
	NOTE("; ");
}

static void on_flush(void *ctx)
{
	(void)ctx;
	t.flush = true;
}

static void on_state(void *ctx, bool up, const struct hr_err *err)
{
	(void)ctx;
	assert_int_equal(session_is_up(t.session), up);
	assert_int_equal(t.offering, up);
	if (up)
		NOTE("UP; ");
	else
		NOTE("DOWN %s; ", err->text);
}

static void on_hello(void *ctx, const char *incarnation)
{
	(void)ctx;
	NOTE("HELLO%s; ", strcmp(incarnation, THEIRS) == 0 ? "" : " other");
}

static void on_envelope(void *ctx, int64_t seq, struct envelope *envelope)
{
	(void)ctx;
	scoped(envelope) kept = NULL;
	struct hr_err err;

	assert_int_equal(envelope_unpack(envelope->packed, &kept, &err), HR_OK);
	NOTE("%s%d ", kept->f.is_copy ? "COPY " : "", (int)seq);
	envelope_free(envelope);
}

static void on_direct(void *ctx, struct envelope *envelope)
{
	(void)ctx;
	NOTE("DIRECT; ");
	envelope_free(envelope);
}

static const struct session_events events = {
	queue_of, incarnation_of, on_accepted, on_offer,    on_send,
	on_flush, on_state,	  on_hello,    on_envelope, on_direct,
};

/* --- what is done to it --- */

static struct envelope *make(size_t payload)
{
	scoped_str text = mem_alloc(payload + 1);

	memset(text, 'x', payload);
	return envelope_new(&(struct envelope_fields){ .from = slice_lit("ada@a.example"),
						       .to = slice_lit("bob@b.example"),
						       .received = 1,
						       .payload = { text, payload },
						       .is_copy = true });
}

static void put(int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		scoped(envelope) envelope = make(10);

		queue_committed(t.queue, queue_head(t.queue) + 1, envelope);
	}
	session_wake(t.session);
}

static void say_direct(int64_t n, enum hr_status status)
{
	scoped(envelope) envelope = make(10);
	struct hr_err err;

	for (int64_t i = 0; i < n; i++)
		assert_int_equal(session_direct(t.session, envelope, &err), status);
}

static void hear(struct frame frame, msec now)
{
	if (!frame.session)
		frame.session = PEER_ID;
	session_frame(t.session, &frame, now);
}

static void hear_hello(uint32_t version, const char *site, const char *incarnation, msec now)
{
	struct frame frame = { .kind = FRAME_HELLO };

	frame.hello.version = version;
	frame.hello.site = slice_str(site);
	frame.hello.node = slice_lit("b1");
	frame.hello.incarnation = slice_str(incarnation);
	hear(frame, now);
}

static void hear_resume(const char *incarnation, const struct step *step)
{
	struct frame frame = { .kind = FRAME_RESUME };

	frame.resume.incarnation = slice_str(incarnation);
	frame.resume.position = step->x;
	frame.resume.window = (uint32_t)step->y;
	hear(frame, step->now);
}

static void hear_envelopes(const struct step *step, size_t n, struct slice packed)
{
	struct slice *list = mem_array(struct slice, n);
	struct frame frame = { .kind = step->act == PRESENCE ? FRAME_DIRECT : FRAME_BATCH };

	for (size_t i = 0; i < n; i++)
		list[i] = packed;
	if (frame.kind == FRAME_DIRECT) {
		frame.direct.n = n;
		frame.direct.envelopes = list;
	} else {
		frame.batch.first = step->x;
		frame.batch.skip = step->act == JUMP;
		frame.batch.n = n;
		frame.batch.envelopes = list;
	}
	hear(frame, step->now);
	free(list);
}

static void act_frame(const struct step *step)
{
	scoped(envelope) envelope = make(step->act == HUGE ? ENVELOPE_PAYLOAD_MAX : 10);
	struct frame frame = { 0 };

	switch ((int)step->act) {
	case HELLO:
		return hear_hello(SESSION_VERSION, "b", THEIRS, step->now);
	case HELLO_VERSION:
		return hear_hello((uint32_t)step->x, "b", THEIRS, step->now);
	case HELLO_SITE:
		return hear_hello(SESSION_VERSION, "c", THEIRS, step->now);
	case HELLO_OTHER_QUEUE:
		return hear_hello(SESSION_VERSION, "b", OTHER, step->now);
	case RESUME:
		return hear_resume(OURS, step);
	case RESUME_OTHER_QUEUE:
		return hear_resume(OTHER, step);
	case BATCH:
	case JUMP:
	case HUGE:
		return hear_envelopes(step, (size_t)step->y, envelope->packed);
	case BROKEN:
		return hear_envelopes(step, 1, slice_lit("\x0a\x7f"));
	case PRESENCE:
		return hear_envelopes(step, (size_t)step->x, envelope->packed);
	case ACK:
		frame.kind = FRAME_ACK;
		frame.ack.committed = step->x;
		frame.ack.window = (uint32_t)step->y;
		return hear(frame, step->now);
	case TAKEN:
		return hear((struct frame){ .kind = FRAME_DIRECT_ACK, .handled = step->x },
			    step->now);
	case PING:
		return hear((struct frame){ .kind = FRAME_PING, .token = 42 }, step->now);
	case PONG:
		return hear((struct frame){ .kind = FRAME_PONG }, step->now);
	case BYE:
		return hear((struct frame){ .kind = FRAME_BYE, .reason = slice_lit("enough") },
			    step->now);
	case BYE_OF_NONE:
		frame.kind = FRAME_BYE;
		frame.reason = slice_lit("who are you");
		return session_frame(t.session, &frame, step->now);
	case STRAY:
		return hear((struct frame){ .kind = FRAME_PING, .session = PEER_ID + 1 },
			    step->now);
	}
	fail_msg("no such act");
}

static void act(const struct step *step)
{
	struct hr_err err;

	err_set(&err, HR_RETRY, "it broke");
	switch ((int)step->act) {
	case CONNECT:
		return session_connected(t.session, OUR_ID, step->now);
	case LOSE:
		return session_lost(t.session, &err);
	case CLOSE:
		return session_close(t.session, "shutting down");
	case OPEN:
		t.open = true;
		return session_wake(t.session);
	case SHUT:
		t.open = false;
		return session_wake(t.session);
	case WAKE:
		return session_wake(t.session);
	case TIMEOUT:
		return session_timeout(t.session, step->now);
	case PUT:
		return put(step->x);
	case SKIP:
		queue_skip(t.queue, step->x);
		return;
	case ANSWER:
		return session_resume(t.session, step->x);
	case COMMIT:
		return session_committed(t.session, step->x);
	case FLOW:
		return session_flow(t.session, step->x != 0);
	case DIRECT:
		return say_direct(step->x, HR_OK);
	case REFUSED:
		return say_direct(1, HR_FAIL);
	case DOWN:
		return say_direct(1, HR_RETRY);
	case GARBAGE:
		err.status = HR_FAIL;
		return session_refuse(t.session, &err);
	}
	act_frame(step);
}

static void run(const struct step *steps, size_t n)
{
	t.session = session_new(
		&(struct session_options){
			.site = "a", .node = "a1", .peer = "b", .heartbeat = HEARTBEAT },
		&events, NULL);
	t.queue = queue_new(0, 0);
	t.open = true;
	t.log = BUF_INIT(LOG_MAX);
	for (size_t i = 0; i < n; i++) {
		buf_clear(&t.log);
		t.flush = false;
		act(&steps[i]);
		if (t.flush)
			session_flush(t.session, steps[i].now);
		const char *expect = steps[i].expect ? steps[i].expect : "";
		scoped_str got = str_dup(buf_text(&t.log));
		for (size_t end = strlen(got); end && strchr("; ", got[end - 1]); end--)
			got[end - 1] = '\0';
		if (strcmp(got, expect) != 0)
			fail_msg("step %zu: \"%s\", not \"%s\"", i, got, expect);
	}
	session_free(t.session);
	queue_free(t.queue);
	buf_free(&t.log);
}
#define RUN(...)                                  \
	run((const struct step[]){ __VA_ARGS__ }, \
	    sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step))

/* Up at time 0, nothing sent. */
#define BECOME_UP                                                   \
	{ 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" }, \
		{ 0, ANSWER, 0, 0, "resume 0 8192" },               \
	{                                                           \
		0, RESUME, 0, 8192, "UP"                            \
	}

/* --- tests --- */

static void meets_in_either_order(void **state)
{
	(void)state;
	RUN(BECOME_UP);
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" }, { 0, RESUME, 0, 8192, "" },
	    { 0, ANSWER, 7, 0, "UP; resume 7 8192" });
}

static void says_hello_only_when_its_queue_is_open(void **state)
{
	(void)state;
	RUN({ 0, SHUT, 0, 0, "" }, { 0, CONNECT, 0, 0, "" }, { 1, HELLO, 0, 0, "" },
	    { 2, OPEN, 0, 0, "HELLO; hello" }, { 3, ANSWER, 0, 0, "resume 0 8192" },
	    { 4, RESUME, 0, 8192, "UP" });
	RUN({ 0, SHUT, 0, 0, "" }, { 0, CONNECT, 0, 0, "" }, { 1, OPEN, 0, 0, "hello" },
	    { 2, HELLO, 0, 0, "HELLO" });
}

static void sends_batches_within_the_window_and_accepts_acks(void **state)
{
	(void)state;
	RUN({ 0, PUT, 3, 0, "" }, { 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 0, ANSWER, 0, 0, "resume 0 8192" }, { 0, RESUME, 0, 5, "UP; batch 1+3" },
	    { 1, PUT, 5, 0, "batch 4+2" }, { 2, ACK, 3, 5, "ACCEPTED 3; batch 6+3" },
	    { 3, ACK, 8, 0, "ACCEPTED 8" }, { 4, PUT, 1, 0, "" }, { 5, ACK, 8, 1, "batch 9+1" },
	    { 6, ACK, 8, 0, "" }, { 6, PUT, 700, 0, "" },
	    { 7, ACK, 9, 8192, "ACCEPTED 9; batch 10+512; batch 522+188" });
}

static void a_lost_session_sends_again_what_was_not_committed(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, PUT, 10, 0, "batch 1+10" }, { 2, ACK, 4, 8192, "ACCEPTED 4" },
	    { 3, LOSE, 0, 0, "DOWN it broke" }, { 4, PUT, 1, 0, "" }, { 5, CONNECT, 0, 0, "hello" },
	    { 5, HELLO, 0, 0, "HELLO" }, { 5, ANSWER, 0, 0, "resume 0 8192" },
	    { 5, RESUME, 6, 8192, "UP; ACCEPTED 6; batch 7+5" });
}

static void what_expired_is_jumped_over(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, ACK, 0, 0, "" }, { 1, PUT, 5, 0, "" }, { 2, SKIP, 3, 0, "" },
	    { 3, ACK, 0, 8192, "batch 4+2 skip" }, { 4, PUT, 1, 0, "batch 6+1" },
	    { 5, ACK, 6, 8192, "ACCEPTED 6" });
	RUN({ 0, PUT, 5, 0, "" }, { 0, SKIP, 3, 0, "" }, { 0, CONNECT, 0, 0, "hello" },
	    { 0, HELLO, 0, 0, "HELLO" }, { 0, ANSWER, 0, 0, "resume 0 8192" },
	    { 0, RESUME, 1, 8192, "UP; batch 4+2 skip" });
}

static void a_late_ack_of_what_expired_is_no_offence(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, PUT, 5, 0, "batch 1+5" }, { 2, SKIP, 5, 0, "" },
	    { 3, ACK, 4, 8192, "" });
}

static void a_peer_that_is_ahead_is_refused(void **state)
{
#define AHEAD                                                                                   \
	"peer is ahead: b has 4 of the queue, which ends at 3: the database of a was restored " \
	"from "                                                                                 \
	"an older copy?"
	int64_t before = link_metrics[LINK_PEER_AHEAD].value;

	(void)state;
	RUN({ 0, PUT, 3, 0, "" }, { 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 0, ANSWER, 0, 0, "resume 0 8192" },
	    { 0, RESUME, 4, 8192, "bye " AHEAD "; DOWN " AHEAD });
	assert_int_equal(link_metrics[LINK_PEER_AHEAD].value, before + 1);
}

static void hands_over_each_envelope_once(void **state)
{
	int64_t before = link_metrics[LINK_REPLAYED].value;

	(void)state;
	RUN(BECOME_UP, { 1, BATCH, 1, 3, "1 2 3" }, { 2, BATCH, 1, 3, "" },
	    { 3, BATCH, 2, 4, "4 5" }, { 4, COMMIT, 2, 0, "ack 2 8192" }, { 5, COMMIT, 2, 0, "" },
	    { 6, COMMIT, 9, 0, "" }, { 7, COMMIT, 5, 0, "ack 5 8192" }, { 8, BATCH, 5, 1, "" });
	assert_int_equal(link_metrics[LINK_REPLAYED].value, before + 3 + 2 + 1);
}

static void remembers_across_sessions_what_is_not_committed_yet(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, BATCH, 1, 4, "1 2 3 4" }, { 2, LOSE, 0, 0, "DOWN it broke" },
	    { 3, CONNECT, 0, 0, "hello" }, { 3, HELLO, 0, 0, "HELLO" },
	    { 3, ANSWER, 2, 0, "resume 2 8192" }, { 3, RESUME, 0, 8192, "UP" },
	    { 4, BATCH, 3, 3, "5" }, { 5, COMMIT, 5, 0, "ack 5 8192" });
}

static void another_queue_of_the_peer_is_counted_from_its_start(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, BATCH, 1, 4, "1 2 3 4" }, { 2, LOSE, 0, 0, "DOWN it broke" },
	    { 3, CONNECT, 0, 0, "hello" }, { 3, HELLO_OTHER_QUEUE, 0, 0, "HELLO other" },
	    { 3, ANSWER, 0, 0, "resume 0 8192" }, { 3, RESUME, 0, 8192, "UP" },
	    { 4, BATCH, 1, 2, "1 2" });
}

static void a_gap_is_refused_unless_it_is_a_jump(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, BATCH, 1, 2, "1 2" }, { 2, JUMP, 5, 2, "5 6" }, { 2, JUMP, 7, 1, "7" },
	    { 3, BATCH, 9, 1,
	      "bye a batch begins at 9, the last one ended at 7; "
	      "DOWN a batch begins at 9, the last one ended at 7" });
}

static void a_broken_envelope_ends_the_session_and_is_named(void **state)
{
	(void)state;
	scoped_str why = NULL;
	struct envelope *none;
	struct hr_err err;
	assert_int_equal(envelope_unpack(slice_lit("\x0a\x7f"), &none, &err), HR_FAIL);
	why = str_format("bye envelope 3: %s; DOWN envelope 3: %s", err.text, err.text);
	/* Nothing before it is lost, and it is not taken for received. */
	RUN(BECOME_UP, { 1, BATCH, 1, 2, "1 2" }, { 2, BROKEN, 3, 0, why },
	    { 3, CONNECT, 0, 0, "hello" }, { 3, HELLO, 0, 0, "HELLO" },
	    { 3, ANSWER, 2, 0, "resume 2 8192" }, { 3, RESUME, 0, 8192, "UP" },
	    { 4, BATCH, 3, 1, "3" });
}

static void a_peer_that_ignores_the_window_is_refused(void **state)
{
	struct step steps[512] = { BECOME_UP };
	size_t n = 4;

	(void)state;
	for (int64_t seq = 1; seq <= SESSION_HELD_MAX / ENVELOPE_PAYLOAD_MAX + 1; seq++)
		steps[n++] = (struct step){ 1, HUGE, seq, 1, NULL };
	for (size_t i = 4; i < n; i++) {
		bool fits = (int64_t)(i - 3) * (ENVELOPE_PAYLOAD_MAX + 50) < SESSION_HELD_MAX;
		steps[i].expect = fits ? str_format("%d", (int)(i - 3))
				       : str_format("bye envelope %d is past the window; "
						    "DOWN envelope %d is past the window",
						    (int)(i - 3), (int)(i - 3));
		if (!fits)
			n = i + 1;
	}
	run(steps, n);
	for (size_t i = 4; i < n; i++)
		free((char *)steps[i].expect);
}

static void closes_the_window_while_no_more_is_wanted(void **state)
{
	(void)state;
	RUN({ 0, FLOW, 0, 0, "" }, { 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 0, ANSWER, 0, 0, "resume 0 0" }, { 0, RESUME, 0, 8192, "UP" },
	    { 1, FLOW, 1, 0, "ack 0 8192" }, { 2, BATCH, 1, 2, "1 2" },
	    { 3, FLOW, 0, 0, "ack 0 0" }, { 4, COMMIT, 2, 0, "ack 2 0" }, { 5, FLOW, 0, 0, "" });
}

static void direct_traffic_goes_after_batches_and_is_bounded(void **state)
{
	(void)state;
	RUN({ 0, DOWN, 0, 0, "" }, BECOME_UP, { 1, DIRECT, 2, 0, "direct 2" },
	    { 2, TAKEN, 2, 0, "" },
	    { 3, DIRECT, SESSION_DIRECT_MAX, 0,
	      "direct 512; direct 512; direct 512; direct 512; direct 512; direct 512; direct 512; "
	      "direct 512" },
	    { 4, REFUSED, 0, 0, "" }, { 5, TAKEN, 1002, 0, "" }, { 6, DIRECT, 1, 0, "direct 1" },
	    { 7, PRESENCE, 3, 0, "DIRECT; DIRECT; DIRECT; direct-ack 3" },
	    { 8, LOSE, 0, 0, "DOWN it broke" }, { 9, DOWN, 0, 0, "" });
}

static void impossible_acks_are_refused(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, PUT, 3, 0, "batch 1+3" },
	    { 2, ACK, 4, 0, "bye Ack of 4, not of 0 to 3; DOWN Ack of 4, not of 0 to 3" });
	RUN(BECOME_UP, { 1, PUT, 3, 0, "batch 1+3" }, { 2, ACK, 2, 9, "ACCEPTED 2" },
	    { 3, ACK, 1, 9, "bye Ack of 1, not of 2 to 3; DOWN Ack of 1, not of 2 to 3" });
	RUN(BECOME_UP, { 1, DIRECT, 1, 0, "direct 1" },
	    { 2, TAKEN, 2, 0,
	      "bye DirectAck of 2, which is not possible; DOWN DirectAck of 2, which is not "
	      "possible" });
}

static void only_a_good_hello_begins(void **state)
{
#define TOLD(why) "bye " why "; DOWN " why
	(void)state;
	RUN({ 0, CONNECT, 0, 0, "hello" },
	    { 1, HELLO_SITE, 0, 0, TOLD("Hello of site c with the key of b") });
	RUN({ 0, CONNECT, 0, 0, "hello" },
	    { 1, HELLO_VERSION, 3, 0, TOLD("protocol version 3 here, 1 there") });
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 1, HELLO_VERSION, 2, 0, "HELLO" });
	RUN({ 0, CONNECT, 0, 0, "hello" },
	    { 1, HELLO_VERSION, 0, 0, TOLD("protocol version 0 here, 1 there") });
	RUN(BECOME_UP, { 1, HELLO, 0, 0, TOLD("a second Hello") });
	RUN(BECOME_UP, { 1, RESUME, 0, 0, TOLD("a second Resume") });
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 1, RESUME_OTHER_QUEUE, 0, 0, TOLD("Resume in an incarnation that is not ours") });
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 1, BATCH, 1, 1, TOLD("batch in state met") });
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 1, ACK, 0, 1, TOLD("ack in state met") });
}

static void frames_of_another_session_are_dropped_and_counted(void **state)
{
	int64_t before = link_metrics[LINK_REFUSED_FRAMES].value;

	(void)state;
	RUN({ 0, STRAY, 0, 0, "" }, { 0, CONNECT, 0, 0, "hello" }, { 0, RESUME, 0, 9, "" },
	    { 0, HELLO, 0, 0, "HELLO" }, { 1, STRAY, 0, 0, "" }, { 2, STRAY, 0, 0, "" },
	    { 3, ANSWER, 0, 0, "resume 0 8192" });
	assert_int_equal(link_metrics[LINK_REFUSED_FRAMES].value, before + 3);
}

static void bytes_that_are_no_frame_end_the_session(void **state)
{
	int64_t before = link_metrics[LINK_REFUSED_FRAMES].value;

	(void)state;
	RUN(BECOME_UP, { 1, GARBAGE, 0, 0, TOLD("it broke") }, { 2, GARBAGE, 0, 0, "" });
	assert_int_equal(link_metrics[LINK_REFUSED_FRAMES].value, before + 1);
}

static void pings_when_it_has_nothing_to_say_and_ends_after_silence(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 999, TIMEOUT, 0, 0, "" }, { 1000, TIMEOUT, 0, 0, "ping" },
	    { 1500, PONG, 0, 0, "" }, { 1900, PUT, 1, 0, "batch 1+1" }, { 2000, TIMEOUT, 0, 0, "" },
	    { 2900, TIMEOUT, 0, 0, "ping" }, { 3000, PING, 0, 0, "pong 42" },
	    { 4000, TIMEOUT, 0, 0, "ping" }, { 5999, TIMEOUT, 0, 0, "ping" },
	    { 6000, TIMEOUT, 0, 0, TOLD("nothing was heard within 3000 ms") },
	    { 7000, TIMEOUT, 0, 0, "" });
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 2999, TIMEOUT, 0, 0, "" },
	    { 3000, TIMEOUT, 0, 0, TOLD("no Hello within 3000 ms") });
	/* An owner that can't answer yet does not end the session. */
	RUN({ 0, CONNECT, 0, 0, "hello" }, { 0, HELLO, 0, 0, "HELLO" },
	    { 2000, TIMEOUT, 0, 0, "ping" }, { 2500, PONG, 0, 0, "" },
	    { 4000, TIMEOUT, 0, 0, "ping" }, { 4500, PONG, 0, 0, "" },
	    { 5000, ANSWER, 0, 0, "resume 0 8192" });
}

static void its_deadline_is_the_next_of_ping_and_silence(void **state)
{
	(void)state;
	scoped(session) session = session_new(
		&(struct session_options){
			.site = "a", .node = "a1", .peer = "b", .heartbeat = HEARTBEAT },
		&events, NULL);

	t.open = true;
	t.queue = queue_new(0, 0);
	t.log = BUF_INIT(LOG_MAX);
	t.session = session;
	assert_int_equal(session_deadline(session), 0);
	session_connected(session, OUR_ID, 10);
	assert_int_equal(session_deadline(session), 3010);
	hear_hello(SESSION_VERSION, "b", THEIRS, 500);
	session_flush(session, 600);
	assert_int_equal(session_deadline(session), 1600);
	session_timeout(session, 1600);
	assert_int_equal(session_deadline(session), 2600); /* never the past */
	assert_string_equal(session_state(session), "met");
	assert_string_equal(session_peer_node(session), "b1");
	queue_free(t.queue);
	buf_free(&t.log);
}

static void bye_goes_both_ways(void **state)
{
	(void)state;
	RUN(BECOME_UP, { 1, CLOSE, 0, 0, TOLD("shutting down") }, { 2, CLOSE, 0, 0, "" });
	RUN(BECOME_UP, { 1, BYE, 0, 0, "DOWN the peer said: enough" });
	RUN({ 0, CONNECT, 0, 0, "hello" },
	    { 1, BYE_OF_NONE, 0, 0, "DOWN the peer said: who are you" });
	RUN(BECOME_UP, { 1, SHUT, 0, 0, TOLD("the queue is closed") });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(meets_in_either_order),
		cmocka_unit_test(says_hello_only_when_its_queue_is_open),
		cmocka_unit_test(sends_batches_within_the_window_and_accepts_acks),
		cmocka_unit_test(a_lost_session_sends_again_what_was_not_committed),
		cmocka_unit_test(what_expired_is_jumped_over),
		cmocka_unit_test(a_late_ack_of_what_expired_is_no_offence),
		cmocka_unit_test(a_peer_that_is_ahead_is_refused),
		cmocka_unit_test(hands_over_each_envelope_once),
		cmocka_unit_test(remembers_across_sessions_what_is_not_committed_yet),
		cmocka_unit_test(another_queue_of_the_peer_is_counted_from_its_start),
		cmocka_unit_test(a_gap_is_refused_unless_it_is_a_jump),
		cmocka_unit_test(a_broken_envelope_ends_the_session_and_is_named),
		cmocka_unit_test(a_peer_that_ignores_the_window_is_refused),
		cmocka_unit_test(closes_the_window_while_no_more_is_wanted),
		cmocka_unit_test(direct_traffic_goes_after_batches_and_is_bounded),
		cmocka_unit_test(impossible_acks_are_refused),
		cmocka_unit_test(only_a_good_hello_begins),
		cmocka_unit_test(frames_of_another_session_are_dropped_and_counted),
		cmocka_unit_test(bytes_that_are_no_frame_end_the_session),
		cmocka_unit_test(pings_when_it_has_nothing_to_say_and_ends_after_silence),
		cmocka_unit_test(its_deadline_is_the_next_of_ping_and_silence),
		cmocka_unit_test(bye_goes_both_ways),
	};

	log_open(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
