/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/html.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	const char *html, *text;
} rows[] = {
	{ "", "" },
	{ "plain", "plain" },
	{ "  a \n\t b  ", "a b" },
	{ "a<br>b<br/>c<BR />d", "a\nb\nc\nd" },
	{ "a<br><br>b", "a\n\nb" },
	{ "<p>a</p><p>b</p>", "a\n\nb" },
	{ "<p class=MsoNormal>a</p>\n<p class='x MsoNormal'>b<o:p></o:p></p>", "a\nb" },
	{ "<div>a</div><div><br></div><div>b</div>", "a\n\nb" },
	{ "<div>a<div>b</div></div>c", "a\nb\nc" },
	{ "a<span> b</span><b>c</b>", "a bc" },
	{ "<ul><li>a<li>b</ul>c", "- a\n- b\nc" },
	{ "<ol><li>a</li><li>b<ol><li>c</ol></li><li>d</li></ol>", "1. a\n2. b\n  1. c\n3. d" },
	{ "<li>alone</li>", "- alone" },
	{ "<ul><li><li>a</ul>", "- a" },
	{ "<table><tr><td>a</td><td>b</td></tr><tr><th>c<th>d</table>", "a b\nc d" },
	{ "<blockquote>a<p>b<blockquote>c</blockquote></blockquote>d", "> a\n> \n> b\n> > c\nd" },
	{ "<pre>a\n  b\n\nc</pre>d", "a\n  b\n\nc\n\nd" },
	{ "a&amp;b&lt;c&gt;&quot;&apos;&nbsp;d", "a&b<c>\"' d" },
	{ "&eacute;&Uuml;&szlig;&euro;&hellip;&thorn;&nbsp;", "éÜß€…þ " },
	{ "&#65;&#x42;&#X43;&#68 &#8364;&#150;&#x80;", "ABCD €–€" },
	{ "&#0;&#xd800;&#x110000;&#99999999;", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "&;&#;&#x;&#xg;&nosuch;&amp&", "&;&#;&#x;&#xg;&nosuch;&amp&" },
	{ "&#1;&#2;&#8203;&shy;\xe2\x80\x8b"
	  "a&#65279;",
	  "a" },
	{ "1 < 2 <3 <- a <> </> </ b>", "1 < 2 <3 <- a <> </> </ b>" },
	{ "a<!-- x > y -->b<!doctype html>c<?php ?>d<![endif]>e", "abcde" },
	{ "a<!-->b<!--->c", "abc" },
	{ "a<!-- open", "a" },
	{ "a<script>if (1 < 2) '</p>' </scripty></script >b", "ab" },
	{ "a<style>x</STYLE>b<title>t</title>c<script>open", "abc" },
	{ "a<div style='color: red; DISPLAY : none '>b<div>c</div>d</div>e", "ae" },
	{ "a<br style=display:none>b<span style=display:none />c", "a\nbc" },
	{ "a<span style=\"display:nonex\">b", "a" },
	{ "a<i title=\"x > y\" b='</i>' c>d</i>e", "ade" },
	{ "<a href='https://x.example/?a=1&amp;b=2'>here</a>!",
	  "here (https://x.example/?a=1&b=2)!" },
	{ "<a href=https://x.example>https://x.example</a>", "https://x.example" },
	{ "<a href='https://www.x.example/'>www.x.example</a>", "www.x.example" },
	{ "<a href='http://evil.example/'>https://bank.example</a>",
	  "https://bank.example (http://evil.example/)" },
	{ "<a href='mailto:a@b.example'>a@b.example</a>", "a@b.example" },
	{ "<a href='mailto:a@b.example'>write</a>", "write (mailto:a@b.example)" },
	{ "<a href='javascript:alert(1)'>x</a><a href='#top'>y</a><a>z</a>", "xyz" },
	{ "<a href='https://x.example'><img src=x></a>y", "y" },
	{ "<a href='https://x.example'>a<a href='https://y.example'>b", "a (https://x.example)b" },
	{ "<a href='https://x.example/\x7f&#10; a'>b</a>", "b (https://x.example/a)" },
	{ "a<div class='x gmail_quote'>b</div>", "a\n\x01\nb" },
	{ "a<div class=gmail_quoted>b</div>", "a\nb" },
	{ "a<div id=Signature>b</div>", "a\n\x02\nb" },
	{ "a<b", "a" },
	{ "a<b x='", "a" },
	{ "a<b x", "a" },
	{ "</blockquote></ul></pre></a>a", "a" },
	{ "<unknown-element>a</unknown-element>", "a" },
};

static void makes_text_of_html(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_buf out = BUF_INIT(10000);
		html_to_text(slice_str(rows[i].html), &out);
		if (strcmp(buf_text(&out), rows[i].text) != 0)
			fail_msg("%s -> %s, not %s", rows[i].html, buf_text(&out), rows[i].text);
	}
}

static void stops_where_there_is_no_room(void **state)
{
	scoped_buf html = BUF_INIT(0), out = BUF_INIT(1000);

	(void)state;
	for (size_t i = 0; i < 10000; i++)
		buf_add_str(&html, "<blockquote><ol><li>x<a href='https://x.example/'>y");
	html_to_text(buf_slice(&html), &out);
	assert_true(out.overflowed);
	assert_true(out.len <= 1000 && out.len > 500);
}

/* Each would take hours, were the work not in proportion to the length. */
static void is_not_slowed_down_by_what_is_left_open(void **state)
{
	static const char *const pieces[] = {
		"<!--",
		"<div style=display:none>",
		"<script>",
		"<a href='",
		"<",
		"&",
		"&#",
		"<x ",
		"<div a=b",
		"</script",
		"<pre>\n",
		"<br>",
		"<ul>",
		"<a href=https://x.example/>",
		"<div class='x ",
	};

	(void)state;
	for (size_t i = 0; i < countof(pieces); i++) {
		scoped_buf html = BUF_INIT(0), out = BUF_INIT(100000);
		for (size_t n = 0; n < 200000; n++)
			buf_add_str(&html, pieces[i]);
		html_to_text(buf_slice(&html), &out);
		assert_true(out.len <= 100000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_text_of_html),
		cmocka_unit_test(stops_where_there_is_no_room),
		cmocka_unit_test(is_not_slowed_down_by_what_is_left_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
