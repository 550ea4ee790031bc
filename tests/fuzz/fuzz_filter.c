/* SPDX-License-Identifier: Apache-2.0 */
/* A filter as an operator may have written it. What is taken matches or does not, for any values.
 */
#include "directory/filter.h"

#include <stdint.h>

static const struct attribute values[] = {
	{ slice_lit("cn"), slice_lit("Ada Adams") },
	{ slice_lit("cn"), slice_lit("") },
	{ slice_lit("a"), slice_lit("-12") },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scoped_str text = mem_dup(data, size);
	scoped(filter) filter = NULL;
	scoped(filter) inverse = NULL;
	struct hr_err err;

	if (filter_new(text, &filter, &err) != HR_OK)
		return 0;
	for (size_t at = 0; filter_attribute(filter, &at);)
		;
	scoped_str inverted = str_format("(!%s)", text);
	if (filter_new(inverted, &inverse, &err) == HR_OK &&
	    filter_matches(filter, values, countof(values)) ==
		    filter_matches(inverse, values, countof(values)))
		abort();
	return 0;
}
