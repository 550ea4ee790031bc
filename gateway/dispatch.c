/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/dispatch.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "federation/policy.h"

enum { EXPIRE_AT_ONCE = 512 }; /* envelopes of one queue bounced in one turn */

struct metric dispatch_metrics[DISPATCH_METRICS] = {
	[DISPATCH_MESSAGES] = { "dispatch_messages_total", "Messages accepted", 0, false },
	[DISPATCH_PRESENCES] = { "dispatch_presences_total", "Presences passed on", 0, false },
	[DISPATCH_QUERIES] = { "dispatch_queries_total", "Queries passed on", 0, false },
	[DISPATCH_BOUNCED] = { "dispatch_bounced_total", "Errors sent to senders", 0, false },
	[DISPATCH_EXPIRED] = { "dispatch_expired_total", "Messages expired on the way", 0, false },
	[DISPATCH_DROPPED] = { "dispatch_dropped_total", "Stanzas that nothing may answer, dropped",
			       0, false },
	[DISPATCH_REFUSED_RULE] = { "dispatch_refused_rule_total", "Refused by a rule", 0, false },
	[DISPATCH_REFUSED_SENDER] = { "dispatch_refused_sender_total",
				      "Refused: not the sender's installation or site", 0, false },
	[DISPATCH_REFUSED_PAYLOAD] = { "dispatch_refused_payload_total",
				       "Refused: a site sent a payload that is not well-formed", 0,
				       false },
	[DISPATCH_DEAD] = { "dispatch_dead_total", "Messages kept as dead letters", 0, false },
};

struct journal_target *dispatch_site_target(const struct dispatch *dispatch, const char *site)
{
	scoped_str name = str_format("link:%s", site);

	return journal_target(dispatch->journal, name);
}

/* The stream of an installation that carries what `from`'s domain sends. NULL: no such domain. */
static struct journal_target *stream_target(const struct dispatch *dispatch,
					    const struct config_installation *installation,
					    struct slice from)
{
	const struct config *config = registry_config(dispatch->registry);
	struct slice domain = address_text_domain(from);

	for (size_t i = 0; i < config->domain_count; i++) {
		if (!slice_is(domain, config->domains[i].name))
			continue;
		scoped_str name =
			str_format("xmpp:%s:%s", installation->name, config->domains[i].name);
		return journal_target(dispatch->journal, name);
	}
	return NULL;
}

static struct journal_target *mail_target(const struct dispatch *dispatch,
					  const struct config_mail *mail)
{
	scoped_str name = str_format("mail:%s", mail->domain);

	return journal_target(dispatch->journal, name);
}

struct journal_target *dispatch_target(const struct dispatch *dispatch, const struct route *route,
				       struct slice from)
{
	switch (route->kind) {
	case ROUTE_INSTALLATION:
		return stream_target(dispatch, route->installation, from);
	case ROUTE_MAIL:
		return mail_target(dispatch, route->mail);
	case ROUTE_SITE:
		return dispatch_site_target(dispatch, route->site);
	case ROUTE_BOUNCE:
		break;
	}
	return NULL;
}

/* A reply goes back where rules allow what it replies to. */
static bool is_answer(const struct envelope *envelope)
{
	return envelope_is_error(envelope) ||
	       (envelope->f.kind == ENVELOPE_IQ && slice_is(envelope->f.type, "result"));
}

struct route dispatch_bounce(enum bounce bounce, const char *reason)
{
	return (struct route){ .kind = ROUTE_BOUNCE, .bounce = bounce, .reason = reason };
}

static struct route refuse(const struct policy_question *question, const char *reason)
{
	metric_add(&dispatch_metrics[DISPATCH_REFUSED_RULE], 1);
	log_info("dispatch.refused", LOG_STR("from", question->from->address),
		 LOG_STR("to", question->to->address),
		 LOG_STR("kind", envelope_kind_name(question->kind)), LOG_STR("reason", reason));
	return dispatch_bounce(BOUNCE_NOT_ALLOWED, reason);
}

/* One of two may be an outsider; under which terms, the site of the other says. */
void dispatch_outsiders(const struct dispatch *dispatch, struct slice from, struct slice to,
			struct dispatch_people *people)
{
	if (!people->from && people->to)
		people->from = registry_outsider(dispatch->registry, address_text_bare(from),
						 people->to->site);
	else if (!people->to && people->from)
		people->to = registry_outsider(dispatch->registry, address_text_bare(to),
					       people->from->site);
}

