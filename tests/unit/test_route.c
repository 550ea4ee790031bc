/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define T(text) ((char *)(uintptr_t)(text))

enum { MAX = 64 };

/* A snapshot from a text of rows "site>peer=cost", local site first: "A: A>B=10 B>A=10". */
struct world {
	struct config config;
	struct config_site sites[MAX];
	struct config_link links[MAX];
	char *names; /* owned */
};

static void add_site(struct world *world, char *name)
{
	for (size_t i = 0; i < world->config.site_count; i++)
		if (strcmp(world->sites[i].name, name) == 0)
			return;
	assert_true(world->config.site_count < MAX);
	world->sites[world->config.site_count++].name = name;
}

static struct world *world_new(const char *text)
{
	struct world *world = mem_new(struct world);
	char *at = world->names = str_dup(text);

	world->config.sites = world->sites;
	world->config.links = world->links;
	world->config.local_site = strsep(&at, ":");
	add_site(world, world->config.local_site);
	for (char *word; (word = strsep(&at, " "));) {
		if (!*word)
			continue;
		struct config_link *link = &world->links[world->config.link_count++];
		assert_true(world->config.link_count < MAX);
		link->site = strsep(&word, ">");
		link->peer = strsep(&word, "=");
		link->cost = word ? atoi(word) : 10;
		add_site(world, link->site);
		add_site(world, link->peer);
	}
	return world;
}

static void world_free(struct world *world)
{
	free(world->names);
	free(world);
}
DEFINE_SCOPED(world)

static void expect_next(const char *map, const char *to, const char *expected)
{
	scoped(world) world = world_new(map);
	scoped(routes) routes = routes_new(&world->config);
	const char *next = route_next_site(routes, to);

	if (strcmp(next ? next : "-", expected) != 0)
		fail_msg("%s to %s: %s", map, to, next ? next : "-");
}

static void takes_the_cheapest_path_of_links(void **state)
{
	(void)state;
	static const struct {
		const char *map, *to, *next;
	} rows[] = {
		{ "A: A>B B>A", "B", "B" },
		{ "A: A>B B>A", "A", "-" }, /* here */
		{ "A: A>B B>A", "C", "-" }, /* no such site */
		{ "A: A>B", "B", "-" },	    /* they have not agreed */
		{ "A: B>A", "B", "-" },	    /* we have not agreed */
		{ "A: A>B B>A B>C", "C", "-" },
		{ "A: A>B B>A B>C C>B", "C", "B" },
		{ "A: A>B B>A B>C C>B C>D D>C", "D", "B" },
		/* a detour may be cheaper; each end's price counts */
		{ "A: A>C=50 C>A=50 A>B=10 B>A=10 B>C=10 C>B=10", "C", "B" },
		{ "A: A>C=20 C>A=20 A>B=10 B>A=10 B>C=10 C>B=11", "C", "C" },
		{ "A: A>C=10 C>A=50 A>B=10 B>A=10 B>C=10 C>B=10", "C", "B" },
		/* ties: fewer links, then the name */
		{ "A: A>C=20 C>A=20 A>B=10 B>A=10 B>C=10 C>B=10", "C", "C" },
		{ "A: A>X X>A A>B B>A X>Z Z>X B>Z Z>B", "Z", "B" },
		{ "A: A>B B>A A>X X>A B>Z Z>B X>Z Z>X", "Z", "B" },
		/* a price below 1 is 1: no link is free */
		{ "A: A>Z=1 Z>A=1 A>B=0 B>A=0 B>Z=-5 Z>B=-5", "Z", "Z" },
		/* an island */
		{ "A: A>B B>A C>D D>C", "D", "-" },
		/* a link of a site with itself, or with one that is not there, is none */
		{ "A: A>A A>B B>A", "A", "-" },
	};
	for (size_t i = 0; i < countof(rows); i++)
		expect_next(rows[i].map, rows[i].to, rows[i].next);
}

