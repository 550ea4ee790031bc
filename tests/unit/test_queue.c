/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct envelope *numbered(int64_t seq, size_t payload)
{
	scoped_str text = str_format("%lld", (long long)seq);
	scoped_str filler = mem_alloc(payload + 1);

	memset(filler, 'x', payload);
	return envelope_new(&(struct envelope_fields){
		.stanza_id = slice_str(text),
		.from = slice_lit("a@x"),
		.to = slice_lit("b@y"),
		.payload = { filler, payload },
	});
}

static void commit(struct queue *queue, int64_t seq)
{
	scoped(envelope) envelope = numbered(seq, 10);

	queue_committed(queue, seq, envelope);
}

static void load(struct queue *queue, int64_t seq, size_t payload)
{
	scoped(envelope) envelope = numbered(seq, payload);

	queue_load(queue, seq, envelope);
}

static int64_t number_of(const struct envelope *envelope)
{
	struct slice id = envelope->f.stanza_id;

	return strtoll(id.data, NULL, 10);
}

/* The next one is `seq`; it is handed over. */
static void take(struct queue *queue, int64_t seq)
{
	int64_t at = 0;
	struct envelope *envelope = queue_peek(queue, &at);

	assert_non_null(envelope);
	assert_int_equal(at, seq);
	assert_int_equal(number_of(envelope), seq);
	queue_take(queue);
}

static void hands_over_in_order_and_forgets_what_is_accepted(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(10, 10);
	int64_t seq;
	bool sent;

	assert_null(queue_peek(queue, &seq));
	assert_null(queue_first(queue, &seq, &sent));
	for (int64_t i = 11; i <= 13; i++)
		commit(queue, i);
	assert_int_equal(queue_head(queue), 13);
	assert_int_equal(queue_depth(queue), 3);
	take(queue, 11);
	take(queue, 12);
	assert_int_equal(queue_sent(queue), 12);
	assert_true(queue_ack(queue, 11));
	assert_int_equal(queue_acked(queue), 11);
	assert_int_equal(number_of(queue_first(queue, &seq, &sent)), 12);
	assert_true(sent);
	assert_true(queue_ack(queue, 12));
	assert_non_null(queue_first(queue, &seq, &sent));
	assert_int_equal(seq, 13);
	assert_false(sent);
	take(queue, 13);
	assert_null(queue_peek(queue, &seq));
	queue_take(queue); /* nothing to take: nothing changes */
	assert_int_equal(queue_sent(queue), 13);
}

static void believes_no_acknowledgement_of_what_was_not_sent(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(0, 0);

	for (int64_t i = 1; i <= 5; i++)
		commit(queue, i);
	take(queue, 1);
	take(queue, 2);
	take(queue, 3);
	assert_false(queue_ack(queue, 4));
	assert_false(queue_ack(queue, INT64_MAX));
	assert_false(queue_ack(queue, -1));
	assert_int_equal(queue_acked(queue), 0);
	assert_true(queue_ack(queue, 3));
	assert_false(queue_ack(queue, 2));
	assert_true(queue_ack(queue, 3));
	assert_int_equal(queue_depth(queue), 2);
}

static void sends_again_after_a_loss(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(0, 0);

	for (int64_t i = 1; i <= 5; i++)
		commit(queue, i);
	for (int64_t i = 1; i <= 4; i++)
		take(queue, i);
	assert_true(queue_ack(queue, 1));
	queue_rewind(queue, 2);
	assert_int_equal(queue_sent(queue), 2);
	take(queue, 3);
	queue_rewind(queue, 0);
	assert_int_equal(queue_sent(queue), 1);
	assert_int_equal(queue_handed(queue), 4);
	queue_rewind(queue, 5); /* never forward */
	assert_int_equal(queue_sent(queue), 1);
	for (int64_t i = 2; i <= 5; i++)
		take(queue, i);
	assert_int_equal(queue_handed(queue), 5);
}

