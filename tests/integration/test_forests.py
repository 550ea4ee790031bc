# SPDX-License-Identifier: Apache-2.0
"""Three forests in one federation of two sites, as `ops/lab up ad` makes it: alpha (read at amsterdam)
and beta (at boston) are Active Directory, gamma (at boston) is OpenLDAP. What happens in a directory
takes effect at both sites by itself: nothing here asks for a run, except where that is what is tried.
"""
import os
import shutil
import tempfile

import pytest

from labkit import Lab, processes_of, unique, wait_until
from sambakit import Domain, Samba, addc, needs_ports

pytestmark = needs_ports
SITES = ("amsterdam", "boston")
READ_AT = {"alpha": "amsterdam", "beta": "boston", "gamma": "boston"}


class Federation(Lab):
    """The lab, and its Active Directories' administrators."""

    def __init__(self, directory):
        super().__init__(directory)
        self.shown = self.run("up", "ad")
        self.alpha, self.beta = (Domain(self.directory / name / "samba") for name in ("alpha", "beta"))
        for one in (self.alpha, self.beta):
            one.bind()

    def route(self, site, address):
        """How a gateway of the site would route it: a dictionary, with None for all when it would not."""
        names = ("address", "native", "installation", "site", "forest", "name", "enabled")
        return dict(zip(names, self.sql(site, f"SELECT {', '.join(names)} FROM hedgerow.lookup_addresses(ARRAY[%s])",
                                        address)[0]))

    def becomes(self, address, seconds=20.0, /, **expected):
        """Waits until it is routed so at both sites."""
        for site in SITES:
            wait_until(lambda: {name: self.route(site, address)[name] for name in expected} == expected,
                       f"{address} to have {expected} at {site}, where it is {self.route(site, address)}", seconds)

    def gone(self, address):
        self.becomes(address, address=None)

    def person(self, anchor):
        """The row of a person, which outlives the address."""
        names = ("forest", "address", "name", "state", "enabled", "created_at")
        rows = self.sql("amsterdam", f"SELECT {', '.join(names)} FROM hedgerow.person WHERE anchor = %s", anchor)
        assert len(rows) == 1, (anchor, rows)
        return dict(zip(names, rows[0]))

    def people(self, forest):
        return self.value(READ_AT[forest], "SELECT count(*) FROM hedgerow.person WHERE forest = %s AND state = 'active'",
                          forest)

    def newest_run(self, forest):
        return self.value(READ_AT[forest], "SELECT coalesce(max(run), 0) FROM hedgerow.sync_runs WHERE forest = %s", forest)

    def runs_since(self, forest, number):
        """(kind, state) of the runs of a forest after that one, oldest first."""
        return self.sql(READ_AT[forest], "SELECT kind, state FROM hedgerow.sync_runs WHERE forest = %s AND run > %s"
                                         " AND state <> 'running' ORDER BY run", forest, number)

    def status(self, forest, column):
        return self.value(READ_AT[forest], f"SELECT {column} FROM hedgerow.sync_status WHERE forest = %s", forest)

    def actions(self, anchor):
        """What runs did to a person, oldest first."""
        return [action for site in SITES for action, in
                self.sql(site, "SELECT action FROM hedgerow.sync_differences WHERE anchor = %s ORDER BY run", anchor)]

    def directory_log(self, forest):
        return self.log_mark(f"directory-{READ_AT[forest]}")


@pytest.fixture(scope="module")
def ad():
    home = tempfile.mkdtemp(prefix="hrt-")
    os.chmod(home, 0o711)  # PostgreSQL may be another user's
    lab, reports = os.path.join(home, "lab"), []
    try:
        one = Federation(lab)
        yield one
        reports = one.sanitizer_reports()
    finally:
        Lab(lab).run("down")
    assert not reports, "\n".join(reports)
    assert processes_of(lab) == []
    assert os.listdir(home) == []
    os.rmdir(home)


BEACONS = {"alpha": "ada", "beta": "bob"}


