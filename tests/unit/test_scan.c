/* SPDX-License-Identifier: Apache-2.0 */
/* A stream is fed whole, byte by byte and cut in two at each place; each must tell the same. */
#include "base/buf.h"
#include "gateway/xmpp/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define HEAD                                              \
	"<?xml version='1.0'?>"                           \
	"<stream:stream xmlns='jabber:component:accept' " \
	"xmlns:stream='http://etherx.jabber.org/streams' id='i&amp;1' from='example.com'>"
#define OPENED "opened i&1;"
#define COMPONENT_NS "jabber:component:accept"

/* What was reported, one event after the other. */
static struct buf heard;
static struct scan *scan;
static size_t stop_after; /* events; 0: never */

static void tell_end(void)
{
	buf_add_char(&heard, ';');
	if (stop_after && --stop_after == 0)
		scan_stop(scan);
}

static void tell(const char *name, struct slice text)
{
	if (text.len > 0)
		buf_format(&heard, " %s=" SLICE_FMT, name, SLICE_ARG(text));
}

static void on_opened(void *ctx, struct slice id)
{
	assert_ptr_equal(ctx, &heard);
	buf_format(&heard, "opened " SLICE_FMT, SLICE_ARG(id));
	tell_end();
}

static void on_stanza(void *ctx, const struct scan_stanza *stanza)
{
	static const char *const flaw[] = { "", " LARGE", " DEEP", " ATTRIBUTES" };

	(void)ctx;
	buf_format(&heard, "%s%s", envelope_kind_name(stanza->kind), flaw[stanza->flaw]);
	tell("from", stanza->from);
	tell("to", stanza->to);
	tell("id", stanza->id);
	tell("type", stanza->type);
	tell("lang", stanza->lang);
	tell("ns", stanza->child_namespace);
	tell("name", stanza->child_name);
	tell("node", stanza->child_node);
	buf_format(&heard, " [" SLICE_FMT "]", SLICE_ARG(stanza->payload));
	tell_end();
}

static void on_handshake(void *ctx)
{
	(void)ctx;
	buf_add_str(&heard, "handshake");
	tell_end();
}

static void on_failed(void *ctx, struct slice condition, struct slice text)
{
	(void)ctx;
	buf_format(&heard, "failed " SLICE_FMT " " SLICE_FMT, SLICE_ARG(condition),
		   SLICE_ARG(text));
	tell_end();
}

static void on_unknown(void *ctx, struct slice name)
{
	(void)ctx;
	buf_add_str(&heard, "unknown ");
	for (size_t i = 0; i < name.len; i++)
		buf_add_char(&heard, name.data[i] == '\n' ? ' ' : name.data[i]);
	tell_end();
}

static void on_ended(void *ctx)
{
	(void)ctx;
	buf_add_str(&heard, "ended");
	tell_end();
}

static const struct scan_events events = {
	on_opened, on_stanza, on_handshake, on_failed, on_unknown, on_ended,
};

static void feed(struct slice bytes)
{
	struct hr_err err;

	if (scan_fault(scan) == SCAN_NO_FAULT && scan_feed(scan, bytes, &err) == HR_FAIL)
		buf_format(&heard, "FAULT %s", scan_condition(scan_fault(scan)));
}

static void begin(void)
{
	buf_clear(&heard);
	scan = scan_new(&events, &heard);
}

static void expect(const char *want)
{
	assert_string_equal(buf_text(&heard), want);
	scan_free(scan);
}

static void feed_str(const char *text)
{
	feed(slice_str(text));
}

struct row {
	const char *input, *heard;
};

static void run(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct slice input = slice_str(rows[i].input);
		for (size_t cut = 0; cut <= input.len; cut++) {
			begin();
			feed((struct slice){ input.data, cut });
			feed((struct slice){ input.data + cut, input.len - cut });
			expect(rows[i].heard);
		}
		begin();
		for (size_t at = 0; at < input.len; at++)
			feed((struct slice){ input.data + at, 1 });
		expect(rows[i].heard);
	}
}
#define RUN(...)                                                   \
	do {                                                       \
		static const struct row rows_[] = { __VA_ARGS__ }; \
		run(rows_, sizeof rows_ / sizeof rows_[0]);        \
	} while (0)

