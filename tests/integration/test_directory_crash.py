# SPDX-License-Identifier: Apache-2.0
"""kill -9 of hedgerow-directory and of PostgreSQL, fifty times at random moments, half of them within a run,
while a directory changes all the time: OpenLDAP, and Active Directory. After each:

  * no cursor is ahead of its data: whoever changed before the stored cookie is published as they were
    then, or later
At the end:
  * the registry is as the directory is, and a full run finds nothing to change
  * nobody flapped: who never left was never removed, added again or made anew
  * each blow fell: those who were struck were alive and are dead
"""
import os
import pathlib
import random
import signal
import struct
import threading

import ldap
import pytest

from directorykit import BASE, Forest
from labkit import pause, wait_until
from sambakit import Contoso, encoded, needs_ports

SEED = int(os.environ.get("HEDGEROW_DRILL_SEED", "19991231"))
KILLS = 50
STAYERS, LEAVERS = 80, 20
BURST = 8  # changes between pauses, on average: runs of few and of many are met


class OpenLdap(Forest):
    """A position is a CSN (change sequence number)."""
    name, domain, mail = "globex", "im.a.example", "example.com"
    lives = [(1, 150)] * 4 + [(500, 900)]  # changes until the next kill

    def __init__(self, directory):
        super().__init__(directory, STAYERS + LEAVERS, session_log=1000)
        self.accounts = {}
        self.daemon.start()

    def people(self):
        """Anchor: account, address, name."""
        found = {}
        for _, entry in self.slapd.connection.search_s(f"ou=People,{BASE}", ldap.SCOPE_ONELEVEL, attrlist=["*", "entryUUID"]):
            one = {name: many[0].decode() for name, many in entry.items()}
            self.accounts[one["entryUUID"]] = one["uid"]
            found[one["entryUUID"]] = (one["uid"], one["mail"].lower(), one["displayName"])
        return found

    def position(self):
        return self.slapd.connection.search_s(BASE, ldap.SCOPE_BASE, attrlist=["contextCSN"])[0][1]["contextCSN"][0].decode()

    @staticmethod
    def position_of(cookie):
        return cookie.decode().split("csn=")[1].split(",")[0]

    def is_now(self, position):
        """Of a quiet directory; a run that changes nothing may have gone on from there."""
        return position <= self.position()

    def set_name(self, anchor, name):
        self.slapd.replace(self.accounts[anchor], "displayName", name)

    def set_address(self, anchor, address):
        self.slapd.replace(self.accounts[anchor], "mail", address)

    def rename(self, anchor, account):
        self.slapd.rename(self.accounts[anchor], account)
        self.accounts[anchor] = account

    def delete(self, anchor):
        self.slapd.delete(self.accounts[anchor])

    def add(self, account):
        self.slapd.add(account)
        found = self.slapd.connection.search_s(self.slapd.dn(account), ldap.SCOPE_BASE, attrlist=["*", "entryUUID"])
        one = {name: many[0].decode() for name, many in found[0][1].items()}
        self.accounts[one["entryUUID"]] = account
        return one["entryUUID"], one["mail"].lower(), one["displayName"]


class ActiveDirectory(Contoso):
    """A position is the controller's update sequence number, which Samba's cookie has at 0x2c."""
    name, domain, mail = "contoso", "im.c.example", "contoso.example"
    lives = [(1, 80)] * 4 + [(100, 200)]

    def __init__(self, directory):
        super().__init__(directory, STAYERS + LEAVERS)

    def people(self):
        return {self.dc.anchor(f"u{n}"): (f"u{n}", f"ada{n}@contoso.example", f"Ada Adams {n}")
                for n in range(STAYERS + LEAVERS)}

    def position(self):
        found = self.dc.ldap.search_s("", ldap.SCOPE_BASE, attrlist=["highestCommittedUSN"])
        return int(found[0][1]["highestCommittedUSN"][0])

    @staticmethod
    def position_of(cookie):
        return struct.unpack_from("<q", cookie, 0x2c)[0]

    def is_now(self, position):
        return position == self.position()

    def modify(self, anchor, **attributes):
        self.dc.ldap.modify_s(f"<GUID={anchor}>", [(ldap.MOD_REPLACE, name, encoded(many))
                                                   for name, many in attributes.items()])

    def set_name(self, anchor, name):
        self.modify(anchor, displayName=[name])

    def set_address(self, anchor, address):
        self.modify(anchor, mail=[address], proxyAddresses=[f"SMTP:{address}"])

    def rename(self, anchor, account):
        self.modify(anchor, sAMAccountName=[account])

    def delete(self, anchor):
        self.dc.ldap.delete_s(f"<GUID={anchor}>")

    def add(self, account):
        address = f"{account}@contoso.example"
        return self.dc.create(account, address), address, account.title()


