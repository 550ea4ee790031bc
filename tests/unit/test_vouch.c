/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/vouch.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define AR(checks) "Authentication-Results: mx.example.net; " checks "\n"
#define ADA "From: Ada Adams <ada@example.com>\n"

static struct network relays[2];
static const struct vouch_trust trust = { "mx.example.net", relays, countof(relays) };

/* Fields, the client, and "address|name|by", or ! (? where it may be better later) and part of the
 * reason. */
static const struct {
	const char *fields, *client, *seen;
} rows[] = {
	/* DMARC */
	{ AR("dmarc=pass header.from=example.com") ADA, "", "ada@example.com|Ada Adams|dmarc" },
	{ AR("dmarc=pass header.from=EXAMPLE.com") ADA, "", "ada@example.com|Ada Adams|dmarc" },
	{ AR("dmarc=fail header.from=example.com") ADA, "", "!DMARC fails for example.com" },
	{ AR("dkim=pass header.d=example.com; dmarc=fail header.from=example.com") ADA, "",
	  "!DMARC fails" },
	{ AR("dmarc=pass header.from=example.com; dmarc=fail header.from=x.example") ADA, "",
	  "!DMARC fails" },
	{ AR("dmarc=pass header.from=evil.example") ADA, "", "!not for example.com" },
	{ AR("dmarc=pass header.from=mail.example.com") ADA, "", "!not for example.com" },
	{ AR("dmarc=pass") ADA, "", "!not for example.com" },
	{ AR("dmarc=none header.from=example.com") ADA, "", "!neither DMARC, DKIM nor SPF" },
	{ AR("dmarc=bestguesspass header.from=example.com") ADA, "", "!neither" },
	/* what could not be checked, where nothing else speaks for it */
	{ AR("dmarc=temperror header.from=example.com") ADA, "", "?dmarc could not be checked" },
	{ AR("dmarc=none; dkim=temperror header.d=x.example; spf=none") ADA, "", "?dkim" },
	{ AR("dkim=fail; spf=temperror smtp.mailfrom=a@example.com") ADA, "", "?spf" },
	{ AR("dmarc=temperror; dkim=pass header.d=example.com") ADA, "",
	  "ada@example.com|Ada Adams|dkim" },
	{ AR("dmarc=fail header.from=example.com; spf=temperror") ADA, "", "!DMARC fails" },
	{ AR("dmarc=permerror; iprev=temperror") ADA, "", "!neither" },
	/* DKIM and SPF, aligned */
	{ AR("dmarc=none; dkim=pass header.d=example.com") ADA, "",
	  "ada@example.com|Ada Adams|dkim" },
	{ AR("dkim=pass header.i=@mail.example.com") ADA, "", "ada@example.com|Ada Adams|dkim" },
	{ AR("dkim=fail header.d=example.com; dkim=pass header.d=example.com") ADA, "",
	  "ada@example.com|Ada Adams|dkim" },
	{ AR("spf=pass smtp.mailfrom=bounce@b.example.com") ADA, "",
	  "ada@example.com|Ada Adams|spf" },
	{ AR("spf=pass smtp.mailfrom=example.com") ADA, "", "ada@example.com|Ada Adams|spf" },
	{ AR("spf=pass smtp.mailfrom=example.com") "From: ada@mail.example.com\n", "",
	  "ada@mail.example.com||spf" },
	{ AR("dkim=pass header.d=com") ADA, "", "!neither" },
	{ AR("dkim=pass header.d=badexample.com") ADA, "", "!neither" },
	{ AR("dkim=pass header.d=example.com.evil.example") ADA, "", "!neither" },
	{ AR("dkim=pass header.d=evil.example header.i=@example.com") ADA, "", "!neither" },
	{ AR("dkim=fail header.d=example.com; spf=softfail smtp.mailfrom=example.com") ADA, "",
	  "!neither" },
	{ AR("spf=pass smtp.helo=example.com") ADA, "", "!neither" },
	{ AR("spf=pass smtp.mailfrom=evil.example") ADA, "", "!neither" },
	{ AR("spf=pass smtp.mailfrom=x@evil.example/@example.com") ADA, "",
	  "ada@example.com|Ada Adams|spf" },
	{ AR("arc=pass; auth=pass smtp.auth=ada@example.com") ADA, "", "!neither" },
	{ AR("none") ADA, "", "!neither" },
	/* whose word it is */
	{ "Authentication-Results: evil.example; dmarc=pass header.from=example.com\n" ADA, "",
	  "!no Authentication-Results of mx.example.net" },
	{ ADA, "", "!no Authentication-Results of mx.example.net" },
	{ AR("spf=none") AR("dmarc=pass header.from=example.com") ADA, "", "!neither" },
	{ "Authentication-Results: other.example; spf=fail\n" AR(
		  "spf=pass smtp.mailfrom=example.com") ADA,
	  "", "ada@example.com|Ada Adams|spf" },
	{ AR("\"") AR("dmarc=pass header.from=example.com") ADA, "", "!no method=result" },
	{ ADA AR("dmarc=pass header.from=example.com"), "", "ada@example.com|Ada Adams|dmarc" },
	{ "X-" AR("dmarc=pass header.from=example.com") ADA, "", "!no Authentication-Results" },
	/* internal relays */
	{ ADA, "10.1.2.3", "ada@example.com|Ada Adams|relay" },
	{ AR("dmarc=fail header.from=example.com") ADA, "2001:db8::7",
	  "ada@example.com|Ada Adams|relay" },
	{ ADA, "11.1.2.3", "!no Authentication-Results" },
	{ ADA, "10.0.0.0/8", "!no Authentication-Results" },
	{ ADA, "unknown", "!no Authentication-Results" },
	/* From */
	{ "Subject: x\n", "10.1.2.3", "!no From" },
	{ ADA "From: boss@example.com\n", "10.1.2.3", "!more than one From" },
	{ "From: ada@example.com, boss@example.com\n", "10.1.2.3", "!not exactly one" },
	{ "From: team: ada@example.com;\n", "10.1.2.3", "!not exactly one" },
	{ "From: undisclosed:;\n", "10.1.2.3", "!not exactly one" },
	{ "From:\n", "10.1.2.3", "!not exactly one" },
	{ "From: <>\n", "10.1.2.3", "!" },
	{ "From: Ada\n", "10.1.2.3", "!" },
	{ "From: ada\n", "10.1.2.3", "!" },
	{ "From: ada@\n", "10.1.2.3", "!" },
	{ "From: <ada@example.com/x>\n", "10.1.2.3", "!" },
	{ "From: \"boss@example.com\" <ada@evil.example>\n" AR(
		  "dmarc=pass header.from=example.com"),
	  "", "!not for evil.example" },
	{ "From: boss@example.com <ada@evil.example>\n" AR("dmarc=pass header.from=example.com"),
	  "", "!" },
	{ "From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <Joerg@EXAMPLE.com>\n", "10.1.2.3",
	  "joerg@example.com|Jörg Müller|relay" },
	{ "From: Jörg <jörg@müller.example>\n" AR("dmarc=pass header.from=xn--mller-kva.example"),
	  "", "jörg@müller.example|Jörg|dmarc" },
	{ "From: a@xn--mller-kva.example\n" AR("dkim=pass header.d=mail.müller.example"), "",
	  "a@müller.example||dkim" },
	{ "From: O'Hara <o'hara@example.com>\n" AR("dmarc=pass header.from=example.com"), "",
	  "o\\27hara@example.com|O'Hara|dmarc" },
	{ "From: a&b/c@example.com\n", "10.1.2.3", "a\\26b\\2fc@example.com||relay" },
	{ "Sender: boss@example.com\n" ADA, "10.1.2.3", "ada@example.com|Ada Adams|relay" },
	{ "From: ada@example.com (Ada Adams)\n", "10.1.2.3", "ada@example.com|Ada Adams|relay" },
	{ "From: Ada\n Adams\n <ada@example.com>\n", "10.1.2.3",
	  "ada@example.com|Ada Adams|relay" },
};

