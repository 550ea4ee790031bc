# SPDX-License-Identifier: Apache-2.0
"""What somebody without chat is mailed is nowhere else: all of it goes, in as many mails as it takes, and one mail that
the smarthost chokes on keeps nothing from going."""
import os
import threading

import pytest

from labkit import unique, wait_until
from mailkit import Lmtp, body, letter, vouched
from test_mail_copies import (DEFERRED, KATE, MARIT, QUEUED, fixture_kate, fixture_smarthost_of,  # noqa: F401
                              later, now)
from test_mail_reports import report

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")


def nothing_waits(lab, site):
    wait_until(lambda: lab.value(site, QUEUED) == 0 and lab.value(site, DEFERRED) == 0, "all to be settled", 60)


def said(smarthost, words):
    """Those of the words that were taken, in order, by mail."""
    mails = [body(mail) for _, mail in smarthost.taken]
    return [[word for word in words if word in mail] for mail in mails]


def wait_deferred(lab, site, count):
    wait_until(lambda: lab.value(site, DEFERRED) == count, f"{count} to be deferred")


def test_what_a_digest_does_not_hold_goes_in_the_next(lab, login, smarthost_of):
    bob, smarthost = login("bob"), smarthost_of("amsterdam", digest=3)
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    words = [unique(f"w{n}") for n in range(7)]
    bob.message(MARIT, words[0])
    wait_deferred(lab, "amsterdam", 1)
    later(lab, "amsterdam")
    for word in words[1:]:
        bob.message(MARIT, word)
    wait_deferred(lab, "amsterdam", 7)
    now(lab, "amsterdam")
    smarthost.wait_taken(lambda _, mail: words[-1] in body(mail), "the last")
    nothing_waits(lab, "amsterdam")
    mails = said(smarthost, words)
    assert sum(mails, []) == words and mails[0] == words[:1]  # which goes again as it was
    assert max(len(mail) for mail in mails) == 3
    assert not any("wait for you" in body(mail) for _, mail in smarthost.taken)


