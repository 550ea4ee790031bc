/* SPDX-License-Identifier: Apache-2.0 */
/* Ada and Bob have federation addresses; nobody else of im.a.example has. */
#include "gateway/xmpp/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct slice domain = { "im.a.example", 12 };

static struct slice address_of(struct slice native)
{
	if (slice_is(native, "ada@im.a.example"))
		return slice_str("ada.adams@example.com");
	if (slice_is(native, "bob@im.a.example"))
		return slice_str("bob'o&b@example.com");
	return (struct slice){ 0 };
}

static void rewrite(const char *payload, struct buf *out)
{
	scoped(rewrite) plan = NULL;
	struct slice addresses[REWRITE_MENTIONS_MAX];
	struct hr_err err;
	size_t count;
	enum hr_status status = rewrite_plan(slice_str(payload), domain, &plan, &err);

	if (status == HR_NONE) {
		buf_add_str(out, payload);
		return;
	}
	assert_int_equal(status, HR_OK);
	const struct slice *mentions = rewrite_mentions(plan, &count);
	for (size_t i = 0; i < count; i++)
		addresses[i] = address_of(mentions[i]);
	rewrite_apply(plan, slice_str(payload), addresses, out);
}

/* What becomes of a payload; NULL: it is left alone. */
struct row {
	const char *payload, *rewritten;
};

static void run(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		scoped_buf out = BUF_INIT(0);
		rewrite(rows[i].payload, &out);
		assert_string_equal(buf_text(&out),
				    rows[i].rewritten ? rows[i].rewritten : rows[i].payload);
	}
}
#define RUN(...)                                                   \
	do {                                                       \
		static const struct row rows_[] = { __VA_ARGS__ }; \
		run(rows_, countof(rows_));                        \
	} while (0)

static void leaves_alone_what_people_typed(void **state)
{
	(void)state;
	RUN({ "", NULL }, { "<body>hello</body>", NULL },
	    { "<body>write to ada@im.a.example</body>", NULL },
	    { "<body>ada@im.a.example</body><subject>ada@im.a.example</subject>", NULL },
	    { "<x jid='ada@elsewhere.example'>im.a.example</x>", NULL },
	    { "<x jid='ada@not-im.a.example'/><x jid='ada@im.a.example.org'/>", NULL },
	    { "<x xmlns:p='urn:p' p:jid='ada@im.a.example' id='ada@im.a.example'/>", NULL });
}

static void rewrites_addresses_where_extensions_keep_them(void **state)
{
	(void)state;
	RUN({ "<x jid='room@conference.im.a.example/nick' n='1'/>", "<x n='1'/>" },
	    { "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' "
	      "jid='ada@im.a.example/phone' role='moderator'/></x>",
	      "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' "
	      "jid='ada.adams@example.com/phone' role='moderator'/></x>" },
	    { "<delay xmlns='urn:xmpp:delay' from = \"ADA@IM.a.example\" stamp='1'/>",
	      "<delay xmlns='urn:xmpp:delay' from = \"ada.adams@example.com\" stamp='1'/>" },
	    { "<stanza-id xmlns='urn:xmpp:sid:0' by='ada@im.a.example' id='5'/>",
	      "<stanza-id xmlns='urn:xmpp:sid:0' by='ada.adams@example.com' id='5'/>" },
	    { "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
	      "from='ada@im.a.example/a' to='bob@im.a.example/b'><body>ada@im.a.example</body>"
	      "</message></forwarded>",
	      "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
	      "from='ada.adams@example.com/a' to='bob&apos;o&amp;b@example.com/b'>"
	      "<body>ada@im.a.example</body></message></forwarded>" },
	    { "<vCard xmlns='vcard-temp'><JABBERID> ada@im.a.example </JABBERID><NOTE>"
	      "ada@im.a.example</NOTE></vCard>",
	      "<vCard xmlns='vcard-temp'><JABBERID>ada.adams@example.com</JABBERID><NOTE>"
	      "ada@im.a.example</NOTE></vCard>" },
	    { "<x xmlns='jabber:x:data'><field type='jid-multi'><value>ada@im.a.example/x</value>"
	      "<value>bob@im.a.example</value></field></x>",
	      "<x xmlns='jabber:x:data'><field type='jid-multi'><value>ada.adams@example.com/x"
	      "</value><value>bob&apos;o&amp;b@example.com</value></field></x>" });
}

