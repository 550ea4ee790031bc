/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* A session whose server is a list of steps; what came of it is gathered as words. */
struct scene {
	struct smtp *smtp;
	struct buf said, events;
};

static void on_secure(void *ctx)
{
	buf_add_str(&((struct scene *)ctx)->events, "secure ");
}

static void on_ready(void *ctx)
{
	buf_add_str(&((struct scene *)ctx)->events, "ready ");
}

static void on_result(void *ctx, enum smtp_result result, const char *text)
{
	static const char *const names[] = { "taken", "deferred", "refused", "away", "cut" };

	buf_format(&((struct scene *)ctx)->events, "%s(%s) ", names[result], text);
}

static void on_over(void *ctx, const char *text)
{
	buf_format(&((struct scene *)ctx)->events, "over(%s) ", text);
}

static const struct smtp_ops ops = { on_secure, on_ready, on_result, on_over };

static void open_scene(struct scene *scene, bool starttls, const char *username)
{
	*scene = (struct scene){ 0 };
	scene->smtp = smtp_new(&(struct smtp_options){ .host = "chat.example.com",
						       .starttls = starttls,
						       .username = username,
						       .password = username ? "pencil" : NULL },
			       &ops, scene);
}

static void close_scene(struct scene *scene)
{
	smtp_free(scene->smtp);
	buf_free(&scene->said);
	buf_free(&scene->events);
}

static void collect(struct scene *scene)
{
	buf_add_slice(&scene->said, buf_slice(smtp_output(scene->smtp)));
	buf_clear(smtp_output(scene->smtp));
}

static void hear(struct scene *scene, const char *text)
{
	smtp_received(scene->smtp, slice_str(text));
	collect(scene);
}

static void mail(struct scene *scene, const char *bytes, bool is_utf8)
{
	smtp_send(scene->smtp, &(struct smtp_mail){ .from = "reply@chat.example.com",
						    .to = "carla@example.com",
						    .bytes = slice_str(bytes),
						    .is_utf8 = is_utf8 });
	collect(scene);
}

static void expect(struct scene *scene, const char *said, const char *events)
{
	assert_string_equal(buf_text(&scene->said), said);
	assert_string_equal(buf_text(&scene->events), events);
	buf_clear(&scene->said);
	buf_clear(&scene->events);
}

#define FROM "MAIL FROM:<reply@chat.example.com>"

static void one_mail_after_the_other(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, false, NULL);
	hear(&scene, "220-hello\r\n220 mx ESMTP\r\n");
	expect(&scene, "EHLO chat.example.com\r\n", "");
	hear(&scene, "250-mx\r\n250-8BITMIME\r\n25");
	hear(&scene, "0 SMTPUTF8\r\n");
	expect(&scene, "", "ready ");
	for (int i = 0; i < 2; i++) {
		mail(&scene, "Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n", i == 1);
		expect(&scene, i ? FROM " BODY=8BITMIME SMTPUTF8\r\n" : FROM " BODY=8BITMIME\r\n",
		       "");
		hear(&scene, "250 ok\r\n");
		expect(&scene, "RCPT TO:<carla@example.com>\r\n", "");
		hear(&scene, "251 will forward\r\n");
		expect(&scene, "DATA\r\n", "");
		hear(&scene, "354 go\r\n");
		expect(&scene, "Subject: x\r\n\r\n..dot\r\n...\r\nend\r\n.\r\n", "");
		hear(&scene, "250 2.0.0 queued\r\n");
		expect(&scene, "", "taken(250 2.0.0 queued) ready ");
	}
	smtp_quit(scene.smtp);
	collect(&scene);
	hear(&scene, "221 bye\r\n");
	expect(&scene, "QUIT\r\n", "over(done) ");
	close_scene(&scene);
}