def settled(ad, forest, seconds=20.0):
    """Waits for a change made now, before which everything earlier has come through."""
    domain, account, name = getattr(ad, forest), BEACONS[forest], unique("Beacon")
    domain.replace(account, displayName=[name])
    ad.becomes(domain.value(account, "mail"), seconds, name=name)


def test_up_shows_people_of_three_forests_and_a_rename(ad):
    for words in ("ada@im.alpha.example on Prosody", "bob@im.beta.example on ejabberd", "gus@im.gamma.example on Prosody",
                  "erik.jansen@example.com is routable at amsterdam after", "erik.jansen@example.com is routable at boston after",
                  "erik@im.alpha.example on Prosody, known as erik.jansen@example.com"):
        assert words in ad.shown


def test_a_new_person_is_routable_without_a_full_run(ad):
    before = ad.newest_run("alpha")
    anchor = ad.alpha.create("rosa", "Rosa.Ruiz@example.com")
    ad.becomes("rosa.ruiz@example.com", forest="alpha", native="rosa@im.alpha.example", site="amsterdam", enabled=True)
    assert ad.runs_since("alpha", before) == [("changes", "applied")]
    assert ad.person(anchor)["name"] == "Rosa"


def test_a_rename_keeps_the_person_and_the_old_address(ad):
    anchor = ad.beta.create("nora", "nora.noble@example.com")
    ad.becomes("nora.noble@example.com", forest="beta", native="nora@im.beta.example")
    first = ad.person(anchor)
    ad.beta.rename("nora", "Nora Olsen")
    ad.beta.readdress("nora", "nora.olsen@example.com", displayName=["Nora Olsen"])
    ad.becomes("nora.olsen@example.com", name="Nora Olsen", native="nora@im.beta.example")
    assert ad.person(anchor) == {**first, "address": "nora.olsen@example.com", "name": "Nora Olsen"}
    ad.becomes("nora.noble@example.com", address="nora.olsen@example.com")
    assert "remove" not in ad.actions(anchor)


def test_a_move_and_the_rename_of_a_unit_change_nobody(ad):
    anchor = ad.alpha.create("milo", "milo@example.com")
    ad.becomes("milo@example.com", forest="alpha")
    actions, person = ad.actions(anchor), ad.person(anchor)
    west = ad.alpha.unit("West")
    ad.alpha.move(ad.alpha.dn("milo"), west)
    ad.alpha.ldap.rename_s(west, "OU=Far West")
    settled(ad, "alpha")
    assert ad.person(anchor) == person
    assert ad.actions(anchor) == actions
    ad.alpha.replace("milo", displayName=["Milo Moved"])
    ad.becomes("milo@example.com", name="Milo Moved")


def test_who_is_disabled_is_not_routed_until_enabled(ad):
    ad.alpha.create("dora", "dora.doe@example.com")
    ad.becomes("dora.doe@example.com", enabled=True)
    ad.alpha.disable("dora")
    ad.becomes("dora.doe@example.com", enabled=False)
    ad.alpha.enable("dora")
    ad.becomes("dora.doe@example.com", enabled=True)


def test_who_is_deleted_and_restored_is_the_same_person(ad):
    anchor = ad.beta.create("lars", "lars@example.com")
    ad.becomes("lars@example.com", forest="beta")
    first, dn = ad.person(anchor), ad.beta.dn("lars")
    ad.beta.delete("lars")
    ad.gone("lars@example.com")
    assert ad.person(anchor)["state"] == "deleted"
    ad.beta.undelete(anchor, dn, mail=["lars@example.com"], displayName=["Lars"], userPrincipalName=["lars@beta.example"])
    ad.becomes("lars@example.com", forest="beta", name="Lars")
    assert ad.person(anchor) == first