def test_a_report_is_about_what_its_mail_says(lab, login, smarthost_of):
    """And not about what the next says; what says nothing, as that somebody is typing, is in none."""
    bob, smarthost = login("bob"), smarthost_of("amsterdam", digest=2)
    words, busy = [unique(f"m{n}") for n in range(4)], threading.Event()
    smarthost.on_data = lambda mail: words[0] not in body(mail) or busy.wait(60)
    bob.message(MARIT, words[0])
    smarthost.wait_attempts(1)
    bob.send(f"<message to='{MARIT}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
    ids = [bob.message(MARIT, word) for word in words[1:]]
    wait_until(lambda: lab.value("amsterdam", QUEUED) == 5, "all of them to wait")
    busy.set()
    mail = smarthost.wait_taken(lambda _, one: words[1] in body(one), "the second mail")
    smarthost.wait_taken(lambda _, one: words[3] in body(one), "the third mail")
    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(report(mail), [mail["Reply-To"].addresses[0].addr_spec], sender="")
        assert code == 250, text
    for stanza_id in ids[:2]:
        bob.wait_error(stanza_id)
    bob.round_trip()
    assert [len(bob.errors(one)) for one in ids] == [1, 1, 0]


def test_a_mail_that_the_smarthost_chokes_on_waits_and_the_others_go(lab, login, smarthost_of, kate):
    """Its content filter dies of one mail: more than there is room for in memory come after it."""
    ada, bob, smarthost = login("ada"), login("bob"), smarthost_of("amsterdam", hourly=1000)
    poison, words = unique("poison"), [unique(f"w{n}") for n in range(70)]

    def choke(mail):
        if poison in body(mail):
            raise ConnectionError

    smarthost.on_data = choke
    stanza_id = ada.message(KATE, poison)
    smarthost.wait_attempts(1)
    for word in words:
        bob.message(MARIT, word)
        smarthost.wait_taken(lambda _, mail, word=word: word in body(mail), word)
        if lab.value("amsterdam", DEFERRED) == 1:
            later(lab, "amsterdam")
    wait_deferred(lab, "amsterdam", 1)
    wait_until(lambda: lab.value("amsterdam", QUEUED) == 0, "the others to be settled")
    tried = smarthost.attempts.count(KATE)
    assert 2 <= tried <= 6, tried
    smarthost.on_data = None
    now(lab, "amsterdam")
    smarthost.wait_taken(lambda _, mail: poison in body(mail), "the mail itself")
    nothing_waits(lab, "amsterdam")
    assert not ada.errors(stanza_id)
    lab.sql("amsterdam", "DELETE FROM hedgerow.mail_thread WHERE person = %s", MARIT)  # who has had many in this hour


@pytest.mark.parametrize("answer", ["421 4.7.0 go away", "530 5.7.0 log in first"])
def test_one_recipient_whom_the_smarthost_ends_the_session_for(lab, login, smarthost_of, kate, answer):
    ada, bob, smarthost = login("ada"), login("bob"), smarthost_of("amsterdam")
    smarthost.answers["rcpt"] = [answer] * 2
    word = unique("other")
    ada.message(KATE, unique("first"))
    wait_deferred(lab, "amsterdam", 1)
    later(lab, "amsterdam")
    assert smarthost.attempts == [KATE, KATE]
    bob.message(MARIT, word)
    smarthost.wait_taken(lambda _, mail: word in body(mail), "what goes to another")
    now(lab, "amsterdam")
    nothing_waits(lab, "amsterdam")


def test_who_waits_for_a_connection_does_not_try_all_the_time(lab, login, smarthost_of, kate):
    """One is there, and its mail takes long; the smarthost takes no other."""
    ada, bob, smarthost = login("ada"), login("bob"), smarthost_of("amsterdam")
    slow, other, busy = unique("slow"), unique("other"), threading.Event()
    smarthost.on_data = lambda mail: slow not in body(mail) or busy.wait(60)
    ada.message(KATE, slow)
    smarthost.wait_attempts(1)
    smarthost.is_full = True
    bob.message(MARIT, other)
    wait_until(lambda: smarthost.turned_away >= 2, "a second attempt")
    for _ in range(10):
        bob.round_trip()
    assert smarthost.turned_away < 10
    smarthost.is_full = False
    smarthost.wait_taken(lambda _, mail: other in body(mail), "the other, as there is another connection")
    busy.set()
    smarthost.wait_taken(lambda _, mail: slow in body(mail), "the slow one")


def test_a_report_about_an_error_tells_nobody(lab, login, smarthost_of):
    """What the mail said was an answer to a mail: its sender has sent no message of that id."""
    ada, smarthost = login("ada"), smarthost_of("amsterdam")
    stanza_id, word = unique("id"), unique("failed")
    ada.send(f"<message type='error' to='{MARIT}' id='{stanza_id}'><error type='cancel'>"
             "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
             f"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{word}</text></error></message>")
    mail = smarthost.wait_taken(lambda _, one: word in body(one), "the mail")
    mark = lab.log_mark("gateway-amsterdam")
    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(report(mail), [mail["Reply-To"].addresses[0].addr_spec], sender="")
        assert code == 250, text
    lab.wait_log(mark, "event=mail.dropped .*whose sender is to be told")
    ada.round_trip()
    assert not ada.errors(stanza_id)


def test_a_check_that_could_not_be_made_is_for_later(lab):
    to = "ada.adams@chat.example.com"
    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(vouched(letter(MARIT, to, "x"), "dmarc=temperror"), [to])
    assert code == 451 and "could not be checked" in text


def test_a_mail_that_may_have_arrived_goes_again_as_it_was(lab, login, smarthost_of):
    """The gateway is killed while a mail is under way and another message waits behind it."""
    bob, smarthost = login("bob"), smarthost_of("amsterdam")
    first, second = unique("first"), unique("second")
    seen, busy = threading.Event(), threading.Event()

    def hold(mail):
        if first in body(mail) and not seen.is_set():
            seen.set()
            busy.wait(60)

    smarthost.on_data = hold
    bob.message(MARIT, first)
    assert seen.wait(30)
    bob.message(MARIT, second)
    wait_until(lambda: lab.value("amsterdam", QUEUED) == 2, "both to wait")
    lab.kill("gateway-amsterdam")
    busy.set()
    lab.start("gateway-amsterdam")
    smarthost.wait_taken(lambda _, mail: second in body(mail), "the second", 60)
    nothing_waits(lab, "amsterdam")
    ids = {}
    for _, mail in smarthost.taken:
        ids.setdefault(mail["Message-ID"], set()).add(tuple(word for word in (first, second) if word in body(mail)))
    assert sorted(ids.values(), key=sorted) == sorted([{(first,)}, {(second,)}], key=sorted)