static void what_a_server_answers_decides_for_a_mail_or_for_all(void **state)
{
	static const struct {
		const char *to_mail, *to_rcpt, *to_data, *to_body; /* the last one counts */
		const char *events;
	} rows[] = {
		{ "450 later\r\n", NULL, NULL, NULL, "deferred(450 later) " },
		{ "550 no\r\n", NULL, NULL, NULL, "refused(550 no) " },
		{ "250 ok\r\n", "452-full\r\n452 4.2.2 full\r\n", NULL, NULL,
		  "deferred(452 4.2.2 full) " },
		{ "250 ok\r\n", "550 5.1.1 nobody\r\n", NULL, NULL, "refused(550 5.1.1 nobody) " },
		{ "250 ok\r\n", "250 ok\r\n", "554 no\r\n", NULL, "refused(554 no) " },
		{ "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "451 hold on\r\n",
		  "deferred(451 hold on) ready " },
		{ "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "552 too large\r\n",
		  "refused(552 too large) ready " },
		{ "530 log in\r\n", NULL, NULL, NULL, "away(530 log in) over(530 log in) " },
		{ "250 ok\r\n", "421 bye\r\n", NULL, NULL, "cut(421 bye) over(421 bye) " },
		{ "250 ok\r\n", "530 log in\r\n", NULL, NULL, "cut(530 log in) over(530 log in) " },
		{ "421 bye\r\n", NULL, NULL, NULL, "cut(421 bye) over(421 bye) " },
		{ "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "421 bye\r\n",
		  "cut(421 bye) over(421 bye) " },
		{ "250 ok\r\n", "199 what\r\n", NULL, NULL,
		  "cut(the smarthost does not speak SMTP) over(the smarthost does not speak "
		  "SMTP) " },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		const char *const answers[] = { rows[i].to_mail, rows[i].to_rcpt, rows[i].to_data,
						rows[i].to_body };
		struct scene scene;

		open_scene(&scene, false, NULL);
		hear(&scene, "220 mx\r\n");
		hear(&scene, "250 mx\r\n");
		mail(&scene, "x\r\n", false);
		buf_clear(&scene.events);
		for (size_t j = 0; j < countof(answers) && answers[j]; j++)
			hear(&scene, answers[j]);
		assert_string_equal(buf_text(&scene.events), rows[i].events);
		if (strstr(rows[i].events, "over") == NULL && !rows[i].to_body) {
			hear(&scene, "250 reset\r\n");
			assert_true(smtp_is_ready(scene.smtp));
		}
		close_scene(&scene);
	}
}

static void tls_is_required_and_nothing_is_believed_from_before(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, true, NULL);
	hear(&scene, "220 mx\r\n");
	hear(&scene, "250-mx\r\n250 STARTTLS\r\n");
	hear(&scene, "220 go\r\n");
	expect(&scene, "EHLO chat.example.com\r\nSTARTTLS\r\n", "secure ");
	smtp_secured(scene.smtp);
	collect(&scene);
	hear(&scene, "250 mx\r\n");
	expect(&scene, "EHLO chat.example.com\r\n", "ready ");
	close_scene(&scene);

	open_scene(&scene, true, NULL);
	hear(&scene, "220 mx\r\n");
	hear(&scene, "250 mx\r\n");
	expect(&scene, "EHLO chat.example.com\r\n", "over(the smarthost does not offer STARTTLS) ");
	close_scene(&scene);

	open_scene(&scene, true, NULL);
	hear(&scene, "220 mx\r\n");
	hear(&scene, "250-mx\r\n250 STARTTLS\r\n");
	hear(&scene, "220 go\r\n250 injected\r\n");
	assert_non_null(strstr(buf_text(&scene.events), "over(the smarthost went on in the clear"));
	close_scene(&scene);
}