def test_two_people_swap_addresses(ad):
    one, other = ad.alpha.create("yin", "yin@example.com"), ad.alpha.create("yang", "yang@example.com")
    ad.becomes("yin@example.com", native="yin@im.alpha.example")
    ad.becomes("yang@example.com", native="yang@im.alpha.example")
    ad.alpha.swap("yin", "yang")
    ad.becomes("yin@example.com", native="yang@im.alpha.example")
    ad.becomes("yang@example.com", native="yin@im.alpha.example")
    assert (ad.person(one)["address"], ad.person(other)["address"]) == ("yang@example.com", "yin@example.com")
    assert not {"add", "remove"} & set(ad.actions(one)[1:] + ad.actions(other)[1:])


def crowd(unit, prefix, count):
    """LDIF of so many people in a unit of their own."""
    yield f"dn: {unit}\nobjectClass: organizationalUnit\n"
    for i in range(count):
        yield (f"dn: CN={prefix}{i},{unit}\nobjectClass: user\nsAMAccountName: {prefix}{i}\nmail: {prefix}{i}@example.com\n"
               f"displayName: {prefix.title()} {i}\nuserAccountControl: 544\n")


def load(domain, name, entries):
    path = domain.home / f"{name}.ldif"
    path.write_text("\n".join(entries))
    addc("load", domain.home, path)


def test_a_group_of_two_thousand_is_nobody_and_disturbs_nobody(ad):
    unit = f"OU=Members,{ad.alpha.base}"
    load(ad.alpha, "members", crowd(unit, "member", 2000))
    before = ad.people("alpha")
    group = ad.alpha.group("Everybody", [f"CN=member{i},{unit}" for i in range(2000)], mail=["everybody@example.com"])
    wait_until(lambda: ad.people("alpha") >= before and all(
        ad.value(site, "SELECT count(*) FROM hedgerow.person WHERE address LIKE 'member%%' AND state = 'active'") == 2000
        for site in SITES), "2,000 people at both sites", 60)
    assert ad.alpha.ldap.search_s(group, 0, attrlist=["member"])[0][1]["member"].__len__() == 2000
    ad.alpha.ldap.modify_s(group, [(1, "member", [f"CN=member7,{unit}".encode()])])
    settled(ad, "alpha")
    assert ad.route("boston", "everybody@example.com")["address"] is None
    assert ad.route("boston", "member7@example.com")["forest"] == "alpha"


def test_a_unit_with_half_of_the_people_does_not_go_unasked(ad):
    def sync():
        return ad.hedgerow("boston", "forest", "sync", "beta", check=False)
    unit = f"OU=Crowd,{ad.beta.base}"
    load(ad.beta, "crowd", crowd(unit, "crowd", 100))
    ad.becomes("crowd99@example.com", forest="beta")
    people = ad.people("beta")
    ad.beta.delete_tree(unit)
    wait_until(lambda: ad.status("beta", "held_run"), "the run to be held")
    kept = ad.people("beta")
    assert people - kept <= 20, "so many the guard lets go"
    assert "HELD" in ad.hedgerow("boston", "status")
    assert ad.value("boston", "SELECT count(*) FROM hedgerow.sync_held WHERE forest = 'beta' AND action = 'remove'") == \
        100 - (people - kept)

    ad.hedgerow("boston", "forest", "drop", "beta")
    wait_until(lambda: ad.status("beta", "kept"), "the run that keeps them")
    sync()
    settled(ad, "beta")
    assert (ad.people("beta"), ad.status("beta", "held_run")) == (kept, None), "it is not asked again"

    ad.beta.delete("jane")
    wait_until(lambda: ad.status("beta", "held_run"), "to be asked again")
    ad.hedgerow("boston", "forest", "release", "beta")
    wait_until(lambda: ad.people("beta") == people - 101, "the released run")
    ad.gone("crowd99@example.com")
    settled(ad, "beta")


