# SPDX-License-Identifier: Apache-2.0
"""hedgerow-directory between a real slapd and a real PostgreSQL, on good days and on bad ones."""
import os
import pty
import random
import re
import signal
import socket
import subprocess
import threading

import ldap
import pytest

from directorykit import BASE, BUILD, Daemon, Forest, make_authority, free_port
from labkit import TOP, wait_until

PEOPLE = 2000


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    one = Forest(tmp_path_factory.mktemp("directory"), PEOPLE, sync=False)
    one.directory.chmod(0o711)
    one.daemon.start()
    wait_until(lambda: one.registry.value("SELECT state FROM hedgerow.sync_run WHERE id = 1")
               not in (None, "running"), "the first run")
    yield one
    one.close()


@pytest.fixture(autouse=True)
def whole(forest):
    """Each test begins with a directory that is published and nothing held."""
    run = forest.registry.sync()
    assert run["state"] in ("applied", "unchanged"), str(run)
    yield


def run_of(forest, **expected):
    run = forest.registry.sync()
    assert {name: run[name] for name in expected} == expected, run
    return run


def configure(forest, *without, **columns):
    """The row is changed, and a run begins only when it is asked for."""
    forest.configure("e_forest_is_due", *without, **columns)


def wait_log(forest, *words):
    wait_until(lambda: any(all(word in line for word in words)
                           for line in forest.daemon.log.read_text().splitlines()), f"{words} in the log")


def test_the_first_run_publishes_everybody(forest):
    first = forest.registry.run(1)
    assert (first["state"], first["read"], first["added"]) == ("applied", PEOPLE, PEOPLE), first
    assert forest.registry.people()["ada.u77@example.com"] == '(u77@im.a.example,im-a,"Ada Adams 77",t)'
    wait_log(forest, "sync.applied", "forest=globex", f"added={PEOPLE}")


def test_an_unchanged_run_writes_no_row(forest):
    newest = "SELECT max(xmin::text::bigint) FROM hedgerow.person"
    before = forest.registry.value(newest)
    run_of(forest, state="unchanged", read=forest.registry.value(
        "SELECT count(*) FROM hedgerow.person WHERE state = 'active'"))
    assert forest.registry.value(newest) == before


def test_changes_are_published_one_by_one(forest):
    anchor = "SELECT anchor FROM hedgerow.person WHERE address = %s AND state = 'active'"
    before = forest.registry.value(anchor, "ada.u1@example.com")
    forest.slapd.replace("u1", "mail", "countess@example.com")
    forest.slapd.rename("u1", "lovelace")
    run_of(forest, state="applied", changed=1, added=0, removed=0)
    assert forest.registry.value(anchor, "countess@example.com") == before
    assert forest.registry.people()["countess@example.com"].startswith("(lovelace@im.a.example,")

    forest.slapd.delete("lovelace")
    run_of(forest, state="applied", removed=1)
    assert "countess@example.com" not in forest.registry.people()
    assert forest.registry.value("SELECT state FROM hedgerow.person WHERE anchor = %s", before) == "deleted"

    forest.slapd.add("u1")
    run_of(forest, state="applied", added=1)
    assert "ada.u1@example.com" in forest.registry.people()


def test_a_dry_run_shows_and_changes_nothing(forest):
    forest.slapd.replace("u2", "displayName", "Somebody Else")
    run = forest.registry.sync(dry_run=True)
    assert (run["state"], run["changed"]) == ("previewed", 1)
    assert forest.registry.sql("SELECT address, before ->> 'name', after ->> 'name' FROM hedgerow.sync_differences"
                               " WHERE run = %s", run["id"]) == [
        ("ada.u2@example.com", "Ada Adams 2", "Somebody Else")]
    assert '"Ada Adams 2"' in forest.registry.people()["ada.u2@example.com"]


