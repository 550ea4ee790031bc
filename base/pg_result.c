/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pg.h"

#include <endian.h>

static const usec POSTGRES_EPOCH = INT64_C(946684800) * 1000000; /* 2000-01-01 UTC */

struct slice pg_text(const PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return (struct slice){ 0 };
	return (struct slice){ PQgetvalue(result, row, column),
			       (size_t)PQgetlength(result, row, column) };
}

/* A whole number of 1, 2, 4 or 8 bytes in network order; anything else reads as 0. */
static int64_t number_of(struct slice bytes)
{
	uint16_t two;
	uint32_t four;
	uint64_t eight;

	switch (bytes.len) {
	case 1:
		return (signed char)bytes.data[0];
	case 2:
		memcpy(&two, bytes.data, 2);
		return (int16_t)be16toh(two);
	case 4:
		memcpy(&four, bytes.data, 4);
		return (int32_t)be32toh(four);
	case 8:
		memcpy(&eight, bytes.data, 8);
		return (int64_t)be64toh(eight);
	default:
		return 0;
	}
}

int64_t pg_bigint(const PGresult *result, int row, int column)
{
	return number_of(pg_text(result, row, column));
}

int32_t pg_int(const PGresult *result, int row, int column)
{
	int64_t value = pg_bigint(result, row, column);

	if (value < INT32_MIN)
		return INT32_MIN;
	return value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

bool pg_bool(const PGresult *result, int row, int column)
{
	return pg_bigint(result, row, column) != 0;
}

usec pg_time(const PGresult *result, int row, int column)
{
	struct slice bytes = pg_text(result, row, column);
	usec value;

	if (!bytes.data)
		return 0;
	/* infinity is INT64_MAX and stays it */
	return __builtin_add_overflow(number_of(bytes), POSTGRES_EPOCH, &value) ? INT64_MAX : value;
}

/* Takes `len` bytes off the front of *rest; false when there are not so many. */
static bool take(struct slice *rest, size_t len, struct slice *out)
{
	if (rest->len < len)
		return false;
	*out = (struct slice){ rest->data, len };
	*rest = (struct slice){ rest->data + len, rest->len - len };
	return true;
}

static bool take_int(struct slice *rest, int32_t *out)
{
	struct slice bytes;

	if (!take(rest, 4, &bytes))
		return false;
	*out = (int32_t)number_of(bytes);
	return true;
}

/* Reads the head of an array: dimensions, flags, element type, length, lower bound. Returns how
 * many elements follow in *items; 0 for NULL, {} and more than one dimension. */
static size_t array_head(const PGresult *result, int row, int column, struct slice *items)
{
	int32_t head[5];

	*items = pg_text(result, row, column);
	for (size_t i = 0; i < countof(head); i++)
		if (!take_int(items, &head[i]))
			return 0;
	return head[0] == 1 && head[3] > 0 ? (size_t)head[3] : 0;
}

/* One element; a NULL has data NULL. */
static bool array_item(struct slice *items, struct slice *out)
{
	int32_t len;

	if (!take_int(items, &len))
		return false;
	*out = (struct slice){ 0 };
	return len < 0 || take(items, (size_t)len, out);
}

size_t pg_array_length(const PGresult *result, int row, int column)
{
	struct slice items;

	return array_head(result, row, column, &items);
}

size_t pg_texts(const PGresult *result, int row, int column, struct slice *out, size_t max)
{
	struct slice items, item;
	size_t n = array_head(result, row, column, &items);
	size_t i = 0;

	for (; i < n && i < max && array_item(&items, &item); i++)
		out[i] = item;
	return i;
}

size_t pg_bigints(const PGresult *result, int row, int column, int64_t *out, size_t max)
{
	struct slice items, item;
	size_t n = array_head(result, row, column, &items);
	size_t i = 0;

	for (; i < n && i < max && array_item(&items, &item); i++)
		out[i] = number_of(item);
	return i;
}