def test_a_controller_that_was_away_is_followed_again(ad):
    ad.stop("samba-beta")
    before = ad.newest_run("beta")
    ad.start("samba-beta")
    wait_until(ad.beta.answers, "the administrator's bind")
    ad.beta.create("abel", "abel@example.com")
    ad.becomes("abel@example.com", 60, forest="beta")
    assert ("full", "applied") not in ad.runs_since("beta", before), "what came meanwhile is asked for, no more"


def test_a_controller_that_is_renewed_is_read_whole(ad):
    life = ad.alpha.controller()
    before, log = ad.newest_run("alpha"), ad.directory_log("alpha")
    ad.run("renew", "alpha")
    wait_until(ad.alpha.answers, "the administrator's bind")
    assert ad.alpha.controller() != life
    ad.wait_log(log, r"event=sync\.cursor_refused.*forest=alpha", 60)
    wait_until(lambda: ("full", "applied") in ad.runs_since("alpha", before) or
               ("full", "unchanged") in ad.runs_since("alpha", before), "the full run", 60)
    settled(ad, "alpha")


def test_what_a_restored_controller_has_forgotten_is_forgotten(ad):
    """A copy of the controller's disk is put back: its update sequence numbers run a second time."""
    home = ad.beta.home
    ad.stop("samba-beta")
    shutil.copytree(home, home.with_name("copy"), symlinks=True, ignore=shutil.ignore_patterns("ldapi", "ldap_priv", "run"))
    (home.with_name("copy") / "run").mkdir()
    ad.start("samba-beta")
    wait_until(ad.beta.answers, "the administrator's bind")
    ad.beta.create("ghost", "ghost@example.com")
    ad.becomes("ghost@example.com", forest="beta")

    ad.stop("samba-beta")
    log = ad.directory_log("beta")
    shutil.rmtree(home)
    home.with_name("copy").rename(home)
    ad.start("samba-beta")
    wait_until(ad.beta.answers, "the administrator's bind")
    ad.wait_log(log, r"event=sync\.cursor_refused.*forest=beta", 60)
    ad.gone("ghost@example.com")
    settled(ad, "beta")


def test_a_password_that_changes_and_changes_back_costs_nobody(ad):
    """Active Directory takes the password before the last one for an hour: it changes twice."""
    good = (ad.alpha.home / "svc-hedgerow").read_text()
    people, log = ad.people("alpha"), ad.directory_log("alpha")
    ad.alpha.set_password("svc-hedgerow", "Aa1." + unique())
    ad.alpha.set_password("svc-hedgerow", "Aa1." + unique())
    ad.stop("samba-alpha")  # the session that there is would go on
    ad.start("samba-alpha")
    wait_until(ad.alpha.answers, "the administrator's bind")
    ad.wait_log(log, r"event=sync\.failed.*forest=alpha.*the password is wrong", 60)
    assert "failed" in ad.hedgerow("amsterdam", "forest", "sync", "alpha", check=False)
    wait_until(lambda: "the password is wrong" in ad.hedgerow("amsterdam", "forest", "status"), "the status")
    assert ad.people("alpha") == people

    ad.alpha.set_password("svc-hedgerow", good)
    ad.hedgerow("amsterdam", "forest", "sync", "alpha")
    assert ad.people("alpha") == people
    settled(ad, "alpha")


def test_the_next_controller_is_asked_when_the_first_is_dead(ad):
    urls = f"ldaps://{addc('address').strip()},{ad.beta.url}"
    ad.hedgerow("boston", "forest", "set", "beta", f"urls={urls}")
    try:
        settled(ad, "beta")
    finally:
        ad.hedgerow("boston", "forest", "set", "beta", f"urls={ad.beta.url}")
    settled(ad, "beta")


