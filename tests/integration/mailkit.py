# SPDX-License-Identifier: Apache-2.0
"""Mail as tests see it: the mailboxes of the lab's Postfix, its SMTP, the LMTP of the gateways, and a
smarthost whose answers a test chooses."""
import contextlib
import email
import email.policy
import os
import re
import smtplib
import socket
import subprocess
import threading
from email.message import EmailMessage

from labkit import SLOW, unique, wait_until


def wait_config(lab, site):
    """The gateway follows the registry: it has loaded what was committed before."""
    mark = lab.log_mark(f"gateway-{site}")
    name = unique("probe")
    lab.hedgerow(site, "rule", "add", name, "deny", "--from", "address:nobody@example.com", "--priority", "999999")
    lab.wait_log(mark, "event=registry.config")
    lab.hedgerow(site, "rule", "remove", name)


class Mailbox:
    """The mails that Postfix delivered to one address, as they come."""

    def __init__(self, lab, address):
        self.path = lab.directory / "postfix" / "mail" / "all" / "new"  # a Maildir for everybody
        self.address = address
        self.known = {}  # file name -> mail
        self.before = set(self.look())

    def look(self):
        names = os.listdir(self.path) if self.path.exists() else []
        for name in names:
            if name not in self.known:
                self.known[name] = email.message_from_bytes((self.path / name).read_bytes(),
                                                            policy=email.policy.default)
        return self.known

    def new(self):
        """Those since the mailbox was opened."""
        return [mail for name, mail in sorted(self.look().items())
                if name not in self.before and delivered_to(mail) == self.address]

    def wait(self, predicate=lambda mail: True, what="a mail", seconds=30.0):
        return wait_until(lambda: next((mail for mail in self.new() if predicate(mail)), None), what, seconds)

    def wait_text(self, text, seconds=30.0):
        return self.wait(lambda mail: text in body(mail), f"a mail with {text!r}", seconds)


def delivered_to(mail):
    """Postfix writes addresses beyond ASCII as they are (RFC 6532)."""
    raw = dict(mail.raw_items()).get("Delivered-To", "")
    return raw.encode("ascii", "surrogateescape").decode().strip()


def body(mail):
    part = mail.get_body(("plain",))
    return part.get_content() if part else ""


def letter(sender, to, text, **fields):
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = to
    mail["Message-ID"] = f"<{unique('mail')}@{sender.split('@')[1].strip('>')}>"
    for name, value in fields.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail


def reply(mail, sender, text, **fields):
    """What a person's client makes of a mail of ours."""
    return letter(sender, mail["Reply-To"], text, Subject=f"Re: {mail['Subject']}",
                  In_Reply_To=mail["Message-ID"], **fields)


def post(lab, mail, sender=None, to=None, source="127.0.0.1"):
    """Gives a mail to Postfix, as a client of it at the address of loopback `source`."""
    with smtplib.SMTP("127.0.0.1", int(lab.env()["SMTP_PORT"]), timeout=60 * SLOW,
                      source_address=(source, 0)) as smtp:
        smtp.send_message(mail, from_addr=sender, to_addrs=to)


class Mta:
    """The lab's Postfix, as its administrator has it."""

    def __init__(self, lab):
        self.lab = lab
        self.tables = lab.directory / "postfix" / "etc"

    def story(self):
        """Where mails are that did not arrive: what waits, and what was not delivered and why."""
        queue = subprocess.run(["/usr/sbin/postqueue", "-c", self.tables, "-p"], capture_output=True, text=True, check=False)
        log = (self.lab.directory / "log" / "postfix.log").read_text(errors="replace").splitlines()
        return "\n".join([queue.stdout + queue.stderr] + [line for line in log if re.search("status=(deferred|bounced)", line)][-40:])

    def restart(self):
        self.lab.stop("postfix")
        self.lab.start("postfix")

    @contextlib.contextmanager
    def table(self, name, line):
        """With a line on top of a table."""
        before = (self.tables / name).read_text()
        try:
            (self.tables / name).write_text(line + "\n" + before)
            self.restart()
            yield
        finally:
            (self.tables / name).write_text(before)
            self.restart()

    def forwarding(self, address, to):
        return self.table("forward", f"/^{re.escape(address)}$/ {to}")

    @contextlib.contextmanager
    def full(self, address):
        """With a mailbox that is full: Postfix takes the mail and finds out later, where it is forwarded to."""
        with self.table("transport", "/^full@lab\\.example$/ error:5.2.2 mailbox full"):
            with self.forwarding(address, "full@lab.example"):
                yield


