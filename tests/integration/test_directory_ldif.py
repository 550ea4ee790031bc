# SPDX-License-Identifier: Apache-2.0
"""hedgerow-directory and a forest that is an LDIF file."""
import errno
import os
import uuid

import pytest

from directorykit import Daemon, Registry
from labkit import wait_until

BASE = "dc=paper,dc=example"


def record(uid, more="", anchor=True):
    known = f"entryUUID: {uuid.uuid5(uuid.NAMESPACE_DNS, uid)}\n" if anchor else ""
    return (f"dn: uid={uid},ou=People,{BASE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid.title()}\n"
            f"mail: {uid}@paper.example\n{known}{more}\n")


class Paper:
    def __init__(self, directory, *first):
        self.path = directory / "paper.ldif"
        (directory / "secrets").mkdir()
        self.registry = Registry()
        self.write(*first)
        self.registry.sql("SELECT hedgerow.add_forest('paper', 'ldif', %s, base_dn => %s, guard_delete_count => 1,"
                          " guard_delete_percent => 40)", [f"file://{self.path}"], BASE)
        self.registry.sql("SELECT hedgerow.add_domain('paper.example', 'paper')")
        self.registry.sql("SELECT hedgerow.add_installation('im-p', 'paper', 'prosody', 'im.p.example',"
                          " '127.0.0.1', 5347, 'im-p.secret')")
        self.daemon = Daemon(directory, self.registry, "one")
        self.daemon.start()

    def write(self, *records):
        new = self.path.with_suffix(".new")
        new.write_text("version: 1\n\n" + "".join(records))
        os.replace(new, self.path)

    def names(self):
        return dict(self.registry.sql("SELECT address, name FROM hedgerow.person WHERE state = 'active'"))

    def last(self):
        return self.registry.run(self.registry.value("SELECT max(id) FROM hedgerow.sync_run WHERE state <> 'running'"))

    def close(self):
        assert self.daemon.stop() == 0
        self.registry.close()


@pytest.fixture(name="paper", scope="module")
def _paper(tmp_path_factory):
    directory = tmp_path_factory.mktemp("paper")
    directory.chmod(0o711)
    one = Paper(directory, record("ada"), record("bob"), record("carol"))
    wait_until(lambda: len(one.names()) == 3, "the first run")
    yield one
    one.close()


def test_a_first_file_that_is_broken_is_read_again_when_it_is_another_one(tmp_path):
    tmp_path.chmod(0o711)
    paper = Paper(tmp_path, "no ldif\n")
    try:
        wait_until(lambda: paper.last(), "the failed run")
        assert paper.last()["state"] == "failed" and "line 3" in paper.last()["error"]
        (tmp_path / "other.ldif").write_text("not ours")
        paper.write("still none\n")
        wait_until(lambda: paper.last()["id"] == 2, "the file to be read again")
        paper.path.unlink()
        paper.write(record("ada"))
        wait_until(lambda: paper.names() == {"ada@paper.example": "Ada"}, "the mended file to be read by itself")
        assert [paper.registry.run(n)["state"] for n in (1, 2, 3)] == ["failed", "failed", "applied"]
    finally:
        paper.close()


def test_a_file_that_is_replaced_is_read_at_once(paper):
    outside = record("eve").replace(BASE, "dc=elsewhere,dc=example")
    robot = record("robot").replace("inetOrgPerson", "device")
    paper.write(record("ada", "displayName:: QcOpZGE=\n"), record("bob", "displayName: Bob the\n  Builder\n"),
                record("carol"), outside, robot)
    wait_until(lambda: paper.names()["ada@paper.example"] == "Aéda", "the change")
    assert paper.names() == {"ada@paper.example": "Aéda", "bob@paper.example": "Bob the Builder",
                             "carol@paper.example": "Carol"}


def test_an_entry_without_an_anchor_is_known_by_its_dn(paper):
    before = paper.names()
    paper.write(record("ada"), record("bob"), record("carol"), record("dave", anchor=False))
    wait_until(lambda: "dave@paper.example" in paper.names(), "the change")
    assert paper.registry.value("SELECT anchor FROM hedgerow.person WHERE address = 'dave@paper.example'") \
        == f"dn:uid=dave,ou=people,{BASE}"
    paper.write(record("ada"), record("bob"), record("carol"))
    wait_until(lambda: paper.names().keys() == before.keys(), "the removal")


@pytest.mark.parametrize("text, error", [
    ("no ldif\n", "line 10: not \"attribute: value\""),
    ("dn: uid=x\nchangetype: delete\n", "line 11: a record of changes"),
    ("dn: uid=x\njpegPhoto:< file:///etc/passwd\n", "line 11: a value in another file"),
], ids=["nonsense", "changes", "another file"])
def test_a_file_that_cannot_be_read_keeps_everybody(paper, text, error):
    before = paper.names()
    paper.write(record("ada"), text)
    wait_until(lambda: paper.last()["state"] == "failed", "the failed run")
    assert error in paper.last()["error"]
    assert paper.names() == before
    paper.write(record("ada"), record("bob"), record("carol"))
    wait_until(lambda: paper.last()["state"] == "unchanged", "the mended file to be read by itself")


def test_a_file_that_may_not_be_read_is_refused_until_it_is_another_one(paper):
    before, first = paper.names(), paper.last()["id"]
    link = paper.path.with_suffix(".link")
    link.symlink_to("/proc/self/mem")  # may be opened
    os.replace(link, paper.path)
    wait_until(lambda: paper.last()["state"] == "failed", "the failed run")
    assert os.strerror(errno.EIO) in paper.last()["error"]
    state = "SELECT state FROM hedgerow.sync_contexts WHERE forest = 'paper'"
    wait_until(lambda: paper.registry.value(state) == "refused", "the file to be refused")
    paper.path.with_name("other.ldif").write_text("not ours")
    assert paper.registry.sync(dry_run=True, forest="paper")["state"] == "failed"
    assert paper.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND kind = 'full'", first) == 1
    assert paper.registry.value(state) == "refused" and paper.names() == before
    paper.write(record("ada"), record("bob"), record("carol"))
    wait_until(lambda: paper.last()["state"] == "unchanged", "the mended file to be read by itself")


def test_half_a_file_is_held(paper):
    before = paper.names()
    paper.write(record("ada"))
    wait_until(lambda: paper.last()["state"] == "held", "the guard")
    assert paper.names() == before
    paper.write(record("ada"), record("bob"), record("carol"))
    wait_until(lambda: paper.last()["state"] == "unchanged", "a whole file")
