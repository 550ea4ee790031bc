/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/component.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/secret.h"
#include "gateway/xmpp/barriers.h"
#include "gateway/xmpp/say.h"

enum {
	CONNECT_MS = 15 * 1000,
	ANSWER_MS = 10 * 1000, /* for the header and for the handshake */
	CLOSE_MS = 2 * 1000,
	QUIET_MS = 60 * 1000, /* nothing read for so long: a ping asks whether anybody is there */
	WAIT_MIN_MS = 500,
	GOOD_MS = 10 * 1000, /* up for so long: the next pause is a short one */
	TIMEOUT_MS = 30 * 1000,
};

enum state { STALE, IDLE, CONNECTING, OPENING, HANDSHAKE, UP, CLOSING, STOPPING, WAITING, STATES };
static const char *const state_name[STATES] = {
	"stale", "idle",    "connecting", "opening", "handshake",
	"up",	 "closing", "stopping",	  "waiting",
};

enum event { START, STOP, CONNECTED, OPENED, ACCEPTED, BROKEN, LOST, TIMEOUT, EVENTS };

/* The whole behaviour. A blank is STALE: the event is too late to matter. BROKEN: one side has
 * ended the stream, the connection is still there. */
static const enum state next_state[STATES][EVENTS] = {
	[IDLE] = { [START] = CONNECTING },
	[CONNECTING] = { [STOP] = IDLE,
			 [BROKEN] = WAITING,
			 [CONNECTED] = OPENING,
			 [LOST] = WAITING,
			 [TIMEOUT] = WAITING },
	[OPENING] = { [STOP] = STOPPING,
		      [OPENED] = HANDSHAKE,
		      [BROKEN] = CLOSING,
		      [LOST] = WAITING,
		      [TIMEOUT] = CLOSING },
	[HANDSHAKE] = { [STOP] = STOPPING,
			[ACCEPTED] = UP,
			[BROKEN] = CLOSING,
			[LOST] = WAITING,
			[TIMEOUT] = CLOSING },
	[UP] = { [STOP] = STOPPING, [BROKEN] = CLOSING, [LOST] = WAITING, [TIMEOUT] = CLOSING },
	[CLOSING] = { [STOP] = STOPPING, [LOST] = WAITING, [TIMEOUT] = WAITING },
	[STOPPING] = { [START] = CLOSING, [LOST] = IDLE, [TIMEOUT] = IDLE },
	[WAITING] = { [STOP] = IDLE, [BROKEN] = CONNECTING, [TIMEOUT] = CONNECTING },
};

/* Stream errors (RFC 6120 section 4.9.3) that say nothing of what was sent. */
static const char *const blameless[] = {
	"conflict",
	"connection-timeout",
	"host-gone",
	"host-unknown",
	"internal-server-error",
	"not-authorized",
	"remote-connection-failed",
	"reset",
	"resource-constraint",
	"see-other-host",
	"system-shutdown",
};

struct component {
	char *name, *domain, *native_domain;
	char *secret; /* owned; NULL before the first */
	msec retry_max;
	const struct component_ops *ops;
	void *ctx;
	enum state state;
	struct scan *scan;
	msec now;  /* of the call that is being handled */
	msec wait; /* length of the last pause; 0 after a good connection */
	msec read_at, up_at;
	bool is_paused, is_taking; /* stanzas are: up, or closing while the server is not */
	enum component_blame blame;
	char *error; /* owned */
	struct barriers *barriers;
};

static void handle(struct component *component, enum event event);

static void set_error(struct component *component, const char *text)
{
	free(component->error);
	component->error = str_dup(text);
}

/* The deadline of the state UP: the oldest barrier, else a quiet peer; none while we do not read.
 */
static msec up_deadline(const struct component *component)
{
	if (component->is_paused)
		return 0;
	if (barriers_count(component->barriers) > 0)
		return barriers_deadline(component->barriers);
	return component->read_at + QUIET_MS;
}

static void arm(struct component *component, msec deadline)
{
	component->ops->timer(component->ctx, deadline);
}

static void write_out(struct component *component, const struct buf *out)
{
	component->ops->write(component->ctx, buf_slice(out));
}

static void enter_waiting(struct component *component)
{
	component->is_taking = false;
	component->ops->drop(component->ctx);
	component->wait = msec_clamp(2 * component->wait, WAIT_MIN_MS, component->retry_max);
	arm(component, component->now + msec_jitter(component->wait));
}

static void enter_connecting(struct component *component)
{
	struct hr_err err;

	arm(component, component->now + CONNECT_MS);
	if (component->ops->connect(component->ctx, &err) != HR_OK) {
		set_error(component, err.text);
		handle(component, LOST);
	}
}

