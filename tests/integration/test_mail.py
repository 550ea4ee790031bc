# SPDX-License-Identifier: Apache-2.0
"""People without chat, people away, and replies that come back, with a real Postfix."""
import json
import os
import re
import smtplib
import threading
import uuid

import pytest

from labkit import unique, wait_until
from mailkit import Lmtp, Mailbox, Mta, Smarthost, body, letter, post, reply, vouched, wait_config
from xmpp import CLIENT

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")

MARIT = "marit.adams@example.com"  # forest alpha, no chat
NIELS = "niels.baker@example.com"  # forest beta, no chat
ADA = "ada.adams@example.com"
BOB = "bob.baker@example.com"
RECEIPT = "{urn:xmpp:receipts}"


def test_a_conversation_by_mail(lab, login):
    """Somebody without chat is mailed at once; the answer comes back into the chat, and it goes on."""
    bob, box = login("bob"), Mailbox(lab, MARIT)
    bob.message(MARIT, "Grüße: are you there?")
    mail = box.wait_text("Grüße: are you there?")
    assert "Bob Baker" in str(mail["From"]) and mail["From"].addresses[0].addr_spec == "chat@chat.example.com"
    assert mail["To"].addresses[0].addr_spec == MARIT
    assert re.match(r"reply[a-z2-7]{48}@chat\.example\.com$", mail["Reply-To"].addresses[0].addr_spec)

    answer = reply(mail, f"Marit Adams <{MARIT}>", "By mail: ja, hier bin ich.")
    post(lab, answer, MARIT)
    said = bob.wait(lambda s: "hier bin ich" in (s.findtext(CLIENT + "body") or ""), "the reply in the chat")
    assert said.get("from").split("/")[0] == MARIT and said.get("type") == "chat"

    bob.message(MARIT, "Good to know.")
    second = box.wait_text("Good to know.")
    assert second["In-Reply-To"].strip() == answer["Message-ID"]
    assert mail["Message-ID"] in second["References"] and answer["Message-ID"] in second["References"]
    wait_until(lambda: lab.value("amsterdam", "SELECT sent FROM hedgerow.mail_threads WHERE person = %s AND peer = %s",
                                 MARIT, BOB) >= 2, "the mails to be counted")


def test_the_other_site_carries_its_own(lab, login):
    ada, box = login("ada"), Mailbox(lab, NIELS)
    ada.message(NIELS, "Over the link and by mail.")
    mail = box.wait_text("Over the link and by mail.")
    assert mail["Reply-To"].addresses[0].domain == "chat.boston.example"
    post(lab, reply(mail, f"Niels <{NIELS}>", "And back."), NIELS)
    ada.wait(lambda s: s.findtext(CLIENT + "body") == "And back.", "the reply at the other site")


def test_mail_to_a_chat_address(lab, login):
    lab.sql("amsterdam", "DELETE FROM hedgerow.mail_thread WHERE person = %s AND peer = %s", MARIT, ADA)
    bob = login("bob")
    post(lab, letter(f"Marit <{MARIT}>", "bob.baker@chat.boston.example", "Hello Bob.", Subject="Lunch"), MARIT)
    # marit is of amsterdam, which carries her mail: boston may not speak for her
    ada = login("ada")
    post(lab, letter(f"Marit <{MARIT}>", "ada.adams@chat.example.com", "Hello Ada.", Subject="Lunch"), MARIT)
    said = ada.wait(lambda s: "Hello Ada." in (s.findtext(CLIENT + "body") or ""), "a mail in the chat")
    assert said.findtext(CLIENT + "body").startswith("Lunch\n") and said.get("from").startswith(MARIT)
    assert not bob.all(lambda s: "Hello Bob." in (s.findtext(CLIENT + "body") or ""))


def test_the_original_of_a_mail_is_kept_where_the_domain_says_so(lab, login, mail_setting):
    mail_setting("amsterdam", "example.com", originals="1 day")
    ada = login("ada")
    mail = letter(f"Marit <{MARIT}>", "ada.adams@chat.example.com", "See the plan.")
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="plan.pdf")
    post(lab, mail, MARIT)
    ada.wait(lambda s: "See the plan." in (s.findtext(CLIENT + "body") or ""), "a mail in the chat")
    kept = lab.hedgerow("amsterdam", "mail", "original", mail["Message-ID"])
    assert "See the plan." in kept and "filename=\"plan.pdf\"" in kept and "JVBERi0=" in kept


