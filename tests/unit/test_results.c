/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/results.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* A field, and what is in it: method=outcome[property=value;...], or ! and part of the reason. */
static const struct {
	const char *value, *seen;
} rows[] = {
	{ "mx.example; none", "" },
	{ "mx.example 1; none", "" },
	{ "mx.example", "" },
	{ "mx.example;", "" },
	{ "mx.example; spf=pass", "spf=pass[]" },
	{ "mx.example;\r\n\tdkim=pass (good (really) \\) sig) header.d=example.com header.s=s1;\r\n"
	  "\tspf=fail reason=\"not here\" smtp.mailfrom=ada@example.com",
	  "dkim=pass[header.d=example.com;header.s=s1;]"
	  "spf=fail[reason=not here;smtp.mailfrom=ada@example.com;]" },
	{ "mx.example/1; DMARC/1 = PASS ( p=none ) Header . From = Example.com ;",
	  "dmarc=pass[header.from=Example.com;]" },
	{ "(c) mx.example (c) 1 (c) ; (c) spf (c) = (c) pass (c) smtp (c) . (c) helo (c) = (c) x "
	  "(c)",
	  "spf=pass[smtp.helo=x;]" },
	{ "\"mx; example\" ; spf=pass", "spf=pass[]" },
	{ "mx; spf=pass smtp.mailfrom=\"a; dmarc=pass\"@evil.example",
	  "spf=pass[smtp.mailfrom=a; dmarc=pass@evil.example;]" },
	{ "mx; spf=pass smtp.mailfrom=\"a\\\"; dmarc=pass header.from=b\"; dkim=none",
	  "spf=pass[smtp.mailfrom=a\"; dmarc=pass header.from=b;]dkim=none[]" },
	{ "mx; spf=pass (client; dmarc=pass header.from=b) smtp.mailfrom=x",
	  "spf=pass[smtp.mailfrom=x;]" },
	{ "mx; dkim=pass header.b=a/b+c== header.i=@example.com",
	  "dkim=pass[header.b=a/b+c==;header.i=@example.com;]" },
	{ "mx; dmarc=pass action=none header.from=x.example;compauth=pass reason=100",
	  "dmarc=pass[action=none;header.from=x.example;]compauth=pass[reason=100;]" },
	{ "mx; spf=pass smtp.mailfrom=; dkim=none", "spf=pass[smtp.mailfrom=;]dkim=none[]" },
	{ "mx; spf=pass smtp.mailfrom=", "spf=pass[smtp.mailfrom=;]" },
	{ "mx; spf=pass smtp.mailfrom=\"\"", "spf=pass[smtp.mailfrom=;]" },
	{ "mx; spf=pass (open", "spf=pass[]" },
	{ "mx; spf=softfail smtp.mailfrom=<>", "spf=softfail[smtp.mailfrom=<>;]" },

	{ "", "!no authserv-id" },
	{ ";", "!no authserv-id" },
	{ "(only a comment)", "!no authserv-id" },
	{ "mx; nothing", "!no method=result" },
	{ "mx; none; spf=pass", "!no method=result" },
	{ "mx; spf", "!no method=result" },
	{ "mx; spf=", "!no method=result" },
	{ "mx; =pass", "!no method=result" },
	{ "mx; spf=pass; ;dkim=pass", "!no method=result" },
	{ "mx; \"spf\"=pass", "!no method=result" },
	{ "mx; spf=pass smtp.mailfrom", "!not a property of spf" },
	{ "mx; spf=pass smtp.=x", "!not a property of spf" },
	{ "mx; spf=pass .mailfrom=x", "!not a property of spf" },
	{ "mx; spf=pass smtp.mailfrom=\"x; dmarc=fail", "!not a property of spf" },
	{ "mx; spf=pass = dkim", "!not a property of spf" },
	{ "mx 1 2; spf=pass", "!no ;" },
	{ "mx 1 spf=pass", "!no ;" },
};

