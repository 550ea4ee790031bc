/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct config_site sites[] = { { .name = "amsterdam" }, { .name = "boston" } };
static struct config_installation installations[] = {
	{ .name = "prosody", .site = "boston" },
	{ .name = "prosody", .site = "amsterdam" },
	{ .name = "ejabberd", .site = "boston" },
};
static struct config_link links[] = {
	{ .site = "amsterdam", .peer = "boston" }, { .site = "boston", .peer = "amsterdam" },
	{ .site = "amsterdam", .peer = "sydney" }, { .site = "kyoto", .peer = "amsterdam" },
	{ .site = "kyoto", .peer = "sydney" },	   { .site = "sydney", .peer = "kyoto" },
};
static const struct config config = {
	.local_site = "amsterdam",
	.sites = sites,
	.site_count = countof(sites),
	.installations = installations,
	.installation_count = countof(installations),
	.links = links,
	.link_count = countof(links),
};

static void finds_sites_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(config_find_site(&config, "boston"), &sites[1]);
	assert_null(config_find_site(&config, "sydney"));
}

static void finds_installations_of_the_local_site_only(void **state)
{
	(void)state;
	assert_ptr_equal(config_find_installation(&config, slice_lit("prosody")),
			 &installations[1]);
	assert_null(config_find_installation(&config, slice_lit("ejabberd")));
	assert_null(config_find_installation(&config, slice_lit("prosod")));
}

static void a_link_needs_the_consent_of_both_sites(void **state)
{
	(void)state;
	assert_true(config_is_linked(&config, "boston"));
	assert_false(config_is_linked(&config, "sydney"));
	assert_false(config_is_linked(&config, "kyoto"));
	assert_false(config_is_linked(&config, "amsterdam"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_sites_by_name),
		cmocka_unit_test(finds_installations_of_the_local_site_only),
		cmocka_unit_test(a_link_needs_the_consent_of_both_sites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