def test_a_large_removal_is_held_until_released(forest):
    configure(forest, filter="(&(objectClass=inetOrgPerson)(!(uid=u1*)))")
    people = forest.registry.people()
    run = run_of(forest, state="held", added=0)
    assert run["removed"] > 100 and "guard allows" in run["error"]
    assert forest.registry.people() == people
    wait_log(forest, "sync.held", "would remove")
    number = forest.registry.value("SELECT held_run FROM hedgerow.sync_status")
    assert forest.registry.value("SELECT count(*) FROM hedgerow.sync_differences WHERE run = %s AND action = 'remove'",
                                 number) == run["removed"]

    configure(forest, guard_delete_percent=1)  # the interval is an hour: only release asks for a run
    before = forest.registry.value("SELECT hedgerow.release_run('globex')")
    wait_until(lambda: forest.registry.value("SELECT state FROM hedgerow.sync_run WHERE id > %s"
                                             " AND state <> 'running' ORDER BY id LIMIT 1", before), "the released run")
    assert len(forest.registry.people()) == len(people) - run["removed"]
    configure(forest, filter="(objectClass=inetOrgPerson)", guard_delete_percent=10)
    run_of(forest, state="applied", added=run["removed"])
    assert forest.registry.people() == people


def test_a_dropped_removal_keeps_the_people(forest):
    configure(forest, filter="(&(objectClass=inetOrgPerson)(!(uid=u1*)))")
    people = forest.registry.people()
    lost = run_of(forest, state="held")["removed"]
    forest.registry.sql("SELECT hedgerow.drop_run('globex')")
    run_of(forest, state="unchanged", kept=lost)
    assert forest.registry.people() == people
    configure(forest, filter="(objectClass=inetOrgPerson)")
    run_of(forest, state="unchanged", kept=0)


@pytest.mark.parametrize("columns, error", [
    ({"filter": "(uid=nobody)"}, "no entries"),
    ({"base_dn": f"ou=Elsewhere,{BASE}"}, f"read ou=Elsewhere,{BASE} of "),
    ({"filter": "(uid=nobody"}, "filter"),
    ({"bind_dn": "cn=sync,dc=elsewhere"}, "Invalid credentials"),
    ({"bind_secret": "missing.password"}, "missing.password"),
    ({"ca": "missing.ca"}, "missing.ca"),
], ids=["empty answer", "no such base", "broken filter", "unknown account", "no password file", "no CA file"])
def test_what_cannot_be_read_fails_and_keeps_everybody(forest, columns, error):
    people = forest.registry.people()
    good = forest.registry.sql("SELECT filter, base_dn, bind_dn, bind_secret, ca FROM hedgerow.forest")[0]
    names = ("filter", "base_dn", "bind_dn", "bind_secret", "ca")
    try:
        configure(forest, "b_valid", **columns)
        run = run_of(forest, state="failed")
        assert error in run["error"]
        assert "syncpw" not in run["error"]
        assert forest.registry.people() == people
        wait_log(forest, "sync.failed", error)
    finally:
        configure(forest, **dict(zip(names, good)))


def test_a_wrong_password_is_not_tried_again_at_once(forest):
    forest.secret("globex.password", "wrong\n")
    try:
        assert "Invalid credentials" in run_of(forest, state="failed")["error"]
        assert forest.registry.value("SELECT due_ms FROM hedgerow.sync_plan()") > 500 * 1000
        forest.secret("globex.password", "\n")
        assert "empty" in run_of(forest, state="failed")["error"]
    finally:
        forest.secret("globex.password", "syncpw\n")
    run_of(forest, state="unchanged")


def test_a_directory_with_another_ca_is_refused(forest, tmp_path):
    good = (forest.secrets / "globex.ca").read_text()
    make_authority(tmp_path / "other")
    try:
        forest.secret("globex.ca", (tmp_path / "other/ca.pem").read_text())
        run = run_of(forest, state="failed")
        assert "bind" not in run["error"], "nothing may be said before the certificate is checked"
        assert "certificate" in run["error"] and "globex.ca" in run["error"], run["error"]
        forest.secret("globex.ca", "no certificate\n")
        run_of(forest, state="failed")
        forest.secret("globex.ca", good)
        configure(forest, urls=[f"ldaps://localhost:{forest.slapd.ldaps}"])  # the certificate says 127.0.0.1
        assert "certificate" in run_of(forest, state="failed")["error"]
    finally:
        forest.secret("globex.ca", good)
        configure(forest, urls=[forest.url()])
    run_of(forest, state="unchanged")


def test_plain_text_is_never_spoken(forest):
    plain = f"ldap://127.0.0.1:{forest.slapd.ldap}"
    try:
        configure(forest, "b_valid", urls=[plain])
        assert "without TLS nothing is read" in run_of(forest, state="failed")["error"]
        configure(forest, urls=[plain], tls="starttls")
        run_of(forest, state="unchanged")
    finally:
        configure(forest, urls=[forest.url()], tls="ldaps")


