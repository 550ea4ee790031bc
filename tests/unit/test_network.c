/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/network.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	const char *network, *address;
	bool is_in;
} rows[] = {
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "10.0.0.0/8", "10.255.255.255", true },
	{ "10.0.0.0/8", "11.0.0.0", false },
	{ "192.0.2.128/25", "192.0.2.200", true },
	{ "192.0.2.128/25", "192.0.2.100", false },
	{ "0.0.0.0/0", "203.0.113.9", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "::/0", "203.0.113.9", true },
	{ "::/0", "2001:db8::1", true },
	{ "2001:db8::/32", "2001:db8:ffff::1", true },
	{ "2001:db8::/32", "2001:db9::", false },
	{ "2001:db8::1", "2001:DB8:0::1", true },
	{ "::ffff:10.0.0.0/104", "10.1.2.3", true },
	{ "10.0.0.0/8", "::ffff:10.1.2.3", true },
};

static void tells_what_is_in_a_network(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct network network, address;
		struct hr_err err;
		assert_int_equal(network_parse(slice_str(rows[i].network), &network, &err), HR_OK);
		assert_int_equal(network_parse(slice_str(rows[i].address), &address, &err), HR_OK);
		assert_int_equal(network_holds(&network, address.address), rows[i].is_in);
	}
}

static const struct {
	const char *text, *why;
} refused[] = {
	{ "", "not an IP address" },
	{ "localhost", "not an IP address" },
	{ "10.0.0", "not an IP address" },
	{ "10.0.0.0.0", "not an IP address" },
	{ "10.0.0.256", "not an IP address" },
	{ "10.0.0.1 ", "not an IP address" },
	{ "[::1]", "not an IP address" },
	{ "::1%eth0", "not an IP address" },
	{ "/8", "not an IP address" },
	{ "10.0.0.0/", "length of a network" },
	{ "10.0.0.0/33", "length of a network" },
	{ "10.0.0.0/-1", "length of a network" },
	{ "10.0.0.0/8x", "length of a network" },
	{ "10.0.0.0/8/8", "length of a network" },
	{ "10.0.0.0/4294967304", "length of a network" },
	{ "::/129", "length of a network" },
	{ "10.0.0.1/8", "bits after the first 8" },
	{ "2001:db8::1/64", "bits after the first 64" },
	{ "00000000000000000000000000000000000000000000000000000000000000000000", "not an IP" },
};

static void refuses_what_is_none(void **state)
{
	struct network network;
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < countof(refused); i++) {
		assert_int_equal(network_parse(slice_str(refused[i].text), &network, &err),
				 HR_FAIL);
		if (!strstr(err.text, refused[i].why))
			fail_msg("%s: %s", refused[i].text, err.text);
	}
	assert_int_equal(network_parse(slice_lit("10.0.0.1\0/8"), &network, &err), HR_FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_is_in_a_network),
		cmocka_unit_test(refuses_what_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
