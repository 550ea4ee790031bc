# SPDX-License-Identifier: Apache-2.0
"""What only Microsoft's domain controllers do, and Samba's do not: pages and parts of values that they
choose the size of themselves, no more than a page without asking for pages, DirSync in rounds, and of deleted
objects only to who asks for them, references in between, refusals. A small LDAP server over plain TCP that says what
MS-ADTS says they say, about objects that the test holds."""
import socketserver
import struct
import threading
import uuid

PAGED, DIRSYNC, NOTICE = "1.2.840.113556.1.4.319", "1.2.840.113556.1.4.841", "1.2.840.113556.1.4.528"
SHOW_DELETED = "1.2.840.113556.1.4.417"
BASE = "DC=fabrikam,DC=example"
SERVICE = f"CN=NTDS Settings,CN=DC1,CN=Configuration,{BASE}"
BIND, BIND_RESULT, UNBIND, SEARCH, ENTRY, SEARCH_RESULT, REFERENCE = 0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x73
ENDLESS = {None: "", "again": "0", "empty": "1000000"}  # the cookie of the last page, which is to be none
OK, SIZE_LIMIT, ADMIN_LIMIT, OTHER_RIGHTS = 0, 4, 11, 50  # result codes
ACCESS_DENIED = "00002105: LdapErr: DSID-0C0907BB, comment: Error processing control, data 0, v4563"


# --- BER ---

def tlv(tag, content):
    size = len(content)
    head = bytes([size]) if size < 0x80 else b"\x84" + struct.pack(">I", size)
    return bytes([tag]) + head + content


def text(value, tag=0x04):
    return tlv(tag, value if isinstance(value, bytes) else value.encode())


def number(value, tag=0x02):
    return tlv(tag, value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True))


def elements(data):
    at, found = 0, []
    while at < len(data):
        tag, size, head = data[at], data[at + 1], 2
        if size & 0x80:
            head += size & 0x7f
            size = int.from_bytes(data[at + 2:at + head], "big")
        found.append((tag, data[at + head:at + head + size]))
        at += head + size
    return found


def integer(content):
    return int.from_bytes(content, "big", signed=True)


class Directory:
    """Objects by objectGUID, with the number of their last change; a deleted one is in `deleted`."""

    def __init__(self, part=5, page=10, dirsync=True):
        self.part, self.page, self.dirsync = part, page, dirsync  # values in a part, entries in a page or round
        self.endless = None  # "again": the last page is not the last; "empty": nor are those after it
        self.on_page = lambda: None  # called before a page is given
        self.invocation = uuid.uuid4()
        self.objects, self.deleted, self.changed, self.usn = {}, {}, {}, 1000
        self.asked = []  # what was searched for: attributes or the name of a control
        self.lock = threading.Lock()

    def put(self, guid, **attributes):
        with self.lock:
            self.usn += 1
            now = [str(self.usn).encode()]
            created = self.objects[guid]["uSNCreated"] if guid in self.objects else now
            self.objects[guid] = {"objectGUID": [guid.bytes_le], "objectClass": [b"user"], "uSNChanged": now,
                                  "uSNCreated": created, **{
                name: [v.encode() for v in many] for name, many in attributes.items()}}
            self.changed[guid] = self.usn

    def delete(self, guid):
        with self.lock:
            self.usn += 1
            self.deleted[guid] = self.objects.pop(guid)
            self.changed[guid] = self.usn

    def special(self, base):
        """Objects that are no people."""
        return {
            "": {"dnsHostName": [b"dc1.fabrikam.example"], "dsServiceName": [SERVICE.encode()],
                 "namingContexts": [BASE.encode()], "highestCommittedUSN": [str(self.usn).encode()]},
            SERVICE: {"invocationId": [self.invocation.bytes_le]},
            f"<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,{BASE}>": {"objectClass": [b"container"]},
        }.get(base)


def matches(tag, content, entry):
    if tag in (0xa0, 0xa1):
        return (all if tag == 0xa0 else any)(matches(t, c, entry) for t, c in elements(content))
    if tag == 0xa2:
        return not matches(*elements(content)[0], entry)
    if tag == 0x87:
        return content.decode() in entry
    (_, name), (_, value) = elements(content)
    values = entry.get(name.decode(), [])
    if tag == 0xa5:
        return any(int(one) >= int(value) for one in values)
    return any(one.lower() == value.lower() for one in values)