static void cuts_stanzas_with_their_inner_bytes_as_they_came(void **state)
{
	(void)state;
	RUN({ HEAD "<handshake/>", OPENED "handshake;" },
	    { HEAD
	      " \n <message from='a@b/c' to='d@e' id='1' type='chat' xml:lang='nl'>"
	      "<body>x &lt; &#x41;</body><y  xmlns=\"urn:y\" a = 'b'/><![CDATA[<no>]]></message>\n"
	      "<presence/><iq type='get'/>",
	      OPENED "message from=a@b/c to=d@e id=1 type=chat lang=nl "
		     "[<body>x &lt; &#x41;</body><y  xmlns=\"urn:y\" a = 'b'/><![CDATA[<no>]]>];"
		     "presence [];iq type=get [];" },
	    { HEAD "<message from='o&apos;neil@b' id='&lt;&#10;'></message>",
	      OPENED "message from=o'neil@b id=<\n [];" },
	    { HEAD "<message xmlns='jabber:client'><body/></message></stream:stream>",
	      OPENED "message [<body/>];ended;" },
	    { HEAD "<c:message xmlns:c='jabber:client' c:id='no' id='yes'>text</c:message>",
	      OPENED "message id=yes [text];" });
}

static void tells_what_a_query_asks(void **state)
{
	(void)state;
	RUN({ HEAD "<iq id='1'><query xmlns='urn:q' node='n'/><other/></iq>", OPENED
	      "iq id=1 ns=urn:q name=query node=n [<query xmlns='urn:q' node='n'/><other/>];" },
	    { HEAD "<iq><q:x xmlns:q='urn:q'/></iq>",
	      OPENED "iq ns=urn:q name=x [<q:x xmlns:q='urn:q'/>];" });
}

static void takes_the_language_of_the_stream_when_a_stanza_has_none(void **state)
{
	(void)state;
	RUN({ "<s:stream xmlns='jabber:component:accept' xml:lang='fr' "
	      "xmlns:s='http://etherx.jabber.org/streams'><message/><message xml:lang='de'/>",
	      "opened ;message lang=fr [];message lang=de [];" });
}

static void declares_inherited_prefixes_in_the_payload(void **state)
{
	(void)state;
	RUN({ "<stream:stream xmlns='jabber:component:accept' xmlns:p='urn:p' xmlns:q=\"u'q\" "
	      "xmlns:stream='http://etherx.jabber.org/streams'>"
	      "<message><p:a/><b c='d'><p:e/></b>p: <f p:g='h'/></message>"
	      "<message><q:a/></message>"
	      "<message><a xmlns:p='urn:own'><p:b/></a><p:c/></message>"
	      "<message><body>no prefix</body></message>"
	      "<message><body>no prefix</body><p:c></p:c></message>",
	      "opened ;message [<p:a xmlns:p='urn:p'/><b xmlns:p='urn:p' c='d'><p:e/></b>p: "
	      "<f xmlns:p='urn:p' p:g='h'/>];"
	      "message [<q:a xmlns:q='u&apos;q'/>];"
	      "message [<a xmlns:p='urn:own'><p:b/></a><p:c xmlns:p='urn:p'/>];"
	      "message [<body>no prefix</body>];"
	      "message [<body>no prefix</body><p:c xmlns:p='urn:p'></p:c>];" },
	    { HEAD "<message "
		   "xmlns:stream='urn:other'><stream:x/></message><message><stream:x/></message>",
	      OPENED "message [<stream:x xmlns:stream='urn:other'/>];"
		     "message [<stream:x xmlns:stream='http://etherx.jabber.org/streams'/>];" },
	    { HEAD
	      "<c:message xmlns:c='jabber:client' xmlns='urn:d'><x/><y xmlns='urn:y'/></c:message>"
	      "<message><x/></message>",
	      OPENED "message [<x xmlns='urn:d'/><y xmlns='urn:y'/>];message [<x/>];" },
	    { HEAD "<c:message xmlns:c='jabber:client' xmlns=''><x/></c:message>",
	      OPENED "message [<x xmlns=''/>];" });
}

static void refuses_what_is_no_stanza_and_goes_on(void **state)
{
	(void)state;
	RUN({ HEAD
	      "<x xmlns='urn:x'><message/></x><stream:features/><message xmlns='jabber:server'/>"
	      "<handshake xmlns='jabber:client'/><presence/>",
	      OPENED "unknown urn:x x;unknown http://etherx.jabber.org/streams features;"
		     "unknown jabber:server message;unknown jabber:client handshake;presence [];" },
	    { HEAD "<foo a='1'>text</foo><iq/>", OPENED "unknown " COMPONENT_NS " foo;iq [];" });
}

static void tells_the_stream_error_of_the_peer(void **state)
{
	(void)state;
	RUN({ HEAD "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
		   "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced &amp; gone</text>"
		   "<other xmlns='urn:app'>no</other></stream:error></stream:stream>",
	      OPENED "failed conflict Replaced & gone;ended;" },
	    { HEAD "<stream:error/>", OPENED "failed  ;" });
}

