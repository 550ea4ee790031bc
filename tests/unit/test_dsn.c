/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/dsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define HEAD                                                                          \
	"From: MAILER-DAEMON@mx.example.com\nAuto-Submitted: auto-replied\n"          \
	"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" \
	"--b\n\nI'm sorry to have to inform you.\n"
#define STATUS "--b\nContent-Type: message/delivery-status\n\n"
#define ORIGINAL(type, id) "--b\nContent-Type: " type "\n\nSubject: x\nMessage-ID: <" id ">\n\nhi\n"
#define PER_MAIL \
	"Reporting-MTA: dns; mx.example.com\nArrival-Date: Tue, 1 Jan 2030 00:00:00 +0000\n\n"

/* A report, and "message id|address action status diagnostic|...", or ! and part of the reason. */
static const struct {
	const char *mail, *seen;
} rows[] = {
	{ HEAD STATUS PER_MAIL
	  "Final-Recipient: rfc822; full@example.org\nOriginal-Recipient: rfc822;ada@example.org\n"
	  "Action: failed\nStatus: 5.2.2\nRemote-MTA: dns; mx.example.org\n"
	  "Diagnostic-Code: smtp; 552 5.2.2 <ada@example.org>: mailbox\n    full\n\n" ORIGINAL(
		  "message/rfc822", "m1@example.com") "--b--\n",
	  "m1@example.com|ada@example.org failed 5.2.2 552 5.2.2 <ada@example.org>: mailbox "
	  "full|" },
	{ HEAD STATUS PER_MAIL
	  "Final-Recipient: RFC822;a@x.example\nAction: Delayed\nStatus: 4.4.1 (x)\n\n"
	  "Final-Recipient: rfc822;b@x.example\nAction: delivered\n\n\n"
	  "Final-Recipient: rfc822;c@x.example\nAction: relayed\nStatus: 2.1\n\n"
	  "Final-Recipient: d@x.example\nAction: expanded\nStatus: 2.0.0\n" ORIGINAL(
		  "text/rfc822-headers", "m2@example.com"),
	  "m2@example.com|a@x.example delayed 4.4.1 |b@x.example delivered  |"
	  "c@x.example relayed  |d@x.example expanded 2.0.0 |" },
	{ HEAD "--b\nContent-Type: message/global-delivery-status\n"
	       "Content-Transfer-Encoding: quoted-printable\n\n" PER_MAIL
	       "Final-Recipient: utf-8; j\\x{F6}rg@m=C3=BCller.example\nAction: failed\n"
	       "Status: 5.1.1\n" ORIGINAL("message/global-headers", "m3@example.com"),
	  "m3@example.com|jörg@müller.example failed 5.1.1 |" },
	{ HEAD STATUS PER_MAIL
	  "Final-Recipient: rfc822; a\\x{0}\\x{110000}\\x{zz}b@c\nAction: failed\n",
	  "-|a\\x{110000}\\x{zz}b@c failed  |" },
	{ HEAD STATUS PER_MAIL
	  "Final-Recipient: rfc822; a@b\nAction: exploded\n\n"
	  "Action: failed\nStatus: 5.0.0\n\n"
	  "Final-Recipient: rfc822; c@d\nAction: failed\n\njunk without a colon\n",
	  "-|c@d failed  |" },
	{ HEAD STATUS PER_MAIL, "!names no recipient" },
	{ HEAD STATUS, "!names no recipient" },
	{ HEAD STATUS "junk\n", "!names no recipient" },
	{ HEAD "--b--\n", "none" },
	{ "Subject: x\n\n" STATUS PER_MAIL, "none" },
	{ "Content-Type: multipart/mixed; boundary=b\n\n" STATUS PER_MAIL
	  "Final-Recipient: rfc822; a@b\nAction: failed\n",
	  "none" },
};

static void describe(const struct dsn *dsn, struct buf *out)
{
	static const char *const actions[] = { "failed", "delayed", "delivered", "relayed",
					       "expanded" };

	buf_format(out, "%s|", dsn->message_id ? dsn->message_id : "-");
	for (size_t i = 0; i < dsn->recipient_count; i++) {
		const struct dsn_recipient *recipient = &dsn->recipients[i];
		buf_format(out, "%s %s %s %s|", recipient->address, actions[recipient->action],
			   recipient->status, recipient->diagnostic);
	}
}

static void expect(struct slice mail, const char *expected)
{
	scoped(mime) mime = NULL;
	scoped(dsn) dsn = NULL;
	scoped_buf seen = BUF_INIT(0);
	struct hr_err err = { 0 };

	if (mime_parse(mail, &mime, &err) != HR_OK)
		fail_msg("%s", err.text);
	switch (dsn_read(mime, &dsn, &err)) {
	case HR_OK:
		describe(dsn, &seen);
		break;
	case HR_NONE:
		buf_add_str(&seen, "none");
		break;
	case HR_FAIL:
		if (expected[0] != '!' || !strstr(err.text, expected + 1))
			fail_msg("%s", err.text);
		return;
	case HR_RETRY:
	case HR_UNSURE:
		fail();
	}
	assert_string_equal(buf_text(&seen), expected);
}

static void reads_what_became_of_a_mail(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++)
		expect(slice_str(rows[i].mail), rows[i].seen);
}

static void bounds_the_recipients(void **state)
{
	scoped_buf mail = BUF_INIT(0);
	scoped(mime) mime = NULL;
	scoped(dsn) dsn = NULL;
	struct hr_err err;

	(void)state;
	buf_add_str(&mail, HEAD STATUS PER_MAIL);
	for (size_t i = 0; i < 3 * DSN_RECIPIENTS_MAX; i++)
		buf_format(&mail, "Final-Recipient: rfc822; a%zu@b\nAction: failed\n\n", i);
	assert_int_equal(mime_parse(buf_slice(&mail), &mime, &err), HR_OK);
	assert_int_equal(dsn_read(mime, &dsn, &err), HR_OK);
	assert_int_equal(dsn->recipient_count, DSN_RECIPIENTS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_became_of_a_mail),
		cmocka_unit_test(bounds_the_recipients),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
