/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/session_direct.h"

#include "federation/session.h"

struct entry {
	struct envelope *envelope; /* a reference; NULL once it was sent */
	size_t bytes;
};

struct direct {
	int64_t handled, sent, added; /* counts of this connection: handled <= sent <= added */
	size_t bytes;		      /* of those not handled */
	struct entry ring[SESSION_DIRECT_MAX]; /* by count */
};

struct direct *direct_new(void)
{
	return mem_new(struct direct);
}

void direct_free(struct direct *direct)
{
	if (direct)
		direct_reset(direct);
	free(direct);
}

static struct entry *at(struct direct *direct, int64_t count)
{
	return &direct->ring[count % SESSION_DIRECT_MAX];
}

void direct_reset(struct direct *direct)
{
	while (direct->sent < direct->added)
		envelope_free(direct_next(direct));
	direct->handled = direct->sent = direct->added = 0;
	direct->bytes = 0;
}

bool direct_add(struct direct *direct, struct envelope *envelope)
{
	size_t bytes = envelope->packed.len;

	if (direct->added - direct->handled == SESSION_DIRECT_MAX ||
	    direct->bytes + bytes > SESSION_DIRECT_BYTES)
		return false;
	*at(direct, direct->added++) = (struct entry){ envelope_ref(envelope), bytes };
	direct->bytes += bytes;
	return true;
}

struct envelope *direct_next(struct direct *direct)
{
	if (direct->sent == direct->added)
		return NULL;
	struct entry *entry = at(direct, direct->sent++);
	return give(entry->envelope);
}

bool direct_handled(struct direct *direct, int64_t count)
{
	if (count < direct->handled || count > direct->sent)
		return false;
	while (direct->handled < count)
		direct->bytes -= at(direct, direct->handled++)->bytes;
	return true;
}
