/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/range.h"

#include "base/mem.h"

#include <strings.h>

static const char option[] = ";range=";

enum { OPTION_CHARS = sizeof option - 1, NUMBER_CHARS = 9 };

/* A number of at most nine digits at the front of *text, which is moved past it. */
static bool take_number(struct slice *text, uint32_t *out)
{
	uint32_t value = 0;
	size_t n = 0;

	for (; n < text->len && text->data[n] >= '0' && text->data[n] <= '9'; n++) {
		if (n == NUMBER_CHARS)
			return false;
		value = 10 * value + (uint32_t)(text->data[n] - '0');
	}
	*text = (struct slice){ text->data + n, text->len - n };
	*out = value;
	return n > 0;
}

enum hr_status range_parse(struct slice description, struct range *out, struct hr_err *err)
{
	uint32_t low, high;
	size_t at = 0;

	while (at + OPTION_CHARS <= description.len &&
	       strncasecmp(description.data + at, option, OPTION_CHARS) != 0)
		at++;
	if (at + OPTION_CHARS > description.len) {
		*out = (struct range){ description, 0 };
		return HR_OK;
	}
	struct slice rest = { description.data + at + OPTION_CHARS,
			      description.len - at - OPTION_CHARS };
	struct range range = { { description.data, at }, 0 };
	bool good = take_number(&rest, &low) && rest.len >= 2 && rest.data[0] == '-';
	if (good && !slice_is(rest, "-*")) {
		rest = (struct slice){ rest.data + 1, rest.len - 1 };
		good = take_number(&rest, &high) && rest.len == 0 && high >= low;
		range.next = good ? high + 1 : 0;
	}
	if (!good)
		return err_set(err, HR_FAIL, "the directory answers with an attribute " SLICE_FMT,
			       (int)(description.len < 100 ? description.len : 100),
			       description.data);
	*out = range;
	return HR_OK;
}
