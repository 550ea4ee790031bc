# SPDX-License-Identifier: Apache-2.0
"""The kill drill: while numbered messages flow both ways, each gateway is killed with -9 ten times
at random moments, PostgreSQL of boston stops, the link is cut and stalled. It ends when each site
has committed 5,000 of its own, however many were refused or lost before any commit. Then:

  * all of that did happen, by the logs, and messages were on their way meanwhile
  * what the first gateway committed arrives, all of it
  * in the order of its conversation
  * once between the sites; the last hop may repeat what its barrier had not covered, same stanza id
  * what came back as an error was not delivered
"""
import os
import random
import threading

import pytest

from labkit import pause, protobuf, unique, wait_until
from xmpp import CLIENT

SEED = int(os.environ.get("HEDGEROW_DRILL_SEED", "20020214"))
KILLS = 10
MESSAGES = 5000  # committed each way, at least; more while the drill goes on
PATIENCE = 10    # times as many sent, and the drill has gone wrong
PAIRS = [("ada", "bob"), ("carol", "dave"), ("erik", "fay"), ("grace", "hugo"), ("ivan", "jane")]
WAYS = [("amsterdam", "boston"), ("boston", "amsterdam")]
WINDOW = 4096  # more than a barrier covers: the last hop repeats nothing older
ID, TYPE, STANZA_ID = 1, 3, 4  # fields of wire.proto, Envelope


class Conversation(threading.Thread):
    """One direction between two clients: sends numbered messages until told to end."""

    def __init__(self, mark, sender, recipient, most):
        super().__init__(daemon=True)
        self.sender, self.recipient = sender, recipient
        self.prefix = f"{mark}-{sender.local}-{recipient.local}-"
        self.most = most
        self.sent = 0
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set() and self.sent < self.most:
            self.sent += 1
            self.sender.message(self.recipient.account.address, f"number {self.sent}",
                                stanza_id=f"{self.prefix}{self.sent}")
            pause()

    def numbers(self, client, error):
        """The numbers of this conversation that the client has seen, in order."""
        ids = (s.get("id") or "" for s in client.all(
            lambda s: s.tag == CLIENT + "message" and (s.get("type") == "error") == error))
        return [int(one[len(self.prefix):]) for one in ids if one.startswith(self.prefix)]

    def received(self):
        return self.numbers(self.recipient, False)

    def bounced(self):
        return set(self.numbers(self.sender, True))


def journal(lab, site, queue, mark):
    """(envelope id, stanza id) of the drill's messages in the journal, in order."""
    rows = lab.sql(site, "SELECT envelope FROM hedgerow.journal j JOIN hedgerow.queue q ON q.id = j.queue"
                         " WHERE q.name LIKE %s ORDER BY q.name, j.seq", queue)
    found = []
    for packed, in rows:
        fields = protobuf(packed)
        stanza_id = bytes(fields.get(STANZA_ID, [b""])[0]).decode()
        if stanza_id.startswith(mark) and bytes(fields.get(TYPE, [b""])[0]) != b"error":
            found.append((bytes(fields[ID][0]), stanza_id))
    return found


def play(lab, conversations):
    """What happens, in a random but repeatable order, counted in messages and not in seconds."""
    chance = random.Random(SEED)

    def more(low, high):
        goal = sum(one.sent for one in conversations) + chance.randrange(low, high)
        wait_until(lambda: sum(one.sent for one in conversations) >= goal, "more messages")

    def kill(name):
        lab.kill(name)
        lab.start(name)

    def stop_postgres():
        lab.stop("postgres-boston")
        more(800, 1200)
        lab.start("postgres-boston")

    def link(command):
        lab.link(command)
        more(800, 1600)
        lab.link("flow")

    acts = [(kill, f"gateway-{site}") for site in ("amsterdam", "boston") for _ in range(KILLS)]
    acts += [(stop_postgres,), (link, "cut"), (link, "stall")]
    chance.shuffle(acts)
    for act, *words in acts:
        more(50, 350)
        print(f"after {conversations[0].sent} of each: {act.__name__} {' '.join(words)}")
        act(*words)


