/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/ldif.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Writes each record as "line|dn|name=value|..." and a newline. */
static enum hr_status write_down(void *arg, const struct ldif_record *record, struct hr_err *err)
{
	struct buf *out = arg;

	(void)err;
	buf_format(out, "%zu|" SLICE_FMT, record->line, SLICE_ARG(record->dn));
	for (size_t i = 0; i < record->n; i++)
		buf_format(out, "|" SLICE_FMT "=" SLICE_FMT, SLICE_ARG(record->values[i].name),
			   SLICE_ARG(record->values[i].value));
	buf_add_char(out, '\n');
	return HR_OK;
}

/* Parses `text` in pieces of `step` bytes. */
static enum hr_status parse(struct slice text, size_t step, struct buf *out, struct hr_err *err)
{
	scoped(ldif) ldif = ldif_new(write_down, out);

	buf_clear(out);
	for (size_t at = 0; at < text.len; at += step) {
		size_t len = text.len - at < step ? text.len - at : step;
		if (ldif_feed(ldif, (struct slice){ text.data + at, len }, err) != HR_OK)
			return err->status;
	}
	return ldif_end(ldif, err);
}

static const struct {
	const char *text, *records;
} good[] = {
	{ "", "" },
	{ "\n\n\r\n", "" },
	{ "# nothing\n but a comment\n", "" },
	{ "dn: cn=a\ncn: a\n", "1|cn=a|cn=a\n" },
	{ "dn: cn=a\ncn: a", "1|cn=a|cn=a\n" },
	{ "version: 1\ndn: cn=a\ncn: a\n\ndn: cn=b\n", "2|cn=a|cn=a\n5|cn=b\n" },
	{ "version: 1\n\n\n\ndn: cn=a\nversion: 7\n", "5|cn=a|version=7\n" },
	{ "dn: cn=a\r\ncn: a\r\n\r\ndn: cn=b\r\n", "1|cn=a|cn=a\n4|cn=b\n" },
	{ "dn: cn=a\n bc\n  d\nmail: x\n y\r\n z\n", "1|cn=abc d|mail=xyz\n" },
	{ "dn: cn=a\n# told\n  apart\ncn:a\nsn:   b \n", "1|cn=a|cn=a|sn=b \n" },
	{ "dn:: Y249w6k=\ncn:: w6k=\nsn::YQ==\nou::\nl:\n", "1|cn=é|cn=é|sn=a|ou=|l=\n" },
	{ "dn: cn=a\ncn:: w6\n k=\n", "1|cn=a|cn=é\n" },
	{ "dn:\ncn;lang-nl: a:b\n2.5.4.3: c\nmember;range=0-*: d\n",
	  "1||cn;lang-nl=a:b|2.5.4.3=c|member;range=0-*=d\n" },
	{ "dn: cn=a\nmail: x\nchangetype: add\n", "1|cn=a|mail=x|changetype=add\n" },
};

static void records_come_out_however_the_bytes_come_in(void **state)
{
	struct buf out = BUF_INIT(1 << 16);
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < countof(good); i++) {
		for (size_t step = 1; step < 50; step += step < 4 ? 1 : 45) {
			assert_int_equal(parse(slice_str(good[i].text), step, &out, &err), HR_OK);
			assert_string_equal(buf_text(&out), good[i].records);
		}
	}
	buf_free(&out);
}

static void what_is_not_content_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "cn: a\n", "line 1: a record begins with \"dn: \"" },
		{ "# search\n\ndn: cn=a\n\nsearch: 2\n", "line 5: a record begins with \"dn: \"" },
		{ " cn: a\n", "line 1: begins with a space, but continues nothing" },
		{ "dn: cn=a\n\n b\n", "line 3: begins with a space, but continues nothing" },
		{ "dn: cn=a\nb\n", "line 2: not \"attribute: value\"" },
		{ "dn: cn=a\n: b\n", "line 2: not \"attribute: value\"" },
		{ "dn: cn=a\nc n: b\n", "line 2: not \"attribute: value\"" },
		{ "dn: cn=a\n-\n", "line 2: not \"attribute: value\"" },
		{ "dn: cn=a\ncn:: a\n", "line 2: not base64" },
		{ "dn: cn=a\ncn:: ab=c\n", "line 2: not base64" },
		{ "dn: cn=a\ncn:: a===\n", "line 2: not base64" },
		{ "dn: cn=a\ncn:: ab\xff=\n", "line 2: not base64" },
		{ "dn: cn=a\n\ndn: cn=b\nChangeType: delete\n", "line 4: a record of changes" },
		{ "dn: cn=b\ncontrol: 1.2.3\n", "line 2: a record of changes" },
		{ "dn: cn=b\njpegPhoto:< file:///x\n", "line 2: a value in another file" },
		{ "version: 2\ndn: cn=b\n", "line 1: version 2 of LDIF is not known" },
	};
	struct buf out = BUF_INIT(1 << 16);
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		assert_int_equal(parse(slice_str(rows[i].text), 3, &out, &err), HR_FAIL);
		assert_int_equal(strncmp(err.text, rows[i].error, strlen(rows[i].error)), 0);
	}
	buf_free(&out);
}

static enum hr_status feed_many(const char *first, const char *piece, size_t n, struct hr_err *err)
{
	struct buf out = BUF_INIT(0);
	scoped(ldif) ldif = ldif_new(write_down, &out);

	enum hr_status status = ldif_feed(ldif, slice_str(first), err);
	for (size_t i = 0; i < n && status == HR_OK; i++)
		status = ldif_feed(ldif, slice_str(piece), err);
	buf_free(&out);
	return status;
}

static void a_record_without_end_is_refused(void **state)
{
	struct hr_err err;

	(void)state;
	assert_int_equal(feed_many("dn: cn=a\n", "cn: a\n", LDIF_LINES, &err), HR_FAIL);
	assert_string_equal(err.text, "line 50001: a record of more than 50000 lines");
	assert_int_equal(feed_many("dn: cn=a\ncn: ", "0123456789", LDIF_RECORD_BYTES / 10, &err),
			 HR_FAIL);
	assert_string_equal(err.text, "line 2: a record of more than 8388608 bytes");
	assert_int_equal(feed_many("", "dn: cn=a\n\n", 2 * LDIF_LINES, &err), HR_OK);
}

static enum hr_status refuse(void *arg, const struct ldif_record *record, struct hr_err *err)
{
	(void)arg;
	(void)record;
	return err_set(err, HR_RETRY, "enough");
}

static void whoever_takes_records_may_end_it(void **state)
{
	scoped(ldif) ldif = ldif_new(refuse, NULL);
	struct hr_err err;

	(void)state;
	assert_int_equal(ldif_feed(ldif, slice_lit("dn: cn=a\n\n"), &err), HR_RETRY);
	assert_string_equal(err.text, "enough");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_out_however_the_bytes_come_in),
		cmocka_unit_test(what_is_not_content_is_refused_with_its_line),
		cmocka_unit_test(a_record_without_end_is_refused),
		cmocka_unit_test(whoever_takes_records_may_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
