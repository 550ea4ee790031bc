# SPDX-License-Identifier: Apache-2.0
"""kill -9 of hedgerow-directory and of PostgreSQL, fifty times at random moments, while a directory
changes all the time. After each:

  * no cursor is ahead of its data: whoever changed before the stored cookie is published as they were
    then, or later
At the end:
  * the registry is as the directory is, and a full run finds nothing to change
  * nobody flapped: who never left was never removed, added again or made anew
"""
import os
import random
import threading

import ldap
import pytest

from directorykit import BASE, Forest
from labkit import pause, wait_until

SEED = int(os.environ.get("HEDGEROW_DRILL_SEED", "19991231"))
KILLS = 50
STAYERS, LEAVERS = 80, 20
LIVES = [(1, 150)] * 4 + [(500, 900)]  # changes until the next kill
BURST = 8  # changes between pauses, on average: runs of few and of many are met


class Changer(threading.Thread):
    """Changes the directory until told to end, and writes down what it was after each change:
    `history` has of each anchor (change number, state), the state being None for who is not there."""

    def __init__(self, slapd):
        super().__init__(daemon=True)
        self.slapd = slapd
        self.chance = random.Random(SEED)
        self.lock = threading.Condition()  # held for each change
        self.changes = 0
        self.ending = False
        self.failure = None
        self.uid, self.state, self.history = {}, {}, {}
        for dn, entry in slapd.connection.search_s(f"ou=People,{BASE}", ldap.SCOPE_ONELEVEL, attrlist=["*", "entryUUID"]):
            assert dn.startswith("uid=")
            self.note_new(entry)
        self.stayers = list(self.uid)[:STAYERS]
        self.leavers = [anchor for anchor in self.uid if anchor not in self.stayers]

    def note_new(self, entry):
        anchor, uid = entry["entryUUID"][0].decode(), entry["uid"][0].decode()
        self.uid[anchor] = uid
        self.state[anchor] = {"address": entry["mail"][0].decode().lower(), "name": entry["displayName"][0].decode()}
        self.history[anchor] = []
        self.note(anchor)
        return anchor

    def note(self, anchor):
        csn = self.slapd.connection.search_s(BASE, ldap.SCOPE_BASE, attrlist=["contextCSN"])[0][1]["contextCSN"][0]
        state = self.state.get(anchor)
        self.history[anchor].append((csn.decode(), state and (state["address"], f"{self.uid[anchor]}@im.a.example",
                                                              state["name"])))

    def set(self, anchor, attribute, field, value):
        self.slapd.replace(self.uid[anchor], attribute, value)
        self.state[anchor][field] = value
        self.note(anchor)

    def call(self):
        self.set(self.chance.choice(list(self.state)), "displayName", "name", f"Name {self.changes}")

    def readdress(self):
        self.set(self.chance.choice(list(self.state)), "mail", "address", f"address{self.changes}@example.com")

    def swap(self):
        one, other = self.chance.sample(list(self.state), 2)
        first, second = self.state[one]["address"], self.state[other]["address"]
        self.set(one, "mail", "address", second)
        self.set(other, "mail", "address", first)

    def rename(self):
        anchor, uid = self.chance.choice(list(self.state)), f"r{self.changes}"
        self.slapd.rename(self.uid[anchor], uid)
        self.uid[anchor] = uid
        self.note(anchor)

    def leave(self):
        there = [anchor for anchor in self.leavers if anchor in self.state]
        if len(there) > LEAVERS // 2:
            anchor = self.chance.choice(there)
            self.slapd.delete(self.uid[anchor])
            del self.state[anchor]
            self.note(anchor)

    def come(self):
        uid = f"n{self.changes}"
        self.slapd.add(uid)
        found = self.slapd.connection.search_s(self.slapd.dn(uid), ldap.SCOPE_BASE, attrlist=["*", "entryUUID"])
        self.leavers.append(self.note_new(found[0][1]))

    def run(self):
        kinds = [self.call] * 6 + [self.readdress, self.swap, self.rename, self.leave, self.come]
        try:
            while not self.ending:
                with self.lock:
                    self.chance.choice(kinds)()
                    self.changes += 1
                    self.lock.notify_all()
                if self.chance.random() < 1 / BURST:
                    pause()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure
            with self.lock:
                self.lock.notify_all()

    def wait_changes(self, number):
        with self.lock:
            until = self.changes + number
            self.lock.wait_for(lambda: self.changes >= until or self.failure)
        assert not self.failure, self.failure

    def end(self):
        self.ending = True
        self.join()
        assert not self.failure, self.failure


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    one = Forest(tmp_path_factory.mktemp("crash"), STAYERS + LEAVERS, session_log=1000)
    one.directory.chmod(0o711)
    one.configure(guard_delete_count=100000, guard_address_count=100000)
    one.daemon.start()
    wait_until(lambda: len(published(one)[1]) == STAYERS + LEAVERS, "the first run")
    yield one
    one.close()


