/* SPDX-License-Identifier: Apache-2.0 */
/* Who is next? From the recipient to an installation of this site, to the mail that this site
 * carries, or to the next site on the cheapest path of links. A link counts when both ends have
 * agreed to it, and costs what the dearer of the two says. The paths are worked out once for each
 * snapshot. Pure. */
#pragma once

#include "base/err.h"
#include "federation/envelope.h"
#include "schema/config.h"
#include "schema/people.h"

struct routes;

/* `config` is borrowed and must outlive the result. */
struct routes *routes_new(const struct config *config);
void routes_free(struct routes *routes); /* NULL is fine */
DEFINE_SCOPED(routes)

enum route_kind { ROUTE_INSTALLATION, ROUTE_MAIL, ROUTE_SITE, ROUTE_BOUNCE };

struct route {
	enum route_kind kind;
	const struct config_installation *installation; /* ROUTE_INSTALLATION */
	const struct config_mail *mail;			/* ROUTE_MAIL: carried by this site */
	const char *site;   /* ROUTE_SITE: the neighbour to hand it to */
	enum bounce bounce; /* ROUTE_BOUNCE */
	const char *reason; /* ROUTE_BOUNCE: static text for the sender */
};

/* `to` NULL: nobody has that address; `domain` (of the address) then decides the reason. What the
 * answer points to belongs to the config. */
struct route route_find(const struct routes *routes, const struct person *to, struct slice domain);
/* The neighbour on the cheapest path to `site`; ties go to fewer links, then by name. NULL: no
 * path within ENVELOPE_HOPS_MAX links, or it is this site. */
const char *route_next_site(const struct routes *routes, const char *site);
