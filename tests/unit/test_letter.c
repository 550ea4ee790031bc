/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/draft.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define T(text) ((char *)(uintptr_t)(text))

/* One slot of messages from bob to somebody, as a letter in a file of lines. */
struct scene {
	struct slots slots;
	struct letter_words words;
	struct config_mail mail;
	struct mail_send_answer known;
	struct person from, to;
	struct reply_keys keys;
	struct letter letter;
	struct buf out;
};

static char *languages[] = { T("en"), NULL };

static void scene_open(struct scene *scene, const char *to, const char *const *payloads)
{
	*scene = (struct scene){
		.mail = { .chat_domain = T("chat.example.com"),
			  .from = T("chat@chat.example.com"),
			  .reply_life_ms = 3600 * 1000,
			  .digest = 2,
			  .languages = languages },
		.known = { .thread = 7 },
		.from = { .address = T("bob@example.com"), .name = T("Bob Baker") },
		.to = { .address = T(to) },
		.keys = { .current = slice_lit("0123456789abcdef0123456789abcdef") },
		.out = BUF_INIT(0),
	};
	for (int64_t seq = 1; *payloads; payloads++, seq++) {
		scoped(envelope) envelope = envelope_new(&(struct envelope_fields){
			.from = slice_lit("bob@example.com/desk"),
			.to = slice_str(to),
			.stanza_id = slice_lit("m1"),
			.payload = slice_str(*payloads),
			.received = 1700000000 * INT64_C(1000000),
			.hops = { slice_lit("boston") },
			.hop_count = 1,
		});
		assert_true(slots_add(&scene->slots, seq, envelope, NULL));
	}
	letter_words_read(scene->slots.first, &scene->words);
	scene->letter = (struct letter){
		.mail = &scene->mail,
		.site = "amsterdam",
		.slot = scene->slots.first,
		.words = &scene->words,
		.from = &scene->from,
		.to = &scene->to,
		.known = &scene->known,
		.keys = &scene->keys,
		.mode = MAIL_FULL,
		.now = 1700000000 * INT64_C(1000000),
	};
}

static void scene_close(struct scene *scene)
{
	letter_words_clear(&scene->words);
	slots_clear(&scene->slots);
	buf_free(&scene->out);
}

static void expect(struct scene *scene, const char *const *there, const char *const *absent)
{
	bool needs_utf8;
	struct hr_err err;

	if (letter_write(&scene->letter, &scene->out, &needs_utf8, &err) != HR_OK)
		fail_msg("%s", err.text);
	for (; *there; there++)
		if (!strstr(buf_text(&scene->out), *there))
			fail_msg("no \"%s\" in:\n%s", *there, buf_text(&scene->out));
	for (; *absent; absent++)
		if (strstr(buf_text(&scene->out), *absent))
			fail_msg("\"%s\" in:\n%s", *absent, buf_text(&scene->out));
}

#define LIST(...)                 \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}
#define NOTHING               \
	(const char *const[]) \
	{                     \
		NULL          \
	}

static void a_message_becomes_a_mail_that_can_be_answered(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>Hello &amp; good day</body><thread>t</thread>",
					    NULL };

	(void)state;
	scene_open(&scene, "carla@example.com", said);
	assert_string_equal(scene.words.thread, "t");
	scene.known.earlier[0] = slice_lit("a@x");
	scene.known.earlier[1] = slice_lit("b@x");
	scene.known.earlier_count = 2;
	expect(&scene,
	       LIST("From: Bob Baker <chat@chat.example.com>", "To: ", "carla@example.com",
		    "Reply-To: ", "@chat.example.com", "In-Reply-To: <b@x>", "<a@x>",
		    "Hello & good day", "Hedgerow-Trace:", "boston", "amsterdam"),
	       LIST("Auto-Submitted"));
	scene_close(&scene);
}

static void an_odd_id_of_a_mail_that_came_does_not_stop_the_conversation(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>Hello</body>", NULL };
	scoped_buf endless = BUF_INIT(0);

	(void)state;
	for (size_t i = 0; i < 300; i++)
		buf_add_char(&endless, 'a');
	scene_open(&scene, "carla@example.com", said);
	scene.known.earlier[0] = slice_lit("a@x");
	scene.known.earlier[1] = slice_lit("é@x");
	scene.known.earlier[2] = slice_lit("b>c@x");
	scene.known.earlier[3] = buf_slice(&endless);
	scene.known.earlier_count = 4;
	expect(&scene, LIST("In-Reply-To: <a@x>", "References: <a@x>"), NOTHING);
	buf_free(&scene.out);
	scene.known.earlier[0] = slice_lit("é@x");
	scene.out = BUF_INIT(0);
	expect(&scene, LIST("Hello"), LIST("In-Reply-To", "References"));
	scene_close(&scene);
}

static void a_digest_of_copies_shows_some_and_counts_the_others(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>one</body>", "<composing xmlns='x'/>",
					    "<body>two</body>", "<body>three</body>", NULL };

	(void)state;
	scene_open(&scene, "carla@example.com", said);
	assert_int_equal(scene.words.count, 3);
	expect(&scene, LIST("one", "two", "three", "Auto-Submitted: auto-generated"), NOTHING);
	buf_clear(&scene.out);
	scene.slots.first->messages[0]->f.is_copy = true;
	expect(&scene, LIST("one", "two", "1 more wait", "Auto-Submitted: auto-generated"),
	       LIST("three"));
	scene_close(&scene);
}

