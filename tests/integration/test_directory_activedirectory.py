# SPDX-License-Identifier: Apache-2.0
"""hedgerow-directory follows the changes of a real domain controller."""
import os
import time

import pytest

from labkit import wait_until
from sambakit import FILTER, Contoso, addc

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the ports of a domain controller are below 1024")

PEOPLE = 150


@pytest.fixture(scope="module")
def contoso(tmp_path_factory):
    directory = tmp_path_factory.mktemp("contoso")
    directory.chmod(0o711)
    one = Contoso(directory, PEOPLE)
    wait_until(lambda: one.registry.value("SELECT count(*) FROM hedgerow.person") == PEOPLE, "the first run")
    yield one
    one.close()


@pytest.fixture(autouse=True)
def settled(contoso):
    contoso.sync()
    yield


def test_changes_arrive_by_themselves(contoso):
    dc, before = contoso.dc, contoso.last()
    method, server, incarnation, usn = contoso.cursor()
    assert (method, server, incarnation) == ("dirsync", "dc1.contoso.example", dc.controller()) and usn > 0

    anchor = dc.create("newcomer", "newcomer@contoso.example")
    contoso.wait("newcomer", "Newcomer")
    dc.replace("newcomer", displayName=["Renamed"])
    contoso.wait("newcomer", "Renamed")
    dc.readdress("newcomer", "other@contoso.example")
    contoso.wait("newcomer", "other@contoso.example", "address")
    dc.rename("newcomer", "Somebody")
    dc.move(dc.dn("newcomer"), f"OU=Services,{dc.base}")
    dc.disable("newcomer")
    contoso.wait("newcomer", False, "enabled")
    assert contoso.person("newcomer", "anchor") == anchor
    dc.enable("newcomer")
    contoso.wait("newcomer", True, "enabled")
    dc.replace("newcomer", mail=[])  # leaves the filter
    contoso.gone("newcomer")
    dc.replace("newcomer", mail=["other@contoso.example"])
    contoso.wait("newcomer", anchor, "anchor")
    dc.delete("newcomer")
    contoso.gone("newcomer")
    dc.undelete(anchor, f"CN=Newcomer,OU=People,{dc.base}", mail=["other@contoso.example"], displayName=["Back"],
                userAccountControl=["544"])
    contoso.wait("newcomer", anchor, "anchor")
    dc.delete("newcomer")
    contoso.gone("newcomer")
    assert contoso.full_runs(before) == 0


def test_a_change_is_published_within_two_seconds(contoso):
    times = []
    for turn in range(5):
        began = time.monotonic()
        contoso.dc.replace("u3", displayName=[f"Quick {turn}"])
        contoso.wait("u3", f"Quick {turn}")
        times.append(time.monotonic() - began)
    assert sorted(times)[2] < 2.0, times


def test_a_preview_of_a_draft_takes_nothing_from_what_is_followed(contoso):
    registry, before = contoso.registry, contoso.last()
    registry.sql("SELECT hedgerow.remove_mapping('contoso', 'department')")
    try:
        number = registry.value("SELECT hedgerow.forest_sync('contoso', true, true)")
        wait_until(lambda: registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND state = 'previewed'",
                                          number), "the preview")
        contoso.dc.replace("u4", department=["Seen"])
        contoso.wait("u4", "Seen", "details ->> 'department'")
        assert contoso.full_runs(before) == 0
    finally:
        registry.sql("SELECT hedgerow.discard_mapping('contoso')")


def test_a_restarted_daemon_goes_on_where_it_was(contoso):
    before = contoso.last()
    anchor = contoso.person("u5", "anchor")
    assert contoso.daemon.stop() == 0
    contoso.dc.replace("u4", displayName=["While Away"])
    contoso.dc.delete("u5")
    contoso.daemon.start()
    contoso.wait("u4", "While Away")
    contoso.gone("u5")
    assert contoso.full_runs(before) == 0
    contoso.dc.undelete(anchor, f"CN=Ada Adams 5,OU=People,{contoso.dc.base}", mail=["ada5@contoso.example"],
                        userAccountControl=["544"])
    contoso.wait("u5", anchor, "anchor")


def test_a_unit_that_moves_takes_its_people_with_it(contoso):
    dc = contoso.dc
    unit = dc.unit("Sales", f"OU=People,{dc.base}")
    dc.create("seller", "seller@contoso.example", unit)
    contoso.registry.sql("UPDATE hedgerow.forest SET base_dn = %s", f"OU=People,{dc.base}")
    contoso.sync()
    contoso.wait("seller", "Seller")
    before, after = contoso.last(), contoso.mark()
    dc.move(unit, dc.base)
    contoso.wait_log("level=info", "event=sync.moved", "OU=Sales", after=after)
    contoso.gone("seller")
    assert "sync.cursor_refused" not in contoso.daemon.log.read_text()[after:]
    assert contoso.full_runs(before) == 1
    contoso.registry.sql("UPDATE hedgerow.forest SET base_dn = %s", dc.base)
    contoso.sync()
    contoso.wait("seller", "Seller")
    dc.delete("seller")
    contoso.gone("seller")


