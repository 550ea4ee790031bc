/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct envelope *from_to(const char *from, const char *to, const char *kind)
{
	return envelope_new(&(struct envelope_fields){
		.type = slice_str(strcmp(kind, "error") == 0 ? "error" : "chat"),
		.is_copy = strcmp(kind, "copy") == 0,
		.from = slice_str(from),
		.to = slice_str(to),
		.received = 1,
	});
}

/* Adds "from>to from>to ..." as seqs 1, 2, ... */
static void add_all(struct slots *slots, const char *text)
{
	scoped_str copy = str_dup(text);
	char *rest = copy;
	int64_t seq = 0;

	for (char *word; (word = strsep(&rest, " "));) {
		char *from = strsep(&word, ">"), *to = strsep(&word, "!");
		scoped(envelope) envelope = from_to(from, to, word ? "error" : "chat");

		assert_true(slots_add(slots, ++seq, envelope, NULL));
	}
}

static void consecutive_messages_of_a_pair_are_one_mail(void **state)
{
	static const struct {
		const char *text, *seqs; /* first-last of each slot */
	} rows[] = {
		{ "a@x/1>b@x", "1-1" },
		{ "a@x/1>b@x a@x/2>b@x/r", "1-2" },
		{ "a@x>b@x a@x>c@x a@x>b@x", "1-1 2-2 3-3" },
		{ "a@x>b@x c@x>b@x", "1-1 2-2" },
		{ "a@x>b@x a@x>b@x!error a@x>b@x!error", "1-1 2-3" },
		{ "a@x>b@x!copy a@x>b@x!copy a@x>b@x", "1-2 3-3" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct slots slots = { 0 };
		scoped_buf seqs = BUF_INIT(0);

		add_all(&slots, rows[i].text);
		for (const struct slot *slot = slots.first; slot; slot = slot->next)
			buf_format(&seqs, "%s%d-%d", seqs.len ? " " : "", (int)slot->first,
				   (int)slot->last);
		assert_string_equal(buf_text(&seqs), rows[i].seqs);
		slots_clear(&slots);
	}
}

static void what_a_mail_has_no_room_for_is_the_next_one(void **state)
{
	static const struct {
		size_t sizes[5], counts[4];
	} rows[] = {
		{ { SLOT_BYTES_MAX, 1, 1 }, { 1, 2 } },
		{ { 1, SLOT_BYTES_MAX - 1, 1 }, { 2, 1 } },
		{ { 1, SLOT_BYTES_MAX, SLOT_BYTES_MAX, 1 }, { 1, 1, 1, 1 } },
	};
	scoped_str payload = mem_alloc(SLOT_BYTES_MAX);

	(void)state;
	memset(payload, 'x', SLOT_BYTES_MAX);
	for (size_t i = 0; i < countof(rows); i++) {
		struct slots slots = { 0 };
		const size_t *count = rows[i].counts;

		for (const size_t *size = rows[i].sizes; *size; size++) {
			scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
				.from = slice_lit("a@x"),
				.to = slice_lit("b@x"),
				.payload = { payload, *size },
			});
			assert_true(slots_add(&slots, size - rows[i].sizes, envelope, NULL));
		}
		for (const struct slot *slot = slots.first; slot; slot = slot->next)
			assert_int_equal(slot->count, *count++);
		slots_clear(&slots);
	}
}

static void a_mail_under_way_takes_no_more(void **state)
{
	static const enum slot_state states[] = { SLOT_ASKS, SLOT_FLIES, SLOT_DONE };

	(void)state;
	for (size_t i = 0; i < countof(states); i++) {
		struct slots slots = { 0 };
		scoped(envelope) envelope = from_to("a@x", "b@x", "chat");

		assert_true(slots_add(&slots, 1, envelope, NULL));
		slots.first->state = states[i];
		assert_true(slots_add(&slots, 2, envelope, NULL));
		assert_int_equal(slots.count, 2);
		slots_clear(&slots);
	}
	struct slots slots = { 0 };
	scoped(envelope) envelope = from_to("a@x", "b@x", "chat");

	assert_true(slots_add(&slots, 1, envelope, NULL));
	slots.first->is_digest_closed = true;
	assert_true(slots_add(&slots, 2, envelope, NULL));
	assert_int_equal(slots.count, 2);
	slots_clear(&slots);
}

static void who_waits_for_a_mail_waits_for_one_at_a_time(void **state)
{
	struct slots slots = { 0 };

	(void)state;
	add_all(&slots, "a@x>b@x c@x>b@x a@x>d@x");
	struct slot *first = slots.first, *second = first->next, *third = second->next;

	assert_false(slots_is_blocked(&slots, first));
	assert_true(slots_is_blocked(&slots, second));
	assert_false(slots_is_blocked(&slots, third));
	slot_taken(first);
	assert_false(slots_is_blocked(&slots, second));
	slot_defer(second, 5);
	assert_int_equal(second->end, SLOT_DEFER);
	slot_bounce(third, BOUNCE_BAD_REQUEST, "why");
	assert_string_equal(third->reason, "why");
	slots_clear(&slots);
}

static void a_slot_is_split_where_its_first_part_went_already(void **state)
{
	struct slots slots = { 0 };

	(void)state;
	add_all(&slots, "a@x>b@x a@x>b@x a@x>b@x c@x>d@x");
	slots_split(&slots, slots.first, 2);
	struct slot *rest = slots.first->next;
	assert_int_equal(slots.count, 3);
	assert_int_equal(slots.first->last, 2);
	assert_int_equal(slots.first->count, 2);
	assert_int_equal(rest->first, 3);
	assert_int_equal(rest->last, 3);
	assert_int_equal(rest->count, 1);
	scoped(envelope) envelope = from_to("c@x", "d@x", "chat");
	assert_true(slots_add(&slots, 5, envelope, NULL)); /* the end is where it was */
	assert_int_equal(rest->next->count, 2);
	slots_clear(&slots);
}

