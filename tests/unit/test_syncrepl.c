/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/syncrepl.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define UUID "0123456789abcdef"
#define OTHER "fedcba9876543210"

static void assert_slice(struct slice actual, const char *expected)
{
	assert_int_equal(actual.len, strlen(expected));
	assert_memory_equal(actual.data, expected, actual.len);
}

static void a_request_has_its_mode_and_cookie(void **state)
{
	scoped_buf out = BUF_INIT(0);
	scoped_buf cookie = BUF_INIT(0);

	(void)state;
	syncrepl_request(SYNCREPL_REFRESH_AND_PERSIST, (struct slice){ 0 }, &out);
	assert_true(slice_eq(buf_slice(&out), slice_lit("\x30\x03\x0a\x01\x03")));
	buf_clear(&out);
	syncrepl_request(SYNCREPL_REFRESH_ONLY, slice_lit("csn"), &out);
	assert_true(slice_eq(buf_slice(&out), slice_lit("\x30\x08\x0a\x01\x01\x04\x03"
							"csn")));
	for (int i = 0; i < 300; i++)
		buf_add_char(&cookie, 'x');
	buf_clear(&out);
	syncrepl_request(SYNCREPL_REFRESH_AND_PERSIST, buf_slice(&cookie), &out);
	assert_int_equal(out.len, 4 + 3 + 4 + 300);
	assert_memory_equal(out.data, "\x30\x82\x01\x33\x0a\x01\x03\x04\x82\x01\x2c", 11);
}

static void the_state_of_an_entry_is_read(void **state)
{
	struct syncrepl_state found;
	struct hr_err err;

	(void)state;
	assert_int_equal(
		syncrepl_parse_state(slice_lit("\x30\x15\x0a\x01\x01\x04\x10" UUID), &found, &err),
		HR_OK);
	assert_int_equal(found.what, SYNCREPL_ADD);
	assert_slice(found.uuid, UUID);
	assert_null(found.cookie.data);
	assert_int_equal(
		syncrepl_parse_state(slice_lit("\x30\x81\x1a\x0a\x01\x03\x04\x10" UUID "\x04\x03"
					       "csn"),
				     &found, &err),
		HR_OK);
	assert_int_equal(found.what, SYNCREPL_DELETE);
	assert_slice(found.cookie, "csn");
}

static void what_is_said_between_entries_is_read(void **state)
{
	struct syncrepl_info info;
	struct slice uuid;
	struct hr_err err;

	(void)state;
	assert_int_equal(syncrepl_parse_info(slice_lit("\x80\x03"
						       "csn"),
					     &info, &err),
			 HR_OK);
	assert_int_equal(info.topic, SYNCREPL_NEW_COOKIE);
	assert_slice(info.cookie, "csn");
	assert_int_equal(syncrepl_parse_info(slice_lit("\xa1\x05\x04\x03"
						       "csn"),
					     &info, &err),
			 HR_OK);
	assert_int_equal(info.topic, SYNCREPL_REFRESH_DELETE);
	assert_true(info.refresh_done);
	assert_int_equal(syncrepl_parse_info(slice_lit("\xa2\x03\x01\x01\x00"), &info, &err),
			 HR_OK);
	assert_int_equal(info.topic, SYNCREPL_REFRESH_PRESENT);
	assert_false(info.refresh_done);
	assert_null(info.cookie.data);
	assert_int_equal(syncrepl_parse_info(slice_lit("\xa3\x29\x01\x01\xff\x31\x24\x04\x10" UUID
						       "\x04\x10" OTHER),
					     &info, &err),
			 HR_OK);
	assert_int_equal(info.topic, SYNCREPL_ID_SET);
	assert_true(info.are_gone);
	assert_int_equal(syncrepl_next_uuid(&info.uuids, &uuid, &err), HR_OK);
	assert_slice(uuid, UUID);
	assert_int_equal(syncrepl_next_uuid(&info.uuids, &uuid, &err), HR_OK);
	assert_slice(uuid, OTHER);
	assert_int_equal(syncrepl_next_uuid(&info.uuids, &uuid, &err), HR_NONE);
}

static void what_is_no_control_is_refused(void **state)
{
	static const struct slice states[] = {
		{ "", 0 },
		slice_lit("\x30"),
		slice_lit("\x30\x00"),
		slice_lit("\x30\x05\x0a\x01\x01"),
		slice_lit("\x30\x15\x0a\x01\x04\x04\x10" UUID),
		slice_lit("\x30\x14\x0a\x01\x01\x04\x0f"
			  "0123456789abcde"),
		slice_lit("\x30\x85\x01\x01\x01\x01\x01"),
		slice_lit("\x30\xff"),
	};
	static const struct slice infos[] = {
		{ "", 0 },
		slice_lit("\xa4\x00"),
		slice_lit("\xa3\x00"),
		slice_lit("\x80\x05"
			  "csn"),
		slice_lit("\x80\x84\xff\xff\xff\xff"),
	};
	struct syncrepl_state found;
	struct syncrepl_info info;
	struct slice uuids = slice_lit("\x04\x0f"
				       "0123456789abcde"),
		     uuid;
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < countof(states); i++)
		assert_int_equal(syncrepl_parse_state(states[i], &found, &err), HR_FAIL);
	for (size_t i = 0; i < countof(infos); i++)
		assert_int_equal(syncrepl_parse_info(infos[i], &info, &err), HR_FAIL);
	assert_int_equal(syncrepl_next_uuid(&uuids, &uuid, &err), HR_FAIL);
}

static void a_cookie_keeps_the_writers_that_a_newer_one_leaves_out(void **state)
{
	static const struct {
		const char *older, *newer, *merged;
	} rows[] = {
		{ "", "rid=000,csn=2#0#001#0", "rid=000,csn=2#0#001#0" },
		{ "rid=000,csn=1#0#001#0", "rid=000,csn=2#0#001#0", "rid=000,csn=2#0#001#0" },
		{ "rid=000,csn=1#0#001#0;1#0#002#0", "rid=000,csn=2#0#002#0",
		  "rid=000,csn=2#0#002#0;1#0#001#0" },
		{ "rid=000,csn=1#0#001#0;1#0#002#0;1#0#003#0", "rid=000,sid=001,csn=2#0#002#0,x=y",
		  "rid=000,sid=001,csn=2#0#002#0;1#0#001#0;1#0#003#0,x=y" },
		{ "rid=000,csn=1#0#001#0", "rid=000", "rid=000" },
		{ "opaque", "other", "other" },
		{ "csn=1", "csn=2", "csn=2" },
		{ "csn=;;", "csn=2#0#001#0", "csn=2#0#001#0" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_buf out = BUF_INIT(0);
		syncrepl_merge(slice_str(rows[i].older), slice_str(rows[i].newer), &out);
		assert_string_equal(buf_text(&out), rows[i].merged);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_has_its_mode_and_cookie),
		cmocka_unit_test(the_state_of_an_entry_is_read),
		cmocka_unit_test(what_is_said_between_entries_is_read),
		cmocka_unit_test(what_is_no_control_is_refused),
		cmocka_unit_test(a_cookie_keeps_the_writers_that_a_newer_one_leaves_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
