# SPDX-License-Identifier: Apache-2.0
"""A small XMPP client and a small XMPP server for components, both of which keep every byte that
they receive: what tests need to see, a library would tidy away."""
import base64
import hashlib
import socket
import threading
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from labkit import SLOW, unique

CLIENT = "{jabber:client}"
COMPONENT = "{jabber:component:accept}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


class Stream:
    """Stanzas of one XML stream as they come, read by a thread of its own."""

    def __init__(self, sock):
        self.socket = sock
        self.sending = threading.Lock()
        self.changed = threading.Condition()
        self.raw = bytearray()  # everything received since `reset`
        self.stanzas = []
        self.header = None
        self.ended = False
        self.parser, self.depth = None, 0
        self.reset()

    def reset(self):
        self.parser, self.depth, self.root = ET.XMLPullParser(("start", "end")), 0, None

    def begin(self):
        threading.Thread(target=self.read, daemon=True).start()

    def feed(self, data):
        """Stanzas completed by these bytes."""
        done = []
        self.parser.feed(data)
        for event, element in self.parser.read_events():
            if event == "start":
                self.depth += 1
                if self.depth == 1:
                    self.root = element
                    self.header = dict(element.attrib)
            else:
                self.depth -= 1
                if self.depth == 1:
                    self.root.remove(element)
                    done.append(element)
        return done

    def read(self):
        try:
            while data := self.socket.recv(65536):
                with self.changed:
                    self.raw += data
                for stanza in self.feed(data):
                    self.on_stanza(stanza)
        except (OSError, ET.ParseError):
            pass
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def on_stanza(self, stanza):
        with self.changed:
            self.stanzas.append(stanza)
            self.changed.notify_all()

    def send(self, xml):
        with self.sending:
            self.socket.sendall(xml if isinstance(xml, bytes) else xml.encode())

    def wait(self, predicate, what, seconds=20.0):
        """The first stanza, of all received, that the predicate likes."""
        def found():
            return next((one for one in self.stanzas if predicate(one)), None)
        with self.changed:
            result = None

            def ready():
                nonlocal result
                result = found()
                return result is not None or self.ended
            self.changed.wait_for(ready, seconds * SLOW)
            assert result is not None, (f"waited in vain for {what}"
                                        + (": the stream has ended" if self.ended else ""))
            return result

    def wait_count(self, predicate, count, what, seconds=20.0):
        with self.changed:
            ok = self.changed.wait_for(lambda: sum(map(bool, map(predicate, self.stanzas))) >= count,
                                       seconds * SLOW)
            assert ok, f"waited in vain for {count} {what}"

    def wait_end(self, seconds=20.0):
        with self.changed:
            assert self.changed.wait_for(lambda: self.ended, seconds * SLOW), "the stream goes on"

    def all(self, predicate):
        with self.changed:
            return [one for one in self.stanzas if predicate(one)]

    def received(self):
        with self.changed:
            return bytes(self.raw)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class Client(Stream):
    """Logged in as a user, with presence sent."""

    def __init__(self, account, resource="test", presence=True):
        super().__init__(socket.create_connection((account.host, int(account.port)), 20 * SLOW))
        self.account = account
        self.local, self.domain = account.jid.split("@")
        self.open()
        token = base64.b64encode(f"\0{self.local}\0{account.password}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>")
        answer = self.next()
        assert answer.tag.endswith("}success"), f"{account.jid} cannot log in: {ET.tostring(answer)}"
        self.open()
        self.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                  f"<resource>{resource}</resource></bind></iq>")
        answer = self.next()
        self.jid = answer.findtext(".//{urn:ietf:params:xml:ns:xmpp-bind}jid")
        self.send("<iq type='set' id='session'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
        self.next()
        self.socket.settimeout(None)
        self.begin()
        if presence:
            self.send("<presence/>")
            self.wait(lambda s: s.tag == CLIENT + "presence" and s.get("from") == self.jid, "own presence")

    def open(self):
        """A new stream; returns when its features are here."""
        self.reset()
        self.pending = []
        self.send(f"<stream:stream to='{self.domain}' version='1.0' xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams'>")
        self.next()

    def next(self):
        while not self.pending:
            data = self.socket.recv(65536)
            assert data, "the server ended the stream"
            self.pending += self.feed(data)
        return self.pending.pop(0)

    def message(self, to, body, extra="", kind="chat", stanza_id=None):
        """Sends one; returns its id."""
        stanza_id = stanza_id or unique("m")
        self.send(f"<message type='{kind}' to={quoteattr(to)} id='{stanza_id}'>"
                  f"<body>{escape(body)}</body>{extra}</message>")
        return stanza_id

    def query(self, to, payload, kind="get"):
        stanza_id = unique("q")
        self.send(f"<iq type='{kind}' to={quoteattr(to)} id='{stanza_id}'>{payload}</iq>")
        return stanza_id

    def wait_id(self, stanza_id, what="an answer", seconds=20.0):
        return self.wait(lambda s: s.get("id") == stanza_id, what, seconds)

    def wait_body(self, body, seconds=20.0):
        return self.wait(lambda s: s.tag == CLIENT + "message" and s.findtext(CLIENT + "body") == body
                         and s.get("type") != "error", f"a message {body!r}", seconds)

    def wait_error(self, stanza_id, seconds=20.0):
        """(condition, text, from) of the error that answers it."""
        stanza = self.wait(lambda s: s.get("id") == stanza_id and s.get("type") == "error",
                           f"an error for {stanza_id}", seconds)
        error = stanza.find(CLIENT + "error")
        condition = next(one.tag[len(STANZAS):] for one in error
                         if one.tag.startswith(STANZAS) and one.tag != STANZAS + "text")
        return condition, error.findtext(STANZAS + "text") or "", stanza.get("from")

    def errors(self, stanza_id):
        return self.all(lambda s: s.get("id") == stanza_id and s.get("type") == "error")

    def round_trip(self):
        """Everything that the server had for us before is here when this returns."""
        self.wait_id(self.query(self.domain, "<ping xmlns='urn:xmpp:ping'/>"))


class ComponentStream(Stream):
    """The server's side of one component connection."""

    def __init__(self, sock, server):
        super().__init__(sock)
        self.server = server
        self.domain = None
        self.answers_pings = True

    def feed(self, data):
        stanzas = super().feed(data)
        if self.domain is None and self.header is not None:
            self.domain = self.header["to"]
            self.stream_id = unique("s")
            self.send(f"<?xml version='1.0'?>{self.server.prolog}<stream:stream xmlns='jabber:component:accept' "
                      "xmlns:stream='http://etherx.jabber.org/streams' "
                      f"from='{self.domain}' id='{self.stream_id}'>")
        return stanzas

    def on_stanza(self, stanza):
        if stanza.tag == COMPONENT + "handshake":
            right = hashlib.sha1((self.stream_id + self.server.secret).encode()).hexdigest()
            assert stanza.text == right, "wrong handshake"
            self.send("<handshake/>")
            self.server.on_stream(self)
            return
        if self.answers_pings and stanza.find("{urn:xmpp:ping}ping") is not None:
            self.send(f"<iq type='result' id={quoteattr(stanza.get('id'))} "
                      f"from={quoteattr(stanza.get('to'))} to={quoteattr(stanza.get('from'))}/>")
            return
        super().on_stanza(stanza)

    def wait_body(self, body, seconds=20.0):
        return self.wait(lambda s: s.findtext(COMPONENT + "body") == body, f"a message {body!r}", seconds)


class ComponentServer:
    """An XMPP server as a gateway's component edge sees it: XEP-0114, one stream for each domain."""

    def __init__(self, port, secret):
        self.secret = secret
        self.prolog = ""  # between the XML declaration and the stream header
        self.changed = threading.Condition()
        self.streams = {}  # domain -> the latest stream that has authenticated
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            ComponentStream(sock, self).begin()

    def on_stream(self, stream):
        with self.changed:
            self.streams[stream.domain] = stream
            self.count += 1
            self.changed.notify_all()

    def stream(self, domain, after=None, seconds=60.0):
        """The stream of a domain; with `after`, one that came after that one."""
        def there():
            one = self.streams.get(domain)
            return one if one is not None and one is not after and not one.ended else None
        with self.changed:
            assert self.changed.wait_for(there, seconds * SLOW), f"no component stream for {domain}"
            return there()

    def close(self):
        self.listener.close()
        for stream in list(self.streams.values()):
            stream.close()
