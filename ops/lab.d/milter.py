#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The milter of the lab's Postfix: what SPF and DMARC would say, with a table instead of DNS.

    milter.py PORT AUTHSERV-ID TABLE

TABLE has lines "DOMAIN ADDRESS...": the addresses whose mail is from the domain. It is read again for each
mail. A mail of somebody who is not in 127.0.0.1/32, which is the lab's own, gets Authentication-Results on
top; those that came with our id are removed (RFC 8601, section 5).
"""
import asyncio
import email.utils
import struct
import sys

ADD, CHANGE = 0x01, 0x10  # what we do to mails
NO_HELO, NO_RCPT, NO_BODY, NO_UNKNOWN, NO_DATA = 0x02, 0x08, 0x10, 0x100, 0x200  # what we needn't see
OWN = "127.0.0.1"


class Session:
    """One SMTP session as the milter protocol, version 6, tells it."""

    def __init__(self, writer, authserv_id, table):
        self.writer, self.authserv_id, self.table = writer, authserv_id, table
        self.client = ""
        self.authors, self.ours, self.count = [], [], 0

    def answer(self, command, data=b""):
        self.writer.write(struct.pack(">I", len(data) + 1) + command + data)

    def handle(self, command, data):
        if command == b"O":
            self.answer(b"O", struct.pack(">III", 6, ADD | CHANGE, NO_HELO | NO_RCPT | NO_BODY | NO_UNKNOWN | NO_DATA))
        elif command == b"C":
            fields = data.split(b"\0")
            self.client = fields[1][3:].decode() if fields[1][:1] == b"4" else ""
            self.answer(b"c")
        elif command == b"M":
            self.authors, self.ours, self.count = [], [], 0
            self.answer(b"c")
        elif command == b"L":
            self.header(*data.split(b"\0")[:2])
            self.answer(b"c")
        elif command == b"E":
            self.end()
        elif command not in (b"D", b"A"):
            self.answer(b"c")

    def header(self, name, value):
        if name.lower() == b"from":
            self.authors.append(value.decode(errors="replace"))
        elif name.lower() == b"authentication-results":
            self.count += 1
            if value.split(b";")[0].strip().lower() == self.authserv_id.lower().encode():
                self.ours.append(self.count)

    def end(self):
        for index in reversed(self.ours):  # an empty value removes it
            self.answer(b"m", struct.pack(">I", index) + b"Authentication-Results\0\0")
        if self.client != OWN:
            self.answer(b"i", struct.pack(">I", 0) + b"Authentication-Results\0" + self.results().encode() + b"\0")
        self.answer(b"c")

    def results(self):
        addresses = email.utils.getaddresses(self.authors)
        domain = addresses[0][1].rpartition("@")[2].lower() if len(addresses) == 1 else ""
        with open(self.table, encoding="utf-8") as lines:
            of = {fields[0]: fields[1:] for fields in map(str.split, lines) if fields}
        result = "none" if domain not in of else "pass" if self.client in of[domain] else "fail"
        return f"{self.authserv_id}; dmarc={result}" + (f" header.from={domain}" if domain else "")


async def serve(reader, writer, authserv_id, table):
    session = Session(writer, authserv_id, table)
    try:
        while True:
            size, command = struct.unpack(">Ic", await reader.readexactly(5))
            data = await reader.readexactly(size - 1)
            if command == b"Q":
                break
            session.handle(command, data)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main(port, authserv_id, table):
    server = await asyncio.start_server(lambda r, w: serve(r, w, authserv_id, table), OWN, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
