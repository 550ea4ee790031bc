/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/component.h"

#include "base/buf.h"
#include "base/log.h"
#include "gateway/xmpp/stanza.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>

enum {
	CONNECT_MS = 15 * 1000,
	ANSWER_MS = 10 * 1000, /* for the header and for the handshake */
	CLOSE_MS = 2 * 1000,
	QUIET_MS = 60 * 1000, /* nothing read for so long: a ping asks whether anybody is there */
	WAIT_MIN_MS = 500,
	GOOD_MS = 10 * 1000, /* up for so long: the next pause is a short one */
	TIMEOUT_MS = 30 * 1000,
	SHA1_LEN = 20,
};

#define PING_ID "hr-ping-"
#define CLOSE_TAG "</stream:stream>"

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

struct barrier {
	int64_t seq; /* 0: only asks whether anybody is there */
	msec deadline;
};

struct component {
	char *name, *domain, *native_domain;
	char *secret; /* owned; NULL before the first */
	msec retry_max, barrier_timeout;
	const struct component_ops *ops;
	void *ctx;
	enum state state;
	struct scan *scan;
	msec now;  /* of the call that is being handled */
	msec wait; /* length of the last pause; 0 after a good connection */
	msec read_at, up_at;
	bool is_paused, is_taking; /* stanzas are: up, or closing while the server is not */
	enum component_blame blame;
	char *error;		  /* owned */
	struct barrier *barriers; /* a queue: the first is number `first` */
	size_t barrier_count, barrier_size;
	uint64_t first;
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
	if (component->barrier_count > 0)
		return component->barriers[0].deadline;
	return component->read_at + QUIET_MS;
}

static void arm(struct component *component, msec deadline)
{
	component->ops->timer(component->ctx, deadline);
}

static void write_text(struct component *component, const char *text)
{
	component->ops->write(component->ctx, slice_str(text));
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
	buf_add_str(&header, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
			     "xmlns:stream='http://etherx.jabber.org/streams' to='");
	stanza_escape(&header, slice_str(component->domain));
	buf_add_str(&header, "'>");
	component->ops->write(component->ctx, buf_slice(&header));
}

static void enter_closing(struct component *component)
{
	arm(component, component->now + CLOSE_MS);
	if (!component->is_taking)
		scan_stop(component->scan);
	write_text(component, CLOSE_TAG);
	component->ops->shutdown(component->ctx);
}

