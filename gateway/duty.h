/* SPDX-License-Identifier: Apache-2.0 */
/* What a gateway does for its site: each installation, the mail of each domain carried here and
 * each link is the duty of exactly one gateway, which holds its lease in PostgreSQL. A lease goes
 * with the connection that took it, so the duties of a dead gateway are taken over by those that
 * wait for them. */
#pragma once

#include "base/loop.h"
#include "base/pg.h"
#include "federation/journal.h"

enum duty_kind { DUTY_INSTALLATION, DUTY_MAIL, DUTY_LINK };

struct duties;

struct duties_events {
	void (*taken)(void *ctx, enum duty_kind kind, const char *name);
	/* Somebody else has it now, or it is no longer wanted. */
	void (*lost)(void *ctx, enum duty_kind kind, const char *name);
};

/* `pg` is borrowed: the connection on which `journal` commits, so that a lease lost is a commit
 * lost. The journal is borrowed too: a lease is given back once what was put before is committed,
 * so that whoever takes it finds all that its holder did. */
struct duties *duties_new(struct loop *loop, struct pg *pg, struct journal *journal,
			  const struct duties_events *events, void *ctx);
void duties_free(struct duties *duties); /* no events */
DEFINE_SCOPED(duties)

/* The whole set that is wanted: duties_begin, duties_want for each, duties_end. What is wanted no
 * longer is lost at once, and its lease is given back. */
void duties_begin(struct duties *duties);
void duties_want(struct duties *duties, enum duty_kind kind, const char *name);
void duties_end(struct duties *duties);
void duties_up(struct duties *duties); /* connected (again): every lease is to be taken (again) */
bool duties_hold(const struct duties *duties, enum duty_kind kind, const char *name);