static void counts_links_up_to_the_hop_limit(void **state)
{
	(void)state;
	static const char chain[] = "A: A>B B>A B>C C>B C>D D>C D>E E>D E>F F>E F>G G>F G>H H>G "
				    "H>I I>H I>J J>I";

	expect_next(chain, "I", "B"); /* 8 links */
	expect_next(chain, "J", "-"); /* 9 */
}

/* From every site, following next hops leads to the goal, each step cheaper than the one before. */
static void leads_every_site_to_every_other_without_a_loop(void **state)
{
	(void)state;
	static const char links[] = "A>B=3 B>A=9 B>C=4 C>B=4 C>D=1 D>C=1 D>E=7 E>D=2 E>A=12 A>E=12 "
				    "B>E=8 E>B=8 F>A=5 A>F=5 F>D=5 D>F=5";

	for (char from = 'A'; from <= 'F'; from++)
		for (char to = 'A'; to <= 'F'; to++) {
			char goal[] = { to, '\0' };
			char at = from;
			for (int steps = 0; at != to; steps++) {
				scoped_str map = str_format("%c: %s", at, links);
				scoped(world) world = world_new(map);
				scoped(routes) routes = routes_new(&world->config);
				const char *next = route_next_site(routes, goal);
				assert_non_null(next);
				at = *next;
				assert_true(steps < 6);
			}
		}
}

static void works_without_sites_and_links(void **state)
{
	(void)state;
	struct config config = { 0 };
	scoped(routes) routes = routes_new(&config);

	assert_null(route_next_site(routes, "A"));
	assert_int_equal(route_find(routes, NULL, slice_lit("x")).kind, ROUTE_BOUNCE);
}

static void finds_the_installation_the_next_site_or_the_reason(void **state)
{
	(void)state;
	scoped(world) world = world_new("A: A>B B>A B>C C>B D>A");
	struct config_domain domains[] = { { T("example.com") } };
	struct config_installation installations[] = {
		{ .name = T("im"), .site = T("B") },
		{ .name = T("im"), .site = T("A") },
		{ .name = T("other"), .site = T("A") },
	};
	static const struct {
		struct person to;
		bool nobody;
		const char *domain;
		struct route expected;
	} rows[] = {
		{ { .address = T("x"),
		    .native = T("n"),
		    .installation = T("im"),
		    .site = T("A"),
		    .enabled = true },
		  .expected = { .kind = ROUTE_INSTALLATION } },
		{ { .address = T("x"),
		    .native = T("n"),
		    .installation = T("im"),
		    .site = T("B"),
		    .enabled = true },
		  .expected = { .kind = ROUTE_SITE, .site = "B" } },
		{ { .address = T("x"),
		    .native = T("n"),
		    .installation = T("im"),
		    .site = T("C"),
		    .enabled = true },
		  .expected = { .kind = ROUTE_SITE, .site = "B" } },
		{ { .address = T("x"),
		    .native = T("n"),
		    .installation = T("im"),
		    .site = T("D"),
		    .enabled = true },
		  .expected = { .kind = ROUTE_BOUNCE,
				.bounce = BOUNCE_REMOTE_TIMEOUT,
				.reason = "no link leads to this person's site" } },
		{ { .address = T("x"),
		    .native = T("n"),
		    .installation = T("gone"),
		    .site = T("A"),
		    .enabled = true },
		  .expected = { .kind = ROUTE_BOUNCE,
				.bounce = BOUNCE_SERVICE_UNAVAILABLE,
				.reason = "this person's installation is not configured" } },
		{ { .address = T("x"),
		    .native = T("n"),
		    .installation = T("im"),
		    .site = T("A"),
		    .enabled = false },
		  .expected = { .kind = ROUTE_BOUNCE,
				.bounce = BOUNCE_RECIPIENT_UNAVAILABLE,
				.reason = "this person's account is disabled" } },
		{ { .address = T("x"), .site = T("A"), .enabled = true },
		  .expected = { .kind = ROUTE_BOUNCE,
				.bounce = BOUNCE_RECIPIENT_UNAVAILABLE,
				.reason = "this person is reached by e-mail only, and no mail is "
					  "set up" } },
		{ .nobody = true,
		  .domain = "example.com",
		  .expected = { .kind = ROUTE_BOUNCE,
				.bounce = BOUNCE_ITEM_NOT_FOUND,
				.reason = "nobody has this address" } },
		{ .nobody = true,
		  .domain = "example.org",
		  .expected = { .kind = ROUTE_BOUNCE,
				.bounce = BOUNCE_ITEM_NOT_FOUND,
				.reason = "this domain is not served here" } },
	};
	world->config.domains = domains;
	world->config.domain_count = countof(domains);
	world->config.installations = installations;
	world->config.installation_count = countof(installations);
	scoped(routes) routes = routes_new(&world->config);
	for (size_t i = 0; i < countof(rows); i++) {
		const struct route *expected = &rows[i].expected;
		struct route route = route_find(routes, rows[i].nobody ? NULL : &rows[i].to,
						slice_str(rows[i].domain));
		assert_int_equal(route.kind, expected->kind);
		assert_ptr_equal(route.installation,
				 route.kind == ROUTE_INSTALLATION ? &installations[1] : NULL);
		assert_int_equal(route.bounce, expected->bounce);
		assert_string_equal(route.site ? route.site : "-",
				    expected->site ? expected->site : "-");
		assert_string_equal(route.reason ? route.reason : "-",
				    expected->reason ? expected->reason : "-");
	}
}

