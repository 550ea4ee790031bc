/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/staging.h"

enum { FLUSH_BYTES = 512 * 1024, TEXT_OID = 25, FIXED_COLUMNS = 6 };

/* SQLSTATE classes that may pass by themselves: connection, resources, rollback, operator. */
static const char *const transient_classes[] = { "08", "40", "53", "55", "57", "58" };

static enum hr_status status_of(const char *sqlstate)
{
	if (!sqlstate)
		return HR_RETRY; /* no answer from the server */
	for (size_t i = 0; i < countof(transient_classes); i++)
		if (strncmp(sqlstate, transient_classes[i], 2) == 0)
			return HR_RETRY;
	return HR_FAIL;
}

enum hr_status staging_fault(PGconn *conn, const PGresult *result, struct hr_err *err)
{
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *hint = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) : NULL;
	const char *text = primary ? primary : PQerrorMessage(conn);

	return err_set(err, PQstatus(conn) == CONNECTION_BAD ? HR_RETRY : status_of(sqlstate),
		       "%.*s%s%s%s%s%s", (int)strcspn(text, "\n"), text,
		       sqlstate ? " (SQLSTATE " : "", sqlstate ? sqlstate : "", sqlstate ? ")" : "",
		       hint ? ": " : "", hint ? hint : "");
}

static const char copy_sql[] = "COPY pg_temp.sync_staging FROM STDIN (FORMAT binary)";

/* PostgreSQL's file header: signature, flags, length of the extension. */
static const char copy_header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";

static void add_u16(struct buf *buf, uint16_t value)
{
	buf_add_char(buf, (char)(value >> 8));
	buf_add_char(buf, (char)value);
}

static void add_text(struct buf *buf, struct slice text)
{
	buf_add_u32(buf, text.data ? (uint32_t)text.len : UINT32_MAX);
	if (text.data)
		buf_add_slice(buf, text);
}

static void add_u64(struct buf *buf, uint64_t value)
{
	buf_add_u32(buf, sizeof value);
	buf_add_u32(buf, (uint32_t)(value >> 32));
	buf_add_u32(buf, (uint32_t)value);
}

/* gone boolean */
static void add_state(struct buf *buf, enum staging_state state)
{
	if (state == STAGING_DOUBTFUL) {
		buf_add_u32(buf, UINT32_MAX);
		return;
	}
	buf_add_u32(buf, 1);
	buf_add_char(buf, state == STAGING_GONE);
}

/* text[]: dimensions, has-nulls, element type, length, lower bound, elements. None is SQL NULL. */
static void add_texts(struct buf *buf, const struct publish_values *values)
{
	if (values->n == 0) {
		buf_add_u32(buf, UINT32_MAX);
		return;
	}
	size_t bytes = 20;
	for (size_t i = 0; i < values->n; i++)
		bytes += 4 + values->at[i].len;
	buf_add_u32(buf, (uint32_t)bytes);
	buf_add_u32(buf, 1);
	buf_add_u32(buf, 0);
	buf_add_u32(buf, TEXT_OID);
	buf_add_u32(buf, (uint32_t)values->n);
	buf_add_u32(buf, 1);
	for (size_t i = 0; i < values->n; i++)
		add_text(buf, values->at[i]);
}

/* The length of a mark that turns the direction of text (U+200E, U+200F, U+202A to U+202E, U+2066
 * to U+2069), with which a name can look like another; 0: none is here. */
static size_t mark_length(const char *text, size_t left)
{
	const unsigned char *at = (const unsigned char *)text;

	if (left < 3 || at[0] != 0xe2)
		return 0;
	bool is_mark = (at[1] == 0x80 &&
			(at[2] == 0x8e || at[2] == 0x8f || (at[2] >= 0xaa && at[2] <= 0xae))) ||
		       (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9);
	return is_mark ? 3 : 0;
}

