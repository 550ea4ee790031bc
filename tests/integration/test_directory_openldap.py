# SPDX-License-Identifier: Apache-2.0
"""hedgerow-directory follows the changes of a real slapd."""
import subprocess
import time

import pytest

from directorykit import BASE, Daemon, Forest, free_port, quiet
from labkit import TOP, wait_until

PEOPLE = 300
LOG = 20  # deletions that slapd remembers


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    one = Forest(tmp_path_factory.mktemp("openldap"), PEOPLE, session_log=LOG)
    one.directory.chmod(0o711)
    one.daemon.start()
    wait_until(lambda: len(one.registry.people()) == PEOPLE, "the first run")
    wait_until(lambda: cursor(one), "the cursor")
    yield one
    one.close()


@pytest.fixture(autouse=True)
def settled(forest):
    """Each test begins with a daemon that follows, and everything published."""
    run = forest.registry.sync()
    assert run["state"] in ("applied", "unchanged"), run
    yield


def cursor(forest):
    rows = forest.registry.sql("SELECT method, convert_from(cookie, 'UTF8') FROM hedgerow.sync_cursor")
    return rows[0] if rows else None


def name_of(forest, uid):
    return forest.registry.value("SELECT name FROM hedgerow.person WHERE native = %s AND state = 'active'",
                                 f"{uid}@im.a.example")


def wait_name(forest, uid, name, seconds=20.0):
    wait_until(lambda: name_of(forest, uid) == name, f"{uid} to be called {name}", seconds)


def last_run(forest):
    return forest.registry.value("SELECT max(id) FROM hedgerow.sync_run")


def full_runs(forest, since):
    return forest.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND kind = 'full'", since)


def wait_log(forest, *words, after=0):
    wait_until(lambda: any(all(word in line for word in words)
                           for line in forest.daemon.log.read_text()[after:].splitlines()), f"{words} in the log")


def test_changes_arrive_by_themselves(forest):
    slapd, registry, before = forest.slapd, forest.registry, last_run(forest)
    assert cursor(forest)[0] == "syncrepl"
    anchor = registry.value("SELECT anchor FROM hedgerow.person WHERE native = 'u1@im.a.example'")

    slapd.replace("u1", "mail", "countess@example.com")
    wait_until(lambda: "countess@example.com" in registry.people(), "the new address")
    slapd.rename("u1", "lovelace")
    wait_until(lambda: name_of(forest, "lovelace"), "the rename")
    assert registry.value("SELECT anchor FROM hedgerow.person WHERE native = 'lovelace@im.a.example'") == anchor
    slapd.add("newcomer")
    wait_name(forest, "newcomer", "Ada Adams newcomer")
    slapd.delete("newcomer")
    wait_until(lambda: name_of(forest, "newcomer") is None, "the deletion")
    slapd.rename("lovelace", "u1")
    slapd.replace("u1", "mail", "Ada.u1@Example.com")
    wait_until(lambda: name_of(forest, "u1"), "everything as it was")
    assert full_runs(forest, before) == 0


def test_leaving_the_filter_is_leaving(forest):
    forest.slapd.connection.rename_s(forest.slapd.dn("u2"), "uid=u2", BASE)  # still below the base
    wait_name(forest, "u2", "Ada Adams 2")
    forest.configure("e_forest_is_due", base_dn=f"ou=People,{BASE}")
    forest.registry.sync()
    assert name_of(forest, "u2") is None
    before = last_run(forest)
    forest.slapd.connection.rename_s(f"uid=u2,{BASE}", "uid=u2", f"ou=People,{BASE}")
    wait_name(forest, "u2", "Ada Adams 2")
    forest.slapd.connection.rename_s(forest.slapd.dn("u2"), "uid=u2", BASE)
    wait_until(lambda: name_of(forest, "u2") is None, "who left the base to be gone")
    forest.slapd.connection.rename_s(f"uid=u2,{BASE}", "uid=u2", f"ou=People,{BASE}")
    wait_name(forest, "u2", "Ada Adams 2")
    assert full_runs(forest, before) == 0
    forest.configure("e_forest_is_due", base_dn=BASE)


def test_a_change_is_published_within_a_second(forest):
    times = []
    for turn in range(5):
        began = time.monotonic()
        forest.slapd.replace("u3", "displayName", f"Quick {turn}")
        wait_name(forest, "u3", f"Quick {turn}")
        times.append(time.monotonic() - began)
    assert sorted(times)[2] < 1.0, times


