/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/load.h"

#include "tests/bench/side.h"
#include "tests/bench/tally.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	SIDE_A,
	SIDE_B,
	SIDES,
	PROBE_MESSAGES = 2000,
	PROBE_WINDOW = 64,
	PROBE_AGAIN_MS = 500,
	PROBE_STALL_MS = 2 * 1000,
	STALL_MS = 15 * 1000 /* a run without progress for so long is over */
};

enum phase { IDLE, WARMING, MEASURING, DRAINING, RESTING };

/* What had been used up at one moment. */
struct sample {
	uint64_t at_ns, received;
	int64_t cpu_us[USAGE_ROOTS_MAX], load_us, machine_us;
	struct usage_wire wire;
};

struct load {
	struct loop *loop;
	const struct load_options *options;
	const struct load_events *events;
	void *ctx;
	struct traffic *traffic;
	struct side *sides[SIDES];
	bool was_ready;

	enum phase phase;
	struct load_run run;
	struct session *sender;
	struct tally tally;
	struct load_result result;
	struct sample begin, end;
	uint64_t next_number, start_ns, measure_ns;
	uint64_t progress; /* tally.received when the stall timer was last set */
	struct timer *timer;
	int pace_fd;
	struct watch *pace;
};

static void enter(struct load *load, enum phase phase);

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void complain(struct load *load, uint64_t *counter, const char *what, const char *detail)
{
	(*counter)++;
	if (load->result.complaint.status == HR_OK)
		err_set(&load->result.complaint, HR_FAIL, "%s: %s", what, detail);
}

/* Sending */

static void send_one(struct load *load, uint64_t due_ns)
{
	char *room = session_reserve(load->sender, TRAFFIC_SPACE);

	session_wrote(load->sender, traffic_write(load->traffic, load->next_number, due_ns, room));
	load->next_number++;
	load->tally.sent++;
}

static bool is_sending(const struct load *load)
{
	return load->sender && (load->phase == WARMING || load->phase == MEASURING);
}

static bool has_all(const struct load *load)
{
	return load->tally.received == load->tally.sent;
}

/* Keeps the window full: what has arrived is replaced. */
static void fill(void *arg)
{
	struct load *load = arg;
	uint64_t now = now_ns();

	if (load->phase == DRAINING && has_all(load))
		enter(load, IDLE);
	if (!is_sending(load) || load->run.kind == LOAD_PACED)
		return;
	while (load->tally.sent - load->tally.received < load->run.window) {
		if (load->run.kind == LOAD_PROBE && load->tally.sent == PROBE_MESSAGES) {
			enter(load, DRAINING);
			return;
		}
		send_one(load, now);
	}
}

static uint64_t due_at(const struct load *load, uint64_t index)
{
	return load->start_ns + index * 1000000000 / load->run.rate;
}

