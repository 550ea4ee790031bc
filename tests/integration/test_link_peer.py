# SPDX-License-Identifier: Apache-2.0
"""A peer site whose gateway is this test: it may be a stranger, cut frames short, send a batch
again, and speak for people who are not its own."""
import os
import struct
import time
import uuid

import pytest
import zmq

from labkit import SLOW, protobuf, unique, wait_until
from xmpp import CLIENT

CARL, ADA = "carl.chicago@example.com", "ada.adams@example.com"
LAYOUT = b"\x10"  # an uncompressed frame
HELLO, RESUME, BATCH, ACK, PING, PONG, BYE = 2, 3, 4, 5, 8, 9, 10


# --- protobuf by hand: what a test must be able to break, no library may mend ---


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fixed(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def envelope(sender, recipient, body, stanza_id, payload="<body>{}</body>"):
    now = time.time_ns() // 1000
    return (field(1, uuid7()) + field(3, "chat") + field(4, stanza_id) + field(5, sender)
            + field(6, recipient) + field(8, payload.format(body)) + fixed(9, now)
            + fixed(10, now + 3_600_000_000) + field(11, "chicago"))


def uuid7():
    stamp = (time.time_ns() // 1_000_000).to_bytes(6, "big")
    rest = bytearray(os.urandom(10))
    rest[0] = rest[0] & 0x0F | 0x70
    rest[2] = rest[2] & 0x3F | 0x80
    return stamp + bytes(rest)


def kind_of(frame):
    """Number and content of a frame's body; none that comes here is large enough to be compressed."""
    (number, (content,)), = ((n, v) for n, v in protobuf(frame[1:]).items() if n != 1)
    return number, content


class Peer:
    """Dials amsterdam with a CURVE key, as site chicago's gateway."""

    def __init__(self, lab, keys, incarnation):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_publickey, self.socket.curve_secretkey = keys
        self.socket.curve_serverkey = lab.value(
            "amsterdam", "SELECT public_key FROM hedgerow.site_key WHERE site = 'amsterdam'").encode()
        self.socket.connect(f"tcp://127.0.0.1:{lab.env()['LINK_amsterdam']}")
        self.session = int.from_bytes(os.urandom(8), "little") | 1
        self.incarnation = incarnation

    def send(self, kind, content):
        self.socket.send(LAYOUT + fixed(1, self.session) + field(kind, content))

    def wait(self, kind, what, seconds=20):
        """The content of the next frame of that kind; pings are answered on the way."""
        until = time.monotonic() + seconds * SLOW
        while True:
            left = int((until - time.monotonic()) * 1000)
            assert left > 0 and self.socket.poll(left), f"waited in vain for {what}"
            got, content = kind_of(self.socket.recv())
            if got == kind:
                return content
            if got == PING:
                self.send(PONG, content)

    def begin(self):
        """Returns the position that amsterdam has committed."""
        self.send(HELLO, field(1, 1) + field(2, "chicago") + field(3, "chicago-1")
                  + field(4, self.incarnation))
        incarnation = protobuf(self.wait(HELLO, "Hello"))[4][0]
        resume = protobuf(self.wait(RESUME, "Resume"))
        self.send(RESUME, field(1, incarnation) + field(2, 0) + field(3, 100))
        return resume.get(2, [0])[0]

    def batch(self, first, *envelopes):
        self.send(BATCH, field(1, first) + b"".join(field(3, one) for one in envelopes))

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module", name="keys")
def fixture_keys(lab):
    """Makes chicago a peer of amsterdam: its rows as replication would bring them."""
    keys = zmq.curve_keypair()
    rows = """
        SET session_replication_role = replica;
        INSERT INTO hedgerow.site (site) VALUES ('chicago');
        INSERT INTO hedgerow.site_key (site, public_key) VALUES ('chicago', %(key)s);
        INSERT INTO hedgerow.link (site, peer, dialer) VALUES ('chicago', 'amsterdam', 'chicago');
        INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn, filter)
            VALUES ('chicago', 'gamma', 'openldap', '{ldaps://ldap.example}', 'cn=x', 'x', 'dc=x', '(cn=*)');
        INSERT INTO hedgerow.email_domain (site, domain, forest) VALUES ('chicago', 'example.com', 'gamma');
        INSERT INTO hedgerow.installation (site, installation, forest, software, native_domain, host, port, secret)
            VALUES ('chicago', 'prosody-gamma', 'gamma', 'prosody', 'im.gamma.example', 'localhost', 5347, 'x');
        INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation)
            VALUES ('chicago', 'gamma', 'carl', %(carl)s, 'carl@im.gamma.example', 'prosody-gamma');
        SET session_replication_role = DEFAULT;
    """
    with_sql(lab, rows, {"key": keys[0].decode(), "carl": CARL})
    lab.hedgerow("amsterdam", "link", "add", "chicago", "--dialer", "chicago")
    lab.hedgerow("amsterdam", "rule", "add", "gamma-to-alpha", "allow", "--from", "forest:gamma",
                 "--to", "forest:alpha")
    yield keys
    lab.hedgerow("amsterdam", "rule", "remove", "gamma-to-alpha")
    lab.hedgerow("amsterdam", "link", "remove", "chicago")
    tables = ("person", "installation", "email_domain", "forest", "link", "site_key", "site")
    with_sql(lab, "SET session_replication_role = replica;"
             + "".join(f"DELETE FROM hedgerow.{table} WHERE site = 'chicago';" for table in tables)
             + "SET session_replication_role = DEFAULT;", {})
    # The drill asks for all queues to be drained: this one has nobody to send to.
    with_sql(lab, "UPDATE hedgerow.queue SET acked = head WHERE name = 'link:chicago'", {})


def with_sql(lab, text, values):
    lab.value("amsterdam", "SELECT 1")
    with lab.connections["amsterdam"].cursor() as cursor:
        cursor.execute(text, values)


@pytest.fixture(name="incarnation", scope="module")
def fixture_incarnation():
    return str(uuid.uuid4())


@pytest.fixture(name="dial")
def fixture_dial(lab):
    peers = []

    def dial(keys, incarnation):
        peers.append(Peer(lab, keys, incarnation))
        return peers[-1]

    yield dial
    for peer in peers:
        peer.close()


def counted(lab, metric):
    before = lab.metric("amsterdam", metric)
    return lambda: wait_until(lambda: lab.metric("amsterdam", metric) > before, f"the metric {metric}")


def bodies(client, text):
    return client.all(lambda s: s.tag == CLIENT + "message" and s.findtext(CLIENT + "body") == text)


def test_an_unknown_key_gets_nowhere(lab, keys, incarnation, dial):
    more = counted(lab, "link_refused_keys_total")
    mark = lab.log_mark("gateway-amsterdam")
    stranger = dial(zmq.curve_keypair(), incarnation)
    stranger.send(HELLO, field(1, 1) + field(2, "chicago") + field(3, "x") + field(4, incarnation))
    lab.wait_log(mark, r"event=link\.refused")
    more()
    assert not stranger.socket.poll(0)
    lab.wait_link()


def test_a_message_of_a_peer_arrives_and_a_replayed_batch_does_not_repeat_it(lab, login, keys, incarnation, dial):
    ada = login("ada")
    text, last = unique("once"), unique("last")
    one = envelope(CARL, ADA, text, unique())
    peer = dial(keys, incarnation)
    peer.begin()
    peer.batch(1, one)
    peer.wait(ACK, "the acknowledgement")
    ada.wait_body(text)
    peer.close()

    more = counted(lab, "link_replayed_total")
    again = dial(keys, incarnation)
    assert again.begin() == 1
    again.batch(1, one)
    again.batch(2, envelope(CARL, ADA, last, unique()))
    ada.wait_body(last)
    more()
    assert len(bodies(ada, text)) == 1


def test_a_frame_cut_short_ends_that_session_only(lab, keys, incarnation, dial):
    for broken in (lambda whole: whole[:len(whole) // 2], lambda whole: whole[:1], lambda whole: b"",
                   lambda whole: b"\x11" + whole[1:], lambda whole: b"\xff" + whole[1:]):
        more = counted(lab, "link_refused_frames_total")
        mark = lab.log_mark("gateway-amsterdam")
        peer = dial(keys, incarnation)
        peer.begin()
        whole = LAYOUT + fixed(1, peer.session) + field(BATCH, field(1, 99) + field(3, b"x" * 100))
        peer.socket.send(broken(whole))
        peer.wait(BYE, "Bye")
        lab.wait_log(mark, r"event=link\.frame_refused")
        more()
        peer.close()
    assert lab.value("amsterdam", "SELECT state FROM hedgerow.link_status WHERE peer = 'boston'") == "up"


def test_a_sender_that_the_site_does_not_own_is_refused(lab, login, keys, incarnation, dial):
    ada = login("ada")
    forged, honest = unique("forged"), unique("honest")
    mark = lab.log_mark("gateway-amsterdam")
    peer = dial(keys, incarnation)
    peer.batch(peer.begin() + 1, envelope("bob.baker@example.com", ADA, forged, unique()),
               envelope(CARL, ADA, honest, unique()))
    ada.wait_body(honest)
    lab.wait_log(mark, r"event=dispatch\.sender_refused")
    assert not bodies(ada, forged)


def test_a_payload_that_would_end_its_stanza_is_refused(lab, login, keys, incarnation, dial):
    ada = login("ada")
    injected, honest = unique("injected"), unique("honest")
    more = counted(lab, "dispatch_refused_payload_total")
    mark = lab.log_mark("gateway-amsterdam")
    peer = dial(keys, incarnation)
    second = ("<body/></message><message from='bob.baker@example.com' to='ada@im.alpha.example'>"
              "<body>{}</body>")
    peer.batch(peer.begin() + 1, envelope(CARL, ADA, injected, unique(), second),
               envelope(CARL, ADA, honest, unique()))
    ada.wait_body(honest)
    lab.wait_log(mark, r"event=dispatch\.payload_refused")
    more()
    assert not bodies(ada, injected)