def test_many_changes_all_arrive(forest):
    for number in range(10, 210):
        forest.slapd.replace(f"u{number}", "displayName", "One Of Many")
    count = "SELECT count(*) FROM hedgerow.person WHERE name = 'One Of Many'"
    wait_until(lambda: forest.registry.value(count) == 200, "all of them")


def test_a_restarted_daemon_goes_on_where_it_was(forest):
    before = last_run(forest)
    assert forest.daemon.stop() == 0
    forest.slapd.replace("u4", "displayName", "While Away")
    forest.slapd.delete("u5")
    forest.daemon.start()
    wait_name(forest, "u4", "While Away")
    wait_until(lambda: name_of(forest, "u5") is None, "the deletion")
    assert full_runs(forest, before) == 0
    forest.slapd.add("u5")
    wait_until(lambda: name_of(forest, "u5"), "the return")


def test_what_slapd_forgot_a_full_run_finds(forest):
    assert forest.daemon.stop() == 0
    after = forest.daemon.log.stat().st_size
    gone = [f"u{number}" for number in range(20, 20 + 2 * LOG)]
    forest.configure("e_forest_is_due", guard_delete_count=100)
    for uid in gone:
        forest.slapd.delete(uid)
    forest.daemon.start()
    wait_until(lambda: name_of(forest, gone[0]) is None, "the deletions")
    assert not [uid for uid in gone if name_of(forest, uid)]
    wait_log(forest, "sync.forgotten", "no longer remembers", after=after)
    for uid in gone:
        forest.slapd.add(uid)
    wait_until(lambda: all(name_of(forest, uid) for uid in gone), "their return")


@pytest.mark.parametrize("cookie", ["rid=000,csn=20990101000000.000000Z#000000#000#000000", ""],
                         ids=["of the future", "none"])
def test_a_cookie_that_cannot_be_leads_to_a_full_run(forest, cookie):
    assert forest.daemon.stop() == 0
    after, before = forest.daemon.log.stat().st_size, last_run(forest)
    forest.registry.sql("UPDATE hedgerow.sync_cursor SET cookie = convert_to(%s, 'UTF8')", cookie)
    forest.slapd.replace("u6", "displayName", f"By A Full Run {len(cookie)}")
    forest.daemon.start()
    wait_name(forest, "u6", f"By A Full Run {len(cookie)}")
    wait_log(forest, "sync.cursor_refused", after=after)
    assert full_runs(forest, before) == 1
    forest.slapd.replace("u6", "displayName", "Ada Adams 6")
    wait_name(forest, "u6", "Ada Adams 6")
    assert full_runs(forest, before) == 1


def test_a_restarted_slapd_is_followed_again(forest):
    before = last_run(forest)
    after = forest.daemon.log.stat().st_size
    forest.slapd.stop()
    wait_log(forest, "sync.lost", after=after)
    forest.slapd.start()
    forest.slapd.replace("u7", "displayName", "After The Restart")
    wait_name(forest, "u7", "After The Restart")
    assert full_runs(forest, before) == 0


def test_a_frozen_slapd_does_not_keep_the_daemon(forest):
    forest.slapd.freeze()
    began = time.monotonic()
    assert forest.daemon.stop() == 0
    assert time.monotonic() - began < 2.5
    forest.daemon.start()
    wait_until(lambda: "database.up" in forest.daemon.log.read_text()[-2000:], "the daemon")
    began = time.monotonic()
    assert forest.daemon.stop() == 0
    assert time.monotonic() - began < 2.5
    forest.slapd.thaw()
    forest.daemon.start()
    forest.slapd.replace("u8", "displayName", "Thawed")
    wait_name(forest, "u8", "Thawed")


def test_a_changed_password_stops_it_until_it_is_changed_back(forest):
    after = forest.daemon.log.stat().st_size
    forest.slapd.set_password("elsewhere")
    forest.slapd.stop()
    forest.slapd.start()
    wait_log(forest, "sync.failed", "Invalid credentials", after=after)
    tries = forest.daemon.log.read_text()[after:].count("Invalid credentials")
    assert tries <= 3, "an account would be locked"
    forest.slapd.set_password("syncpw")
    assert forest.registry.sync()["state"] in ("applied", "unchanged")
    before = last_run(forest)
    forest.slapd.replace("u9", "displayName", "Let In Again")
    wait_name(forest, "u9", "Let In Again")
    assert full_runs(forest, before) == 0


