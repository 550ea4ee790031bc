/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/journal.h"

#include "base/mem.h"

/* Every request keeps its callback in one of these until the answer. */
struct request {
	union {
		journal_commit_fn *commit;
		journal_open_fn *open;
		journal_read_fn *read;
		journal_position_fn *position;
		journal_node_fn *node;
		journal_asked_fn *asked;
		journal_leftovers_fn *leftovers;
		journal_lease_fn *plain;
	} fn;
	void *arg;
	size_t queue_count;
};

static struct request *request_new(void *arg)
{
	struct request *request = mem_new(struct request);

	request->arg = arg;
	return request;
}

/* The request itself, which ends with this call. */
static struct request request_end(void *request)
{
	struct request copy = *(struct request *)request;

	free(request);
	return copy;
}

/* A statement that answers with one row did not: HR_FAIL with a text. */
static enum hr_status one_row(enum hr_status status, const PGresult *result,
			      const struct hr_err **err, struct hr_err *missing)
{
	if (status != HR_OK || PQntuples(result) == 1)
		return status;
	*err = missing;
	return err_set(missing, HR_FAIL, "%d rows came where one was expected", PQntuples(result));
}

static void done(void *arg, enum hr_status status, const PGresult *result, const struct hr_err *err)
{
	struct request request = request_end(arg);

	(void)result;
	request.fn.plain(request.arg, status, err);
}

/* ---- commit */

static const struct pg_statement commit_statement = {
	"journal_commit",
	"SELECT first FROM hedgerow.journal_commit($1::text, $2::bigint, $3::bigint[], $4::int[],"
	" $5::bigint[], $6::bool[], $7::int[], $8::int[], $9::text[], $10::text[], $11::bytea[],"
	" $12::timestamptz[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[],"
	" $17::timestamptz[], $18::bytea[], $19::text[], $20::text[], $21::text[], $22::bool[],"
	" $23::timestamptz[], $24::bytea[], $25::text[], $26::text[], $27::text[], $28::bool[],"
	" $29::bool[]) AS first"
};

static void committed(void *arg, enum hr_status status, const PGresult *result,
		      const struct hr_err *err)
{
	struct request request = request_end(arg);
	int64_t *first = NULL;
	struct hr_err missing;

	status = one_row(status, result, &err, &missing);
	if (status == HR_OK && !PQgetisnull(result, 0, 0)) {
		first = mem_array(int64_t, request.queue_count + 1);
		pg_bigints(result, 0, 0, first, request.queue_count);
	}
	request.fn.commit(request.arg, status, first, err);
	free(first);
}

/* How many rows each queue gets, and each row's place among those of its queue, from 1. */
static void count_rows(const struct journal_batch *batch, int32_t *counts, int32_t *offsets)
{
	for (size_t i = 0; i < batch->row_count; i++)
		offsets[i] = ++counts[batch->rows[i].queue];
}

static void add_queues(struct pg_params *params, const struct journal_batch *batch,
		       const int32_t *counts)
{
	pg_begin_array(params, PG_BIGINT, batch->queue_count);
	for (size_t i = 0; i < batch->queue_count; i++)
		pg_item_bigint(params, batch->queues[i].id);
	pg_begin_array(params, PG_INT, batch->queue_count);
	for (size_t i = 0; i < batch->queue_count; i++)
		pg_item_int(params, counts[i]);
	pg_begin_array(params, PG_BIGINT, batch->queue_count);
	for (size_t i = 0; i < batch->queue_count; i++)
		pg_item_bigint(params, batch->queues[i].acked);
	pg_begin_array(params, PG_BOOL, batch->queue_count);
	for (size_t i = 0; i < batch->queue_count; i++)
		pg_item_bool(params, batch->queues[i].wake);
}

