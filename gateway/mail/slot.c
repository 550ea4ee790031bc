/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/slot.h"

#include "federation/address.h"

struct slice slot_recipient(const struct slot *slot)
{
	return address_text_bare(slot->messages[0]->f.to);
}

struct slice slot_sender(const struct slot *slot)
{
	return address_text_bare(slot->messages[0]->f.from);
}

bool slot_is_copy(const struct slot *slot)
{
	return slot->messages[0]->f.is_copy;
}

static bool has_room(const struct slot *slot, const struct envelope *envelope)
{
	size_t bytes = envelope->f.payload.len;

	for (size_t i = 0; i < slot->count; i++)
		bytes += slot->messages[i]->f.payload.len;
	return slot->count < SLOT_MESSAGES_MAX && bytes <= SLOT_BYTES_MAX;
}

static bool may_join(const struct slot *slot, const struct envelope *envelope)
{
	return slot->state == SLOT_WAITS && !slot->is_digest_closed && has_room(slot, envelope) &&
	       slice_eq(slot_recipient(slot), address_text_bare(envelope->f.to)) &&
	       slice_eq(slot_sender(slot), address_text_bare(envelope->f.from)) &&
	       envelope_is_error(envelope) == envelope_is_error(slot->messages[0]) &&
	       envelope->f.is_copy == slot_is_copy(slot);
}

static struct slot *last_slot(const struct slots *slots)
{
	struct slot *slot = slots->first;

	while (slot && slot->next)
		slot = slot->next;
	return slot;
}

bool slots_add(struct slots *slots, int64_t seq, struct envelope *envelope, void *owner)
{
	struct slot *slot = last_slot(slots);

	if (!slot || !may_join(slot, envelope)) {
		if (slots->count >= SLOTS_MAX)
			return false;
		slot = mem_new(struct slot);
		slot->owner = owner;
		slot->first = seq;
		if (!slots->first)
			slots->last = &slots->first;
		*slots->last = slot;
		slots->last = &slot->next;
		slots->count++;
	}
	slot->messages[slot->count++] = envelope_ref(envelope);
	slot->last = seq;
	return true;
}

static bool blocks(const struct slot *before, const struct slot *slot)
{
	if (!slice_eq(slot_recipient(before), slot_recipient(slot)))
		return false;
	if (before->state != SLOT_DONE && before->state != SLOT_LEAVES)
		return true;
	return before->end == SLOT_DEFER &&
	       (before->holds_all || slice_eq(slot_sender(before), slot_sender(slot)));
}

bool slots_is_blocked(const struct slots *slots, const struct slot *slot)
{
	for (const struct slot *before = slots->first; before && before != slot;
	     before = before->next)
		if (blocks(before, slot))
			return true;
	return false;
}

void slots_split(struct slots *slots, struct slot *slot, size_t count)
{
	struct slot *rest = mem_new(struct slot);

	rest->owner = slot->owner;
	rest->first = slot->first + (int64_t)count;
	rest->last = slot->last;
	rest->count = slot->count - count;
	memcpy(rest->messages, slot->messages + count, rest->count * sizeof(struct envelope *));
	rest->next = slot->next;
	slot->next = rest;
	slot->last = rest->first - 1;
	slot->count = count;
	if (slots->last == &slot->next)
		slots->last = &rest->next;
	slots->count++;
}

static bool has_expired(const struct envelope *envelope, usec now)
{
	return envelope->f.expires && envelope->f.expires < now;
}

bool slots_split_expired(struct slots *slots, struct slot *slot, usec now)
{
	bool first = has_expired(slot->messages[0], now);

	for (size_t i = 1; i < slot->count; i++)
		if (has_expired(slot->messages[i], now) != first)
			slots_split(slots, slot, i); /* which ends the loop */
	return first;
}

void slots_drop(struct slots *slots, struct slot *slot)
{
	struct slot **at = &slots->first;

	while (*at != slot)
		at = &(*at)->next;
	*at = slot->next;
	if (slots->last == &slot->next)
		slots->last = at;
	slots->count--;
	for (size_t i = 0; i < slot->count; i++)
		envelope_free(slot->messages[i]);
	free(slot->reason);
	free(slot);
}

void slots_clear(struct slots *slots)
{
	while (slots->first)
		slots_drop(slots, slots->first);
}

static void end(struct slot *slot, enum slot_end how)
{
	slot->state = SLOT_DONE;
	slot->end = how;
	slot->submission = NULL;
}

void slot_taken(struct slot *slot)
{
	end(slot, SLOT_TAKEN);
}

void slot_bounce(struct slot *slot, enum bounce bounce, const char *reason)
{
	end(slot, SLOT_BOUNCE);
	slot->bounce = bounce;
	slot->reason = str_dup(reason);
}

void slot_defer(struct slot *slot, usec not_before)
{
	end(slot, SLOT_DEFER);
	slot->not_before = not_before;
}

void slot_move(struct slot *slot)
{
	end(slot, SLOT_MOVE);
}