def test_another_daemon_takes_over(forest):
    second = Daemon(forest.directory, forest.registry, "two")
    second.start()
    try:
        wait_until(lambda: "sync.leased" in second.log.read_text(), "the second to stand by")
        before = last_run(forest)
        forest.daemon.kill()
        forest.slapd.replace("u11", "displayName", "By The Other")
        wait_name(forest, "u11", "By The Other")
        assert forest.registry.run(last_run(forest))["node"] == "two"
        assert full_runs(forest, before) == 0
    finally:
        assert second.stop() == 0
        forest.daemon.start()


def test_a_mapping_that_changes_is_followed(forest):
    forest.registry.sql("SELECT hedgerow.set_mapping('globex', 'name', 'description'), hedgerow.apply_mapping('globex')")
    forest.registry.sync()
    forest.slapd.replace("u12", "description", "Described")
    wait_name(forest, "u12", "Described")
    forest.registry.sql("SELECT hedgerow.set_mapping('globex', 'name', 'displayName'), hedgerow.apply_mapping('globex')")
    forest.slapd.replace("u12", "displayName", "Displayed")
    wait_name(forest, "u12", "Displayed")


def test_a_lost_database_session_is_opened_again(forest):
    forest.registry.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name LIKE 'hedgerow-directory%'")
    forest.slapd.replace("u13", "displayName", "After The Loss")
    wait_name(forest, "u13", "After The Loss")


def test_operators_see_who_is_followed_and_who_is_lost(forest):
    def context():
        return forest.registry.sql("SELECT state, detail, node, method FROM hedgerow.sync_contexts")[0]

    def metric(name):
        return forest.registry.value("SELECT value FROM hedgerow.metric_status WHERE name = %s AND node = 'one/directory'",
                                     f"directory_{name}")
    followed = ("followed", f"syncrepl {forest.url()}", "one/directory", "syncrepl")
    wait_until(lambda: context() == followed, "the context to be followed")
    assert forest.registry.value("SELECT lag FROM hedgerow.sync_status").total_seconds() == 0
    wait_until(lambda: metric("contexts_followed") == 1 and metric("lag_seconds") == 0, "the metrics")
    forest.slapd.stop()
    wait_until(lambda: context()[0] == "lost" and "Connection refused" in context()[1], "the context to be lost")
    assert forest.registry.value("SELECT lag FROM hedgerow.sync_status").total_seconds() > 0
    wait_until(lambda: metric("contexts_followed") == 0 and metric("lost_connections_total") > 0, "the metrics")
    forest.slapd.start()
    wait_until(lambda: context() == followed, "the context to be followed again")
    before = metric("people_changed_total"), metric("changes_runs_total")
    forest.slapd.replace("u14", "displayName", "Counted")
    wait_until(lambda: (metric("people_changed_total"), metric("changes_runs_total")) == (before[0] + 1, before[1] + 1),
               "the change to be counted")


def test_the_next_server_is_followed_when_one_goes(forest, tmp_path):
    port, control = free_port(), tmp_path / "control"

    def tell(command):
        return quiet(TOP / "tests/relay", "--control", control, command)
    relay = subprocess.Popen([TOP / "tests/relay", str(port), str(forest.slapd.ldaps), control])
    try:
        wait_until(control.exists, "the relay")
        forest.configure("e_forest_is_due", urls=[f"ldaps://127.0.0.1:{port}", forest.url()])
        forest.registry.sync()
        url = "SELECT detail FROM hedgerow.sync_contexts"
        wait_until(lambda: forest.registry.value(url) == f"syncrepl ldaps://127.0.0.1:{port}", "the first to be followed")
        before = last_run(forest)
        tell("cut")
        forest.slapd.replace("u15", "displayName", "By The Second")
        wait_name(forest, "u15", "By The Second")
        wait_until(lambda: forest.registry.value(url) == f"syncrepl {forest.url()}", "the second to be followed")
        assert full_runs(forest, before) == 0
    finally:
        relay.terminate()
        relay.wait()
        forest.configure("e_forest_is_due", urls=[forest.url()])