/* Who has no installation is reached by the mail that the carrier of their site's domain sends. */
static void leads_by_mail_to_who_has_no_installation(void **state)
{
	(void)state;
	scoped(world) world = world_new("A: A>B B>A");
	struct config_mail mails[] = {
		{ .domain = T("a.example"), .site = T("A"), .carrier = T("A"), .mode = MAIL_FULL },
		{ .domain = T("off.example"), .site = T("A"), .carrier = T("A"), .mode = MAIL_OFF },
		{ .domain = T("b.example"), .site = T("A"), .carrier = T("B") },
		{ .domain = T("b.example"),
		  .site = T("B"),
		  .carrier = T("B"),
		  .mode = MAIL_FULL,
		  .outsiders = true },
		{ .domain = T("half.example"), .site = T("A"), .carrier = T("B") },
	};
	static const struct {
		const char *site, *domain;
		bool outsider;
		enum route_kind kind;
		const char *next;
	} rows[] = {
		{ "A", "a.example", false, ROUTE_MAIL, NULL },
		{ "A", "b.example", false, ROUTE_SITE, "B" },	 /* as A says */
		{ "B", "b.example", false, ROUTE_SITE, "B" },	 /* as B says */
		{ "B", "a.example", false, ROUTE_BOUNCE, NULL }, /* B says nothing */
		{ "A", "off.example", false, ROUTE_BOUNCE, NULL },
		{ "A", "half.example", false, ROUTE_BOUNCE, NULL }, /* B doesn't agree */
		{ "A", "a.example", true, ROUTE_BOUNCE, NULL },	    /* no outsiders */
		{ "B", "b.example", true, ROUTE_SITE, "B" },
	};
	world->config.mails = mails;
	world->config.mail_count = countof(mails);
	scoped(routes) routes = routes_new(&world->config);
	for (size_t i = 0; i < countof(rows); i++) {
		struct person to = { .address = T("x"),
				     .site = T(rows[i].site),
				     .enabled = true,
				     .outsider = rows[i].outsider };
		struct route route = route_find(routes, &to, slice_str(rows[i].domain));

		assert_int_equal(route.kind, rows[i].kind);
		assert_string_equal(route.site ? route.site : "-",
				    rows[i].next ? rows[i].next : "-");
		assert_ptr_equal(route.mail, rows[i].kind == ROUTE_MAIL ? &mails[0] : NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_cheapest_path_of_links),
		cmocka_unit_test(counts_links_up_to_the_hop_limit),
		cmocka_unit_test(leads_every_site_to_every_other_without_a_loop),
		cmocka_unit_test(works_without_sites_and_links),
		cmocka_unit_test(finds_the_installation_the_next_site_or_the_reason),
		cmocka_unit_test(leads_by_mail_to_who_has_no_installation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