static void there_is_no_end_of_room(void **state)
{
	struct slots slots = { 0 };
	scoped(envelope) envelope = from_to("a@x", "b@x", "chat");
	int64_t seq = 0;

	(void)state;
	while (slots_add(&slots, seq + 1, envelope, NULL))
		seq++;
	assert_int_equal(seq, SLOTS_MAX * SLOT_MESSAGES_MAX);
	slots_drop(&slots, slots.first);
	assert_true(slots_add(&slots, seq + 1, envelope, NULL));
	assert_int_equal(slots.count, SLOTS_MAX);
	slots_split(&slots, slots.first, 1); /* one more than there is room for */
	for (int i = 0; i < 2 * SLOT_MESSAGES_MAX; i++)
		slots_add(&slots, ++seq, envelope, NULL);
	assert_int_equal(slots.count, SLOTS_MAX + 1);
	slots_clear(&slots);
}

/* Each a message, which expires then; 0: never. */
static void what_has_expired_is_no_part_of_a_mail(void **state)
{
	static const struct {
		usec expires[4];
		bool first;
		const char *seqs;
	} rows[] = {
		{ { 0, 0, 0, 9 }, false, "1-4" },    { { 0, 9, 4, 9 }, false, "1-2 3-4" },
		{ { 4, 0, 4, 9 }, true, "1-1 2-4" }, { { 4, 4, 4, 4 }, true, "1-4" },
		{ { 4, 4, 4, 5 }, true, "1-3 4-4" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct slots slots = { 0 };
		scoped_buf seqs = BUF_INIT(0);

		for (int64_t n = 0; n < 4; n++) {
			scoped(envelope) envelope = envelope_new(
				&(struct envelope_fields){ .from = slice_lit("a@x"),
							   .to = slice_lit("b@x"),
							   .received = 1,
							   .expires = rows[i].expires[n] });
			assert_true(slots_add(&slots, n + 1, envelope, NULL));
		}
		assert_int_equal(slots_split_expired(&slots, slots.first, 5), rows[i].first);
		for (const struct slot *slot = slots.first; slot; slot = slot->next)
			buf_format(&seqs, "%s%d-%d", seqs.len ? " " : "", (int)slot->first,
				   (int)slot->last);
		assert_string_equal(buf_text(&seqs), rows[i].seqs);
		slots_clear(&slots);
	}
}

/* Until the database knows what is deferred, the slot is there: with all for its recipient, or its
 * conversation alone. */
static void what_is_deferred_holds_what_follows_until_it_has_left(void **state)
{
	static const struct {
		const char *text; /* the first is deferred */
		bool holds_all, last_is_blocked;
	} rows[] = {
		{ "a@x>b@x a@x>b@x", false, true },  { "a@x/1>b@x/1 a@x/2>b@x/2", false, true },
		{ "a@x>b@x c@x>b@x", false, false }, { "a@x>b@x c@x>b@x", true, true },
		{ "a@x>b@x a@x>d@x", true, false },  { "a@x>b@x a@x>d@x a@x>b@x", false, true },
	};

	(void)state;
	for (size_t i = 0; i < 2 * countof(rows); i++) {
		struct slots slots = { 0 };

		add_all(&slots, rows[i / 2].text);
		if (slots.first->count > 1)
			slots_split(&slots, slots.first, 1);
		struct slot *last = slots.first;
		while (last->next)
			last = last->next;
		slot_defer(slots.first, 5);
		slots.first->holds_all = rows[i / 2].holds_all;
		if (i % 2)
			slots.first->state = SLOT_LEAVES;
		if (slots_is_blocked(&slots, last) != rows[i / 2].last_is_blocked)
			fail_msg("row %zu", i / 2);
		slots_drop(&slots, slots.first);
		assert_false(slots_is_blocked(&slots, last));
		slots_clear(&slots);
	}
}

static void a_slot_leaves_from_wherever_it_is(void **state)
{
	(void)state;
	for (int which = 0; which < 3; which++) {
		struct slots slots = { 0 };
		scoped(envelope) envelope = from_to("a@x", "e@x", "chat");
		scoped_buf seqs = BUF_INIT(0);

		add_all(&slots, "a@x>b@x a@x>c@x a@x>d@x");
		struct slot *slot = slots.first;
		for (int i = 0; i < which; i++)
			slot = slot->next;
		slots_drop(&slots, slot);
		assert_true(slots_add(&slots, 4, envelope, NULL));
		assert_int_equal(slots.count, 3);
		for (slot = slots.first; slot; slot = slot->next)
			buf_format(&seqs, "%d", (int)slot->first);
		assert_string_equal(buf_text(&seqs),
				    ((const char *[]){ "234", "134", "124" })[which]);
		slots_clear(&slots);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(consecutive_messages_of_a_pair_are_one_mail),
		cmocka_unit_test(what_a_mail_has_no_room_for_is_the_next_one),
		cmocka_unit_test(a_mail_under_way_takes_no_more),
		cmocka_unit_test(who_waits_for_a_mail_waits_for_one_at_a_time),
		cmocka_unit_test(a_slot_is_split_where_its_first_part_went_already),
		cmocka_unit_test(there_is_no_end_of_room),
		cmocka_unit_test(what_has_expired_is_no_part_of_a_mail),
		cmocka_unit_test(what_is_deferred_holds_what_follows_until_it_has_left),
		cmocka_unit_test(a_slot_leaves_from_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
