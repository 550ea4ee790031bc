/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define COMMAND(attributes, content) \
	"<command xmlns='" COMMAND_NS "' node='mail'" attributes ">" content "</command>"
#define FORM(type, mode)                                                                   \
	"<x xmlns='jabber:x:data' type='" type "'><field var='FORM_TYPE'><value>x</value>" \
	"</field><field var='mode'><value>" mode "</value></field></x>"

static void a_form_is_shown_filled_in_or_given_up(void **state)
{
	static const struct {
		const char *payload;
		enum hr_status status;
		struct command command;
	} rows[] = {
		{ COMMAND("", ""), HR_OK, { .what = COMMAND_SHOW } },
		{ COMMAND(" action='execute'", ""), HR_OK, { .what = COMMAND_SHOW } },
		{ COMMAND(" action='cancel'", FORM("submit", "off")),
		  HR_OK,
		  { .what = COMMAND_CANCEL } },
		{ COMMAND(" action='complete'", FORM("submit", "off")),
		  HR_OK,
		  { COMMAND_CHOOSE, "off" } },
		{ COMMAND("", FORM("submit", "notice")), HR_OK, { COMMAND_CHOOSE, "notice" } },
		{ COMMAND(" action='next'", FORM("submit", "full")),
		  HR_OK,
		  { COMMAND_CHOOSE, "full" } },
		{ COMMAND("", FORM("submit", "domain")), HR_OK, { COMMAND_CHOOSE, "" } },
		{ COMMAND("", FORM("form", "off")), HR_OK, { .what = COMMAND_SHOW } },
		{ COMMAND("", FORM("submit", "loud")), HR_FAIL, { .what = COMMAND_SHOW } },
		{ COMMAND("", FORM("submit", "offoffoffoffoffoffoff")),
		  HR_FAIL,
		  { .what = COMMAND_SHOW } },
		{ COMMAND("", "<x xmlns='jabber:x:data' type='submit'/>"),
		  HR_FAIL,
		  { .what = COMMAND_SHOW } },
		{ COMMAND(" action='prev'", ""), HR_FAIL, { .what = COMMAND_SHOW } },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct command command;
		struct hr_err err;

		if (command_read(slice_str(rows[i].payload), &command, &err) != rows[i].status)
			fail_msg("%s", rows[i].payload);
		if (rows[i].status != HR_OK)
			continue;
		assert_int_equal(command.what, rows[i].command.what);
		if (command.what == COMMAND_CHOOSE)
			assert_string_equal(command.mode, rows[i].command.mode);
	}
}

static void the_form_has_what_is_chosen(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	command_write_form(&out, slice_lit("notice"));
	assert_non_null(strstr(buf_text(&out), "status='executing'"));
	assert_non_null(strstr(buf_text(&out), "'Messages that I miss'><value>notice</value>"));
	buf_clear(&out);
	command_write_form(&out, slice_lit(""));
	assert_non_null(strstr(buf_text(&out), "'Messages that I miss'><value>domain</value>"));
	buf_clear(&out);
	command_write_done(&out, slice_lit("off"));
	assert_non_null(strstr(buf_text(&out), "Nothing is mailed to you."));
}

static void discovery_knows_two_nodes(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	assert_true(command_write_items(&out, slice_lit(COMMAND_NS), slice_lit("example.com")));
	assert_non_null(strstr(buf_text(&out), "<item jid='example.com' node='mail'"));
	assert_true(command_write_items(&out, slice_lit("mail"), slice_lit("example.com")));
	assert_true(command_write_info(&out, slice_lit("mail")));
	assert_false(command_write_items(&out, slice_lit("other"), slice_lit("example.com")));
	assert_false(command_write_info(&out, slice_lit("other")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_form_is_shown_filled_in_or_given_up),
		cmocka_unit_test(the_form_has_what_is_chosen),
		cmocka_unit_test(discovery_knows_two_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
