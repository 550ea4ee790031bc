# SPDX-License-Identifier: Apache-2.0
"""Delivery reports (RFC 3464) about mails of ours: one error for each message, however many come."""
import os

import pytest

from labkit import unique
from mailkit import Lmtp, Mailbox

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")

MARIT = "marit.adams@example.com"  # forest alpha, no chat


def report(mail, recipient=MARIT):
    """What an MTA writes when it can't deliver a mail of ours."""
    return "\r\n".join([
        "From: MAILER-DAEMON@mx.lab.example", f"To: {mail['Reply-To']}", "Subject: Undelivered",
        f"Message-ID: <{unique('report')}@mx.lab.example>", "Auto-Submitted: auto-replied", "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"', "",
        "--b", "", "This is the mail system.",
        "--b", "Content-Type: message/delivery-status", "", "Reporting-MTA: dns; mx.lab.example", "",
        f"Final-Recipient: rfc822; {recipient}", "Action: failed", "Status: 5.2.2",
        "Diagnostic-Code: smtp; 552 5.2.2 mailbox full",
        "--b", "Content-Type: text/rfc822-headers", "", f"Message-ID: {mail['Message-ID'].strip()}", "",
        "--b--", ""]).encode()


@pytest.fixture(name="mailed")
def fixture_mailed(lab, login):
    """Rita writes to marit: (client, [(stanza id, mail), ...]). Nobody has reported anything yet."""
    def write(count):
        rita, box = login("rita"), Mailbox(lab, MARIT)
        pairs = []
        for _ in range(count):
            word = unique("failing")
            stanza_id = rita.message(MARIT, word)
            pairs.append((stanza_id, box.wait_text(word)))
        return rita, pairs

    lab.sql("amsterdam", "DELETE FROM hedgerow.mail_thread WHERE person = %s AND peer LIKE 'rita.%%'", MARIT)
    return write


def deliver(lmtp, mail, bytes_):
    return lmtp.deliver(bytes_, [mail["Reply-To"].addresses[0].addr_spec], sender="")[0]


def test_several_reports_of_one_message_are_one_error(lab, mailed):
    rita, [(stanza_id, mail), (other_id, other)] = mailed(2)
    mark = lab.log_mark("gateway-amsterdam")
    lmtp = Lmtp(lab, "amsterdam")
    first = report(mail)
    assert deliver(lmtp, mail, first)[0] == 250
    rita.wait_error(stanza_id)
    assert deliver(lmtp, mail, first)[0] == 250  # the MTA brings it again
    for recipient in (MARIT, "marit@elsewhere.example", "list@elsewhere.example"):  # where it was forwarded to
        assert deliver(lmtp, mail, report(mail, recipient))[0] == 250
    lab.wait_log(mark, "event=mail.dropped .*an earlier report has told")
    assert deliver(lmtp, other, report(other))[0] == 250  # another message is another error
    rita.wait_error(other_id)
    assert len(rita.errors(stanza_id)) == 1 and len(rita.errors(other_id)) == 1
    assert lab.value("amsterdam", "SELECT count(*) FROM hedgerow.mail_message m JOIN hedgerow.mail_thread t ON t.id = m.thread"
                     " WHERE m.is_reported AND t.person = %s AND t.peer LIKE 'rita.%%'", MARIT) == 2


def test_reports_of_a_conversation_are_bounded_by_the_hour(lab, mailed, mail_setting):
    rita, pairs = mailed(3)
    mail_setting("amsterdam", "example.com", hourly=2)
    lmtp = Lmtp(lab, "amsterdam")
    answers = [deliver(lmtp, mail, report(mail)) for _, mail in pairs]
    assert [code for code, _ in answers] == [250, 250, 450] and "in an hour" in answers[2][1]
    for stanza_id, _ in pairs[:2]:
        rita.wait_error(stanza_id)
    assert not rita.errors(pairs[2][0])
    # and in the next hour the MTA, which has kept it, brings it again
    lab.sql("amsterdam", "UPDATE hedgerow.mail_message SET reported_at = reported_at - interval '1 hour' WHERE is_reported")
    assert deliver(lmtp, pairs[2][1], report(pairs[2][1]))[0] == 250
    rita.wait_error(pairs[2][0])
