/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/held.h"

enum { RECIPIENTS_MAX = 10000 };

struct held {
	struct map *by_recipient; /* -> usec, owned */
};

static void forget_all(struct held *held)
{
	struct slice recipient;
	void *until;

	for (size_t at = 0; map_next(held->by_recipient, &at, &recipient, &until);)
		free(until);
	map_free(held->by_recipient);
	held->by_recipient = NULL;
}

void held_put(struct held *held, struct slice recipient, usec until)
{
	if (map_count(held->by_recipient) >= RECIPIENTS_MAX) {
		forget_all(held);
		held->by_recipient = map_new();
	}
	usec *kept = mem_new(usec);

	*kept = until;
	free(map_put(held->by_recipient, recipient, kept));
}

usec held_until(struct held *held, struct slice recipient, usec now)
{
	const usec *until = map_get(held->by_recipient, recipient);

	if (!until)
		return 0;
	if (*until > now)
		return *until;
	free(map_remove(held->by_recipient, recipient));
	return 0;
}

struct held *held_new(void)
{
	struct held *held = mem_new(struct held);

	held->by_recipient = map_new();
	return held;
}

void held_free(struct held *held)
{
	if (held)
		forget_all(held);
	free(held);
}
