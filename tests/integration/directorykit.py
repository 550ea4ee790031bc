# SPDX-License-Identifier: Apache-2.0
"""A private slapd, a private registry and hedgerow-directory between them. Needs no lab."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import ldap
import ldap.modlist
import psycopg2

from labkit import TOP, wait_until

BASE = "dc=globex,dc=example"
BUILD = pathlib.Path(os.environ.get("HEDGEROW_BUILD", TOP / "build"))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def quiet(*command, **options):
    done = subprocess.run(list(map(str, command)), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


def make_authority(directory):
    """ca.pem and a server certificate for 127.0.0.1."""
    directory.mkdir()
    at = {"cwd": directory}
    quiet("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key", **at)
    quiet("openssl", "req", "-x509", "-new", "-key", "ca.key", "-days", "2", "-subj", "/CN=Test CA",
          "-addext", "basicConstraints=critical,CA:TRUE", "-out", "ca.pem", **at)
    quiet("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem", **at)
    quiet("openssl", "req", "-new", "-key", "key.pem", "-subj", "/CN=ldap.globex.example", "-out",
          "req.pem", **at)
    (directory / "ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    quiet("openssl", "x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
          "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "cert.pem", **at)


class Slapd:
    """An OpenLDAP server with people u0, u1, ... under ou=People. It tells consumers of changes (RFC
    4533), of deletions as long as its session log remembers them; sync=False: it does neither."""

    def __init__(self, directory, people, session_log=100, sync=True):
        self.session_log, self.sync = session_log, sync
        self.directory = pathlib.Path(directory)
        (self.directory / "db").mkdir(parents=True)
        make_authority(self.directory / "tls")
        self.ldaps, self.ldap = free_port(), free_port()
        self.socket = "ldapi://" + str(self.directory / "ldapi").replace("/", "%2F")
        self.configure()
        (self.directory / "init.ldif").write_text(self.ldif(people))
        quiet("slapadd", "-q", "-f", self.directory / "slapd.conf", "-l", self.directory / "init.ldif")
        self.process = self.connection = None
        self.start()

    def configure(self):
        at = self.directory
        log = f"syncprov-sessionlog {self.session_log}" if self.session_log else ""
        overlay = f"overlay syncprov\nsyncprov-checkpoint 1 1\n{log}\n" if self.sync else ""
        (at / "raw.schema").write_text(
            "attributetype ( 1.3.6.1.4.1.32473.9.1 NAME 'rawValue' EQUALITY octetStringMatch"
            " SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )\n"
            "objectclass ( 1.3.6.1.4.1.32473.9.2 NAME 'rawPerson' SUP top AUXILIARY MAY rawValue )\n"
            # what the adapter asks of Active Directory
            "attributetype ( 1.3.6.1.4.1.32473.9.3 NAME 'objectGUID' EQUALITY octetStringMatch"
            " SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )\n"
            "attributetype ( 1.3.6.1.4.1.32473.9.4 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch"
            " SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n"
            "attributetype ( 1.3.6.1.4.1.32473.9.5 NAME 'userAccountControl' EQUALITY integerMatch"
            " SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )\n"
            "attributetype ( 1.3.6.1.4.1.32473.9.6 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch"
            " SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
            "objectclass ( 1.3.6.1.4.1.32473.9.7 NAME 'adUser' SUP top STRUCTURAL MUST cn"
            " MAY ( objectGUID $ sAMAccountName $ userAccountControl $ proxyAddresses $ mail $ displayName ) )\n")
        (at / "slapd.conf").write_text(f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {at}/raw.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile {at}/slapd.pid
TLSCACertificateFile {at}/tls/ca.pem
TLSCertificateFile {at}/tls/cert.pem
TLSCertificateKeyFile {at}/tls/key.pem
security simple_bind=64
localSSF 128
sizelimit 500
database mdb
suffix "{BASE}"
rootdn "cn=admin,{BASE}"
rootpw secret
directory {at}/db
maxsize 1073741824
dbnosync
index objectClass,entryUUID,entryCSN,uid eq
limits dn.exact="cn=sync,{BASE}" size=unlimited time=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=sync,{BASE}" read by * none
{overlay}""")

    @staticmethod
    def person(uid, **more):
        number = uid.lstrip("u") or "0"
        return {"objectClass": ["inetOrgPerson", "rawPerson"], "uid": [uid], "sn": ["Adams"],
                "cn": [f"Ada Adams {number}"], "displayName": [f"Ada Adams {number}"],
                "mail": [f"Ada.{uid}@Example.com"], **more}

    def ldif(self, people):
        lines = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: globex\no: G\n",
                 f"dn: ou=People,{BASE}\nobjectClass: organizationalUnit\nou: People\n",
                 f"dn: cn=sync,{BASE}\nobjectClass: organizationalRole\n"
                 "objectClass: simpleSecurityObject\ncn: sync\nuserPassword: syncpw\n"]
        for number in range(people):
            values = self.person(f"u{number}")
            lines.append(f"dn: uid=u{number},ou=People,{BASE}\n" + "".join(
                f"{name}: {value}\n" for name, many in values.items() for value in many))
        return "\n".join(lines)

    def start(self):
        self.process = subprocess.Popen(
            ["slapd", "-f", self.directory / "slapd.conf", "-d", "0", "-h",
             f"ldaps://127.0.0.1:{self.ldaps}/ ldap://127.0.0.1:{self.ldap}/ {self.socket}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, "slapd")

    def answers(self):
        try:
            self.connection = ldap.initialize(self.socket)
            self.connection.simple_bind_s(f"cn=admin,{BASE}", "secret")
            return True
        except ldap.LDAPError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def set_password(self, password):
        """Of the account that reads."""
        self.connection.modify_s(f"cn=sync,{BASE}", [(ldap.MOD_REPLACE, "userPassword", [password.encode()])])

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    @staticmethod
    def dn(uid):
        return f"uid={uid},ou=People,{BASE}"

    def add(self, uid, **more):
        values = {name: [v if isinstance(v, bytes) else v.encode() for v in many]
                  for name, many in self.person(uid, **more).items() if many}
        self.connection.add_s(self.dn(uid), ldap.modlist.addModlist(values))

    def add_user(self, name, guid, **more):
        """An entry as Active Directory has them."""
        values = {"objectClass": [b"adUser"], "cn": [name.encode()], "sAMAccountName": [name.encode()],
                  "userAccountControl": [b"512"], **({"objectGUID": [guid]} if guid else {}),
                  **{key: [v.encode() for v in many] for key, many in more.items()}}
        self.connection.add_s(f"cn={name},{BASE}", ldap.modlist.addModlist(values))

    def replace(self, uid, attribute, *values):
        self.connection.modify_s(self.dn(uid), [
            (ldap.MOD_REPLACE, attribute, [v if isinstance(v, bytes) else v.encode() for v in values])])

    def delete(self, uid):
        self.connection.delete_s(self.dn(uid))

    def rename(self, uid, to):
        self.connection.rename_s(self.dn(uid), f"uid={to}")


class Registry:
    """A PostgreSQL of its own with every migration; the site is called here."""

    def __init__(self):
        self.process = subprocess.Popen(
            [TOP / "tests/with-registry.sh", "sh", "-c", 'echo "$HEDGEROW_TEST_DATABASE"; exec cat'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "top_srcdir": str(TOP)})
        self.conninfo = self.process.stdout.readline().strip()
        assert self.conninfo, "PostgreSQL did not start"
        self.server = None  # once it was killed: the one that we have started again
        self.connect()
        self.sql("CREATE ROLE directory LOGIN IN ROLE hedgerow_directory")
        self.sql("INSERT INTO hedgerow.site (site) VALUES ('here') ON CONFLICT DO NOTHING")

    def connect(self):
        self.connection = psycopg2.connect(self.conninfo)
        self.connection.autocommit = True

    def directory(self):
        return pathlib.Path(dict(word.split("=") for word in self.conninfo.split())["host"])

    def postmaster(self):
        return int((self.directory() / "data/postmaster.pid").read_text().split()[0])

    def recoveries(self):
        """How often the server has found that it had been killed."""
        return (self.directory() / "log").read_text().count("automatic recovery in progress")

    def crash(self, aim=lambda: None):
        """kill -9 of the server and all of its processes, once aim() returns, and a new start."""
        postmaster = self.postmaster()
        command = pathlib.Path(f"/proc/{postmaster}/cmdline").read_bytes().decode().split("\0")[:-1]
        children = pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        aim()
        for pid in [postmaster, *map(int, children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended by itself
        self.connection.close()
        if self.server:
            self.server.wait()
        self.server = None
        wait_until(lambda: self.starts(command, self.directory()), "PostgreSQL")

    def starts(self, command, directory):
        if not self.server or self.server.poll() is not None:  # not while one of the dead is still dying
            as_server = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
            with open(directory / "log", "ab") as log:
                self.server = subprocess.Popen(as_server + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                               cwd=directory)
        try:
            self.connect()
            return True
        except psycopg2.OperationalError:
            return False

    def close(self):
        self.connection.close()
        self.process.stdin.close()
        self.process.wait()
        if self.server:
            self.server.wait()

    def sql(self, query, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else None

    def value(self, query, *values):
        rows = self.sql(query, *values)
        return rows[0][0] if rows else None

    def run(self, number):
        """The run of that number as a dictionary."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT * FROM hedgerow.sync_run WHERE id = %s", (number,))
            row = cursor.fetchone()
            return row and dict(zip([one.name for one in cursor.description], row))

    def request(self, dry_run=False, forest="globex"):
        """Asks for a run; returns a function that says whether it has ended, and how."""
        before = self.value("SELECT hedgerow.forest_sync(%s, %s)", forest, dry_run)

        def ended():
            number = self.value(
                "SELECT min(id) FROM hedgerow.sync_run WHERE id > %s AND kind = %s AND state <> 'running'",
                before, "dry-run" if dry_run else "full")
            return number and self.run(number)
        return ended

    def sync(self, dry_run=False, seconds=60.0, forest="globex"):
        return wait_until(self.request(dry_run, forest), "the run", seconds)

    def running(self):
        return self.value("SELECT count(*) FROM hedgerow.sync_run WHERE state = 'running'")

    def people(self):
        return dict(self.sql("SELECT address, row(native, installation, name, enabled)::text"
                             " FROM hedgerow.person WHERE state = 'active'"))


class Daemon:
    """hedgerow-directory."""

    def __init__(self, directory, registry, node):
        self.directory, self.node = pathlib.Path(directory), node
        self.log = self.directory / f"{node}.log"
        self.ini = self.directory / f"{node}.ini"
        database = registry.conninfo.replace("user=postgres", "user=directory")
        self.ini.write_text(f"[directory]\nnode = {node}\ndatabase = {database}\n"
                            f"secrets = {self.directory / 'secrets'}\nlog_level = debug\n")
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BUILD / "hedgerow-directory", "-c", self.ini],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=30)

    def rss_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0


class Forest:
    """All three, with the forest in the registry."""

    def __init__(self, directory, people, **slapd):
        self.directory = pathlib.Path(directory)
        self.secrets = self.directory / "secrets"
        self.secrets.mkdir()
        self.slapd = Slapd(self.directory / "slapd", people, **slapd)
        self.registry = Registry()
        self.secret("globex.password", "syncpw\n")
        shutil.copy(self.slapd.directory / "tls/ca.pem", self.secrets / "globex.ca")
        self.registry.sql("SELECT hedgerow.add_forest('globex', 'openldap', %s, bind_dn => %s,"
                          " bind_secret => 'globex.password', base_dn => %s, ca => 'globex.ca',"
                          " sync_interval => '1 hour')", [self.url()], f"cn=sync,{BASE}", BASE)
        self.registry.sql("SELECT hedgerow.add_domain('example.com', 'globex')")
        self.registry.sql("SELECT hedgerow.add_installation('im-a', 'globex', 'prosody', 'im.a.example',"
                          " '127.0.0.1', 5347, 'im-a.secret')")
        self.registry.sql("SELECT hedgerow.add_mapping('globex', 'alias', 'rawValue'), hedgerow.apply_mapping('globex')")
        self.daemon = Daemon(self.directory, self.registry, "one")

    def url(self):
        return f"ldaps://127.0.0.1:{self.slapd.ldaps}"

    def secret(self, name, text):
        (self.secrets / name).write_text(text)

    def configure(self, *without, **columns):
        """Changes the forest's row without these triggers. With e_forest_is_due a run begins at once."""
        sets = ", ".join(f"{name} = %s" for name in columns)
        for trigger in without:
            self.registry.sql(f"ALTER TABLE hedgerow.forest DISABLE TRIGGER {trigger}")
        self.registry.sql(f"UPDATE hedgerow.forest SET {sets} WHERE forest = 'globex'", *columns.values())
        for trigger in without:
            self.registry.sql(f"ALTER TABLE hedgerow.forest ENABLE TRIGGER {trigger}")

    def close(self):
        if self.daemon.process and self.daemon.process.poll() is None:
            self.daemon.stop()
        self.registry.close()
        self.slapd.thaw()
        self.slapd.stop()
