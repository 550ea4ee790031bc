/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/anchor.h"

/* The place of each byte of an objectGUID among those of its text. */
static const unsigned char guid_order[ANCHOR_RAW] = { 3, 2, 1,	0,  5,	4,  7,	6,
						      8, 9, 10, 11, 12, 13, 14, 15 };

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
	return write_in_order(bytes, guid_order, out);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool anchor_to_guid(struct slice text, unsigned char out[ANCHOR_RAW])
{
	bool dashed = text.len == ANCHOR_CHARS;
	size_t at = 0;

	if (!dashed && text.len != 2 * ANCHOR_RAW)
		return false;
	for (size_t i = 0; i < ANCHOR_RAW; i++) {
		if (dashed && (i == 4 || i == 6 || i == 8 || i == 10) && text.data[at++] != '-')
			return false;
		int high = hex_digit(text.data[at]), low = hex_digit(text.data[at + 1]);
		if (high < 0 || low < 0)
			return false;
		out[dashed ? guid_order[i] : i] = (unsigned char)(high << 4 | low);
		at += 2;
	}
	return true;
}
