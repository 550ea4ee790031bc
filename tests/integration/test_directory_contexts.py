# SPDX-License-Identifier: Apache-2.0
"""A forest of two naming contexts: who leaves one may be in the other."""
import subprocess

import ldap
import pytest

from directorykit import BASE, Forest, free_port, quiet
from labkit import TOP, wait_until

PEOPLE = 12
HERE, THERE = f"ou=People,{BASE}", f"ou=Annex,{BASE}"


class Contexts(Forest):
    """The second context is reached through a relay."""

    def __init__(self, directory):
        super().__init__(directory, PEOPLE)
        self.slapd.connection.add_s(THERE, [("objectClass", [b"organizationalUnit"]), ("ou", [b"Annex"])])
        port, self.control = free_port(), directory / "control"
        self.relay = subprocess.Popen([TOP / "tests/relay", str(port), str(self.slapd.ldaps), self.control])
        wait_until(self.control.exists, "the relay")
        self.move("u0", HERE, THERE)
        self.configure(base_dn=HERE, guard_delete_count=50)
        self.registry.sql("SELECT hedgerow.add_context('globex', %s, %s)", THERE, [f"ldaps://127.0.0.1:{port}"])

    def move(self, uid, origin, to):
        self.slapd.connection.rename_s(f"uid={uid},{origin}", f"uid={uid}", to)

    def delete(self, uid, within):
        self.slapd.connection.delete_s(f"uid={uid},{within}")

    def empty(self, base):
        for _, values in self.slapd.connection.search_s(base, ldap.SCOPE_ONELEVEL):
            uid = values["uid"][0].decode()
            self.delete(uid, base)
            self.wait(uid, None)

    def rename(self, uid, within, name):
        self.slapd.connection.modify_s(f"uid={uid},{within}", [(ldap.MOD_REPLACE, "displayName", [name.encode()])])

    def tell(self, command):
        return quiet(TOP / "tests/relay", "--control", self.control, command)

    def name(self, uid):
        return self.registry.value("SELECT name FROM hedgerow.person WHERE native = %s AND state = 'active'",
                                   f"{uid}@im.a.example")

    def wait(self, uid, name, seconds=20.0):
        wait_until(lambda: self.name(uid) == name, f"{uid} to be {name}", seconds)

    def states(self):
        return dict(self.registry.sql("SELECT base_dn, state FROM hedgerow.sync_contexts WHERE forest = 'globex'"))

    def detail(self, base):
        return self.registry.value("SELECT detail FROM hedgerow.sync_contexts WHERE base_dn = %s", base) or ""

    def last(self):
        return self.registry.value("SELECT max(id) FROM hedgerow.sync_run")

    def full_runs(self, since):
        return self.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND kind = 'full'", since)

    def removals(self, uid):
        return self.registry.value("SELECT count(*) FROM hedgerow.sync_difference WHERE action = 'remove'"
                                   " AND before ->> 'native' = %s", f"{uid}@im.a.example")

    def close(self):
        super().close()
        self.relay.terminate()
        self.relay.wait()


@pytest.fixture(name="forest", scope="module")
def _forest(tmp_path_factory):
    directory = tmp_path_factory.mktemp("contexts")
    directory.chmod(0o711)
    one = Contexts(directory)
    one.daemon.start()
    followed = "SELECT count(*) FROM hedgerow.sync_contexts WHERE state = 'followed'"
    wait_until(lambda: one.registry.value(followed) == 2, "both to be followed")
    assert len(one.registry.people()) == PEOPLE
    yield one
    one.close()


def test_who_leaves_a_context_for_good_is_removed_at_once(forest):
    before = forest.last()
    forest.delete("u0", THERE)
    forest.wait("u0", None)
    forest.delete("u1", HERE)
    forest.wait("u1", None)
    assert forest.full_runs(before) == 0


def test_who_moves_from_one_to_the_other_stays(forest):
    before = forest.last()
    for turn in range(5):
        forest.move("u2", HERE, THERE)
        forest.rename("u2", THERE, f"There {turn}")
        forest.wait("u2", f"There {turn}")
        forest.move("u2", THERE, HERE)
        forest.rename("u2", HERE, f"Here {turn}")
        forest.wait("u2", f"Here {turn}")
        forest.move("u3", HERE, THERE)
        forest.move("u3", THERE, HERE)
    forest.rename("u3", HERE, "At Home")
    forest.wait("u3", "At Home")
    assert forest.removals("u2") == forest.removals("u3") == 0
    assert forest.full_runs(before) == 0
    assert forest.registry.sync()["state"] == "unchanged"


