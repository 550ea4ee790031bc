/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/publish.h"

#include "base/buf.h"

#include <inttypes.h>
#include <stdio.h>

enum { FLUSH_BYTES = 512 * 1024, TEXT_OID = 25 };

const char *const publish_channels[] = { "hedgerow_sync", "hedgerow_config", NULL };

struct publish {
	PGconn *conn;
	struct publish_source source;
	int64_t run;
	struct buf rows; /* of the COPY to come */
	bool copying;	 /* the last COPY has been sent, its result not read */
};

/* The plan ------------------------------------------------------------------------------------ */

static const struct pg_statement plan_statement = {
	.name = "publish_plan",
	.sql = "SELECT forest, due_ms, dry_run FROM hedgerow.sync_plan()",
};

struct plan_call {
	publish_plan_fn *fn;
	void *arg;
};

static void on_plan(void *arg, enum hr_status status, const PGresult *result,
		    const struct hr_err *err)
{
	struct plan_call call = *(struct plan_call *)arg;

	free(arg);
	if (status != HR_OK) {
		call.fn(call.arg, status, NULL, 0, err);
		return;
	}
	size_t n = (size_t)PQntuples(result);
	struct publish_due *due = mem_array(struct publish_due, n);
	for (int i = 0; i < (int)n; i++)
		due[i] = (struct publish_due){
			.forest = pg_text(result, i, 0),
			.due_in = pg_bigint(result, i, 1),
			.dry_run = pg_bool(result, i, 2),
		};
	call.fn(call.arg, HR_OK, due, n, NULL);
	free(due);
}

void publish_plan(struct pg *pg, publish_plan_fn *fn, void *arg)
{
	struct plan_call *call = mem_new(struct plan_call);

	*call = (struct plan_call){ fn, arg };
	pg_send_owned(pg, &plan_statement, NULL, on_plan, call);
}

/* Failures ------------------------------------------------------------------------------------ */

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

/* The first line of what libpq says. */
static struct slice first_line(const char *text)
{
	return (struct slice){ text, strcspn(text, "\n") };
}

static enum hr_status fail_from(struct publish *publish, const PGresult *result, struct hr_err *err)
{
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *hint = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) : NULL;
	struct slice text = first_line(primary ? primary : PQerrorMessage(publish->conn));

	return err_set(
		err, PQstatus(publish->conn) == CONNECTION_BAD ? HR_RETRY : status_of(sqlstate),
		SLICE_FMT "%s%s%s%s%s", SLICE_ARG(text), sqlstate ? " (SQLSTATE " : "",
		sqlstate ? sqlstate : "", sqlstate ? ")" : "", hint ? ": " : "", hint ? hint : "");
}

/* One statement with text parameters; *out, binary, is the caller's to clear. */
static enum hr_status execute(struct publish *publish, const char *sql, int n,
			      const char *const *values, PGresult **out, struct hr_err *err)
{
	PGresult *result = PQexecParams(publish->conn, sql, n, NULL, values, NULL, NULL, 1);

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		*out = result;
		return HR_OK;
	}
	enum hr_status status = fail_from(publish, result, err);
	PQclear(result);
	return status;
}

/* Begin --------------------------------------------------------------------------------------- */

static const char begin_sql[] = "SELECT run, attributes, kind, urls, tls, ca, bind_dn, "
				"bind_secret, base_dn, filter, page_size"
				" FROM hedgerow.sync_begin($1, $2::boolean, $3)";

static char *text_at(const PGresult *result, int column)
{
	struct slice text = pg_text(result, 0, column);

	return text.data ? mem_dup(text.data, text.len) : NULL;
}

static char **texts_at(const PGresult *result, int column, size_t *count)
{
	enum { MOST = 1024 };
	struct slice *found = mem_array(struct slice, MOST);
	size_t n = pg_texts(result, 0, column, found, MOST);
	char **texts = mem_array(char *, n + 1);

	for (size_t i = 0; i < n; i++)
		texts[i] = mem_dup(found[i].data, found[i].len);
	free(found);
	if (count)
		*count = n;
	return texts;
}

