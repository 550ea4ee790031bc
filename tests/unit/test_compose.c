/* SPDX-License-Identifier: Apache-2.0 */
/* What we write is read with what we read mail with. */
#include "gateway/mail/compose.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/mail/kind.h"
#include "gateway/mail/read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const usec sent = 1700000000000000; /* 2023-11-14 22:13:20 UTC */

static const struct compose_text one[] = { { { "Three?\n  <Ada>", 14 }, 1700000000000000 } };

static struct compose usual(void)
{
	return (struct compose){
		.from_name = "Ada Adams",
		.from = "chat@mail.example.com",
		.person = "ada.adams@example.com",
		.to_name = "Bob Baker",
		.to = "bob@example.org",
		.reply_to = "replyabc@reply.example.com",
		.message_id = "c1.4711@mail.example.com",
		.date = sent,
		.texts = one,
		.text_count = 1,
	};
}

struct made {
	struct buf bytes;
	struct mime *mime;
	bool needs_utf8;
};

static void made_end(struct made *made)
{
	mime_free(made->mime);
	buf_free(&made->bytes);
}
#define scoped_made __attribute__((cleanup(made_end))) struct made

/* RFC 5322 section 2.3: lines end with CRLF, and hold 998 bytes at most. */
static void check_lines(struct slice mail)
{
	size_t start = 0;

	for (size_t i = 0; i < mail.len; i++) {
		assert_true(mail.data[i] != '\r' || mail.data[i + 1] == '\n');
		assert_true(mail.data[i] != '\0');
		if (mail.data[i] != '\n')
			continue;
		assert_true(i > 0 && mail.data[i - 1] == '\r');
		assert_true(i - start <= 999);
		start = i + 1;
	}
	assert_int_equal(start, mail.len);
}

static struct made make(const struct compose *mail)
{
	struct made made = { 0 };
	struct hr_err err;

	if (compose_mail(mail, &made.bytes, &made.needs_utf8, &err) != HR_OK)
		fail_msg("%s", err.text);
	check_lines(buf_slice(&made.bytes));
	if (mime_parse(buf_slice(&made.bytes), &made.mime, &err) != HR_OK)
		fail_msg("%s", err.text);
	return made;
}

static void expect_field(const struct made *made, const char *name, const char *expected)
{
	scoped_str text = mime_text(mime_part(made->mime, 0), name);

	if (expected && text)
		assert_string_equal(text, expected);
	else if (expected || text)
		fail_msg("%s: %s, not %s", name, text ? text : "none",
			 expected ? expected : "none");
}

static char *body_of(const struct made *made, size_t number)
{
	scoped_buf text = BUF_INIT(0);
	scoped_buf clean = BUF_INIT(0);

	scoped_str charset = mime_type_parameter(mime_part(made->mime, number), "charset");
	assert_string_equal(charset, "utf-8");
	mime_decode(mime_part(made->mime, number), &text);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] != '\r')
			buf_add_char(&clean, text.data[i]);
	return str_dup(buf_text(&clean));
}

static void writes_the_whole_mail(void **state)
{
	static const char *const references[] = { "c1.1@mail.example.com", "x$y@example.org" };
	static const char *const trace[] = { "boston", "amsterdam" };
	struct compose mail = usual();

	(void)state;
	mail.in_reply_to = "x$y@example.org";
	mail.references = references;
	mail.reference_count = 2;
	mail.trace = trace;
	mail.trace_count = 2;
	scoped_made made = make(&mail);
	assert_false(made.needs_utf8);
	expect_field(&made, "From", "Ada Adams <chat@mail.example.com>");
	expect_field(&made, "To", "Bob Baker <bob@example.org>");
	expect_field(&made, "Reply-To", "Ada Adams <replyabc@reply.example.com>");
	expect_field(&made, "Subject", "Message from Ada Adams");
	expect_field(&made, "Message-ID", "<c1.4711@mail.example.com>");
	expect_field(&made, "In-Reply-To", "<x$y@example.org>");
	expect_field(&made, "References", "<c1.1@mail.example.com> <x$y@example.org>");
	expect_field(&made, "Hedgerow-Trace", "boston, amsterdam");
	expect_field(&made, "MIME-Version", "1.0");
	expect_field(&made, "Auto-Submitted", NULL);
	expect_field(&made, "Date", "Tue, 14 Nov 2023 22:13:20 +0000");
	assert_int_equal(mime_count(made.mime), 3);
	assert_string_equal(mime_part(made.mime, 0)->type, "multipart/alternative");
	scoped_str plain = body_of(&made, 1);
	assert_string_equal(plain,
			    "-=- Write your reply above this line -=-\n\nThree?\n  <Ada>\n\n-- \n"
			    "Ada Adams (ada.adams@example.com) wrote this to you in a chat.\n"
			    "Reply to this mail, and your text appears there.\n");
	scoped_str html = body_of(&made, 2);
	assert_string_equal(
		html, "<!DOCTYPE html>\n<html lang=\"en\">\n<body>\n"
		      "<p style=\"color:#777\">-=- Write your reply above this line -=-</p>\n"
		      "<p style=\"white-space:pre-wrap\">Three?<br>  &lt;Ada&gt;</p>\n"
		      "<p style=\"color:#777\">-- <br>"
		      "Ada Adams (ada.adams@example.com) wrote this to you in a chat.<br>"
		      "Reply to this mail, and your text appears there.</p>\n</body>\n</html>\n");
}

