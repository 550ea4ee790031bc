# SPDX-License-Identifier: Apache-2.0
"""Two people on different servers, in different forests, under one domain."""
import pytest

from labkit import unique, wait_until
from xmpp import CLIENT

ADA, BOB, CAROL = "ada.adams@example.com", "bob.baker@example.com", "carol.adams@example.com"
HINTS = "urn:xmpp:hints"


@pytest.fixture(name="pair")
def fixture_pair(lab, login):
    lab.wait_link()
    return login("ada"), login("bob")


def body_order(client, prefix):
    texts = (one.findtext(CLIENT + "body") or "" for one in client.all(lambda s: s.tag == CLIENT + "message"))
    return [text for text in texts if text.startswith(prefix)]


def test_messages_go_both_ways_in_order(pair):
    ada, bob = pair
    mark = unique("order")
    for i in range(100):
        ada.message(BOB, f"{mark} {i}")
        bob.message(ADA, f"{mark} {i}")
    ada.wait_body(f"{mark} 99")
    bob.wait_body(f"{mark} 99")
    expected = [f"{mark} {i}" for i in range(100)]
    assert body_order(ada, mark) == expected
    assert body_order(bob, mark) == expected


def test_the_sender_is_known_by_the_federation_address_and_resource(pair):
    ada, bob = pair
    text = unique("hello")
    stanza_id = ada.message(BOB, text)
    seen = bob.wait_body(text)
    assert seen.get("from") == f"{ADA}/test"
    assert seen.get("id") == stanza_id
    assert seen.get("type") == "chat"


def test_an_answer_to_the_full_address_reaches_that_resource_only(lab, login, pair):
    ada, bob = pair
    other = login("ada", resource="other")
    text, after = unique("reply"), unique("after")
    bob.message(f"{ADA}/test", text)
    ada.wait_body(text)
    bob.message(f"{ADA}/other", after)
    other.wait_body(after)
    assert not body_order(other, text)
    assert not body_order(ada, after)


def test_an_alias_leads_to_the_same_person_and_answers_come_from_the_canonical_address(pair):
    ada, bob = pair
    text = unique("alias")
    ada.message("bob@example.com", text)
    assert bob.wait_body(text).get("from") == f"{ADA}/test"
    bob.message("ada@example.com", text)
    assert ada.wait_body(text).get("from") == f"{BOB}/test"


def test_people_of_a_forest_domain_and_of_the_shared_domain_talk(lab, login):
    uma = lab.account("uma.clark")
    wait_until(lambda: lab.value("boston", "SELECT count(*) FROM hedgerow.person WHERE native = %s", uma.jid),
               "uma at boston")
    far, near = login("uma.clark"), login("hugo")
    address = lab.value("boston", "SELECT address FROM hedgerow.person WHERE native = %s", uma.jid)
    text = unique("domain")
    near.message(address, text)
    assert far.wait_body(text).get("from").startswith("hugo.baker@example.com/")
    far.message("hugo.baker@example.com", text)
    assert near.wait_body(text).get("from") == f"{address}/test"


@pytest.mark.parametrize("text", [
    "Grüße, 你好, שלום", "🌿🦔", "a & b < c > d \" e ' f", " leading and trailing ", "two\nlines", "x" * 60000,
], ids=["scripts", "emoji", "markup", "spaces", "lines", "long"])
def test_text_arrives_as_it_was_written(pair, text):
    ada, bob = pair
    mark = unique("text")
    ada.message(BOB, mark + text)
    bob.wait_body(mark + text)
    bob.message(ADA, mark + text)
    ada.wait_body(mark + text)


def test_extensions_that_nobody_here_knows_pass(pair):
    ada, bob = pair
    mark = unique("ext")
    extra = (f"<store xmlns='{HINTS}'/><thread>{mark}</thread>"
             "<x xmlns='urn:example:unknown' a='1' b='&lt;2&gt;'><y xmlns='urn:example:inner'>t<z/>u</y></x>")
    ada.message(BOB, mark, extra)
    seen = bob.wait_body(mark)
    assert seen.findtext(CLIENT + "thread") == mark
    assert seen.find(f"{{{HINTS}}}store") is not None
    unknown = seen.find("{urn:example:unknown}x")
    inner = unknown.find("{urn:example:inner}y")
    assert unknown.attrib == {"a": "1", "b": "<2>"}
    assert (inner.text, inner[0].tag, inner[0].tail) == ("t", "{urn:example:inner}z", "u")


