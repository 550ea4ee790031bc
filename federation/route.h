/* SPDX-License-Identifier: Apache-2.0 */
/* Who is next? From the recipient to an installation of this site, or to the next site on the
 * cheapest path of links (both ends must have agreed to a link). Pure. */
#pragma once

#include "base/err.h"
#include "federation/envelope.h"
#include "schema/config.h"
#include "schema/people.h"

enum route_kind { ROUTE_INSTALLATION, ROUTE_SITE, ROUTE_BOUNCE };

struct route {
	enum route_kind kind;
	const struct config_installation *installation; /* ROUTE_INSTALLATION */
	const char *site;   /* ROUTE_SITE: the neighbour to hand it to */
	enum bounce bounce; /* ROUTE_BOUNCE */
	const char *reason; /* ROUTE_BOUNCE: static text for the sender */
};

/* `to` NULL: nobody has that address; `domain` (of the address) then decides the reason. */
struct route route_find(const struct config *config, const struct person *to, struct slice domain);
/* The neighbour on the cheapest path to `site`, ties by name; NULL: no path. */
const char *route_next_site(const struct config *config, const char *site);