def test_who_moves_from_one_naming_context_to_another_stays(contoso):
    dc, registry = contoso.dc, contoso.registry
    here, there = f"OU=People,{dc.base}", dc.unit("Annex")
    anchor = dc.create("nomad", "nomad@contoso.example", there)
    registry.sql("UPDATE hedgerow.forest SET base_dn = %s", here)
    registry.sql("SELECT hedgerow.add_context('contoso', %s, %s)", there, [dc.url])
    contoso.sync()
    contoso.wait("nomad", "Nomad")
    before = contoso.last()
    for turn, to in enumerate([here, there, here, there]):
        dc.move(dc.dn("nomad"), to)
        dc.replace("nomad", displayName=[f"Nomad {turn}"])
        contoso.wait("nomad", f"Nomad {turn}")
    assert registry.value("SELECT count(*) FROM hedgerow.sync_difference WHERE anchor = %s AND action = 'remove'", anchor) == 0
    dc.delete("nomad")
    contoso.gone("nomad")
    assert contoso.full_runs(before) == 0
    registry.sql("SELECT hedgerow.remove_context('contoso', %s)", there)
    registry.sql("UPDATE hedgerow.forest SET base_dn = %s", dc.base)
    contoso.sync()


def test_members_of_a_group_come_and_go(contoso):
    dc = contoso.dc
    members = [dc.dn(f"u{n}") for n in range(40, 140)]
    group = dc.group("chatters", [dc.dn(f"u{n}") for n in range(PEOPLE)])
    contoso.registry.sql("UPDATE hedgerow.forest SET filter = %s, guard_delete_count = 1000",
                         f"(&(objectClass=user)(memberOf={group}))")
    contoso.sync()
    before = contoso.last()
    dc.ldap.modify_s(group, [(1, "member", [dn.encode() for dn in members])])
    contoso.gone("u139")
    wait_until(lambda: contoso.registry.value("SELECT count(*) FROM hedgerow.person WHERE state = 'active'")
               == PEOPLE - len(members), "all of them to leave")
    dc.ldap.modify_s(group, [(0, "member", [dn.encode() for dn in members])])
    wait_until(lambda: contoso.registry.value("SELECT count(*) FROM hedgerow.person WHERE state = 'active'") == PEOPLE,
               "all of them to come back")
    assert contoso.full_runs(before) == 0
    contoso.registry.sql("UPDATE hedgerow.forest SET filter = %s", FILTER)
    contoso.sync()
    dc.ldap.delete_s(group)


def test_a_group_within_a_group_takes_its_people_with_it(contoso):
    dc = contoso.dc
    inner = dc.group("inner", [dc.dn(f"u{n}") for n in range(20, 30)])
    outer = dc.group("outer", [inner] + [dc.dn(f"u{n}") for n in range(20)])
    contoso.registry.sql("UPDATE hedgerow.forest SET filter = %s, guard_delete_count = 1000",
                         f"(&(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:={outer}))")
    contoso.sync()
    assert contoso.person("u29") is not None
    dc.ldap.modify_s(outer, [(1, "member", [inner.encode()])])
    contoso.gone("u29")
    assert contoso.person("u19") is not None
    dc.ldap.modify_s(outer, [(0, "member", [inner.encode()])])
    wait_until(lambda: contoso.person("u29"), "them to come back")
    contoso.registry.sql("UPDATE hedgerow.forest SET filter = %s", FILTER)
    contoso.sync()
    dc.ldap.delete_s(outer)
    dc.ldap.delete_s(inner)


def test_a_restarted_controller_is_followed_again(contoso):
    before, after = contoso.last(), contoso.mark()
    contoso.dc.stop()
    contoso.wait_log("sync.lost", after=after)
    contoso.dc.start()
    contoso.dc.replace("u7", displayName=["After The Restart"])
    contoso.wait("u7", "After The Restart")
    assert contoso.full_runs(before) == 0


def test_another_life_of_the_controller_is_noticed(contoso):
    before, after = contoso.last(), contoso.mark()
    old = contoso.cursor()[2]
    contoso.dc.renew()
    contoso.dc.replace("u8", displayName=["In Another Life"])
    contoso.wait_log("sync.cursor_refused", "invocationId", after=after)
    contoso.wait("u8", "In Another Life")
    assert contoso.full_runs(before) >= 1
    assert contoso.cursor()[2] == contoso.dc.controller() != old


@pytest.mark.parametrize("change, reason", [
    ("usn = usn + 100000", "was rolled back"),
    ("cookie = '\\x00'", "Unable to unmarshall cookie"),
    ("cookie = NULL, usn = usn", "more has changed"),
], ids=["a rollback", "a broken cookie", "no cookie"])
def test_a_position_that_cannot_be_leads_to_a_full_run(contoso, change, reason):
    assert contoso.daemon.stop() == 0
    before, after = contoso.last(), contoso.mark()
    contoso.registry.sql(f"UPDATE hedgerow.sync_cursor SET {change}")
    contoso.dc.replace("u9", displayName=[reason])
    contoso.daemon.start()
    contoso.wait("u9", reason)
    if reason != "more has changed":  # without a cookie everything has changed, which is few here
        contoso.wait_log("sync.cursor_refused", reason, after=after)
        assert contoso.full_runs(before) == 1