static void is_the_same_bytes_each_time(void **state)
{
	struct compose mail = usual();
	scoped_made first = make(&mail);
	scoped_made second = make(&mail);

	(void)state;
	assert_true(slice_eq(buf_slice(&first.bytes), buf_slice(&second.bytes)));
}

static void expect_plain(const struct compose *mail, const char *expected)
{
	scoped_made made = make(mail);
	scoped_str plain = body_of(&made, 1);

	assert_string_equal(plain, expected);
}

static void speaks_the_languages_of_its_readers(void **state)
{
	static const struct {
		const char *languages[2], *subject, *begin;
	} rows[] = {
		{ { "en" }, "Message from Ada Adams", "-=- Write your reply above" },
		{ { "de-AT" }, "Nachricht von Ada Adams", "-=- Bitte oberhalb dieser Zeile" },
		{ { "FR" }, "Message de Ada Adams", "-=- Répondez au-dessus de cette" },
		{ { "es_MX" }, "Mensaje de Ada Adams", "-=- Escriba su respuesta encima" },
		{ { "xx", "nl" }, "Bericht van Ada Adams", "-=- Schrijf uw antwoord boven" },
		{ { "xx", "den" }, "Message from Ada Adams", "-=- Write your reply above" },
		{ { "", "x" }, "Message from Ada Adams", "-=- Write your reply above" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct compose mail = usual();
		mail.languages = rows[i].languages;
		mail.language_count = rows[i].languages[1] ? 2 : 1;
		scoped_made made = make(&mail);
		scoped_str plain = body_of(&made, 1);
		expect_field(&made, "Subject", rows[i].subject);
		assert_memory_equal(plain, rows[i].begin, strlen(rows[i].begin));
	}
}

static void tells_only_that_somebody_has_written(void **state)
{
	struct compose mail = usual();
	static const char *const german[] = { "de" };

	(void)state;
	mail.text_count = 0;
	mail.more = 1;
	mail.is_automatic = true;
	mail.reply_to = NULL;
	expect_plain(&mail,
		     "Ada Adams (ada.adams@example.com) has written to you in a chat.\n\n-- \n"
		     "Replies to this mail are not read.\n");
	mail.more = 3;
	mail.languages = german;
	mail.language_count = 1;
	mail.from_name = " ";
	expect_plain(&mail,
		     "ada.adams@example.com hat Ihnen in einem Chat 3 Nachrichten "
		     "geschrieben.\n\n-- \nAntworten auf diese Mail werden nicht gelesen.\n");
	scoped_made made = make(&mail);
	const char *why;
	expect_field(&made, "Auto-Submitted", "auto-generated");
	expect_field(&made, "Reply-To", NULL);
	expect_field(&made, "Subject", "Nachricht von ada.adams@example.com");
	assert_int_equal(kind_of(made.mime, slice_lit("a@b"), "x", &why), KIND_AUTOMATIC);
}

static void collects_what_waits(void **state)
{
	static const struct compose_text texts[] = {
		{ { "One\n", 4 }, 1700000000000000 },
		{ { "Two\r\nlines", 10 }, 1700003600000000 },
	};
	struct compose mail = usual();

	(void)state;
	mail.texts = texts;
	mail.text_count = 2;
	mail.more = 7;
	expect_plain(&mail,
		     "-=- Write your reply above this line -=-\n\n"
		     "[2023-11-14 22:13 UTC]\n\nOne\n\n[2023-11-14 23:13 UTC]\n\nTwo\nlines\n\n"
		     "7 more wait for you in the chat.\n\n-- \n"
		     "Ada Adams (ada.adams@example.com) wrote this to you in a chat.\n"
		     "Reply to this mail, and your text appears there.\n");
}

static void carries_any_text(void **state)
{
	static const char *const texts[] = {
		"",
		".",
		".\n..\n",
		"From me\n>From you\n",
		"-- \nsig",
		"=_hedgerow\n--=_hedgerow--\n",
		"Grüße, 你好, שלום 😀",
		"<b>&amp;</b>\n\"'",
		" leading\n  and trailing  \n\n\n",
		"=3D=\n",
		"\t",
		"{name} {count} %s %n",
	};

	(void)state;
	for (size_t i = 0; i < countof(texts); i++) {
		struct compose_text text = { slice_str(texts[i]), sent };
		struct compose mail = usual();
		mail.texts = &text;
		scoped_made made = make(&mail);
		scoped_str plain = body_of(&made, 1);
		scoped_buf expected = BUF_INIT(0);
		struct slice kept = text.text;
		while (kept.len > 0 && kept.data[kept.len - 1] == '\n')
			kept.len--;
		buf_format(&expected, "this line -=-\n\n" SLICE_FMT "\n\n-- \nAda",
			   SLICE_ARG(kept));
		if (!strstr(plain, buf_text(&expected)))
			fail_msg("%s is not in %s", buf_text(&expected), plain);
	}
}

static void folds_long_lines_and_leaves_out_controls(void **state)
{
	scoped_buf large = BUF_INIT(0);
	struct compose_text texts[3] = { 0 };
	struct compose mail = usual();

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		buf_add_str(&large, i % 1000 == 999 ? "\x01\xff\0" : "ü");
	for (size_t i = 0; i < countof(texts); i++)
		texts[i] = (struct compose_text){ buf_slice(&large), sent };
	mail.texts = texts;
	mail.text_count = 3;
	scoped_made made = make(&mail);
	scoped_str plain = body_of(&made, 1);
	assert_true(utf8_xml(slice_str(plain)));
	assert_non_null(strstr(plain, "\n\n2 more wait for you"));
	assert_non_null(strstr(plain, "üü\xef\xbf\xbdüü"));
}

static const char *const evil[] = {
	"x\r\nBcc: all@example.com\r\n\r\nbody",
	"x\nX: y",
	"x\rX: y",
	"\"<evil@example.com>\", \"",
	"=?utf-8?q?x=0d=0aBcc:_y?=",
	"a\x01\x7f",
	"\xff\xfe",
	"Grüße\xe2\x80\xa8X: y",
	"a,b;c:d<e>(f)[g]\\\"",
	"evil@example.com",
	"@",
	"=?utf-8?b?PGV2aWxAZXhhbXBsZS5jb20+?=",
};

static size_t count_fields(const struct made *made, const char *name)
{
	size_t count = 0;

	for (const struct mime_field *field = NULL;
	     (field = mime_field(mime_part(made->mime, 0), name, field));)
		count++;
	return count;
}

static void lets_nobody_write_into_the_header(void **state)
{
	scoped_made plain = { 0 };
	struct compose mail = usual();

	(void)state;
	plain = make(&mail);
	for (size_t i = 0; i < countof(evil); i++) {
		mail = usual();
		mail.from_name = mail.to_name = mail.subject = evil[i];
		scoped_made made = make(&mail);
		assert_int_equal(mime_part(made.mime, 0)->field_count,
				 mime_part(plain.mime, 0)->field_count);
		assert_int_equal(count_fields(&made, "Bcc") + count_fields(&made, "X"), 0);
		scoped_str from = mime_text(mime_part(made.mime, 0), "From");
		assert_non_null(strstr(from, "<chat@mail.example.com>"));
		assert_string_equal(strrchr(from, '<'), "<chat@mail.example.com>");
		assert_true(utf8_xml(slice_str(from)));
	}
	scoped_buf name = BUF_INIT(0);
	for (size_t i = 0; i < 5000; i++)
		buf_add_str(&name, i % 7 ? "ü" : " ");
	mail.from_name = mail.subject = buf_text(&name);
	scoped_made made = make(&mail);
	scoped_str subject = mime_text(mime_part(made.mime, 0), "Subject");
	assert_true(strlen(subject) <= COMPOSE_SUBJECT_MAX);
}

static void expect_refused(const struct compose *mail, const char *why)
{
	scoped_buf out = BUF_INIT(0);
	bool needs_utf8;
	struct hr_err err = { 0 };

	assert_int_equal(compose_mail(mail, &out, &needs_utf8, &err), HR_FAIL);
	assert_int_equal(out.len, 0);
	if (!strstr(err.text, why))
		fail_msg("%s, not %s", err.text, why);
}

static void refuses_addresses_and_ids_that_are_none(void **state)
{
	static const char *const bad[] = {
		"", " ", "a b", "a\r\nb", "a>b", "<a", "b\xc3\xbc", "a\x7f",
	};

	(void)state;
	for (size_t i = 0; i < countof(bad); i++) {
		struct compose mail = usual();
		const char *list[] = { bad[i] };
		mail.from = bad[i];
		expect_refused(&mail, "From of a mail");
		mail = usual();
		mail.to = bad[i];
		expect_refused(&mail, "To of a mail");
		mail = usual();
		mail.reply_to = bad[i];
		expect_refused(&mail, "Reply-To of a mail");
		mail = usual();
		mail.message_id = bad[i];
		expect_refused(&mail, "Message-ID of a mail");
		mail = usual();
		mail.in_reply_to = bad[i];
		expect_refused(&mail, "In-Reply-To of a mail");
		mail = usual();
		mail.references = list;
		mail.reference_count = 1;
		expect_refused(&mail, "References of a mail");
	}
	struct compose mail = usual();
	const char *sites[] = { "a,b" };
	mail.trace = sites;
	mail.trace_count = 1;
	expect_refused(&mail, "trace of a mail");
	mail.trace_count = 0;
	mail.text_count = COMPOSE_TEXTS_MAX + 1;
	expect_refused(&mail, "more texts");
}

static void writes_addresses_of_all_the_world(void **state)
{
	struct compose mail = usual();

	(void)state;
	mail.to = "bob@müller.example";
	scoped_made domain = make(&mail);
	assert_false(domain.needs_utf8);
	expect_field(&domain, "To", "Bob Baker <bob@xn--mller-kva.example>");
	mail.to = "jörg@müller.example";
	mail.to_name = "Jörg Müller";
	scoped_made local = make(&mail);
	assert_true(local.needs_utf8);
	scoped_str to = mime_text(mime_part(local.mime, 0), "To");
	assert_memory_equal(to, "Jörg Müller <jörg@", strlen("Jörg Müller <jörg@"));
	mail.to = "\"a \\\"b\"@example.com";
	mail.to_name = NULL;
	scoped_made quoted = make(&mail);
	expect_field(&quoted, "To", "\"a \\\"b\"@example.com");
}

static void is_cut_off_a_reply_to_it(void **state)
{
	static const char *const languages[][1] = {
		{ "en" }, { "de" }, { "fr" }, { "es" }, { "nl" }
	};

	(void)state;
	for (size_t i = 0; i < countof(languages); i++) {
		struct compose mail = usual();
		mail.languages = languages[i];
		mail.language_count = 1;
		scoped_made made = make(&mail);
		for (size_t part = 1; part <= 2; part++) {
			scoped_str quoted = body_of(&made, part);
			scoped_str reply = str_format(
				"Content-Type: text/%s; charset=utf-8\n\nThree.%s\n%s",
				part == 1 ? "plain" : "html", part == 1 ? "\n" : "<br>", quoted);
			scoped(mime) mime = NULL;
			struct read_mail read;
			struct hr_err err;
			assert_int_equal(mime_parse(slice_str(reply), &mime, &err), HR_OK);
			read_mail(mime, &read);
			assert_string_equal(read.text, "Three.");
			assert_true(read.is_quote_cut);
			read_mail_clear(&read);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_whole_mail),
		cmocka_unit_test(is_the_same_bytes_each_time),
		cmocka_unit_test(speaks_the_languages_of_its_readers),
		cmocka_unit_test(tells_only_that_somebody_has_written),
		cmocka_unit_test(collects_what_waits),
		cmocka_unit_test(carries_any_text),
		cmocka_unit_test(folds_long_lines_and_leaves_out_controls),
		cmocka_unit_test(lets_nobody_write_into_the_header),
		cmocka_unit_test(refuses_addresses_and_ids_that_are_none),
		cmocka_unit_test(writes_addresses_of_all_the_world),
		cmocka_unit_test(is_cut_off_a_reply_to_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
