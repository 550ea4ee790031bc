/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/lane.h"

#include "base/log.h"
#include "base/secret.h"
#include "federation/address.h"
#include "gateway/desk.h"
#include "gateway/xmpp/egress.h"
#include "gateway/xmpp/inbound.h"

static msec now_of(const struct lane *lane)
{
	return loop_now(lane->edge->loop);
}

static void pump(void *arg)
{
	struct lane *lane = arg;
	struct queue *queue = journal_queue(lane->target);

	if (lane->edge->is_draining && !lane_is_up(lane))
		lane_stop(lane); /* its server went away: no new stream now */
	if (!queue)
		return;
	if (!lane_is_up(lane))
		egress_divert(lane->egress, queue);
	else if (lane->edge->is_draining)
		egress_guard(lane->egress, queue);
	else
		metric_add(&xmpp_metrics[XMPP_STANZAS_OUT],
			   (int64_t)egress_pump(lane->egress, queue));
}

void lane_later(struct lane *lane)
{
	loop_later(lane->edge->loop, pump, lane);
}

static void on_opened(void *ctx)
{
	struct lane *lane = ctx;

	component_connected(lane->component, now_of(lane));
}

static void on_received(void *ctx, struct slice bytes)
{
	struct lane *lane = ctx;

	metric_add(&xmpp_metrics[XMPP_BYTES_IN], (int64_t)bytes.len);
	component_received(lane->component, bytes, now_of(lane));
}

static void on_drained(void *ctx)
{
	lane_later(ctx);
}

static void on_closed(void *ctx, const struct hr_err *err)
{
	struct lane *lane = ctx;

	stream_free(give(lane->stream));
	component_lost(lane->component, err, now_of(lane));
	lane_later(lane); /* whose server is away may have moved meanwhile */
}

/* More than half of it makes the stream tell when it has drained: so it does whenever the pump
 * stopped for what waits. */
enum { WRITE_LIMIT = EGRESS_WAITING_MAX / 2 * 3 };

static const struct stream_events stream_events = {
	.opened = on_opened,
	.received = on_received,
	.drained = on_drained,
	.closed = on_closed,
};

static enum hr_status do_connect(void *ctx, struct hr_err *err)
{
	struct lane *lane = ctx;
	const struct xmpp_edge *edge = lane->edge;
	scoped_secret secret = NULL;
	scoped_str ca = NULL;

	if (secret_read(edge->options.secrets, edge->secret, &secret, err) != HR_OK)
		return err->status;
	if (edge->ca && secret_path(edge->options.secrets, edge->ca, &ca, err) != HR_OK)
		return err_add(err, "CA certificates");
	component_secret(lane->component, slice_str(secret));
	lane->stream = stream_connect(edge->loop,
				      &(struct stream_options){
					      .host = edge->host,
					      .port = (uint16_t)edge->port,
					      .tls = edge->tls ? STREAM_TLS : STREAM_PLAIN,
					      .ca_file = ca,
					      .write_limit = WRITE_LIMIT,
				      },
				      &stream_events, lane);
	return HR_OK;
}

static void do_write(void *ctx, struct slice bytes)
{
	struct lane *lane = ctx;

	if (!lane->stream)
		return;
	metric_add(&xmpp_metrics[XMPP_BYTES_OUT], (int64_t)bytes.len);
	stream_write(lane->stream, bytes);
}

static void do_shutdown(void *ctx)
{
	struct lane *lane = ctx;

	if (lane->stream)
		stream_shutdown(lane->stream);
}

static void do_drop(void *ctx)
{
	struct lane *lane = ctx;

	stream_free(give(lane->stream));
}

static void do_pause(void *ctx, bool yes)
{
	struct lane *lane = ctx;

	if (lane->stream)
		(yes ? stream_pause : stream_resume)(lane->stream);
}

static void do_timer(void *ctx, msec deadline)
{
	struct lane *lane = ctx;

	timer_set(lane->timer, deadline);
}

static void on_up(void *ctx)
{
	metric_add(&xmpp_metrics[XMPP_STREAMS], 1);
	lane_later(ctx);
}

static void on_down(void *ctx, const struct component_end *end)
{
	struct lane *lane = ctx;
	struct queue *queue = journal_queue(lane->target);

	metric_add(&xmpp_metrics[XMPP_STREAMS], -1);
	if (queue)
		egress_down(lane->egress, queue,
			    end->blame == COMPONENT_BLAMELESS ? NULL : end->text,
			    end->blame == COMPONENT_BLAMED);
	lane_later(lane);
}

static void on_stanza(void *ctx, const struct scan_stanza *stanza)
{
	inbound_stanza(ctx, stanza);
}

static void on_accepted(void *ctx, int64_t seq)
{
	struct lane *lane = ctx;

	journal_ack(lane->target, seq);
	if (lane->edge->is_draining && lane_is_idle(lane))
		lane_stop(lane);
	else
		lane_later(lane);
}

static const enum xmpp_metric fault_metric[SCAN_FAULTS] = {
	[SCAN_NO_FAULT] = XMPP_REFUSED_XML,
	[SCAN_NOT_WELL_FORMED] = XMPP_REFUSED_XML,
	[SCAN_RESTRICTED_XML] = XMPP_REFUSED_DTD,
	[SCAN_INVALID_NAMESPACE] = XMPP_REFUSED_NAMESPACE,
	[SCAN_POLICY_VIOLATION] = XMPP_REFUSED_SIZE,
};

static void on_refused(void *ctx, enum scan_fault fault, const char *text)
{
	struct lane *lane = ctx;

	metric_add(&xmpp_metrics[fault_metric[fault]], 1);
	log_warn("xmpp.refused", LOG_STR("stream", lane->name), LOG_STR("why", text));
}

