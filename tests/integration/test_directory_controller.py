# SPDX-License-Identifier: Apache-2.0
"""hedgerow-directory and what only Microsoft's domain controllers do."""
import uuid

import pytest

from controllerkit import BASE, Controller, Directory
from directorykit import Daemon, Registry
from labkit import wait_until

PEOPLE = 47


def guid(n):
    return uuid.uuid5(uuid.NAMESPACE_OID, str(n))


class Fabrikam:
    def __init__(self, directory, **says):
        (directory / "secrets").mkdir()
        (directory / "secrets/word").write_text("word")
        self.ad = Directory(**says)
        for n in range(PEOPLE):
            self.put(n)
        self.controller = Controller(self.ad)
        self.registry = Registry()
        self.registry.sql("SELECT hedgerow.add_forest('fabrikam', 'activedirectory', %s, bind_dn => 'svc',"
                          " bind_secret => 'word', base_dn => %s, tls => 'plain', filter => '(objectClass=user)',"
                          " poll_interval => '1 second')", [self.controller.url], BASE)
        self.registry.sql("SELECT hedgerow.add_domain('fabrikam.example', 'fabrikam')")
        self.registry.sql("SELECT hedgerow.add_installation('im-f', 'fabrikam', 'openfire', 'im.f.example',"
                          " '127.0.0.1', 5347, 'im-f.secret')")
        self.daemon = Daemon(directory, self.registry, "one")
        self.daemon.start()

    def put(self, n, name="Ada", aliases=()):
        self.ad.put(guid(n), sAMAccountName=[f"u{n}"], displayName=[name], mail=[f"u{n}@fabrikam.example"],
                    proxyAddresses=[f"SMTP:u{n}@fabrikam.example"] + [f"smtp:{one}@fabrikam.example" for one in aliases])

    def names(self):
        return dict(self.registry.sql("SELECT anchor, name FROM hedgerow.person WHERE state = 'active'"))

    def aliases(self, n):
        return {row[0].split("@")[0] for row in self.registry.sql(
            "SELECT address FROM hedgerow.alias WHERE anchor = %s AND until IS NULL", str(guid(n)))}

    def full_runs(self):
        return self.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE kind = 'full'")

    def method(self):
        return self.registry.value("SELECT method FROM hedgerow.sync_cursor")

    def close(self):
        assert self.daemon.stop() == 0
        self.registry.close()
        self.controller.close()


@pytest.fixture(name="fabrikam", params=[True, False], ids=["DirSync", "no DirSync"], scope="module")
def _fabrikam(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("fabrikam")
    directory.chmod(0o711)
    one = Fabrikam(directory, dirsync=request.param)
    wait_until(lambda: len(one.names()) == PEOPLE, "the first run")
    yield one
    one.close()


def test_pages_are_read_whatever_their_size(fabrikam):
    assert set(fabrikam.names()) == {str(guid(n)) for n in range(PEOPLE)}
    assert fabrikam.method() == ("dirsync" if fabrikam.ad.dirsync else "usn")


def test_what_is_refused_is_told_in_the_controllers_words(fabrikam):
    def told(event):
        return [line for line in fabrikam.daemon.log.read_text().splitlines() if f"event={event} " in line]
    wait_until(lambda: told("sync.following" if fabrikam.ad.dirsync else "sync.limited"), "the log")
    assert len(told("sync.limited")) == (0 if fabrikam.ad.dirsync else 1)
    assert all("Insufficient access (50): 00002105: LdapErr" in line for line in told("sync.limited"))


def test_all_parts_of_the_values_are_read(fabrikam):
    many = {f"alias{i}" for i in range(23)}
    fabrikam.put(1, "Many", sorted(many))
    wait_until(lambda: fabrikam.names()[str(guid(1))] == "Many", "the change")
    assert fabrikam.aliases(1) == many
    assert "proxyAddresses;range=5-*" in fabrikam.ad.asked and "proxyAddresses;range=20-*" in fabrikam.ad.asked
    assert fabrikam.registry.sync(forest="fabrikam")["state"] == "unchanged"
    assert fabrikam.aliases(1) == many


def test_all_rounds_of_changes_are_taken(fabrikam):
    before = fabrikam.full_runs()
    for n in range(PEOPLE):
        fabrikam.put(n, "Everybody")
    wait_until(lambda: set(fabrikam.names().values()) == {"Everybody"}, "all of them")
    assert fabrikam.full_runs() == before


def test_who_is_gone_and_not_shown_is_gone(fabrikam):
    if not fabrikam.ad.dirsync:
        pytest.skip("only DirSync tells of objects that are not shown")
    before = fabrikam.full_runs()
    fabrikam.ad.delete(guid(2))
    wait_until(lambda: str(guid(2)) not in fabrikam.names(), "the deletion")
    assert fabrikam.full_runs() == before


def test_who_loses_the_right_to_dirsync_goes_on_by_numbers(fabrikam):
    if not fabrikam.ad.dirsync:
        pytest.skip("it is refused from the beginning")
    after = fabrikam.daemon.log.stat().st_size
    fabrikam.ad.dirsync = False
    fabrikam.put(3, "Refused")
    wait_until(lambda: fabrikam.names()[str(guid(3))] == "Refused", "the change")
    assert fabrikam.method() == "usn"
    assert "event=sync.cursor_refused" in fabrikam.daemon.log.read_text()[after:]
    before = fabrikam.full_runs()
    fabrikam.put(4, "By Number")
    wait_until(lambda: fabrikam.names()[str(guid(4))] == "By Number", "the next")
    assert fabrikam.full_runs() == before


@pytest.mark.parametrize("endless, says", [("again", "begin again"), ("empty", "without an entry")])
def test_pages_without_an_end_are_given_up(fabrikam, endless, says):
    before = fabrikam.names()
    fabrikam.ad.endless = endless
    try:
        run = fabrikam.registry.sync(forest="fabrikam")
    finally:
        fabrikam.ad.endless = None
    assert run["state"] == "failed" and says in run["error"]
    assert fabrikam.names() == before
    assert fabrikam.registry.sync(forest="fabrikam")["state"] == "unchanged"


def test_a_unit_that_moves_while_another_context_is_read_fails_the_run(tmp_path):
    tmp_path.chmod(0o711)
    one = Fabrikam(tmp_path)
    other = Directory()
    controller = Controller(other)
    unit = guid("unit")

    def move():
        other.on_page = lambda: None
        one.ad.put(unit, objectClass=["organizationalUnit"], name=["Moved"])

    try:
        wait_until(lambda: len(one.names()) == PEOPLE, "the first run")
        other.put(guid(PEOPLE), sAMAccountName=["other"], displayName=["Other"], mail=["other@fabrikam.example"])
        one.registry.sql("SELECT hedgerow.add_context('fabrikam', %s, %s)", f"OU=Sub,{BASE}", [controller.url])
        wait_until(lambda: len(one.names()) == PEOPLE + 1, "the second context")
        other.on_page = move
        run = one.registry.sync(forest="fabrikam")
        assert run["state"] == "failed" and "has changed, and with it who is in it" in run["error"]
        wait_until(lambda: one.registry.sql("SELECT state FROM hedgerow.sync_run WHERE id > %s AND kind = 'full'"
                                            " AND state = 'unchanged'", run["id"]), "the next")
    finally:
        one.close()
        controller.close()