static void keep_pace(void *arg, int events)
{
	struct load *load = arg;
	uint64_t expired, now = now_ns();

	(void)events;
	if (read(load->pace_fd, &expired, sizeof(expired)) < 0 || !is_sending(load))
		return;
	while (due_at(load, load->tally.sent) <= now)
		send_one(load, due_at(load, load->tally.sent));
	uint64_t next = due_at(load, load->tally.sent);
	struct itimerspec when = { .it_value = { (time_t)(next / 1000000000),
						 (long)(next % 1000000000) } };
	timerfd_settime(load->pace_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Receiving */

static void on_message(struct load *load, const struct stanza *stanza)
{
	struct slice from = stanza_attribute(stanza->tag, "from");
	struct slice to = stanza_attribute(stanza->tag, "to");
	struct traffic_seen seen;
	struct hr_err err;

	if (traffic_read(load->traffic, stanza_attribute(stanza->tag, "id"), &seen, &err) !=
	    HR_OK) {
		complain(load, &load->result.wrong, "id", err.text);
		return;
	}
	if (!tally_seen(&load->tally, seen.number, seen.pair))
		return;
	if (traffic_check(load->traffic, &seen, from, to, stanza->inner, &err) != HR_OK)
		complain(load, &load->result.wrong, "message", err.text);
	if (load->phase == IDLE || load->phase == RESTING || seen.due_ns < load->measure_ns)
		return;
	/* At full rate those that are still under way at the end would count as later than they
	 * are. */
	if (load->run.kind == LOAD_PACED || load->phase == MEASURING)
		tally_late(&load->tally, (int64_t)(now_ns() - seen.due_ns) / 1000);
}

/* A ping is answered, after all that was read before it; other queries find nobody. */
static void on_query(struct session *session, const struct stanza *stanza)
{
	struct slice from = stanza_attribute(stanza->tag, "from");
	struct slice to = stanza_attribute(stanza->tag, "to");
	struct slice id = stanza_attribute(stanza->tag, "id");
	bool ping = memmem(stanza->inner.data, stanza->inner.len, "urn:xmpp:ping", 13);
	scoped_str text = str_format(
		"<iq type='%s' from='" SLICE_FMT "' to='" SLICE_FMT "' id='" SLICE_FMT "'>%s</iq>",
		ping ? "result" : "error", SLICE_ARG(to), SLICE_ARG(from), SLICE_ARG(id),
		ping ? ""
		     : "<error type='cancel'><service-unavailable"
		       " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");

	session_write(session, slice_str(text));
}

static void on_stanza(void *ctx, struct side *side, struct session *session,
		      const struct stanza *stanza)
{
	struct load *load = ctx;
	struct slice name = stanza_name(stanza->tag);
	struct slice type = stanza_attribute(stanza->tag, "type");

	if (slice_is(name, "message") && slice_is(type, "error")) {
		scoped_str text = str_format(SLICE_FMT, SLICE_ARG(stanza->inner));

		complain(load, &load->result.errors, "bounced", text);
	} else if (slice_is(name, "message") && side == load->sides[SIDE_B]) {
		on_message(load, stanza);
		loop_later(load->loop, fill, load);
	} else if (slice_is(name, "iq") && (slice_is(type, "get") || slice_is(type, "set"))) {
		on_query(session, stanza);
	}
}

/* Streams */

static void on_opened(void *ctx, struct side *side)
{
	struct load *load = ctx;

	(void)side;
	if (load->was_ready || !side_is_open(load->sides[SIDE_A]) ||
	    !side_is_open(load->sides[SIDE_B]))
		return;
	load->was_ready = true;
	load->events->ready(load->ctx);
}

static void on_closed(void *ctx, struct side *side, struct session *session,
		      const struct hr_err *err)
{
	struct load *load = ctx;
	struct hr_err why = *err;

	if (load->sender == session)
		load->sender = NULL;
	err_add(&why, "stream of side %c", side == load->sides[SIDE_A] ? 'A' : 'B');
	if (load->options->role == SESSION_COMPONENT)
		load->events->failed(load->ctx, &why);
	else
		fprintf(stderr, "xmppload: %s\n", why.text);
}

static const struct side_events side_events = { on_opened, on_stanza, on_closed };

/* Runs */

static struct sample take_sample(struct load *load)
{
	const struct load_options *options = load->options;
	struct sample sample = { .received = load->tally.received };
	struct rusage own;
	struct hr_err err;

	if (usage_cpu(options->watched, options->watched_count, sample.cpu_us, &err) != HR_OK ||
	    usage_wire(options->wires, options->wire_count, &sample.wire, &err) != HR_OK ||
	    usage_machine(&sample.machine_us, &err) != HR_OK)
		load->events->failed(load->ctx, &err);
	getrusage(RUSAGE_SELF, &own);
	sample.load_us = (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * (int64_t)1000000 +
			 own.ru_utime.tv_usec + own.ru_stime.tv_usec;
	sample.at_ns = now_ns();
	return sample;
}

/* What was used between the samples, by message and by second. */
static void conclude_use(struct load *load, double messages)
{
	const struct sample *begin = &load->begin, *end = &load->end;
	struct load_result *result = &load->result;
	double load_us = (double)(end->load_us - begin->load_us), cpu_us = 0;
	double time_us = (double)(end->at_ns - begin->at_ns) / 1000;

	for (size_t i = 0; i < load->options->watched_count; i++) {
		double us = (double)(end->cpu_us[i] - begin->cpu_us[i]);

		result->cpu_of[i] = us / messages;
		cpu_us += us;
	}
	result->messages_per_s = messages * 1e6 / time_us;
	result->cpu_us_per_message = cpu_us / messages;
	result->load_us_per_message = load_us / messages;
	result->wire_bytes_per_message = (double)(end->wire.bytes - begin->wire.bytes) / messages;
	result->elsewhere =
		((double)(end->machine_us - begin->machine_us) - cpu_us - load_us) / time_us;
}

static void conclude(struct load *load)
{
	const struct sample *begin = &load->begin, *end = &load->end;
	struct load_result *result = &load->result;
	struct tally *tally = &load->tally;
	double messages = (double)(end->received - begin->received);

	result->sent = tally->sent;
	result->lost = tally->sent - tally->received;
	result->duplicates = tally->duplicates;
	result->disordered = tally->disordered;
	result->strays = tally->strays;
	if (messages > 0)
		conclude_use(load, messages);
	if (begin->wire.sockets != end->wire.sockets)
		complain(load, &result->wrong, "wire", "a connection has come or gone");
	result->p50_us = tally_quantile(tally, 0.5);
	result->p99_us = tally_quantile(tally, 0.99);
	result->max_us = tally_quantile(tally, 1);
	load->events->done(load->ctx, result);
}

/* The stream that messages leave on: of the shared domain, when there is one. */
static struct session *find_sender(const struct load *load)
{
	return side_find(load->sides[SIDE_A], load->options->traffic.federated);
}

static void begin_run(struct load *load)
{
	load->result = (struct load_result){ 0 };
	load->sender = find_sender(load);
	tally_begin(&load->tally, load->next_number, load->options->traffic.pairs);
	load->start_ns = now_ns();
	load->measure_ns = UINT64_MAX;
	load->begin = load->end = (struct sample){ 0 };
	timer_set(load->timer, time_msec() + load->run.warmup);
	if (load->run.kind == LOAD_PACED) {
		struct itimerspec at_once = { .it_value = { 0, 1 } };

		timerfd_settime(load->pace_fd, TFD_TIMER_ABSTIME, &at_once, NULL);
	}
	loop_later(load->loop, fill, load);
}

static msec patience(const struct load *load)
{
	return load->run.kind == LOAD_PROBE ? PROBE_STALL_MS : STALL_MS;
}

/* The only writer of load->phase: takes the samples and arms the timer. */
static void enter(struct load *load, enum phase phase)
{
	load->phase = phase;
	switch (phase) {
	case WARMING:
		begin_run(load);
		return;
	case MEASURING:
		load->begin = take_sample(load);
		load->measure_ns = load->begin.at_ns;
		timer_set(load->timer, time_msec() + load->run.length);
		return;
	case DRAINING:
		if (load->run.kind != LOAD_PROBE)
			load->end = take_sample(load);
		load->progress = load->tally.received;
		timer_set(load->timer, time_msec() + patience(load));
		loop_later(load->loop, fill, load); /* all may be here already */
		return;
	case RESTING:
		timer_set(load->timer, time_msec() + PROBE_AGAIN_MS);
		return;
	case IDLE:
		timer_set(load->timer, 0);
		conclude(load);
		return;
	}
}

/* What is under way has had its time: it is given up when nothing came; a probe is made again. */
static void give_up(struct load *load)
{
	bool moved = load->tally.received != load->progress;

	if (load->run.kind == LOAD_PROBE) {
		enter(load, RESTING);
	} else if (!moved) {
		enter(load, IDLE);
	} else {
		load->progress = load->tally.received;
		timer_set(load->timer, time_msec() + patience(load));
	}
}

static void on_timer(void *arg)
{
	struct load *load = arg;

	switch (load->phase) {
	case WARMING:
		if (load->run.kind == LOAD_PROBE)
			enter(load, RESTING);
		else
			enter(load, MEASURING);
		return;
	case MEASURING:
		enter(load, DRAINING);
		return;
	case DRAINING:
		give_up(load);
		return;
	case RESTING:
		enter(load, WARMING);
		return;
	case IDLE:
		return;
	}
}

enum hr_status load_start(struct load *load, const struct load_run *run, struct hr_err *err)
{
	if (load->phase != IDLE)
		return err_set(err, HR_RETRY, "a run is under way");
	if (run->kind != LOAD_PROBE && !find_sender(load))
		return err_set(err, HR_RETRY, "side A has no stream");
	load->run = *run;
	if (run->kind == LOAD_PROBE)
		load->run.window = PROBE_WINDOW;
	enter(load, WARMING);
	return HR_OK;
}

static enum hr_status new_side(struct load *load, int i, struct hr_err *err)
{
	const struct load_options *options = load->options;
	const struct traffic_options *traffic = &options->traffic;

	return side_new(load->loop,
			&(struct side_options){
				.role = options->role,
				.address = options->address[i],
				.domain = i == SIDE_A ? traffic->native_a : traffic->native_b,
				.secret = options->secret,
			},
			&side_events, load, &load->sides[i], err);
}

enum hr_status load_new(struct loop *loop, const struct load_options *options,
			const struct load_events *events, void *ctx, struct load **out,
			struct hr_err *err)
{
	scoped(load) load = mem_new(struct load);

	*load = (struct load){
		.loop = loop, .options = options, .events = events, .ctx = ctx, .pace_fd = -1
	};
	load->timer = timer_new(loop, on_timer, load);
	if (traffic_new(&options->traffic, &load->traffic, err) != HR_OK)
		return err->status;
	load->pace_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (load->pace_fd < 0)
		return err_set(err, HR_FAIL, "timerfd: %s", strerror(errno));
	load->pace = watch_new(loop, load->pace_fd, keep_pace, load);
	watch_set(load->pace, WATCH_READ);
	for (int i = 0; i < SIDES; i++)
		if (new_side(load, i, err) != HR_OK)
			return err_add(err, "side %c", "AB"[i]);
	*out = give(load);
	return HR_OK;
}

void load_free(struct load *load)
{
	if (!load)
		return;
	loop_cancel(load->loop, fill, load);
	for (int i = 0; i < SIDES; i++)
		side_free(load->sides[i]);
	watch_free(load->pace);
	if (load->pace_fd >= 0)
		close(load->pace_fd);
	timer_free(load->timer);
	tally_free(&load->tally);
	traffic_free(load->traffic);
	free(load);
}
