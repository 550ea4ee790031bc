/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/anchor.h"

static bool write_in_order(struct slice bytes, const unsigned char order[ANCHOR_RAW],
			   char out[ANCHOR_CHARS + 1])
{
	static const char digits[] = "0123456789abcdef";

	if (bytes.len != ANCHOR_RAW)
		return false;
	for (size_t i = 0; i < ANCHOR_RAW; i++) {
		unsigned char byte = (unsigned char)bytes.data[order[i]];
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digits[byte >> 4];
		*out++ = digits[byte & 15];
	}
	*out = '\0';
	return true;
}

bool anchor_from_uuid(struct slice bytes, char out[ANCHOR_CHARS + 1])
{
	static const unsigned char order[ANCHOR_RAW] = { 0, 1, 2,  3,  4,  5,  6,  7,
							 8, 9, 10, 11, 12, 13, 14, 15 };

	return write_in_order(bytes, order, out);
}

bool anchor_from_guid(struct slice bytes, char out[ANCHOR_CHARS + 1])
{
	static const unsigned char order[ANCHOR_RAW] = { 3, 2, 1,  0,  5,  4,  7,  6,
							 8, 9, 10, 11, 12, 13, 14, 15 };

	return write_in_order(bytes, order, out);
}
