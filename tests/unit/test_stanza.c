/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/stanza.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct slice text(const char *value)
{
	return slice_str(value ? value : "");
}

static struct stanza stanza(enum envelope_kind kind, const char *type)
{
	return (struct stanza){
		.kind = kind,
		.from = text("a@b/c"),
		.to = text("d@e"),
		.id = text("7"),
		.type = text(type),
		.payload = text("<body>hi</body>"),
	};
}

static void expect(struct buf *out, const char *want)
{
	assert_string_equal(buf_text(out), want);
}

static void writes_only_the_attributes_that_there_are(void **state)
{
	scoped_buf out = BUF_INIT(0);
	struct stanza full = stanza(ENVELOPE_MESSAGE, "chat");

	(void)state;
	full.lang = text("nl");
	stanza_write(&out, &full);
	stanza_write(&out, &(struct stanza){ .kind = ENVELOPE_PRESENCE, .to = text("d@e") });
	expect(&out, "<message from='a@b/c' to='d@e' type='chat' id='7' xml:lang='nl'>"
		     "<body>hi</body></message><presence to='d@e'/>");
}

static void escapes_what_would_end_an_attribute_or_change_in_one(void **state)
{
	scoped_buf out = BUF_INIT(0);

	(void)state;
	stanza_write(&out,
		     &(struct stanza){ .kind = ENVELOPE_IQ, .id = text("'\"<>&\t\r\n\xc3\xa9") });
	expect(&out, "<iq id='&apos;&quot;&lt;&gt;&amp;&#9;&#13;&#10;\xc3\xa9'/>");
}

static void answers_with_an_error_from_the_recipient_to_the_sender(void **state)
{
	scoped_buf out = BUF_INIT(0);
	struct stanza asked = stanza(ENVELOPE_IQ, "get");

	(void)state;
	assert_int_equal(stanza_write_error(&out, &asked, BOUNCE_ITEM_NOT_FOUND, "no <such>"),
			 HR_OK);
	expect(&out, "<iq from='d@e' to='a@b/c' type='error' id='7'><error type='cancel'>"
		     "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
		     "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no &lt;such&gt;</text>"
		     "</error></iq>");
	buf_clear(&out);
	assert_int_equal(stanza_write_error(&out, &asked, BOUNCE_REMOTE_TIMEOUT, NULL), HR_OK);
	expect(&out, "<iq from='d@e' to='a@b/c' type='error' id='7'><error type='wait'>"
		     "<remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
		     "</error></iq>");
}

static void answers_only_what_may_be_answered(void **state)
{
	static const struct {
		enum envelope_kind kind;
		const char *type;
		enum hr_status status;
	} rows[] = {
		{ ENVELOPE_MESSAGE, NULL, HR_OK },
		{ ENVELOPE_MESSAGE, "groupchat", HR_OK },
		{ ENVELOPE_MESSAGE, "error", HR_NONE },
		{ ENVELOPE_IQ, "get", HR_OK },
		{ ENVELOPE_IQ, "set", HR_OK },
		{ ENVELOPE_IQ, "result", HR_NONE },
		{ ENVELOPE_IQ, "error", HR_NONE },
		{ ENVELOPE_IQ, NULL, HR_NONE },
		{ ENVELOPE_PRESENCE, NULL, HR_OK },
		{ ENVELOPE_PRESENCE, "subscribe", HR_OK },
		{ ENVELOPE_PRESENCE, "probe", HR_OK },
		{ ENVELOPE_PRESENCE, "unavailable", HR_NONE },
		{ ENVELOPE_PRESENCE, "unsubscribed", HR_NONE },
		{ ENVELOPE_PRESENCE, "error", HR_NONE },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_buf out = BUF_INIT(0);
		struct stanza asked = stanza(rows[i].kind, rows[i].type);
		assert_int_equal(stanza_write_error(&out, &asked, BOUNCE_SERVICE_UNAVAILABLE, NULL),
				 rows[i].status);
		assert_int_equal(out.len > 0, rows[i].status == HR_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_only_the_attributes_that_there_are),
		cmocka_unit_test(escapes_what_would_end_an_attribute_or_change_in_one),
		cmocka_unit_test(answers_with_an_error_from_the_recipient_to_the_sender),
		cmocka_unit_test(answers_only_what_may_be_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
