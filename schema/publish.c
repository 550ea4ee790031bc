/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/publish.h"

#include "base/buf.h"
#include "schema/staging.h"

#include <inttypes.h>
#include <stdio.h>

struct publish {
	PGconn *conn;
	const char *forest, *node; /* borrowed */
	struct publish_source *source;
	struct publish_source *former; /* that it took the place of: it may still be in use */
	int64_t run;		       /* 0: none has begun */
	enum publish_kind kind;
	struct staging staging;
};

static const char *const kind_names[] = {
	[PUBLISH_FULL] = "full",
	[PUBLISH_CHANGES] = "changes",
	[PUBLISH_DRY_RUN] = "dry-run",
};

/* One statement with text parameters; *out, binary, is the caller's to clear. */
static enum hr_status execute(struct publish *publish, const char *sql, int n,
			      const char *const *values, PGresult **out, struct hr_err *err)
{
	PGresult *result = PQexecParams(publish->conn, sql, n, NULL, values, NULL, NULL, 1);

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		*out = result;
		return HR_OK;
	}
	enum hr_status status = staging_fault(publish->conn, result, err);
	PQclear(result);
	return status;
}

/* Open ---------------------------------------------------------------------------------------- */

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
	publish->staging.conn = publish->conn;
	if (PQstatus(publish->conn) == CONNECTION_OK)
		return HR_OK;
	const char *text = PQerrorMessage(publish->conn);
	return err_set(err, HR_RETRY, "%.*s", (int)strcspn(text, "\n"), text);
}

enum hr_status publish_open(const char *database, const char *forest, const char *node,
			    struct publish **out, struct hr_err *err)
{
	scoped(publish) publish = mem_new(struct publish);
	scoped_str sql = str_format("SELECT %s FROM hedgerow.sync_open($1) s", source_columns);
	const char *const values[] = { forest };
	PGresult *result;

	publish->forest = forest;
	publish->node = node;
	enum hr_status status = connect_to(publish, database, err);
	if (status == HR_OK)
		status = execute(publish, sql, countof(values), values, &result, err);
	if (status != HR_OK)
		return err_add(err, "open forest %s in the registry", forest);
	bool taken = PQntuples(result) > 0;
	if (taken)
		publish->source = source_read(result, 0);
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
	if (PQstatus(publish->conn) == CONNECTION_OK && !publish->staging.copying)
		PQclear(PQexec(publish->conn, release_sql));
	PQfinish(publish->conn);
	buf_free(&publish->staging.rows);
	source_free(publish->source);
	source_free(publish->former);
	free(publish);
}

const struct publish_source *publish_source(const struct publish *publish)
{
	return publish->source;
}

int publish_fd(const struct publish *publish)
{
	return PQsocket(publish->conn);
}

enum hr_status publish_check(struct publish *publish, struct hr_err *err)
{
	if (PQconsumeInput(publish->conn) == 1 && PQstatus(publish->conn) == CONNECTION_OK)
		return HR_OK;
	const char *text = PQerrorMessage(publish->conn);
	return err_set(err, HR_RETRY, "%.*s", (int)strcspn(text, "\n"), text);
}

/* Begin --------------------------------------------------------------------------------------- */

static void renew(struct publish *publish, struct publish_source *newer)
{
	if (strcmp(publish->source->fingerprint, newer->fingerprint) == 0) {
		source_swap_cursors(publish->source, newer);
		source_free(newer);
		return;
	}
	source_free(publish->former);
	publish->former = publish->source;
	publish->source = newer;
}

enum hr_status publish_begin(struct publish *publish, enum publish_kind kind, bool draft,
			     struct hr_err *err)
{
	scoped_str sql =
		str_format("SELECT run, %s FROM hedgerow.sync_begin($1, $2, $3::boolean, $4, $5)",
			   source_columns);
	const char *const values[] = { publish->forest, kind_names[kind], draft ? "true" : "false",
				       publish->node, publish->source->fingerprint };
	PGresult *result;

	if (execute(publish, sql, countof(values), values, &result, err) != HR_OK)
		return err_add(err, "begin a run");
	renew(publish, source_read(result, 1));
	bool begun = !PQgetisnull(result, 0, 0);
	publish->run = pg_bigint(result, 0, 0);
	publish->kind = kind;
	publish->staging.columns = publish->source->attribute_count;
	PQclear(result);
	if (begun && staging_reset(&publish->staging, err) != HR_OK)
		return err->status;
	return begun ? HR_OK : HR_NONE;
}

