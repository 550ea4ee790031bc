/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's book: of a run of numbered messages, which have come, which came twice, which
 * overtook another of their conversation, and how late each was. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tally {
	uint64_t first;	     /* the number that the run began with */
	uint64_t sent;	     /* kept by the sender: first + sent is the next number */
	uint64_t received;   /* each number once */
	uint64_t duplicates; /* came again */
	uint64_t disordered; /* came after a later one of their conversation */
	uint64_t strays;     /* of another run, or never sent */

	size_t pairs;	     /* of here on: the tally's own */
	uint64_t *last;	     /* by pair: the highest number seen, plus one */
	unsigned char *bits; /* by number - first: has come */
	size_t bits_size;
	uint32_t *late_us;
	size_t late_count, late_size;
};

void tally_begin(struct tally *tally, uint64_t first,
		 size_t pairs);	      /* from all zero or a former run */
void tally_free(struct tally *tally); /* what it owns, not the struct */
/* True when the message counts: sent in this run and not seen before. */
bool tally_seen(struct tally *tally, uint64_t number, size_t pair);
void tally_late(struct tally *tally, int64_t late_us);
/* How late the given share of messages was at most: 0.5 is the median. 0 when there is none. */
uint32_t tally_quantile(struct tally *tally, double share);