static void knows_what_may_have_arrived(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(0, 0);
	int64_t seq;

	for (int64_t i = 1; i <= 5; i++)
		commit(queue, i);
	queue_offered(queue, 3); /* by whoever had the queue before */
	assert_int_equal(queue_handed(queue), 3);
	queue_limit(queue, 4);
	for (int64_t i = 1; i <= 4; i++)
		take(queue, i);
	assert_null(queue_peek(queue, &seq));
	queue_limit(queue, INT64_MAX);
	take(queue, 5);
	assert_int_equal(queue_handed(queue), 5);
	queue_resume(queue, 2); /* 3 to 5 did not arrive, and will not */
	assert_int_equal(queue_handed(queue), 2);
	assert_int_equal(queue_sent(queue), 0);
	take(queue, 1);
	assert_true(queue_ack(queue, 1));
	queue_resume(queue, 0);
	assert_int_equal(queue_handed(queue), 1);
}

static void skips_what_is_given_up_sent_or_not(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(0, 0);
	int64_t seq;

	for (int64_t i = 1; i <= 6; i++)
		commit(queue, i);
	take(queue, 1);
	take(queue, 2);
	queue_skip(queue, 1);
	assert_int_equal(queue_acked(queue), 1);
	assert_int_equal(queue_sent(queue), 2);
	queue_skip(queue, 4);
	assert_int_equal(queue_acked(queue), 4);
	assert_int_equal(queue_sent(queue), 4);
	take(queue, 5);
	queue_skip(queue, 20); /* past all that is known */
	assert_int_equal(queue_acked(queue), 20);
	assert_int_equal(queue_head(queue), 20);
	assert_int_equal(queue_depth(queue), 0);
	assert_null(queue_peek(queue, &seq));
	commit(queue, 21);
	take(queue, 21);
}

static void reads_what_it_does_not_have(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(5000, 0);
	int64_t after = -1;
	int32_t limit = -1;

	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, 0);
	assert_int_equal(limit, 1024);
	assert_true(queue_loading(queue));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	for (int64_t i = 1; i <= 1024; i++)
		load(queue, i, 10);
	queue_load_end(queue);
	assert_false(queue_loading(queue));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, 1024);
	queue_load_end(queue); /* the read failed: it is wanted again */
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, 1024);
}

static void wants_nothing_when_all_is_in_memory(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(7, 7);
	int64_t after;
	int32_t limit = 0;

	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	commit(queue, 8);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	queue_grew(queue, 8); /* late */
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	queue_grew(queue, 10); /* somebody else's */
	commit(queue, 11);     /* not the next: read later */
	assert_int_equal(queue_head(queue), 11);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, 8);
	assert_int_equal(limit, 3);
	for (int64_t i = 8; i <= 11; i++) /* 8 is there already */
		load(queue, i, 10);
	queue_load_end(queue);
	for (int64_t i = 8; i <= 11; i++)
		take(queue, i);
}

static void keeps_no_more_than_its_bound_of_envelopes(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(0, 0);
	int64_t after, seq;
	int32_t limit;

	for (int64_t i = 1; i <= QUEUE_MEMORY_MAX + 10; i++)
		commit(queue, i);
	assert_int_equal(queue_head(queue), QUEUE_MEMORY_MAX + 10);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	for (int64_t i = 1; i <= QUEUE_MEMORY_MAX; i++)
		take(queue, i);
	assert_null(queue_peek(queue, &seq));
	assert_true(queue_ack(queue, QUEUE_MEMORY_MAX / 2 - 1));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	assert_true(queue_ack(queue, QUEUE_MEMORY_MAX / 2));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, QUEUE_MEMORY_MAX);
	assert_int_equal(limit, 10);
}

static void keeps_no_more_than_its_bound_of_bytes(void **state)
{
	(void)state;
	enum { LARGE = 256 * 1024, FIT = QUEUE_BYTES_MAX / LARGE };
	scoped(queue) queue = queue_new(1000, 0);
	int64_t after, taken = 0, seq;
	int32_t limit;

	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	for (int64_t i = 1; i <= 1000; i++)
		load(queue, i, LARGE);
	queue_load_end(queue);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	for (; queue_peek(queue, &seq); taken++)
		queue_take(queue);
	assert_true(taken == FIT || taken == FIT - 1);
	assert_true(queue_ack(queue, taken));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, taken);
}

