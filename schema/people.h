/* SPDX-License-Identifier: Apache-2.0 */
/* Looking people up: the winner for each address, as the view hedgerow.routable decides. */
#pragma once

#include "base/mem.h"
#include "base/pg.h"

enum people_key {
	PEOPLE_ADDRESS, /* federation address or alias */
	PEOPLE_NATIVE,	/* native address */
	PEOPLE_KEYS
};

struct person {
	char *address;	    /* canonical federation address, prepared, bare */
	char *native;	    /* native address, prepared, bare; NULL: no installation */
	char *installation; /* NULL: reached by e-mail only */
	char *site;	    /* where the installation is; without one, the site of the forest */
	char *forest;
	char *name;    /* display name; may be NULL */
	bool enabled;  /* disabled: exists, is not routed */
	bool outsider; /* not in the registry: known by mail only, `site` carries it */
};

void person_free(struct person *person); /* NULL is fine */
DEFINE_SCOPED(person)

/* Called once for each key asked, in order, then once with key.data NULL. `person` is the
 * callee's; NULL: nobody has that key. On failure there is only the last call, with the status. */
typedef void people_fn(void *arg, struct slice key, struct person *person, enum hr_status status,
		       const struct hr_err *err);
void people_find(struct pg *pg, enum people_key kind, const struct slice *keys, size_t n,
		 people_fn *fn, void *arg);