static void describe(const struct results *results, struct buf *out)
{
	for (size_t i = 0; i < results->count; i++) {
		const struct results_check *check = &results->checks[i];
		buf_format(out, "%s=%s[", check->method, check->outcome);
		for (size_t k = 0; k < check->property_count; k++)
			buf_format(out, "%s=%s;", check->properties[k].name,
				   check->properties[k].value);
		buf_add_char(out, ']');
	}
}

static void reads_what_mtas_write(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped(results) results = NULL;
		scoped_buf seen = BUF_INIT(0);
		struct hr_err err = { 0 };
		enum hr_status status = results_parse(slice_str(rows[i].value), &results, &err);
		if (rows[i].seen[0] == '!') {
			if (status != HR_FAIL || !strstr(err.text, rows[i].seen + 1))
				fail_msg("%s: %s", rows[i].value, err.text);
			continue;
		}
		if (status != HR_OK)
			fail_msg("%s: %s", rows[i].value, err.text);
		describe(results, &seen);
		assert_string_equal(buf_text(&seen), rows[i].seen);
	}
}

static void knows_whose_word_it_is(void **state)
{
	static const struct {
		const char *value;
		bool is_ours;
	} ids[] = {
		{ "mx.example; none", true },
		{ " (x) MX.Example(y) 1; spf=pass", true },
		{ "\"mx.example\"; none", true },
		{ "mx.example", true },
		{ "mx.example; broken", true },
		{ "mx.example.evil; none", false },
		{ "amx.example; none", false },
		{ "(mx.example) x; none", false },
		{ "mx.example x", true },
		{ "\"mx.example; none", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < countof(ids); i++)
		if (results_are_of(slice_str(ids[i].value), "mx.example") != ids[i].is_ours)
			fail_msg("%s", ids[i].value);
}

static void bounds_what_it_keeps(void **state)
{
	scoped_buf checks = BUF_INIT(0), properties = BUF_INIT(0), word = BUF_INIT(0),
		   value = BUF_INIT(0);
	scoped(results) results = NULL;
	struct hr_err err;

	(void)state;
	buf_add_str(&checks, "mx");
	for (size_t i = 0; i < RESULTS_MAX; i++)
		buf_add_str(&checks, ";x=y");
	assert_int_equal(results_parse(buf_slice(&checks), &results, &err), HR_OK);
	results_free(give(results));
	buf_add_str(&checks, ";x=y");
	assert_int_equal(results_parse(buf_slice(&checks), &results, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "more than 64"));

	buf_add_str(&properties, "mx;x=y");
	for (size_t i = 0; i < RESULTS_PROPERTIES_MAX + 5; i++)
		buf_format(&properties, " a.p%zu=v", i);
	assert_int_equal(results_parse(buf_slice(&properties), &results, &err), HR_OK);
	assert_int_equal(results->checks[0].property_count, RESULTS_PROPERTIES_MAX);
	assert_string_equal(results_property(&results->checks[0], "a.p0"), "v");
	assert_null(results_property(&results->checks[0], "a.p"));
	results_free(give(results));

	buf_add_str(&word, "mx;x=y a.b=");
	for (size_t i = 0; i < 1001; i++)
		buf_add_char(&word, 'v');
	assert_int_equal(results_parse(buf_slice(&word), &results, &err), HR_FAIL);
	buf_add_str(&value, "mx;x=y (");
	for (size_t i = 0; i < RESULTS_VALUE_MAX; i++)
		buf_add_char(&value, 'v');
	assert_int_equal(results_parse(buf_slice(&value), &results, &err), HR_FAIL);
	assert_non_null(strstr(err.text, "longer than"));
	assert_int_equal(results_parse(slice_lit("mx; sp\0f=pass"), &results, &err), HR_FAIL);
	assert_int_equal(results_parse(slice_lit("mx; spf=pass x=\"\0\""), &results, &err),
			 HR_FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_mtas_write),
		cmocka_unit_test(knows_whose_word_it_is),
		cmocka_unit_test(bounds_what_it_keeps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
