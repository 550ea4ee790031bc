/* SPDX-License-Identifier: Apache-2.0 */
/* What the load generator says: chat messages between pairs of people, each with a number and the
 * time at which it was due hidden in an id that looks like a random UUID (so that it compresses no
 * better than a real one), and a body of English words that follows from the number, so that the
 * receiver can check every byte. Pure: no sockets, no clock. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

enum { TRAFFIC_STANZA = 298, TRAFFIC_BODY = 64, TRAFFIC_SPACE = 512 };

struct traffic;

struct traffic_options {
	size_t pairs;
	/* Where people are native, and the domain that all share in the federation: what is sent is
	 * native -> federated, what is seen federated -> native. NULL: native on both ends. */
	const char *native_a, *native_b, *federated;
};

/* HR_FAIL: a name too long for a stanza of TRAFFIC_STANZA bytes. */
HR_MUST_USE enum hr_status traffic_new(const struct traffic_options *options, struct traffic **out,
				       struct hr_err *err);
void traffic_free(struct traffic *traffic);

/* Writes the message into `to` (TRAFFIC_SPACE bytes); returns its length. */
size_t traffic_write(const struct traffic *traffic, uint64_t number, uint64_t due_ns, char *to);

struct traffic_seen {
	uint64_t number, due_ns;
	size_t pair; /* the conversation */
};

/* Reads the id; HR_FAIL when it is none of ours. */
HR_MUST_USE enum hr_status traffic_read(const struct traffic *traffic, struct slice id,
					struct traffic_seen *out, struct hr_err *err);
/* Did it arrive whole, at the right person, from the right one? */
HR_MUST_USE enum hr_status traffic_check(const struct traffic *traffic,
					 const struct traffic_seen *seen, struct slice from,
					 struct slice to, struct slice inner, struct hr_err *err);

/* The people, for the registry: one of 2 * pairs. */
struct traffic_person {
	char address[64]; /* local part, shared namespace */
	char native[16];  /* local part */
	char name[64];
	bool at_b;
};
struct traffic_person traffic_person(size_t index);