def test_the_next_url_is_tried_when_the_first_is_dead(forest):
    configure(forest, urls=[f"ldaps://127.0.0.1:{free_port()}", forest.url()])
    run_of(forest, state="unchanged")
    configure(forest, urls=[forest.url()])


def test_a_server_that_has_failed_lately_is_asked_last(forest):
    callers = []

    def hang_up():
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            callers.append(caller)
            caller.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            configure(forest, urls=[f"ldaps://127.0.0.1:{listener.getsockname()[1]}", forest.url()])
            run_of(forest, state="unchanged")
            tries = len(callers)
            assert tries > 0
            run_of(forest, state="unchanged")
            assert len(callers) == tries
        finally:
            configure(forest, urls=[forest.url()])
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_directory_that_was_away_is_read_again(forest):
    forest.slapd.stop()
    run = run_of(forest, state="failed")
    assert "Connection refused" in run["error"]
    assert forest.registry.value("SELECT due_ms FROM hedgerow.sync_plan()") <= 12500
    forest.slapd.start()
    forest.slapd.replace("u3", "displayName", "Back Again")
    wait_until(lambda: '"Back Again"' in forest.registry.people()["ada.u3@example.com"], "the retry", 30)


def test_values_that_cannot_be_stored_are_refused_alone(forest):
    bad = [b"\xff\xfe\x00binary", b"\xc3(", b"x" * (1 << 20), b"nul\0inside", b"good@example.com"]
    forest.slapd.add("bad1", rawValue=bad)
    forest.slapd.add("bad2", mail=[], rawValue=[b"\x00" * 16])
    forest.slapd.add("bad3", mail=["not an address"])
    forest.slapd.add("good1", displayName=[])
    forest.slapd.add("good2", displayName=["Ada\n\u202eecilA"])
    try:
        run = run_of(forest, state="applied", added=3, skipped=1)
        assert '"Ada    ecilA"' in forest.registry.people()["ada.good2@example.com"], "a name reads as it is"
        assert run["refused"] == 6, forest.registry.sql("SELECT * FROM hedgerow.sync_refusals")
        reasons = {row[0] for row in forest.registry.sql("SELECT field || ': ' || reason FROM hedgerow.sync_refusals")}
        assert reasons == {
            "rawValue: a value of 9 bytes has a NUL byte", "rawValue: a value of 2 bytes is not UTF-8",
            "rawValue: a value of 1048576 bytes is too long", "rawValue: a value of 10 bytes has a NUL byte",
            "rawValue: a value of 16 bytes has a NUL byte", "address: not an address is not an address local@domain"}
        assert forest.registry.sql("SELECT a.address FROM hedgerow.alias a JOIN hedgerow.person p USING (anchor)"
                                   " WHERE p.address = 'ada.bad1@example.com'") == [("good@example.com",)]
        wait_log(forest, "sync.refused", "1048576 bytes is too long")
        run_of(forest, state="unchanged", refused=6)
    finally:
        for uid in ("bad1", "bad2", "bad3", "good1", "good2"):
            forest.slapd.delete(uid)
    run_of(forest, state="applied", removed=3, refused=0)


def test_the_schedule_needs_no_request(forest):
    forest.configure(sync_interval="1 second")
    try:
        forest.slapd.replace("u4", "displayName", "On Time")
        wait_until(lambda: '"On Time"' in forest.registry.people()["ada.u4@example.com"], "the scheduled run")
    finally:
        forest.configure(sync_interval="1 hour")


def test_a_frozen_directory_does_not_stop_the_daemon_from_ending(forest):
    forest.slapd.freeze()
    ended = forest.registry.request()
    wait_until(forest.registry.running, "the run")
    assert forest.daemon.stop() == 0
    forest.slapd.thaw()
    assert ended()["error"].endswith("the daemon is ending")
    forest.daemon.start()
    run_of(forest, state="unchanged")


def test_two_daemons_never_read_one_forest_at_once(forest):
    second = Daemon(forest.directory, forest.registry, "two")
    second.start()
    try:
        wait_until(lambda: "database.up" in second.log.read_text(), "the second daemon")
        forest.slapd.freeze()
        ended = forest.registry.request()
        wait_until(forest.registry.running, "the run")
        forest.registry.request()
        wait_until(lambda: any("sync.leased" in daemon.log.read_text() for daemon in (forest.daemon, second)),
                   "the other to find the lease taken")
        assert forest.registry.running() == 1
        forest.slapd.thaw()
        assert wait_until(ended, "the run")["state"] == "unchanged"
    finally:
        forest.slapd.thaw()
        assert second.stop() == 0


