/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/search.h"
#include "gateway/xmpp/vcard.h"

#include <expat.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define QUERY(inner) "<query xmlns='jabber:iq:search'>" inner "</query>"
#define FORM(inner) QUERY("<x xmlns='jabber:x:data' type='submit'>" inner "</x>")

static const struct profile bob = {
	.address = { "bob.baker@example.com", 21 },
	.email = { "bob.baker@example.com", 21 },
	.name = { "Bob Baker", 9 },
	.given_name = { "Robert", 6 },
	.family_name = { "Baker", 5 },
	.organization = { "Fabrikam", 8 },
	.department = { "Sales", 5 },
	.title = { "Chief", 5 },
	.telephone = { "+31 20 1234567", 14 },
};

static bool is_well_formed(struct slice payload)
{
	XML_Parser parser = XML_ParserCreateNS("UTF-8", '\n');
	bool good = XML_Parse(parser, payload.data, (int)payload.len, 1) == XML_STATUS_OK;

	XML_ParserFree(parser);
	return good;
}

static void assert_has(struct buf *out, const char *part)
{
	if (!strstr(buf_text(out), part))
		fail_msg("no %s in %s", part, buf_text(out));
}

/* --- what is asked ------------------------------------------------------------------------------
 */

static void expect_words(const char *payload, const char *want, bool want_form)
{
	scoped_buf words = BUF_INIT(SEARCH_WORDS_MAX);
	bool as_form = !want_form;
	struct hr_err err;

	if (search_read(slice_str(payload), &words, &as_form, &err) != HR_OK)
		fail_msg("%s: %s", payload, err.text);
	assert_string_equal(buf_text(&words), want);
	assert_int_equal(as_form, want_form);
}

static void reads_what_is_filled_in_plainly(void **state)
{
	(void)state;
	expect_words(QUERY("<last>Baker</last>"), " Baker", false);
	expect_words(QUERY("<first>Bob</first><last/><nick></nick><email>b@c.example</email>"),
		     " Bob   b@c.example", false);
	expect_words(QUERY("<last>B&#228;<![CDATA[<k>]]></last>"), " B\xc3\xa4<k>", false);
	expect_words("<s:query xmlns:s='jabber:iq:search'><s:last>Baker</s:last></s:query>",
		     " Baker", false);
}

static void reads_what_is_filled_in_as_a_form(void **state)
{
	(void)state;
	expect_words(FORM("<field var='FORM_TYPE'><value>jabber:iq:search</value></field>"
			  "<field var='text'><value>bob</value></field>"
			  "<field var='last'><value>baker</value></field>"),
		     " bob baker", true);
}

static void ignores_what_is_no_field_of_ours(void **state)
{
	(void)state;
	expect_words(QUERY("<shoe>44</shoe><last>Baker<b>x</b></last><last xmlns='other'>no</last>"
			   "<key>secret</key>"),
		     " Baker", false);
	expect_words(QUERY("<last>Baker</last><x xmlns='jabber:x:data' type='form'>"
			   "<field var='last'><value>no</value></field></x>"),
		     " Baker", false);
	expect_words(FORM("<field var='shoe'><value>44</value></field><value>no</value>"
			  "<field var='last'><value>Baker</value><value>Smith</value>"
			  "<option><value>no</value></option></field>"),
		     " Baker Smith", true);
	expect_words("<x/>" QUERY("<last>Baker</last>") "<query><last>no</last></query>", " Baker",
		     false);
}

static void expect_refusal(const char *payload, const char *why)
{
	scoped_buf words = BUF_INIT(SEARCH_WORDS_MAX);
	struct hr_err err;
	bool as_form;

	assert_int_equal(search_read(slice_str(payload), &words, &as_form, &err), HR_FAIL);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say %s", err.text, why);
}

static void refuses_what_would_find_everybody(void **state)
{
	static const char why[] = "first two letters";

	(void)state;
	expect_refusal(QUERY(""), why);
	expect_refusal("<query xmlns='jabber:iq:search'/>", why);
	expect_refusal(QUERY("<last>b</last><first>a</first>"), why);
	expect_refusal(QUERY("<last>*</last><first>..--..</first>"), why);
	expect_refusal(QUERY("<email>@example.com</email>"), why);
	expect_refusal(QUERY("<email>b@example.com</email>"), why);
	expect_refusal(FORM("<field var='text'><value/></field>"), why);
	expect_refusal(QUERY("<x xmlns='jabber:x:data' type='cancel'>"
			     "<field var='text'><value>bob</value></field></x>"),
		       why);
	expect_words(QUERY("<last>\xe7\x8e\x8b</last>"), " \xe7\x8e\x8b", false);
	expect_words(QUERY("<email>@example.com</email><last>bo</last>"), " @example.com bo",
		     false);
}

static void refuses_too_much(void **state)
{
	scoped_buf payload = BUF_INIT(0);

	(void)state;
	buf_add_str(&payload, "<query xmlns='jabber:iq:search'><last>");
	for (int i = 0; i < SEARCH_WORDS_MAX; i++)
		buf_add_char(&payload, 'x');
	buf_add_str(&payload, "</last></query>");
	expect_refusal(buf_text(&payload), "too much to search for");
}

/* --- what is answered --------------------------------------------------------------------------
 */

static void the_form_offers_what_can_be_read(void **state)
{
	static const char *const fields[] = { "text", "first", "last", "nick", "email" };

	(void)state;
	assert_true(is_well_formed(slice_str(search_form)));
	for (size_t i = 0; i < countof(fields); i++) {
		scoped_str offered = str_format("var='%s'", fields[i]);
		scoped_str filled =
			str_format(FORM("<field var='%s'><value>bob</value></field>"), fields[i]);
		assert_non_null(strstr(search_form, offered));
		expect_words(filled, " bob", true);
	}
}

