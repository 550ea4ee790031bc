/* SPDX-License-Identifier: Apache-2.0 */
/* bench_journal CONNINFO [BATCHES [ROWS [BYTES]]]
 * How fast the journal commits: batches of ROWS envelopes of BYTES each, one commit at a time as a
 * gateway does it, in turns with the plain INSERT ... SELECT unnest() of the same rows into a table
 * with the same index. Prints rows/s and the CPU of the server's backend and of this process per
 * row. The database must have the schema (hedgerow migrate); a queue, a node and a table named
 * bench are used. */
#include "base/mem.h"
#include "base/pg.h"
#include "base/time.h"
#include "schema/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ROUNDS = 3, QUEUES = 1 };

static const struct pg_statement backend = { "bench_backend", "SELECT pg_backend_pid()" };
static const struct pg_statement plain = {
	"bench_plain",
	"INSERT INTO hedgerow_bench (queue, seq, expires, sender, recipient, envelope)"
	" SELECT unnest($1::bigint[]), unnest($2::bigint[]),"
	" unnest($3::timestamptz[]), unnest($4::text[]), unnest($5::text[]),"
	" unnest($6::bytea[])"
};
static const struct pg_statement make_table = {
	"bench_make", "CREATE TABLE IF NOT EXISTS hedgerow_bench (queue bigint NOT NULL,"
		      " seq bigint NOT NULL, expires timestamptz, sender text NOT NULL,"
		      " recipient text NOT NULL, envelope bytea NOT NULL)"
};
static const struct pg_statement empty_table = { "bench_empty", "TRUNCATE hedgerow_bench" };
static const struct pg_statement make_index = {
	"bench_index",
	"CREATE UNIQUE INDEX IF NOT EXISTS hedgerow_bench_seq ON hedgerow_bench (queue, seq)"
};

struct usage {
	double wall, server, client; /* seconds */
};

struct bench {
	struct loop *loop;
	struct pg *pg;
	int64_t batches, rows, bytes;
	char *payload;
	struct journal_row_in *in;
	int64_t node_batch, queue, seq;
	int server_pid;
	int step, round;
	int64_t left;
	struct usage begun, spent[2][ROUNDS];
};

