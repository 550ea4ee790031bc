# SPDX-License-Identifier: Apache-2.0
"""A real Active Directory forest by Samba, as ops/lab.d/addc.py makes them, and its administrator."""
import os
import pathlib
import shutil
import socket
import subprocess
import uuid

import ldap
import ldap.controls
import ldap.dn
import ldap.modlist
import pytest

from directorykit import Daemon, Registry
from labkit import TOP, wait_until

ADDC = TOP / "ops/lab.d/addc.py"
SHOW_DELETED = ldap.controls.RequestControl("1.2.840.113556.1.4.417", True)
ENABLED, DISABLED = "544", "546"  # userAccountControl of a person without a password


def may_have_low_ports():
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 1023))
    except PermissionError:
        return False
    except OSError:  # somebody has it
        pass
    return True


needs_ports = pytest.mark.skipif(not may_have_low_ports(), reason="a domain controller's ports are below 1024")


def addc(*words):
    done = subprocess.run([ADDC, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    assert done.returncode == 0, f"addc.py {words}:\n{done.stdout}{done.stderr}"
    return done.stdout


def encoded(values):
    return [v if isinstance(v, bytes) else str(v).encode() for v in values]


class Domain:
    """The administrator of the forest in the directory `home`, who works over LDAP while its controller
    runs. People are named by their account (sAMAccountName) and found wherever they are."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        lines = (line.split(" = ", 1) for line in (self.home / "etc/smb.conf").read_text().splitlines() if " = " in line)
        conf = {name.strip(): value for name, value in lines}
        self.realm, self.address = conf["realm"], conf["interfaces"].split("/", maxsplit=1)[0]
        self.base = "DC=" + self.realm.lower().replace(".", ",DC=")
        self.url = f"ldaps://{self.address}"
        self.ldap = ldap.ldapobject.ReconnectLDAPObject(self.url, retry_max=20, retry_delay=0.1)
        self.ldap.set_option(ldap.OPT_REFERRALS, 0)
        self.ldap.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.home / "ca.pem"))
        self.ldap.set_option(ldap.OPT_X_TLS_NEWCTX, 0)

    def bind(self):
        self.ldap.simple_bind_s(f"administrator@{self.realm.lower()}", (self.home / "administrator").read_text())

    def answers(self):
        """Can the administrator work?"""
        try:
            self.bind()
            return True
        except (ldap.SERVER_DOWN, ldap.UNAVAILABLE, ldap.BUSY):
            return False

    # --- looking ---

    def entry(self, account):
        found = self.ldap.search_s(self.base, ldap.SCOPE_SUBTREE, f"(sAMAccountName={account})", ["*"])
        found = [one for one in found if one[0]]  # referrals have no name
        assert len(found) == 1, f"{account}: {[one[0] for one in found]}"
        return found[0]

    def dn(self, account):
        return self.entry(account)[0]

    def anchor(self, account):
        return str(uuid.UUID(bytes_le=self.entry(account)[1]["objectGUID"][0]))

    def value(self, account, attribute):
        values = self.entry(account)[1].get(attribute)
        return values[0].decode() if values else None

    def controller(self):
        """What tells one life of the controller from another: its invocationId."""
        name = self.ldap.search_s("", ldap.SCOPE_BASE, attrlist=["dsServiceName"])[0][1]["dsServiceName"][0].decode()
        found = self.ldap.search_s(name, ldap.SCOPE_BASE, attrlist=["invocationId"])[0][1]["invocationId"][0]
        return str(uuid.UUID(bytes_le=found))

    # --- changing ---

    def add(self, dn, **attributes):
        self.ldap.add_s(dn, ldap.modlist.addModlist({name: encoded(many) for name, many in attributes.items()}))

    def unit(self, name, within=None):
        """An organisational unit; returns its DN."""
        dn = f"OU={name},{within or self.base}"
        self.add(dn, objectClass=["organizationalUnit"])
        return dn

    def create(self, account, mail, within=None, **more):
        """A person; returns the anchor."""
        self.add(f"CN={account},{within or 'OU=People,' + self.base}", objectClass=["user"], sAMAccountName=[account],
                 userPrincipalName=[f"{account}@{self.realm.lower()}"], displayName=[account.title()], mail=[mail],
                 proxyAddresses=[f"SMTP:{mail}"], userAccountControl=[ENABLED], **more)
        return self.anchor(account)

    def replace(self, account, **attributes):
        """Several attributes in one change; an empty list removes one."""
        self.ldap.modify_s(self.dn(account), [(ldap.MOD_REPLACE, name, encoded(many) or None)
                                              for name, many in attributes.items()])

    def readdress(self, account, mail, **more):
        self.replace(account, mail=[mail], proxyAddresses=[f"SMTP:{mail}"], **more)

    def swap(self, one, other):
        """Two people change addresses, one after the other, as there is no other way."""
        first, second = self.value(one, "mail"), self.value(other, "mail")
        self.readdress(one, second)
        self.readdress(other, first)

    def rename(self, account, name):
        self.ldap.rename_s(self.dn(account), f"CN={name}")

    def move(self, dn, within):
        self.ldap.rename_s(dn, ldap.dn.explode_dn(dn)[0], within)

    def disable(self, account):
        self.replace(account, userAccountControl=[DISABLED])

    def enable(self, account):
        self.replace(account, userAccountControl=[ENABLED])

    def delete(self, account):
        self.ldap.delete_s(self.dn(account))

    def delete_tree(self, dn):
        control = ldap.controls.RequestControl("1.2.840.113556.1.4.805", True)
        self.ldap.delete_ext_s(dn, serverctrls=[control])

    def undelete(self, anchor, dn, **attributes):
        """Brings a deleted object back under `dn`. What the tombstone has lost it gets again."""
        guid = uuid.UUID(anchor)
        found = self.ldap.search_ext_s(f"<GUID={guid}>", ldap.SCOPE_BASE, attrlist=["1.1"], serverctrls=[SHOW_DELETED])
        self.ldap.modify_ext_s(found[0][0], [(ldap.MOD_DELETE, "isDeleted", None),
                                             (ldap.MOD_REPLACE, "distinguishedName", [dn.encode()])],
                               serverctrls=[SHOW_DELETED])
        if attributes:
            self.ldap.modify_s(dn, [(ldap.MOD_REPLACE, name, encoded(many)) for name, many in attributes.items()])

    def group(self, name, members, **more):
        """A group of accounts' DNs; returns its DN."""
        dn = f"CN={name},OU=Groups,{self.base}"
        self.add(dn, objectClass=["group"], sAMAccountName=[name], member=members, **more)
        return dn

    def set_password(self, account, password):
        self.replace(account, unicodePwd=[f'"{password}"'.encode("utf-16-le")])


class Samba(Domain):
    """A forest of our own with its controller; offline what addc.py does is possible."""

    def __init__(self, home, realm, ldif=None):
        addc("make", home, realm, addc("address").strip())
        if ldif:
            (pathlib.Path(home) / "load.ldif").write_text(ldif)
            addc("load", home, pathlib.Path(home) / "load.ldif")
        super().__init__(home)
        self.process = None
        self.start()

    def start(self):
        with open(self.home / "output", "ab") as output:
            self.process = subprocess.Popen(
                ["samba", "-F", "--no-process-group", "--debug-stdout", "-M", "single", "-s", self.home / "etc/smb.conf"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        wait_until(lambda: self.process.poll() is not None or self.answers(), "the domain controller")
        assert self.process.poll() is None, (self.home / "output").read_text()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def renew(self):
        self.stop()
        addc("renew", self.home)
        self.start()


FILTER = "(&(objectCategory=person)(objectClass=user)(mail=*))"


def people_ldif(base, people):
    return "\n".join(
        f"dn: CN=Ada Adams {n},OU=People,{base}\nobjectClass: user\nsAMAccountName: u{n}\ndisplayName: Ada Adams {n}\n"
        f"mail: ada{n}@contoso.example\nproxyAddresses: SMTP:ada{n}@contoso.example\nuserAccountControl: 544\n"
        f"department: D{n % 7}\n" for n in range(people))


class Contoso:
    """A forest of our own with people u0, u1, ..., a private registry, and hedgerow-directory between them."""

    def __init__(self, directory, people):
        self.secrets = directory / "secrets"
        self.secrets.mkdir()
        self.dc = Samba(directory / "dc", "CONTOSO.EXAMPLE", people_ldif("DC=contoso,DC=example", people))
        self.registry = Registry()
        shutil.copy(self.dc.home / "ca.pem", self.secrets / "contoso.ca")
        self.password = (self.dc.home / "svc-hedgerow").read_text()
        (self.secrets / "contoso.password").write_text(self.password)
        self.registry.sql("SELECT hedgerow.add_forest('contoso', 'activedirectory', %s, filter => %s,"
                          " bind_dn => 'svc-hedgerow@contoso.example', bind_secret => 'contoso.password',"
                          " base_dn => %s, ca => 'contoso.ca')", [self.dc.url], FILTER, self.dc.base)
        self.registry.sql("SELECT hedgerow.add_domain('contoso.example', 'contoso')")
        self.registry.sql("SELECT hedgerow.add_installation('im-c', 'contoso', 'openfire', 'im.c.example',"
                          " '127.0.0.1', 5347, 'im-c.secret')")
        (directory / "krb5.conf").write_text(addc("krb5", self.dc.home))
        os.environ["KRB5_CONFIG"] = str(directory / "krb5.conf")  # the daemon's
        self.daemon = Daemon(directory, self.registry, "one")
        self.daemon.start()

    def sync(self):
        run = self.registry.sync(forest="contoso")
        assert run["state"] in ("applied", "unchanged"), run

    def person(self, account, column="name"):
        return self.registry.value(f"SELECT {column} FROM hedgerow.person WHERE native = %s AND state = 'active'",
                                   f"{account}@im.c.example")

    def wait(self, account, value, column="name", seconds=20.0):
        wait_until(lambda: self.person(account, column) == value, f"{column} of {account} to be {value}", seconds)

    def gone(self, account):
        wait_until(lambda: self.person(account) is None, f"{account} to be gone")

    def cursor(self):
        return self.registry.sql("SELECT method, server, incarnation, usn FROM hedgerow.sync_cursor")[0]

    def last(self):
        return self.registry.value("SELECT max(id) FROM hedgerow.sync_run")

    def full_runs(self, since):
        return self.registry.value("SELECT count(*) FROM hedgerow.sync_run WHERE id > %s AND kind = 'full'", since)

    def mark(self):
        return self.daemon.log.stat().st_size

    def wait_log(self, *words, after):
        wait_until(lambda: any(all(word in line for word in words)
                               for line in self.daemon.log.read_text()[after:].splitlines()), f"{words} in the log")

    def close(self):
        if self.daemon.process.poll() is None:
            self.daemon.stop()
        self.registry.close()
        self.dc.stop()
