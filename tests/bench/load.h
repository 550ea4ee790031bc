/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of the load generator: holds the streams of both sides, pumps messages from A to B
 * and keeps the book. One run at a time:
 *   probe  a few messages, again and again until all of them arrive: the way is open
 *   full   as fast as the system under test takes them, with a bounded number under way
 *   paced  at a fixed rate whatever happens; latency counts from when each message was due
 * A run has a warm-up that is not measured, and ends when all has arrived or nothing has for long.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "tests/bench/session.h"
#include "tests/bench/traffic.h"
#include "tests/bench/usage.h"

#include <netinet/in.h>
#include <sys/types.h>

enum load_kind { LOAD_PROBE, LOAD_FULL, LOAD_PACED };

struct load_options {
	/* SERVER: listens, and components dial. COMPONENT: dials the servers. */
	enum session_role role;
	struct sockaddr_in address[2]; /* of side A and side B */
	const char *secret;
	struct traffic_options traffic;
	const pid_t *watched; /* roots of the process trees whose CPU time counts */
	size_t watched_count;
	const struct sockaddr_in *wires; /* listeners between the two sites */
	size_t wire_count;
};

struct load_run {
	enum load_kind kind;
	msec warmup, length;
	uint64_t window; /* full: messages under way */
	uint64_t rate;	 /* paced: messages a second */
};

struct load_result {
	uint64_t sent, lost, duplicates, disordered, strays;
	uint64_t wrong;		 /* arrived with a foreign address or body */
	uint64_t errors;	 /* bounced to the sender */
	struct hr_err complaint; /* the first thing wrong, or HR_OK */
	/* Of the measured part: */
	double messages_per_s, cpu_us_per_message, wire_bytes_per_message, load_us_per_message;
	double cpu_of[USAGE_ROOTS_MAX]; /* cpu_us_per_message of each watched tree */
	double elsewhere;		/* processors kept busy by neither the watched nor us */
	uint32_t p50_us, p99_us, max_us;
};

struct load_events {
	void (*ready)(void *ctx); /* both sides have a stream, for the first time */
	void (*done)(void *ctx, const struct load_result *result);
	void (*failed)(void *ctx, const struct hr_err *err); /* the engine can't go on */
};

struct load;
/* Copies nothing: options live as long as the load. */
HR_MUST_USE enum hr_status load_new(struct loop *loop, const struct load_options *options,
				    const struct load_events *events, void *ctx, struct load **out,
				    struct hr_err *err);
void load_free(struct load *load);
DEFINE_SCOPED(load)
/* HR_RETRY: a run is under way, or a side has no stream. */
HR_MUST_USE enum hr_status load_start(struct load *load, const struct load_run *run,
				      struct hr_err *err);
