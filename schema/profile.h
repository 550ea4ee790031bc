/* SPDX-License-Identifier: Apache-2.0 */
/* What people may know of each other: for directory search and vCards. */
#pragma once

#include "base/pg.h"

enum { PROFILE_TEXT_MAX = 256 }; /* characters of each text but the address; more is cut */

/* Plain text as the directory has it: control characters are possible. data NULL: not known. */
struct profile {
	struct slice address; /* canonical federation address */
	struct slice email;   /* the same for mail, without the escapes of XEP-0106 */
	struct slice name, given_name, family_name, organization, department, title, telephone;
};

/* HR_OK: `profiles` is borrowed for the call; `more`: there may be others. Otherwise there are
 * none and err is as of pg_fn. */
typedef void profile_fn(void *arg, enum hr_status status, const struct profile *profiles,
			size_t count, bool more, const struct hr_err *err);

/* Those who have all the words (beginnings of names, without case and accents; or an address), and
 * to whom rules let `asker` send messages or queries; at most `most` of them, by name. */
void profile_search(struct pg *pg, struct slice asker, struct slice words, size_t most,
		    profile_fn *fn, void *arg);
/* Whoever has the canonical address: one profile or none. Asks no rules. */
void profile_find(struct pg *pg, struct slice address, profile_fn *fn, void *arg);

/* HR_OK; otherwise err is as of pg_fn and `more` false. */
typedef void profile_listed_fn(void *arg, enum hr_status status, bool more,
			       const struct hr_err *err);
/* Brings at most `most` of those who have changed into the listing, which keeps searches quick;
 * they find everybody at any rate. `more`: there may be others. */
void profile_list(struct pg *pg, size_t most, profile_listed_fn *fn, void *arg);
