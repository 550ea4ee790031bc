/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/session_inbox.h"

#include "federation/session.h"

enum { ENTRIES_MAX = 2 * SESSION_WINDOW };

struct entry {
	int64_t seq;
	size_t bytes;
};

struct inbox {
	int64_t received, committed;	/* committed <= received */
	struct entry ring[ENTRIES_MAX]; /* what is received and not committed, in order */
	size_t first, count, bytes;
};

struct inbox *inbox_new(void)
{
	return mem_new(struct inbox);
}

void inbox_free(struct inbox *inbox)
{
	free(inbox);
}

void inbox_reset(struct inbox *inbox)
{
	inbox->received = inbox->committed = 0;
	inbox->count = inbox->bytes = 0;
}

int64_t inbox_received(const struct inbox *inbox)
{
	return inbox->received;
}

int64_t inbox_committed(const struct inbox *inbox)
{
	return inbox->committed;
}

bool inbox_take(struct inbox *inbox, int64_t seq, size_t bytes)
{
	if (inbox->count == ENTRIES_MAX || inbox->bytes + bytes > SESSION_HELD_MAX)
		return false;
	inbox->ring[(inbox->first + inbox->count++) % ENTRIES_MAX] = (struct entry){ seq, bytes };
	inbox->bytes += bytes;
	inbox->received = seq;
	return true;
}

void inbox_commit(struct inbox *inbox, int64_t seq)
{
	if (seq <= inbox->committed)
		return;
	while (inbox->count > 0 && inbox->ring[inbox->first].seq <= seq) {
		inbox->bytes -= inbox->ring[inbox->first].bytes;
		inbox->first = (inbox->first + 1) % ENTRIES_MAX;
		inbox->count--;
	}
	inbox->committed = seq;
	if (inbox->received < seq)
		inbox->received = seq;
}