class Changer(threading.Thread):
    """Changes the directory until told to end, and writes down what it was after each change:
    `history` has of each anchor (position, state), the state being None for who is not there."""

    def __init__(self, side):
        super().__init__(daemon=True)
        self.side = side
        self.chance = random.Random(SEED)
        self.lock = threading.Condition()  # held for each change
        self.changes = 0
        self.ending = False
        self.failure = None
        self.account, self.state, self.history = {}, {}, {}
        for anchor, person in side.people().items():
            self.note_new(anchor, *person)
        self.stayers = list(self.account)[:STAYERS]
        self.leavers = [anchor for anchor in self.account if anchor not in self.stayers]

    def note_new(self, anchor, account, address, name):
        self.account[anchor] = account
        self.state[anchor] = {"address": address, "name": name}
        self.history[anchor] = []
        self.note(anchor)

    def note(self, anchor):
        state = self.state.get(anchor)
        self.history[anchor].append((self.side.position(), state and (
            state["address"], f"{self.account[anchor]}@{self.side.domain}", state["name"])))

    def call(self):
        anchor = self.chance.choice(list(self.state))
        self.state[anchor]["name"] = f"Name {self.changes}"
        self.side.set_name(anchor, self.state[anchor]["name"])
        self.note(anchor)

    def give(self, anchor, address):
        self.side.set_address(anchor, address)
        self.state[anchor]["address"] = address
        self.note(anchor)

    def readdress(self):
        self.give(self.chance.choice(list(self.state)), f"address{self.changes}@{self.side.mail}")

    def swap(self):
        one, other = self.chance.sample(list(self.state), 2)
        first, second = self.state[one]["address"], self.state[other]["address"]
        self.give(one, second)
        self.give(other, first)

    def rename(self):
        anchor = self.chance.choice(list(self.state))
        self.account[anchor] = f"r{self.changes}"
        self.side.rename(anchor, self.account[anchor])
        self.note(anchor)

    def leave(self):
        there = [anchor for anchor in self.leavers if anchor in self.state]
        if len(there) > LEAVERS // 2:
            anchor = self.chance.choice(there)
            self.side.delete(anchor)
            del self.state[anchor]
            self.note(anchor)

    def come(self):
        account = f"n{self.changes}"
        anchor, address, name = self.side.add(account)
        self.note_new(anchor, account, address, name)
        self.leavers.append(anchor)

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


@pytest.fixture(name="side", scope="module", params=[OpenLdap, pytest.param(ActiveDirectory, marks=needs_ports)],
                ids=["OpenLDAP", "Active Directory"])
