# SPDX-License-Identifier: Apache-2.0
"""The directory decides where people are: a change there takes effect with the next sync, and no
process is restarted."""
from labkit import unique, wait_until
from xmpp import Client

CAROL, DAVE = "carol.adams@example.com", "dave.baker@example.com"


def pids(lab):
    return {path.name: path.read_text() for path in (lab.directory / "pid").iterdir()}


def test_the_next_message_goes_to_the_new_installation(lab, login):
    lab.run("annex")
    before = pids(lab)
    carol, dave = login("carol"), login("dave")
    text = unique("before")
    dave.message(CAROL, text)
    carol.wait_body(text)

    lab.run("move", "carol", "prosody-annex")
    moved = Client(lab.accounts()["carol"])
    try:
        lab.synced("amsterdam", "alpha")
        text = unique("after")
        wait_until(lambda: arrives(dave, moved, CAROL), "the new place to be in force")
        dave.message(CAROL, text)
        moved.wait_body(text)
        carol.round_trip()
        assert text.encode() not in carol.received()
        moved.message(DAVE, text)
        assert dave.wait_body(text).get("from") == f"{CAROL}/test"
        assert b"annex.alpha.example" not in dave.received()
        assert pids(lab) == before
    finally:
        moved.close()
        lab.run("move", "carol", "prosody-alpha")
        lab.synced("amsterdam", "alpha")
    wait_until(lambda: arrives(dave, carol, CAROL), "the old place to be in force")


def arrives(sender, recipient, address):
    """Does a message to `address` reach this recipient?"""
    text = unique("probe")
    sender.message(address, text)
    try:
        recipient.wait_body(text, 1)
        return True
    except AssertionError:
        return False


def test_a_dry_run_shows_the_difference_and_changes_nothing(lab):
    """The mapping differs here, not the directory: what changes there is followed at once."""
    names = "SELECT array_agg(name ORDER BY address) FROM hedgerow.person WHERE site = 'amsterdam'"
    before = lab.value("amsterdam", names)
    lab.hedgerow("amsterdam", "mapping", "set", "alpha", "name", "uid")
    try:
        shown = lab.hedgerow("amsterdam", "forest", "sync", "alpha", "--dry-run", "--draft")
        assert "ada.adams@example.com: name " in shown
        assert lab.value("amsterdam", names) == before
    finally:
        lab.hedgerow("amsterdam", "mapping", "discard", "alpha")


def test_a_run_that_would_remove_most_people_is_held(lab):
    """The filter of the forest suddenly finds nobody: nobody goes."""
    filter_before = lab.value("boston", "SELECT filter FROM hedgerow.forest WHERE forest = 'beta'")
    count = "SELECT count(*) FROM hedgerow.person WHERE forest = 'beta' AND state = 'active'"
    people = lab.value("boston", count)
    lab.sql("boston", "UPDATE hedgerow.forest SET filter = '(uid=bob)' WHERE forest = 'beta'")
    try:
        lab.hedgerow("boston", "forest", "sync", "beta", check=False)
        wait_until(lambda: lab.value("boston", "SELECT held_run IS NOT NULL FROM hedgerow.sync_status"
                                               " WHERE forest = 'beta'"), "the run to be held")
        assert lab.value("boston", count) == people
    finally:
        lab.sql("boston", "UPDATE hedgerow.forest SET filter = %s WHERE forest = 'beta'", filter_before)
    lab.synced("boston", "beta")
    assert lab.value("boston", count) == people