def test_a_lost_database_connection_leaves_nothing_half_done(forest):
    forest.slapd.replace("u5", "displayName", "After The Loss")
    forest.slapd.freeze()
    forest.registry.request()
    wait_until(forest.registry.running, "the run")
    forest.registry.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name LIKE 'hedgerow-directory%'")
    forest.slapd.thaw()
    wait_until(lambda: '"After The Loss"' in forest.registry.people()["ada.u5@example.com"], "a run that succeeds", 60)
    assert forest.registry.running() == 0


def test_a_killed_daemon_leaves_no_half_state(forest):
    """kill -9 at moments spread over a run; each time the next daemon converges to the directory."""
    moments = random.Random(2)
    for turn in range(12):
        for number in range(20):
            forest.slapd.replace(f"u{100 + number}", "displayName", f"Turn {turn}")
        before = forest.registry.people()
        ended = forest.registry.request()
        wait_until(lambda: forest.registry.running() or ended(), "the run")
        for _ in range(moments.randrange(20)):
            forest.registry.value("SELECT count(*) FROM hedgerow.person")  # a bit of time
        forest.daemon.kill()
        people = forest.registry.people()  # at one moment: a backend may still be committing
        named = [f'"Turn {turn}"' in people[f"ada.u{100 + number}@example.com"] for number in range(20)]
        assert all(named) or not any(named), "a run is applied whole or not at all"
        assert len(forest.registry.people()) == len(before)
        forest.daemon.start()
        run_of(forest, refused=0, removed=0, added=0)
        assert f'"Turn {turn}"' in forest.registry.people()["ada.u119@example.com"]
    assert forest.registry.running() == 0


def test_active_directory_is_read_by_its_own_attributes(forest):
    """Against slapd with the attributes of Active Directory: the anchor is binary there."""
    slapd, registry = forest.slapd, forest.registry
    registry.sql("SELECT hedgerow.add_forest('contoso', 'activedirectory', %s, bind_dn => %s,"
                 " bind_secret => 'globex.password', base_dn => %s, ca => 'globex.ca',"
                 " filter => '(objectClass=adUser)', sync_interval => '1 second')",
                 [forest.url()], f"cn=sync,{BASE}", BASE)
    registry.sql("SELECT hedgerow.add_domain('contoso.example', 'contoso')")
    registry.sql("SELECT hedgerow.add_installation('im-c', 'contoso', 'openfire', 'im.c.example',"
                 " '127.0.0.1', 5347, 'im-c.secret')")
    people = ("SELECT anchor, address, native, name, enabled FROM hedgerow.person"
              " WHERE forest = 'contoso' AND state = 'active' ORDER BY address")
    ada = bytes.fromhex("ff19966f868b11d0b42d00c04fc964ff")
    try:
        slapd.add_user("ada", ada, mail=["Ada@contoso.example"], displayName=["Ada A"],
                       proxyAddresses=["SMTP:ada@contoso.example", "smtp:countess@contoso.example", "sip:ada@x"])
        slapd.add_user("otto", bytes(range(16)), proxyAddresses=["smtp:o@contoso.example", "SMTP:otto@contoso.example"])
        slapd.add_user("hidden", None, mail=["hidden@contoso.example"])
        wait_until(lambda: registry.sql(people) == [
            ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "ada@contoso.example", "ada@im.c.example", "Ada A", True),
            ("03020100-0504-0706-0809-0a0b0c0d0e0f", "otto@contoso.example", "otto@im.c.example", "otto", True)],
            "both people")
        assert registry.sql("SELECT address FROM hedgerow.alias WHERE forest = 'contoso' ORDER BY 1") == [
            ("ada@x",), ("countess@contoso.example",), ("o@contoso.example",)]
        assert registry.sql("SELECT anchor, reason FROM hedgerow.sync_refusals WHERE forest = 'contoso'") == [
            (f"dn:cn=hidden,{BASE}", "the entry shows none; may the bind account read it?")]
        slapd.connection.modify_s(f"cn=ada,{BASE}", [(ldap.MOD_REPLACE, "userAccountControl", [b"514"])])
        slapd.connection.rename_s(f"cn=ada,{BASE}", "cn=lovelace")
        wait_until(lambda: registry.sql(people)[0][0::4] == ("6f9619ff-8b86-d011-b42d-00c04fc964ff", False),
                   "the disabled person")
    finally:
        registry.sql("SELECT hedgerow.remove_installation('im-c', force => true)")
        registry.sql("SELECT hedgerow.remove_forest('contoso', force => true)")