def _side(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("crash")
    directory.chmod(0o711)
    one = request.param(directory)
    one.registry.sql("UPDATE hedgerow.forest SET guard_delete_count = 100000, guard_address_count = 100000")
    one.registry.sql(RUN_UNDER_WAY)
    wait_until(lambda: len(published(one)[1]) == STAYERS + LEAVERS, "the first run")
    yield one
    one.close()


# True as soon as the daemon's session works for a run; false after a second without one.
RUN_UNDER_WAY = """
CREATE FUNCTION run_under_way() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    until timestamptz := clock_timestamp() + interval '1 second';
BEGIN
    WHILE clock_timestamp() < until LOOP
        PERFORM pg_stat_clear_snapshot();
        IF EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'directory' AND query LIKE '%sync_%' AND
                (state = 'active' OR state LIKE 'idle in transaction%')) THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
    RETURN false;
END $$"""


def published(side):
    """In one moment: the cookie's position, and the people by anchor."""
    rows = side.registry.sql("SELECT anchor, address, native, name, (SELECT cookie FROM hedgerow.sync_cursor)"
                             " FROM hedgerow.person WHERE state = 'active'")
    cookie = rows and rows[0][4]
    return cookie and side.position_of(bytes(cookie)), {row[0]: tuple(row[1:4]) for row in rows}


def check_cursor(side, changer):
    """Whoever changed up to the cursor is as after that change, or a later one."""
    position, people = published(side)
    for anchor, history in changer.history.items():
        known = [i for i, (number, _) in enumerate(history) if position and number <= position]
        if known:
            allowed = [state for _, state in history[known[-1]:]]
            assert people.get(anchor) in allowed, f"cursor {position}: {anchor} is {people.get(anchor)}, not of {allowed}"


class Blows:
    def __init__(self, side):
        self.side, self.registry, self.daemon = side, side.registry, side.daemon
        self.fallen = self.database = self.within = self.idle = 0
        self.applied = self.runs()

    def runs(self):
        return self.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE state = 'applied'")

    def sessions(self):
        return self.registry.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'directory'")

    def aim(self):
        """Within a run, every other time."""
        self.fallen += 1
        if self.fallen % 2:
            self.within += self.registry.value("SELECT run_under_way()")

    def look(self):
        """Whether there was work since the last blow."""
        applied, self.applied = self.applied, self.runs()
        self.idle += self.applied == applied

    def at_database(self):
        postmaster = self.registry.postmaster()
        self.registry.crash(self.aim)
        self.database += 1
        assert not pathlib.Path(f"/proc/{postmaster}").exists() and self.registry.postmaster() != postmaster

    def at_daemon(self):
        assert self.daemon.process.poll() is None
        self.aim()
        self.daemon.kill()
        assert self.daemon.process.returncode == -signal.SIGKILL
        wait_until(lambda: self.sessions() == 0, "the sessions of the dead to end")


@pytest.mark.drill
def test_nothing_is_lost_and_nobody_flaps(side):
    registry, chance = side.registry, random.Random(SEED)
    made = dict(registry.sql("SELECT anchor, created_at FROM hedgerow.person"))
    changer, blows = Changer(side), Blows(side)
    changer.start()
    for kill in range(KILLS):
        if chance.random() < 0.3:
            registry.value("SELECT hedgerow.forest_sync(%s)", side.name)
        changer.wait_changes(chance.randrange(*chance.choice(side.lives)))
        blows.look()
        if kill % 2 == 0:
            blows.at_database()
            with changer.lock:
                check_cursor(side, changer)
        if kill % 2 or chance.random() < 0.3:
            blows.at_daemon()
            with changer.lock:
                check_cursor(side, changer)
            side.daemon.start()
    changer.end()

    expected = {anchor: history[-1][1] for anchor, history in changer.history.items() if history[-1][1]}
    wait_until(lambda: published(side)[1] == expected, "the registry to be as the directory", 30)
    assert side.is_now(published(side)[0]), "the position is what it is taken for"
    run = registry.sync(forest=side.name)
    assert (run["state"], run["read"]) == ("unchanged", len(expected)), run
    assert registry.sql("SELECT anchor, action, run FROM hedgerow.sync_difference WHERE anchor = ANY (%s)"
                        " AND action IN ('add', 'remove')", changer.stayers) == []
    now = dict(registry.sql("SELECT anchor, created_at FROM hedgerow.person"))
    assert {anchor: now[anchor] for anchor in changer.stayers} == {anchor: made[anchor] for anchor in changer.stayers}
    ends = dict(registry.sql("SELECT kind || ' ' || state, count(*) FROM hedgerow.sync_run GROUP BY 1"))
    assert ends["changes applied"] > KILLS and ends["full unchanged"] > 0, ends
    assert registry.recoveries() == blows.database == KILLS // 2
    assert blows.within > KILLS // 3 and blows.idle < KILLS // 2, vars(blows)