/* A value is for people to read, or for an address to be made of: on one line, and as it reads. */
static void clean(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t mark = mark_length(text + i, len - i);
		if (mark > 0)
			memset(text + i, ' ', mark);
		else if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = ' ';
	}
}

static void add_values(struct buf *buf, const struct publish_values *values)
{
	size_t at = buf->len + 24; /* past the lengths and bounds of the array */

	add_texts(buf, values);
	for (size_t i = 0; i < values->n; i++) {
		clean(buf->data + at + 4, values->at[i].len);
		at += 4 + values->at[i].len;
	}
}

/* Equal for equal bytes; else different but for one in 2^64. Nobody gains by a collision of entries
 * of their own. */
static uint64_t digest_of(const char *data, size_t len)
{
	uint64_t digest = len;

	for (uint64_t word = 0; len > 0; word = 0) {
		size_t n = len < sizeof word ? len : sizeof word;
		memcpy(&word, data, n);
		digest = ((digest << 23 | digest >> 41) ^ word) * 0x9e3779b97f4a7c15;
		digest ^= digest >> 29;
		data += n;
		len -= n;
	}
	return digest * 0xbf58476d1ce4e5b9;
}

/* Reads the result of the last COPY. */
static enum hr_status end_copy(struct staging *staging, struct hr_err *err)
{
	enum hr_status status = HR_OK;

	if (!staging->copying)
		return HR_OK;
	staging->copying = false;
	for (PGresult *result; (result = PQgetResult(staging->conn)); PQclear(result))
		if (PQresultStatus(result) != PGRES_COMMAND_OK && status == HR_OK)
			status = staging_fault(staging->conn, result, err);
	return status == HR_OK ? HR_OK : err_add(err, "stage entries");
}

static enum hr_status send_rows(struct staging *staging, struct hr_err *err)
{
	if (end_copy(staging, err) != HR_OK)
		return err->status;
	if (staging->rows.len == 0)
		return HR_OK;
	add_u16(&staging->rows, UINT16_MAX); /* the end of the data */

	PGresult *result = PQexec(staging->conn, copy_sql);
	if (PQresultStatus(result) != PGRES_COPY_IN) {
		staging_fault(staging->conn, result, err);
		PQclear(result);
		return err_add(err, "stage entries");
	}
	PQclear(result);
	staging->copying = true;
	if (PQputCopyData(staging->conn, staging->rows.data, (int)staging->rows.len) != 1 ||
	    PQputCopyEnd(staging->conn, NULL) != 1) {
		staging_fault(staging->conn, NULL, err);
		return err_add(err, "stage entries");
	}
	buf_clear(&staging->rows);
	return HR_OK;
}

enum hr_status staging_add(struct staging *staging, const struct publish_entry *entry,
			   enum staging_state state, struct hr_err *err)
{
	static const struct publish_values none;
	struct buf *rows = &staging->rows;

	if (rows->len == 0)
		buf_add(rows, copy_header, sizeof copy_header - 1);
	add_u16(rows, (uint16_t)(FIXED_COLUMNS + staging->columns));
	add_u64(rows, ++staging->given);
	add_text(rows, entry->anchor);
	add_text(rows, entry->dn);
	add_state(rows, state);
	size_t begin = rows->len;
	add_texts(rows, &entry->refused);
	for (size_t i = 0; i < staging->columns; i++)
		add_values(rows, entry->attributes ? &entry->attributes[i] : &none);
	add_u64(rows, digest_of(rows->data + begin, rows->len - begin));
	return rows->len < FLUSH_BYTES ? HR_OK : send_rows(staging, err);
}

enum hr_status staging_flush(struct staging *staging, struct hr_err *err)
{
	if (send_rows(staging, err) != HR_OK)
		return err->status;
	return end_copy(staging, err);
}

enum hr_status staging_reset(struct staging *staging, struct hr_err *err)
{
	buf_clear(&staging->rows);
	staging->given = 0;
	return end_copy(staging, err);
}