class Session(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def message(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        size = head[1]
        if size & 0x80:
            size = int.from_bytes(self.rfile.read(size & 0x7f), "big")
        return elements(self.rfile.read(size))

    def say(self, number_of, operation, controls=b""):
        self.wfile.write(tlv(0x30, number(number_of) + operation + (tlv(0xa0, controls) if controls else b"")))

    def end(self, number_of, tag=SEARCH_RESULT, code=OK, controls=b"", why=""):
        self.say(number_of, tlv(tag, number(code, 0x0a) + text("") + text(why)), controls)

    def handle(self):
        while (message := self.message()) is not None:
            (_, number_of), (tag, operation) = message[:2]
            controls = {}
            for _, control in elements(message[2][1]) if len(message) > 2 else []:
                parts = elements(control)
                controls[parts[0][1].decode()] = parts[-1][1]
            if tag == BIND:
                self.end(integer(number_of), BIND_RESULT)
            elif tag == SEARCH:
                self.search(integer(number_of), operation, controls)
            elif tag == UNBIND:
                return

    def entry(self, number_of, dn, attributes, wanted):
        """Each attribute in the part that was asked for, or in the first, beside which it is there without values."""
        chosen, most = [], self.server.directory.part
        for one in wanted:
            name, _, part = one.partition(";range=")
            values = attributes.get(name, [])
            low = int(part.split("-")[0]) if part else 0
            rest = values[low:]
            if not rest:
                continue
            if len(rest) > most:
                if not part:
                    chosen.append(tlv(0x30, text(name) + tlv(0x31, b"")))
                name, rest = f"{name};range={low}-{low + most - 1}", rest[:most]
            elif part:
                name = f"{name};range={low}-*"
            chosen.append(tlv(0x30, text(name) + tlv(0x31, b"".join(map(text, rest)))))
        self.say(number_of, tlv(ENTRY, text(dn) + tlv(0x30, b"".join(chosen))))

    def search(self, number_of, operation, controls):
        directory = self.server.directory
        parts = elements(operation)
        base, scope, wanted = parts[0][1].decode(), integer(parts[1][1]), [v.decode() for _, v in elements(parts[7][1])]
        if NOTICE in controls:
            if not directory.dirsync:
                self.end(number_of, code=ADMIN_LIMIT)
            return  # else accepted, and nothing is told
        with directory.lock:
            directory.asked.append("dirsync" if DIRSYNC in controls else ",".join(wanted))
            known = {f"CN={guid},{BASE}": (guid, entry) for guid, entry in directory.objects.items()}
            special = directory.special(base)
            if special is not None or scope == 0:
                entry = special if special is not None else known[base][1]
                self.entry(number_of, base, entry, wanted)
                self.end(number_of)
            elif DIRSYNC in controls:
                self.rounds(number_of, parts[6], wanted, controls)
            else:
                found = [(dn, entry) for dn, (_, entry) in known.items() if matches(*parts[6], entry)]
                self.pages(number_of, found, wanted, controls)

    def pages(self, number_of, found, wanted, controls):
        self.server.directory.on_page()
        reply, most = b"", len(found)
        if PAGED in controls:
            (_, _), (_, cookie) = elements(elements(controls[PAGED])[0][1])
            low, most = int(cookie or b"0"), self.server.directory.page
            more = str(low + most) if low + most < len(found) else ENDLESS[self.server.directory.endless]
            found = found[low:low + most]
            reply = tlv(0x30, text(PAGED) + text(tlv(0x30, number(0) + text(more))))
        elif most > self.server.directory.page:
            found = found[:self.server.directory.page]
        for dn, entry in found:
            self.entry(number_of, dn, entry, wanted)
        self.say(number_of, tlv(REFERENCE, text(f"ldap://DomainDnsZones.fabrikam.example/DC=DomainDnsZones,{BASE}")))
        self.end(number_of, code=OK if PAGED in controls or len(found) == most else SIZE_LIMIT, controls=reply)

    def rounds(self, number_of, query, wanted, controls):
        """The cookie is the number of the last change that was told."""
        directory = self.server.directory
        if not directory.dirsync:
            self.end(number_of, code=OTHER_RIGHTS, why=ACCESS_DENIED)
            return
        (_, _), (_, _), (_, cookie) = elements(elements(controls[DIRSYNC])[0][1])
        since = sorted((usn, guid) for guid, usn in directory.changed.items() if usn > int(cookie or b"0"))
        more, since = len(since) > directory.page, since[:directory.page]
        for _, guid in since:
            entry = directory.objects.get(guid)  # of who is gone, and not for us to see, the GUID is all
            if entry is None and SHOW_DELETED not in controls:
                continue
            if entry is None or matches(*query, entry):
                self.entry(number_of, f"CN={guid},{BASE}", entry or {"objectGUID": [guid.bytes_le]}, wanted + ["objectGUID"])
        last = since[-1][0] if more else directory.usn
        self.end(number_of, controls=tlv(0x30, text(DIRSYNC) + text(tlv(
            0x30, number(1 if more else 0) + number(0) + text(str(last))))))


class Controller(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, directory):
        super().__init__(("127.0.0.1", 0), Session)
        self.directory = directory
        self.url = f"ldap://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
