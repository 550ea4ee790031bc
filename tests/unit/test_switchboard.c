/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"
#include "tests/unit/node.h"

enum { ITEMS_MAX = 4096, BYTES_MAX = 16 * 1024 * 1024 };

/* An edge that brings what nobody may send, so that everything comes back once it is looked at. */
struct mouth {
	struct edge edge; /* the first: see gateway/edge.h */
	struct source *source;
	bool reads;
	int told, brought, refused, done;
};

static struct mouth *self_of(struct edge *edge)
{
	return (struct mouth *)edge;
}

static void refuse(struct edge *edge, void *item, enum bounce bounce, const char *text)
{
	(void)item, (void)text;
	assert_int_equal(bounce, BOUNCE_NOT_ALLOWED);
	self_of(edge)->refused++;
}

static void done(struct edge *edge, void *item)
{
	(void)item;
	self_of(edge)->done++;
}

static void flow(struct edge *edge, bool yes)
{
	self_of(edge)->reads = yes;
	self_of(edge)->told++;
}

static void arrived(struct edge *edge)
{
	(void)edge;
}

static const struct edge_ops ops = {
	.refuse = refuse,
	.done = done,
	.flow = flow,
	.arrived = arrived,
};

static void open_mouth(struct node *node, struct mouth *mouth, const char *installation)
{
	*mouth = (struct mouth){ .edge.ops = &ops };
	switchboard_serve(node->switchboard, installation, &mouth->edge);
	mouth->source = switchboard_source(node->switchboard, &mouth->edge);
	assert_true(mouth->reads);
	mouth->told = 0;
}

/* One stanza of a stranger, whom the registry has to be asked for. */
static void bring(struct mouth *mouth, size_t size)
{
	static const struct slice from = slice_lit("stranger@im.example/x");

	mouth->brought++;
	source_bring(mouth->source, &(struct edge_inbound){
					    .key = PEOPLE_NATIVE,
					    .installation = "im",
					    .from = from,
					    .to = slice_lit("bob@example.com"),
					    .size = size,
				    });
}

static void bring_until_full(struct mouth *mouth, size_t size)
{
	while (mouth->reads) {
		assert_true(mouth->brought <= ITEMS_MAX);
		bring(mouth, size);
	}
}

static struct mouth *one, *other;

static bool all_is_done(struct node *node)
{
	(void)node;
	return one->done == one->brought && other->done == other->brought;
}

static void a_source_that_has_brought_enough_is_not_read_while_others_are(void **state)
{
	(void)state;
	scoped(node) node = node_new("n1");
	struct mouth a, b;

	one = &a, other = &b;
	open_mouth(node, &a, "im");
	open_mouth(node, &b, "im2");
	bring(&b, 1);
	bring_until_full(&a, 1); /* nothing is handled before the loop turns */
	assert_int_equal(a.brought, ITEMS_MAX);
	assert_true(b.reads);
	bring_until_full(&b, 256 * 1024);
	assert_true(b.brought * 256 * 1024 >= BYTES_MAX);
	assert_true((b.brought - 2) * 256 * 1024 < BYTES_MAX);
	run_until(node, all_is_done);
	assert_true(a.reads && b.reads);
	assert_int_equal(a.told, 2); /* once to stop, once to go on */
	assert_int_equal(b.told, 2);
	assert_int_equal(a.refused, a.brought);
	source_free(a.source);
	source_free(b.source);
	switchboard_serve(node->switchboard, "im", NULL);
	switchboard_serve(node->switchboard, "im2", NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_source_that_has_brought_enough_is_not_read_while_others_are, node_begin,
			node_end),
	};

	(void)argc;
	return node_run(tests, countof(tests), argv);
}
