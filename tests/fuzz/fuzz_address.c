/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are an address or not. What is one is text within its bounds, and is its own prepared
 * form, whichever way it is cut. */
#include "base/utf8.h"
#include "federation/address.h"

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scoped_address address = { 0 }, again = { 0 };
	struct hr_err err = { 0 };
	enum hr_status status =
		address_parse((struct slice){ (const char *)data, size }, &address, &err);

	if (status != HR_OK) {
		check(status == HR_FAIL && *err.text && !address.text);
		return 0;
	}
	struct slice full = address_full(&address);
	check(full.len == strlen(address.text) && full.len <= ADDRESS_MAX && utf8_valid(full));
	check(address_local(&address).len <= ADDRESS_PART_MAX);
	check(address_domain(&address).len > 0 && address_domain(&address).len <= ADDRESS_PART_MAX);
	check(address_resource(&address).len <= ADDRESS_PART_MAX);
	check(slice_eq(address_text_bare(full), address_bare(&address)));
	check(slice_eq(address_text_domain(full), address_domain(&address)));
	check(address_parse(full, &again, &err) == HR_OK);
	check(slice_eq(full, address_full(&again)));
	return 0;
}