static void ends_a_stream_of_another_namespace(void **state)
{
	(void)state;
	RUN({ "<stream:stream xmlns='jabber:client' "
	      "xmlns:stream='http://etherx.jabber.org/streams'>",
	      "FAULT invalid-namespace" },
	    { "<stream:stream xmlns='jabber:component:accept' xmlns:stream='urn:streams'>",
	      "FAULT invalid-namespace" },
	    { "<s:stream xmlns:s='http://etherx.jabber.org/streams'>", "FAULT invalid-namespace" },
	    { "<message xmlns='jabber:component:accept'/>", "FAULT invalid-namespace" });
}

static void ends_a_stream_with_restricted_xml(void **state)
{
	(void)state;
	RUN({ "<!DOCTYPE x [<!ENTITY a 'b'>]>" HEAD, "FAULT restricted-xml" },
	    { "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" HEAD, "FAULT restricted-xml" },
	    { HEAD "<message><!-- hi --></message>", OPENED "FAULT restricted-xml" },
	    { HEAD "<message><?run it?></message>", OPENED "FAULT restricted-xml" },
	    { HEAD "<!-- hi -->", OPENED "FAULT restricted-xml" });
}

static void ends_a_stream_that_is_not_well_formed(void **state)
{
	(void)state;
	RUN({ HEAD "<message></presence>", OPENED "FAULT not-well-formed" },
	    { HEAD "<message a='1' a='2'/>", OPENED "FAULT not-well-formed" },
	    { HEAD "<message>&undeclared;</message>", OPENED "FAULT not-well-formed" },
	    { HEAD "<message><p:x/></message>", OPENED "FAULT not-well-formed" },
	    { HEAD "<message>\xff</message>", OPENED "FAULT not-well-formed" },
	    { HEAD "<message>&#0;</message>", OPENED "FAULT not-well-formed" },
	    { HEAD "<iq/><iq", OPENED "iq [];" },
	    { "HTTP/1.1 400 Bad Request\r\n", "FAULT not-well-formed" },
	    { HEAD "</stream:stream><message/>", OPENED "ended;" });
}

static void stops_when_told_within_an_event(void **state)
{
	(void)state;
	stop_after = 2;
	begin();
	feed_str(HEAD "<iq/><message/><presence/>");
	feed_str("</broken>");
	expect(OPENED "iq [];");
}

static void starts_again_after_reset(void **state)
{
	(void)state;
	begin();
	feed_str(HEAD "<message xmlns:p='urn:p'><p:a/");
	scan_reset(scan);
	feed_str(HEAD "<message><a/></message>");
	expect(OPENED OPENED "message [<a/>];");
}

static void repeat(const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		feed_str(text);
}

static void skips_a_stanza_that_is_too_large(void **state)
{
	(void)state;
	begin();
	feed_str(HEAD "<message from='a@b' to='c@d' id='big'><body>");
	repeat("0123456789abcdef", 10 * 1024 * 1024 / 16);
	feed_str("</body></message><iq/>");
	expect(OPENED "message LARGE from=a@b to=c@d id=big [];iq [];");
}

static void takes_a_payload_of_the_largest_size_and_no_larger(void **state)
{
	(void)state;
	for (size_t over = 0; over < 2; over++) {
		scoped_buf text = BUF_INIT(0);
		buf_add_str(&text, HEAD "<message>");
		for (size_t i = 0; i < SCAN_PAYLOAD_MAX + over; i++)
			buf_add_char(&text, 'x');
		buf_add_str(&text, "</message>");
		begin();
		feed(buf_slice(&text));
		size_t want = over ? sizeof OPENED "message LARGE [];" - 1
				   : sizeof OPENED "message [];" - 1 + SCAN_PAYLOAD_MAX;
		assert_int_equal(heard.len, want);
		scan_free(scan);
	}
}

static void ends_a_stream_with_a_stanza_far_too_large(void **state)
{
	(void)state;
	begin();
	feed_str(HEAD "<message>");
	repeat("0123456789abcdef", SCAN_SKIP_MAX / 16 + 1);
	expect(OPENED "FAULT policy-violation");
}

static void ends_a_stream_with_a_tag_too_large(void **state)
{
	(void)state;
	begin();
	feed_str(HEAD "<message id='");
	for (size_t i = 0; i < 20; i++) {
		scoped_buf text = BUF_INIT(0);
		for (size_t j = 0; j < 16 * 1024; j++)
			buf_add_char(&text, 'x');
		feed(buf_slice(&text));
	}
	expect(OPENED "FAULT policy-violation");
}

static void ends_a_stream_with_a_header_too_large(void **state)
{
	(void)state;
	begin();
	feed_str("<?xml version='1.0'?>");
	repeat("                ", SCAN_HEADER_MAX / 16);
	expect("FAULT policy-violation");
}