static void takes_no_row_twice_when_a_commit_comes_while_it_reads(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(2, 0);
	int64_t after;
	int32_t limit;

	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	commit(queue, 3); /* not the next yet */
	load(queue, 1, 10);
	load(queue, 2, 10);
	commit(queue, 4); /* 3 is missing still */
	queue_load_end(queue);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	load(queue, 3, 10);
	commit(queue, 4);
	load(queue, 4, 10);
	queue_load_end(queue);
	for (int64_t i = 1; i <= 4; i++)
		take(queue, i);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
}

static void ignores_rows_that_it_did_not_ask_for(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(5, 0);
	int64_t seq, after;
	int32_t limit;

	load(queue, 1, 10);
	assert_null(queue_peek(queue, &seq));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	queue_skip(queue, 3); /* given up while the read is under way */
	for (int64_t i = 1; i <= 5; i++)
		load(queue, i, 10);
	queue_load_end(queue);
	take(queue, 4);
	take(queue, 5);
}

/* Rows that are gone from the journal hold nothing up: not the first, not a later one. */
static void passes_over_a_gap_in_the_journal(void **state)
{
	(void)state;
	scoped(queue) queue = queue_new(20, 0);
	int64_t after;
	int32_t limit;

	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	load(queue, 5, 10);
	load(queue, 6, 10);
	load(queue, 10, 10);
	load(queue, 11, 10);
	queue_load_end(queue);
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE); /* it would bring the same */
	take(queue, 5);
	take(queue, 6);
	assert_true(queue_ack(queue, 5));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_NONE);
	assert_true(queue_ack(queue, 6));
	assert_int_equal(queue_wants(queue, &after, &limit), HR_OK);
	assert_int_equal(after, 6);
	load(queue, 10, 10);
	take(queue, 10);
}

static void lets_go_of_every_reference(void **state)
{
	(void)state;
	scoped(envelope) envelope = numbered(1, 10);
	struct queue *queue = queue_new(0, 0);

	for (int64_t i = 1; i <= 300; i++)
		queue_committed(queue, i, envelope);
	assert_int_equal(envelope->refs, 301);
	for (int64_t i = 1; i <= 200; i++)
		queue_take(queue);
	queue_ack(queue, 100);
	assert_int_equal(envelope->refs, 201);
	queue_skip(queue, 250);
	assert_int_equal(envelope->refs, 51);
	queue_free(queue);
	assert_int_equal(envelope->refs, 1);
	queue_free(NULL);
}

/* --- random walks beside a naive model --- */

