# SPDX-License-Identifier: Apache-2.0
"""Three e-mail domains of two forests at two sites, with a real Postfix between everybody: what it is given
by its clients, by swaks among them, and what it makes of the answers of the gateways."""
import os
import re
import subprocess

import pytest

from labkit import SLOW, unique, wait_until
from mailkit import Mailbox, Mta, letter, post, reply, wait_config
from xmpp import CLIENT

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")

MARIT = "marit.adams@example.com"  # forest alpha, carried by amsterdam; no chat, as the next three
NIELS = "niels.baker@example.com"  # forest beta, carried by boston
KEES = "kees.evans@alpha.example"  # amsterdam
LOTTE = "lotte.ford@beta.example"  # boston
BOB = "bob.baker@example.com"
OURS, ELSEWHERE, NOWHERE = "127.0.0.2", "127.0.0.3", "127.0.0.9"  # for which domains they may send: lab.d/postfix.sh


def texts(client):
    return [s.findtext(CLIENT + "body") or "" for s in client.all(lambda s: s.tag == CLIENT + "message")]


def swaks(lab, source, sender, to, *options):
    """Sends a mail from an address of loopback; what was said."""
    done = subprocess.run(["swaks", "--server", f"127.0.0.1:{lab.env()['SMTP_PORT']}", "--local-interface", source,
                           "--from", sender, "--to", to, *options], capture_output=True, text=True, check=False,
                          timeout=60 * SLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", name="mail_only")
def fixture_mail_only(lab):
    """People of the forests' own domains who have no chat."""
    moved = [("alpha", "kees.evans", "amsterdam", "prosody-alpha"), ("beta", "lotte.ford", "boston", "ejabberd-beta")]
    for forest, uid, site, _ in moved:
        lab.set_entry(forest, uid, "imInstallation", "none")
        lab.synced(site, forest)
    yield
    for forest, uid, site, installation in moved:
        lab.set_entry(forest, uid, "imInstallation", installation)
        lab.synced(site, forest)


@pytest.mark.parametrize("chatter, address, chat_domain", [
    ("bob", KEES, "chat.alpha.example"), ("ada", LOTTE, "chat.beta.example"),
    ("dave", MARIT, "chat.example.com"), ("carol", NIELS, "chat.boston.example"),
])
def test_each_domain_is_mailed_by_its_carrier_and_answers_into_the_other_forest(lab, login, mail_only, chatter, address,
                                                                              chat_domain):
    client, box = login(chatter), Mailbox(lab, address)
    first, answer, second = unique("first"), unique("answer"), unique("second")
    client.message(address, first, extra="<thread>hedge</thread>")
    mail = box.wait_text(first)
    assert mail["From"].addresses[0].addr_spec == f"chat@{chat_domain}"
    assert mail["Reply-To"].addresses[0].domain == chat_domain

    said = reply(mail, address, f"{answer}\n\n> {first}\n\n-- \nsent from a garden")
    post(lab, said, address)
    seen = client.wait_body(answer)  # the quotation and the signature are gone
    assert seen.get("from") == address and seen.findtext(CLIENT + "thread") == "hedge"

    client.message(seen.get("from"), second)
    mail = box.wait_text(second)
    assert mail["In-Reply-To"].strip() == said["Message-ID"] and mail["Subject"].startswith("Re: ")


@pytest.mark.parametrize("sender, fields", [
    ("", {"Auto_Submitted": "auto-replied (vacation)"}),
    (MARIT, {"Subject": "Automatic reply: chat", "X_Auto_Response_Suppress": "All", "Auto_Submitted": "auto-generated"}),
    (MARIT, {"Precedence": "bulk", "X_Autoreply": "yes"}),
    ("", {}),
], ids=["RFC 3834", "Exchange", "older", "the null sender"])
def test_an_answer_of_a_vacation_program_never_becomes_chat_nor_is_answered(lab, login, sender, fields):
    bob, box = login("bob"), Mailbox(lab, MARIT)
    asked, vacation, real = unique("asked"), unique("vacation"), unique("real")
    bob.message(MARIT, asked)
    mail = box.wait_text(asked)
    mark = lab.log_mark("postfix")
    automatic = letter(MARIT, mail["Reply-To"], vacation, In_Reply_To=mail["Message-ID"], **fields)
    post(lab, automatic, sender)
    lab.wait_log(mark, r"postfix/lmtp.*status=sent")
    post(lab, reply(mail, MARIT, real), MARIT)
    bob.wait_body(real)
    assert not [text for text in texts(bob) if vacation in text]
    assert len(box.new()) == 1
    assert not bob.all(lambda s: s.get("type") == "error")


def test_a_loop_between_the_domains_of_two_gateways_ends_and_the_writer_hears_of_it(lab, login):
    """Marit's mailbox forwards to Hugo's address in the chat, which boston carries."""
    bob, hugo = login("bob"), login("hugo")
    with Mta(lab).forwarding(MARIT, "hugo.baker@chat.boston.example"):
        mark = lab.log_mark("gateway-boston")
        stanza_id = bob.message(MARIT, unique("round"))
        condition, text, sender = bob.wait_error(stanza_id, seconds=40)
        assert "5.4.6" in text and sender.startswith(MARIT), (condition, text)
        lab.wait_log(mark, "event=mail.received_refused .*recipients=1 error=")
    after = unique("after")
    bob.message("hugo.baker@example.com", after)
    hugo.wait_body(after)
    assert len(bob.errors(stanza_id)) == 1 and [text for text in texts(hugo) if text] == [after]


def test_two_robots_that_answer_each_other_are_stopped_by_the_hourly_bound(lab, login, mail_setting):
    """Neither says that it is one: marit's mailbox answers each mail, tom's client each message."""
    mail_setting("amsterdam", "example.com", hourly=3)
    tom, box = login("tom"), Mailbox(lab, MARIT)
    lab.sql("amsterdam", "DELETE FROM hedgerow.mail_thread WHERE peer IN ('tom.baker@example.com', 'fay.baker@example.com')")
    mark = lab.log_mark("gateway-amsterdam")
    tom.message(MARIT, "ping 0")
    for n in range(3):
        mail = box.wait_text(f"ping {n}")
        post(lab, reply(mail, MARIT, f"pong {n}"), MARIT)
        tom.wait_body(f"pong {n}")
        tom.message(MARIT, f"ping {n + 1}")
    line = lab.wait_log(mark, "event=mail.deferred .*hour")
    assert MARIT in line
    stopped = lab.log_mark("postfix")
    post(lab, reply(mail, MARIT, "pong too much"), MARIT)  # nor does the mailbox come through any more
    lab.wait_log(stopped, r"postfix/lmtp.*status=(deferred|bounced).*hour")
    assert len(box.new()) == 3 and "pong too much" not in texts(tom)
    other, word = login("fay"), unique("other")  # and what others write is not held up
    other.message(MARIT, word)
    box.wait_text(word)


def test_an_answer_from_another_domain_than_the_mail_was_written_to_belongs_to_it(lab, login, mail_only):
    """Marit of example.com writes to an alias of somebody of alpha.example; both are amsterdam's."""
    uma, box = login("uma.clark"), Mailbox(lab, MARIT)
    address = lab.value("amsterdam", "SELECT address FROM hedgerow.person WHERE native = %s", uma.account.jid)
    word, answer = unique("word"), unique("answer")
    mail = letter(MARIT, f"{address.split('@')[0]}@chat.{address.split('@')[1]}", word, Subject="Hedges")
    post(lab, mail, MARIT)
    said = uma.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail")
    uma.message(said.get("from"), answer)
    assert box.wait_text(answer)["In-Reply-To"].strip() == mail["Message-ID"]


def test_a_forgery_is_refused_at_data_whatever_it_says_of_itself(lab, login):
    ada, box = login("ada"), Mailbox(lab, BOB)
    to, forged, good = "ada.adams@chat.example.com", unique("forged"), unique("good")
    mark = lab.log_mark("postfix")
    for source, header in [(NOWHERE, "Authentication-Results: mx.lab.example; dmarc=pass header.from=example.com"),
                           (ELSEWHERE, "Sender: eve@elsewhere.example")]:
        swaks(lab, source, BOB, to, "--header", f"From: Bob Baker <{BOB}>", "--add-header", header, "--body", forged)
    wait_until(lambda: len(box.new()) >= 2, "both to be returned")
    for report in box.new():
        assert report.get_content_type() == "multipart/report" and "5.7.1" in report.as_string(), report
    assert len(re.findall(r"said: 550 5\.7\.1 .*end of DATA", lab.log_since(mark))) == 2
    # what the same person's own servers send is taken
    swaks(lab, OURS, MARIT, to, "--header", f"From: Marit Adams <{MARIT}>", "--header", "Subject: From home", "--body", good)
    seen = ada.wait(lambda s: good in (s.findtext(CLIENT + "body") or ""), "the vouched mail")
    assert seen.get("from") == MARIT
    assert not [text for text in texts(ada) if forged in text]


def test_addresses_beyond_ascii_go_both_ways(lab, login, mail_setting):
    """An outsider of elsewhere.example writes to an alias; both are known by RFC 6531 alone."""
    mail_setting("amsterdam", "example.com", outsiders="true")
    ada, outsider = login("ada"), f"jörg-{unique()[-6:]}@elsewhere.example"
    lab.run("ldap", "alpha", stdin="dn: uid=ada,ou=People,dc=alpha,dc=example\nchangetype: modify\nreplace: imAlias\n"
                                   "imAlias: ada@example.com\nimAlias: grüße@example.com\n")
    lab.hedgerow("amsterdam", "rule", "add", "elsewhere", "allow", "--from", "outsider:elsewhere.example",
                 "--kind", "message")
    lab.hedgerow("amsterdam", "rule", "add", "to-elsewhere", "allow", "--to", "outsider:elsewhere.example",
                 "--kind", "message")
    try:
        lab.synced("amsterdam", "alpha")
        wait_config(lab, "amsterdam")
        word, answer = unique("word"), unique("answer")
        box = Mailbox(lab, outsider)
        mail = letter(f"Jörg <{outsider}>", "grüße@chat.example.com", word, Subject="Grüße")
        post(lab, mail, outsider, source=ELSEWHERE)
        said = ada.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail")
        assert said.get("from") == outsider.replace("@", "\\40") + "@example.com"
        ada.message(said.get("from"), answer)
        assert box.wait_text(answer)["In-Reply-To"].strip() == mail["Message-ID"]
    finally:
        for rule in ("elsewhere", "to-elsewhere"):
            lab.hedgerow("amsterdam", "rule", "remove", rule)


def test_a_mail_of_25_mb_is_taken_and_a_larger_one_than_is_allowed_returned(lab, login):
    ada, box = login("ada"), Mailbox(lab, MARIT)
    to = "ada.adams@chat.example.com"
    for name, size in (("plan.pdf", 18), ("film.mov", 30)):  # MiB, a third more on their way
        mail = letter(MARIT, to, "Look at this.", Subject=name)
        mail.add_attachment(os.urandom(size << 20), maintype="application", subtype="octet-stream", filename=name)
        post(lab, mail, MARIT)
    ada.wait(lambda s: "plan.pdf" in (s.findtext(CLIENT + "body") or ""), "the name of the attachment", 60)
    report = box.wait(lambda mail: mail.get_content_type() == "multipart/report", "the larger one back", 60)
    assert "5.3.4" in report.get_payload(1).as_string()
    assert not [text for text in texts(ada) if "film.mov" in text]


def test_a_thousand_addresses_of_one_person_are_answered_each_and_bring_one_message(lab, login):
    ivan = login("ivan")
    crowd = [f"crowd-{n}" for n in range(1000)]
    lab.run("ldap", "alpha", stdin="dn: uid=ivan,ou=People,dc=alpha,dc=example\nchangetype: modify\nreplace: imAlias\n"
                                   + "".join(f"imAlias: {one}@example.com\n" for one in ["ivan", *crowd]))
    try:
        lab.synced("amsterdam", "alpha")
        wait_until(lambda: lab.value("amsterdam", "SELECT count(*) FROM hedgerow.alias WHERE address LIKE %s", "crowd-%") == 1000, "the addresses")
        mark, word = lab.log_mark("postfix"), unique("crowd")
        mail = letter(MARIT, "undisclosed-recipients:;", word, Subject="All")
        post(lab, mail, MARIT, to=[f"{one}@chat.example.com" for one in crowd])
        wait_until(lambda: len(re.findall(r"postfix/lmtp.*status=sent \(250 ", lab.log_since(mark))) == 1000,
                   "an answer for each", 60)
        ivan.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the message")
        ivan.round_trip()
        assert len([text for text in texts(ivan) if word in text]) == 1
        assert len(set(re.findall(r"postfix/lmtp\[\d+\]: (\w+): to=<crowd-", lab.log_since(mark)))) == 1
    finally:
        lab.run("ldap", "alpha", stdin="dn: uid=ivan,ou=People,dc=alpha,dc=example\nchangetype: modify\n"
                                       "replace: imAlias\nimAlias: ivan@example.com\n")
        lab.synced("amsterdam", "alpha")