def test_where_dirsync_is_not_granted_numbers_do(contoso):
    dc = contoso.dc
    assert contoso.daemon.stop() == 0
    contoso.registry.sql("UPDATE hedgerow.sync_cursor SET method = 'usn', cookie = NULL")
    before = contoso.last()
    contoso.daemon.start()
    dc.replace("u10", displayName=["By Number"])
    contoso.wait("u10", "By Number")
    anchor = dc.create("passing", "passing@contoso.example")
    contoso.wait("passing", anchor, "anchor")
    dc.delete("passing")
    contoso.gone("passing")
    assert contoso.cursor()[0] == "usn"
    assert contoso.full_runs(before) == 0
    contoso.sync()
    assert contoso.cursor()[0] == "dirsync"


def test_an_account_that_does_not_see_deleted_objects_is_told(contoso):
    dc = contoso.dc
    dc.add(f"CN=plain,OU=Services,{dc.base}", objectClass=["user"], sAMAccountName=["plain"], userAccountControl=["546"])
    dc.set_password("plain", "Some.Word.1")
    dc.replace("plain", userAccountControl=["512"])
    (contoso.secrets / "plain.password").write_text("Some.Word.1")
    after = contoso.mark()
    contoso.registry.sql("UPDATE hedgerow.forest SET bind_dn = 'plain@contoso.example', bind_secret = 'plain.password'")
    try:
        contoso.sync()
        contoso.wait_log("sync.limited", "deleted objects are not shown", after=after)
        contoso.dc.replace("u11", displayName=["Seen By Anybody"])
        contoso.wait("u11", "Seen By Anybody")
        dc.create("leaver", "leaver@contoso.example")
        contoso.wait("leaver", "Leaver")
        dc.delete("leaver")
        contoso.sync()
        contoso.gone("leaver")
    finally:
        contoso.registry.sql("UPDATE hedgerow.forest SET bind_dn = 'svc-hedgerow@contoso.example',"
                             " bind_secret = 'contoso.password'")


@pytest.mark.parametrize("scheme, tls", [("ldaps", "ldaps"), ("ldap", "plain")], ids=["within TLS", "sealed by itself"])
def test_kerberos_lets_us_in(contoso, scheme, tls):
    registry = contoso.registry
    if not (contoso.secrets / "contoso.keytab").exists():
        addc("keytab", contoso.dc.home, contoso.secrets / "contoso.keytab", "svc-hedgerow")
    registry.sql("UPDATE hedgerow.forest SET bind = 'gssapi', bind_secret = 'contoso.keytab',"
                 " bind_dn = 'svc-hedgerow@CONTOSO.EXAMPLE', urls = ARRAY[%s], tls = %s",
                 f"{scheme}://{contoso.dc.address}", tls)
    try:
        contoso.sync()
        contoso.dc.replace("u13", displayName=[f"By Kerberos, {tls}"])
        contoso.wait("u13", f"By Kerberos, {tls}")
    finally:
        registry.sql("UPDATE hedgerow.forest SET bind = 'simple', bind_secret = 'contoso.password',"
                     " bind_dn = 'svc-hedgerow@contoso.example', urls = ARRAY[%s], tls = 'ldaps'", contoso.dc.url)


def test_a_keytab_without_the_principal_is_named(contoso):
    registry = contoso.registry
    registry.sql("UPDATE hedgerow.forest SET bind = 'gssapi', bind_secret = 'contoso.keytab',"
                 " bind_dn = 'nobody@CONTOSO.EXAMPLE'")
    run = registry.sync(forest="contoso")
    registry.sql("UPDATE hedgerow.forest SET bind = 'simple', bind_secret = 'contoso.password',"
                 " bind_dn = 'svc-hedgerow@contoso.example'")
    assert run["state"] == "failed" and "bind as nobody@CONTOSO.EXAMPLE: Kerberos: " in run["error"], run["error"]


def test_a_changed_password_is_not_tried_often(contoso):
    after = contoso.mark()
    contoso.dc.set_password("svc-hedgerow", "Some.Word.1")  # the one before is still taken for an hour
    contoso.dc.set_password("svc-hedgerow", "Another.Word.1")
    contoso.dc.stop()
    contoso.dc.start()
    contoso.wait_log("sync.failed", "the password is wrong", after=after)
    (contoso.secrets / "contoso.password").write_text("Another.Word.1")
    contoso.sync()
    contoso.dc.replace("u12", displayName=["Let In Again"])
    contoso.wait("u12", "Let In Again")
    assert contoso.daemon.log.read_text()[after:].count("the password is wrong") <= 3
    contoso.dc.set_password("svc-hedgerow", contoso.password)
    (contoso.secrets / "contoso.password").write_text(contoso.password)