static void shows_people_plainly(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	search_write(&out, &bob, 1, false, false);
	assert_string_equal(buf_text(&out),
			    "<query xmlns='jabber:iq:search'><item jid='bob.baker@example.com'>"
			    "<nick>Bob Baker</nick><first>Robert</first><last>Baker</last>"
			    "<email>bob.baker@example.com</email></item></query>");
}

static void shows_people_as_a_form(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	search_write(&out, &bob, 1, false, true);
	assert_true(is_well_formed(buf_slice(&out)));
	assert_has(&out, "<x xmlns='jabber:x:data' type='result'>");
	assert_has(&out, "<reported><field var='jid' type='jid-single' label='Address'/>");
	assert_has(&out, "<item><field var='jid'><value>bob.baker@example.com</value></field>"
			 "<field var='nick'><value>Bob Baker</value></field>");
	assert_has(&out, "<field var='orgunit'><value>Sales</value></field></item></x></query>");
	assert_null(strstr(buf_text(&out), "instructions"));
}

static void shows_nobody_when_nobody_is_found(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	search_write(&out, NULL, 0, false, false);
	assert_string_equal(buf_text(&out), "<query xmlns='jabber:iq:search'></query>");
	buf_clear(&out);
	search_write(&out, NULL, 0, false, true);
	assert_true(is_well_formed(buf_slice(&out)));
	assert_null(strstr(buf_text(&out), "<item>"));
}

static void says_that_there_are_others(void **state)
{
	(void)state;
	for (int as_form = 0; as_form <= 1; as_form++) {
		scoped_buf out = BUF_INIT(0);

		search_write(&out, &bob, 1, true, as_form);
		assert_true(is_well_formed(buf_slice(&out)));
		assert_has(&out, "<instructions>These are 1; there may be others.");
	}
}

static void a_card_tells_what_is_known(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	vcard_write(&out, &bob);
	assert_string_equal(
		buf_text(&out),
		"<vCard xmlns='vcard-temp'><FN>Bob Baker</FN>"
		"<N><FAMILY>Baker</FAMILY><GIVEN>Robert</GIVEN></N>"
		"<EMAIL><INTERNET/><PREF/><USERID>bob.baker@example.com</USERID></EMAIL>"
		"<JABBERID>bob.baker@example.com</JABBERID>"
		"<ORG><ORGNAME>Fabrikam</ORGNAME><ORGUNIT>Sales</ORGUNIT></ORG>"
		"<TITLE>Chief</TITLE><TEL><WORK/><VOICE/><NUMBER>+31 20 1234567</NUMBER></TEL>"
		"</vCard>");
	assert_true(is_well_formed(slice_str(vcard_service)));
}

static void a_card_of_somebody_unknown_has_a_name_all_the_same(void **state)
{
	struct profile profile = { .address = bob.address, .email = bob.address };
	scoped_buf out = BUF_INIT(0);

	(void)state;
	vcard_write(&out, &profile);
	assert_string_equal(
		buf_text(&out),
		"<vCard xmlns='vcard-temp'><FN>bob.baker@example.com</FN>"
		"<EMAIL><INTERNET/><PREF/><USERID>bob.baker@example.com</USERID></EMAIL>"
		"<JABBERID>bob.baker@example.com</JABBERID></vCard>");
	profile.given_name = bob.given_name;
	buf_clear(&out);
	vcard_write(&out, &profile);
	assert_has(&out, "<FN>Robert</FN><N><GIVEN>Robert</GIVEN></N>");
	profile.family_name = bob.family_name;
	buf_clear(&out);
	vcard_write(&out, &profile);
	assert_has(&out, "<FN>Robert Baker</FN>");
	profile.given_name = (struct slice){ 0 };
	profile.department = bob.department;
	buf_clear(&out);
	vcard_write(&out, &profile);
	assert_has(&out, "<FN>Baker</FN><N><FAMILY>Baker</FAMILY></N>");
	assert_has(&out, "<ORG><ORGUNIT>Sales</ORGUNIT></ORG>");
}

static void what_a_directory_has_can_break_no_stream(void **state)
{
	static const char *const texts[] = { "</value><x>", "'\"&\t\n\r", "]]>",
					     "<!--",	    "\x01\x1b",	  "\xef\xbf\xbe" };

	(void)state;
	for (size_t i = 0; i < countof(texts); i++) {
		struct slice text = slice_str(texts[i]);
		struct profile profile = { text, text, text, text, text, text, text, text, text };
		scoped_buf plain = BUF_INIT(0), form = BUF_INIT(0), card = BUF_INIT(0);

		search_write(&plain, &profile, 1, false, false);
		search_write(&form, &profile, 1, false, true);
		vcard_write(&card, &profile);
		assert_true(is_well_formed(buf_slice(&plain)));
		assert_true(is_well_formed(buf_slice(&form)));
		assert_true(is_well_formed(buf_slice(&card)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_is_filled_in_plainly),
		cmocka_unit_test(reads_what_is_filled_in_as_a_form),
		cmocka_unit_test(ignores_what_is_no_field_of_ours),
		cmocka_unit_test(refuses_what_would_find_everybody),
		cmocka_unit_test(refuses_too_much),
		cmocka_unit_test(the_form_offers_what_can_be_read),
		cmocka_unit_test(shows_people_plainly),
		cmocka_unit_test(shows_people_as_a_form),
		cmocka_unit_test(shows_nobody_when_nobody_is_found),
		cmocka_unit_test(says_that_there_are_others),
		cmocka_unit_test(a_card_tells_what_is_known),
		cmocka_unit_test(a_card_of_somebody_unknown_has_a_name_all_the_same),
		cmocka_unit_test(what_a_directory_has_can_break_no_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