def test_who_gives_a_receipt_is_not_mailed_and_who_does_not_is(lab, login, mail_setting):
    mail_setting("boston", "example.com", away="2 seconds")
    ada, bob, box = login("ada"), login("bob"), Mailbox(lab, BOB)
    here, away = unique("here"), unique("away")
    ada.message(BOB, here)
    message = bob.wait_body(here)
    assert message.find(RECEIPT + "request") is not None  # the gateway asks where the client did not
    bob.send(f"<message to='{ADA}' type='chat'><received xmlns='urn:xmpp:receipts' id='{message.get('id')}'/></message>")
    ada.message(BOB, away)
    bob.wait_body(away)
    mail = box.wait_text(away)
    assert mail["Auto-Submitted"] and not [one for one in box.new() if here in body(one)]
    ada.round_trip()
    assert not ada.all(lambda s: s.find(RECEIPT + "received") is not None)  # the answer was ours

    # a receipt that the client asked for goes to the client, and takes the mail away too
    asked = unique("asked")
    stanza_id = ada.message(BOB, asked, extra="<request xmlns='urn:xmpp:receipts'/>")
    bob.wait_body(asked)
    bob.send(f"<message to='{ADA}' type='chat'><received xmlns='urn:xmpp:receipts' id='{stanza_id}'/></message>")
    ada.wait(lambda s: s.find(RECEIPT + "received") is not None, "the receipt")
    wait_until(lambda: lab.value("boston", "SELECT count(*) FROM hedgerow.deferred") == 0, "the copy to be gone")


def test_a_digest_of_what_waits_and_an_answer_that_takes_it_away(lab, login, mail_setting):
    mail_setting("boston", "example.com", away="2 seconds", digest=2)
    ada, bob, box = login("ada"), login("bob"), Mailbox(lab, BOB)
    word = unique("digest")
    for n in range(4):
        ada.message(BOB, f"{word} {n}")
    bob.wait_body(f"{word} 3")
    mail = box.wait_text(f"{word} 0")
    assert f"{word} 1" in body(mail) and f"{word} 2" not in body(mail)  # the cap; the others are counted
    assert len([one for one in box.new() if word in body(one)]) == 1

    later = unique("later")
    ada.message(BOB, later)
    bob.wait_body(later)
    bob.message(ADA, "I am here after all.")
    ada.wait_body("I am here after all.")
    assert lab.value("boston", "SELECT count(*) FROM hedgerow.deferred WHERE awaits IS NOT NULL") == 0


def test_what_waits_for_a_receipt_survives_a_kill(lab, login, mail_setting):
    mail_setting("boston", "example.com", away="5 seconds")
    ada, bob, box = login("ada"), login("bob"), Mailbox(lab, BOB)
    lost, kept = unique("lost"), unique("kept")
    ada.message(BOB, kept)
    ada.message(BOB, lost)
    first, second = bob.wait_body(kept), bob.wait_body(lost)
    lab.kill("gateway-boston")
    lab.start("gateway-boston")
    # the answer to what the gateway asked before it died is still its own
    bob.send(f"<message to='{ADA}' type='chat'><received xmlns='urn:xmpp:receipts' id='{first.get('id')}'/></message>")
    assert second is not None
    box.wait_text(lost)
    assert not [one for one in box.new() if kept in body(one)]
    ada.round_trip()
    assert not ada.all(lambda s: s.find(RECEIPT + "received") is not None)


COMMANDS = "http://jabber.org/protocol/commands"


