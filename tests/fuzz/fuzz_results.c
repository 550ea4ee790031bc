/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are an Authentication-Results field or not. What is one is text within its bounds, and
 * what is believed of it does not change with a comment in front. */
#include "gateway/mail/results.h"

#include "base/buf.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static bool is_lower(const char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			return false;
	return true;
}

static void check_sound(const struct results_check *one)
{
	check(*one->method && is_lower(one->method) && is_lower(one->outcome));
	check(one->property_count <= RESULTS_PROPERTIES_MAX);
	for (size_t i = 0; i < one->property_count; i++) {
		check(*one->properties[i].name && is_lower(one->properties[i].name));
		check(results_property(one, one->properties[i].name) != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice value = { (const char *)data, size };
	scoped(results) results = NULL;
	scoped(results) again = NULL;
	scoped_buf commented = BUF_INIT(0);
	struct hr_err err;

	buf_add_str(&commented, " (a (nested\\)) \"comment)\r\n\t");
	buf_add_slice(&commented, value);
	check(results_are_of(value, "mx") == results_are_of(buf_slice(&commented), "mx"));
	if (results_parse(value, &results, &err) != HR_OK)
		return 0;
	check(results->count <= RESULTS_MAX);
	for (size_t i = 0; i < results->count; i++)
		check_sound(&results->checks[i]);
	if (commented.len <= RESULTS_VALUE_MAX) {
		check(results_parse(buf_slice(&commented), &again, &err) == HR_OK);
		check(again->count == results->count);
	}
	return 0;
}
