/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct mime *parsed(struct slice bytes)
{
	struct mime *mime;
	struct hr_err err;

	if (mime_parse(bytes, &mime, &err) != HR_OK)
		fail_msg("%s", err.text);
	return mime;
}

static void expect_refused(struct slice bytes, const char *why)
{
	struct mime *mime = NULL;
	struct hr_err err = { 0 };

	assert_int_equal(mime_parse(bytes, &mime, &err), HR_FAIL);
	assert_null(mime);
	if (!strstr(err.text, why))
		fail_msg("%s, not %s", err.text, why);
}

#define MULTI(type, boundary) "Content-Type: multipart/" type "; boundary=" boundary "\r\n\r\n"

/* A mail and its entities: depth, type, body, one a line. */
static const struct {
	const char *mail, *entities;
} trees[] = {
	{ "Subject: x\r\n\r\nhi\r\n", "0 text/plain [hi\r\n]\n" },
	{ "Subject: x\n\nhi", "0 text/plain [hi]\n" },
	{ "Subject: x", "0 text/plain []\n" },
	{ "Subject: x\r\nno field\r\nhi", "0 text/plain [no field\r\nhi]\n" },
	{ "Content-Type: TEXT/Html\r\n\r\n<p>", "0 text/html [<p>]\n" },
	{ "Content-Type: text\r\n\r\nx", "0 text/plain [x]\n" },
	{ "Content-Type: nonsense/\r\n\r\nx", "0 application/octet-stream [x]\n" },
	{ MULTI("mixed", "b") "pre\r\n--b\r\nA: b\r\n\r\none\r\n--b  \r\n\r\ntwo\r\n--b--\r\npost",
	  "0 multipart/mixed [...]\n1 text/plain [one]\n1 text/plain [two]\n" },
	{ MULTI("mixed", "\"a b\"") "--a b\n\none\n--a b--\n",
	  "0 multipart/mixed [...]\n1 text/plain [one]\n" },
	{ MULTI("mixed", "b") "--b\r\n\r\none", "0 multipart/mixed [...]\n1 text/plain [one]\n" },
	{ MULTI("mixed", "b") "--b\r\n--b\r\n\r\n\r\n--b--",
	  "0 multipart/mixed [...]\n1 text/plain []\n1 text/plain []\n" },
	{ MULTI("mixed", "b") "no part", "0 multipart/mixed [...]\n" },
	{ "Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx", "0 multipart/mixed [...]\n" },
	{ MULTI("mixed", "b") "--bc\r\n x--b\r\n--b\r\n\r\none\r\n--b-\r\n--b--",
	  "0 multipart/mixed [...]\n1 text/plain [one\r\n--b-]\n" },
	{ MULTI("mixed", "o") "--o\r\n" MULTI(
		  "alternative",
		  "oi") "--oi\r\n\r\none\r\n--oi\r\n"
			"Content-Type: text/html\r\n\r\ntwo\r\n--o\r\n\r\nthree\r\n--o--",
	  "0 multipart/mixed [...]\n1 multipart/alternative [...]\n2 text/plain [one]\n"
	  "2 text/html [two]\n1 text/plain [three]\n" },
	{ MULTI("mixed", "b") "--b\r\n" MULTI("mixed", "b") "--b\r\n\r\nx\r\n--b--",
	  "0 multipart/mixed [...]\n1 multipart/mixed [...]\n1 text/plain [x]\n" },
	{ MULTI("digest", "b") "--b\r\n\r\nSubject: x\r\n\r\nhi\r\n--b--",
	  "0 multipart/digest [...]\n1 message/rfc822 [Subject: x\r\n\r\nhi]\n" },
	{ "Content-Type: message/rfc822\r\n\r\n" MULTI("mixed", "b") "--b\r\n\r\nx\r\n--b--",
	  "0 message/rfc822 [" MULTI("mixed", "b") "--b\r\n\r\nx\r\n--b--]\n" },
};

