/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/held.h"

#include "federation/envelope.h"

enum {
	RECIPIENTS_MAX = 10000,
	KEPT_MIN_US = 2 * 1000 * 1000, /* a commit takes no longer */
	KEPT_MAX_US = 10 * 1000 * 1000,
};

struct hold {
	usec until, forgotten;
	char by[ENVELOPE_ID_LEN];
};

struct held {
	struct map *by_recipient; /* -> struct hold, owned */
};

static void forget_all(struct held *held)
{
	struct slice recipient;
	void *hold;

	for (size_t at = 0; map_next(held->by_recipient, &at, &recipient, &hold);)
		free(hold);
	map_free(held->by_recipient);
	held->by_recipient = NULL;
}

/* The one that counts; NULL: none. */
static struct hold *find(struct held *held, struct slice whom, usec now)
{
	struct hold *hold = map_get(held->by_recipient, whom);

	if (hold && hold->forgotten <= now) {
		map_remove(held->by_recipient, whom);
		free(give(hold));
	}
	return hold;
}

void held_put(struct held *held, struct slice whom, struct slice by, usec until, usec now)
{
	struct hold *hold = find(held, whom, now);

	if (!hold) {
		if (map_count(held->by_recipient) >= RECIPIENTS_MAX) {
			forget_all(held);
			held->by_recipient = map_new();
		}
		hold = mem_new(struct hold);
		map_put(held->by_recipient, whom, hold);
	}
	memcpy(hold->by, by.data, sizeof hold->by);
	hold->until = until;
	hold->forgotten = msec_clamp(until, now + KEPT_MIN_US, now + KEPT_MAX_US);
}

usec held_until(struct held *held, struct slice whom, struct slice id, usec now)
{
	const struct hold *hold = find(held, whom, now);

	return hold && memcmp(hold->by, id.data, sizeof hold->by) < 0 ? hold->until : 0;
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
