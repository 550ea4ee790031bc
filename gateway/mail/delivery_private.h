/* SPDX-License-Identifier: Apache-2.0 */
/* Between the way of a delivery (delivery.c) and what the database is asked and told of its
 * conversation (conversation.c). */
#pragma once

#include "base/map.h"
#include "gateway/mail/delivery.h"

enum delivery_state {
	DELIVERY_FINDS,	  /* its author */
	DELIVERY_FOLLOWS, /* another, which is the same for the chat */
	DELIVERY_ASKS,	  /* the conversation */
	DELIVERY_BROUGHT, /* to the switchboard */
	DELIVERY_NOTES,	  /* that it is committed */
};

struct delivery {
	struct deliveries *deliveries;
	uint64_t serial; /* its key in deliveries->by_serial */
	uint64_t visit, id;
	struct incoming *incoming;
	struct addressee addressee;
	struct delivery *next; /* in the line of those that follow the same one */
	enum delivery_state state;
	msec since;
	bool told;
	char *from, *to, *stanza_id; /* owned; to and stanza_id as an error needs them */
	struct failed *more;	     /* owned: what else is to be told once this is committed */
	struct buf payload;
};

/* A message in a mail that has failed. */
struct failed {
	struct failed *next;
	char *to, *stanza_id; /* owned */
};

struct deliveries {
	struct loop *loop;
	struct deliveries_options options;
	struct source *source; /* NULL: at the end */
	struct map *by_serial;
	struct map *leaders; /* mail and peer -> the delivery that others may follow */
	uint64_t last_serial;
	delivery_fn *told;
	void *ctx;
};

struct delivery *delivery_find(const struct dispatch *dispatch, uint64_t serial); /* NULL: gone */
/* The settings of the recipient's domain; NULL: they are gone. */
const struct config_mail *delivery_settings(const struct delivery *delivery);
/* Its end, unless the switchboard has it: its recipient is answered. */
void delivery_end(struct delivery *delivery, enum lmtp_answer answer, const char *text);
void delivery_drop(struct delivery *delivery, const char *why); /* taken, and becomes nothing */
void delivery_bring(struct delivery *delivery);			/* to the switchboard */

/* Whether another delivery of the mail becomes the same message, or error: then it follows that
 * one, and its recipient is answered the same. Else others may follow it from now on. */
bool delivery_follows(struct delivery *delivery);

/* Asks what the message, or the error that a report becomes, needs to know; then it is brought, or
 * ends. */
void conversation_ask(struct delivery *delivery);
void conversation_ask_report(struct delivery *delivery, const struct config_mail *mail);
/* It has become chat: that is remembered, with the mail where it is kept; then it ends. Were it the
 * other way round, what is refused would leave a trace. */
void conversation_note(struct delivery *delivery);