struct model {
	int64_t acked, sent, loaded, head, handed;
	int64_t read; /* the next row of the read under way; 0: none */
	int64_t read_end;
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static int64_t within(uint64_t *seed, int64_t low, int64_t high)
{
	return low + (int64_t)(next_random(seed) % (uint64_t)(high - low + 1));
}

static int64_t largest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void accept(struct model *model, int64_t seq)
{
	model->acked = largest(model->acked, seq);
	model->sent = largest(model->sent, model->acked);
	model->loaded = largest(model->loaded, model->acked);
}

static void walk_commit(struct queue *queue, struct model *model)
{
	int64_t seq = model->head + 1;

	commit(queue, seq);
	if (model->loaded == model->head && model->loaded - model->acked < QUEUE_MEMORY_MAX)
		model->loaded = seq;
	model->head = seq;
}

static void walk_read(struct queue *queue, struct model *model, uint64_t *seed)
{
	if (model->read == 0) {
		int64_t after;
		int32_t limit;
		bool wanted = model->loaded < model->head &&
			      model->loaded - model->acked <= QUEUE_MEMORY_MAX / 2;
		enum hr_status status = queue_wants(queue, &after, &limit);
		assert_int_equal(status, wanted ? HR_OK : HR_NONE);
		if (status != HR_OK)
			return;
		assert_int_equal(after, model->loaded);
		model->read = after + 1;
		model->read_end = after + limit;
		return;
	}
	int64_t until = within(seed, model->read, model->read_end + 1);
	for (; model->read < until; model->read++) {
		load(queue, model->read, 10);
		if (model->read == model->loaded + 1 &&
		    model->loaded - model->acked < QUEUE_MEMORY_MAX)
			model->loaded = model->read;
	}
	if (model->read > model->read_end || within(seed, 0, 20) == 0) {
		queue_load_end(queue);
		model->read = 0;
	}
}

static void walk_step(struct queue *queue, struct model *model, uint64_t *seed)
{
	int64_t seq;

	switch (within(seed, 0, 9)) {
	case 0:
		for (int64_t n = within(seed, 1, 400); n > 0; n--)
			walk_commit(queue, model);
		break;
	case 1:
		model->head += within(seed, 0, 300);
		queue_grew(queue, model->head);
		break;
	case 2:
	case 3:
	case 4:
		walk_read(queue, model, seed);
		break;
	case 5:
	case 6:
		for (int64_t n = within(seed, 1, 300); n > 0 && model->sent < model->loaded; n--) {
			take(queue, ++model->sent);
			model->handed = largest(model->handed, model->sent);
		}
		break;
	case 7:
		seq = within(seed, model->acked - 2, model->sent + 2);
		assert_int_equal(queue_ack(queue, seq), seq >= model->acked && seq <= model->sent);
		if (seq <= model->sent)
			accept(model, seq);
		break;
	case 8:
		seq = within(seed, model->acked - 2, model->acked + 50);
		queue_skip(queue, seq);
		accept(model, seq);
		model->head = largest(model->head, model->acked);
		break;
	default:
		seq = within(seed, model->acked - 2, model->sent + 2);
		queue_rewind(queue, seq);
		seq = largest(seq, model->acked);
		model->sent = seq < model->sent ? seq : model->sent;
		break;
	}
}

static void behaves_as_the_model_on_random_walks(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
		struct model model = { 0 };
		model.head = within(&random, 0, 20000);
		scoped(queue) queue = queue_new(model.head, 0);
		for (int step = 0; step < 300; step++) {
			int64_t seq = 0;
			bool sent;
			walk_step(queue, &model, &random);
			assert_int_equal(queue_head(queue), model.head);
			assert_int_equal(queue_acked(queue), model.acked);
			assert_int_equal(queue_sent(queue), model.sent);
			assert_int_equal(queue_handed(queue), model.handed);
			assert_int_equal(queue_depth(queue), model.head - model.acked);
			assert_int_equal(queue_loading(queue), model.read != 0);
			struct envelope *next = queue_peek(queue, &seq);
			assert_int_equal(next != NULL, model.sent < model.loaded);
			assert_int_equal(next ? number_of(next) : 0, next ? model.sent + 1 : 0);
			struct envelope *first = queue_first(queue, &seq, &sent);
			assert_int_equal(first != NULL, model.acked < model.loaded);
			assert_int_equal(first ? number_of(first) : 0, first ? model.acked + 1 : 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_over_in_order_and_forgets_what_is_accepted),
		cmocka_unit_test(believes_no_acknowledgement_of_what_was_not_sent),
		cmocka_unit_test(sends_again_after_a_loss),
		cmocka_unit_test(knows_what_may_have_arrived),
		cmocka_unit_test(skips_what_is_given_up_sent_or_not),
		cmocka_unit_test(reads_what_it_does_not_have),
		cmocka_unit_test(wants_nothing_when_all_is_in_memory),
		cmocka_unit_test(keeps_no_more_than_its_bound_of_envelopes),
		cmocka_unit_test(keeps_no_more_than_its_bound_of_bytes),
		cmocka_unit_test(takes_no_row_twice_when_a_commit_comes_while_it_reads),
		cmocka_unit_test(ignores_rows_that_it_did_not_ask_for),
		cmocka_unit_test(passes_over_a_gap_in_the_journal),
		cmocka_unit_test(lets_go_of_every_reference),
		cmocka_unit_test(behaves_as_the_model_on_random_walks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
