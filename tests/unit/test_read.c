/* SPDX-License-Identifier: Apache-2.0 */
/* tests/mail holds mails as clients write them, NAME.eml, and beside each what is read in it,
 * NAME.txt: the subject, what else there is to say, an empty line, the chat text. */
#include "gateway/mail/read.h"

#include "base/utf8.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void read_file(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		fail_msg("%s cannot be opened", path);
	for (char *room; (room = buf_reserve(out, 65536)) && !feof(file) && !ferror(file);)
		out->len += fread(room, 1, 65536, file);
	fclose(file);
}

static struct mime *parsed(struct slice bytes)
{
	struct mime *mime;
	struct hr_err err;

	if (mime_parse(bytes, &mime, &err) != HR_OK)
		fail_msg("%s", err.text);
	return mime;
}

static void describe(struct slice bytes, struct buf *out)
{
	scoped(mime) mime = parsed(bytes);
	struct read_mail mail;

	read_mail(mime, &mail);
	assert_true(utf8_xml(slice_str(mail.subject)));
	assert_true(utf8_xml(slice_str(mail.text)));
	buf_format(out, "Subject: %s\n", mail.subject);
	if (mail.is_quote_cut)
		buf_add_str(out, "Quote: cut\n");
	if (mail.is_too_long)
		buf_add_str(out, "Text: too long\n");
	for (size_t i = 0; i < mail.attachment_count && i < READ_ATTACHMENTS_MAX; i++) {
		assert_true(utf8_xml(slice_str(mail.attachments[i].name)));
		buf_format(out, "%s: %s, %zu bytes\n",
			   mail.attachments[i].is_picture ? "Picture" : "Attachment",
			   mail.attachments[i].name, mail.attachments[i].size);
	}
	buf_format(out, "\n%s%s", mail.text, *mail.text ? "\n" : "");
	read_mail_clear(&mail);
}

static size_t differing; /* mails that are not read as they should be */

static void compare(const char *folder, const char *name)
{
	scoped_str mail_path = str_format("%s/%s", folder, name);
	scoped_str text_path = str_format("%s/%.*s.txt", folder, (int)strlen(name) - 4, name);
	scoped_buf mail = BUF_INIT(0), expected = BUF_INIT(0), seen = BUF_INIT(0);

	read_file(mail_path, &mail);
	read_file(text_path, &expected);
	describe(buf_slice(&mail), &seen);
	if (slice_eq(buf_slice(&seen), buf_slice(&expected)))
		return;
	differing++;
	print_error("---- %s is read as\n%s---- and should be\n%s", name, buf_text(&seen),
		    buf_text(&expected));
}

static void reads_the_mail_of_every_client(void **state)
{
	const char *top = getenv("top_srcdir");
	scoped_str folder = str_format("%s/tests/mail", top ? top : ".");
	DIR *dir = opendir(folder);
	size_t mails = 0;

	(void)state;
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		size_t len = strlen(entry->d_name);
		if (len > 4 && strcmp(entry->d_name + len - 4, ".eml") == 0) {
			compare(folder, entry->d_name);
			mails++;
		}
	}
	closedir(dir);
	assert_true(mails > 50);
	assert_int_equal(differing, 0);
}

static void repeat(struct buf *out, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_add_str(out, text);
}

static void bounds_the_text(void **state)
{
	static const char *const types[] = { "plain", "plain; format=flowed", "html" };
	static const char *const pieces[] = { "a ",   "é", "\n",   "&lt;",  "<p>",
					      "\x80", ">", "> \n", "-=- \n" };

	(void)state;
	for (size_t t = 0; t < countof(types); t++)
		for (size_t p = 0; p < countof(pieces); p++) {
			scoped_buf bytes = BUF_INIT(0);
			struct read_mail mail;
			buf_format(&bytes, "Content-Type: text/%s\n\nstart ", types[t]);
			repeat(&bytes, pieces[p], 600000);
			scoped(mime) mime = parsed(buf_slice(&bytes));
			read_mail(mime, &mail);
			assert_true(strlen(mail.text) <= READ_TEXT_MAX);
			assert_true(utf8_xml(slice_str(mail.text)));
			assert_memory_equal(mail.text, "start", 5);
			if (p < 2)
				assert_true(mail.is_too_long &&
					    strlen(mail.text) > READ_TEXT_MAX - 4);
			read_mail_clear(&mail);
		}
}

