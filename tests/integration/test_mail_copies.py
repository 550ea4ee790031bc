# SPDX-License-Identifier: Apache-2.0
"""A mail to somebody who is away is a copy of what is in their chat: when it fails, nobody is told. A mail to somebody
without chat is all that there is: it arrives, where they are by then, or its sender is told. And the order of mails to
one recipient, over restarts."""
import datetime
import json
import os
import threading

import pytest

from labkit import unique, wait_until
from mailkit import Lmtp, Mailbox, Mta, Smarthost, body, wait_config
from test_mail_reports import report

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")

MARIT = "marit.adams@example.com"  # forest alpha, no chat
KATE = "kate.adams@example.com"  # forest alpha, chat or none
ADA = "ada.adams@example.com"
BOB = "bob.baker@example.com"
NEVER = ["554 5.7.1 not wanted here"] * 100
QUEUED = "SELECT depth FROM hedgerow.queues WHERE queue = 'mail:example.com'"
DEFERRED = ("SELECT count(*) FROM hedgerow.deferred d JOIN hedgerow.queue q ON q.id = d.queue"
            " WHERE q.name = 'mail:example.com' AND (d.awaits IS NULL OR d.whole)")


@pytest.fixture(name="smarthost_of")
def fixture_smarthost_of(lab, mail_setting):
    """A smarthost of the test for example.com at a site."""
    made = []

    def make(site, **settings):
        if not made:
            lab.sql(site, "DELETE FROM hedgerow.deferred")  # what other tests have left waiting for an hour to pass
        made.append(Smarthost())
        mail_setting(site, "example.com", port=made[-1].port, tls="none", username="", secret="", **settings)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(name="kate")
def fixture_kate(lab):
    """kate(True): she has chat; kate(False), and at first: she has none."""
    def chat(has):
        lab.set_entry("alpha", "kate", "imInstallation", "prosody-alpha" if has else "none")
        lab.synced("amsterdam", "alpha")

    chat(False)
    yield chat
    chat(True)


def again(lab, site):
    """Nothing that the gateway of a site had in memory is there any more."""
    lab.kill(f"gateway-{site}")
    lab.start(f"gateway-{site}")
    lab.wait_link()


def later(lab, site):
    """What is deferred is not due for long."""
    lab.sql(site, "UPDATE hedgerow.deferred SET not_before = now() + interval '1 hour' WHERE awaits IS NULL OR whole")


def now(lab, site):
    lab.sql(site, "UPDATE hedgerow.deferred SET not_before = now() WHERE awaits IS NULL OR whole")


def nothing_waits(lab, site):
    wait_until(lambda: lab.value(site, QUEUED) == 0 and lab.value(site, DEFERRED) == 0, "nothing to wait", 40)


# --- what is nowhere else ---

def test_what_waits_for_mail_goes_to_the_chat_that_its_recipient_gets(lab, login, smarthost_of, kate):
    """The domain has mail for who is away, and the message is older than that: it is no copy all the same."""
    bob, smarthost = login("bob"), smarthost_of("amsterdam", away="1 second")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    word = unique("waits")
    stanza_id = bob.message(KATE, word)
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 1, "the deferral")
    later(lab, "amsterdam")
    smarthost.answers["data"] = list(NEVER)
    kate(True)
    mark = lab.log_mark("gateway-amsterdam")
    now(lab, "amsterdam")
    login("kate").wait_body(word)
    lab.wait_log(mark, "event=mail.refused .*to=kate")  # its copy: she gave no receipt
    nothing_waits(lab, "amsterdam")
    bob.round_trip()
    assert not bob.errors(stanza_id) and not smarthost.taken


def test_it_goes_there_too_when_the_mail_is_no_longer_carried(lab, login, smarthost_of, kate, mail_setting):
    bob, smarthost = login("bob"), smarthost_of("amsterdam", away="1 second")
    smarthost.close()
    word = unique("stranded")
    stanza_id = bob.message(KATE, word)
    wait_until(lambda: lab.value("amsterdam", QUEUED), "the queue")
    lab.stop("gateway-amsterdam")  # so that it does not go before
    kate(True)
    row = lab.sql("amsterdam", "SELECT to_jsonb(m) FROM hedgerow.mail_domain m WHERE site = 'amsterdam'"
                               " AND domain = 'example.com'")[0][0]
    lab.hedgerow("amsterdam", "domain", "mail", "remove", "example.com")
    try:
        lab.start("gateway-amsterdam")
        login("kate").wait_body(word)
        wait_until(lambda: lab.value("amsterdam", QUEUED) == 0, "the queue to be empty")
    finally:
        lab.sql("amsterdam", "INSERT INTO hedgerow.mail_domain SELECT * FROM"
                             " jsonb_populate_record(NULL::hedgerow.mail_domain, %s::jsonb)", json.dumps(row))
        wait_config(lab, "amsterdam")
    lab.wait_link()
    bob.round_trip()
    assert not bob.errors(stanza_id)