/* Staging ------------------------------------------------------------------------------------- */

enum hr_status publish_add(struct publish *publish, const struct publish_entry *entry,
			   struct hr_err *err)
{
	return staging_add(&publish->staging, entry, STAGING_HERE, err);
}

enum hr_status publish_gone(struct publish *publish, struct slice anchor, bool proven,
			    struct hr_err *err)
{
	const struct publish_entry entry = { .anchor = anchor };

	return staging_add(&publish->staging, &entry, proven ? STAGING_GONE : STAGING_DOUBTFUL,
			   err);
}

static const char position_sql[] =
	"SELECT hedgerow.sync_at($1, $2, $3, $4, $5::bigint, $6::bytea, $7::bigint)";

static char *hex_of(struct slice bytes)
{
	static const char digits[] = "0123456789abcdef";
	char *text = mem_alloc(2 * bytes.len + 3);
	size_t at = 0;

	text[at++] = '\\';
	text[at++] = 'x';
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char byte = (unsigned char)bytes.data[i];
		text[at++] = digits[byte >> 4];
		text[at++] = digits[byte & 15];
	}
	text[at] = '\0';
	return text;
}

static enum hr_status keep_position(struct publish *publish, const struct publish_cursor *cursor,
				    struct hr_err *err)
{
	scoped_str usn = str_format("%" PRId64, cursor->usn);
	scoped_str entries = str_format("%" PRId64, cursor->entries);
	scoped_str cookie = cursor->cookie.data ? hex_of(cursor->cookie) : NULL;
	const char *const values[] = {
		cursor->base_dn, cursor->method, cursor->server, cursor->incarnation, usn,
		cookie,		 entries
	};
	PGresult *result;

	if (execute(publish, position_sql, countof(values), values, &result, err) != HR_OK)
		return err_add(err, "position in %s", cursor->base_dn);
	PQclear(result);
	return HR_OK;
}

/* End ----------------------------------------------------------------------------------------- */

#define RESULT_COLUMNS                                                                     \
	"id, state, read, skipped, added, changed, readdressed, removed, disabled, kept, " \
	"refused, "                                                                        \
	"wants_full, left(error, 120)"

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
		.readdressed = pg_bigint(result, 0, 6),
		.removed = pg_bigint(result, 0, 7),
		.disabled = pg_bigint(result, 0, 8),
		.kept = pg_bigint(result, 0, 9),
		.refused = pg_bigint(result, 0, 10),
		.wants_full = pg_bool(result, 0, 11),
	};
	struct slice why = pg_text(result, 0, 12);
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
	out->kind = publish->kind;
	PQclear(result);
	return HR_OK;
}

static const char remember_sql[] = "SELECT hedgerow.sync_remember()";

/* What is remembered only saves the next run time, and this one is over: when it cannot be, the
 * next maps everything. A connection that is lost shows at its next use. */
static void remember(struct publish *publish)
{
	struct hr_err ignored;
	PGresult *result;

	if (execute(publish, remember_sql, 0, NULL, &result, &ignored) == HR_OK)
		PQclear(result);
}

enum hr_status publish_finish(struct publish *publish, const struct publish_cursor *cursors,
			      size_t n, struct publish_result *out, struct hr_err *err)
{
	const char *values[1];

	if (staging_flush(&publish->staging, err) != HR_OK)
		return err->status;
	for (size_t i = 0; i < n; i++)
		if (keep_position(publish, &cursors[i], err) != HR_OK)
			return err->status;
	if (end_run(publish, finish_sql, values, countof(values), out, err) != HR_OK)
		return err_add(err, "publish");
	remember(publish);
	return HR_OK;
}

enum hr_status publish_fail(struct publish *publish, const struct hr_err *why,
			    struct publish_result *out, struct hr_err *err)
{
	const char *values[] = { NULL, why->text, why->status == HR_FAIL ? "true" : "false" };
	struct hr_err ignored; /* what was being staged no longer matters */

	if (staging_reset(&publish->staging, &ignored) != HR_OK &&
	    PQstatus(publish->conn) != CONNECTION_OK)
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