def test_queries_between_resources_are_answered(pair):
    ada, bob = pair
    asked = ada.query(f"{BOB}/test", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
    request = bob.wait_id(asked, "the query")
    assert request.get("from") == f"{ADA}/test"
    bob.send(f"<iq type='result' id='{asked}' to='{request.get('from')}'>"
             "<query xmlns='http://jabber.org/protocol/disco#info'>"
             "<identity category='client' type='pc' name='test'/></query></iq>")
    answer = ada.wait_id(asked)
    assert answer.get("type") == "result"
    assert answer.get("from") == f"{BOB}/test"
    assert answer[0][0].get("category") == "client"


def test_presence_passes(pair):
    ada, bob = pair
    mark = unique("away")
    ada.send(f"<presence to='{BOB}/test'><show>away</show><status>{mark}</status></presence>")
    seen = bob.wait(lambda s: s.tag == CLIENT + "presence" and s.findtext(CLIENT + "status") == mark,
                    "directed presence")
    assert seen.get("from") == f"{ADA}/test"
    assert seen.findtext(CLIENT + "show") == "away"


def roster(client, payload="", kind="get"):
    return client.wait_id(client.query(client.account.jid, f"<query xmlns='jabber:iq:roster'>{payload}</query>", kind))


def test_a_subscription_is_asked_for_granted_brings_presence_and_ends(login):
    dave, carol = login("dave"), login("carol")
    address = "dave.baker@example.com"
    for client in (carol, dave):
        roster(client)  # who has not asked for it is not told of grants
    carol.send(f"<presence to='{address}' type='subscribe'/>")
    dave.wait(lambda s: s.get("type") == "subscribe" and s.get("from") == CAROL, "the request")
    dave.send(f"<presence to='{CAROL}' type='subscribed'/>")
    carol.wait(lambda s: s.get("type") == "subscribed" and s.get("from") == address, "the grant")
    carol.wait(lambda s: s.tag == CLIENT + "presence" and s.get("type") is None
               and s.get("from") == f"{address}/test", "presence")
    dave.send("<presence><show>dnd</show></presence>")
    carol.wait(lambda s: s.findtext(CLIENT + "show") == "dnd" and s.get("from") == f"{address}/test",
               "the change")
    roster(carol, f"<item jid='{address}' subscription='remove'/>", "set")
    carol.wait(lambda s: s.get("type") == "unavailable" and s.get("from") == f"{address}/test", "the end")
    roster(dave, f"<item jid='{CAROL}' subscription='remove'/>", "set")


def test_nothing_native_of_the_other_side_was_ever_received(lab, pair):
    ada, bob = pair
    mark = unique("scan")
    ada.message(BOB, mark)
    bob.wait_body(mark)
    bob.message(f"{ADA}/test", mark)
    ada.wait_body(mark)
    asked = ada.query(f"{BOB}/test", "<query xmlns='jabber:iq:version'/>")
    bob.wait_id(asked)
    bob.send(f"<iq type='error' id='{asked}' to='{ADA}/test'><error type='cancel'>"
             "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
    ada.wait_id(asked)
    ada.wait_error(ada.message("nobody@example.com", mark))
    ada.wait_error(ada.query(f"{BOB}/gone", "<ping xmlns='urn:xmpp:ping'/>"))
    ada.send(f"<presence to='{BOB}/test'><status>{mark}</status></presence>")
    bob.wait(lambda s: s.findtext(CLIENT + "status") == mark, "presence")
    assert b"im.alpha.example" not in bob.received()
    assert b"im.beta.example" not in ada.received().replace(ada.jid.encode(), b"")


# --- refusals: the right error, once ---


def once(client, stanza_id, other):
    """The error, after proof that no second one is on its way: `other`, at the other site, is asked and
    answers, through the queues, the link and the streams that a second one would come through."""
    error = client.wait_error(stanza_id)
    there_and_back(client, other)
    assert len(client.errors(stanza_id)) == 1
    return error


def there_and_back(client, other):
    text = unique("there")
    client.message(other.account.address, text)
    other.wait_body(text)
    other.message(client.account.address, text)
    client.wait_body(text)


def test_a_second_error_would_be_seen(pair):
    ada, bob = pair
    stanza_id = ada.message("nobody@example.com", "anyone?")
    ada.wait_error(stanza_id)
    bob.send(f"<message type='error' id='{stanza_id}' to='{ADA}/test'><error type='cancel'>"
             "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    with pytest.raises(AssertionError, match="== 1"):
        once(ada, stanza_id, bob)


def test_an_unknown_person_is_item_not_found(pair):
    ada, bob = pair
    condition, _, sender = once(ada, ada.message("nobody@example.com", "anyone?"), bob)
    assert (condition, sender) == ("item-not-found", "nobody@example.com")


def test_a_query_to_an_unknown_person_is_answered(pair):
    ada, bob = pair
    condition, _, _ = once(ada, ada.query("nobody@example.com/x", "<ping xmlns='urn:xmpp:ping'/>"), bob)
    assert condition == "item-not-found"


def test_a_person_who_is_disabled_in_the_directory_is_not_reached(lab, pair):
    ada, bob = pair
    address = lab.value("amsterdam", "SELECT address FROM hedgerow.person WHERE NOT enabled AND site = 'boston'"
                                     " ORDER BY address LIMIT 1")
    condition, _, _ = once(ada, ada.message(address, "asleep?"), bob)
    assert condition == "recipient-unavailable"


def test_a_rule_refuses_with_its_reason(lab, login):
    grace, jane = login("grace"), login("jane")
    jane_address, grace_address = "jane.baker@example.com", "grace.adams@example.com"
    reason = f"not before the merger {unique()}"
    lab.hedgerow("amsterdam", "rule", "add", "no-grace", "deny", "--priority", "1",
                 "--from", f"address:{grace_address}", "--to", f"address:{jane_address}", "--reason", reason)
    try:
        wait_until(lambda: rule_is_in_force(grace, jane, jane_address), "the rule")
        stanza_id = grace.message(jane_address, "may I?")
        condition, text, sender = once(grace, stanza_id, login("bob"))
        assert (condition, text, sender) == ("not-allowed", reason, jane_address)
        assert not jane.all(lambda s: s.get("id") == stanza_id)
    finally:
        lab.hedgerow("amsterdam", "rule", "remove", "no-grace")
    wait_until(lambda: not rule_is_in_force(grace, jane, jane_address), "the end of the rule")


def rule_is_in_force(sender, recipient, address):
    """One message: refused, or delivered?"""
    text = unique("probe")
    stanza_id = sender.message(address, text)
    return wait_until(lambda: bool(sender.errors(stanza_id)) and "refused"
                      or bool(body_order(recipient, text)) and "delivered", "either") == "refused"


def test_a_site_down_for_longer_than_the_expiry_is_remote_server_timeout(lab, login):
    erik, fay = login("erik"), login("fay")
    fay_address = "fay.baker@example.com"
    lab.wait_link()
    lab.sql("amsterdam", "UPDATE hedgerow.site SET message_expiry = '2 seconds' WHERE site = 'amsterdam'")
    text = unique("late")
    try:
        lab.link("cut")
        wait_until(lambda: not lab.link_is_up(), "the loss of the link", 40)
        stanza_id = erik.message(fay_address, text)
        erik.wait_error(stanza_id)
    finally:
        lab.link("flow")
        lab.sql("amsterdam", "UPDATE hedgerow.site SET message_expiry = '7 days' WHERE site = 'amsterdam'")
    lab.wait_link()
    condition, _, sender = once(erik, stanza_id, fay)
    assert (condition, sender) == ("remote-server-timeout", fay_address)
    assert not body_order(fay, text)


def test_a_query_over_a_link_that_is_down_is_remote_server_timeout(lab, pair):
    ada, bob = pair
    lab.link("cut")
    try:
        wait_until(lambda: not lab.link_is_up(), "the loss of the link", 40)
        stanza_id = ada.query(f"{BOB}/test", "<ping xmlns='urn:xmpp:ping'/>")
        ada.wait_error(stanza_id)
    finally:
        lab.link("flow")
    lab.wait_link()
    condition, _, _ = once(ada, stanza_id, bob)
    assert condition == "remote-server-timeout"


def test_messages_wait_for_a_link_and_arrive_in_order(lab, pair):
    ada, bob = pair
    mark = unique("wait")
    lab.link("stall")
    try:
        wait_until(lambda: not lab.link_is_up(), "the half-open link to be found", 60)
        for i in range(20):
            ada.message(BOB, f"{mark} {i}")
            bob.message(ADA, f"{mark} {i}")
        ada.round_trip()
        bob.round_trip()
    finally:
        lab.link("flow")
    for client in pair:
        client.wait_body(f"{mark} 19", 60)
        assert body_order(client, mark) == [f"{mark} {i}" for i in range(20)]
