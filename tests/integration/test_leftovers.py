# SPDX-License-Identifier: Apache-2.0
"""What waits for a destination that an operator removes goes another way, or back to its sender,
once; the lease of what is gone is free, and no gateway is restarted."""
import pytest

from labkit import unique, wait_until
from test_conversation import BOB, body_order, once, there_and_back

HUGO = "hugo.baker@example.com"
WAITING = "SELECT head - acked FROM hedgerow.queue WHERE name = %s"


def waits(lab, site, queue, count):
    wait_until(lambda: lab.value(site, WAITING, queue) == count, f"{count} in {queue} at {site}")


def test_what_waits_for_a_removed_link_comes_back_once_and_its_queue_can_be_purged(lab, login):
    lab.wait_link()
    ada, bob = login("ada"), login("bob")
    text = unique("gone")
    lab.link("cut")
    try:
        wait_until(lambda: not lab.link_is_up(), "the loss of the link", 40)
        sent = [ada.message(BOB, f"{text} {i}") for i in range(3)]
        waits(lab, "amsterdam", "link:boston", 3)
        assert "a gateway serves queue" in lab.hedgerow("amsterdam", "queue", "purge", "link:boston", check=False)
        lab.hedgerow("amsterdam", "link", "remove", "boston")
        for stanza_id in sent:
            condition, why, sender = ada.wait_error(stanza_id)
            assert (condition, sender) == ("remote-server-timeout", BOB)
            assert why == "no link leads to this person's site"
        waits(lab, "amsterdam", "link:boston", 0)
        wait_until(lambda: not lab.value("amsterdam", "SELECT served FROM hedgerow.queues WHERE queue = 'link:boston'"),
                   "the lease to be given back")
        lab.hedgerow("amsterdam", "queue", "purge", "link:boston")
    finally:
        lab.link("flow")
        if not lab.value("amsterdam", "SELECT count(*) FROM hedgerow.link WHERE site = 'amsterdam'"):
            lab.hedgerow("amsterdam", "link", "add", "boston")
    lab.wait_link()
    for stanza_id in sent:
        once(ada, stanza_id, bob)
    assert not body_order(bob, text)


@pytest.fixture(name="old")
def fixture_old(lab, login):
    """The queue of an installation of boston that serves hugo meanwhile; its server is away."""
    lab.wait_link()
    lab.hedgerow("boston", "installation", "add", "old", "--forest", "beta", "--software", "prosody",
                 "--native-domain", "old.beta.example", "--host", "127.0.0.1", "--port", "1")
    lab.set_entry("beta", "hugo", "imInstallation", "old")
    lab.synced("boston", "beta")
    queue = "xmpp:old:example.com"
    bob, head = login("bob"), "SELECT sum(head) FROM hedgerow.queue WHERE name LIKE %s"

    def waits_there():
        before = lab.value("boston", head, "xmpp:%")
        bob.message(HUGO, unique("probe"))
        wait_until(lambda: lab.value("boston", head, "xmpp:%") > before, "the probe")
        return lab.value("boston", WAITING, queue)
    wait_until(waits_there, "hugo's new installation to be in force")
    yield queue
    lab.set_entry("beta", "hugo", "imInstallation", "ejabberd-beta")
    lab.synced("boston", "beta")
    if lab.value("boston", "SELECT count(*) FROM hedgerow.installation WHERE installation = 'old'"):
        lab.hedgerow("boston", "installation", "remove", "old")


def test_what_waits_for_a_removed_installation_comes_back_to_a_sender_at_another_site_once(lab, login, old):
    ada = login("ada")
    before = lab.value("boston", WAITING, old)
    stanza_id = ada.message(HUGO, unique("gone"))
    waits(lab, "boston", old, before + 1)
    lab.hedgerow("boston", "installation", "remove", "old", "--force")
    condition, why, sender = once(ada, stanza_id, login("bob"))
    assert (condition, why, sender) == ("service-unavailable", "this person's installation is not configured", HUGO)
    waits(lab, "boston", old, 0)


def test_what_waits_for_a_removed_installation_follows_who_has_moved(lab, login, old):
    ada, hugo = login("ada"), login("hugo")
    text = unique("moved")
    before = lab.value("boston", WAITING, old)
    sent = [ada.message(HUGO, f"{text} {i}") for i in range(5)]
    waits(lab, "boston", old, before + 5)
    lab.set_entry("beta", "hugo", "imInstallation", "ejabberd-beta")
    lab.synced("boston", "beta")
    lab.hedgerow("boston", "installation", "remove", "old")
    hugo.wait_body(f"{text} 4")
    there_and_back(ada, hugo)
    assert body_order(hugo, text) == [f"{text} {i}" for i in range(5)]
    assert not [stanza_id for stanza_id in sent if ada.errors(stanza_id)]