static void leave_up(struct component *component)
{
	struct component_end end = { component->error, component->blame };

	if (component->now - component->up_at >= GOOD_MS)
		component->wait = 0;
	component->first += component->barrier_count; /* an answer that comes late is to none */
	component->barrier_count = 0;
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

/* XEP-0114: the hexadecimal SHA-1 of the stream id and the secret. */
static void write_handshake(struct component *component, struct slice id)
{
	scoped_buf text = BUF_INIT(0);
	unsigned char digest[SHA1_LEN];

	buf_add_slice(&text, id);
	buf_add_str(&text, component->secret ? component->secret : "");
	gnutls_hash_fast(GNUTLS_DIG_SHA1, text.data, text.len, digest);
	gnutls_memset(text.data, 0, text.size);
	buf_clear(&text);
	buf_add_str(&text, "<handshake>");
	for (size_t i = 0; i < SHA1_LEN; i++)
		buf_format(&text, "%02x", digest[i]);
	buf_add_str(&text, "</handshake>");
	component->ops->write(component->ctx, buf_slice(&text));
}

static void on_opened(void *ctx, struct slice id)
{
	struct component *component = ctx;

	if (component->state != OPENING)
		return;
	write_handshake(component, id);
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

/* The number of the barrier that this answers; false when it is none. Only the server itself may
 * answer: a user could guess the id. */
static bool answers_barrier(const struct component *component, const struct scan_stanza *stanza,
			    uint64_t *number)
{
	size_t prefix = sizeof PING_ID - 1;

	if (stanza->kind != ENVELOPE_IQ || stanza->id.len <= prefix ||
	    stanza->id.len > prefix + 18 || memcmp(stanza->id.data, PING_ID, prefix) != 0 ||
	    (!slice_is(stanza->type, "result") && !slice_is(stanza->type, "error")) ||
	    !slice_is(stanza->from, component->native_domain))
		return false;
	*number = 0;
	for (size_t i = prefix; i < stanza->id.len; i++) {
		if (stanza->id.data[i] < '0' || stanza->id.data[i] > '9')
			return false;
		*number = *number * 10 + (uint64_t)(stanza->id.data[i] - '0');
	}
	return true;
}

static void pass_barriers(struct component *component, uint64_t number)
{
	int64_t seq = 0;

	if (number < component->first || number - component->first >= component->barrier_count)
		return; /* of an earlier stream */
	size_t passed = (size_t)(number - component->first) + 1;
	for (size_t i = 0; i < passed; i++)
		if (component->barriers[i].seq > 0)
			seq = component->barriers[i].seq;
	component->barrier_count -= passed;
	component->first += passed;
	component->wait = 0;
	memmove(component->barriers, component->barriers + passed,
		component->barrier_count * sizeof *component->barriers);
	if (component->barrier_count > 0) /* slow is not dead */
		component->barriers[0].deadline = component->now + component->barrier_timeout;
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
	if (answers_barrier(component, stanza, &number))
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
	component->barrier_timeout =
		options->barrier_timeout ? options->barrier_timeout : TIMEOUT_MS;
	component->ops = ops;
	component->ctx = ctx;
	component->state = IDLE;
	component->scan = scan_new(&scan_events, component);
	component->first = 1;
	return component;
}

static void forget_secret(struct component *component)
{
	if (component->secret)
		gnutls_memset(component->secret, 0, strlen(component->secret));
	free(component->secret);
	component->secret = NULL;
}

void component_free(struct component *component)
{
	if (!component)
		return;
	forget_secret(component);
	scan_free(component->scan);
	free(component->name);
	free(component->domain);
	free(component->native_domain);
	free(component->error);
	free(component->barriers);
	free(component);
}

void component_secret(struct component *component, struct slice secret)
{
	forget_secret(component);
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

static void write_fault(struct component *component)
{
	scoped_str error = str_format(
		"<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
		scan_condition(scan_fault(component->scan)));

	write_text(component, error);
}

void component_received(struct component *component, struct slice bytes, msec now)
{
	struct hr_err err;

	component->now = component->read_at = now;
	if (scan_feed(component->scan, bytes, &err) == HR_OK)
		return;
	if (component->state != OPENING && component->state != HANDSHAKE && component->state != UP)
		return;
	component->ops->refused(component->ctx, scan_fault(component->scan), err.text);
	write_fault(component);
	broken_by_server(component, err.text, COMPONENT_BLAMELESS);
}

void component_timeout(struct component *component, msec now)
{
	component->now = now;
	if (component->state == UP && now < up_deadline(component)) {
		arm(component, up_deadline(component));
		return;
	}
	if (component->state == UP && component->barrier_count == 0) {
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
	for (size_t i = 0; i < component->barrier_count; i++)
		component->barriers[i].deadline = now + component->barrier_timeout;
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
	scoped_str id = str_format(
		PING_ID "%llu", (unsigned long long)(component->first + component->barrier_count));
	scoped_buf ping = BUF_INIT(0);

	if (component->barrier_count == component->barrier_size) {
		component->barrier_size = component->barrier_size ? 2 * component->barrier_size : 8;
		component->barriers = mem_resize(component->barriers, component->barrier_size,
						 sizeof *component->barriers);
	}
	component->barriers[component->barrier_count++] =
		(struct barrier){ seq, now + component->barrier_timeout };
	stanza_write(&ping, &(struct stanza){
				    .kind = ENVELOPE_IQ,
				    .from = slice_str(component->domain),
				    .to = slice_str(component->native_domain),
				    .type = slice_lit("get"),
				    .id = slice_str(id),
				    .payload = slice_lit("<ping xmlns='urn:xmpp:ping'/>"),
			    });
	component->ops->write(component->ctx, buf_slice(&ping));
	if (component->barrier_count == 1)
		arm(component, up_deadline(component));
}

size_t component_barriers(const struct component *component)
{
	return component->barrier_count;
}
