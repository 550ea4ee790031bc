/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/sightings.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum act {
	ASKED,	/* ada asks for who */
	SEEN,	/* ada sees who, over boston */
	LOCAL,	/* ada sees who, who is of her own site */
	SYDNEY, /* ada sees who, over sydney */
	LEFT,	/* ada sees that who is unavailable */
	LOST,
	BACK,
	LOST_SYDNEY,
	BLOCK, /* nothing can be written now */
	FREE,
	WORK
};

struct step {
	msec now;
	enum act act;
	const char *who;
	const char *expect; /* what is written, then when it wants to be called again */
};

static struct {
	struct sightings *sightings;
	struct buf log;
	bool is_blocked;
	int dropped;
} t;

static bool gone(void *ctx, const char *watcher, const char *contact)
{
	(void)ctx;
	assert_string_equal(watcher, "ada@im.a");
	if (!t.is_blocked)
		buf_format(&t.log, "gone %s; ", contact);
	return !t.is_blocked;
}

static bool probe(void *ctx, const char *watcher, const char *contact)
{
	(void)ctx;
	assert_string_equal(watcher, "ada@im.a");
	if (!t.is_blocked)
		buf_format(&t.log, "probe %s; ", contact);
	return !t.is_blocked;
}

static void dropped(void *ctx)
{
	(void)ctx;
	t.dropped++;
}

static const struct sightings_ops ops = { gone, probe, dropped };
static const struct slice ada = slice_lit("ada@im.a");

static void see(const char *who, const char *site, bool is_available)
{
	sightings_seen(t.sightings, ada, slice_str(who), slice_str(site), is_available);
}

static void do_act(const struct step *step)
{
	switch (step->act) {
	case ASKED:
		sightings_asked(t.sightings, ada, slice_str(step->who));
		return;
	case SEEN:
	case LEFT:
		see(step->who, "boston", step->act == SEEN);
		return;
	case LOCAL:
		see(step->who, "", true);
		return;
	case SYDNEY:
		see(step->who, "sydney", true);
		return;
	case LOST:
		sightings_lost(t.sightings, "boston", step->now);
		return;
	case BACK:
		sightings_back(t.sightings, "boston", step->now);
		return;
	case LOST_SYDNEY:
		sightings_lost(t.sightings, "sydney", step->now);
		return;
	case BLOCK:
	case FREE:
		t.is_blocked = step->act == BLOCK;
		return;
	case WORK:
		buf_format(&t.log, "%d", (int)sightings_work(t.sightings, step->now));
		return;
	}
}

static void run(const struct step *steps, size_t n)
{
	t.sightings = sightings_new(&ops, NULL);
	t.log = BUF_INIT(64 * 1024);
	t.is_blocked = false;
	for (size_t i = 0; i < n; i++) {
		buf_clear(&t.log);
		do_act(&steps[i]);
		if (strcmp(buf_text(&t.log), steps[i].expect ? steps[i].expect : "") != 0)
			fail_msg("step %zu: \"%s\", not \"%s\"", i, buf_text(&t.log),
				 steps[i].expect);
	}
	sightings_free(t.sightings);
	buf_free(&t.log);
}
#define RUN(...)                                  \
	run((const struct step[]){ __VA_ARGS__ }, \
	    sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step))

static void
who_is_behind_a_lost_link_is_gone_after_a_moment_and_asked_for_when_it_is_back(void **state)
{
	(void)state;
	RUN({ 0, SEEN, "bob@b/phone", NULL }, { 0, SEEN, "bob@b/desk", NULL },
	    { 0, SEEN, "eve@b/x", NULL }, { 0, LEFT, "eve@b/x", NULL },
	    { 0, SYDNEY, "sue@s/x", NULL }, { 0, WORK, NULL, "0" }, { 1000, LOST, NULL, NULL },
	    { 1000, WORK, NULL, "4000" }, { 3999, WORK, NULL, "4000" },
	    { 4000, WORK, NULL, "gone bob@b/desk; gone bob@b/phone; 0" }, { 5000, WORK, NULL, "0" },
	    { 9000, BACK, NULL, NULL }, { 9000, WORK, NULL, "probe bob@b; probe eve@b; 39000" },
	    { 9100, SEEN, "bob@b/phone", NULL }, { 39000, WORK, NULL, "0" });
}

static void a_link_that_was_away_for_a_moment_takes_away_only_who_does_not_answer(void **state)
{
	(void)state;
	RUN({ 0, SEEN, "bob@b/phone", NULL }, { 0, SEEN, "eve@b/x", NULL },
	    { 1000, LOST, NULL, NULL }, { 2000, BACK, NULL, NULL },
	    { 2000, WORK, NULL, "probe bob@b; probe eve@b; 32000" },
	    { 2100, SEEN, "bob@b/phone", NULL }, { 32000, WORK, NULL, "gone eve@b/x; 0" },
	    { 33000, LOST, NULL, NULL }, { 36000, WORK, NULL, "gone bob@b/phone; 0" });
}

static void who_was_asked_for_in_vain_is_asked_for_when_a_link_is_back(void **state)
{
	(void)state;
	RUN({ 0, LOST, NULL, NULL }, { 0, ASKED, "bob@b", NULL }, { 3000, WORK, NULL, "0" },
	    { 3000, BACK, NULL, NULL }, { 3000, WORK, NULL, "probe bob@b; 33000" });
	/* before there was any link */
	RUN({ 0, ASKED, "bob@b", NULL }, { 1, BACK, NULL, NULL },
	    { 1, WORK, NULL, "probe bob@b; 0" });
}