def test_who_moves_stays_when_the_source_is_another_meanwhile(forest):
    forest.configure("e_forest_is_due", page_size=500)
    forest.move("u2", HERE, THERE)  # is found there by the source that was
    forest.rename("u2", THERE, "By Another")
    forest.wait("u2", "By Another")
    forest.move("u2", THERE, HERE)
    forest.rename("u2", HERE, "Here Again")
    forest.wait("u2", "Here Again")
    assert forest.removals("u2") == 0


def test_the_source_may_become_another_while_one_is_opened(forest):
    assert forest.daemon.stop() == 0
    wait_until(lambda: "connections=0" in forest.tell("status"), "its connections to end")
    before = forest.last()
    forest.tell("stall")
    try:
        forest.daemon.start()
        wait_until(lambda: "connections=1" in forest.tell("status"), "one to be opened")
        forest.configure(page_size=250)
        wait_until(lambda: forest.full_runs(before) > 0, "the full run to begin")
    finally:
        forest.tell("flow")
    wait_until(lambda: set(forest.states().values()) == {"followed"}, "both to be followed")
    forest.rename("u2", HERE, "Followed")
    forest.wait("u2", "Followed")


def test_where_the_other_cannot_be_asked_a_full_run_tells(forest):
    before = forest.last()
    forest.tell("cut")
    try:
        forest.move("u4", HERE, THERE)
        forest.delete("u5", HERE)
        forest.rename("u6", HERE, "Goes On")
        forest.wait("u6", "Goes On")
        wait_until(lambda: forest.full_runs(before) > 0, "the full run")
        assert forest.name("u4") and forest.name("u5")
    finally:
        forest.tell("flow")
    forest.registry.value("SELECT hedgerow.forest_sync('globex')")
    forest.wait("u5", None)
    assert forest.name("u4") and forest.removals("u4") == 0


def test_who_moves_during_a_full_run_stays(forest):
    forest.move("u7", HERE, THERE)
    forest.rename("u7", THERE, "There")
    forest.wait("u7", "There")
    assert forest.daemon.stop() == 0
    forest.tell("stall")
    forest.registry.sql("DELETE FROM hedgerow.sync_cursor")  # nothing to follow from: the run comes first
    forest.registry.value("SELECT hedgerow.forest_sync('globex')")
    before = forest.last()
    forest.daemon.start()
    wait_until(lambda: "connections=1" in forest.tell("status"), "the first context to be read")
    forest.move("u7", THERE, HERE)
    forest.tell("flow")
    wait_until(lambda: forest.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND kind = 'full'"
                                             " AND state IN ('applied', 'unchanged')", before), "the full run")
    forest.rename("u7", HERE, "Here")
    forest.wait("u7", "Here")
    assert forest.removals("u7") == 0


def test_one_that_hangs_does_not_hold_up_the_other(forest):
    turns = iter(range(1000))

    def goes_on():
        """Sooner than the other is given up, which takes 10 s."""
        name = f"Turn {next(turns)}"
        forest.rename("u8", HERE, name)
        forest.wait("u8", name, 4.0)
        return forest.states()[HERE] == "followed"

    forest.tell("stall")
    try:
        forest.delete("u9", HERE)  # is looked for in the other
        wait_until(lambda: forest.states()[THERE] == "lost", "the other to be lost")
        wait_until(lambda: goes_on() and "TLS" in forest.detail(THERE), "it to be tried again, in vain", 40.0)
        assert forest.name("u9")
        assert forest.daemon.stop() == 0  # which waits for nobody
        forest.daemon.start()
    finally:
        forest.tell("flow")
    wait_until(lambda: forest.states()[THERE] == "followed", "the other to be followed again", 60.0)
    forest.registry.sync()
    assert forest.name("u9") is None


