# SPDX-License-Identifier: Apache-2.0
"""Mail while things are killed and stopped. What was accepted arrives: what a gateway has answered with 250 in
the chat, what a gateway has committed in a mailbox. Once, but for the window that SMTP and LMTP leave: who
does not hear the 250 sends again, and then it is the same mail, by its Message-ID."""
import os
import re
import threading
from collections import Counter

import pytest

from labkit import SLOW, unique, wait_until
from mailkit import Lmtp, Mailbox, Mta, body, letter, post, vouched
from xmpp import CLIENT

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")

MARIT = "marit.adams@example.com"  # carried by amsterdam; no chat
TO_BOB = "bob.baker@chat.example.com"
CHATTERS = ("bob", "dave", "fay", "hugo", "jane")  # of boston: what they say is committed there, then linked
MESSAGES, LETTERS = 40, 60  # of each chatter; of marit
UNDER_WAY = 64  # mails that a gateway has under way at once: its slots


def texts(client, word):
    return [text for text in (s.findtext(CLIENT + "body") or "" for s in client.all(
        lambda s: s.tag == CLIENT + "message" and s.get("type") != "error")) if word in text]


def there_and_back(client, address, other):
    """Whatever was on its way before has come when this returns."""
    text = unique("there")
    client.message(address, text)
    other.wait_body(text)


def test_killed_during_data(lab, login):
    bob, ada, word = login("bob"), login("ada"), unique("data")
    mail = vouched(letter(MARIT, TO_BOB, word))
    lmtp = Lmtp(lab, "amsterdam")
    lmtp.mail(MARIT)
    assert lmtp.rcpt(TO_BOB)[0] == 250
    assert lmtp.docmd("DATA")[0] == 354
    lmtp.send(mail.as_bytes())  # all but the dot
    lab.kill("gateway-amsterdam")
    lmtp.sock.settimeout(30 * SLOW)
    try:
        assert lmtp.sock.recv(1000) == b""  # no answer: the MTA keeps it
    except ConnectionResetError:
        pass
    lab.start("gateway-amsterdam")
    with Lmtp(lab, "amsterdam") as again:
        assert again.deliver(mail, [TO_BOB], sender=MARIT)[0][0] == 250
    bob.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail", 60)
    there_and_back(ada, "bob.baker@example.com", bob)
    assert len(texts(bob, word)) == 1


def test_killed_after_250(lab, login):
    """The mail has been answered and has not left the site."""
    bob, ada, words = login("bob"), login("ada"), [unique("kept") for _ in range(20)]
    lab.wait_link()
    lab.link("stall")
    try:
        with Lmtp(lab, "amsterdam") as lmtp:
            for word in words:
                assert lmtp.deliver(vouched(letter(MARIT, TO_BOB, word)), [TO_BOB], sender=MARIT)[0][0] == 250
            lab.kill("gateway-amsterdam")  # QUIT finds nobody
        lab.start("gateway-amsterdam")
    finally:
        lab.link("flow")
    lab.wait_link()
    bob.wait(lambda s: words[-1] in (s.findtext(CLIENT + "body") or ""), "the last", 60)
    there_and_back(ada, "bob.baker@example.com", bob)
    assert [len(texts(bob, word)) for word in words] == [1] * len(words)


class Poster(threading.Thread):
    """Marit writes to each of the chatters in turn, by Postfix, again when it is not there."""

    def __init__(self, lab, mark):
        super().__init__(daemon=True)
        self.lab, self.mark = lab, mark
        self.taken = 0

    def run(self):
        for n in range(LETTERS):
            name = CHATTERS[n % len(CHATTERS)]
            mail = letter(MARIT, f"{name}.baker@chat.example.com", f"{self.mark} letter {n}.")
            wait_until(lambda mail=mail: self.post(mail), "Postfix to take it", 60)
            self.taken += 1

    def post(self, mail):
        try:
            post(self.lab, mail, MARIT)
            return True
        except (OSError, EOFError):  # smtplib's are OSErrors
            return False


def test_nothing_accepted_is_lost_while_everything_fails_in_turn(lab, login, mail_setting):
    mail_setting("amsterdam", "example.com", hourly=10000, digest=100)
    clients = {name: login(name) for name in CHATTERS}
    box, mark = Mailbox(lab, MARIT), unique("storm")
    poster = Poster(lab, mark)

    def say(first, last):
        for n in range(first, last):
            for client in clients.values():
                client.message(MARIT, f"{mark} {client.local} {n}.")

    def sent():
        return [mail for mail in box.new() if mark in body(mail)]

    def said():
        """Each message, by the Message-IDs that it came under: several are one mail where they have waited."""
        ids = {}
        for mail in sent():
            for one in re.findall(mark + r" \w+ \d+\.", body(mail)):
                ids.setdefault(one, set()).add(mail["Message-ID"])
        return ids

    kills, part = 3, MESSAGES // 5
    poster.start()
    say(0, part)
    for turn in range(kills):
        wait_until(lambda turn=turn: len(said()) > turn * part, "mails on their way", 60)
        lab.kill("gateway-amsterdam")
        lab.start("gateway-amsterdam")
        say((turn + 1) * part, (turn + 2) * part)
    lab.stop("postfix")
    say(4 * part, MESSAGES)
    wait_until(lambda: lab.value("amsterdam", "SELECT state FROM hedgerow.mail_status WHERE domain = 'example.com'")
               == "away", "the gateway to notice", 60)
    lab.stop("postgres-amsterdam")
    lab.start("postfix")
    lab.start("postgres-amsterdam")
    poster.join(120 * SLOW)
    assert poster.taken == LETTERS

    expected = {f"{mark} {name} {n}." for name in CHATTERS for n in range(MESSAGES)}

    wait_until(lambda: not expected - said().keys(), "all to be mailed", 120)
    for name, client in clients.items():
        try:
            client.wait_count(lambda s: f"{mark} letter " in (s.findtext(CLIENT + "body") or ""), LETTERS // len(CHATTERS),
                              f"letters to {name}", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{Mta(lab).story()}") from error
    for n in range(LETTERS):
        assert texts(clients[CHATTERS[n % len(CHATTERS)]], f"{mark} letter {n}."), n
    # nobody got an error; what came twice was under way when the gateway was killed, and is the same mail
    assert not [1 for client in clients.values() for s in client.all(lambda s: s.get("type") == "error")]
    by_id = Counter(mail["Message-ID"] for mail in sent())
    assert {one: len(ids) for one, ids in said().items()} == dict.fromkeys(expected, 1)
    assert sum(by_id.values()) - len(by_id) <= kills * UNDER_WAY