enum hr_status dispatch_find(const struct dispatch *dispatch, const struct envelope *envelope,
			     struct dispatch_people *out)
{
	struct dispatch_people people = { 0 };
	enum hr_status from = registry_find(dispatch->registry, PEOPLE_ADDRESS,
					    address_text_bare(envelope->f.from), &people.from);
	enum hr_status to = registry_find(dispatch->registry, PEOPLE_ADDRESS,
					  address_text_bare(envelope->f.to), &people.to);

	if (!registry_config(dispatch->registry) || from == HR_RETRY || to == HR_RETRY)
		return HR_RETRY;
	dispatch_outsiders(dispatch, envelope->f.from, envelope->f.to, &people);
	*out = people;
	return HR_OK;
}

struct route dispatch_judge(const struct dispatch *dispatch, const struct envelope *envelope,
			    const struct dispatch_people *people)
{
	const struct config *config = registry_config(dispatch->registry);
	struct route route = route_find(registry_routes(dispatch->registry), people->to,
					address_text_domain(envelope->f.to));

	if (route.kind == ROUTE_MAIL && envelope->f.kind != ENVELOPE_MESSAGE)
		return dispatch_bounce(BOUNCE_RECIPIENT_UNAVAILABLE,
				       "this person is reached by e-mail only");
	if (route.kind == ROUTE_BOUNCE || (is_answer(envelope) && !people->from))
		return route;
	if (!people->from)
		return dispatch_bounce(BOUNCE_NOT_ALLOWED, "the sender is not in the registry");

	struct policy_question question = { .from = people->from,
					    .to = people->to,
					    .kind = envelope->f.kind };
	struct policy_answer answer = policy_ask(config, &question);

	if (!answer.allow && (is_answer(envelope) || people->to->outsider)) {
		/* to what was allowed: an outsider may be answered where he may write */
		const struct policy_question asked = { people->to, people->from, question.kind };
		answer = policy_ask(config, &asked);
	}
	return answer.allow ? route : dispatch_bounce(BOUNCE_NOT_ALLOWED, answer.reason);
}

struct route dispatch_decide(const struct dispatch *dispatch, const struct envelope *envelope,
			     const struct dispatch_people *people)
{
	struct route route = dispatch_judge(dispatch, envelope, people);

	if (route.kind == ROUTE_BOUNCE && route.bounce == BOUNCE_NOT_ALLOWED && people->from)
		return refuse(
			&(struct policy_question){ people->from, people->to, envelope->f.kind },
			route.reason);
	return route;
}

bool dispatch_permits(const struct dispatch *dispatch, struct slice to,
		      const struct dispatch_people *people, struct route *refusal)
{
	struct route route = route_find(registry_routes(dispatch->registry), people->to,
					address_text_domain(to));
	struct policy_question question = { people->from, people->to, ENVELOPE_IQ };

	if (route.kind == ROUTE_BOUNCE && route.bounce != BOUNCE_REMOTE_TIMEOUT) {
		*refusal = route;
		return false;
	}
	struct policy_answer answer = policy_ask(registry_config(dispatch->registry), &question);
	if (!answer.allow)
		*refusal = refuse(&question, answer.reason);
	return answer.allow;
}

bool dispatch_is_hopped(const struct dispatch *dispatch, const struct envelope *envelope)
{
	const struct envelope_fields *f = &envelope->f;

	return f->hop_count > 0 && slice_is(f->hops[f->hop_count - 1], dispatch->site);
}

struct envelope *dispatch_hop(const struct dispatch *dispatch, struct envelope *envelope,
			      struct route *route)
{
	struct envelope *hopped;
	struct hr_err err;

	if (route->kind != ROUTE_SITE || dispatch_is_hopped(dispatch, envelope))
		return envelope_ref(envelope);
	if (envelope_hop(envelope, dispatch->site, &hopped, &err) == HR_OK)
		return hopped;
	log_warn("dispatch.loop", LOG_SLICE("from", envelope->f.from),
		 LOG_SLICE("to", envelope->f.to), LOG_ERR(&err));
	*route =
		dispatch_bounce(BOUNCE_REMOTE_TIMEOUT, "the way to the recipient's site is a loop");
	return envelope_ref(envelope);
}

bool dispatch_away(const struct dispatch *dispatch, struct envelope *envelope,
		   const struct route *route, const struct dispatch_people *people,
		   struct journal_entry *entry)
{
	enum away_answer answer = AWAY_NOTHING;
	char *of = NULL;

