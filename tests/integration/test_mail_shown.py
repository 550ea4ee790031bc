# SPDX-License-Identifier: Apache-2.0
"""hedgerow mail test: what it shows is what Postfix gets, or the reason why that is nothing."""
import email
import json
import os
import re

import pytest

from labkit import unique, wait_until
from mailkit import Lmtp, Mailbox, body, letter, vouched, wait_config

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")

MARIT = "marit.adams@example.com"  # of amsterdam, no chat
NIELS = "niels.baker@example.com"  # of boston, no chat
ADA = "ada.adams@example.com"
BOB = "bob.baker@example.com"
OF_POSTFIX = ("return-path", "delivered-to", "x-original-to", "received")


def ask(lab, site, address, *options):
    """The answers by question, what became of it, why, and the mail as bytes."""
    shown = json.loads(lab.hedgerow(site, "--json", "mail", "test", address, *options))
    why = {row["question"]: row for row in shown["answers"]}
    return why, shown["outcome"], shown["reason"], shown["mail"] and shown["mail"].encode()


def normal(mail):
    """The bytes of a mail without what is another for each."""
    head, _, rest = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = re.sub(rb"\n(?![ \t])", b"\0", head).split(b"\0")
    kept = [field for field in fields if field.split(b":")[0].decode().lower() not in OF_POSTFIX + ("date",)]
    text = b"\n".join(kept)
    text, replies = re.subn(rb"reply[a-z2-7]{48}@", b"REPLY@", text)
    text, ids = re.subn(rb"(?m)^Message-Id: <[0-9a-f]{32}@", b"Message-Id: <ID@", text)
    assert (replies, ids) == (1, 1), mail
    return text + b"\n\n" + rest.rstrip(b"\n")


def raw(box, mail):
    name = next(name for name, one in box.known.items() if one is mail)
    return (box.path / name).read_bytes()


def begin_anew(lab, site, person, peer):
    lab.sql(site, "DELETE FROM hedgerow.mail_thread WHERE person = %s AND peer = %s", person, peer)


@pytest.mark.parametrize("mode, language", [("full", "en"), ("full", "de, en"), ("notice", "en"), ("notice", "fr")])
@pytest.mark.parametrize("writer, sender", [("ada", ADA), ("bob", BOB)])  # here, and over the link
def test_the_mail_shown_is_the_mail_sent(lab, login, mail_setting, mode, language, writer, sender):
    mail_setting("amsterdam", "example.com", mode=mode, languages=language)
    begin_anew(lab, "amsterdam", MARIT, sender)
    text = unique("shown") + ": Grüße & <b>你好</b>\nand a second line, 'quoted'\n-- \nthat looks like a signature"
    threads = lab.value("amsterdam", "SELECT count(*) FROM hedgerow.mail_thread")
    box = Mailbox(lab, MARIT)
    why, outcome, reason, shown = ask(lab, "amsterdam", MARIT, "--from", sender, "--text", text)
    assert outcome == "mail" and re.search(rf"MAIL FROM:<reply\w+@chat\.example\.com> RCPT TO:<{MARIT}>", reason)
    assert lab.value("amsterdam", "SELECT count(*) FROM hedgerow.mail_thread") == threads  # nothing is remembered

    client = login(writer)
    client.message(MARIT, text)
    sent = box.wait()
    assert normal(raw(box, sent)) == normal(shown)
    assert len(box.new()) == 1  # and nothing was sent before
    message = email.message_from_bytes(shown, policy=email.policy.default)
    assert ("你好" in body(message)) == (mode == "full")
    assert (message["Auto-Submitted"] is not None) == (mode == "notice")
    assert why["when"]["answer"] == "at once" and why["what"]["answer"].startswith("a notice" if mode == "notice" else "the text")


