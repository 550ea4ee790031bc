/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/recipient.h"

#include "base/buf.h"
#include "gateway/mail/reply_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define T(text) ((char *)(uintptr_t)(text))
#define KEY "0123456789abcdef0123456789abcdef"

static struct config_mail mails[] = {
	{ .domain = T("example.com"),
	  .site = T("here"),
	  .carrier = T("here"),
	  .chat_domain = T("chat.example.com"),
	  .reply_key = T("key") },
	{ .domain = T("other.example"),
	  .site = T("there"),
	  .carrier = T("there"),
	  .chat_domain = T("chat.other.example"),
	  .reply_key = T("key") },
};
static const struct config config = { .local_site = T("here"), .mails = mails, .mail_count = 2 };
static char directory[] = "/tmp/hr-recipient-XXXXXX";

static void a_person_is_named_under_the_chat_domain(void **state)
{
	static const struct {
		const char *text, *peer; /* NULL: refused */
	} rows[] = {
		{ "ada@chat.example.com", "ada@example.com" },
		{ "Ada.Adams@CHAT.example.com", "ada.adams@example.com" },
		{ "o'hara@chat.example.com", "o\\27hara@example.com" },
		{ "a/b&c@chat.example.com", "a\\2fb\\26c@example.com" },
		{ "ada@example.com", NULL },
		{ "ada@chat.other.example", NULL }, /* carried there */
		{ "\"a b\"@chat.example.com", NULL },
		{ "@chat.example.com", NULL },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct recipient recipient = { 0 };
		struct hr_err err;
		enum hr_status status = recipient_read(slice_str(rows[i].text), &config, directory,
						       1, &recipient, &err);

		if (status != (rows[i].peer ? HR_OK : HR_FAIL))
			fail_msg("%s: %s", rows[i].text, hr_status_name(status));
		if (rows[i].peer)
			assert_string_equal(recipient.peer, rows[i].peer);
		free(recipient.peer);
	}
}

static void a_reply_address_names_a_conversation_while_it_lasts(void **state)
{
	scoped_str path = str_format("%s/key", directory);
	scoped_buf text = BUF_INIT(0);
	struct recipient recipient = { 0 };
	struct hr_err err;

	(void)state;
	assert_int_equal(reply_address_write(&(struct reply_address){ 7, 5000000 },
					     &(struct reply_keys){ .current = slice_lit(KEY) },
					     "chat.example.com", &text, &err),
			 HR_OK);
	assert_int_equal(recipient_read(buf_slice(&text), &config, directory, 1, &recipient, &err),
			 HR_RETRY); /* no key */
	FILE *file = fopen(path, "w");
	assert_true(fputs(KEY, file) >= 0 && fclose(file) == 0);
	assert_int_equal(recipient_read(buf_slice(&text), &config, directory, 1, &recipient, &err),
			 HR_OK);
	assert_true(recipient.is_reply);
	assert_int_equal(recipient.thread, 7);
	assert_null(recipient.peer);
	assert_int_equal(
		recipient_read(buf_slice(&text), &config, directory, 6000000, &recipient, &err),
		HR_FAIL); /* expired */
	text.data[10] = text.data[10] == 'a' ? 'b' : 'a';
	assert_int_equal(recipient_read(buf_slice(&text), &config, directory, 1, &recipient, &err),
			 HR_FAIL);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_person_is_named_under_the_chat_domain),
		cmocka_unit_test(a_reply_address_names_a_conversation_while_it_lasts),
	};

	if (!mkdtemp(directory))
		return EXIT_FAILURE;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
