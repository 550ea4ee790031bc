/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/author.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define T(text) ((char *)(uintptr_t)(text))

/* What sites say of the mail of their people: that of far.example is carried here. */
static struct config_mail mails[] = {
	{ .site = T("here"), .domain = T("example.com"), .carrier = T("here") },
	{ .site = T("here"), .domain = T("open.example"), .carrier = T("here"), .outsiders = true },
	{ .site = T("here"), .domain = T("far.example"), .carrier = T("here") },
	{ .site = T("there"), .domain = T("far.example"), .carrier = T("here") },
	{ .site = T("there"), .domain = T("own.example"), .carrier = T("there") },
};
static const struct config config = { .local_site = T("here"),
				      .mails = mails,
				      .mail_count = countof(mails) };

/* Who writes to somebody of the first domain, or of the second, where outsiders may. */
static const struct {
	const char *site, *address; /* of the person; NULL: nobody has it */
	bool is_disabled;
	size_t to;
	const char *from, *admitted, *why;
} rows[] = {
	{ "here", "ada@example.com", false, 0, "countess@example.com", "ada@example.com", NULL },
	{ "here", "ada@example.com", true, 0, "ada@example.com", NULL, "account is disabled" },
	{ "there", "carol@far.example", false, 0, "carol@far.example", "carol@far.example", NULL },
	{ "there", "dan@own.example", false, 0, "dan@own.example", NULL,
	  "carried by another site" },
	{ "there", "dan@own.example", false, 1, "dan@own.example", NULL,
	  "carried by another site" },
	{ NULL, NULL, false, 0, "eve@mail.example", NULL, "only people of the federation" },
	{ NULL, NULL, false, 1, "eve@mail.example", "eve\\40mail.example@open.example", NULL },
};

static void knows_who_may_write_and_as_whom(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct person person = { .site = T(rows[i].site),
					 .address = T(rows[i].address),
					 .enabled = !rows[i].is_disabled };
		char *address = NULL;
		struct hr_err err;
		enum hr_status status =
			author_admit(&config, &mails[rows[i].to], rows[i].site ? &person : NULL,
				     slice_str(rows[i].from), &address, &err);

		if (status != (rows[i].why ? HR_FAIL : HR_OK))
			fail_msg("%s: %s", rows[i].from, hr_status_name(status));
		if (rows[i].why)
			assert_non_null(strstr(err.text, rows[i].why));
		else
			assert_string_equal(address, rows[i].admitted);
		free(address);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_who_may_write_and_as_whom),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