def happened(lab, marks):
    """What the logs say of it: (event, at least so often) for each."""
    logs = {name: lab.log_since(mark) for name, mark in marks.items()}
    for name, event, least in [("gateway-amsterdam", "event=gateway.start", KILLS),
                               ("gateway-boston", "event=gateway.start", KILLS),
                               ("gateway-boston", "event=database.down use=journal", 1),
                               ("gateway-amsterdam", "event=link.state site=boston to=down", 2)]:
        count = logs[name].count(event)
        assert count >= least, f"{name}: {event} {count} times, not {least}"
    assert "event=gateway.drain" not in logs["gateway-amsterdam"] + logs["gateway-boston"], "not killed but ended"


@pytest.mark.drill
def test_nothing_committed_is_lost_or_shown_twice(lab, login):
    lab.wait_link()
    mark = unique("drill")
    marks = {name: lab.log_mark(name) for name in ("gateway-amsterdam", "gateway-boston")}
    conversations = []
    for left, right in PAIRS:
        one, other = login(left), login(right)
        conversations += [Conversation(mark, one, other, PATIENCE * MESSAGES // len(PAIRS)),
                          Conversation(mark, other, one, PATIENCE * MESSAGES // len(PAIRS))]
    for conversation in conversations:
        conversation.start()
    play(lab, conversations)
    wait_until(lambda: all(len(journal(lab, here, f"link:{there}", mark)) >= MESSAGES for here, there in WAYS)
               or not any(one.is_alive() for one in conversations), f"{MESSAGES} messages each way", 300)
    for conversation in conversations:
        conversation.ending.set()
    for conversation in conversations:
        conversation.join()

    lab.wait_link()
    wait_until(lambda: all(lab.value(site, "SELECT bool_and(acked = head) FROM hedgerow.queue")
                           for site in ("amsterdam", "boston")), "the journals to drain", 120)
    happened(lab, marks)
    report = []
    for here, there in WAYS:
        left = journal(lab, here, f"link:{there}", mark)
        arrived = journal(lab, there, "xmpp:%", mark)
        assert len(left) >= MESSAGES, f"{here} committed {len(left)} messages only"
        assert len(set(left)) == len(left), f"{here} committed a message twice"
        assert len({one for one, _ in arrived}) == len(arrived), f"{there} took a message twice"
        assert set(arrived) == set(left), f"what {here} committed is not what {there} took"
        report.append(f"{here}: {len(left)} committed")
        checked = check_conversations(conversations, [stanza_id for _, stanza_id in left], report)
        assert checked == len(PAIRS), f"{here}: only {checked} conversations have messages"
    print("\n" + "\n".join(report))


def check_conversations(conversations, committed, report):
    """Those whose messages are among the committed ones of one direction; returns how many."""
    count = 0
    for one in conversations:
        numbers = [int(s[len(one.prefix):]) for s in committed if s.startswith(one.prefix)]
        if not numbers:
            continue
        count += 1
        seen = wait_seen(one, numbers)
        first = list(dict.fromkeys(seen))
        bounced = one.bounced()
        assert numbers == sorted(numbers), f"{one.prefix}: committed out of order"
        assert first == numbers, (f"{one.prefix}: lost {sorted(set(numbers) - set(first))[:10]}, "
                                  f"not committed but seen {sorted(set(first) - set(numbers))[:10]}, "
                                  "or out of order")
        assert not bounced & set(first), f"{one.prefix}: an error came back for what was delivered"
        highest = 0
        for number in seen:
            assert number > highest - WINDOW, f"{one.prefix}: {number} again after {highest}"
            highest = max(highest, number)
        lost = sorted(set(range(1, one.sent + 1)) - set(numbers) - bounced)
        report.append(f"  {one.prefix}: {one.sent} sent, {len(numbers)} committed, {len(bounced)} refused, "
                      f"{len(seen) - len(first)} repeated at the last hop, "
                      f"{len(lost)} lost before any commit: {spans(lost)}")
    return count


def wait_seen(conversation, committed):
    """What the recipient has seen once all that was committed is there, or a minute has passed."""
    try:
        wait_until(lambda: set(committed) <= set(conversation.received()), "the last messages", 60)
    except AssertionError:
        pass  # the caller says which are missing
    return conversation.received()


def spans(numbers):
    """1-3 7 9-12"""
    found = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)
