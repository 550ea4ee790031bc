/* SPDX-License-Identifier: Apache-2.0 */
/* One journal queue as its owning gateway sees it: which part is in memory, what was handed to
 * the destination, what the destination has accepted. Pure state: federation/journal.h feeds it
 * from PostgreSQL, a destination (a link, an XMPP stream) consumes it.
 *
 *   acked <= sent <= loaded <= head       seqs; envelopes acked+1 .. loaded are in memory
 *
 * What is past `loaded` is read from the journal when there is room again. A row that the journal
 * no longer has is passed over when those before it are accepted. */
#pragma once

#include "federation/envelope.h"

struct queue;

enum { QUEUE_MEMORY_MAX = 8192, QUEUE_BYTES_MAX = 32 * 1024 * 1024 };

/* Nothing is in memory yet: everything after `acked` is to be read. */
struct queue *queue_new(int64_t head, int64_t acked);
void queue_free(struct queue *queue);
DEFINE_SCOPED(queue)

int64_t queue_head(const struct queue *queue);
int64_t queue_acked(const struct queue *queue);
int64_t queue_sent(const struct queue *queue);
int64_t queue_handed(const struct queue *queue); /* past acked, up to here it may have arrived */
int64_t queue_depth(const struct queue *queue);	 /* head - acked */

/* Committed: the envelope's seq. Kept in memory (a reference is taken) when it is the next after
 * `loaded` and there is room; else only `head` moves. */
void queue_committed(struct queue *queue, int64_t seq, struct envelope *envelope);
/* Somebody else appended: head is at least this. */
void queue_grew(struct queue *queue, int64_t head);
/* HR_OK: *after and *limit say what to read from the journal now. HR_NONE: nothing to read, or
 * no room. While a read is under way, queue_loading is true and this says HR_NONE. */
enum hr_status queue_wants(struct queue *queue, int64_t *after, int32_t *limit);
bool queue_loading(const struct queue *queue);
void queue_load(struct queue *queue, int64_t seq, struct envelope *envelope); /* reference taken */
void queue_load_end(struct queue *queue);

/* Whoever consumed the queue before may have handed it over up to seq. */
void queue_offered(struct queue *queue, int64_t seq);
/* queue_peek gives nothing past seq. */
void queue_limit(struct queue *queue, int64_t seq);
/* The next envelope for the destination, borrowed; NULL: none in memory now. */
struct envelope *queue_peek(const struct queue *queue, int64_t *seq);
void queue_take(struct queue *queue); /* the peeked one was handed over: sent moves */
/* The first one not accepted, sent or not; NULL: none in memory. For expiry and dead letters. */
struct envelope *queue_first(const struct queue *queue, int64_t *seq, bool *sent);
/* Accepted up to seq. False: seq is not within acked..sent (a liar, or late): nothing has changed.
 */
bool queue_ack(struct queue *queue, int64_t seq);
/* Gives up everything up to seq, sent or not (expired, dead): acked and sent move past it. */
void queue_skip(struct queue *queue, int64_t seq);
/* The destination was lost or says where it is: sent goes back to max(acked, seq). */
void queue_rewind(struct queue *queue, int64_t seq);
/* The destination says that it has everything up to seq, and will have nothing more of what was
 * handed over: that is handed over again. */
void queue_resume(struct queue *queue, int64_t seq);
