/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/staging.h"

enum { FLUSH_BYTES = 512 * 1024, TEXT_OID = 25, FIXED_COLUMNS = 4 };

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

static void add_bool(struct buf *buf, bool value)
{
	buf_add_u32(buf, 1);
	buf_add_char(buf, (char)value);
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

enum hr_status staging_add(struct staging *staging, const struct publish_entry *entry, bool gone,
			   struct hr_err *err)
{
	static const struct publish_values none;
	struct buf *rows = &staging->rows;

	if (rows->len == 0)
		buf_add(rows, copy_header, sizeof copy_header - 1);
	add_u16(rows, (uint16_t)(FIXED_COLUMNS + staging->columns));
	add_text(rows, entry->anchor);
	add_text(rows, entry->dn);
	add_bool(rows, gone);
	add_texts(rows, &entry->refused);
	for (size_t i = 0; i < staging->columns; i++)
		add_texts(rows, entry->attributes ? &entry->attributes[i] : &none);
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
	return end_copy(staging, err);
}