static void enter_opening(struct component *component)
{
	scoped_buf header = BUF_INIT(0);

	arm(component, component->now + ANSWER_MS);
	scan_reset(component->scan);
	say_header(&header, component->domain);
	write_out(component, &header);
}

static void enter_closing(struct component *component)
{
	scoped_buf end = BUF_INIT(0);

	arm(component, component->now + CLOSE_MS);
	if (!component->is_taking)
		scan_stop(component->scan);
	say_end(&end);
	write_out(component, &end);
	component->ops->shutdown(component->ctx);
}

static void leave_up(struct component *component)
{
	struct component_end end = { component->error, component->blame };

	if (component->now - component->up_at >= GOOD_MS)
		component->wait = 0;
	barriers_forget(component->barriers);
	component->ops->down(component->ctx, &end);
}

/* Only on the way to UP: for those who look closely. */
static bool is_step(enum state state)
{
	return state == CONNECTING || state == OPENING || state == HANDSHAKE;
}

/* The only writer of component->state. */
static void enter(struct component *component, enum state state)
{
	enum state old = component->state;

	log_event_(
		is_step(state) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "xmpp.stream",
		LOG_STR("stream", component->name), LOG_STR("from", state_name[old]),
		LOG_STR("to", state_name[state]),
		LOG_STR("error", state == CLOSING || state == WAITING ? component->error : NULL));
	component->state = state;
	if (old == UP)
		leave_up(component);
	switch (state) {
	case STALE:
	case STATES:
		abort(); /* no row of next_state leads here */
	case IDLE:
		component->is_taking = false;
		component->ops->drop(component->ctx);
		component->wait = 0;
		arm(component, 0);
		break;
	case CONNECTING:
		enter_connecting(component);
		break;
	case OPENING:
		enter_opening(component);
		break;
	case HANDSHAKE:
		arm(component, component->now + ANSWER_MS);
		break;
	case UP:
		component->up_at = component->now;
		component->is_taking = true;
		component->blame = COMPONENT_BLAMELESS;
		set_error(component, NULL);
		component->ops->pause(component->ctx, component->is_paused);
		arm(component, up_deadline(component));
		component->ops->up(component->ctx);
		break;
	case CLOSING:
	case STOPPING:
		if (old != CLOSING && old != STOPPING)
			enter_closing(component);
		break;
	case WAITING:
		enter_waiting(component);
		break;
	}
}

static void handle(struct component *component, enum event event)
{
	enum state next = next_state[component->state][event];

	if (next != STALE)
		enter(component, next);
}

static void broken(struct component *component, const char *text)
{
	if (next_state[component->state][BROKEN] == STALE)
		return; /* it is ending already, for a reason of its own */
	set_error(component, text);
	handle(component, BROKEN);
}

/* By the server: nothing more comes that could be read. */
static void broken_by_server(struct component *component, const char *text,
			     enum component_blame blame)
{
	component->is_taking = false;
	component->blame = blame;
	broken(component, text);
}

static void on_opened(void *ctx, struct slice id)
{
	struct component *component = ctx;
	scoped_buf handshake = BUF_INIT(0);

	if (component->state != OPENING)
		return;
	say_handshake(&handshake, id, component->secret);
	write_out(component, &handshake);
	handle(component, OPENED);
}

static void on_handshake(void *ctx)
{
	handle(ctx, ACCEPTED);
}

static void on_failed(void *ctx, struct slice condition, struct slice text)
{
	struct component *component = ctx;
	scoped_str error = str_format("stream error: " SLICE_FMT "%s" SLICE_FMT,
				      SLICE_ARG(condition), text.len ? ": " : "", SLICE_ARG(text));

	enum component_blame blame = COMPONENT_BLAMED;

	for (size_t i = 0; i < countof(blameless); i++)
		if (slice_is(condition, blameless[i]))
			blame = COMPONENT_BLAMELESS;
	broken_by_server(component, error, blame);
}

static void on_unknown(void *ctx, struct slice name)
{
	struct component *component = ctx;
	scoped_str text = str_format("not a stanza: " SLICE_FMT, SLICE_ARG(name));

	component->ops->refused(component->ctx, SCAN_INVALID_NAMESPACE, text);
}

static void on_ended(void *ctx)
{
	broken_by_server(ctx, "the server ended the stream", COMPONENT_CUT);
}

static void pass_barriers(struct component *component, uint64_t number)
{
	int64_t seq;

	if (barriers_pass(component->barriers, number, component->now, &seq) != HR_OK)
		return;
	component->wait = 0;
	arm(component, up_deadline(component));
	if (seq > 0)
		component->ops->accepted(component->ctx, seq);
}