static void cuts_a_mail_into_its_entities(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(trees); i++) {
		scoped(mime) mime = parsed(slice_str(trees[i].mail));
		scoped_buf seen = BUF_INIT(0);
		for (size_t n = 0; n < mime_count(mime); n++) {
			const struct mime_part *part = mime_part(mime, n);
			bool is_multi = strncmp(part->type, "multipart/", 10) == 0;
			struct slice body = is_multi ? slice_lit("...") : part->body;
			buf_format(&seen, "%u %s [" SLICE_FMT "]\n", part->depth, part->type,
				   SLICE_ARG(body));
		}
		assert_string_equal(buf_text(&seen), trees[i].entities);
	}
}

static void knows_what_is_inside_what(void **state)
{
	scoped(mime) mime = parsed(slice_str(trees[14].mail));
	static const size_t parents[] = { 0, 0, 1, 1, 0 }, ends[] = { 5, 4, 3, 4, 5 };

	(void)state;
	assert_int_equal(mime_count(mime), 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(mime_part(mime, i)->parent, parents[i]);
		assert_int_equal(mime_part(mime, i)->end, ends[i]);
	}
}

static void refuses_what_is_no_mail(void **state)
{
	(void)state;
	expect_refused((struct slice){ 0 }, "is empty");
	expect_refused(slice_lit("\r\n\r\nhi"), "no header");
	expect_refused(slice_lit(" folded: x\r\n\r\nhi"), "no header");
	expect_refused(slice_lit("From ada Mon Jan 1\r\nSubject: x\r\n\r\n"), "no header");
	expect_refused(slice_lit("\0: x\r\n\r\n"), "no header");
}

static void repeat(struct buf *out, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_add_str(out, text);
}