def test_a_report_about_it_is_an_error_whatever_the_recipient_has_by_then(lab, login, smarthost_of, kate):
    bob, smarthost = login("bob"), smarthost_of("amsterdam", away="1 hour")
    word = unique("reported")
    stanza_id = bob.message(KATE, word)
    mail = smarthost.wait_taken(lambda _, one: word in body(one), "the mail")
    kate(True)
    with Lmtp(lab, "amsterdam") as lmtp:
        (code, text), = lmtp.deliver(report(mail, KATE), [mail["Reply-To"].addresses[0].addr_spec], sender="")
    assert code == 250, text
    condition, text, sender = bob.wait_error(stanza_id)
    assert condition == "recipient-unavailable" and "5.2.2" in text and sender.startswith(KATE)


def test_a_report_about_several_messages_is_an_error_for_each(lab, login, smarthost_of):
    """What was written while the mail before was under way is one mail."""
    bob, smarthost = login("bob"), smarthost_of("amsterdam")
    words, busy = [unique(f"m{n}") for n in range(4)], threading.Event()
    smarthost.on_data = lambda mail: words[0] not in body(mail) or busy.wait(60)
    ids = [bob.message(MARIT, words[0])]
    smarthost.wait_attempts(1)
    ids += [bob.message(MARIT, word) for word in words[1:]]
    wait_until(lambda: lab.value("amsterdam", QUEUED) == 4, "all of them to wait")
    busy.set()
    mail = smarthost.wait_taken(lambda _, one: words[3] in body(one), "the rest")
    assert words[1] in body(mail)
    with Lmtp(lab, "amsterdam") as lmtp:
        for _ in range(2):
            (code, text), = lmtp.deliver(report(mail), [mail["Reply-To"].addresses[0].addr_spec], sender="")
            assert code == 250, text
    for stanza_id in ids[1:]:
        condition, text, sender = bob.wait_error(stanza_id)
        assert condition == "recipient-unavailable" and "5.2.2" in text and sender.startswith(MARIT)
    bob.round_trip()
    assert [len(bob.errors(one)) for one in ids] == [0, 1, 1, 1]


# --- copies ---

def test_a_copy_that_is_refused_is_no_error_also_after_a_restart(lab, login, smarthost_of):
    ada, bob, smarthost = login("ada"), login("bob"), smarthost_of("boston", away="1 second")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    word = unique("refused")
    stanza_id = ada.message(BOB, word)
    bob.wait_body(word)
    wait_until(lambda: lab.value("boston", DEFERRED) == 1, "the copy to be deferred")
    later(lab, "boston")
    smarthost.answers["data"] = list(NEVER)
    again(lab, "boston")
    mark = lab.log_mark("gateway-boston")
    now(lab, "boston")
    lab.wait_log(mark, "event=mail.refused .*to=bob")
    nothing_waits(lab, "boston")
    wait_until(lambda: lab.metric("boston", "mail_suppressed_total") == 1, "the metric")
    ada.round_trip()
    assert not ada.errors(stanza_id) and not smarthost.taken


def test_a_copy_that_was_deferred_is_not_mailed_to_who_has_read_it(lab, login, smarthost_of):
    """By the smarthost, twice; then an answer or a receipt comes."""
    ada, bob, smarthost = login("ada"), login("bob"), smarthost_of("boston", away="1 second")
    for answer in ("body", "receipt"):
        smarthost.answers["rcpt"] = ["450 4.2.0 not now"] * 2
        before, word = len(smarthost.attempts), unique("read")
        stanza_id = ada.message(BOB, word, extra="<request xmlns='urn:xmpp:receipts'/>")
        bob.wait_body(word)
        smarthost.wait_attempts(before + 1)
        now(lab, "boston")
        smarthost.wait_attempts(before + 2)
        wait_until(lambda: lab.value("boston", DEFERRED) == 1, "the copy to be deferred again")
        later(lab, "boston")
        if answer == "body":
            bob.message(ADA, unique("answer"))
        else:
            bob.send(f"<message to='{ADA}' type='chat'><received xmlns='urn:xmpp:receipts' id='{stanza_id}'/></message>")
        wait_until(lambda: lab.value("boston", DEFERRED) == 0, "the copy to be gone")
    assert not smarthost.taken


