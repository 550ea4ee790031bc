/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of Active Directory that have changed, by objectGUID, to be read again: each once,
 * however often it was named. Pure. */
#pragma once

#include "base/buf.h"
#include "directory/anchor.h"

enum { GUIDS_MAX = 50000 }; /* the most that are kept */

struct guid {
	unsigned char bytes[ANCHOR_RAW];
	bool moved; /* it was there before, and is elsewhere now: others may be below it or in it */
	bool found; /* by whoever reads them again */
};

struct guids {
	struct guid *at; /* owned; sorted once settled */
	size_t n, size;
	bool incomplete; /* there were more than GUIDS_MAX, or some that cannot be named */
};

void guids_clear(struct guids *guids); /* frees what is in it, not itself */
/* `bytes` that are no objectGUID are left out. */
void guids_add(struct guids *guids, struct slice bytes, bool moved);
void guids_settle(struct guids *guids); /* sorts, and drops what is twice */
struct guid *guids_find(struct guids *guids, struct slice bytes); /* settled; NULL: not there */
/* (&FILTER(|(objectGUID=...)...)) with those of a part. False: there are none. */
struct guids_part {
	size_t from, n;
	bool moved_only; /* leave out who was found, and who has not moved */
};
bool guids_filter(const struct guids *guids, struct guids_part part, const char *filter,
		  struct buf *out);
