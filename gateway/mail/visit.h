/* SPDX-License-Identifier: Apache-2.0 */
/* One LMTP connection: the session (gateway/mail/lmtp.h) on its socket, and who its recipients are.
 * Private to the postbox. */
#pragma once

#include "gateway/mail/delivery.h"
#include "gateway/mail/postbox.h"

struct visit;

/* What visits share; all borrowed. */
struct visit_host {
	struct loop *loop;
	const struct postbox_options *options;
	struct deliveries *deliveries;
	struct room *room;
	void (*ended)(void *ctx, struct visit *visit); /* the connection is gone: visit_free it */
	void *ctx;
};

/* Takes the connection. `serial`: never used before. */
struct visit *visit_new(const struct visit_host *host, uint64_t serial, struct conn *conn);
void visit_free(struct visit *visit);
uint64_t visit_serial(const struct visit *visit);
void visit_shutdown(struct visit *visit); /* says 421 as soon as it may */
/* People have arrived, or time has passed: recipients that wait are looked at again. */
void visit_go_on(struct visit *visit);
/* What became of the mail to a recipient. */
void visit_answer(struct visit *visit, uint64_t id, enum lmtp_answer answer, const char *text);
/* The conversation of a reply address was looked up; NULL: there is none. */
void visit_found(struct visit *visit, uint64_t id, enum hr_status status, struct slice person,
		 struct slice peer);

/* Of a gateway's postbox; NULL: gone. */
struct visit *postbox_visit(const struct dispatch *dispatch, uint64_t serial);