static void bounds_parts_and_names(void **state)
{
	scoped_buf bytes = BUF_INIT(0);
	struct read_mail mail;

	(void)state;
	buf_add_str(&bytes, "Subject: ");
	repeat(&bytes, "é", 1000);
	buf_add_str(&bytes, "\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n");
	for (size_t i = 0; i < READ_ATTACHMENTS_MAX + 10; i++) {
		buf_add_str(&bytes, "--b\nContent-Disposition: attachment; filename=\"");
		repeat(&bytes, "é", 1000);
		buf_add_str(&bytes, "\"\n\nabc\n");
	}
	scoped(mime) mime = parsed(buf_slice(&bytes));
	read_mail(mime, &mail);
	assert_string_equal(mail.text, "hi");
	assert_int_equal(strlen(mail.subject), READ_SUBJECT_MAX);
	assert_int_equal(mail.attachment_count, READ_ATTACHMENTS_MAX + 10);
	assert_int_equal(strlen(mail.attachments[0].name), READ_NAME_MAX - 1);
	assert_int_equal(mail.attachments[READ_ATTACHMENTS_MAX - 1].size, 3);
	read_mail_clear(&mail);
}

/* A text in each of many parts, and each in alternatives in alternatives. */
static void reads_no_more_than_it_keeps(void **state)
{
	scoped_buf bytes = BUF_INIT(0);
	struct read_mail mail;

	(void)state;
	for (unsigned i = 0; i < MIME_DEPTH_MAX; i++)
		buf_format(&bytes, "Content-Type: multipart/alternative; boundary=b%u_\n\n--b%u_\n",
			   i, i);
	buf_add_str(&bytes, "Content-Type: text/html\n\n");
	for (size_t i = 0; i < 200; i++) {
		repeat(&bytes, "<p>x\n", 20000);
		buf_format(&bytes, "--b%d_\nContent-Type: text/html\n\n", MIME_DEPTH_MAX - 1);
	}
	scoped(mime) mime = parsed(buf_slice(&bytes));
	read_mail(mime, &mail);
	assert_memory_equal(mail.text, "x\n\nx", 4);
	read_mail_clear(&mail);
}

/* Megabytes that are no text: what follows them is not looked for. */
static void reads_no_more_than_it_may(void **state)
{
	static const char *const nothing[] = { "Content-Type: text/html\n\n<p><b></b>",
					       "Content-Type: text/plain\n\n\n" };

	(void)state;
	for (size_t n = 0; n < countof(nothing); n++) {
		scoped_buf bytes = BUF_INIT(0);
		struct read_mail mail;

		buf_add_str(&bytes, "Content-Type: multipart/mixed; boundary=b\n\n");
		for (size_t i = 0; i < 30; i++) {
			buf_format(&bytes, "--b\n%s", nothing[n]);
			repeat(&bytes, n ? "\n" : "<p><b></b>\n", 100000);
		}
		buf_add_str(&bytes, "--b\n\nlate\n");
		scoped(mime) mime = parsed(buf_slice(&bytes));
		read_mail(mime, &mail);
		assert_string_equal(mail.text, "");
		assert_true(mail.is_too_long);
		read_mail_clear(&mail);
	}
}

/* A picture in a related part whose HTML is `html`, after which come other parts. */
static bool has_attachments(const char *html, const char *others)
{
	scoped_str bytes =
		str_format("Content-Type: multipart/related; boundary=r\n\n--r\nContent-Type: "
			   "text/html\n\n%s\n"
			   "--r\nContent-Type: image/png\nContent-ID: <p@x>\n\nxxx\n%s--r--\n",
			   html, others);
	scoped(mime) mime = parsed(slice_str(bytes));
	struct read_mail mail;

	read_mail(mime, &mail);
	bool has = read_has_attachments(&mail);
	read_mail_clear(&mail);
	return has;
}

static void a_picture_that_the_text_shows_is_no_attachment(void **state)
{
	(void)state;
	assert_false(has_attachments("Hi <img src=cid:p@x>", ""));
	assert_false(has_attachments("Hi <img src='cid:p%40x'> cid:", ""));
	assert_true(has_attachments("Hi <img src='cid:p@xy'>", ""));
	assert_true(has_attachments("Hi <img src='cid:cid:p@x'>", "")); /* one name, once */
	assert_true(has_attachments("Hi", ""));
	assert_true(has_attachments("", ""));
	assert_true(has_attachments("<img src='cid:p@x'>", "")); /* it is all there is */
	assert_true(has_attachments("Hi <img src=cid:p@x>", "--r\nContent-Type: image/png\n\nx\n"));
	assert_true(
		has_attachments("Hi <img src=cid:p@x>",
				"--r\nContent-Type: application/pdf\nContent-ID: <p@x>\n\nx\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_mail_of_every_client),
		cmocka_unit_test(bounds_the_text),
		cmocka_unit_test(bounds_parts_and_names),
		cmocka_unit_test(reads_no_more_than_it_keeps),
		cmocka_unit_test(reads_no_more_than_it_may),
		cmocka_unit_test(a_picture_that_the_text_shows_is_no_attachment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
