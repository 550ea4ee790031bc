# SPDX-License-Identifier: Apache-2.0
"""Contacts behind a link that is lost are shown unavailable, and as they are when it is back."""
from labkit import unique, wait_until
from test_conversation import roster
from xmpp import CLIENT

CAROL, DAVE = "carol.adams@example.com", "dave.baker@example.com"


def of(address, *, status=None, kind=None):
    """What a presence of that person, at the resource test, looks like."""
    return lambda s: (s.tag == CLIENT + "presence" and s.get("from") == f"{address}/test" and s.get("type") == kind
                      and (status is None or s.findtext(CLIENT + "status") == status))


def subscribe(one, other, address):
    """`one` sees `other`."""
    roster(one)
    one.send(f"<presence to='{other.account.address}' type='subscribe'/>")
    other.wait(lambda s: s.get("type") == "subscribe" and s.get("from") == address, "the request")
    other.send(f"<presence to='{address}' type='subscribed'/>")
    one.wait(lambda s: s.get("type") == "subscribed" and s.get("from") == other.account.address, "the grant")


def test_contacts_behind_a_link_go_with_it_and_come_back_as_they_are(lab, login):
    lab.wait_link()
    carol, dave = login("carol"), login("dave")
    subscribe(carol, dave, CAROL)
    subscribe(dave, carol, DAVE)
    before, meanwhile = unique("before"), unique("meanwhile")
    for one, other, address in ((carol, dave, CAROL), (dave, carol, DAVE)):
        one.send(f"<presence><status>{before}</status></presence>")
        other.wait(of(address, status=before), "presence over the link")
    try:
        lab.link("cut")
        wait_until(lambda: not lab.link_is_up(), "the loss of the link", 40)
        carol.wait(of(DAVE, kind="unavailable"), "dave to be shown unavailable")
        dave.wait(of(CAROL, kind="unavailable"), "carol to be shown unavailable")
        dave.send(f"<presence><show>dnd</show><status>{meanwhile}</status></presence>")
        dave.round_trip()
        assert not carol.all(of(DAVE, status=meanwhile))
    finally:
        lab.link("flow")
    lab.wait_link()
    seen = carol.wait(of(DAVE, status=meanwhile), "dave as he is now, without his doing anything")
    assert seen.findtext(CLIENT + "show") == "dnd"
    dave.wait_count(of(CAROL, status=before), 2, "presences of carol, who is as she was")
    for one, other in ((carol, DAVE), (dave, CAROL)):
        roster(one, f"<item jid='{other}' subscription='remove'/>", "set")