def test_a_mail_to_who_is_away(lab, login, mail_setting):
    _, outcome, reason, shown = ask(lab, "boston", BOB, "--from", ADA)
    assert outcome == "none" and shown is None and 'stays in the chat of installation "ejabberd-beta"' in reason
    mail_setting("boston", "example.com", away="2 seconds")
    begin_anew(lab, "boston", BOB, ADA)
    text = unique("away")
    ada, bob, box = login("ada"), login("bob"), Mailbox(lab, BOB)
    why, outcome, reason, shown = ask(lab, "boston", BOB, "--from", ADA, "--text", text)
    assert outcome == "mail" and reason.startswith("after 2 s without a receipt, ")
    assert why["when"] == {"question": "when", "answer": "when no receipt has come after 00:00:02",
                           "change": "hedgerow domain mail set example.com away=INTERVAL"}
    ada.message(BOB, text)
    bob.wait_body(text)
    sent = box.wait_text(text)
    assert normal(raw(box, sent)) == normal(shown) and sent["Auto-Submitted"] == "auto-generated"


def test_the_persons_own_switch_decides(lab):
    try:
        lab.sql("amsterdam", "SELECT hedgerow.mail_choose(%s, 'off')", MARIT)
        why, outcome, reason, shown = ask(lab, "amsterdam", MARIT, "--from", ADA)
        assert (outcome, shown) == ("none", None) and "this person does not want mail" in reason
        assert why["when"]["answer"] == "never: the person has switched mail off" and "off" in why["what"]["answer"]
        lab.sql("amsterdam", "SELECT hedgerow.mail_choose(%s, 'notice')", MARIT)
        _, outcome, _, shown = ask(lab, "amsterdam", MARIT, "--from", ADA, "--text", "secret")
        assert outcome == "mail" and b"secret" not in shown
    finally:
        lab.sql("amsterdam", "SELECT hedgerow.mail_choose(%s, '')", MARIT)


def test_a_rule_that_refuses_is_named(lab, login):
    lab.hedgerow("amsterdam", "rule", "add", "not-marit", "deny", "--to", f"address:{MARIT}", "--priority", "1",
                 "--reason", "marit is on leave")
    try:
        wait_config(lab, "amsterdam")
        why, outcome, reason, shown = ask(lab, "amsterdam", MARIT, "--from", ADA)
        ada = login("ada")
        condition, text, _ = ada.wait_error(ada.message(MARIT, unique("refused")))
        assert (outcome, shown) == ("none", None) and reason == f"it goes back to its sender: {text} ({condition})"
        assert why["rule"] == {"question": "rule", "answer": '"not-marit" refuses it: marit is on leave',
                               "change": "hedgerow rule set not-marit action=allow"}
        _, outcome, _, shown = ask(lab, "amsterdam", MARIT)  # who writes is not said: no rule is asked
        assert outcome == "mail" and b"Somebody" in shown
    finally:
        lab.hedgerow("amsterdam", "rule", "remove", "not-marit")
        wait_config(lab, "amsterdam")


def test_a_domain_without_mail_and_a_conversation_past_its_bound(lab, mail_setting):
    mail_setting("amsterdam", "example.com", mode="off")
    why, outcome, reason, shown = ask(lab, "amsterdam", MARIT, "--from", ADA)
    assert (outcome, shown) == ("none", None) and "no mail is set up" in reason
    assert why["when"]["change"] == "hedgerow domain mail set example.com mode=full"
    mail_setting("amsterdam", "example.com", mode="full", hourly=1)
    lab.sql("amsterdam", "INSERT INTO hedgerow.mail_thread (domain, person, peer) VALUES ('example.com', %s, 'rita.baker@example.com')"
            " ON CONFLICT DO NOTHING", MARIT)
    lab.sql("amsterdam", "INSERT INTO hedgerow.mail_message (thread, message_id, incoming, taken)"
            " SELECT id, %s, false, 1 FROM hedgerow.mail_thread WHERE person = %s AND peer = 'rita.baker@example.com'", unique("m"), MARIT)
    _, outcome, reason, shown = ask(lab, "amsterdam", MARIT, "--from", "rita.baker@example.com", "--text", "Later.")
    assert outcome == "later" and reason.startswith("it waits: too many mails") and b"Later." in shown
    begin_anew(lab, "amsterdam", MARIT, "rita.baker@example.com")