static char *vouched_as(const char *fields, const struct vouch_trust *by, const char *client)
{
	scoped(mime) mime = NULL;
	struct vouched vouched;
	struct hr_err err = { 0 };

	if (mime_parse(slice_str(fields), &mime, &err) != HR_OK)
		fail_msg("%s", err.text);
	enum hr_status status = vouch(mime, by, slice_str(client), &vouched, &err);
	if (status != HR_OK)
		return str_format("%c%s", status == HR_RETRY ? '?' : '!', err.text);
	char *text = str_format("%s|%s|%s", vouched.address, vouched.name, vouched.by);
	vouched_clear(&vouched);
	return text;
}

static void believes_no_more_than_the_mta_vouches_for(void **state)
{
	struct hr_err err;

	(void)state;
	assert_int_equal(network_parse(slice_lit("10.0.0.0/8"), &relays[0], &err), HR_OK);
	assert_int_equal(network_parse(slice_lit("2001:db8::7"), &relays[1], &err), HR_OK);
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_str seen = vouched_as(rows[i].fields, &trust, rows[i].client);
		bool is_refused = strchr("!?", rows[i].seen[0]);
		if (is_refused ? seen[0] != rows[i].seen[0] || !strstr(seen, rows[i].seen + 1)
			       : strcmp(seen, rows[i].seen) != 0)
			fail_msg("%s%s\n-> %s\nnot %s", rows[i].fields, rows[i].client, seen,
				 rows[i].seen);
	}
}

static void believes_nobody_without_somebody_to_trust(void **state)
{
	static const struct vouch_trust none = { 0 };
	scoped_str seen =
		vouched_as(AR("dmarc=pass header.from=example.com") ADA, &none, "10.1.2.3");

	(void)state;
	assert_string_equal(seen, "!nobody vouches for ada@example.com");
}

static void bounds_from(void **state)
{
	scoped_buf many = BUF_INIT(0), nested = BUF_INIT(0);

	(void)state;
	buf_add_str(&many, "From: ");
	for (size_t i = 0; i < 100000; i++)
		buf_add_str(&many, "a,");
	scoped_str seen = vouched_as(buf_text(&many), &trust, "10.1.2.3");
	assert_non_null(strstr(seen, "too long"));
	buf_add_str(&nested, "From: ");
	for (size_t i = 0; i < 2000; i++)
		buf_add_str(&nested, i % 2 ? "(" : "a:");
	scoped_str also = vouched_as(buf_text(&nested), &trust, "10.1.2.3");
	assert_int_equal(also[0], '!');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(believes_no_more_than_the_mta_vouches_for),
		cmocka_unit_test(believes_nobody_without_somebody_to_trust),
		cmocka_unit_test(bounds_from),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