static void skips_a_stanza_that_is_nested_too_deep(void **state)
{
	(void)state;
	begin();
	feed_str(HEAD "<message from='a@b' id='deep'>");
	repeat("<a>", 10000);
	repeat("</a>", 10000);
	feed_str("</message><message>");
	repeat("<a>", SCAN_DEPTH_MAX);
	repeat("</a>", SCAN_DEPTH_MAX);
	feed_str("</message>");
	assert_memory_equal(heard.data, OPENED "message DEEP from=a@b id=deep [];message [<a>",
			    sizeof OPENED "message DEEP from=a@b id=deep [];message [<a>" - 1);
	scan_free(scan);
}

static void ends_a_stream_nested_without_end(void **state)
{
	(void)state;
	begin();
	feed_str(HEAD "<message>");
	repeat("<a>", SCAN_LEVELS_MAX);
	expect(OPENED "FAULT policy-violation");
}

static void reports_attributes_past_the_bounds(void **state)
{
	(void)state;
	scoped_buf text = BUF_INIT(0);

	buf_add_str(&text, HEAD "<message from='a@b' to='c@d'");
	for (int i = 0; i < 100; i++)
		buf_format(&text, " a%d=''", i);
	buf_add_str(&text, ">x</message><message from='a@b' id='");
	for (int i = 0; i <= SCAN_ID_MAX; i++)
		buf_add_char(&text, 'x');
	buf_add_str(&text, "'/><message");
	for (int i = 0; i < 100; i++)
		buf_format(&text, " xmlns:a%d='urn:a'", i);
	buf_add_str(&text, "/><iq/>");
	begin();
	feed(buf_slice(&text));
	expect(OPENED "message ATTRIBUTES from=a@b to=c@d [];message ATTRIBUTES from=a@b [];"
		      "message ATTRIBUTES [];iq [];");
}

/* The parser is renewed on the way, with prefixes of the header still in force. */
static void goes_on_for_a_long_time(void **state)
{
	enum { STANZAS = 200000, STEP = 4099 };
	static const char head[] = "<stream:stream xmlns='jabber:component:accept' xmlns:p='urn:p' "
				   "xmlns:stream='http://etherx.jabber.org/streams'>";
	static const char expected[] = "message id=7 [<body>hi</body>];";
	static const char last[] = "message [<p:x xmlns:p='urn:p'/>];presence [];ended;";
	scoped_buf text = BUF_INIT(0);
	size_t want = sizeof "opened ;" - 1;

	(void)state;
	buf_add_str(&text, head);
	for (int i = 0; i < STANZAS; i++) {
		buf_add_str(&text, "<message id='7'><body>hi</body></message> ");
		want += sizeof expected - 1;
	}
	buf_add_str(&text, "<message><p:x/></message><presence/></stream:stream>");
	begin();
	for (size_t at = 0; at < text.len; at += STEP)
		feed((struct slice){ text.data + at, text.len - at < STEP ? text.len - at : STEP });
	assert_int_equal(heard.len, want + sizeof last - 1);
	assert_string_equal(buf_text(&heard) + want, last);
	scan_free(scan);
}

static int end(void **state)
{
	(void)state;
	buf_free(&heard);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_stanzas_with_their_inner_bytes_as_they_came),
		cmocka_unit_test(tells_what_a_query_asks),
		cmocka_unit_test(takes_the_language_of_the_stream_when_a_stanza_has_none),
		cmocka_unit_test(declares_inherited_prefixes_in_the_payload),
		cmocka_unit_test(refuses_what_is_no_stanza_and_goes_on),
		cmocka_unit_test(tells_the_stream_error_of_the_peer),
		cmocka_unit_test(ends_a_stream_of_another_namespace),
		cmocka_unit_test(ends_a_stream_with_restricted_xml),
		cmocka_unit_test(ends_a_stream_that_is_not_well_formed),
		cmocka_unit_test(stops_when_told_within_an_event),
		cmocka_unit_test(starts_again_after_reset),
		cmocka_unit_test(skips_a_stanza_that_is_too_large),
		cmocka_unit_test(takes_a_payload_of_the_largest_size_and_no_larger),
		cmocka_unit_test(ends_a_stream_with_a_stanza_far_too_large),
		cmocka_unit_test(ends_a_stream_with_a_tag_too_large),
		cmocka_unit_test(ends_a_stream_with_a_header_too_large),
		cmocka_unit_test(skips_a_stanza_that_is_nested_too_deep),
		cmocka_unit_test(ends_a_stream_nested_without_end),
		cmocka_unit_test(reports_attributes_past_the_bounds),
		cmocka_unit_test(goes_on_for_a_long_time),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