static double cpu_of(int pid)
{
	scoped_str path = str_format("/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	unsigned long user = 0, kernel = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
		   &kernel) != 2)
		user = kernel = 0;
	fclose(file);
	return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static struct usage usage_now(const struct bench *bench)
{
	struct rusage own;

	getrusage(RUSAGE_SELF, &own);
	return (struct usage){
		.wall = (double)time_usec() / 1e6,
		.server = cpu_of(bench->server_pid),
		.client = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
			  (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6,
	};
}

static void check(enum hr_status status, const struct hr_err *err)
{
	if (status == HR_OK)
		return;
	fprintf(stderr, "bench_journal: %s\n", err->text);
	exit(1);
}

static void next_round(struct bench *bench);

static void send_plain(struct bench *bench);

static void plain_done(void *arg, enum hr_status status, const PGresult *result,
		       const struct hr_err *err)
{
	struct bench *bench = arg;

	(void)result;
	check(status, err);
	if (--bench->left > 0)
		send_plain(bench);
	else
		next_round(bench);
}

static void send_plain(struct bench *bench)
{
	scoped(pg_params) params = pg_params_new();
	size_t n = (size_t)bench->rows;

	pg_begin_array(params, PG_BIGINT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bigint(params, 1);
	pg_begin_array(params, PG_BIGINT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bigint(params, ++bench->seq);
	pg_begin_array(params, PG_TIMESTAMPTZ, n);
	for (size_t i = 0; i < n; i++)
		pg_item_time(params, bench->in[i].expires);
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, bench->in[i].sender);
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, bench->in[i].recipient);
	pg_begin_array(params, PG_BYTEA, n);
	for (size_t i = 0; i < n; i++)
		pg_item_bytes(params, bench->in[i].packed);
	pg_send(bench->pg, &plain, params, plain_done, bench);
}

static void send_journal(struct bench *bench);

static void journal_done(void *arg, enum hr_status status, const int64_t *first,
			 const struct hr_err *err)
{
	struct bench *bench = arg;

	check(status, err);
	if (!first) {
		fprintf(stderr, "bench_journal: the batch had been committed before\n");
		exit(1);
	}
	if (--bench->left > 0)
		send_journal(bench);
	else
		next_round(bench);
}

static void send_journal(struct bench *bench)
{
	struct journal_queue_in queue = { .id = bench->queue, .acked = -1 };
	struct journal_batch batch = {
		.node = slice_lit("bench"),
		.number = ++bench->node_batch,
		.queues = &queue,
		.queue_count = QUEUES,
		.rows = bench->in,
		.row_count = (size_t)bench->rows,
	};

	journal_commit(bench->pg, &batch, journal_done, bench);
}

static void print_result(const struct bench *bench, const char *name, const struct usage *spent)
{
	double rows = (double)(bench->batches * bench->rows);
	struct usage best = spent[0];

	for (int i = 1; i < ROUNDS; i++)
		if (spent[i].wall < best.wall)
			best = spent[i];
	printf("%-8s %9.0f rows/s  %5.2f us of the server's CPU and %5.2f us of ours a row\n", name,
	       rows / best.wall, best.server * 1e6 / rows, best.client * 1e6 / rows);
}

static void finish(struct bench *bench)
{
	printf("batches of %" PRId64 ", envelopes of %" PRId64
	       " bytes, best of %d rounds of %" PRId64 " batches\n",
	       bench->rows, bench->bytes, ROUNDS, bench->batches);
	print_result(bench, "plain", bench->spent[0]);
	print_result(bench, "journal", bench->spent[1]);
	loop_stop(bench->loop);
}

/* Rounds alternate: plain, journal, plain, journal ... */
static void next_round(struct bench *bench)
{
	struct usage now = usage_now(bench);

	if (bench->step > 0)
		bench->spent[(bench->step - 1) % 2][(bench->step - 1) / 2] = (struct usage){
			.wall = now.wall - bench->begun.wall,
			.server = now.server - bench->begun.server,
			.client = now.client - bench->begun.client,
		};
	if (bench->step == 2 * ROUNDS) {
		finish(bench);
		return;
	}
	bench->left = bench->batches;
	bench->begun = now;
	if (bench->step++ % 2 == 0)
		send_plain(bench);
	else
		send_journal(bench);
}

static void have_node(void *arg, enum hr_status status, int64_t last_batch,
		      const struct hr_err *err)
{
	struct bench *bench = arg;

	check(status, err);
	bench->node_batch = last_batch;
	next_round(bench);
}

static void have_queue(void *arg, enum hr_status status, const struct journal_queue_state *state,
		       const struct hr_err *err)
{
	struct bench *bench = arg;

	check(status, err);
	bench->queue = state->id;
	journal_node(bench->pg, slice_lit("bench"), have_node, bench);
}

static void have_backend(void *arg, enum hr_status status, const PGresult *result,
			 const struct hr_err *err)
{
	struct bench *bench = arg;

	check(status, err);
	bench->server_pid = pg_int(result, 0, 0);
	journal_open_queue(bench->pg, slice_lit("bench"), have_queue, bench);
}

static void prepared(void *arg, enum hr_status status, const PGresult *result,
		     const struct hr_err *err)
{
	(void)arg;
	(void)result;
	check(status, err);
}

static void up(void *ctx)
{
	struct bench *bench = ctx;

	pg_send(bench->pg, &make_table, NULL, prepared, bench);
	pg_send(bench->pg, &make_index, NULL, prepared, bench);
	pg_send(bench->pg, &empty_table, NULL, prepared, bench);
	pg_send(bench->pg, &backend, NULL, have_backend, bench);
}

static void down(void *ctx, const struct hr_err *err)
{
	(void)ctx;
	fprintf(stderr, "bench_journal: %s\n", err->text);
	exit(1);
}

static int64_t number(int argc, char **argv, int at, int64_t otherwise)
{
	int64_t value = at < argc ? strtoll(argv[at], NULL, 10) : otherwise;

	if (value <= 0 || value > 1000000) {
		fprintf(stderr, "usage: bench_journal CONNINFO [BATCHES [ROWS [BYTES]]]\n");
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct pg_events events = { .up = up, .down = down };
	struct bench bench = {
		.batches = number(argc, argv, 2, 1000),
		.rows = number(argc, argv, 3, 256),
		.bytes = number(argc, argv, 4, 300),
	};

	if (argc < 2) {
		fprintf(stderr, "usage: bench_journal CONNINFO [BATCHES [ROWS [BYTES]]]\n");
		return 2;
	}
	bench.payload = mem_alloc((size_t)bench.bytes);
	for (int64_t i = 0; i < bench.bytes; i++)
		bench.payload[i] = (char)(i * 131 + 7);
	bench.in = mem_array(struct journal_row_in, (size_t)bench.rows);
	for (int64_t i = 0; i < bench.rows; i++)
		bench.in[i] = (struct journal_row_in){
			.sender = slice_lit("ada.adams@example.com"),
			.recipient = slice_lit("bob.brown@example.com"),
			.packed = { bench.payload, (size_t)bench.bytes },
			.expires = time_usec() + (usec)3600 * 1000000,
		};
	bench.loop = loop_new();
	bench.pg = pg_new(bench.loop, argv[1], "bench_journal", &events, &bench);
	loop_run(bench.loop);
	pg_free(bench.pg);
	loop_free(bench.loop);
	free(bench.in);
	free(bench.payload);
	return 0;
}