def test_a_copy_that_has_expired_is_no_error(lab, login, smarthost_of):
    ada, bob, smarthost = login("ada"), login("bob"), smarthost_of("boston", away="1 second")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    word = unique("expired")
    before = lab.value("amsterdam", "SELECT message_expiry FROM hedgerow.site WHERE site = 'amsterdam'")
    lab.hedgerow("amsterdam", "site", "set", "amsterdam", "message_expiry=5 seconds")
    try:
        wait_config(lab, "amsterdam")
        stanza_id = ada.message(BOB, word)
        bob.wait_body(word)
        wait_until(lambda: lab.value("boston", DEFERRED) == 1, "the copy to be deferred")
        smarthost.answers["rcpt"] = ["450 4.2.0 not now"] * 100
        nothing_waits(lab, "boston")
    finally:
        lab.hedgerow("amsterdam", "site", "set", "amsterdam", f"message_expiry={before}")
        wait_config(lab, "amsterdam")
    ada.round_trip()
    assert not ada.errors(stanza_id) and not smarthost.taken


def test_a_report_about_a_copy_is_no_error(lab, login, mail_setting):
    """Postfix takes the copy, and finds out later that the mailbox is full."""
    mail_setting("boston", "example.com", away="1 second")
    ada, bob = login("ada"), login("bob")
    with Mta(lab).full(BOB):
        mark = lab.log_mark("gateway-boston")
        word = unique("full")
        stanza_id = ada.message(BOB, word)
        bob.wait_body(word)
        lab.wait_log(mark, "event=mail.dropped .*whose sender is to be told", 40)
    ada.round_trip()
    assert not ada.errors(stanza_id)


# --- order ---

def test_what_a_4xx_holds_is_held_after_a_restart_too(lab, login, smarthost_of):
    """All for that recipient, whoever writes: first the first."""
    bob, ada, smarthost = login("bob"), login("ada"), smarthost_of("amsterdam", away="1 hour")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    sent = "SELECT coalesce(sum(sent), 0) FROM hedgerow.mail_threads WHERE person = %s"
    before = lab.value("amsterdam", sent, MARIT)
    first, second = unique("first"), unique("second")
    bob.message(MARIT, first)
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 1, "the deferral")
    later(lab, "amsterdam")
    again(lab, "amsterdam")
    ada.close()
    ada = login("ada")
    ada.message(MARIT, second)
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 2, "the second to wait with it")
    assert smarthost.attempts == [MARIT] and lab.value("amsterdam", sent, MARIT) == before
    now(lab, "amsterdam")
    smarthost.wait_taken(lambda _, mail: second in body(mail), "the second")
    taken = [body(mail) for _, mail in smarthost.taken]
    assert len(taken) == 2 and first in taken[0]
    wait_until(lambda: lab.value("amsterdam", sent, MARIT) == before + 2, "what was taken to be counted")


def test_what_the_hourly_bound_holds_is_held_after_a_restart_too(lab, login, smarthost_of, mail_setting):
    """Of that conversation, and no other."""
    smarthost = smarthost_of("amsterdam", hourly=1)
    lab.sql("amsterdam", "DELETE FROM hedgerow.mail_thread WHERE person = %s", MARIT)
    bob, ada = login("bob"), login("ada")
    words = [unique(f"m{n}") for n in range(4)]
    bob.message(MARIT, words[0])
    smarthost.wait_taken(lambda _, mail: words[0] in body(mail), "the first")
    bob.message(MARIT, words[1])
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 1, "the second to be held")
    again(lab, "amsterdam")
    mail_setting("amsterdam", "example.com", hourly=100)
    bob.message(MARIT, words[2])
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 2, "the third to wait with it")
    ada.close()
    ada = login("ada")
    ada.message(MARIT, words[3])
    smarthost.wait_taken(lambda _, mail: words[3] in body(mail), "what another writes")
    now(lab, "amsterdam")
    smarthost.wait_taken(lambda _, mail: words[2] in body(mail), "the third")
    order = [word for _, mail in smarthost.taken for word in words if word in body(mail)]
    assert order == [words[0], words[3], words[1], words[2]]


def test_what_comes_when_the_deferred_is_due_does_not_overtake_it(lab, login, smarthost_of):
    """Due and not yet back in the queue: there is a moment in which memory knows of nothing that is held."""
    bob, smarthost = login("bob"), smarthost_of("amsterdam")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    first, second = unique("first"), unique("second")
    bob.message(MARIT, first)
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 1, "the deferral")
    later(lab, "amsterdam")
    again(lab, "amsterdam")
    # as another gateway that appends what is due, and takes its time
    connection = lab.connections["amsterdam"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7161110847210741003)")
        now(lab, "amsterdam")
        bob.message(MARIT, second)
        wait_until(lambda: lab.value("amsterdam", DEFERRED) == 2, "the second to wait with it")
        cursor.execute("SELECT pg_advisory_unlock(7161110847210741003)")
    smarthost.wait_taken(lambda _, mail: second in body(mail), "the second")
    assert first in body(smarthost.taken[0][1])