static void bounds_fields_and_headers(void **state)
{
	scoped_buf mail = BUF_INIT(0), long_mail = BUF_INIT(0), parts = BUF_INIT(0);

	(void)state;
	repeat(&mail, "a:\n", MIME_FIELDS_MAX);
	scoped(mime) mime = parsed(buf_slice(&mail));
	assert_int_equal(mime_part(mime, 0)->field_count, MIME_FIELDS_MAX);
	buf_add_str(&mail, "a:\n");
	expect_refused(buf_slice(&mail), "part 0 of the mail: more than 1000 header fields");

	buf_add_str(&long_mail, "Subject: x\n");
	repeat(&long_mail, " xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", MIME_HEADER_MAX / 33 + 1);
	expect_refused(buf_slice(&long_mail), "part 0 of the mail: a header of more than");

	buf_add_str(&parts, MULTI("mixed", "b") "--b\n");
	for (size_t i = 0; i < 5; i++) {
		repeat(&parts, "X: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n xxxxxxxxxx", 1);
		repeat(&parts, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", MIME_HEADER_MAX / 45);
		buf_add_str(&parts, "\n\nx\n--b\n");
	}
	expect_refused(buf_slice(&parts), "headers of more than");
}

static void bounds_parts_and_depth(void **state)
{
	scoped_buf wide = BUF_INIT(0), deep = BUF_INIT(0);

	(void)state;
	buf_add_str(&wide, MULTI("mixed", "b"));
	repeat(&wide, "--b\n\nx\n", MIME_PARTS_MAX - 1);
	scoped(mime) most = parsed(buf_slice(&wide));
	assert_int_equal(mime_count(most), MIME_PARTS_MAX);
	buf_add_str(&wide, "--b\n\nx\n");
	expect_refused(buf_slice(&wide), "more than 256 parts");
	repeat(&wide, "--b\n\n", 1000000); /* no more work for more of them */
	expect_refused(buf_slice(&wide), "more than 256 parts");

	for (unsigned i = 0; i < MIME_DEPTH_MAX; i++)
		buf_format(&deep, "Content-Type: multipart/mixed; boundary=b%u_\n\n--b%u_\n", i, i);
	scoped(mime) deepest = parsed(buf_slice(&deep));
	assert_int_equal(mime_part(deepest, MIME_DEPTH_MAX)->depth, MIME_DEPTH_MAX);
	buf_add_str(&deep, MULTI("mixed", "x") "--x\n");
	expect_refused(buf_slice(&deep), "deeper than 10");
}

static const char words[] =
	"subject : =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?iso-8859-1?b?IGF1cyBL9mxu?=\r\n"
	"SUBJECT: second\r\n"
	"X-Raw: Gr\xc3\xbc\xc3\x9f"
	"e\x01\t x\r\n"
	"X-Latin: K\xf6ln\r\n"
	"X-Bad: =?utf-8?q?=ff=00=0a?= =?nonsense?q?a?= =?utf-8?b?!!\r\n"
	"References: <a@b> (x) <c@d>\r\n <e f@g>junk<h@i>\r\n"
	"In-Reply-To: Your message of Monday <a@b>\r\n"
	"Date: Tue, 14 Nov 2023 23:13:20 +0100 (CET)\r\n"
	"Empty:\r\n\r\n";

static void expect_text(const struct mime_part *part, const char *name, const char *expected)
{
	scoped_str text = mime_text(part, name);

	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
}

static void reads_what_fields_say(void **state)
{
	scoped(mime) mime = parsed(slice_str(words));
	const struct mime_part *part = mime_part(mime, 0);
	const struct mime_field *field = mime_field(part, "Subject", NULL);

	(void)state;
	assert_non_null(mime_field(part, "subject", field));
	assert_null(mime_field(part, "subject", mime_field(part, "subject", field)));
	expect_text(part, "Subject", "Grüße aus Köln");
	expect_text(part, "X-Raw", "Grüße x");
	expect_text(part, "X-Latin", "Köln");
	expect_text(part, "Empty", "");
	expect_text(part, "Missing", NULL);
	scoped_str bad = mime_text(part, "X-Bad");
	assert_non_null(bad);
	assert_int_equal(mime_date(mime), 1700000000000000);
}

static void reads_message_ids(void **state)
{
	scoped(mime) mime = parsed(slice_str(words));
	const struct mime_part *part = mime_part(mime, 0);
	char **ids = mime_ids(part, "References", 10);
	char **last = mime_ids(part, "References", 1);
	char **parent = mime_ids(part, "In-Reply-To", 10);
	char **none = mime_ids(part, "Message-ID", 10);

	(void)state;
	assert_string_equal(ids[0], "a@b");
	assert_string_equal(ids[1], "c@d");
	assert_string_equal(ids[2], "h@i");
	assert_null(ids[3]);
	assert_string_equal(last[0], "h@i");
	assert_null(last[1]);
	assert_string_equal(parent[0], "a@b");
	assert_null(none[0]);
	mime_ids_free(ids);
	mime_ids_free(last);
	mime_ids_free(parent);
	mime_ids_free(none);
}

static void has_no_date_where_none_can_be(void **state)
{
	static const char *const mails[] = {
		"Subject: x\n\n",
		"Date:\n\n",
		"Date: yesterday\n\n",
		"Date: 99 Foo 99999 99:99:99\n\n",
	};

	(void)state;
	for (size_t i = 0; i < countof(mails); i++) {
		scoped(mime) mime = parsed(slice_str(mails[i]));
		assert_int_equal(mime_date(mime), 0);
	}
}

/* Fields of a part, and the name of the file that it is. */
static const struct {
	const char *header, *name;
	bool is_attachment;
} files[] = {
	{ "Content-Disposition: attachment; filename=a.pdf\n", "a.pdf", true },
	{ "Content-Disposition: inline; filename=\"a b.pdf\"\n", "a b.pdf", false },
	{ "Content-Disposition: attachment; filename*=utf-8''%C3%BCber.pdf\n", "über.pdf", true },
	{ "Content-Disposition: ATTACHMENT; filename*0=lo; filename*1=ng\n", "long", true },
	{ "Content-Disposition: attachment; filename=\"=?utf-8?b?w7xiZXIucGRm?=\"\n", "über.pdf",
	  true },
	{ "Content-Type: image/png; name=p.png\n", "p.png", false },
	{ "Content-Disposition: attachment; filename=\"\"\nContent-Type: x/y; name=n\n", "n",
	  true },
	{ "Content-Disposition: attachment; filename=\"..\\\\..\\\\etc/passwd\"\n", "passwd",
	  true },
	{ "Content-Disposition: attachment; filename=\"a/\"\n", NULL, true },
	{ "Content-Disposition: attachment; filename=\"a\x01\x7f\tb\"\n", "a b", true },
	{ "Content-Disposition:\n", NULL, false },
	{ "Subject: x\n", NULL, false },
};

static void names_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(files); i++) {
		scoped_str mail = str_format("%s\n", files[i].header);
		scoped(mime) mime = parsed(slice_str(mail));
		scoped_str name = mime_file_name(mime_part(mime, 0));
		if (files[i].name)
			assert_string_equal(name, files[i].name);
		else
			assert_null(name);
		assert_int_equal(mime_is_attachment(mime_part(mime, 0)), files[i].is_attachment);
	}
}