def test_people_choose_for_themselves(lab, login, mail_setting):
    """By an ad-hoc command to their e-mail domain, found by service discovery."""
    mail_setting("boston", "example.com", away="1 second")
    ada, bob, box = login("ada"), login("bob"), Mailbox(lab, BOB)

    def command(content="", action="execute"):
        return bob.wait_id(bob.query("example.com", f"<command xmlns='{COMMANDS}' node='mail' action='{action}'>"
                                                    f"{content}</command>", kind="set"))[0]

    def choose(mode):
        answer = command("<x xmlns='jabber:x:data' type='submit'><field var='mode'>"
                         f"<value>{mode}</value></field></x>", "complete")
        assert answer.get("status") == "completed", mode

    items = bob.wait_id(bob.query("example.com", f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>"))
    assert items.find(".//*[@node='mail']").get("jid") == "example.com"
    form = command()
    assert form.get("status") == "executing"
    assert form.findtext(".//{jabber:x:data}field/{jabber:x:data}value") == "domain"
    try:
        choose("notice")
        secret = unique("secret")
        ada.message(BOB, secret)
        notice = box.wait(lambda mail: "Ada Adams" in str(mail["From"]), "a notice")
        assert secret not in body(notice)
        choose("off")
        before = lab.metric("boston", "mail_suppressed_total")
        ada.message(BOB, unique("unwanted"))
        wait_until(lambda: lab.metric("boston", "mail_suppressed_total") > before, "the metric")
        assert len(box.new()) == 1
        assert command().findtext(".//{jabber:x:data}field/{jabber:x:data}value") == "off"
    finally:
        choose("domain")


def test_a_full_mailbox_becomes_an_error(lab, login):
    """Postfix takes the mail and finds out later: its report becomes the error of the message."""
    bob = login("bob")
    with Mta(lab).full(MARIT):
        stanza_id = bob.message(MARIT, unique("full"))
        condition, text, sender = bob.wait_error(stanza_id, seconds=40)
        assert condition == "recipient-unavailable" and "5.2.2" in text and sender.startswith(MARIT)


@pytest.fixture
def smarthost(lab, mail_setting):
    """A smarthost of the test for example.com at amsterdam."""
    one = Smarthost()
    mail_setting("amsterdam", "example.com", port=one.port, tls="none")
    yield one
    one.close()


def test_a_smarthost_that_defers_and_refuses(lab, login, smarthost):
    bob = login("bob")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    first, second = unique("first"), unique("second")
    bob.message(MARIT, first)
    smarthost.wait_attempts(1)
    bob.message(MARIT, second)  # waits behind the first
    mail = smarthost.wait_taken(lambda recipient, mail: first in body(mail), "the deferred mail")
    assert second in body(mail) or smarthost.wait_taken(lambda _, one: second in body(one), "the second")
    assert [one for _, one in smarthost.taken if first in body(one) or second in body(one)][0] is mail

    smarthost.answers["data"] = ["554 5.7.1 not wanted here"]
    condition, text, _ = bob.wait_error(bob.message(MARIT, unique("refused")))
    assert condition == "recipient-unavailable" and "not wanted here" in text


def test_a_smarthost_that_is_away(lab, login, smarthost):
    """Nothing is lost, nothing bounced, and the state says why."""
    bob = login("bob")
    smarthost.close()
    words = [unique("patient") for _ in range(3)]
    for word in words:
        bob.message(MARIT, word)
    wait_until(lambda: lab.value("amsterdam", "SELECT state FROM hedgerow.mail_status WHERE domain = 'example.com'")
               == "away", "the state away")
    again = Smarthost()
    lab.hedgerow("amsterdam", "domain", "mail", "set", "example.com", f"port={again.port}")
    for word in words:
        again.wait_taken(lambda _, mail, word=word: word in body(mail), word)
    again.close()


def test_mail_that_is_no_longer_carried(lab, login, smarthost):
    """What waits goes back to its sender, once."""
    bob = login("bob")
    smarthost.close()
    stanza_id = bob.message(MARIT, unique("stranded"))
    row = lab.sql("amsterdam", "SELECT to_jsonb(m) FROM hedgerow.mail_domain m WHERE site = 'amsterdam'"
                               " AND domain = 'example.com'")[0][0]
    wait_until(lambda: lab.value("amsterdam", "SELECT depth FROM hedgerow.queues WHERE queue = 'mail:example.com'"),
               "the queue")
    lab.hedgerow("amsterdam", "domain", "mail", "remove", "example.com")
    try:
        condition, text, _ = bob.wait_error(stanza_id)
        assert condition == "recipient-unavailable" and "no mail is set up" in text
    finally:
        lab.sql("amsterdam", "INSERT INTO hedgerow.mail_domain SELECT * FROM"
                             " jsonb_populate_record(NULL::hedgerow.mail_domain, %s::jsonb)", json.dumps(row))
        wait_config(lab, "amsterdam")
    assert len(bob.errors(stanza_id)) == 1


def test_a_slow_mail_does_not_make_others_go_twice(lab, login, smarthost):
    """Killed while a first mail is under way and a second was taken: the second is not sent again."""
    bob = login("bob")
    slow, quick = unique("slow"), unique("quick")
    held = threading.Event()
    seen = []

    def hold(mail):
        seen.append(body(mail))
        if slow in body(mail) and len([one for one in seen if slow in one]) == 1:
            held.wait(60)

    smarthost.on_data = hold
    bob.message(MARIT, slow)
    wait_until(lambda: any(slow in one for one in seen), "the slow mail")
    try:
        lab.set_entry("alpha", "kate", "imInstallation", "none")
        lab.synced("amsterdam", "alpha")
        bob.message("kate.adams@example.com", quick)
        smarthost.wait_taken(lambda recipient, mail: recipient == "kate.adams@example.com", "the quick mail")
        wait_until(lambda: lab.value("amsterdam", "SELECT count(*) FROM hedgerow.mail_message WHERE taken > 0"
                                                  " AND thread IN (SELECT id FROM hedgerow.mail_thread"
                                                  " WHERE person = 'kate.adams@example.com')"), "the note of it")
        lab.kill("gateway-amsterdam")
        lab.start("gateway-amsterdam")
        held.set()
        smarthost.wait_taken(lambda _, mail: slow in body(mail), "the slow mail, again", 60)
        wait_until(lambda: lab.value("amsterdam", "SELECT depth FROM hedgerow.queues"
                                                  " WHERE queue = 'mail:example.com'") == 0, "the queue")
        assert len([one for one in seen if quick in one]) == 1
    finally:
        held.set()
        lab.set_entry("alpha", "kate", "imInstallation", "prosody-alpha")
        lab.synced("amsterdam", "alpha")


def test_killed_while_sending(lab, login, smarthost):
    """Before the smarthost's 250 the mail goes again; it is the same mail, by its Message-ID."""
    bob = login("bob")
    word = unique("killed")
    ids = []

    def kill_once(mail):
        if word in body(mail):
            ids.append(mail["Message-ID"])
            if len(ids) == 1:
                lab.kill("gateway-amsterdam")

    smarthost.on_data = kill_once
    bob.message(MARIT, word)
    wait_until(lambda: ids, "the first attempt")
    wait_until(lambda: not (lab.directory / "pid" / "gateway-amsterdam").exists(), "the kill")
    lab.start("gateway-amsterdam")
    wait_until(lambda: len(ids) >= 2, "the second attempt", 60)
    assert len(set(ids)) == 1
    after = unique("after")
    lab.wait_link()
    bob.message(MARIT, after)
    smarthost.wait_taken(lambda _, mail: after in body(mail), "what comes after", 60)
    assert len(ids) == 2


def test_postfix_stopped_for_a_while(lab, login):
    bob, box = login("bob"), Mailbox(lab, MARIT)
    bob.message(MARIT, "before")
    mail = box.wait_text("before")
    lab.stop("postfix")
    word = unique("meanwhile")
    bob.message(MARIT, word)
    lab.start("postfix")
    box.wait_text(word)
    post(lab, reply(mail, MARIT, "after the stop"), MARIT)
    bob.wait(lambda s: "after the stop" in (s.findtext(CLIENT + "body") or ""), "the reply")


# --- LMTP itself ---

def test_who_may_not_is_refused_at_once(lab):
    with Lmtp(lab, "amsterdam") as lmtp:
        mail = letter(MARIT, ADA, "x")
        for recipient, code in (("nobody@chat.example.com", 550), ("ada.adams@elsewhere.example", 550),
                                ("reply" + "a" * 48 + "@chat.example.com", 550),
                                ("marit.adams@chat.example.com", 550), ("not an address@", 501)):
            (got, text), = lmtp.deliver(mail, [recipient])
            assert got // 100 == code // 100, (recipient, got, text)


def test_a_client_that_goes_on_before_it_is_answered(lab):
    """What it says next runs as soon as the last of its recipients is looked up, and may end the transaction."""
    def rcpt(count):
        return "".join(f"RCPT TO:<{unique('nobody')}@chat.example.com>\r\n" for _ in range(count))

    with Lmtp(lab, "amsterdam") as lmtp:
        lmtp.send(f"MAIL FROM:<a@example.org>\r\n{rcpt(5)}RSET\r\nMAIL FROM:<a@example.org>\r\n{rcpt(5)}NOOP\r\n")
        answers = [lmtp.getreply()[0] for _ in range(14)]
    assert answers == [250, *[550] * 5, 250, 250, *[550] * 5, 250]


def test_a_forged_colleague_is_refused(lab, login):
    ada = login("ada")
    to = "ada.adams@chat.example.com"
    with Lmtp(lab, "amsterdam") as lmtp:
        forged = unique("forged")
        answers = [
            lmtp.deliver(letter(f"Bob <{BOB}>", to, forged), [to]),  # nobody vouches
            lmtp.deliver(vouched(letter(f"Marit <{MARIT}>", to, forged), "dmarc=fail"), [to]),
            lmtp.deliver(letter(f"Marit <{MARIT}>", to, forged,
                                Authentication_Results="mx.evil.example; dmarc=pass header.from=example.com"), [to]),
            lmtp.deliver(vouched(letter("Eve <eve@elsewhere.example>", to, forged)), [to]),  # no outsiders
        ]
        assert [answer[0][0] for answer in answers] == [550] * 4, answers
        good = unique("good")
        assert lmtp.deliver(vouched(letter(f"Marit <{MARIT}>", to, good)), [to])[0][0] == 250
        ada.wait(lambda s: good in (s.findtext(CLIENT + "body") or ""), "the vouched mail")
        assert not ada.all(lambda s: forged in (s.findtext(CLIENT + "body") or ""))


def test_automatic_mails_go_no_further(lab, login):
    ada = login("ada")
    to = "ada.adams@chat.example.com"
    before = lab.metric("amsterdam", "mail_received_dropped_total")
    with Lmtp(lab, "amsterdam") as lmtp:
        mails = [(vouched(letter(MARIT, to, "I am away", Auto_Submitted="auto-replied")), MARIT),
                 (vouched(letter(MARIT, to, "news", List_Id="<l.example.com>", Precedence="list")), MARIT),
                 (vouched(letter(MARIT, to, "bounced")), "<>")]
        for mail, sender in mails:
            assert lmtp.deliver(mail, [to], sender=sender if sender != "<>" else "")[0][0] == 250
    wait_until(lambda: lab.metric("amsterdam", "mail_received_dropped_total") >= before + 3, "the metric")
    ada.round_trip()
    assert not ada.all(lambda s: (s.findtext(CLIENT + "body") or "") in ("I am away", "news", "bounced"))


def test_a_thousand_recipients_and_a_large_mail(lab, login):
    ada = login("ada")
    to = "ada.adams@chat.example.com"
    accounts = {one.address for one in lab.accounts().values()} - {ADA}  # they would see it at their next login
    people = [row[0] for row in lab.sql("amsterdam", "SELECT address FROM hedgerow.routable WHERE kind = 'address'"
                                        " AND address LIKE '%%@example.com' AND enabled AND installation IS NOT NULL")
              if row[0] not in accounts]
    rules = len(people)
    recipients = (["nobody%d@chat.example.com" % n for n in range(1000 - rules)]
                  + [person.replace("@example.com", "@chat.example.com") for person in people])
    with Lmtp(lab, "amsterdam") as lmtp:
        word = unique("everybody")
        answers = lmtp.deliver(vouched(letter(f"Marit <{MARIT}>", to, word)), recipients)
        assert len(answers) == 1000
        assert [code for code, _ in answers[:1000 - rules]] == [550] * (1000 - rules)
        assert [code for code, _ in answers[1000 - rules:]] == [250] * rules
        ada.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail to everybody")

        large = vouched(letter(f"Marit <{MARIT}>", to, unique("large")))
        large.add_attachment(os.urandom(18 * 1024 * 1024), maintype="application", subtype="pdf",
                             filename="plan.pdf")
        assert lmtp.deliver(large, [to])[0][0] == 250
        ada.wait(lambda s: "plan.pdf" in (s.findtext(CLIENT + "body") or ""), "the name of the attachment")
        too_large = b"From: x@example.com\r\n\r\n" + (b"x" * 998 + b"\r\n") * 38000
        with pytest.raises((smtplib.SMTPException, AssertionError)) as refused:
            lmtp.deliver(too_large, [to], options=[f"SIZE={len(too_large)}"])
        assert "5.3.4" in str(refused.value)


def test_attachments_where_they_are_refused(lab, login, mail_setting):
    """The picture in a signature is none: it comes with the text, and is named."""
    mail_setting("amsterdam", "example.com", attachments="refuse")
    ada = login("ada")
    to, word = "ada.adams@chat.example.com", unique("logo")

    def mail(*others):
        made = vouched(letter(f"Marit <{MARIT}>", to, word))
        made.add_alternative(f"<p>{word}</p><img src='cid:logo@example.com'>", subtype="html")
        made.get_payload()[1].add_related(b"GIF89a", "image", "gif", cid="<logo@example.com>", filename="logo.gif",
                                          disposition="inline")
        for name in others:
            made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename=name)
        return made

    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(mail("plan.pdf"), [to])
        assert code == 550 and "attachments are not taken" in text
        assert lmtp.deliver(mail(), [to])[0][0] == 250
    ada.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail with a picture")


def test_a_loop_between_domains_ends(lab, login):
    """A mail of ours that comes back to us is not taken again."""
    bob, box = login("bob"), Mailbox(lab, MARIT)
    word = unique("loop")
    bob.message(MARIT, word)
    mail = box.wait_text(word)
    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(mail.as_bytes(), ["ada.adams@chat.example.com"], sender=MARIT)
    assert code == 554 and "5.4.6" in text


def test_outsiders_where_a_rule_lets_them_in(lab, login, mail_setting):
    mail_setting("amsterdam", "example.com", outsiders="true")
    ada = login("ada")
    to, eve = "ada.adams@chat.example.com", f"eve-{uuid.uuid4().hex[:6]}@mail.example"
    with Lmtp(lab, "amsterdam") as lmtp:
        assert lmtp.deliver(vouched(letter(f"Eve <{eve}>", to, "no rule")), [to])[0][0] == 550
        lab.hedgerow("amsterdam", "rule", "add", "eve", "allow", "--from", "outsider:mail.example", "--kind", "message")
        try:
            wait_config(lab, "amsterdam")
            word = unique("outsider")
            assert lmtp.deliver(vouched(letter(f"Eve <{eve}>", to, word)), [to])[0][0] == 250
            said = ada.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail of an outsider")
            address = said.get("from")
            assert address == eve.replace("@", "\\40") + "@example.com"
            # and may be answered: the way leads out of the federation, here to Postfix
            mark = lab.log_mark("gateway-amsterdam")
            ada.message(address, "Hello Eve.")
            lab.wait_log(mark, f"event=mail.(sent|refused|deferred).*{re.escape(eve.split('@')[0])}")
        finally:
            lab.hedgerow("amsterdam", "rule", "remove", "eve")


def test_a_database_that_is_away(lab, login):
    """Nothing is taken that could not be kept: the MTA tries again, and in the end it is there."""
    ada = login("ada")
    to, word = "ada.adams@chat.example.com", unique("database")
    lab.stop("postgres-amsterdam")
    try:
        with Lmtp(lab, "amsterdam") as lmtp:
            (code, _), = lmtp.deliver(vouched(letter(f"Marit <{MARIT}>", to, word)), [to])
            assert code == 451
        post(lab, letter(f"Marit <{MARIT}>", to, word), MARIT)
    finally:
        lab.start("postgres-amsterdam")
    ada.wait(lambda s: word in (s.findtext(CLIENT + "body") or ""), "the mail", 60)
