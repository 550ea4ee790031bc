#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mail of the lab's people: what Postfix delivered to them, and what they write.

    mails.py LAB read ADDRESS           the last mail that came, as they see it
    mails.py LAB reply ADDRESS TEXT     answers it, as mail clients do: with a quotation and a signature
    mails.py LAB send ADDRESS TO TEXT   a new mail

It goes by SMTP to port $SMTP_PORT.
"""
import email
import email.headerregistry
import email.policy
import email.utils
import os
import pathlib
import smtplib
import sys
from email.message import EmailMessage

WIDTH = 76


def inbox(lab, address):
    """The mails to an address, the oldest first."""
    folder = pathlib.Path(lab) / "postfix" / "mail" / "all" / "new"  # a Maildir for everybody
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns) if folder.exists() else []
    mails = (email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files)
    return [mail for mail in mails if mail["Delivered-To"] == address]


def last(lab, address):
    mails = inbox(lab, address)
    if not mails:
        sys.exit(f"no mail came for {address}")
    return mails[-1]


def text_of(mail):
    part = mail.get_body(("plain",))
    return part.get_content().strip() if part else ""


def show(mail, title):
    print(f"\n  {title}")
    for field in ("From", "To", "Reply-To", "Subject"):
        if mail[field]:
            line = f"    {field + ':':<10}{mail[field]}"
            print(line if len(line) <= WIDTH + 20 else line[:WIDTH + 17] + "...")
    print()
    for line in text_of(mail).splitlines():
        print(f"    {line}".rstrip())


def letter(sender, to, subject, text):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, to, subject
    mail["Date"] = email.utils.localtime()
    mail["Message-ID"] = email.utils.make_msgid(domain=sender.addr_spec.split("@")[1])
    mail.set_content(text)
    return mail


def person(address):
    """ada.adams@example.com is Ada Adams."""
    name = address.split("@")[0].replace(".", " ").title()
    return email.headerregistry.Address(display_name=name, addr_spec=address)


def answer(mail, address, text):
    quoted = "\n".join(f"> {line}".rstrip() for line in text_of(mail).splitlines())
    sender = person(address)
    said = f"{text}\n\nOn {mail['Date']}, {mail['From']} wrote:\n\n{quoted}\n\n-- \n{sender.display_name}\n"
    reply = letter(sender, mail["Reply-To"] or mail["From"], f"Re: {mail['Subject']}", said)
    reply["In-Reply-To"] = mail["Message-ID"]
    reply["References"] = " ".join(filter(None, [mail["References"], mail["Message-ID"]]))
    return reply


def post(mail, port):
    with smtplib.SMTP("127.0.0.1", int(port), timeout=30) as smtp:
        smtp.send_message(mail)


def main(lab, verb, address, *words):
    port = os.environ["SMTP_PORT"]
    if verb == "read":
        show(last(lab, address), f"{address} got a mail:")
        return
    if verb == "reply":
        mail = answer(last(lab, address), address, words[0])
    else:
        mail = letter(person(address), words[0], "From the lab", words[1])
    post(mail, port)
    show(mail, f"{address} wrote a mail:")


if __name__ == "__main__":
    if len(sys.argv) != {"read": 4, "reply": 5, "send": 6}.get("".join(sys.argv[2:3])):
        sys.exit(__doc__)
    main(*sys.argv[1:])