static void finds_addresses_that_are_written_another_way(void **state)
{
	(void)state;
	RUN({ "<x jid='ada&#64;im.a&#x2e;example'/>", "<x jid='ada.adams@example.com'/>" },
	    { "<x jid='ada@im.a.example/a&amp;b&lt;&apos;'/>",
	      "<x jid='ada.adams@example.com/a&amp;b&lt;&apos;'/>" },
	    { "<v:vCard xmlns:v='vcard-temp'><v:JABBERID>ada@<![CDATA[im.a.]]>example</v:JABBERID>"
	      "</v:vCard>",
	      "<v:vCard xmlns:v='vcard-temp'><v:JABBERID>ada.adams@example.com</v:JABBERID>"
	      "</v:vCard>" },
	    { "<x a='>' jid\n=\t'ada@im.a.example'\r\n/>",
	      "<x a='>' jid\n=\t'ada.adams@example.com'\r\n/>" });
}

static void rewrites_xmpp_uris_and_no_others(void **state)
{
	(void)state;
	RUN({ "<reference xmlns='urn:xmpp:reference:0' uri='xmpp:ada@im.a.example'/>",
	      "<reference xmlns='urn:xmpp:reference:0' uri='xmpp:ada.adams@example.com'/>" },
	    { "<a uri='XMPP:%61da@im.a.example/home?message;body=hi#x'/>",
	      "<a uri='xmpp:ada.adams@example.com/home?message;body=hi#x'/>" },
	    { "<a uri='xmpp:bob@im.a.example'/>", "<a uri='xmpp:bob%27o%26b@example.com'/>" },
	    { "<a uri='xmpp://im.a.example/x' b='c'/>", "<a b='c'/>" },
	    { "<a uri='https://im.a.example/ada@im.a.example'/>", NULL },
	    { "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:ada@im.a.example</gone>",
	      "<gone "
	      "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:ada.adams@example.com</gone>" });
}

static void takes_away_addresses_that_have_no_other_form(void **state)
{
	(void)state;
	RUN({ "<item jid='eve@im.a.example/x' role='none'/>", "<item role='none'/>" },
	    { "<delay from='im.a.example'\n stamp='1'/>", "<delay\n stamp='1'/>" },
	    { "<x jid='a@@im.a.example'/>", "<x/>" },
	    { "<vCard xmlns='vcard-temp'><JABBERID>eve@im.a.example</JABBERID></vCard>",
	      "<vCard xmlns='vcard-temp'><JABBERID></JABBERID></vCard>" },
	    { "<x xmlns='jabber:x:data'><value>im.a.example</value></x>", NULL },
	    { "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no user ada@im.a.example</text>",
	      "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'></text>" });
}

static void names_each_person_once(void **state)
{
	scoped(rewrite) plan = NULL;
	struct hr_err err;
	size_t count;
	static const struct slice payload = slice_lit(
		"<x jid='ada@im.a.example'/><x jid='bob@im.a.example/r' by='Ada@im.a.example/s'/>");

	(void)state;
	assert_int_equal(rewrite_plan(payload, domain, &plan, &err), HR_OK);
	const struct slice *mentions = rewrite_mentions(plan, &count);
	assert_int_equal(count, 2);
	assert_true(slice_is(mentions[0], "ada@im.a.example"));
	assert_true(slice_is(mentions[1], "bob@im.a.example"));
}

static enum hr_status plan_of_many(const char *format, int n)
{
	scoped(rewrite) plan = NULL;
	scoped_buf payload = BUF_INIT(0);
	struct hr_err err;

	for (int i = 0; i < n; i++) {
		scoped_str number = str_format("%d", i);
		buf_add_str(&payload, format);
		buf_add_str(&payload, number);
		buf_add_str(&payload, "@im.a.example' r=''/>");
	}
	return rewrite_plan(buf_slice(&payload), domain, &plan, &err);
}

static void refuses_more_people_than_the_bound(void **state)
{
	(void)state;
	assert_int_equal(plan_of_many("<x jid='u", REWRITE_MENTIONS_MAX), HR_OK);
	assert_int_equal(plan_of_many("<x jid='u", REWRITE_MENTIONS_MAX + 1), HR_FAIL);
}

static void refuses_more_places_than_the_bound(void **state)
{
	(void)state;
	assert_int_equal(plan_of_many("<x jid='@@", REWRITE_EDITS_MAX), HR_OK);
	assert_int_equal(plan_of_many("<x jid='@@", REWRITE_EDITS_MAX + 1), HR_FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_alone_what_people_typed),
		cmocka_unit_test(rewrites_addresses_where_extensions_keep_them),
		cmocka_unit_test(finds_addresses_that_are_written_another_way),
		cmocka_unit_test(rewrites_xmpp_uris_and_no_others),
		cmocka_unit_test(takes_away_addresses_that_have_no_other_form),
		cmocka_unit_test(names_each_person_once),
		cmocka_unit_test(refuses_more_people_than_the_bound),
		cmocka_unit_test(refuses_more_places_than_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
