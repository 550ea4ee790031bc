/* SPDX-License-Identifier: Apache-2.0 */
/* What link.c (one link: its dial, its session, its state) and links.c (all of them: who may
 * connect, the listener, the configuration) share. For these two only. */
#pragma once

#include "base/map.h"
#include "federation/frame.h"
#include "federation/link.h"
#include "federation/link_socket.h"
#include "federation/link_zap.h"
#include "federation/session.h"

enum { LINK_HANDSHAKE_MS = 10 * 1000 }; /* of ZeroMQ, TCP included */

struct link_refusals {
	msec logged;  /* the last time; 0: never */
	int64_t more; /* since then */
};

struct links {
	struct loop *loop;
	char *site, *node, *secret_key; /* owned */
	msec heartbeat, retry_max;
	struct links_events events;
	void *ctx;
	void *context; /* of ZeroMQ, owned */
	struct frame_codec *codec;
	struct link_zap *zap;	      /* NULL: only dials */
	struct link_socket *listener; /* NULL: only dials */
	struct map *sites, *keys;     /* of links, which `sites` owns; by name, by public key */
	struct map *told;	      /* the connections that had a Bye outside of a session */
	bool flowing, closing;
	struct link_refusals refused_keys, refused_frames;
};

struct link {
	struct links *links;
	char *site; /* owned */
	bool dial;
	char **endpoints, **keys;	  /* owned, NULL-terminated */
	const struct link_source *source; /* NULL: not attached */
	void *source_arg;
	struct session *session;
	int state;	     /* enum state of link.c */
	struct timer *timer; /* of the dial, the pause, or the session */

	struct link_socket *dialed; /* DIALING, DIALED */
	struct slice route;	    /* HOSTING: its data is owned */
	char *key;		    /* owned; what the peer has proven or is to prove; NULL: none */
	msec up_since;

	size_t attempt;		      /* which endpoint with which key is next */
	msec pause;		      /* after all were tried; 0 after a good session */
	struct hr_err reason, logged; /* why it is down, and as the log has it */
};

struct link *link_new(struct links *links, const char *site);
/* Says Bye, and goes from links->sites; its memory goes at the end of the turn. */
void link_remove(struct link *link, const char *reason);
/* Copies. The caller then makes links->keys, then calls link_review. */
void link_configure(struct link *link, const struct link_peer *peer);
/* Drops a connection that the configuration does not allow any more, dials if it is to. */
void link_review(struct link *link);

/* What came on the link's own connection: bytes, or a frame already decoded. */
void link_receive(struct link *link, struct slice bytes);
void link_take(struct link *link, const struct frame *frame);
bool link_is_current(const struct link *link, struct slice route);
/* A Hello on another connection: it is the link's from now on. HR_FAIL: refused, for that reason.
 */
HR_MUST_USE enum hr_status link_host(struct link *link, const struct link_message *message,
				     struct hr_err *err);
