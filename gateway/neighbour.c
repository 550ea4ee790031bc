/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/neighbour.h"

#include "base/log.h"
#include "federation/address.h"
#include "schema/journal.h"

enum {
	DIRECT_MAX = 4096, /* presences and queries of one site that may wait for a look-up */
	DIRECT_BYTES_MAX = 16 * 1024 * 1024,
};

struct item {
	struct item *next;
	struct envelope *envelope; /* owned */
	int64_t seq;		   /* in the neighbour's journal; 0: direct */
};

struct inbox {
	struct item *first, **last;
	size_t count, bytes;
};

struct neighbour {
	const struct dispatch *dispatch;
	struct content *content; /* borrowed */
	char *site;
	bool held;	    /* this gateway has the lease of the link */
	struct inbox inbox; /* from its journal */
	struct inbox direct;
	struct journal_target *target;
	int64_t taken, put, committed; /* seqs: taken in, given to the journal, committed */
	char *incarnation;	       /* counted in; NULL: none yet */
	char *greeting;		       /* the incarnation of a HELLO not answered yet, or NULL */
	bool asking;		       /* for the resume position */
};

static void inbox_add(struct inbox *inbox, struct item *item)
{
	if (!inbox->first)
		inbox->last = &inbox->first;
	*inbox->last = item;
	inbox->last = &item->next;
	inbox->count++;
	inbox->bytes += item->envelope->packed.len;
}

static void inbox_drop(struct inbox *inbox)
{
	struct item *item = inbox->first;

	inbox->first = item->next;
	inbox->count--;
	inbox->bytes -= item->envelope->packed.len;
	envelope_free(item->envelope);
	free(item);
}

/* An answer to something that came over a link and was not journaled: back over that link. */
static void answer_direct(struct neighbour *neighbour, const struct envelope *envelope,
			  enum bounce bounce, const char *text)
{
	struct link *link = links_find(neighbour->dispatch->links, neighbour->site);
	scoped(envelope) answer = NULL;
	struct hr_err err;

	if (envelope_bounce(envelope, bounce, text, time_usec(), &answer) != HR_OK || !link) {
		metric_add(&dispatch_metrics[DISPATCH_DROPPED], 1);
		return;
	}
	struct route back = { .kind = ROUTE_SITE, .site = neighbour->site };
	scoped(envelope) hopped = dispatch_hop(neighbour->dispatch, answer, &back);

	if (link_send_direct(link, hopped, &err) == HR_OK)
		metric_add(&dispatch_metrics[DISPATCH_BOUNCED], 1);
	else
		metric_add(&dispatch_metrics[DISPATCH_DROPPED], 1);
}

/* --- from a link ----------------------------------------------------------------------------- */

/* The site that may have begun it: where the sender is at home, or which carries the mail of the
 * sender's people, as their own site says. NULL: it was another. */
static const char *speaks_from(const struct neighbour *neighbour, const struct envelope_fields *f,
			       const struct person *from)
{
	const struct config_mail *mail;

	if (slice_is(f->hops[0], from->site))
		return from->site;
	mail = config_find_mail(registry_config(neighbour->dispatch->registry), from->site,
				address_text_domain(f->from));
	return mail && slice_is(f->hops[0], mail->carrier) ? mail->carrier : NULL;
}

/* A site may speak for the people whom the registry homes there, directly or as the next hop on
 * our way to them, and for those whose mail it carries. An error comes in the name of the
 * recipient, who may have moved or never been.
 */
static bool may_speak(const struct neighbour *neighbour, const struct envelope *envelope,
		      const struct person *from)
{
	const struct routes *routes = registry_routes(neighbour->dispatch->registry);
	const struct envelope_fields *f = &envelope->f;

	if (f->hop_count == 0 || !slice_is(f->hops[f->hop_count - 1], neighbour->site))
		return false;
	if (envelope_is_error(envelope)) /* from whoever had to give it up on its way */
		return true;
	if (!from)
		return false;
	const char *site = speaks_from(neighbour, f, from);
	if (!site)
		return false;
	const char *next = route_next_site(routes, site);

	return next && strcmp(next, neighbour->site) == 0;
}

/* Commits a journaled item's place in what the neighbour sends, with what it led to, if anything.
 */
static void put_entry(struct neighbour *neighbour, const struct item *item,
		      struct journal_entry *entry)
{
	neighbour->put = item->seq;
	entry->origin = neighbour->site;
	entry->origin_seq = item->seq;
	journal_put(neighbour->dispatch->journal, entry);
}

static void put_item(struct neighbour *neighbour, const struct item *item,
		     struct journal_target *target, struct envelope *envelope)
{
	put_entry(
		neighbour, item,
		&(struct journal_entry){ .target = target, .envelope = target ? envelope : NULL });
}

