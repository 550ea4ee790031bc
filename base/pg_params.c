/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's binary format: numbers in network byte order, text as it is, arrays as array_send()
 * of the server's arrayfuncs.c writes them. */
#include "base/pg_params.h"

enum { PARAMS_MAX = 65535, FORMAT_BINARY = 1 };

/* 2000-01-01 UTC, from which timestamptz counts microseconds. */
static const usec POSTGRES_EPOCH = INT64_C(946684800) * 1000000;

static const struct {
	uint32_t oid; /* pg_type.dat: fixed for ever */
} types[] = {
	[PG_TEXT] = { 25 },   [PG_BYTEA] = { 17 }, [PG_INT] = { 23 },
	[PG_BIGINT] = { 20 }, [PG_BOOL] = { 16 },  [PG_TIMESTAMPTZ] = { 1184 },
};

struct param {
	size_t at; /* into bytes; it ends where the next begins */
	bool null;
};

struct pg_params {
	struct buf bytes;
	struct param *list;
	size_t n, size;
	/* the array begun last */
	size_t array_at, items_left;
	enum pg_type element;
	/* made by pg_params_view, each with `size` elements */
	const char **values;
	int *lengths, *formats;
};

struct pg_params *pg_params_new(void)
{
	return mem_new(struct pg_params);
}

void pg_params_free(struct pg_params *params)
{
	if (!params)
		return;
	buf_free(&params->bytes);
	free(params->list);
	free(params->values);
	free(params->lengths);
	free(params->formats);
	free(params);
}

void pg_params_clear(struct pg_params *params)
{
	buf_clear(&params->bytes);
	params->n = 0;
	params->items_left = 0;
}

static void grow(struct pg_params *params)
{
	size_t size = params->size ? 2 * params->size : 8;

	params->list = mem_resize(params->list, size, sizeof *params->list);
	params->values = mem_resize(params->values, size, sizeof *params->values);
	params->lengths = mem_resize(params->lengths, size, sizeof *params->lengths);
	params->formats = mem_resize(params->formats, size, sizeof *params->formats);
	for (size_t i = params->size; i < size; i++)
		params->formats[i] = FORMAT_BINARY;
	params->size = size;
}

static void begin(struct pg_params *params, bool null)
{
	if (params->items_left > 0 || params->n == PARAMS_MAX)
		abort();
	if (params->n == params->size)
		grow(params);
	params->list[params->n++] = (struct param){ params->bytes.len, null };
}

struct pg_view pg_params_view(const struct pg_params *params)
{
	if (!params)
		return (struct pg_view){ 0 };
	if (params->items_left > 0)
		abort();
	for (size_t i = 0; i < params->n; i++) {
		const struct param *param = &params->list[i];
		size_t end = i + 1 < params->n ? params->list[i + 1].at : params->bytes.len;
		params->values[i] = param->null ? NULL : "";
		params->lengths[i] = (int)(end - param->at);
		if (end > param->at)
			params->values[i] = params->bytes.data + param->at;
	}
	return (struct pg_view){ .n = (int)params->n,
				 .values = params->values,
				 .lengths = params->lengths,
				 .formats = params->formats };
}

static uint64_t bits_of_time(usec unix_time)
{
	return (uint64_t)(unix_time - POSTGRES_EPOCH);
}

void pg_add_null(struct pg_params *params)
{
	begin(params, true);
}

void pg_add_text(struct pg_params *params, struct slice text)
{
	begin(params, !text.data);
	buf_add_slice(&params->bytes, text);
}

void pg_add_bytes(struct pg_params *params, struct slice bytes)
{
	pg_add_text(params, bytes);
}

void pg_add_int(struct pg_params *params, int32_t value)
{
	begin(params, false);
	buf_add_u32(&params->bytes, (uint32_t)value);
}

void pg_add_bigint(struct pg_params *params, int64_t value)
{
	begin(params, false);
	buf_add_u64(&params->bytes, (uint64_t)value);
}

void pg_add_bool(struct pg_params *params, bool value)
{
	begin(params, false);
	buf_add_char(&params->bytes, value);
}

void pg_add_time(struct pg_params *params, usec unix_time)
{
	begin(params, unix_time <= 0);
	if (unix_time > 0)
		buf_add_u64(&params->bytes, bits_of_time(unix_time));
}

/* Dimensions, "has NULLs", element type; then length and lower bound of the one dimension. An empty
 * array has none. */
void pg_begin_array(struct pg_params *params, enum pg_type element, size_t n)
{
	begin(params, false);
	if (n > INT32_MAX)
		abort();
	params->array_at = params->bytes.len;
	params->items_left = n;
	params->element = element;
	buf_add_u32(&params->bytes, n > 0);
	buf_add_u32(&params->bytes, 0);
	buf_add_u32(&params->bytes, types[element].oid);
	if (n == 0)
		return;
	buf_add_u32(&params->bytes, (uint32_t)n);
	buf_add_u32(&params->bytes, 1);
}

static void begin_item(struct pg_params *params, enum pg_type type, size_t len)
{
	if (params->items_left == 0 || params->element != type || len > INT32_MAX)
		abort();
	params->items_left--;
	buf_add_u32(&params->bytes, (uint32_t)len);
}

static void null_item(struct pg_params *params, enum pg_type type)
{
	if (params->items_left == 0 || params->element != type)
		abort();
	params->items_left--;
	params->bytes.data[params->array_at + 7] = 1;
	buf_add_u32(&params->bytes, UINT32_MAX);
}

static void slice_item(struct pg_params *params, enum pg_type type, struct slice value)
{
	if (!value.data) {
		null_item(params, type);
		return;
	}
	begin_item(params, type, value.len);
	buf_add_slice(&params->bytes, value);
}

void pg_item_text(struct pg_params *params, struct slice text)
{
	slice_item(params, PG_TEXT, text);
}

void pg_item_bytes(struct pg_params *params, struct slice bytes)
{
	slice_item(params, PG_BYTEA, bytes);
}

void pg_item_int(struct pg_params *params, int32_t value)
{
	begin_item(params, PG_INT, 4);
	buf_add_u32(&params->bytes, (uint32_t)value);
}

void pg_item_bigint(struct pg_params *params, int64_t value)
{
	begin_item(params, PG_BIGINT, 8);
	buf_add_u64(&params->bytes, (uint64_t)value);
}

void pg_item_bool(struct pg_params *params, bool value)
{
	begin_item(params, PG_BOOL, 1);
	buf_add_char(&params->bytes, value);
}

void pg_item_time(struct pg_params *params, usec unix_time)
{
	if (unix_time <= 0) {
		null_item(params, PG_TIMESTAMPTZ);
		return;
	}
	begin_item(params, PG_TIMESTAMPTZ, 8);
	buf_add_u64(&params->bytes, bits_of_time(unix_time));
}