static void what_one_mail_does_not_hold_is_for_the_next(void **state)
{
	static const struct {
		const char *said[5];
		size_t most, count, next;
	} rows[] = {
		{ { "<body>1</body>", "<body>2</body>" }, 2, 2, 0 },
		{ { "<body>1</body>", "<body>2</body>", "<body>3</body>" }, 2, 2, 2 },
		{ { "<active xmlns='x'/>", "<body>1</body>", "<active xmlns='x'/>",
		    "<body>2</body>" },
		  1,
		  1,
		  3 },
		{ { "<body>1</body>", "<active xmlns='x'/>" }, 1, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct scene scene;

		scene_open(&scene, "carla@example.com", rows[i].said);
		assert_int_equal(letter_words_fit(&scene.words, rows[i].most), rows[i].next);
		assert_int_equal(scene.words.count, rows[i].count);
		expect(&scene, NOTHING, LIST("more wait for you"));
		scene_close(&scene);
	}
}

static void a_notice_does_not_say_what_was_written(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>confidential</body>", NULL };

	(void)state;
	scene_open(&scene, "carla@example.com", said);
	scene.letter.mode = MAIL_NOTICE;
	expect(&scene, LIST("Auto-Submitted: auto-generated", "Bob Baker"), LIST("confidential"));
	scene_close(&scene);
}

static void addresses_are_written_as_mail_has_them(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>x</body>", NULL };

	(void)state;
	scene_open(&scene, "o\\27hara\\40mail.example@example.com", said);
	expect(&scene, LIST("o'hara@mail.example"), LIST("\\40"));
	scene_close(&scene);
}

static void what_says_nothing_is_no_mail(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<composing xmlns='x'/>", "<body/>",
					    "<received xmlns='urn:xmpp:receipts' id='1'/>", NULL };

	(void)state;
	scene_open(&scene, "carla@example.com", said);
	assert_int_equal(scene.words.count, 0);
	scene_close(&scene);
}

static void a_mail_that_is_tried_again_has_the_same_id(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>x</body>", NULL };

	(void)state;
	scene_open(&scene, "carla@example.com", said);
	scoped_str one = letter_message_id(scene.slots.first, "chat.example.com");
	scoped_str two = letter_message_id(scene.slots.first, "chat.example.com");
	assert_string_equal(one, two);
	assert_int_equal(strlen(one), 32 + strlen("@chat.example.com"));
	scene_close(&scene);
}

static void domain_and_person_both_must_want_it(void **state)
{
	static const struct {
		enum config_mail_mode domain;
		const char *person;
		enum config_mail_mode both;
	} rows[] = {
		{ MAIL_FULL, NULL, MAIL_FULL },	      { MAIL_FULL, "full", MAIL_FULL },
		{ MAIL_FULL, "notice", MAIL_NOTICE }, { MAIL_FULL, "off", MAIL_OFF },
		{ MAIL_NOTICE, NULL, MAIL_NOTICE },   { MAIL_NOTICE, "full", MAIL_NOTICE },
		{ MAIL_NOTICE, "off", MAIL_OFF },     { MAIL_OFF, "full", MAIL_OFF },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct config_mail mail = { .mode = rows[i].domain };

		assert_int_equal(letter_mode(&mail, slice_str(rows[i].person)), rows[i].both);
	}
}

static void put_secret(const char *directory, const char *name, const char *text)
{
	scoped_str path = str_format("%s/%s", directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void drop_secrets(const char *directory)
{
	static const char *const names[] = { "reply.key", "password" };

	for (size_t i = 0; i < countof(names); i++) {
		scoped_str path = str_format("%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

static void a_draft_needs_all_secrets_of_its_domain(void **state)
{
	struct scene scene;
	static const char *const said[] = { "<body>x</body>", NULL };
	char directory[] = "/tmp/test_letter_XXXXXX";
	scoped_draft draft = { 0 };
	struct hr_err err;

	(void)state;
	assert_non_null(mkdtemp(directory));
	scene_open(&scene, "carla@example.com", said);
	scene.letter.keys = NULL;
	scene.mail.reply_key = T("reply.key");
	scene.mail.secret = T("password");
	assert_int_equal(draft_write(&scene.letter, directory, &draft, &err), HR_RETRY);
	assert_non_null(strstr(err.text, "reply.key"));
	put_secret(directory, "reply.key", "short");
	assert_int_equal(draft_write(&scene.letter, directory, &draft, &err), HR_RETRY);
	assert_non_null(strstr(err.text, "password"));
	put_secret(directory, "password", "geheim");
	assert_int_equal(draft_write(&scene.letter, directory, &draft, &err), HR_RETRY);
	assert_non_null(strstr(err.text, "reply.key"));
	draft_clear(&draft);
	put_secret(directory, "reply.key", "0123456789abcdef0123456789abcdef\n");
	assert_int_equal(draft_write(&scene.letter, directory, &draft, &err), HR_OK);
	assert_string_equal(draft.password, "geheim");
	assert_string_equal(buf_text(&draft.to), "carla@example.com");
	/* a report of its delivery finds the conversation as a reply does */
	assert_non_null(strstr(buf_text(&draft.bytes), buf_text(&draft.from)));
	drop_secrets(directory);
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_becomes_a_mail_that_can_be_answered),
		cmocka_unit_test(an_odd_id_of_a_mail_that_came_does_not_stop_the_conversation),
		cmocka_unit_test(a_digest_of_copies_shows_some_and_counts_the_others),
		cmocka_unit_test(what_one_mail_does_not_hold_is_for_the_next),
		cmocka_unit_test(a_notice_does_not_say_what_was_written),
		cmocka_unit_test(addresses_are_written_as_mail_has_them),
		cmocka_unit_test(what_says_nothing_is_no_mail),
		cmocka_unit_test(a_mail_that_is_tried_again_has_the_same_id),
		cmocka_unit_test(domain_and_person_both_must_want_it),
		cmocka_unit_test(a_draft_needs_all_secrets_of_its_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