static void bounce_item(struct neighbour *neighbour, const struct item *item, enum bounce bounce,
			const char *text)
{
	const struct dispatch *dispatch = neighbour->dispatch;
	struct route back = { .kind = ROUTE_SITE, .site = neighbour->site };
	scoped(envelope) answer = NULL;

	if (!item->seq) {
		answer_direct(neighbour, item->envelope, bounce, text);
		return;
	}
	if (envelope_bounce(item->envelope, bounce, text, time_usec(), &answer) != HR_OK) {
		metric_add(&dispatch_metrics[DISPATCH_DROPPED], 1);
		put_item(neighbour, item, NULL, NULL);
		return;
	}
	scoped(envelope) hopped = dispatch_hop(dispatch, answer, &back);

	metric_add(&dispatch_metrics[DISPATCH_BOUNCED], 1);
	put_item(neighbour, item, neighbour->target, hopped);
}

static void send_item(struct neighbour *neighbour, const struct item *item,
		      const struct dispatch_people *people)
{
	const struct dispatch *dispatch = neighbour->dispatch;
	struct envelope *envelope = item->envelope;
	struct route route = dispatch_decide(dispatch, envelope, people);
	scoped(envelope) hopped = dispatch_hop(dispatch, envelope, &route);
	struct journal_target *target = dispatch_target(dispatch, &route, envelope->f.from);
	struct hr_err err;

	if (route.kind == ROUTE_BOUNCE) {
		bounce_item(neighbour, item, route.bounce, route.reason);
		return;
	}
	if (!target) {
		bounce_item(neighbour, item, BOUNCE_NOT_ALLOWED,
			    "the sender's address is in no federated domain");
		return;
	}
	dispatch_count(envelope);
	if (item->seq) {
		struct journal_entry entry = { .target = target, .envelope = hopped };

		dispatch_away(dispatch, envelope, &route, people, &entry);
		put_entry(neighbour, item, &entry);
	} else if (dispatch_direct(dispatch, hopped, &route, people->to, &err) != HR_OK) {
		answer_direct(neighbour, envelope, BOUNCE_REMOTE_TIMEOUT, err.text);
	}
}

/* True: the payload may not stand in a stanza, and the item went back. */
static bool refuse_payload(struct neighbour *neighbour, const struct item *item)
{
	const struct envelope_fields *f = &item->envelope->f;
	struct hr_err why;

	if (content_check(neighbour->content, f->payload, &why) == HR_OK)
		return false;
	metric_add(&dispatch_metrics[DISPATCH_REFUSED_PAYLOAD], 1);
	log_warn("dispatch.payload_refused", LOG_STR("site", neighbour->site),
		 LOG_SLICE("from", f->from), LOG_ERR(&why));
	bounce_item(neighbour, item, BOUNCE_BAD_REQUEST,
		    "the payload is not well-formed XML that may stand in a stanza");
	return true;
}

static enum hr_status handle_item(struct neighbour *neighbour, const struct item *item)
{
	const struct dispatch *dispatch = neighbour->dispatch;
	struct dispatch_people people;

	if (item->seq && !journal_is_flowing(dispatch->journal))
		return HR_RETRY;
	if (dispatch_find(dispatch, item->envelope, &people) != HR_OK)
		return HR_RETRY;
	if (may_speak(neighbour, item->envelope, people.from)) {
		if (!refuse_payload(neighbour, item))
			send_item(neighbour, item, &people);
		return HR_OK;
	}
	metric_add(&dispatch_metrics[DISPATCH_REFUSED_SENDER], 1);
	log_warn("dispatch.sender_refused", LOG_SLICE("from", item->envelope->f.from),
		 LOG_STR("site", neighbour->site));
	bounce_item(neighbour, item, BOUNCE_NOT_ALLOWED,
		    "the registry does not home the sender at the site that sent this");
	return HR_OK;
}

static void handle_inbox(struct neighbour *neighbour, struct inbox *inbox)
{
	while (inbox->first && handle_item(neighbour, inbox->first) == HR_OK)
		inbox_drop(inbox);
}

static void bring(struct neighbour *neighbour, struct inbox *inbox, int64_t seq,
		  struct envelope *envelope)
{
	struct dispatch_people people;
	struct item *item = mem_new(struct item);

	item->envelope = envelope;
	item->seq = seq;
	inbox_add(inbox, item);
	if (inbox->first == item)
		handle_inbox(neighbour, inbox);
	else /* its people are asked for while it waits its turn */
		dispatch_find(neighbour->dispatch, envelope, &people);
}

void neighbour_envelope(struct neighbour *neighbour, int64_t seq, struct envelope *envelope)
{
	if (!neighbour->held) {
		envelope_free(envelope); /* the peer keeps it: its place is never committed here */
		return;
	}
	neighbour->taken = seq;
	bring(neighbour, &neighbour->inbox, seq, envelope);
}