static const struct {
	const char *encoding, *body, *decoded;
} bodies[] = {
	{ "7bit", "a=20b", "a=20b" },
	{ "quoted-printable", "Gr=C3=BC=\r\n=C3=9Fe=20\r\n=zz", "Grüße \r\n=zz" },
	{ "BASE64", "R3LD\r\nvMOf\r\n ZQ==\r\n!!", "Grüße" },
	{ "base64 ", "", "" },
	{ "nonsense", "x", "x" },
	{ "x-uuencode", "begin 644 a\r\n", "begin 644 a\r\n" }, /* nobody sends that any more */
};

static void decodes_bodies_and_counts_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(bodies); i++) {
		scoped_str mail = str_format("Content-Transfer-Encoding: %s\r\n\r\n%s",
					     bodies[i].encoding, bodies[i].body);
		scoped(mime) mime = parsed(slice_str(mail));
		scoped_buf out = BUF_INIT(1000), little = BUF_INIT(3);
		size_t len = strlen(bodies[i].decoded);
		mime_decode(mime_part(mime, 0), &out);
		assert_string_equal(buf_text(&out), bodies[i].decoded);
		assert_false(out.overflowed);
		assert_int_equal(mime_decoded_size(mime_part(mime, 0)), len);
		mime_decode(mime_part(mime, 0), &little);
		assert_int_equal(little.overflowed, len > 3);
		assert_int_equal(little.len, len < 3 ? len : 3);
	}
}

static void decodes_what_is_larger_than_a_piece(void **state)
{
	scoped_buf mail = BUF_INIT(0), out = BUF_INIT(0);

	(void)state;
	buf_add_str(&mail, "Content-Transfer-Encoding: base64\n\n");
	repeat(&mail, "YWJjYWJjYWJj\n", 100000);
	scoped(mime) mime = parsed(buf_slice(&mail));
	mime_decode(mime_part(mime, 0), &out);
	assert_int_equal(out.len, 900000);
	assert_int_equal(mime_decoded_size(mime_part(mime, 0)), 900000);
	for (size_t i = 0; i < out.len; i++)
		if (out.data[i] != "abc"[i % 3])
			fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_a_mail_into_its_entities),
		cmocka_unit_test(knows_what_is_inside_what),
		cmocka_unit_test(refuses_what_is_no_mail),
		cmocka_unit_test(bounds_fields_and_headers),
		cmocka_unit_test(bounds_parts_and_depth),
		cmocka_unit_test(reads_what_fields_say),
		cmocka_unit_test(reads_message_ids),
		cmocka_unit_test(has_no_date_where_none_can_be),
		cmocka_unit_test(names_files),
		cmocka_unit_test(decodes_bodies_and_counts_them),
		cmocka_unit_test(decodes_what_is_larger_than_a_piece),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