static void add_rows(struct pg_params *params, const struct journal_batch *batch,
		     const int32_t *offsets)
{
	const struct journal_row_in *rows = batch->rows;
	size_t n = batch->row_count;

	pg_begin_array(params, PG_INT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_int(params, (int32_t)rows[i].queue + 1);
	pg_begin_array(params, PG_INT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_int(params, offsets[i]);
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, rows[i].sender);
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, rows[i].recipient);
	pg_begin_array(params, PG_BYTEA, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bytes(params, rows[i].packed);
	pg_begin_array(params, PG_TIMESTAMPTZ, n);
	for (size_t i = 0; i < n; i++)
		pg_item_time(params, rows[i].expires);
}

static void add_origins(struct pg_params *params, const struct journal_batch *batch)
{
	pg_begin_array(params, PG_TEXT, batch->origin_count);
	for (size_t i = 0; i < batch->origin_count; i++)
		pg_item_text(params, batch->origins[i].site);
	pg_begin_array(params, PG_BIGINT, batch->origin_count);
	for (size_t i = 0; i < batch->origin_count; i++)
		pg_item_bigint(params, batch->origins[i].from);
	pg_begin_array(params, PG_BIGINT, batch->origin_count);
	for (size_t i = 0; i < batch->origin_count; i++)
		pg_item_bigint(params, batch->origins[i].to);
}

/* One array of texts or bytes: the slice at `offset` in each of `n` structs of `size`. */
static void add_column(struct pg_params *params, enum pg_type type, const void *items, size_t n,
		       size_t size, size_t offset)
{
	pg_begin_array(params, type, n);
	for (size_t i = 0; i < n; i++) {
		const struct slice *value = (const void *)((const char *)items + i * size + offset);

		if (type == PG_BYTEA)
			pg_item_bytes(params, *value);
		else
			pg_item_text(params, *value);
	}
}
#define ADD_COLUMN(params, type, items, n, field) \
	add_column(params, type, items, n, sizeof *(items), offsetof(__typeof__(*(items)), field))

static void add_later(struct pg_params *params, const struct journal_later_in *later, size_t n)
{
	pg_begin_array(params, PG_BIGINT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bigint(params, later[i].queue);
	pg_begin_array(params, PG_TIMESTAMPTZ, n);
	for (size_t i = 0; i < n; i++)
		pg_item_time(params, later[i].not_before);
	ADD_COLUMN(params, PG_BYTEA, later, n, id);
	ADD_COLUMN(params, PG_TEXT, later, n, sender);
	ADD_COLUMN(params, PG_TEXT, later, n, recipient);
	ADD_COLUMN(params, PG_TEXT, later, n, awaits);
	pg_begin_array(params, PG_BOOL, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bool(params, later[i].asked);
	pg_begin_array(params, PG_TIMESTAMPTZ, n);
	for (size_t i = 0; i < n; i++)
		pg_item_time(params, later[i].expires);
	ADD_COLUMN(params, PG_BYTEA, later, n, packed);
}

static void add_cancels(struct pg_params *params, const struct journal_cancel_in *cancels, size_t n)
{
	ADD_COLUMN(params, PG_TEXT, cancels, n, recipient);
	ADD_COLUMN(params, PG_TEXT, cancels, n, sender);
	ADD_COLUMN(params, PG_TEXT, cancels, n, awaits);
}

static void add_offers(struct pg_params *params, const struct journal_batch *batch)
{
	pg_begin_array(params, PG_BOOL, batch->queue_count);
	for (size_t i = 0; i < batch->queue_count; i++)
		pg_item_bool(params, batch->queues[i].offer);
}

void journal_commit(struct pg *pg, const struct journal_batch *batch, journal_commit_fn *fn,
		    void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);
	int32_t *counts = mem_array(int32_t, batch->queue_count + 1);
	int32_t *offsets = mem_array(int32_t, batch->row_count + 1);

	request->fn.commit = fn;
	request->queue_count = batch->queue_count;
	count_rows(batch, counts, offsets);
	pg_add_text(params, batch->node);
	pg_add_bigint(params, batch->number);
	add_queues(params, batch, counts);
	add_rows(params, batch, offsets);
	add_origins(params, batch);
	add_later(params, batch->later, batch->later_count);
	add_cancels(params, batch->cancels, batch->cancel_count);
	add_offers(params, batch);
	pg_begin_array(params, PG_BOOL, batch->later_count);
	for (size_t i = 0; i < batch->later_count; i++)
		pg_item_bool(params, batch->later[i].whole);
	pg_send_owned(pg, &commit_statement, params, committed, request);
	free(offsets);
	free(counts);
}

/* ---- open */

static const struct pg_statement open_statement = {
	"journal_open",
	"SELECT id, head, acked, offered, incarnation FROM hedgerow.journal_open($1::text)"
};
enum { OPEN_ID, OPEN_HEAD, OPEN_ACKED, OPEN_OFFERED, OPEN_INCARNATION };

static void opened(void *arg, enum hr_status status, const PGresult *result,
		   const struct hr_err *err)
{
	struct request request = request_end(arg);
	struct journal_queue_state state = { 0 };
	struct hr_err missing;

	status = one_row(status, result, &err, &missing);
	if (status == HR_OK)
		state = (struct journal_queue_state){
			.id = pg_bigint(result, 0, OPEN_ID),
			.head = pg_bigint(result, 0, OPEN_HEAD),
			.acked = pg_bigint(result, 0, OPEN_ACKED),
			.offered = pg_bigint(result, 0, OPEN_OFFERED),
			.incarnation = pg_text(result, 0, OPEN_INCARNATION),
		};
	request.fn.open(request.arg, status, status == HR_OK ? &state : NULL, err);
}

void journal_open_queue(struct pg *pg, struct slice name, journal_open_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.open = fn;
	pg_add_text(params, name);
	pg_send_owned(pg, &open_statement, params, opened, request);
}

/* ---- read */

static const struct pg_statement read_statement = {
	"journal_read",
	"SELECT seq, envelope FROM hedgerow.journal_read($1::bigint, $2::bigint, $3::int)"
};
enum { READ_SEQ, READ_ENVELOPE };

static void have_read(void *arg, enum hr_status status, const PGresult *result,
		      const struct hr_err *err)
{
	struct request request = request_end(arg);
	int rows = status == HR_OK ? PQntuples(result) : 0;

	for (int row = 0; row < rows; row++)
		request.fn.read(request.arg, HR_OK, pg_bigint(result, row, READ_SEQ),
				pg_text(result, row, READ_ENVELOPE), err);
	request.fn.read(request.arg, status, 0, (struct slice){ 0 }, err);
}

void journal_read(struct pg *pg, int64_t queue, int64_t after, int32_t limit, journal_read_fn *fn,
		  void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.read = fn;
	pg_add_bigint(params, queue);
	pg_add_bigint(params, after);
	pg_add_int(params, limit);
	pg_send_owned(pg, &read_statement, params, have_read, request);
}

/* ---- resume position */

static const struct pg_statement position_statement = {
	"journal_position",
	"SELECT position FROM hedgerow.journal_position($1::text, $2::text::uuid) AS position"
};

static void have_position(void *arg, enum hr_status status, const PGresult *result,
			  const struct hr_err *err)
{
	struct request request = request_end(arg);
	struct hr_err missing;

	status = one_row(status, result, &err, &missing);
	request.fn.position(request.arg, status, status == HR_OK ? pg_bigint(result, 0, 0) : 0,
			    err);
}

void journal_position(struct pg *pg, struct slice site, struct slice incarnation,
		      journal_position_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.position = fn;
	pg_add_text(params, site);
	pg_add_text(params, incarnation);
	pg_send_owned(pg, &position_statement, params, have_position, request);
}

/* ---- lease and node */

static const struct pg_statement lease_statement = {
	"journal_lease", "SELECT taken FROM hedgerow.journal_lease($1::text) AS taken"
};

static void have_lease(void *arg, enum hr_status status, const PGresult *result,
		       const struct hr_err *err)
{
	struct request request = request_end(arg);
	struct hr_err missing;

	status = one_row(status, result, &err, &missing);
	if (status == HR_OK && !pg_bool(result, 0, 0))
		status = HR_NONE;
	request.fn.plain(request.arg, status, err);
}

void journal_lease(struct pg *pg, struct slice name, journal_lease_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.plain = fn;
	pg_add_text(params, name);
	pg_send_owned(pg, &lease_statement, params, have_lease, request);
}

static const struct pg_statement end_lease_statement = {
	"journal_end_lease", "SELECT FROM hedgerow.journal_end_lease($1::text)"
};

void journal_end_lease(struct pg *pg, struct slice name, journal_lease_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.plain = fn;
	pg_add_text(params, name);
	pg_send_owned(pg, &end_lease_statement, params, done, request);
}

static const struct pg_statement node_statement = {
	"journal_node", "SELECT last_batch FROM hedgerow.journal_node($1::text) AS last_batch"
};

static void have_node(void *arg, enum hr_status status, const PGresult *result,
		      const struct hr_err *err)
{
	struct request request = request_end(arg);
	struct hr_err missing;

	status = one_row(status, result, &err, &missing);
	request.fn.node(request.arg, status, status == HR_OK ? pg_bigint(result, 0, 0) : 0, err);
}

void journal_node(struct pg *pg, struct slice node, journal_node_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.node = fn;
	pg_add_text(params, node);
	pg_send_owned(pg, &node_statement, params, have_node, request);
}

/* ---- what is left over */

static const struct pg_statement leftovers_statement = {
	"journal_leftovers", "SELECT queue, upto FROM hedgerow.journal_leftovers()"
};
enum { LEFTOVERS_QUEUE, LEFTOVERS_UPTO };

static void have_leftovers(void *arg, enum hr_status status, const PGresult *result,
			   const struct hr_err *err)
{
	struct request request = request_end(arg);
	int rows = status == HR_OK ? PQntuples(result) : 0;

	for (int row = 0; row < rows; row++)
		request.fn.leftovers(request.arg, HR_OK, pg_text(result, row, LEFTOVERS_QUEUE),
				     pg_bigint(result, row, LEFTOVERS_UPTO), err);
	request.fn.leftovers(request.arg, status, (struct slice){ 0 }, 0, err);
}

void journal_leftovers(struct pg *pg, journal_leftovers_fn *fn, void *arg)
{
	struct request *request = request_new(arg);

	request->fn.leftovers = fn;
	pg_send_owned(pg, &leftovers_statement, NULL, have_leftovers, request);
}

/* ---- receipts that are waited for */

static const struct pg_statement asked_statement = {
	"journal_asked", "SELECT recipient, sender, awaits FROM hedgerow.journal_asked()"
};
enum { ASKED_RECIPIENT, ASKED_SENDER, ASKED_AWAITS };

static void have_asked(void *arg, enum hr_status status, const PGresult *result,
		       const struct hr_err *err)
{
	struct request request = request_end(arg);
	const struct slice none = { 0 };
	int rows = status == HR_OK ? PQntuples(result) : 0;

	for (int row = 0; row < rows; row++)
		request.fn.asked(request.arg, HR_OK, pg_text(result, row, ASKED_RECIPIENT),
				 pg_text(result, row, ASKED_SENDER),
				 pg_text(result, row, ASKED_AWAITS), err);
	request.fn.asked(request.arg, status, none, none, none, err);
}

void journal_asked(struct pg *pg, journal_asked_fn *fn, void *arg)
{
	struct request *request = request_new(arg);

	request->fn.asked = fn;
	pg_send_owned(pg, &asked_statement, NULL, have_asked, request);
}

/* ---- dead letters, what is due, maintenance: nothing comes back */

static const struct pg_statement dead_letter_statement = {
	"journal_dead_letter", "SELECT FROM hedgerow.journal_dead_letter($1::bigint, $2::bigint,"
			       " $3::bytea, $4::text)"
};
static const struct pg_statement due_statement = { "journal_due", "SELECT hedgerow.journal_due()" };
static const struct pg_statement maintain_statement = { "journal_maintain",
							"SELECT FROM hedgerow.journal_maintain()" };

void journal_dead_letter(struct pg *pg, int64_t queue, int64_t seq, struct slice packed,
			 const char *reason, journal_lease_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg);

	request->fn.plain = fn;
	pg_add_bigint(params, queue);
	pg_add_bigint(params, seq);
	pg_add_bytes(params, packed);
	pg_add_text(params, slice_str(reason));
	pg_send_owned(pg, &dead_letter_statement, params, done, request);
}

void journal_maintain(struct pg *pg, journal_lease_fn *fn, void *arg)
{
	struct request *request = request_new(arg);

	request->fn.plain = fn;
	pg_send_owned(pg, &maintain_statement, NULL, done, request);
}

void journal_due(struct pg *pg, journal_lease_fn *fn, void *arg)
{
	struct request *request = request_new(arg);

	request->fn.plain = fn;
	pg_send_owned(pg, &due_statement, NULL, done, request);
}