static void people_of_this_site_are_not_asked_for(void **state)
{
	(void)state;
	RUN({ 0, ASKED, "carol@a", NULL }, { 0, LOCAL, "carol@a/x", NULL }, { 0, LOST, NULL, NULL },
	    { 1, BACK, NULL, NULL }, { 1, WORK, NULL, "30001" });
}

static void links_are_apart(void **state)
{
	(void)state;
	RUN({ 0, SEEN, "bob@b/x", NULL }, { 0, SYDNEY, "sue@s/x", NULL },
	    { 0, LOST_SYDNEY, NULL, NULL }, { 1, LOST, NULL, NULL }, { 2, BACK, NULL, NULL },
	    { 2, WORK, NULL, "probe bob@b; 3000" }, { 3000, WORK, NULL, "gone sue@s/x; 30002" });
}

static void a_flapping_link_does_not_ask_while_it_is_away(void **state)
{
	(void)state;
	RUN({ 0, SEEN, "bob@b/x", NULL }, { 0, LOST, NULL, NULL }, { 1, BACK, NULL, NULL },
	    { 2, LOST, NULL, NULL }, { 2, WORK, NULL, "3002" }, { 3, BACK, NULL, NULL },
	    { 3, WORK, NULL, "probe bob@b; 30003" });
}

static void what_can_not_be_written_now_is_written_later(void **state)
{
	(void)state;
	RUN({ 0, SEEN, "bob@b/x", NULL }, { 0, LOST, NULL, NULL }, { 0, BLOCK, NULL, NULL },
	    { 3000, WORK, NULL, "4000" }, { 4000, FREE, NULL, NULL },
	    { 4000, WORK, NULL, "gone bob@b/x; 0" }, { 4001, BLOCK, NULL, NULL },
	    { 4001, BACK, NULL, NULL }, { 4001, WORK, NULL, "5001" }, { 4002, FREE, NULL, NULL },
	    { 5001, WORK, NULL, "probe bob@b; 35001" });
}

/* 1,000 contacts: in steps of 128, 50 ms apart. */
static void many_are_dealt_with_in_small_steps(void **state)
{
	(void)state;
	t.sightings = sightings_new(&ops, NULL);
	t.log = BUF_INIT(64 * 1024);
	t.is_blocked = false;
	for (int i = 0; i < 1000; i++) {
		scoped_str who = str_format("p%d@b/x", i);
		see(who, "boston", true);
	}
	sightings_lost(t.sightings, "boston", 0);
	msec now = 3000;
	int steps = 0;
	while (now) {
		msec next = sightings_work(t.sightings, now);
		assert_true(next == 0 || next == now + 50);
		now = next;
		steps++;
	}
	assert_int_equal(steps, 8);
	assert_non_null(strstr(buf_text(&t.log), "gone p999@b/x"));
	sightings_free(t.sightings);
	buf_free(&t.log);
}

static void the_pair_not_touched_for_longest_is_forgotten(void **state)
{
	(void)state;
	t.sightings = sightings_new(&ops, NULL);
	t.log = BUF_INIT(64 * 1024 * 1024);
	t.dropped = 0;
	for (int i = 0; i < SIGHTINGS_PAIRS_MAX; i++) {
		scoped_str who = str_format("p%d@b/x", i);
		see(who, "boston", true);
	}
	see("p0@b/x", "boston", true);
	see("new@b/x", "boston", true);
	assert_int_equal(t.dropped, 1);
	sightings_lost(t.sightings, "boston", 0);
	sightings_work(t.sightings, 3000); /* the first step: the rest is still to be done */
	see("newer@b/x", "boston", true);
	assert_int_equal(t.dropped, 2);
	for (msec now = 3000; now;)
		now = sightings_work(t.sightings, now);
	assert_non_null(strstr(buf_text(&t.log), "gone p0@b/x;"));
	assert_non_null(strstr(buf_text(&t.log), "gone new@b/x;"));
	assert_null(strstr(buf_text(&t.log), "gone p1@b/x;"));
	for (int i = 0; i <= SIGHTINGS_RESOURCES_MAX; i++) {
		scoped_str who = str_format("many@b/%d", i);
		see(who, "boston", true);
	}
	sightings_free(t.sightings);
	buf_free(&t.log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			who_is_behind_a_lost_link_is_gone_after_a_moment_and_asked_for_when_it_is_back),
		cmocka_unit_test(
			a_link_that_was_away_for_a_moment_takes_away_only_who_does_not_answer),
		cmocka_unit_test(who_was_asked_for_in_vain_is_asked_for_when_a_link_is_back),
		cmocka_unit_test(people_of_this_site_are_not_asked_for),
		cmocka_unit_test(links_are_apart),
		cmocka_unit_test(a_flapping_link_does_not_ask_while_it_is_away),
		cmocka_unit_test(what_can_not_be_written_now_is_written_later),
		cmocka_unit_test(many_are_dealt_with_in_small_steps),
		cmocka_unit_test(the_pair_not_touched_for_longest_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