static const struct component_ops component_ops = {
	.connect = do_connect,
	.write = do_write,
	.shutdown = do_shutdown,
	.drop = do_drop,
	.pause = do_pause,
	.timer = do_timer,
	.up = on_up,
	.down = on_down,
	.stanza = on_stanza,
	.accepted = on_accepted,
	.refused = on_refused,
};

static enum hr_status find(void *ctx, const struct envelope *envelope, const char **native)
{
	const struct lane *lane = ctx;
	const struct person *person = NULL;
	enum hr_status status = registry_find(lane->edge->options.registry, PEOPLE_ADDRESS,
					      address_text_bare(envelope->f.to), &person);

	if (status != HR_OK)
		return status;
	if (!person->enabled || !person->native || !person->installation ||
	    strcmp(person->installation, lane->edge->installation) != 0)
		return HR_NONE;
	*native = person->native;
	return HR_OK;
}

/* Only after `find`, in the same turn: the person is known. */
static const char *more(void *ctx, const struct envelope *envelope)
{
	const struct lane *lane = ctx;
	const struct person *person = NULL;

	return registry_find(lane->edge->options.registry, PEOPLE_ADDRESS,
			     address_text_bare(envelope->f.to), &person) == HR_OK
		       ? away_asks(lane->edge->options.away, envelope, person)
		       : "";
}

static enum hr_status reroute(void *ctx, int64_t seq, struct envelope *envelope)
{
	const struct lane *lane = ctx;

	return switchboard_reroute(lane->edge->options.switchboard, lane->target, seq, envelope);
}

static enum hr_status bury(void *ctx, int64_t seq, struct envelope *envelope, const char *reason)
{
	const struct lane *lane = ctx;

	return switchboard_bury(lane->edge->options.switchboard, lane->target, seq, envelope,
				reason);
}

static size_t waiting(void *ctx)
{
	return lane_waiting(ctx);
}

static void barrier(void *ctx, int64_t seq)
{
	struct lane *lane = ctx;

	component_barrier(lane->component, seq, now_of(lane));
}

static size_t barriers(void *ctx)
{
	const struct lane *lane = ctx;

	return component_barriers(lane->component);
}

static const struct egress_ops egress_ops = {
	.find = find,
	.more = more,
	.reroute = reroute,
	.bury = bury,
	.write = do_write,
	.waiting = waiting,
	.barrier = barrier,
	.barriers = barriers,
};

static void on_timer(void *arg)
{
	struct lane *lane = arg;

	component_timeout(lane->component, now_of(lane));
}

struct lane *lane_new(struct xmpp_edge *edge, const char *domain)
{
	struct lane *lane = mem_new(struct lane);

	lane->edge = edge;
	lane->domain = str_dup(domain);
	lane->name = str_format("%s/%s", edge->installation, domain);
	lane->timer = timer_new(edge->loop, on_timer, lane);
	lane->source = switchboard_source(edge->options.switchboard, &edge->edge);
	lane->component = component_new(
		&(struct component_options){
			.domain = domain,
			.native_domain = edge->native_domain,
			.name = lane->name,
			.retry_max = edge->options.retry_max,
			.barrier_timeout = edge->options.barrier_timeout,
		},
		&component_ops, lane);
	lane->egress = egress_new(domain, &egress_ops, lane);
	scoped_str queue = str_format("xmpp:%s:%s", edge->installation, domain);
	lane->target = journal_target(edge->options.journal, queue);
	journal_consume(lane->target, pump, lane);
	component_pause(lane->component, edge->is_paused, now_of(lane));
	component_start(lane->component, now_of(lane));
	return lane;
}

void lane_free(struct lane *lane)
{
	if (!lane)
		return;
	if (lane_is_up(lane))
		on_down(lane, &(struct component_end){ .text = "taken away" });
	source_free(lane->source);
	desk_forget(lane->edge->options.desk, lane);
	loop_cancel(lane->edge->loop, pump, lane);
	journal_release(lane->target);
	egress_free(lane->egress);
	stream_free(lane->stream);
	timer_free(lane->timer);
	component_free(lane->component);
	free(lane->domain);
	free(lane->name);
	free(lane);
}

void lane_restart(struct lane *lane)
{
	component_restart(lane->component, now_of(lane));
}

void lane_pause(struct lane *lane, bool yes)
{
	component_pause(lane->component, yes, now_of(lane));
}

void lane_stop(struct lane *lane)
{
	component_stop(lane->component, now_of(lane));
}

bool lane_is_up(const struct lane *lane)
{
	return component_is_up(lane->component);
}

bool lane_is_idle(const struct lane *lane)
{
	const struct queue *queue = journal_queue(lane->target);

	return !queue || queue_sent(queue) == queue_acked(queue);
}

size_t lane_waiting(const struct lane *lane)
{
	return lane->stream ? stream_waiting(lane->stream) : 0;
}

void lane_write(struct lane *lane, struct slice bytes)
{
	component_write(lane->component, bytes);
}

void lane_answer(struct lane *lane, const struct stanza *asked, struct slice payload)
{
	scoped_buf out = BUF_INIT(0);

	if (!lane_is_up(lane))
		return;
	stanza_write(&out, &(struct stanza){
				   .kind = asked->kind,
				   .from = asked->to,
				   .to = asked->from,
				   .id = asked->id,
				   .type = slice_lit("result"),
				   .payload = payload,
			   });
	lane_write(lane, buf_slice(&out));
}

void lane_refuse(struct lane *lane, const struct stanza *stanza, enum bounce bounce,
		 const char *text)
{
	scoped_buf out = BUF_INIT(0);

	if (lane_is_up(lane) && stanza_write_error(&out, stanza, bounce, text) == HR_OK)
		lane_write(lane, buf_slice(&out));
}