def published(forest):
    """In one moment: the cookie's change number, and the people by anchor."""
    rows = forest.registry.sql(
        "SELECT anchor, address, native, name, (SELECT convert_from(cookie, 'UTF8') FROM hedgerow.sync_cursor)"
        " FROM hedgerow.person WHERE state = 'active'")
    cookie = rows and rows[0][4]
    return (cookie.split("csn=")[1].split(",")[0] if cookie else ""), {row[0]: tuple(row[1:4]) for row in rows}


def check_cursor(forest, changer):
    """Whoever changed up to the cursor is as after that change, or a later one."""
    csn, people = published(forest)
    for anchor, history in changer.history.items():
        known = [i for i, (number, _) in enumerate(history) if number <= csn]
        if known:
            allowed = [state for _, state in history[known[-1]:]]
            assert people.get(anchor) in allowed, f"cursor {csn}: {anchor} is {people.get(anchor)}, not of {allowed}"


def sessions(forest):
    return forest.registry.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'hedgerow-directory%'")


def test_nothing_is_lost_and_nobody_flaps(forest):
    registry, chance = forest.registry, random.Random(SEED)
    made = dict(registry.sql("SELECT anchor, created_at FROM hedgerow.person"))
    changer = Changer(forest.slapd)
    changer.start()
    for kill in range(KILLS):
        if chance.random() < 0.3:
            registry.value("SELECT hedgerow.forest_sync('globex')")
        changer.wait_changes(chance.randrange(*chance.choice(LIVES)))
        if kill % 3 == 2:
            registry.crash()
        if kill % 3 < 2 or chance.random() < 0.3:
            forest.daemon.kill()
            wait_until(lambda: sessions(forest) == 0, "the sessions of the dead to end")
            with changer.lock:
                check_cursor(forest, changer)
            forest.daemon.start()
    changer.end()

    expected = {anchor: history[-1][1] for anchor, history in changer.history.items() if history[-1][1]}
    wait_until(lambda: published(forest)[1] == expected, "the registry to be as the directory", 30)
    run = registry.sync()
    assert (run["state"], run["read"]) == ("unchanged", len(expected)), run
    assert registry.sql("SELECT anchor, action, run FROM hedgerow.sync_difference WHERE anchor = ANY (%s)"
                        " AND action IN ('add', 'remove')", changer.stayers) == []
    now = dict(registry.sql("SELECT anchor, created_at FROM hedgerow.person"))
    assert {anchor: now[anchor] for anchor in changer.stayers} == {anchor: made[anchor] for anchor in changer.stayers}
    ends = dict(registry.sql("SELECT kind || ' ' || state, count(*) FROM hedgerow.sync_run GROUP BY 1"))
    assert ends["changes applied"] > KILLS and ends["full unchanged"] > 0, ends