def test_one_that_is_gone_for_good_does_not_stop_the_other(forest):
    forest.empty(THERE)
    before = forest.last()
    forest.slapd.connection.delete_s(THERE)
    forest.delete("u6", HERE)  # left to a full run, which fails
    wait_until(lambda: forest.states()[THERE] == "refused", "the other to be refused")
    forest.rename("u8", HERE, "Goes On")
    forest.wait("u8", "Goes On")
    forest.rename("u10", HERE, "Too")
    forest.wait("u10", "Too")
    forest.delete("u11", HERE)  # no other full run is tried for this one
    forest.rename("u10", HERE, "Still")
    forest.wait("u10", "Still")
    assert forest.states() == {HERE: "followed", THERE: "refused"}
    assert forest.name("u6") and forest.name("u11") and forest.full_runs(before) == 1
    assert forest.daemon.stop() == 0
    forest.registry.sql("UPDATE hedgerow.sync_cursor SET cookie = NULL WHERE base_dn = %s", HERE)
    forest.rename("u8", HERE, "Read Whole")
    forest.daemon.start()
    forest.wait("u8", "Read Whole")  # by itself, as all cannot be
    forest.rename("u8", HERE, "Followed")
    forest.wait("u8", "Followed")
    wait_until(lambda: forest.states() == {HERE: "followed", THERE: "refused"}, "it to be followed")
    forest.slapd.connection.add_s(THERE, [("objectClass", [b"organizationalUnit"]), ("ou", [b"Annex"])])
    forest.registry.sync()
    assert forest.name("u6") is None and forest.name("u11") is None
    wait_until(lambda: set(forest.states().values()) == {"followed"}, "both to be followed again")


def test_one_that_refused_for_a_while_is_followed_again_while_the_other_refuses(forest):
    forest.empty(THERE)
    people = forest.registry.people()
    assert forest.daemon.stop() == 0
    forest.slapd.connection.rename_s(HERE, "ou=Away")
    forest.slapd.connection.delete_s(THERE)
    forest.daemon.start()
    wait_until(lambda: forest.states() == {HERE: "refused", THERE: "refused"}, "both to be refused")
    forest.slapd.connection.add_s(THERE, [("objectClass", [b"organizationalUnit"]), ("ou", [b"Annex"])])
    assert forest.registry.sync()["state"] == "failed"  # before it comes to the other
    wait_until(lambda: forest.states() == {HERE: "refused", THERE: "followed"}, "the other to be followed")
    forest.slapd.connection.rename_s(f"ou=Away,{BASE}", "ou=People")
    forest.registry.sync()
    wait_until(lambda: set(forest.states().values()) == {"followed"}, "both to be followed again")
    assert forest.registry.people() == people


def test_who_waits_for_a_full_run_is_read_alone_when_that_fails_at_its_end(forest):
    entries = "UPDATE hedgerow.sync_cursor SET entries = %s WHERE base_dn = %s"
    forest.empty(THERE)
    assert forest.daemon.stop() == 0
    forest.registry.sql("UPDATE hedgerow.sync_cursor SET cookie = NULL WHERE base_dn = %s", HERE)
    forest.registry.sql(entries, 1000, THERE)
    before = forest.last()
    forest.daemon.start()
    try:
        wait_until(lambda: forest.registry.value(
            "SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND kind = 'full' AND error LIKE %s",
            before, "%no entries in%"), "the full run to fail")
        forest.rename("u8", HERE, "Read Alone")
        forest.wait("u8", "Read Alone")
        wait_until(lambda: set(forest.states().values()) == {"followed"}, "both to be followed")
    finally:
        forest.registry.sql(entries, 0, THERE)
    assert forest.registry.sync()["state"] == "unchanged"


def test_a_wrong_password_is_tried_twice_and_then_left_to_full_runs(forest):
    third = f"ou=Third,{BASE}"
    forest.slapd.connection.add_s(third, [("objectClass", [b"organizationalUnit"]), ("ou", [b"Third"])])
    forest.registry.sql("SELECT hedgerow.add_context('globex', %s, %s)", third, [forest.url()])
    wait_until(lambda: list(forest.states().values()) == ["followed"] * 3, "all to be followed")
    assert forest.daemon.stop() == 0
    before = forest.last()
    forest.slapd.set_password("another")
    try:
        forest.registry.value("SELECT hedgerow.forest_sync('globex')")
        forest.daemon.start()
        wait_until(lambda: forest.states() == {HERE: "refused", THERE: "refused", third: "lost"}, "two to be refused")
        assert "not tried" in forest.detail(third)
        assert forest.full_runs(before) == 1
    finally:
        forest.slapd.set_password("syncpw")
    forest.registry.sync()
    wait_until(lambda: set(forest.states().values()) == {"followed"}, "all to be followed again")


def test_a_dry_run_that_is_refused_does_not_end_the_following(forest):
    before = forest.last()
    forest.slapd.set_password("another")
    try:
        assert forest.registry.sync(dry_run=True)["state"] == "failed"
        wait_until(lambda: forest.full_runs(before) > 0, "who follows to be refused and ask for a full run")
    finally:
        forest.slapd.set_password("syncpw")
    forest.registry.sync()
    wait_until(lambda: set(forest.states().values()) == {"followed"}, "all to be followed again")