void neighbour_direct(struct neighbour *neighbour, struct envelope *envelope)
{
	if (neighbour->held && neighbour->direct.count < DIRECT_MAX &&
	    neighbour->direct.bytes < DIRECT_BYTES_MAX && envelope->f.kind != ENVELOPE_MESSAGE) {
		bring(neighbour, &neighbour->direct, 0, envelope);
		return;
	}
	if (neighbour->held)
		answer_direct(neighbour, envelope, BOUNCE_RESOURCE_CONSTRAINT,
			      "too many queries are waiting at the recipient's site");
	envelope_free(envelope);
}

/* --- where a session resumes ------------------------------------------------------------------ */

static void answer_hello(struct neighbour *neighbour);

static void got_position(void *arg, enum hr_status status, int64_t position,
			 const struct hr_err *err)
{
	struct neighbour *neighbour = arg;

	neighbour->asking = false;
	if (status != HR_OK) { /* asked again at the next tick */
		free(give(neighbour->incarnation));
		log_warn("link.position_unknown", LOG_STR("site", neighbour->site), LOG_ERR(err));
		return;
	}
	neighbour->taken = neighbour->put = neighbour->committed = position;
	journal_origin(neighbour->dispatch->journal, neighbour->site, position);
	answer_hello(neighbour);
}

/* Not before everything taken in the session before is committed: what the peer is told here, it
 * forgets. */
static void answer_hello(struct neighbour *neighbour)
{
	const struct dispatch *dispatch = neighbour->dispatch;
	struct link *link = links_find(dispatch->links, neighbour->site);

	if (!neighbour->greeting || neighbour->asking || !neighbour->held || !link ||
	    neighbour->inbox.first || neighbour->taken != neighbour->committed)
		return;
	if (neighbour->incarnation && strcmp(neighbour->incarnation, neighbour->greeting) == 0) {
		free(give(neighbour->greeting));
		link_resume(link, neighbour->committed);
		return;
	}
	free(neighbour->incarnation);
	neighbour->incarnation = str_dup(neighbour->greeting);
	neighbour->asking = true;
	journal_position(dispatch->pg, slice_str(neighbour->site),
			 slice_str(neighbour->incarnation), got_position, neighbour);
}

void neighbour_hello(struct neighbour *neighbour, const char *incarnation)
{
	free(neighbour->greeting);
	neighbour->greeting = str_dup(incarnation);
	answer_hello(neighbour);
}

void neighbour_position(struct neighbour *neighbour, int64_t seq)
{
	struct link *link = links_find(neighbour->dispatch->links, neighbour->site);

	neighbour->committed = seq;
	if (link)
		link_committed(link, seq);
	answer_hello(neighbour);
}

/* --- whether the link is ours -------------------------------------------------------------------
 */

static void ready(void *arg)
{
	struct neighbour *neighbour = arg;
	struct link *link = links_find(neighbour->dispatch->links, neighbour->site);

	if (link)
		link_send(link);
}

void neighbour_hold(struct neighbour *neighbour)
{
	struct link *link = links_find(neighbour->dispatch->links, neighbour->site);

	if (link)
		link_attach(link, neighbour->target);
	if (neighbour->held)
		return;
	neighbour->held = true;
	journal_consume(neighbour->target, ready, neighbour);
}

void neighbour_let_go(struct neighbour *neighbour)
{
	if (neighbour->held)
		journal_release(neighbour->target);
	neighbour->held = false;
	while (neighbour->inbox.first)
		inbox_drop(&neighbour->inbox);
	while (neighbour->direct.first)
		inbox_drop(&neighbour->direct);
	neighbour->taken =
		neighbour->put; /* the rest is forgotten: it comes again, to whom it may */
	free(give(neighbour->incarnation));
	free(give(neighbour->greeting));
}

void neighbour_go_on(struct neighbour *neighbour)
{
	handle_inbox(neighbour, &neighbour->inbox);
	handle_inbox(neighbour, &neighbour->direct);
	answer_hello(neighbour);
}

bool neighbour_is_idle(const struct neighbour *neighbour)
{
	return !neighbour->inbox.first;
}

struct neighbour *neighbour_new(const struct dispatch *dispatch, struct content *content,
				const char *site)
{
	struct neighbour *neighbour = mem_new(struct neighbour);

	neighbour->dispatch = dispatch;
	neighbour->content = content;
	neighbour->site = str_dup(site);
	neighbour->target = dispatch_site_target(dispatch, site);
	return neighbour;
}

void neighbour_free(struct neighbour *neighbour)
{
	if (!neighbour)
		return;
	neighbour_let_go(neighbour);
	free(neighbour->site);
	free(neighbour);
}