static void on_stanza(void *ctx, const struct scan_stanza *stanza)
{
	struct component *component = ctx;
	uint64_t number;

	if (!component->is_taking)
		return;
	if (barriers_answered(stanza, component->native_domain, &number))
		pass_barriers(component, number);
	else
		component->ops->stanza(component->ctx, stanza);
}

static const struct scan_events scan_events = {
	.opened = on_opened,
	.stanza = on_stanza,
	.handshake = on_handshake,
	.failed = on_failed,
	.unknown = on_unknown,
	.ended = on_ended,
};

struct component *component_new(const struct component_options *options,
				const struct component_ops *ops, void *ctx)
{
	struct component *component = mem_new(struct component);

	component->name = str_dup(options->name);
	component->domain = str_dup(options->domain);
	component->native_domain = str_dup(options->native_domain);
	component->retry_max = options->retry_max ? options->retry_max : TIMEOUT_MS;
	component->barriers =
		barriers_new(options->barrier_timeout ? options->barrier_timeout : TIMEOUT_MS);
	component->ops = ops;
	component->ctx = ctx;
	component->state = IDLE;
	component->scan = scan_new(&scan_events, component);
	return component;
}

void component_free(struct component *component)
{
	if (!component)
		return;
	secret_free(component->secret);
	scan_free(component->scan);
	free(component->name);
	free(component->domain);
	free(component->native_domain);
	free(component->error);
	barriers_free(component->barriers);
	free(component);
}

void component_secret(struct component *component, struct slice secret)
{
	secret_free(component->secret);
	component->secret = mem_dup(secret.data, secret.len);
}

static void call(struct component *component, enum event event, msec now)
{
	component->now = now;
	handle(component, event);
}

void component_start(struct component *component, msec now)
{
	call(component, START, now);
}

void component_stop(struct component *component, msec now)
{
	call(component, STOP, now);
}

void component_restart(struct component *component, msec now)
{
	component->now = now;
	broken(component, "configured anew");
}

void component_connected(struct component *component, msec now)
{
	call(component, CONNECTED, now);
}

void component_lost(struct component *component, const struct hr_err *err, msec now)
{
	if (component->state != CLOSING && component->state != STOPPING)
		set_error(component, err->text);
	component->blame = err->status == HR_FAIL ? COMPONENT_BLAMELESS : COMPONENT_CUT;
	call(component, LOST, now);
}

void component_received(struct component *component, struct slice bytes, msec now)
{
	scoped_buf fault = BUF_INIT(0);
	struct hr_err err;

	component->now = component->read_at = now;
	if (scan_feed(component->scan, bytes, &err) == HR_OK)
		return;
	if (component->state != OPENING && component->state != HANDSHAKE && component->state != UP)
		return;
	component->ops->refused(component->ctx, scan_fault(component->scan), err.text);
	say_fault(&fault, scan_fault(component->scan));
	write_out(component, &fault);
	broken_by_server(component, err.text, COMPONENT_BLAMELESS);
}

void component_timeout(struct component *component, msec now)
{
	component->now = now;
	if (component->state == UP && now < up_deadline(component)) {
		arm(component, up_deadline(component));
		return;
	}
	if (component->state == UP && barriers_count(component->barriers) == 0) {
		component_barrier(component, 0, now);
		return;
	}
	if (component->state != CLOSING && component->state != STOPPING &&
	    component->state != WAITING)
		set_error(component, "the server did not answer in time");
	handle(component, TIMEOUT);
}

void component_pause(struct component *component, bool yes, msec now)
{
	if (component->is_paused == yes)
		return;
	component->now = now;
	component->is_paused = yes;
	if (component->state != UP)
		return;
	component->read_at = now;
	barriers_postpone(component->barriers, now);
	component->ops->pause(component->ctx, yes);
	arm(component, up_deadline(component));
}

bool component_is_up(const struct component *component)
{
	return component->state == UP;
}

bool component_is_idle(const struct component *component)
{
	return component->state == IDLE;
}

const char *component_state(const struct component *component)
{
	return state_name[component->state];
}

const char *component_error(const struct component *component)
{
	return component->error;
}

void component_write(struct component *component, struct slice bytes)
{
	component->ops->write(component->ctx, bytes);
}

void component_barrier(struct component *component, int64_t seq, msec now)
{
	scoped_str id = barriers_id(barriers_add(component->barriers, seq, now));
	scoped_buf ping = BUF_INIT(0);

	say_ping(&ping, component->domain, component->native_domain, id);
	write_out(component, &ping);
	if (barriers_count(component->barriers) == 1)
		arm(component, up_deadline(component));
}

size_t component_barriers(const struct component *component)
{
	return barriers_count(component->barriers);
}