/* What the server answers to a mail whose commands come in one write, and what is said to that. */
static void commands_go_at_once_where_the_server_takes_them(void **state)
{
	static const struct {
		const char *answers, *said, *events;
	} rows[] = {
		{ "250 a\r\n250 b\r\n354 go\r\n", "x\r\n.\r\n", "" },
		{ "250 a\r\n250 b\r\n354 go\r\n250 queued\r\n", "x\r\n.\r\n",
		  "taken(250 queued) ready " },
		{ "250 a\r\n250 b\r\n451 later\r\n", "RSET\r\n", "deferred(451 later) " },
		{ "250 a\r\n550 nobody\r\n", "", "refused(550 nobody) " },
		{ "250 a\r\n550 nobody\r\n554 no recipient\r\n250 reset\r\n", "RSET\r\n",
		  "refused(550 nobody) ready " },
		{ "250 a\r\n550 nobody\r\n354 go on\r\n", ".\r\n", "refused(550 nobody) " },
		{ "250 a\r\n550 nobody\r\n354 go on\r\n554 no recipient\r\n", ".\r\n",
		  "refused(550 nobody) ready " },
		{ "250 a\r\n550 nobody\r\n354 go on\r\n250 well\r\n", ".\r\n",
		  "refused(550 nobody) ready " },
		{ "452 full\r\n503 MAIL first\r\n503 RCPT first\r\n250 reset\r\n", "RSET\r\n",
		  "deferred(452 full) ready " },
		{ "452 full\r\n421 bye\r\n", "", "deferred(452 full) over(421 bye) " },
		{ "250 a\r\n421 bye\r\n", "", "cut(421 bye) over(421 bye) " },
		{ "530 log in\r\n", "", "away(530 log in) over(530 log in) " },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++)
		for (size_t piece = 1; piece < 100; piece += 98) {
			struct scene scene;

			open_scene(&scene, false, NULL);
			hear(&scene, "220 mx\r\n");
			hear(&scene, "250-mx\r\n250 PIPELINING\r\n");
			buf_clear(&scene.said);
			buf_clear(&scene.events);
			mail(&scene, "x\r\n", false);
			expect(&scene, FROM "\r\nRCPT TO:<carla@example.com>\r\nDATA\r\n", "");
			for (const char *at = rows[i].answers; *at; at += strnlen(at, piece)) {
				scoped_str some = mem_dup(at, strnlen(at, piece));
				hear(&scene, some);
			}
			expect(&scene, rows[i].said, rows[i].events);
			close_scene(&scene);
		}
}

/* RFC 5321 section 4.5.3.2. */
static void waits_as_long_as_the_standard_says(void **state)
{
	static const struct {
		const char *answer;
		msec minutes;
	} rows[] = { { "220 mx\r\n", 5 }, { "250 mx\r\n", 5 }, { "250 ok\r\n", 5 },
		     { "250 ok\r\n", 5 }, { "354 go\r\n", 2 }, { "250 queued\r\n", 10 } };
	struct scene scene;

	(void)state;
	open_scene(&scene, false, NULL);
	for (size_t i = 0; i < countof(rows); i++) {
		if (smtp_is_ready(scene.smtp)) {
			assert_int_equal(smtp_wait(scene.smtp, false), 10 * 1000);
			mail(&scene, "x\r\n", false);
		}
		assert_int_equal(smtp_wait(scene.smtp, false), rows[i].minutes * 60 * 1000);
		if (rows[i].minutes == 10)
			assert_int_equal(smtp_wait(scene.smtp, true), 3 * 60 * 1000);
		hear(&scene, rows[i].answer);
	}
	assert_true(smtp_is_ready(scene.smtp));
	close_scene(&scene);
}

static void credentials_are_said_in_one_place(void **state)
{
	static const char *const offers[] = { "PLAIN", "LOGIN" };

	(void)state;
	for (size_t i = 0; i < countof(offers); i++) {
		struct scene scene;
		scoped_str offer = str_format("250-mx\r\n250 AUTH %s\r\n", offers[i]);

		open_scene(&scene, false, "ann");
		hear(&scene, "220 mx\r\n");
		smtp_received(scene.smtp, slice_str(offer));
		if (i == 1) {
			hear(&scene, "334 name\r\n");
			smtp_received(scene.smtp, slice_lit("334 password\r\n"));
		}
		struct buf *out = smtp_output(scene.smtp);
		assert_non_null(strstr(buf_text(out), i ? "cGVuY2ls" : "AGFubgBwZW5jaWw="));
		buf_wipe(out);
		assert_null(memmem(out->data, out->size, "cGVu", 4));
		assert_null(memmem(out->data, out->size, "AGFu", 4));
		close_scene(&scene);
	}
}

