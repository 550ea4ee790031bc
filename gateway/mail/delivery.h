/* SPDX-License-Identifier: Apache-2.0 */
/* The way of one mail to one recipient into the chat: finds its author and conversation, brings it
 * to the switchboard, and tells what became of it, once: LMTP_OK when it is committed. */
#pragma once

#include "gateway/mail/incoming.h"
#include "gateway/switchboard.h"

/* Who a recipient of LMTP is: found out at RCPT. */
struct addressee {
	const char *domain;	   /* owned, as the rest: the e-mail domain */
	const char *person, *peer; /* federation addresses; person NULL: whoever writes */
	int64_t thread;		   /* of a reply address; 0: local@chat domain */
};
void addressee_clear(struct addressee *addressee);

struct deliveries;
struct deliveries_options {
	const struct dispatch *dispatch;
	struct switchboard *switchboard;
	msec patience; /* with a database that is away; 0: 10 s */
};
/* `told` is called with the `arg` of the delivery, or not at all once deliveries_forget has been
 * called with it. */
typedef void delivery_fn(void *ctx, uint64_t visit, uint64_t id, enum lmtp_answer answer,
			 const char *text);

/* `edge`: the edge that brings; its switchboard ops are forwarded to the calls below. */
struct deliveries *deliveries_new(struct loop *loop, const struct deliveries_options *options,
				  struct edge *edge, delivery_fn *told, void *ctx);
void deliveries_free(struct deliveries *deliveries); /* nobody is told */
DEFINE_SCOPED(deliveries)

/* Takes a reference to the mail; copies the addressee. `visit` and `id` say who is to be told. */
void deliveries_begin(struct deliveries *deliveries, struct incoming *incoming,
		      const struct addressee *addressee, uint64_t visit, uint64_t id);
void deliveries_go_on(struct deliveries *deliveries); /* people have arrived, or time has passed */
bool deliveries_are_idle(const struct deliveries *deliveries);

/* From edge_ops; `item` is a delivery. */
enum hr_status deliveries_translate(void *item, const struct edge_people *people,
				    struct envelope **out, struct hr_err *err);
void deliveries_refuse(void *item, enum bounce bounce, const char *text);
void deliveries_committed(void *item);
void deliveries_done(void *item);

/* Of a gateway's deliveries, for answers of the database: given by the edge that owns them. */
struct deliveries *postbox_deliveries(const struct dispatch *dispatch); /* NULL: gone */
