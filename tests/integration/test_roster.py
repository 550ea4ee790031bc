# SPDX-License-Identifier: Apache-2.0
"""Somebody found in the directory becomes a contact: subscriptions and presence between Prosody and
ejabberd, asked for from either side, through everything that clients and links do."""
import pytest

from labkit import unique, wait_until
from xmpp import CLIENT

ROSTER, SEARCH = "jabber:iq:roster", "jabber:iq:search"
ADDRESS = {"erik": "erik.adams@example.com", "ivan": "ivan.adams@example.com", "mia": "mia.adams@example.com",
           "fay": "fay.baker@example.com", "jane": "jane.baker@example.com", "nina": "nina.baker@example.com"}


def roster(client):
    """address -> (subscription, what is asked) of the contacts"""
    items = client.wait_id(client.query(client.account.jid, f"<query xmlns='{ROSTER}'/>")).iter(f"{{{ROSTER}}}item")
    return {item.get("jid"): (item.get("subscription"), item.get("ask")) for item in items}


def forget(client, address):
    client.wait_id(client.query(client.account.jid, f"<query xmlns='{ROSTER}'><item jid='{address}'"
                                                    " subscription='remove'/></query>", "set"))


class Person:
    """A client with its roster, and what it sees of contacts."""

    def __init__(self, client):
        self.client = client
        self.address = ADDRESS[client.local]
        self.contacts = roster(client)  # who has not asked for it is not told of grants

    def subscribe(self, other, kind="subscribe"):
        self.client.send(f"<presence to='{other.address}' type='{kind}'/>")

    def wait(self, other, kind, what="", after=0):
        """The presence of that type from the other; None is available."""
        seen = [0]

        def wanted(stanza):
            if stanza.tag != CLIENT + "presence" or not (stanza.get("from") or "").startswith(other.address):
                return False
            return stanza.get("type") == kind and (not what or stanza.findtext(CLIENT + "status") == what)
        return self.client.wait(wanted, f"{kind or 'available'} {what} from {other.address}")

    def is_contact(self, other, subscription):
        wait_until(lambda: roster(self.client).get(other.address, ("none", None))[0] == subscription,
                   f"{other.address} as {subscription} in the roster of {self.address}")


@pytest.fixture(name="pair", params=[("erik", "fay"), ("fay", "erik")], ids=["Prosody-asks", "ejabberd-asks"])
def fixture_pair(lab, login, request):
    """Two who are no contacts of each other, at the end neither; the first one asks."""
    lab.wait_link()
    one, other = (Person(login(local)) for local in request.param)
    yield one, other
    for person, contact in ((one, other), (other, one)):
        client = login(person.client.local, resource="end", presence=False)
        if contact.address in roster(client):
            forget(client, contact.address)


def befriend(one, other):
    one.subscribe(other)
    other.wait(one, "subscribe")
    other.subscribe(one, "subscribed")
    one.wait(other, "subscribed")
    other.subscribe(one)
    one.wait(other, "subscribe")
    one.subscribe(other, "subscribed")
    other.wait(one, "subscribed")
    one.is_contact(other, "both")
    other.is_contact(one, "both")


def find(client, words):
    result = client.wait_id(client.query("example.com", f"<query xmlns='{SEARCH}'><nick>{words}</nick></query>", "set"))
    return [item.get("jid") for item in result.iter(f"{{{SEARCH}}}item")]


def test_who_is_found_becomes_a_contact_and_both_see_each_other(pair):
    one, other = pair
    name = other.address.split("@", maxsplit=1)[0].replace(".", " ")
    assert find(one.client, name) == [other.address]
    befriend(one, other)
    one.wait(other, None)
    other.wait(one, None)
    mark = unique("here")
    one.client.send(f"<presence><show>away</show><status>{mark}</status></presence>")
    seen = other.wait(one, None, mark)
    assert (seen.get("from"), seen.findtext(CLIENT + "show")) == (f"{one.address}/test", "away")
    other.client.send(f"<presence><status>{mark}</status></presence>")
    one.wait(other, None, mark)


def test_who_logs_in_later_sees_who_is_there_and_who_logs_out_is_gone(login, pair):
    one, other = pair
    befriend(one, other)
    mark = unique("there")
    other.client.send(f"<presence><status>{mark}</status></presence>")
    one.wait(other, None, mark)
    one.client.send("<presence type='unavailable'/>")
    other.wait(one, "unavailable")
    late = Person(login(one.client.local, resource="late"))
    late.wait(other, None, mark)  # probed by the server
    other.client.wait(lambda s: s.get("from") == f"{one.address}/late" and s.get("type") is None, "the new client")
    other.client.close()
    late.wait(other, "unavailable")


def test_a_request_waits_for_who_is_not_there(login, pair):
    one, other = pair
    other.client.close()
    one.client.round_trip()
    one.subscribe(other)
    one.client.round_trip()
    back = Person(login(other.client.local, resource="back"))
    back.wait(one, "subscribe")
    back.subscribe(one, "subscribed")
    one.wait(other, "subscribed")
    one.is_contact(other, "to")
    back.is_contact(one, "from")


def test_a_request_is_declined(pair):
    one, other = pair
    one.subscribe(other)
    other.wait(one, "subscribe")
    other.subscribe(one, "unsubscribed")
    one.wait(other, "unsubscribed")
    one.is_contact(other, "none")


def test_a_subscription_is_cancelled_by_either_side(pair):
    one, other = pair
    befriend(one, other)
    one.subscribe(other, "unsubscribe")
    other.wait(one, "unsubscribe")
    one.is_contact(other, "from")
    other.is_contact(one, "to")
    one.subscribe(other, "unsubscribed")
    other.wait(one, "unsubscribed")
    other.wait(one, "unavailable")
    other.is_contact(one, "none")
    one.is_contact(other, "none")


def test_who_removes_a_contact_is_removed(pair):
    one, other = pair
    befriend(one, other)
    forget(one.client, other.address)
    other.wait(one, "unsubscribe")
    other.wait(one, "unsubscribed")
    other.is_contact(one, "none")


def test_nothing_native_is_seen_by_a_contact(pair):
    one, other = pair
    befriend(one, other)
    one.wait(other, None)
    other.wait(one, None)
    for person, contact in ((one, other), (other, one)):
        received = person.client.received()
        assert contact.client.domain.encode() not in received


def test_a_request_over_a_link_that_is_down_is_answered_and_can_be_made_again(lab, pair):
    one, other = pair
    lab.link("cut")
    try:
        for site in ("amsterdam", "boston"):  # each finds it out for itself
            wait_until(lambda at=site: not lab.value(at, "SELECT count(*) FROM hedgerow.link_status WHERE state = 'up'"),
                       f"the loss of the link at {site}", 40)
        one.subscribe(other)
        error = one.wait(other, "error").find(CLIENT + "error")
        assert error.find("{urn:ietf:params:xml:ns:xmpp-stanzas}remote-server-timeout") is not None
    finally:
        lab.link("flow")
    lab.wait_link()
    befriend(one, other)