def test_openldap_is_followed_too(ad):
    def ldif(text):
        ad.run("ldap", "gamma", stdin=text)
    dn = "uid=otto,ou=People,dc=gamma,dc=example"
    before = ad.newest_run("gamma")
    ldif(f"dn: {dn}\nchangetype: modify\nreplace: mail\nmail: otto.changed@example.com\n")
    ad.becomes("otto.changed@example.com", native="otto@im.gamma.example")
    ldif(f"dn: {dn}\nchangetype: modrdn\nnewrdn: uid=ottone\ndeleteoldrdn: 1\n")
    ad.becomes("otto.changed@example.com", native="ottone@im.gamma.example")
    ldif("dn: uid=ottone,ou=People,dc=gamma,dc=example\nchangetype: delete\n")
    ad.gone("otto.changed@example.com")
    assert {kind for kind, _ in ad.runs_since("gamma", before)} == {"changes"}
    ad.stop("slapd-gamma")
    ad.start("slapd-gamma")
    ldif("dn: uid=max,ou=People,dc=gamma,dc=example\nchangetype: modify\nreplace: mail\nmail: max.changed@example.com\n")
    ad.becomes("max.changed@example.com", native="max@im.gamma.example")


def test_a_second_domain_of_a_forest_is_followed_beside_the_first(ad, tmp_path):
    """A child domain trusts the accounts of its parent: here it has one of the same name and password."""
    west = Samba(tmp_path / "west", "west.alpha.example")
    try:
        west.replace("svc-hedgerow", userPrincipalName=["svc-hedgerow@alpha.example"])
        west.set_password("svc-hedgerow", (ad.alpha.home / "svc-hedgerow").read_text())
        west.create("wanda", "wanda.west@example.com")
        with open(ad.directory / "amsterdam/secrets/alpha.ca", "a", encoding="ascii") as both:
            both.write((west.home / "ca.pem").read_text())
        ad.hedgerow("amsterdam", "forest", "context", "add", "alpha", west.base, "--url", west.url)
        ad.becomes("wanda.west@example.com", forest="alpha", native="wanda@im.alpha.example")

        before, people = ad.newest_run("alpha"), ad.people("alpha")
        west.readdress("wanda", "wanda.wild@example.com")
        ad.becomes("wanda.wild@example.com", native="wanda@im.alpha.example")
        settled(ad, "alpha")
        assert {kind for kind, _ in ad.runs_since("alpha", before)} == {"changes"}

        west.stop()  # who cannot be read is not gone
        assert "failed" in ad.hedgerow("amsterdam", "forest", "sync", "alpha", check=False)
        assert ad.people("alpha") == people
        west.start()
        ad.hedgerow("amsterdam", "forest", "sync", "alpha")
        west.delete("wanda")
        ad.gone("wanda.wild@example.com")
    finally:
        west.kill()
        ad.hedgerow("amsterdam", "forest", "context", "remove", "alpha", west.base)
    settled(ad, "alpha")
def test_kerberos_needs_no_password(ad):
    krb5 = ad.directory / "krb5.conf"
    krb5.write_text(addc("krb5", ad.alpha.home, ad.beta.home))
    addc("keytab", ad.alpha.home, ad.directory / "amsterdam/secrets/alpha.keytab", "svc-hedgerow")
    os.environ["KRB5_CONFIG"] = str(krb5)
    ad.stop("directory-amsterdam")
    try:
        ad.start("directory-amsterdam")
        for tls, url in (("ldaps", ad.alpha.url), ("plain", ad.alpha.url.replace("ldaps:", "ldap:"))):
            ad.hedgerow("amsterdam", "forest", "set", "alpha", "bind=gssapi", "bind_secret=alpha.keytab",
                        f"bind_dn=svc-hedgerow@{ad.alpha.realm}", f"tls={tls}", f"urls={url}")
            ad.hedgerow("amsterdam", "forest", "sync", "alpha")
            settled(ad, "alpha")
    finally:
        del os.environ["KRB5_CONFIG"]
        ad.hedgerow("amsterdam", "forest", "set", "alpha", "bind=simple", "bind_secret=alpha.password",
                    "bind_dn=svc-hedgerow@alpha.example", "tls=ldaps", f"urls={ad.alpha.url}")
        ad.stop("directory-amsterdam")
        ad.start("directory-amsterdam")
    settled(ad, "alpha")


