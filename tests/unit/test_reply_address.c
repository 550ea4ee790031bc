/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/reply_address.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define KEY_A "0123456789abcdef0123456789abcdef"
#define KEY_B "fedcba9876543210fedcba9876543210"
static const usec now = 1700000000000000, day = 86400000000;

static const struct reply_keys only_a = { { KEY_A, 32 }, { 0 } };
static const struct reply_keys only_b = { { KEY_B, 32 }, { 0 } };
static const struct reply_keys b_after_a = { { KEY_B, 32 }, { KEY_A, 32 } };

static char *made(const struct reply_keys *keys, int64_t thread, usec expires)
{
	scoped_buf out = BUF_INIT(0);
	struct hr_err err;

	assert_int_equal(reply_address_write(&(struct reply_address){ thread, expires }, keys,
					     "reply.example.com", &out, &err),
			 HR_OK);
	return str_dup(buf_text(&out));
}

static struct slice local_of(const char *address)
{
	return (struct slice){ address, (size_t)(strchr(address, '@') - address) };
}

static enum hr_status read_at(struct slice local, const char *domain, const struct reply_keys *keys,
			      usec at, struct hr_err *err)
{
	struct reply_address reply;

	return reply_address_read(local, slice_str(domain), keys, at, &reply, err);
}

static void expect_refused(struct slice local, const char *domain, const struct reply_keys *keys,
			   usec at, const char *why)
{
	struct hr_err err = { 0 };

	assert_int_equal(read_at(local, domain, keys, at, &err), HR_FAIL);
	if (!strstr(err.text, why))
		fail_msg("%s, not %s", err.text, why);
}

static void comes_back_with_what_it_was_made_of(void **state)
{
	static const int64_t threads[] = { 0, 1, 255, 4711, INT64_MAX };

	(void)state;
	for (size_t i = 0; i < countof(threads); i++) {
		scoped_str address = made(&only_a, threads[i], now + day);
		struct slice local = local_of(address), domain = slice_lit("reply.example.com");
		struct reply_address reply;
		struct hr_err err;
		assert_int_equal(local.len, REPLY_LOCAL_LEN);
		assert_true(local.len <= 64);
		assert_true(reply_address_is(local));
		assert_int_equal(reply_address_read(local, domain, &only_a, now, &reply, &err),
				 HR_OK);
		assert_int_equal(reply.thread, threads[i]);
		assert_int_equal(reply.expires, now + day);
	}
}

/* Worked out apart from this code: base32 of a 1, the thread in 8 bytes, the seconds in 5, and the
 * first 16 of HMAC-SHA256 over "hedgerow reply address\nreply.example.com\n" and those. */
static void is_the_same_everywhere_and_always(void **state)
{
	scoped_str address = made(&only_a, 4711, now);

	(void)state;
	assert_string_equal(
		address, "replyaeaaaaaaaaabezyamvj7cahxsuj5hozcjl6jy2wtmnixsqam@reply.example.com");
}

static void does_not_care_for_case(void **state)
{
	scoped_str address = made(&only_a, 7, now + day);
	struct hr_err err;

	(void)state;
	for (char *c = address; *c != '@'; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 32);
	assert_int_equal(read_at(local_of(address), "Reply.Example.COM", &only_a, now, &err),
			 HR_OK);
}

static void survives_one_change_of_keys(void **state)
{
	scoped_str old = made(&only_a, 7, now + day);
	scoped_str new = made(&b_after_a, 7, now + day);
	struct hr_err err;

	(void)state;
	assert_int_equal(read_at(local_of(old), "reply.example.com", &b_after_a, now, &err), HR_OK);
	assert_int_equal(read_at(local_of(new), "reply.example.com", &only_b, now, &err), HR_OK);
	expect_refused(local_of(old), "reply.example.com", &only_b, now, "not made here");
}

static void is_refused_when_it_is_old_or_for_another_domain(void **state)
{
	scoped_str address = made(&only_a, 7, now + day);
	struct slice local = local_of(address);
	struct hr_err err;

	(void)state;
	assert_int_equal(read_at(local, "reply.example.com", &only_a, now + day - 1, &err), HR_OK);
	expect_refused(local, "reply.example.com", &only_a, now + day, "expired");
	expect_refused(local, "reply.example.org", &only_a, now, "for this domain");
	expect_refused(local, "", &only_a, now, "for this domain");
}

/* Every bit of the address counts, and every character but the 32. */
static void is_refused_with_any_character_changed(void **state)
{
	scoped_str address = made(&only_a, 7, now + day);
	struct slice local = local_of(address);
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < local.len; i++)
		for (unsigned c = 0; c < 256; c++) {
			char was = address[i];
			bool is_same = (c | 0x20) == (unsigned char)was && c >= 'A';
			address[i] = (char)c;
			if (!is_same && (char)c != was)
				assert_int_equal(
					read_at(local, "reply.example.com", &only_a, now, &err),
					HR_FAIL);
			address[i] = was;
		}
	for (size_t len = 0; len < local.len; len++)
		expect_refused((struct slice){ local.data, len }, "reply.example.com", &only_a, now,
			       "not a reply address");
}

static void needs_a_key_and_a_time(void **state)
{
	struct reply_keys weak = { { KEY_A, REPLY_KEY_MIN - 1 }, { 0 } };
	scoped_buf out = BUF_INIT(0);
	struct hr_err err;

	(void)state;
	assert_int_equal(reply_address_write(&(struct reply_address){ 1, now }, &weak, "x.example",
					     &out, &err),
			 HR_FAIL);
	assert_non_null(strstr(err.text, "shorter than 32"));
	assert_int_equal(reply_address_write(&(struct reply_address){ -1, now }, &only_a,
					     "x.example", &out, &err),
			 HR_FAIL);
	assert_int_equal(reply_address_write(&(struct reply_address){ 1, -1000000 }, &only_a,
					     "x.example", &out, &err),
			 HR_FAIL);
	assert_int_equal(out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_with_what_it_was_made_of),
		cmocka_unit_test(is_the_same_everywhere_and_always),
		cmocka_unit_test(does_not_care_for_case),
		cmocka_unit_test(survives_one_change_of_keys),
		cmocka_unit_test(is_refused_when_it_is_old_or_for_another_domain),
		cmocka_unit_test(is_refused_with_any_character_changed),
		cmocka_unit_test(needs_a_key_and_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