def test_a_missing_secret_is_said(lab, mail_setting):
    mail_setting("amsterdam", "example.com", reply_key="missing.key")
    _, outcome, reason, shown = ask(lab, "amsterdam", MARIT)
    assert (outcome, shown) == ("later", None) and "missing.key" in reason


def test_another_sites_mail_is_asked_for_there(lab):
    why, outcome, reason, _ = ask(lab, "amsterdam", NIELS, "--from", ADA)
    assert outcome == "none" and reason == 'it goes on to site "boston": ask there'
    assert why["what"]["change"].endswith('(at site "boston")')
    assert ask(lab, "boston", NIELS, "--from", ADA)[1] == "mail"


def test_an_outsider(lab, mail_setting):
    eve = "eve@mail.example"
    _, outcome, reason, _ = ask(lab, "amsterdam", eve, "--from", ADA)
    assert outcome == "none" and "nobody has this address" in reason
    mail_setting("amsterdam", "example.com", outsiders="true")
    _, outcome, reason, _ = ask(lab, "amsterdam", eve, "--from", ADA)
    assert outcome == "none" and "no rule allows it" in reason
    lab.hedgerow("amsterdam", "rule", "add", "shown-eve", "allow", "--from", "outsider:mail.example", "--kind", "message")
    try:
        wait_config(lab, "amsterdam")
        why, outcome, reason, shown = ask(lab, "amsterdam", eve, "--from", ADA)
        assert outcome == "mail" and f"RCPT TO:<{eve}>" in reason and b"Ada Adams" in shown
        assert why["rule"]["answer"] == '"shown-eve" allows it'
    finally:
        lab.hedgerow("amsterdam", "rule", "remove", "shown-eve")
        wait_config(lab, "amsterdam")


def test_the_reply_address_shown_leads_nowhere(lab):
    _, _, _, shown = ask(lab, "amsterdam", MARIT, "--from", ADA)
    address = email.message_from_bytes(shown, policy=email.policy.default)["Reply-To"].addresses[0].addr_spec
    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(vouched(letter(f"Marit <{MARIT}>", address, "Hello?")), [address])
    assert code == 550 and "forgotten" in text


def test_nobody_and_nonsense(lab):
    _, outcome, reason, shown = ask(lab, "amsterdam", "nobody@example.com", "--from", ADA)
    assert (outcome, shown) == ("none", None) and reason == "it goes back to its sender: nobody has this address (item-not-found)"
    assert ask(lab, "amsterdam", MARIT, "--text", "")[1:3] == ("none", "it says nothing for a mail")
    assert ask(lab, "amsterdam", MARIT, "--text", "a\x01b")[1] == "none"  # what no message can say
    for nonsense in ("nonsense", "", "a@b@c", "a b@example.com", "'; SELECT 1; --", "ada@example.com\nBcc: x@example.com"):
        said = lab.run("hedgerow", "amsterdam", "mail", "test", nonsense, check=False)
        assert "is not an address" in said and "question" not in said, said


def test_without_a_gateway_the_reasons_are_still_there(lab):
    lab.stop("gateway-amsterdam")
    try:
        said = lab.run("hedgerow", "amsterdam", "mail", "test", MARIT, "--from", ADA, check=False)
        assert "no gateway of this site is running: there is no mail to show" in said
        assert "none; people of one forest may" in said and "at once" in said and "MAIL FROM" not in said
        with pytest.raises(AssertionError):  # exit status 1
            lab.hedgerow("amsterdam", "mail", "test", MARIT)
        assert "at once" in lab.hedgerow("amsterdam", "mail", "test", MARIT, "--no-mail")  # and here it is 0
    finally:
        lab.start("gateway-amsterdam")
    wait_until(lambda: lab.value("amsterdam", "SELECT state FROM hedgerow.mail_status WHERE domain = 'example.com'") == "up",
               "the mail of example.com")
    assert ask(lab, "amsterdam", MARIT)[1] == "mail"