static void read_source(struct publish *publish, const PGresult *result)
{
	struct publish_source *source = &publish->source;

	publish->run = pg_bigint(result, 0, 0);
	source->attributes = texts_at(result, 1, &source->attribute_count);
	source->kind = text_at(result, 2);
	source->urls = texts_at(result, 3, NULL);
	source->tls = text_at(result, 4);
	source->ca = text_at(result, 5);
	source->bind_dn = text_at(result, 6);
	source->bind_secret = text_at(result, 7);
	source->base_dn = text_at(result, 8);
	source->filter = text_at(result, 9);
	source->page_size = pg_int(result, 0, 10);
}

static void texts_free(char **texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

static enum hr_status connect_to(struct publish *publish, const char *database, struct hr_err *err)
{
	/* What comes after dbname wins over what the conninfo says. */
	static const char *const keys[] = {
		"connect_timeout",  "keepalives_idle",	"keepalives_interval",
		"keepalives_count", "tcp_user_timeout", "dbname",
		"client_encoding",  "application_name", NULL
	};
	const char *const values[] = { "10",	"30",	  "10",	  "3",
				       "60000", database, "UTF8", "hedgerow-directory run",
				       NULL };

	publish->conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(publish->conn) == CONNECTION_OK)
		return HR_OK;
	struct slice text = first_line(PQerrorMessage(publish->conn));
	return err_set(err, HR_RETRY, SLICE_FMT, SLICE_ARG(text));
}

enum hr_status publish_begin(const struct publish_request *request, struct publish **out,
			     struct hr_err *err)
{
	scoped(publish) publish = mem_new(struct publish);
	const char *const values[] = { request->forest, request->dry_run ? "true" : "false",
				       request->node };
	PGresult *result;

	enum hr_status status = connect_to(publish, request->database, err);
	if (status == HR_OK)
		status = execute(publish, begin_sql, countof(values), values, &result, err);
	if (status != HR_OK)
		return err_add(err, "begin a run");
	bool taken = PQntuples(result) == 1;
	if (taken)
		read_source(publish, result);
	PQclear(result);
	if (!taken)
		return HR_NONE;
	*out = give(publish);
	return HR_OK;
}

/* Waits for the lease to be given back: the server ends a session some time after it was closed. */
static const char release_sql[] = "SELECT pg_advisory_unlock_all()";

void publish_free(struct publish *publish)
{
	if (!publish)
		return;
	if (PQstatus(publish->conn) == CONNECTION_OK && !publish->copying)
		PQclear(PQexec(publish->conn, release_sql));
	PQfinish(publish->conn);
	buf_free(&publish->rows);
	free(publish->source.kind);
	texts_free(publish->source.urls);
	free(publish->source.tls);
	free(publish->source.ca);
	free(publish->source.bind_dn);
	free(publish->source.bind_secret);
	free(publish->source.base_dn);
	free(publish->source.filter);
	texts_free(publish->source.attributes);
	free(publish);
}

const struct publish_source *publish_source(const struct publish *publish)
{
	return &publish->source;
}

/* Staging: COPY in binary format, some hundred kilobytes a statement, so that no transaction stays
 * open while a slow directory thinks. The server reads one COPY while we gather the next. --------
 */

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

static enum hr_status end_copy(struct publish *publish, struct hr_err *err)
{
	enum hr_status status = HR_OK;

	if (!publish->copying)
		return HR_OK;
	publish->copying = false;
	for (PGresult *result; (result = PQgetResult(publish->conn)); PQclear(result))
		if (PQresultStatus(result) != PGRES_COMMAND_OK && status == HR_OK)
			status = fail_from(publish, result, err);
	return status == HR_OK ? HR_OK : err_add(err, "stage entries");
}

static enum hr_status flush(struct publish *publish, struct hr_err *err)
{
	if (end_copy(publish, err) != HR_OK)
		return err->status;
	if (publish->rows.len == 0)
		return HR_OK;
	add_u16(&publish->rows, UINT16_MAX); /* the end of the data */

	PGresult *result = PQexec(publish->conn, copy_sql);
	if (PQresultStatus(result) != PGRES_COPY_IN) {
		fail_from(publish, result, err);
		PQclear(result);
		return err_add(err, "stage entries");
	}
	PQclear(result);
	publish->copying = true;
	if (PQputCopyData(publish->conn, publish->rows.data, (int)publish->rows.len) != 1 ||
	    PQputCopyEnd(publish->conn, NULL) != 1) {
		fail_from(publish, NULL, err);
		return err_add(err, "stage entries");
	}
	buf_clear(&publish->rows);
	return HR_OK;
}

enum hr_status publish_add(struct publish *publish, const struct publish_entry *entry,
			   struct hr_err *err)
{
	struct buf *rows = &publish->rows;

