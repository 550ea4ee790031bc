/* SPDX-License-Identifier: Apache-2.0 */
/* Site links: one ZeroMQ connection with CURVE to each peer site, both directions on it. A session
 * begins with Hello and Resume both ways; then batches from the journal queue of the peer,
 * acknowledged when the other side has committed them, and direct traffic. A session that ends
 * (heartbeat, Bye, bad frame) is forgotten; the next Resume says where to go on. What was handed to
 * the owner is not handed over again while the link stays configured, so the owner commits it. */
#pragma once

#include "base/loop.h"
#include "base/metric.h"
#include "federation/envelope.h"
#include "federation/journal.h"

struct links;
struct link;

struct links_options {
	const char *site, *node;
	const char *listen;	/* tcp://address:port, or NULL: only dials */
	const char *secret_key; /* CURVE, Z85, 40 characters */
	msec heartbeat;		/* 0: 5 s; a link silent for three of them is down */
	msec retry_max;		/* longest pause between dials; 0: 30 s */
};

struct link_peer {
	const char *site;
	bool dial;
	char *const *endpoints;	  /* NULL-terminated; used when dial */
	char *const *public_keys; /* Z85, NULL-terminated; a connection must prove one of them */
};

enum link_metric {
	LINK_FRAMES_IN,
	LINK_FRAMES_OUT,
	LINK_BYTES_IN,
	LINK_BYTES_OUT,
	LINK_ENVELOPES_IN,
	LINK_ENVELOPES_OUT,
	LINK_DIRECT_IN,
	LINK_DIRECT_OUT,
	LINK_REFUSED_KEYS,
	LINK_REFUSED_FRAMES,
	LINK_REPLAYED,
	LINK_PEER_AHEAD,
	LINK_SESSIONS,
	LINK_METRICS
};
extern struct metric link_metrics[LINK_METRICS];

struct links_events {
	void (*state)(void *ctx, struct link *link, bool up, const char *reason); /* each change */
	/* A session begins: the peer sends from its queue `incarnation`. The owner finds the resume
	 * position and answers with link_resume; until then the peer sends nothing. */
	void (*hello)(void *ctx, struct link *link, const char *incarnation);
	/* A journaled envelope, in order, each seq once; taken. The owner calls link_committed when
	 * it (or a later one) is committed. When `seq` skips some, the peer let them expire. */
	void (*envelope)(void *ctx, struct link *link, int64_t seq, struct envelope *envelope);
	void (*direct)(void *ctx, struct link *link, struct envelope *envelope); /* taken */
};

HR_MUST_USE enum hr_status links_new(struct loop *loop, const struct links_options *options,
				     const struct links_events *events, void *ctx,
				     struct links **out, struct hr_err *err);
void links_free(struct links *links); /* says Bye; no event follows; not inside an event */
DEFINE_SCOPED(links)

/* The whole set of peers; those gone are closed, changed ones are redialled when keys or endpoints
 * that are in use have gone. Copies. */
void links_configure(struct links *links, const struct link_peer *peers, size_t n);
struct link *links_find(struct links *links, const char *site); /* NULL: no such link */
const char *links_endpoint(const struct links *links); /* where it listens; NULL: only dials */
const char *link_site(const struct link *link);
bool link_is_up(const struct link *link);
const char *link_reason(const struct link *link); /* why it is down; "" when up */

/* The queue that the link sends from; its `ready` is to call link_send. Without one, or with NULL,
 * a link does not dial and takes no session: another gateway of the site may have it. */
void link_attach(struct link *link, struct journal_target *target);

/* The same with a queue that is kept elsewhere than in the journal. */
struct link_source {
	struct queue *(*queue)(void *arg);     /* NULL: not open */
	const char *(*incarnation)(void *arg); /* NULL: not open */
	bool (*ack)(void *arg, int64_t seq);   /* as journal_ack */
	void (*offer)(void *arg, bool yes);    /* as journal_offer; NULL: nobody asks later */
};
void link_attach_source(struct link *link, const struct link_source *source, void *arg);

void link_send(struct link *link); /* sends what the queue and the peer's window allow */
/* Answers `hello`: what the peer sent up to `position` is committed here. */
void link_resume(struct link *link, int64_t position);
void link_committed(struct link *link, int64_t seq);
/* No more batches are wanted for now: the window is closed until flowing again. */
void links_flow(struct links *links, bool yes);

/* Presence or query, at once; a reference is taken. HR_RETRY: the link is down. HR_FAIL: the peer
 * takes no more now. */
HR_MUST_USE enum hr_status link_send_direct(struct link *link, struct envelope *envelope,
					    struct hr_err *err);

/* A fresh CURVE key pair, Z85, 40 characters and NUL each. */
HR_MUST_USE enum hr_status link_key_generate(char public_key[41], char secret_key[41],
					     struct hr_err *err);
