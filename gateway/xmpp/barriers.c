/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/barriers.h"

#define ID_PREFIX "hr-ping-"

enum { DIGITS_MAX = 18 }; /* of a number; its id comes back from outside */

struct barrier {
	int64_t seq;
	msec deadline;
};

struct barriers {
	msec timeout;
	struct barrier *list; /* the first is number `first` */
	size_t count, size;
	uint64_t first;
};

struct barriers *barriers_new(msec timeout)
{
	struct barriers *barriers = mem_new(struct barriers);

	barriers->timeout = timeout;
	barriers->first = 1;
	return barriers;
}

void barriers_free(struct barriers *barriers)
{
	if (barriers)
		free(barriers->list);
	free(barriers);
}

uint64_t barriers_add(struct barriers *barriers, int64_t seq, msec now)
{
	if (barriers->count == barriers->size) {
		barriers->size = barriers->size ? 2 * barriers->size : 8;
		barriers->list = mem_resize(barriers->list, barriers->size, sizeof *barriers->list);
	}
	barriers->list[barriers->count] = (struct barrier){ seq, now + barriers->timeout };
	return barriers->first + barriers->count++;
}

char *barriers_id(uint64_t number)
{
	return str_format(ID_PREFIX "%llu", (unsigned long long)number);
}

bool barriers_answered(const struct scan_stanza *stanza, const char *domain, uint64_t *number)
{
	size_t prefix = sizeof ID_PREFIX - 1;
	uint64_t found = 0;

	if (stanza->kind != ENVELOPE_IQ || stanza->id.len <= prefix ||
	    stanza->id.len > prefix + DIGITS_MAX ||
	    memcmp(stanza->id.data, ID_PREFIX, prefix) != 0 ||
	    (!slice_is(stanza->type, "result") && !slice_is(stanza->type, "error")) ||
	    !slice_is(stanza->from, domain))
		return false;
	for (size_t i = prefix; i < stanza->id.len; i++) {
		if (stanza->id.data[i] < '0' || stanza->id.data[i] > '9')
			return false;
		found = found * 10 + (uint64_t)(stanza->id.data[i] - '0');
	}
	*number = found;
	return true;
}

enum hr_status barriers_pass(struct barriers *barriers, uint64_t number, msec now, int64_t *seq)
{
	int64_t reached = 0;

	if (number < barriers->first || number - barriers->first >= barriers->count)
		return HR_NONE;
	size_t passed = (size_t)(number - barriers->first) + 1;

	for (size_t i = 0; i < passed; i++)
		if (barriers->list[i].seq > 0)
			reached = barriers->list[i].seq;
	barriers->count -= passed;
	barriers->first += passed;
	memmove(barriers->list, barriers->list + passed, barriers->count * sizeof *barriers->list);
	if (barriers->count > 0) /* slow is not dead */
		barriers->list[0].deadline = now + barriers->timeout;
	*seq = reached;
	return HR_OK;
}

void barriers_forget(struct barriers *barriers)
{
	barriers->first += barriers->count;
	barriers->count = 0;
}

void barriers_postpone(struct barriers *barriers, msec now)
{
	for (size_t i = 0; i < barriers->count; i++)
		barriers->list[i].deadline = now + barriers->timeout;
}

size_t barriers_count(const struct barriers *barriers)
{
	return barriers->count;
}

msec barriers_deadline(const struct barriers *barriers)
{
	return barriers->list[0].deadline;
}