	if (rows->len == 0)
		buf_add(rows, copy_header, sizeof copy_header - 1);
	add_u16(rows, (uint16_t)(3 + publish->source.attribute_count));
	add_text(rows, entry->anchor);
	add_text(rows, entry->dn);
	add_texts(rows, &entry->refused);
	for (size_t i = 0; i < publish->source.attribute_count; i++)
		add_texts(rows, &entry->attributes[i]);
	return rows->len < FLUSH_BYTES ? HR_OK : flush(publish, err);
}

/* End ----------------------------------------------------------------------------------------- */

#define RESULT_COLUMNS                                                                             \
	"id, state, read, skipped, added, changed, removed, disabled, kept, refused, left(error, " \
	"120)"

static const char finish_sql[] = "SELECT " RESULT_COLUMNS " FROM hedgerow.sync_finish($1::bigint)";
static const char fail_sql[] =
	"SELECT " RESULT_COLUMNS " FROM hedgerow.sync_fail($1::bigint, $2, $3::boolean)";

static void read_result(const PGresult *result, struct publish_result *out)
{
	struct slice state = pg_text(result, 0, 1);

	*out = (struct publish_result){
		.run = pg_bigint(result, 0, 0),
		.read = pg_bigint(result, 0, 2),
		.skipped = pg_bigint(result, 0, 3),
		.added = pg_bigint(result, 0, 4),
		.changed = pg_bigint(result, 0, 5),
		.removed = pg_bigint(result, 0, 6),
		.disabled = pg_bigint(result, 0, 7),
		.kept = pg_bigint(result, 0, 8),
		.refused = pg_bigint(result, 0, 9),
	};
	struct slice why = pg_text(result, 0, 10);
	snprintf(out->state, sizeof out->state, SLICE_FMT, SLICE_ARG(state));
	snprintf(out->why, sizeof out->why, SLICE_FMT, SLICE_ARG(why));
}

/* Runs a statement that ends the run; `values` begin with its number. */
static enum hr_status end_run(struct publish *publish, const char *sql, const char **values, int n,
			      struct publish_result *out, struct hr_err *err)
{
	scoped_str number = str_format("%" PRId64, publish->run);
	PGresult *result;

	values[0] = number;
	enum hr_status status = execute(publish, sql, n, values, &result, err);
	if (status != HR_OK)
		return status;
	read_result(result, out);
	PQclear(result);
	return HR_OK;
}

enum hr_status publish_finish(struct publish *publish, struct publish_result *out,
			      struct hr_err *err)
{
	const char *values[1];

	if (flush(publish, err) != HR_OK || end_copy(publish, err) != HR_OK)
		return err->status;
	if (end_run(publish, finish_sql, values, countof(values), out, err) != HR_OK)
		return err_add(err, "publish");
	return HR_OK;
}

enum hr_status publish_fail(struct publish *publish, const struct hr_err *why,
			    struct publish_result *out, struct hr_err *err)
{
	const char *values[] = { NULL, why->text, why->status == HR_FAIL ? "true" : "false" };
	struct hr_err ignored; /* what was being staged no longer matters */

	if (end_copy(publish, &ignored) != HR_OK && PQstatus(publish->conn) != CONNECTION_OK)
		return err_set(err, HR_RETRY, "record the failure: %s", ignored.text);
	if (end_run(publish, fail_sql, values, countof(values), out, err) != HR_OK)
		return err_add(err, "record the failure");
	return HR_OK;
}

static const char refusals_sql[] = "SELECT anchor, reason FROM hedgerow.sync_difference"
				   " WHERE run = $1::bigint AND action = 'refuse'"
				   " ORDER BY anchor, reason LIMIT $2::int";

enum hr_status publish_refusals(struct publish *publish, int most, publish_refusal_fn *fn,
				void *arg, struct hr_err *err)
{
	scoped_str number = str_format("%" PRId64, publish->run);
	scoped_str limit = str_format("%d", most);
	const char *const values[] = { number, limit };
	PGresult *result;

	if (execute(publish, refusals_sql, countof(values), values, &result, err) != HR_OK)
		return err_add(err, "read the refusals");
	for (int i = 0; i < PQntuples(result); i++)
		fn(arg, pg_text(result, i, 0), pg_text(result, i, 1));
	PQclear(result);
	return HR_OK;
}