def test_memory_stays_small(forest):
    if not subprocess.run(["grep", "-q", "__asan_init", BUILD / "hedgerow-directory"], check=False).returncode:
        pytest.skip("a sanitizer's memory is not ours")
    assert forest.daemon.rss_mib() < 64


class Sync:
    """hedgerow forest sync, with standard error on a terminal."""

    def __init__(self, forest, *words):
        self.screen, terminal = pty.openpty()
        self.seen = b""
        self.command = subprocess.Popen(
            [TOP / "ops/hedgerow", "-d", forest.registry.conninfo, "forest", "sync", "globex", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # ignored where the tests run in the background
        os.close(terminal)

    def read_until(self, text):
        while text not in self.seen:
            self.seen += os.read(self.screen, 4096)

    def end(self):
        """The exit status and what is on standard output."""
        while True:
            try:
                self.seen += os.read(self.screen, 4096)
            except OSError:  # the other end is closed
                os.close(self.screen)
                return self.command.wait(60), self.command.stdout.read()


def test_forest_sync_shows_on_a_terminal_how_far_it_is(forest):
    """Progress goes to the terminal alone, the summary to standard output."""
    forest.slapd.replace("u7", "displayName", "Seen By Sync")
    forest.slapd.freeze()
    try:
        sync = Sync(forest)
        sync.read_until(b"read 0 of about")
    finally:
        forest.slapd.thaw()
    status, summary = sync.end()
    assert status == 0 and b"\n" not in sync.seen, sync.seen
    assert re.search(r"^run \d+ of globex: (applied|unchanged) after [\d.]+ s\nread 2,000 entries", summary), summary


def test_a_run_that_had_begun_is_shown_before_that_which_was_asked_for(forest):
    forest.slapd.freeze()
    try:
        forest.registry.request()
        wait_until(forest.registry.running, "the run to begin")
        sync = Sync(forest)
        sync.read_until(b"first run ")
    finally:
        forest.slapd.thaw()
    status, summary = sync.end()
    first, second = re.findall(r"^run (\d+) of globex: unchanged after", summary, re.MULTILINE)
    assert status == 0 and int(first) < int(second), summary


def test_who_no_longer_waits_is_told_that_the_run_goes_on(forest):
    forest.slapd.freeze()
    try:
        sync = Sync(forest)
        sync.read_until(b"read 0 of about")
        sync.command.send_signal(signal.SIGINT)
        assert sync.end() == (130, "") and b"the run goes on" in sync.seen
    finally:
        forest.slapd.thaw()
    wait_until(lambda: forest.registry.running() == 0, "the run to end")


def test_what_is_held_again_is_released_by_the_number_that_is_told(forest):
    people = forest.registry.people()
    configure(forest, filter="(uid=u1)")
    run_of(forest, state="held")
    try:
        status, summary = Sync(forest).end()
        assert status == 1 and "it would have removed" in summary
        number = re.search(r"release globex (\d+), or drop", summary).group(1)
        done = subprocess.run([TOP / "ops/hedgerow", "-d", forest.registry.conninfo, "forest", "drop", "globex", number],
                              text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
    finally:
        configure(forest, filter="(objectClass=inetOrgPerson)")
        forest.registry.sync()
    assert forest.registry.people() == people


def test_the_command_line(forest, tmp_path):
    def call(*words):
        return subprocess.run([BUILD / "hedgerow-directory", *words], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert call("--check", "-c", forest.daemon.ini).returncode == 0
    assert "hedgerow-directory" in call("--version").stdout
    assert call("--help").returncode == 0
    assert call("--nonsense").returncode == 1
    broken = tmp_path / "broken.ini"
    for text, complaint in (("[directory]\ndatabse = x\n", "databse"), ("[directory]\n", "database"),
                            (f"[directory]\ndatabase = x\nsecrets = {tmp_path}/none\n", "none"),
                            (f"[directory]\ndatabase = x\nsecrets = {tmp_path}\nlog_level = loud\n", "loud")):
        broken.write_text(text)
        done = call("--check", "-c", broken)
        assert done.returncode == 1 and complaint in done.stdout