def test_what_waits_while_the_smarthost_is_away_does_not_overtake_what_was_deferred_before(lab, login, smarthost_of, kate):
    """Nobody asks for it before the smarthost is back; by then the deferred is due."""
    bob, ada, smarthost = login("bob"), login("ada"), smarthost_of("amsterdam")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    first, second, mark = unique("first"), unique("second"), lab.log_mark("gateway-amsterdam")
    bob.message(MARIT, first)
    wait_until(lambda: lab.value("amsterdam", DEFERRED) == 1, "the deferral")
    later(lab, "amsterdam")
    smarthost.close()
    ada.message(KATE, unique("other"))
    lab.wait_log(mark, "event=mail.away")
    bob.message(MARIT, second)
    wait_until(lambda: lab.value("amsterdam", QUEUED) == 2, "the second to wait")
    now(lab, "amsterdam")
    lab.sql("amsterdam", "SELECT hedgerow.journal_due()")
    smarthost = smarthost_of("amsterdam")
    smarthost.wait_taken(lambda _, mail: second in body(mail), "the second")
    text = "".join(body(mail) for _, mail in smarthost.taken)
    assert first in text and text.index(first) < text.index(second)
    nothing_waits(lab, "amsterdam")


# --- the end of a gateway ---

def test_a_gateway_that_drains_waits_for_what_it_asks_the_database(lab, login, smarthost_of):
    bob, smarthost = login("bob"), smarthost_of("amsterdam")
    before, word, mark = unique("before"), unique("asked"), lab.log_mark("gateway-amsterdam")
    bob.message(MARIT, before)
    smarthost.wait_taken(lambda _, mail: before in body(mail), "the mail before")
    stopping = threading.Thread(target=lab.stop, args=("gateway-amsterdam",))
    lab.sql("amsterdam", "BEGIN")
    lab.sql("amsterdam", "SELECT FROM hedgerow.mail_thread WHERE person = %s AND peer = %s FOR UPDATE", MARIT, BOB)
    try:
        bob.message(MARIT, word)
        wait_until(lambda: lab.value("amsterdam", "SELECT count(*) FROM (SELECT pg_stat_clear_snapshot()) now, pg_stat_activity"
                                                  " WHERE wait_event_type = 'Lock' AND query LIKE '%mail_send%'"), "the question")
        stopping.start()
        lab.wait_log(mark, "event=gateway.drain ")
        answered = datetime.datetime.now(datetime.timezone.utc)
    finally:
        lab.sql("amsterdam", "COMMIT")
    stopping.join()
    line = lab.wait_log(mark, "event=gateway.drained complete=yes")
    at = datetime.datetime.fromisoformat(line.split()[0].removeprefix("time=").replace("Z", "+00:00"))
    assert at >= answered.replace(microsecond=answered.microsecond // 1000 * 1000)  # the log has milliseconds
    lab.start("gateway-amsterdam")
    smarthost.wait_taken(lambda _, mail: word in body(mail), "the mail")
    assert len([mail for _, mail in smarthost.taken if word in body(mail)]) == 1


# --- a message and its own copy ---

def test_a_message_takes_the_place_of_its_own_copy(lab, login, smarthost_of):
    """Its recipient's chat is taken away while it waits for it: its mail is no copy any more, and its failure is told."""
    ada, smarthost = login("ada"), smarthost_of("boston", away="1 hour")
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    lab.hedgerow("boston", "installation", "add", "old", "--forest", "beta", "--software", "prosody",
                 "--native-domain", "old.beta.example", "--host", "127.0.0.1", "--port", "1")
    waiting = "SELECT head - acked FROM hedgerow.queue WHERE name = 'xmpp:old:example.com'"
    try:
        lab.set_entry("beta", "hugo", "imInstallation", "old")
        lab.synced("boston", "beta")
        ids = []

        def waits_there():
            ids.append(ada.message("hugo.baker@example.com", unique("place")))
            return lab.value("boston", waiting)
        wait_until(waits_there, "hugo's new installation to be in force")
        lab.set_entry("beta", "hugo", "imInstallation", "none")
        lab.synced("boston", "beta")
        lab.hedgerow("boston", "installation", "remove", "old", "--force")
        wait_until(lambda: lab.value("boston", DEFERRED), "the mail to be deferred")
        smarthost.answers["data"] = list(NEVER)
        condition, text, _ = ada.wait_error(ids[-1])
        assert condition == "recipient-unavailable" and "not wanted here" in text
    finally:
        lab.set_entry("beta", "hugo", "imInstallation", "ejabberd-beta")
        lab.synced("boston", "beta")
        lab.sql("boston", "DELETE FROM hedgerow.deferred")
