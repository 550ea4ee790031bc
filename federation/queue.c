/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/queue.h"

enum { FIRST_SIZE = 64, LOAD_MAX = 1024 };

/* Envelope `seq` is in ring[seq % size], for acked < seq <= loaded; size is a power of two. */
struct queue {
	int64_t acked, sent, loaded, head, handed, limit;
	struct envelope **ring;
	size_t size;
	size_t bytes; /* packed, of those in memory */
	enum { IDLE, LOADING, LOADING_FULL } read;
	bool gap; /* the journal has nothing for loaded + 1: go on when those before it are gone */
};

struct queue *queue_new(int64_t head, int64_t acked)
{
	struct queue *queue = mem_new(struct queue);

	queue->acked = queue->sent = queue->loaded = queue->handed = acked;
	queue->head = head > acked ? head : acked;
	queue->limit = INT64_MAX;
	queue->size = FIRST_SIZE;
	queue->ring = mem_array(struct envelope *, queue->size);
	return queue;
}

static struct envelope **slot(const struct queue *queue, int64_t seq)
{
	return &queue->ring[(size_t)seq & (queue->size - 1)];
}

static int64_t in_memory(const struct queue *queue)
{
	return queue->loaded - queue->acked;
}

/* acked becomes seq, at least; what was in memory up to there goes. */
static void forget(struct queue *queue, int64_t seq)
{
	while (queue->acked < seq && queue->acked < queue->loaded) {
		struct envelope **at = slot(queue, ++queue->acked);
		queue->bytes -= (*at)->packed.len;
		envelope_free(give(*at));
	}
	if (queue->acked < seq)
		queue->acked = seq;
	if (queue->loaded < queue->acked)
		queue->loaded = queue->acked;
	if (queue->sent < queue->acked)
		queue->sent = queue->acked;
	if (queue->loaded == queue->acked)
		queue->gap = false;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	forget(queue, queue->loaded);
	free(queue->ring);
	free(queue);
}

int64_t queue_head(const struct queue *queue)
{
	return queue->head;
}

int64_t queue_acked(const struct queue *queue)
{
	return queue->acked;
}

int64_t queue_sent(const struct queue *queue)
{
	return queue->sent;
}

int64_t queue_handed(const struct queue *queue)
{
	return queue->handed;
}

int64_t queue_depth(const struct queue *queue)
{
	return queue->head - queue->acked;
}

static void grow(struct queue *queue)
{
	size_t size = 2 * queue->size;
	struct envelope **ring = mem_array(struct envelope *, size);

	for (int64_t seq = queue->acked + 1; seq <= queue->loaded; seq++)
		ring[(size_t)seq & (size - 1)] = *slot(queue, seq);
	free(queue->ring);
	queue->ring = ring;
	queue->size = size;
}

/* False: no room. An envelope always finds room in an empty queue. */
static bool keep(struct queue *queue, struct envelope *envelope)
{
	int64_t count = in_memory(queue);

	if (count > 0 &&
	    (count >= QUEUE_MEMORY_MAX || queue->bytes + envelope->packed.len > QUEUE_BYTES_MAX))
		return false;
	if ((size_t)count == queue->size)
		grow(queue);
	*slot(queue, ++queue->loaded) = envelope_ref(envelope);
	queue->bytes += envelope->packed.len;
	queue_grew(queue, queue->loaded);
	return true;
}

void queue_committed(struct queue *queue, int64_t seq, struct envelope *envelope)
{
	if (seq == queue->loaded + 1)
		keep(queue, envelope);
	queue_grew(queue, seq);
}

void queue_grew(struct queue *queue, int64_t head)
{
	if (queue->head < head)
		queue->head = head;
}

enum hr_status queue_wants(struct queue *queue, int64_t *after, int32_t *limit)
{
	int64_t count = in_memory(queue), missing = queue->head - queue->loaded;

	if (queue->read != IDLE || queue->gap || missing <= 0)
		return HR_NONE;
	/* Few large reads rather than many small ones: when half of the room is free. */
	if (count > QUEUE_MEMORY_MAX / 2 || queue->bytes > QUEUE_BYTES_MAX / 2)
		return HR_NONE;
	queue->read = LOADING;
	*after = queue->loaded;
	*limit = (int32_t)(missing < LOAD_MAX ? missing : LOAD_MAX);
	return HR_OK;
}

bool queue_loading(const struct queue *queue)
{
	return queue->read != IDLE;
}

void queue_load(struct queue *queue, int64_t seq, struct envelope *envelope)
{
	if (queue->read != LOADING || seq <= queue->loaded)
		return;
	if (seq > queue->loaded + 1) {
		if (in_memory(queue) > 0) {
			queue->gap = true;
			queue->read = LOADING_FULL;
			return;
		}
		forget(queue, seq - 1);
	}
	if (!keep(queue, envelope))
		queue->read = LOADING_FULL;
}

void queue_load_end(struct queue *queue)
{
	queue->read = IDLE;
}

void queue_offered(struct queue *queue, int64_t seq)
{
	if (queue->handed < seq)
		queue->handed = seq;
}

void queue_limit(struct queue *queue, int64_t seq)
{
	queue->limit = seq;
}

struct envelope *queue_peek(const struct queue *queue, int64_t *seq)
{
	if (queue->sent >= queue->loaded || queue->sent >= queue->limit)
		return NULL;
	*seq = queue->sent + 1;
	return *slot(queue, *seq);
}

void queue_take(struct queue *queue)
{
	if (queue->sent >= queue->loaded)
		return;
	queue_offered(queue, ++queue->sent);
}

struct envelope *queue_first(const struct queue *queue, int64_t *seq, bool *sent)
{
	if (queue->acked >= queue->loaded)
		return NULL;
	*seq = queue->acked + 1;
	*sent = *seq <= queue->sent;
	return *slot(queue, *seq);
}

bool queue_ack(struct queue *queue, int64_t seq)
{
	if (seq < queue->acked || seq > queue->sent)
		return false;
	forget(queue, seq);
	return true;
}

void queue_skip(struct queue *queue, int64_t seq)
{
	forget(queue, seq);
	queue_grew(queue, queue->acked);
}

void queue_rewind(struct queue *queue, int64_t seq)
{
	int64_t to = seq > queue->acked ? seq : queue->acked;

	if (to < queue->sent)
		queue->sent = to;
}

void queue_resume(struct queue *queue, int64_t seq)
{
	queue_rewind(queue, queue->acked);
	queue->handed = seq > queue->acked ? seq : queue->acked;
}