static void a_login_is_plain_or_asked_for(void **state)
{
	static const struct {
		const char *offer, *said, *events;
	} rows[] = {
		{ "250-mx\r\n250 AUTH LOGIN PLAIN\r\n", "AUTH PLAIN AGFubgBwZW5jaWw=\r\n",
		  "ready " },
		{ "250-mx\r\n250 AUTH LOGIN\r\n", "AUTH LOGIN\r\nYW5u\r\ncGVuY2ls\r\n", "ready " },
		{ "250-mx\r\n250 AUTH GSSAPI XPLAIN\r\n", "",
		  "over(the smarthost offers neither AUTH PLAIN nor AUTH LOGIN) " },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct scene scene;

		open_scene(&scene, false, "ann");
		hear(&scene, "220 mx\r\n");
		buf_clear(&scene.said);
		hear(&scene, rows[i].offer);
		if (strstr(rows[i].said, "LOGIN")) {
			hear(&scene, "334 VXNlcm5hbWU6\r\n");
			hear(&scene, "334 UGFzc3dvcmQ6\r\n");
		}
		if (*rows[i].said)
			hear(&scene, "235 welcome\r\n");
		expect(&scene, rows[i].said, rows[i].events);
		close_scene(&scene);
	}
	struct scene scene;
	open_scene(&scene, false, "ann");
	hear(&scene, "220 mx\r\n");
	hear(&scene, "250-mx\r\n250 AUTH PLAIN\r\n");
	hear(&scene, "535 wrong\r\n");
	assert_string_equal(buf_text(&scene.events), "over(535 wrong) ");
	close_scene(&scene);
}

static void a_loss_is_the_end_of_the_mail_under_way(void **state)
{
	struct scene scene;

	(void)state;
	for (int sent = 0; sent < 2; sent++) {
		open_scene(&scene, false, NULL);
		hear(&scene, "220 mx\r\n");
		hear(&scene, "250 mx\r\n");
		buf_clear(&scene.events);
		mail(&scene, "x", false);
		assert_false(smtp_has_begun(scene.smtp));
		hear(&scene, "250 ok\r\n250 ok\r\n");
		assert_true(smtp_has_begun(scene.smtp));
		if (sent)
			hear(&scene, "354 go\r\n");
		smtp_lost(scene.smtp, "no more");
		assert_string_equal(buf_text(&scene.events), "cut(no more) over(no more) ");
		smtp_lost(scene.smtp, "again"); /* nothing more is told */
		assert_null(strstr(buf_text(&scene.events), "again"));
		close_scene(&scene);
	}
}

static void what_is_no_smtp_ends_it(void **state)
{
	static const char *const wrong[] = { "HTTP/1.1 400 Bad Request\r\n",
					     "220",
					     "99 x\r\n",
					     "2200 x\r\n",
					     "\r\n",
					     "554 go away\r\n" };

	(void)state;
	for (size_t i = 0; i < countof(wrong); i++) {
		struct scene scene;

		open_scene(&scene, false, NULL);
		hear(&scene, wrong[i]);
		assert_int_equal(strstr(buf_text(&scene.events), "over(") != NULL, i != 1);
		close_scene(&scene);
	}
	struct scene scene;
	scoped_buf endless = BUF_INIT(0);

	open_scene(&scene, false, NULL);
	for (int i = 0; i < 2 * SMTP_LINES_MAX; i++)
		buf_add_str(&endless, "220-more\r\n");
	hear(&scene, buf_text(&endless));
	assert_non_null(strstr(buf_text(&scene.events), "over("));
	close_scene(&scene);
	open_scene(&scene, false, NULL);
	buf_clear(&endless);
	for (int i = 0; i < 2 * SMTP_LINE_MAX; i++)
		buf_add_char(&endless, '2');
	hear(&scene, buf_text(&endless));
	assert_non_null(strstr(buf_text(&scene.events), "too long"));
	close_scene(&scene);
}

static void an_address_that_the_server_cannot_carry_is_refused(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, false, NULL);
	hear(&scene, "220 mx\r\n");
	hear(&scene, "250 mx\r\n");
	buf_clear(&scene.events);
	mail(&scene, "x\r\n", true);
	assert_non_null(strstr(buf_text(&scene.events), "refused("));
	assert_true(smtp_is_ready(scene.smtp));
	close_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mail_after_the_other),
		cmocka_unit_test(what_a_server_answers_decides_for_a_mail_or_for_all),
		cmocka_unit_test(tls_is_required_and_nothing_is_believed_from_before),
		cmocka_unit_test(commands_go_at_once_where_the_server_takes_them),
		cmocka_unit_test(waits_as_long_as_the_standard_says),
		cmocka_unit_test(credentials_are_said_in_one_place),
		cmocka_unit_test(a_login_is_plain_or_asked_for),
		cmocka_unit_test(a_loss_is_the_end_of_the_mail_under_way),
		cmocka_unit_test(what_is_no_smtp_ends_it),
		cmocka_unit_test(an_address_that_the_server_cannot_carry_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
