#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real XMPP clients, logged in as people of the lab.

    clients.py ACCOUNTS chat FROM TO TEXT     one message, and what became of it on both sides
    clients.py ACCOUNTS demo PERSON...        a short conversation, each to the next, as each saw it
    clients.py ACCOUNTS mail PERSON ADDRESS   a message to somebody who has mail only, and the reply
    clients.py ACCOUNTS find FROM WORD...     whom a person finds in the directory, and the first one's vCard

A person is a JID or an address of the file ACCOUNTS (JID, address, password, host, port, server),
or what stands before the @ in either; TO may be any address.
"""
import asyncio
import logging
import os
import sys
import xml.etree.ElementTree as ET
from collections import namedtuple

logging.basicConfig(level=logging.ERROR)  # slixmpp warns of its slower stringprep when imported

import slixmpp  # noqa: E402  pylint: disable=wrong-import-position

import mails  # noqa: E402  pylint: disable=wrong-import-position

LOGIN_SECONDS = 15
ANSWER_SECONDS = 15
SEARCH, FORM, CARD = "{jabber:iq:search}", "{jabber:x:data}", "{vcard-temp}"
Account = namedtuple("Account", "jid address password host port server")


class Client(slixmpp.ClientXMPP):
    """Logs in, keeps what it sends and sees."""

    def __init__(self, account):
        super().__init__(account.jid + "/lab", account.password)
        self.account = account
        self.ready = asyncio.get_running_loop().create_future()
        self.seen = asyncio.Condition()
        self.transcript = []
        self.texts = []  # of messages that came
        self.errors = 0
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("message_error", self.on_message)
        self.add_event_handler("failed_auth", lambda _: self.fail("wrong password"))
        self.add_event_handler("connection_failed", lambda why: self.fail(str(why)))

    def fail(self, why):
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"{self.account.jid}: {why}"))

    async def login(self):
        self.connect((self.account.host, int(self.account.port)),
                     disable_starttls=True, force_starttls=False)
        await asyncio.wait_for(self.ready, LOGIN_SECONDS)

    def on_start(self, _):
        self.send_presence()
        if not self.ready.done():
            self.ready.set_result(None)

    async def on_message(self, message):
        text = message["body"]
        async with self.seen:
            if message["type"] == "error":
                error = message["error"]
                self.errors += 1
                text = f"error: {error['condition']}" + (f" ({error['text']})" if error["text"] else "")
            elif text:
                self.texts.append(text)
            else:
                return
            self.transcript.append(f"<-  {message['from']}: {text}")
            self.seen.notify_all()

    def say(self, to, text):
        self.transcript.append(f"->  {to}: {text}")
        self.send_message(mto=to, mbody=text, mtype="chat")

    async def wait(self, condition):
        """Until the condition holds, looked at with everything that is seen; false: not in time."""
        async with self.seen:
            try:
                await asyncio.wait_for(self.seen.wait_for(condition), ANSWER_SECONDS)
                return True
            except asyncio.TimeoutError:
                return False

    def show(self):
        print(f"\n  {self.account.jid} on {self.account.server}, known as {self.account.address}, saw:")
        for line in self.transcript:
            print(f"    {line}")


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [Account(*line.split()) for line in lines if line.strip()]


def find(accounts, name):
    for account in accounts:
        names = (account.jid, account.address, account.jid.split("@")[0], account.address.split("@")[0])
        if name in names:
            return account
    return None


async def login_all(accounts):
    clients = [Client(account) for account in accounts]
    await asyncio.gather(*(client.login() for client in clients))
    return clients


async def end_all(clients):
    for client in clients:
        await client.disconnect(wait=0.5)


async def delivered(sender, recipient, text):
    """Until the recipient has seen the text: true; or the sender an error, or nothing came: false.
    recipient None: nobody whom we can watch."""
    errors = sender.errors
    waits = [asyncio.ensure_future(sender.wait(lambda: sender.errors > errors))]
    if recipient:
        waits.append(asyncio.ensure_future(recipient.wait(lambda: text in recipient.texts)))
    _, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in rest:
        wait.cancel()
    return sender.errors == errors and (recipient is None or text in recipient.texts)


async def chat(accounts, person, to, text):
    other = find(accounts, to) or find(accounts, to.split("@")[0])  # by an alias, perhaps
    pair = [person] + ([other] if other and other != person else [])
    clients = await login_all(pair)
    sender, recipient = clients[0], clients[-1] if len(clients) > 1 else None
    sender.say(to if "@" in to or not other else other.address, text)
    good = await delivered(sender, recipient, text)
    for client in clients:
        client.show()
    await end_all(clients)
    if good and not recipient:
        print(f"\n  {to} has no account of the lab, and no error came back: it was taken")
    elif not good and not sender.errors:
        print(f"\n  nothing came within {ANSWER_SECONDS} s: it waits for its way there; see ops/lab status")
    return good


async def demo(people):
    one, other = people[0], people[1]
    lines = ["Hello from the other side of the hedge.", "I read you. Which server are you on?",
             f"{one.server}, and you are on {other.server}; we share a domain all the same.",
             "Grüße, 你好, שלום: every byte arrives."]
    if len(people) > 2:
        lines = [f"Hello, this is {person.address.split('@')[0]}, on {person.server}." for person in people]
    clients = await login_all(people)
    good = True
    for i, line in enumerate(lines):
        speaker, listener = clients[i % len(clients)], clients[(i + 1) % len(clients)]
        speaker.say(listener.account.address, line)
        good = await delivered(speaker, listener, line)
        if not good:
            break
    for client in clients:
        client.show()
    await end_all(clients)
    return good


async def by_mail(lab, person, address):
    client, = await login_all([person])
    known = len(mails.inbox(lab, address))
    client.say(address, "Are you coming to the hedge-laying on Saturday?")
    mail = await mail_after(lab, address, known)
    mails.show(mail, f"{address} got a mail:")
    answer = mails.answer(mail, address, "Yes, and I bring the billhook.")
    await asyncio.to_thread(mails.post, answer, os.environ["SMTP_PORT"])
    mails.show(answer, f"{address} wrote a mail:")
    good = await client.wait(lambda: client.texts)
    client.show()
    await end_all([client])
    return good


async def mail_after(lab, address, known):
    """The first mail for the address after so many."""
    async def look():
        while len(mails.inbox(lab, address)) <= known:
            await asyncio.sleep(0.05)
        return mails.inbox(lab, address)[known]
    return await asyncio.wait_for(look(), ANSWER_SECONDS)


async def ask(client, to, kind, payload):
    """The payload of the answer to a query."""
    query = client.make_iq(ito=to, itype=kind)
    query.append(payload)
    return (await query.send(timeout=ANSWER_SECONDS)).xml[0]


async def show_found(client, domain, words):
    query = ET.Element(SEARCH + "query")
    field = ET.SubElement(ET.SubElement(query, FORM + "x", type="submit"), FORM + "field", var="text")
    ET.SubElement(field, FORM + "value").text = words
    found = await ask(client, domain, "set", query)
    people = [{field.get("var"): field.findtext(FORM + "value") for field in item}
              for item in found.iter(FORM + "item")]
    print(f"\n  {client.account.jid} on {client.account.server} searches {domain} for {words!r}:")
    for person in people:
        print(f"    {person['jid']:<36} {person['nick'] or ''}")
    for note in found.iter(FORM + "instructions"):
        print(f"    {note.text}")
    if not people:
        print("    nobody whom the rules let this person reach")
        return
    card = await ask(client, people[0]["jid"], "get", ET.Element(CARD + "vCard"))
    print(f"\n  and the vCard of {people[0]['jid']} says:")
    for element in card.iter():
        if element.text:
            print(f"    {element.tag.rpartition('}')[2].lower():<12} {element.text}")


async def search(person, words):
    client, = await login_all([person])
    good = True
    try:
        await show_found(client, person.address.split("@")[1], words)
    except slixmpp.exceptions.IqError as error:
        print(f"\n  error: {error.condition}" + (f" ({error.text})" if error.text else ""))
        good = False
    except slixmpp.exceptions.IqTimeout:
        print(f"\n  no answer within {ANSWER_SECONDS} s: see ops/lab status")
        good = False
    await end_all([client])
    return good


def main(path, verb, *words):
    accounts = load(path)
    people = []
    for name in words if verb == "demo" else words[:1]:
        person = find(accounts, name)
        if person is None:
            known = ", ".join(account.jid.split("@")[0] for account in accounts)
            sys.exit(f"{name} has no account of the lab; these have: {known}")
        people.append(person)
    work = {"chat": lambda: chat(accounts, people[0], words[1], words[2]),
            "demo": lambda: demo(people),
            "mail": lambda: by_mail(os.path.dirname(path), people[0], words[1]),
            "find": lambda: search(people[0], " ".join(words[1:]))}[verb]
    try:
        return 0 if asyncio.run(work()) else 1
    except (OSError, asyncio.TimeoutError) as error:
        sys.exit(f"cannot log in: {error or 'no answer'}")


if __name__ == "__main__":
    if sys.argv[2:3] not in (["chat"], ["demo"], ["find"], ["mail"]) or len(sys.argv) < (6 if sys.argv[2] == "chat" else 5):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
