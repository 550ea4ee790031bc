/* SPDX-License-Identifier: Apache-2.0 */
/* The XEP-0199 pings that a stream waits for, oldest first. The server reads in order, so its
 * answer to one, result or error, proves that it has read everything written before that one.
 * Pure. */
#pragma once

#include "base/mem.h"
#include "base/time.h"
#include "gateway/xmpp/scan.h"

struct barriers;

/* `timeout`: since the ping before was answered, or this one was sent. */
struct barriers *barriers_new(msec timeout);
void barriers_free(struct barriers *barriers);
DEFINE_SCOPED(barriers)

/* A further one, which says that the server has read up to seq; 0: only that it is there. Returns
 * the number of its id. */
uint64_t barriers_add(struct barriers *barriers, int64_t seq, msec now);
/* The number of the barrier whose answer this stanza of the server's `domain` is; false when it is
 * none. Only the server itself may answer: a user could guess the id. */
bool barriers_answered(const struct scan_stanza *stanza, const char *domain, uint64_t *number);
char *barriers_id(uint64_t number); /* the stanza id, owned by the caller */
/* That one and all before it are passed. Returns the highest seq of them, 0: none. HR_NONE: it is
 * of an earlier stream. */
enum hr_status barriers_pass(struct barriers *barriers, uint64_t number, msec now, int64_t *seq);
void barriers_forget(
	struct barriers *barriers); /* the stream has ended: late answers are to none */
void barriers_postpone(struct barriers *barriers, msec now); /* all have their whole time again */

size_t barriers_count(const struct barriers *barriers);
msec barriers_deadline(const struct barriers *barriers); /* of the oldest; there is one */
