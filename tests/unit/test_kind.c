/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	const char *fields, *sender;
	enum kind kind;
	const char *why; /* part of it */
} rows[] = {
	{ "Subject: hi\n", "ada@example.com", KIND_PERSONAL, NULL },
	{ "Auto-Submitted: no\n", "ada@example.com", KIND_PERSONAL, NULL },
	{ "Auto-Submitted: NO (really)\n", "ada@example.com", KIND_PERSONAL, NULL },
	{ "Precedence: first-class\nX-Autoreply: no\n", "ada@example.com", KIND_PERSONAL, NULL },
	{ "Hedgerow-Trace: boston\n", "ada@example.com", KIND_PERSONAL, NULL },
	{ "Hedgerow-Trace: amsterdam2, a, b, c\n", "ada@example.com", KIND_PERSONAL, NULL },
	{ "Content-Type: multipart/mixed; boundary=x\n", "a@example.com", KIND_PERSONAL, NULL },

	{ "Hedgerow-Trace: boston, amsterdam\n", "ada@example.com", KIND_LOOP, "has been here" },
	{ "Hedgerow-Trace: x\nHedgerow-Trace: amsterdam\n", "", KIND_LOOP, "has been here" },
	{ "Hedgerow-Trace: a, b,,\n c, d,e\n", "ada@example.com", KIND_LOOP, "too many sites" },
	{ "Hedgerow-Trace: a\nHedgerow-Trace: b, c\nHedgerow-Trace: d e\n", "a@b", KIND_LOOP,
	  "too many sites" },

	{ "Auto-Submitted: auto-replied\n", "", KIND_VACATION, "auto-replied" },
	{ "auto-submitted: Auto-Replied; owner=x\n", "a@b", KIND_VACATION, "auto-replied" },
	{ "Auto-Submitted: auto-generated (rejected)\n", "a@b", KIND_AUTOMATIC, "Auto-Submitted" },
	{ "Auto-Submitted: auto-notified\n", "a@b", KIND_AUTOMATIC, "Auto-Submitted" },
	{ "Auto-Submitted:\n", "a@b", KIND_AUTOMATIC, "Auto-Submitted" },
	{ "Auto-Submitted: no\nAuto-Submitted: auto-replied\n", "a@b", KIND_VACATION, "replied" },
	{ "X-Autoreply: yes\n", "a@b", KIND_VACATION, "X-Autoreply" },
	{ "X-Autorespond: I am away\n", "a@b", KIND_VACATION, "X-Autorespond" },
	{ "Precedence: auto_reply\n", "a@b", KIND_VACATION, "Precedence" },

	{ "List-Id: <x.example.com>\n", "a@b", KIND_LIST, "List-Id" },
	{ "List-Unsubscribe: <https://x.example>\n", "a@b", KIND_LIST, "List-Unsubscribe" },
	{ "Precedence: List\n", "a@b", KIND_LIST, "Precedence: list" },
	{ "Precedence: bulk\n", "a@b", KIND_BULK, "bulk" },
	{ "Precedence: junk (x)\n", "a@b", KIND_BULK, "junk" },
	{ "Subject: x\n", "owner-chess@example.com", KIND_LIST, "envelope sender" },
	{ "Subject: x\n", "chess-Bounces@example.com", KIND_LIST, "envelope sender" },
	{ "Subject: x\n", "chess-request@example.com", KIND_LIST, "envelope sender" },

	{ "Subject: Undelivered\n", "", KIND_BOUNCE, "null envelope sender" },
	{ "Subject: Undelivered\n", "MAILER-DAEMON@mx.example.com", KIND_BOUNCE, "sender" },
	{ "Subject: Undelivered\n", "mailer-daemon", KIND_BOUNCE, "envelope sender" },
	{ "X-Failed-Recipients: x@y\n", "a@b", KIND_BOUNCE, "X-Failed-Recipients" },
	{ "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n", "",
	  KIND_REPORT, "multipart/report" },
	{ "Content-Type: multipart/report; report-type=\"DELIVERY-STATUS\"; boundary=x\n"
	  "Auto-Submitted: auto-replied\n",
	  "", KIND_REPORT, "multipart/report" },
	{ "Content-Type: multipart/report; report-type=disposition-notification; boundary=x\n",
	  "a@b", KIND_DISPOSITION, "multipart/report" },
	{ "Content-Type: multipart/report; report-type=feedback-report; boundary=x\n", "a@b",
	  KIND_AUTOMATIC, "multipart/report" },
	{ "Content-Type: multipart/report; boundary=x\n", "a@b", KIND_AUTOMATIC, "report" },
	{ "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n"
	  "Hedgerow-Trace: amsterdam\n",
	  "", KIND_LOOP, "has been here" },
};

static enum kind kind_of_text(struct slice text, const char *sender, const char **why)
{
	scoped(mime) mime = NULL;
	struct hr_err err;

	if (mime_parse(text, &mime, &err) != HR_OK)
		fail_msg("%s", err.text);
	return kind_of(mime, slice_str(sender), "amsterdam", why);
}

static void tells_persons_from_programs(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		const char *why = "not set";
		enum kind kind = kind_of_text(slice_str(rows[i].fields), rows[i].sender, &why);
		if (kind != rows[i].kind)
			fail_msg("%s is %s", rows[i].fields, kind_name(kind));
		if (rows[i].why ? !why || !strstr(why, rows[i].why) : why != NULL)
			fail_msg("%s: %s", rows[i].fields, why ? why : "NULL");
	}
}

static void ends_a_mail_that_goes_round_without_our_trace(void **state)
{
	scoped_buf mail = BUF_INIT(0);
	const char *why;

	(void)state;
	buf_add_str(&mail, "Subject: x\n");
	for (size_t i = 0; i < KIND_RECEIVED_MAX; i++)
		buf_add_str(&mail, "Received: by mx\n");
	assert_int_equal(kind_of_text(buf_slice(&mail), "a@b", &why), KIND_PERSONAL);
	buf_add_str(&mail, "Received: by mx\n");
	assert_int_equal(kind_of_text(buf_slice(&mail), "a@b", &why), KIND_LOOP);
	assert_string_equal(why, "too many Received");
}

static void names_every_kind(void **state)
{
	(void)state;
	for (size_t kind = 0; kind < KINDS; kind++)
		assert_true(strlen(kind_name((enum kind)kind)) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_persons_from_programs),
		cmocka_unit_test(ends_a_mail_that_goes_round_without_our_trace),
		cmocka_unit_test(names_every_kind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