	if (people->from)
		answer = away_answers(dispatch->away, envelope, people->from, &of);
	if (answer != AWAY_NOTHING) {
		entry->receipt = envelope;
		entry->receipt_of = of;
	}
	if (route->kind == ROUTE_INSTALLATION)
		away_defers(dispatch->away, envelope, people->to, &entry->later);
	return answer == AWAY_OURS;
}

void dispatch_count(const struct envelope *envelope)
{
	static const enum dispatch_metric of_kind[ENVELOPE_KINDS] = {
		[ENVELOPE_MESSAGE] = DISPATCH_MESSAGES,
		[ENVELOPE_PRESENCE] = DISPATCH_PRESENCES,
		[ENVELOPE_IQ] = DISPATCH_QUERIES,
	};

	metric_add(&dispatch_metrics[of_kind[envelope->f.kind]], 1);
}

/* --- presence and queries: at once or not at all ------------------------------------------- */

enum hr_status dispatch_direct(const struct dispatch *dispatch, struct envelope *envelope,
			       const struct route *route, const struct person *to,
			       struct hr_err *err)
{
	if (route->kind == ROUTE_SITE) {
		struct link *link = links_find(dispatch->links, route->site);

		if (!link)
			return err_set(err, HR_RETRY, "there is no link to site %s", route->site);
		return link_send_direct(link, envelope, err);
	}
	struct edge *edge = map_get(dispatch->edges, slice_str(route->installation->name));

	if (!edge)
		return err_set(err, HR_RETRY, "installation %s is not served here",
			       route->installation->name);
	return edge->ops->direct(edge, envelope, to, err);
}

/* --- what can't go where its queue leads --------------------------------------------------------
 */

enum hr_status dispatch_give_up(const struct dispatch *dispatch, struct journal_target *target,
				int64_t seq, struct envelope *envelope, struct route why)
{
	struct journal_entry entry = { .skip = target, .skip_seq = seq };
	const struct config *config = registry_config(dispatch->registry);
	const struct person *sender = NULL;
	scoped(envelope) answer = NULL;
	scoped(envelope) hopped = NULL;

	if (!config || registry_find(dispatch->registry, PEOPLE_ADDRESS,
				     address_text_bare(envelope->f.from), &sender) == HR_RETRY)
		return HR_RETRY;
	if (sender &&
	    envelope_bounce(envelope, why.bounce, why.reason, time_usec(), &answer) == HR_OK) {
		struct route back = route_find(registry_routes(dispatch->registry), sender,
					       address_text_domain(answer->f.to));

		hopped = dispatch_hop(dispatch, answer, &back);
		entry.target = dispatch_target(dispatch, &back, answer->f.from);
		entry.envelope = entry.target ? hopped : NULL;
	}
	metric_add(&dispatch_metrics[entry.target ? DISPATCH_BOUNCED : DISPATCH_DROPPED], 1);
	log_info("dispatch.gave_up", LOG_STR("queue", journal_target_name(target)),
		 LOG_INT("seq", seq), LOG_SLICE("from", envelope->f.from),
		 LOG_SLICE("to", envelope->f.to),
		 LOG_STR("condition", bounce_condition(why.bounce)), LOG_STR("reason", why.reason));
	journal_put(dispatch->journal, &entry);
	return HR_OK;
}

/* Bounces the first envelope of a queue when it has expired and is not on its way. */
static bool expire_first(const struct dispatch *dispatch, struct journal_target *target, usec now)
{
	struct queue *queue = journal_queue(target);
	int64_t seq;
	bool sent;
	struct envelope *envelope = queue ? queue_first(queue, &seq, &sent) : NULL;

	if (!envelope || sent || !envelope->f.expires || envelope->f.expires > now)
		return false;

	scoped(envelope) held = envelope_ref(envelope);
	bool handed = seq <= queue_handed(queue);

	if (dispatch_give_up(
		    dispatch, target, seq, held,
		    dispatch_bounce(
			    BOUNCE_REMOTE_TIMEOUT,
			    handed ? "not confirmed before it expired: it may have arrived"
				   : "the recipient's server could not be reached in time")) !=
	    HR_OK)
		return false;
	metric_add(&dispatch_metrics[DISPATCH_EXPIRED], 1);
	return true;
}

bool dispatch_expire(const struct dispatch *dispatch, usec now)
{
	struct journal_target *target;
	bool more = false;

	for (size_t at = 0; (target = journal_next_target(dispatch->journal, &at));) {
		int n = 0;

		while (n < EXPIRE_AT_ONCE && expire_first(dispatch, target, now))
			n++;
		more = more || n == EXPIRE_AT_ONCE;
	}
	return more;
}
