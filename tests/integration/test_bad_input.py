# SPDX-License-Identifier: Apache-2.0
"""What a broken or hostile XMPP server sends: refused, named in the log, counted, and nothing else
stops. The server is ours; so is the one at the far end, which shows every byte that came."""
import re
import socket

import pytest

from labkit import unique, wait_until
from xmpp import COMPONENT, ComponentServer

DOMAIN = "example.com"
YARA, ZOE = "yara.adams@example.com", "zoe.baker@example.com"
NATIVE_YARA, NATIVE_ZOE = "yara@im.mimic-a.example", "zoe@im.mimic-b.example"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def add_mimic(lab, site, forest, name, person):
    """An installation whose server is this test, and somebody who is served by it."""
    port, secret = free_port(), unique("secret")
    server = ComponentServer(port, secret)
    (lab.directory / site / "secrets" / f"{name}.secret").write_text(secret)
    lab.hedgerow(site, "installation", "add", name, "--forest", forest, "--software", "openfire",
                 "--native-domain", f"im.{name}.example", "--host", "127.0.0.1", "--port", port,
                 "--secret", f"{name}.secret")
    lab.set_entry(forest, person, "imInstallation", name)
    lab.synced(site, forest)
    return server


def remove_mimic(lab, server, site, forest, name, person, installation):
    lab.set_entry(forest, person, "imInstallation", installation)
    lab.synced(site, forest)
    lab.hedgerow(site, "installation", "remove", name)
    server.close()


@pytest.fixture(scope="module", name="mimics")
def fixture_mimics(lab):
    near = add_mimic(lab, "amsterdam", "alpha", "mimic-a", "yara")
    far = add_mimic(lab, "boston", "beta", "mimic-b", "zoe")
    lab.wait_link()
    yield near, far
    remove_mimic(lab, near, "amsterdam", "alpha", "mimic-a", "yara", "prosody-alpha")
    remove_mimic(lab, far, "boston", "beta", "mimic-b", "zoe", "ejabberd-beta")


def message(inner, sender=f"{NATIVE_YARA}/r", to=ZOE, attributes=""):
    return f"<message from='{sender}' to='{to}' id='{unique()}' type='chat'{attributes}>{inner}</message>"


def works(mimics):
    """A message still goes from yara to zoe."""
    text = unique("works")
    near, far = mimics
    near.stream(DOMAIN).send(message(f"<body>{text}</body>"))
    return far.stream(DOMAIN).wait_body(text)


@pytest.mark.parametrize("inner", [
    "<body>plain</body>",
    "<body>a &amp; b &lt; c</body>",
    "<body>quotes \" and '</body><x xmlns='urn:x' a=\"1\" b='2'/>",
    "<body/><x xmlns='urn:x'>  <y  k = 'v' />\n</x>",
    "<body>&#x1F33F; \U0001F994</body>",
    "<x:y xmlns:x='urn:x' x:z='1'/><body>p</body>",
    "<body>cdata</body><d xmlns='urn:d'><![CDATA[<raw> & ]]></d>",
], ids=["plain", "escaped", "quotes", "spacing", "characters", "prefixed", "cdata"])
def test_the_inner_xml_arrives_byte_for_byte(mimics, inner):
    near, far = mimics
    mark = f"<m xmlns='urn:mark'>{unique()}</m>"
    near.stream(DOMAIN).send(message(inner + mark))
    wait_until(lambda: mark.encode() in far.stream(DOMAIN).received(), "the message")
    assert (inner + mark + "</message>").encode() in far.stream(DOMAIN).received()
    assert b"im.mimic-a.example" not in far.stream(DOMAIN).received()


def test_a_prefix_that_the_stream_declares_is_not_lost(lab, mimics):
    """The server's stream header has xmlns:stream; a payload that uses it must stand on its own."""
    near, far = mimics
    text = unique("prefix")
    near.stream(DOMAIN).send(message(f"<body>{text}</body><stream:odd/>"))
    seen = far.stream(DOMAIN).wait_body(text)
    assert seen.find("{http://etherx.jabber.org/streams}odd") is not None


def refusal(lab, mimics, metric, event, data, ends):
    """Sends the data on yara's stream; its refusal is logged and counted, the other streams go on."""
    near, _ = mimics
    before = lab.metric("amsterdam", metric)
    mark = lab.log_mark("gateway-amsterdam")
    other = near.stream("alpha.example")
    stream = near.stream(DOMAIN)
    try:
        stream.send(data)
    except OSError:
        assert ends  # closed while we were still sending
    line = lab.wait_log(mark, event)
    if ends:
        stream.wait_end()
        near.stream(DOMAIN, after=stream)
    works(mimics)
    assert ends or near.stream(DOMAIN) is stream
    wait_until(lambda: lab.metric("amsterdam", metric) > before, f"the metric {metric}")
    assert near.stream("alpha.example") is other
    return line


