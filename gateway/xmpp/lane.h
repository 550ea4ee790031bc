/* SPDX-License-Identifier: Apache-2.0 */
/* One federated domain on one installation: the component stream, the source of what it brings
 * and the consumer of the journal queue xmpp:INSTALLATION:DOMAIN. Private to gateway/xmpp. */
#pragma once

#include "base/buf.h"
#include "base/stream.h"
#include "gateway/xmpp/component.h"
#include "gateway/xmpp/edge.h"
#include "gateway/xmpp/sightings.h"
#include "gateway/xmpp/stanza.h"

struct lane;

struct xmpp_edge {
	struct edge edge; /* the first: see gateway/edge.h */
	struct loop *loop;
	struct xmpp_edge_options options;			 /* secrets is owned */
	char *installation, *native_domain, *host, *secret, *ca; /* owned; ca may be NULL */
	int32_t port;
	bool tls;
	msec message_expiry;
	struct lane **lanes; /* owned */
	size_t lane_count;
	bool is_paused, is_draining;
	struct sightings *sightings;
	struct timer *sightings_timer;
};

struct lane {
	struct xmpp_edge *edge;
	char *domain, *name; /* owned; name: "installation/domain" */
	struct component *component;
	struct stream *stream; /* NULL: no connection */
	struct timer *timer;
	struct source *source;
	struct journal_target *target;
	struct egress *egress;
};

struct lane *lane_new(struct xmpp_edge *edge, const char *domain); /* begins to connect */
void lane_free(struct lane *lane); /* cuts the connection; NULL is fine */
DEFINE_SCOPED(lane)
void lane_later(struct lane *lane); /* looks at the queue at the end of this turn */
void lane_restart(struct lane *lane);
void lane_pause(struct lane *lane, bool yes);
void lane_stop(struct lane *lane); /* ends the stream in good order */
bool lane_is_up(const struct lane *lane);
bool lane_is_idle(const struct lane *lane);   /* nothing is sent and not acknowledged */
size_t lane_waiting(const struct lane *lane); /* bytes not yet given to the kernel */
void lane_write(struct lane *lane, struct slice bytes);
/* The result of a query, on this stream if it is up. */
void lane_answer(struct lane *lane, const struct stanza *asked, struct slice payload);
/* Answers `stanza` with an error on this stream, if it may be answered. */
void lane_refuse(struct lane *lane, const struct stanza *stanza, enum bounce bounce,
		 const char *text);
