#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Mails a second, of a gateway and of a Postfix, in by LMTP and out by SMTP.

    mail.py people COUNT               the registry's people, for COPY: half of them have mail only
    mail.py measure OPTION...          appends a line for each run to RESULTS
    mail.py report [--json] RESULTS    the medians

hedgerow in: smtp-source speaks LMTP to the gateway, until the XMPP server (here) has all as chat.
hedgerow out: the XMPP server sends chat for people without chat, until smtp-sink has all mails.
postfix in, out: smtp-source gives the same to Postfix, until smtp-sink has all, by LMTP or by SMTP.
"""
import argparse
import asyncio
import hashlib
import json
import os
import re
import statistics
import sys
import time

TEXT = ("The hedge along the lane is laid in winter, before the birds nest: stems are cut halfway through, bent over "
        "and woven between stakes, and in spring the new growth closes the gaps from the ground up. ").ljust(300, ".")
SESSIONS, SOURCES = 5, 4  # of each smtp-source; of those side by side
PATIENCE = 120
PING = re.compile(rb"<iq[^>]*>\s*<ping xmlns=.urn:xmpp:ping.\s*/>\s*</iq>")
ATTRIBUTE = re.compile(rb"\b(id|from|to)=['\"]([^'\"]*)['\"]")


def people(count):
    """site, forest, anchor, address, native, installation, name"""
    for n in range(count // 2):
        print("a", "chat", f"c{n}", f"c{n}@example.com", f"c{n}@im.a.example", "xmpp-a", f"Chatter {n}", sep="\t")
        print("a", "mail", f"m{n}", f"m{n}@example.com", r"\N", r"\N", f"Mailer {n}", sep="\t")


def mail(sender, to):
    return (f"From: {sender}\nTo: {to}\nSubject: bench\nDate: Thu, 01 Jan 2026 12:00:00 +0000\n"
            f"Message-ID: <{sender}.{to}>\nAuthentication-Results: mx.bench.example; dmarc=pass header.from=example.com\n"
            f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{TEXT}\n")


class XmppServer(asyncio.Protocol):
    """The server's side of the gateway's component stream: counts the messages that come."""
    secret, one, ready = "", None, None

    def connection_made(self, transport):
        self.transport, self.rest, self.count = transport, b"", 0
        self.resumed = asyncio.Event()
        self.resumed.set()

    def pause_writing(self):
        self.resumed.clear()

    def resume_writing(self):
        self.resumed.set()

    def data_received(self, data):
        data = self.rest + data
        self.count += data.count(b"</message>")
        cut = data.rfind(b">") + 1
        self.rest, data = data[cut:], data[:cut]
        if b"<stream:stream" in data:
            self.write(f"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
                       f"from='example.com' id='{id(self)}'>")
        if b"</handshake>" in data:
            right = hashlib.sha1((str(id(self)) + self.secret).encode()).hexdigest()
            assert right.encode() in data, "wrong handshake"
            self.write("<handshake/>")
            XmppServer.one = self
            self.ready.set()
        for ping in PING.findall(data):
            of = dict(ATTRIBUTE.findall(ping))
            self.write(b"<iq type='result' id='%s' from='%s' to='%s'/>" % (of[b"id"], of[b"to"], of[b"from"]))
        if b"<iq" in data[-400:] and not data.endswith(b"</iq>"):  # a ping is whole when it is looked at
            at = data.rfind(b"<iq")
            if b"</iq>" not in data[at:]:
                self.rest = data[at:] + self.rest

    def write(self, data):
        self.transport.write(data if isinstance(data, bytes) else data.encode())

    async def send(self, count, persons, mark):
        for n in range(count):
            at = n % persons
            self.write(f"<message type='chat' id='{mark}-{n}' from='c{at}@im.a.example/bench' "
                       f"to='m{(at + n // persons) % persons}@example.com'><body>{TEXT}</body></message>")
            await self.resumed.wait()


class Sink:
    """What smtp-sink has counted."""

    def __init__(self, path):
        self.path = path

    def count(self):
        with open(self.path, "rb") as log:
            log.seek(max(0, os.path.getsize(self.path) - 200))
            found = re.findall(rb"mesg=(\d+)", log.read())
        return int(found[-1]) if found else 0


def cpu_seconds(pids):
    """What processes and their children have used, those that have ended too."""
    ticks = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(name) in pids or int(fields[1]) in pids:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"bench: {what}: not within {PATIENCE} s")
        await asyncio.sleep(0.005)


class Bench:
    def __init__(self, options):
        self.options = options
        self.sinks = {"in": Sink(f"{options.lab}/log/sink-lmtp.log"), "out": Sink(f"{options.lab}/log/sink-smtp.log")}

    async def source(self, port, count, to, *flags):
        """smtp-source, several side by side, each with a mail of its own."""
        running = []
        for n in range(SOURCES):
            recipient, path = to(n), f"{self.options.lab}/mail-{n}"
            with open(path, "w", encoding="utf-8") as file:
                file.write(mail(f"m{n}@example.com", recipient))
            share = count // SOURCES + (n < count % SOURCES)
            running.append(await asyncio.create_subprocess_exec(
                "smtp-source", *flags, "-d", "-s", str(SESSIONS), "-m", str(share), "-F", path,
                "-f", f"m{n}@example.com", "-t", recipient, f"inet:127.0.0.1:{port}"))
        if any([await one.wait() for one in running]):
            sys.exit("bench: smtp-source failed")

    async def hedgerow_in(self, count):
        server = XmppServer.one
        before = server.count
        await self.source(self.options.lmtp, count, lambda n: f"c{n}@chat.example.com", "-L")
        taken = time.monotonic()
        await until(lambda: server.count - before >= count, "all mails in the chat")
        return taken

    async def hedgerow_out(self, count):
        before = self.sinks["out"].count()
        await XmppServer.one.send(count, self.options.persons, f"r{time.monotonic_ns()}")
        await until(lambda: self.sinks["out"].count() - before >= count, "all messages by mail")

    async def postfix_in(self, count):
        before = self.sinks["in"].count()
        await self.source(self.options.smtp, count, lambda n: f"c{n}@chat.example.com")
        taken = time.monotonic()
        await until(lambda: self.sinks["in"].count() - before >= count, "all mails by LMTP")
        return taken

    async def postfix_out(self, count):
        before = self.sinks["out"].count()
        await self.source(self.options.smtp, count, lambda n: f"m{n}@example.com")
        taken = time.monotonic()
        await until(lambda: self.sinks["out"].count() - before >= count, "all mails by SMTP")
        return taken

    async def measure(self, system, way, number):
        run, count = getattr(self, f"{system}_{way}"), self.options.mails
        await run(max(100, count // 10))  # a warm-up
        pids = set(getattr(self.options, f"{system}_pids"))
        began, used = time.monotonic(), cpu_seconds(pids)
        taken = await run(count)
        seconds, used = time.monotonic() - began, cpu_seconds(pids) - used
        line = {"system": system, "way": way, "per_s": count / seconds, "cpu_us": used / count * 1e6}
        if taken:
            line["taken_per_s"] = count / (taken - began)
        with open(self.options.results, "a", encoding="utf-8") as results:
            print(json.dumps(line), file=results)
        print(f"{system} {way}, round {number}: {line['per_s']:.0f} mails a second, {line['cpu_us']:.0f} us of CPU a mail",
              file=sys.stderr)


async def measure(options):
    XmppServer.secret, XmppServer.ready = options.secret, asyncio.Event()
    if "hedgerow" in options.only:
        await asyncio.get_running_loop().create_server(XmppServer, "127.0.0.1", options.component)
        await asyncio.wait_for(XmppServer.ready.wait(), PATIENCE)
    bench = Bench(options)
    for number in range(1, options.rounds + 1):
        for system in options.only:
            for way in ("in", "out"):
                await bench.measure(system, way, number)


def report(path, as_json):
    with open(path, encoding="utf-8") as results:
        lines = [json.loads(line) for line in results]
    medians = {}
    for line in lines:
        of = medians.setdefault(line["system"], {}).setdefault(line["way"], {})
        for name in ("per_s", "taken_per_s", "cpu_us"):
            if name in line:
                of.setdefault(name, []).append(line[name])
    medians = {system: {way: {name: round(statistics.median(values), 1) for name, values in of.items()}
                        for way, of in ways.items()} for system, ways in medians.items()}
    if as_json:
        print(json.dumps({"bench": "mail", "cores": os.cpu_count(), "rounds": len(lines) // max(1, len(medians) * 2),
                          "systems": medians}))
        return
    print(f"{'':<10}{'in by LMTP':>32}{'out by SMTP':>32}")
    for system, ways in medians.items():
        print(f"{system:<10}" + "".join(f"{ways[way]['per_s']:>14.0f}/s{ways[way]['cpu_us']:>7.0f} us of CPU"
                                        for way in ("in", "out")))
    print("in: until all are delivered: as chat, or to smtp-sink; out: until smtp-sink has all. Both keep every mail on\n"
          "disk before they answer for it. CPU: of gateway and PostgreSQL; of all of Postfix.")


def main():
    if sys.argv[1:2] == ["people"]:
        people(int(sys.argv[2]))
    elif sys.argv[1:2] == ["report"]:
        report(sys.argv[-1], "--json" in sys.argv)
    elif sys.argv[1:2] == ["measure"]:
        parser = argparse.ArgumentParser()
        for name in ("lab", "results", "secret"):
            parser.add_argument(f"--{name}", required=True)
        for name in ("mails", "rounds", "persons", "lmtp", "smtp", "component"):
            parser.add_argument(f"--{name}", type=int, required=True)
        for name in ("hedgerow", "postfix"):
            parser.add_argument(f"--{name}-pids", type=int, nargs="*", default=[])
        parser.add_argument("--only", nargs="+", required=True)
        asyncio.run(measure(parser.parse_args(sys.argv[2:])))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