class Lmtp(smtplib.LMTP):
    """A connection to a gateway's LMTP, as the MTA has it. Answers are (code, text)."""

    def __init__(self, lab, site):
        super().__init__("127.0.0.1", int(lab.env()[f"LMTP_{site}"]), timeout=120 * SLOW)
        self.ehlo("mx.lab.example")

    def deliver(self, mail, recipients, sender="someone@example.org", options=()):
        """The answer for each recipient: to RCPT where it was refused there, else to the mail."""
        data = mail if isinstance(mail, bytes) else mail.as_bytes(policy=email.policy.SMTP)
        code, text = self.mail(sender, options)
        assert code == 250, text
        answers = {one: self.rcpt(one) for one in recipients}
        accepted = [one for one in recipients if answers[one][0] == 250]
        if accepted:
            code, text = self.docmd("DATA")
            assert code == 354, text
            self.send(smtplib._quote_periods(data) + (b"" if data.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            for one in accepted:
                answers[one] = self.getreply()
        else:
            self.rset()
        return [(code, text.decode()) for code, text in answers.values()]


def vouched(mail, result="dmarc=pass"):
    """The same, as the MTA marks it."""
    domain = mail["From"].addresses[0].domain
    mail["Authentication-Results"] = f"mx.lab.example; {result} header.from={domain}"
    return mail


class Smarthost:
    """An SMTP server that answers as a test says: `answers` by the stage ("rcpt", "data"), a list
    that is used up from the front; then 250. Keeps what it took."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answers = {}
        self.taken = []  # (recipient, mail)
        self.attempts = []  # recipients asked for
        self.changed = threading.Condition()
        self.sockets = []
        self.is_full, self.turned_away = False, 0  # takes no more connections
        self.on_data = None  # called with the mail before it is answered
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.is_full:
                self.turned_away += 1
                sock.close()
                continue
            self.sockets.append(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def answer(self, stage):
        with self.changed:
            queue = self.answers.get(stage, [])
            return queue.pop(0) if queue else "250 2.0.0 fine"

    def serve(self, sock):
        lines = sock.makefile("rb")

        def say(text):
            sock.sendall(text.encode() + b"\r\n")

        try:
            say("220 smarthost ESMTP")
            recipient = None
            for line in lines:
                word = line[:4].upper()
                if word == b"EHLO":
                    say("250-smarthost\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250 8BITMIME")
                elif word == b"RCPT":
                    recipient = line.decode().split("<")[1].split(">")[0]
                    with self.changed:
                        self.attempts.append(recipient)
                        self.changed.notify_all()
                    answer = self.answer("rcpt")
                    if not answer.startswith("2"):
                        recipient = None
                    say(answer)
                elif word == b"DATA" and not recipient:
                    say("554 5.5.1 no recipients")
                elif word == b"DATA":
                    say("354 go on")
                    data = b""
                    for more in lines:
                        if more == b".\r\n":
                            break
                        data += more[1:] if more.startswith(b".") else more
                    mail = email.message_from_bytes(data, policy=email.policy.default)
                    if self.on_data:
                        self.on_data(mail)
                    answer = self.answer("data")
                    if answer.startswith("2"):
                        with self.changed:
                            self.taken.append((recipient, mail))
                            self.changed.notify_all()
                    say(answer)
                elif word == b"QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 fine")
        except OSError:
            pass
        finally:
            sock.close()

    def wait_taken(self, predicate, what, seconds=30.0):
        def found():
            return next((mail for recipient, mail in self.taken if predicate(recipient, mail)), None)
        with self.changed:
            assert self.changed.wait_for(found, seconds * SLOW), f"waited in vain for {what}"
            return found()

    def wait_attempts(self, count, seconds=30.0):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.attempts) >= count, seconds * SLOW), \
                f"{len(self.attempts)} attempts, not {count}"

    def close(self):
        for sock in [self.listener] + self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