def deep(levels):
    return "".join(f"<a{'' if i else ' xmlns=' + chr(39) + 'urn:a' + chr(39)}>" for i in range(levels)) + "</a>" * levels


@pytest.mark.parametrize("metric, data, ends", [
    ("xmpp_refused_xml_total", message("<body>broken</bodi>"), True),
    ("xmpp_refused_xml_total", "\x00\x01\x02", True),
    ("xmpp_refused_xml_total", b"<message from='yara@im.mimic-a.example' to='zoe.baker@example.com'><body>\xff\xfe</body></message>", True),
    ("xmpp_refused_namespace_total", message("<body>who?</body>", attributes=" xmlns='jabber:server'"), False),
    ("xmpp_refused_size_total", message("<body>" + "x" * 10_000_000 + "</body>"), False),
    ("xmpp_refused_depth_total", message(deep(10_000)), False),
    ("xmpp_refused_xml_total", "<!DOCTYPE x [<!ENTITY a 'b'>]>" + message("<body>&a;</body>"), True),
    ("xmpp_refused_xml_total", message("<body>&undeclared;</body>"), True),
    ("xmpp_refused_dtd_total", message("<body>a</body><!-- b -->"), True),
    ("xmpp_refused_dtd_total", message("<body>a</body><?php evil() ?>"), True),
    ("xmpp_refused_from_total", message("<body>I am bob</body>", sender="bob@im.beta.example/r"), False),
    ("xmpp_refused_from_total", message("<body>I am ada</body>", sender="ada.adams@example.com/r"), False),
    ("xmpp_refused_from_total", message("<body>no at</body>", sender="@@"), False),
    ("xmpp_refused_to_total", message("<body>to</body>", to="@/"), False),
], ids=["mismatched-tag", "control-bytes", "not-utf-8", "namespace", "ten-megabytes", "ten-thousand-deep",
        "entities-inside", "entity-undeclared", "comment", "processing-instruction", "from-another-server", "from-a-federation-address", "from-malformed", "to-malformed"])
def test_bad_input_is_refused_named_counted_and_stops_nothing_else(lab, mimics, metric, data, ends):
    refusal(lab, mimics, metric, r"event=xmpp\.refused", data, ends)


def test_entity_declarations_before_the_stream_are_refused(lab, mimics):
    """A billion laughs, told before the stream header: none is heard."""
    near, _ = mimics
    before = lab.metric("amsterdam", "xmpp_refused_dtd_total")
    laughs = "".join(f"<!ENTITY l{i + 1} '{f'&l{i};' * 10}'>" for i in range(9))
    near.prolog = f"<!DOCTYPE x [<!ENTITY l0 'ha'>{laughs}]>"
    mark = lab.log_mark("gateway-amsterdam")
    stream = near.stream(DOMAIN)
    other = near.stream("alpha.example")
    stream.close()
    lab.wait_log(mark, r"event=xmpp\.refused stream=mimic-a/example\.com")
    near.prolog = ""
    near.stream(DOMAIN, after=stream)
    works(mimics)
    wait_until(lambda: lab.metric("amsterdam", "xmpp_refused_dtd_total") > before, "the metric")
    assert near.stream("alpha.example") is other


def test_a_sender_nobody_knows_is_refused(lab, mimics):
    near, _ = mimics
    stream = near.stream(DOMAIN)
    stanza = message("<body>ghost</body>", sender="ghost@im.mimic-a.example/r")
    stanza_id = re.search("id='([^']+)'", stanza).group(1)
    mark = lab.log_mark("gateway-amsterdam")
    stream.send(stanza)
    answer = stream.wait(lambda s: s.get("id") == stanza_id, "the refusal")
    assert answer.get("type") == "error"
    assert answer.get("to") == "ghost@im.mimic-a.example/r"
    lab.wait_log(mark, "ghost@im.mimic-a.example")
    works(mimics)


def test_the_far_site_has_seen_nothing_native(mimics):
    works(mimics)
    received = mimics[1].stream(DOMAIN).received()
    assert b"im.mimic-a.example" not in received
    assert received.count(NATIVE_ZOE.encode()) >= 1


def test_a_server_that_goes_away_is_found_again_and_gets_what_waited(lab, mimics):
    near, far = mimics
    stream = far.stream(DOMAIN)
    text = unique("gone")
    stream.close()
    near.stream(DOMAIN).send(message(f"<body>{text}</body>"))
    assert far.stream(DOMAIN, after=stream).wait_body(text).tag == COMPONENT + "message"


def test_what_was_not_covered_by_a_barrier_is_repeated_with_the_same_id(mimics):
    near, far = mimics
    stream = far.stream(DOMAIN)
    stream.answers_pings = False
    text = unique("again")
    near.stream(DOMAIN).send(message(f"<body>{text}</body>"))
    first = stream.wait_body(text)
    stream.close()
    again = far.stream(DOMAIN, after=stream)
    assert again.wait_body(text).get("id") == first.get("id")
