# SPDX-License-Identifier: Apache-2.0
"""The lab as tests see it: its verbs, databases, logs and people. Nothing here sleeps for a time;
everything waits for a condition, with a bound."""
import os
import pathlib
import re
import select
import subprocess
import time
import uuid
from collections import namedtuple

import psycopg2

TOP = pathlib.Path(__file__).resolve().parents[2]
SLOW = float(os.environ.get("HEDGEROW_TEST_SLOWNESS", "1"))  # above 1 under sanitizers

Account = namedtuple("Account", "jid address password host port server")


def pause():
    """Lets others run between two looks at a condition."""
    select.select([], [], [], 0.02)


def wait_until(condition, what, seconds=20.0):
    """The first true value of condition(); fails after `seconds`."""
    until = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"waited in vain for {what}"
        pause()


class Lab:
    """One running lab. Verbs are those of ops/lab."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.connections = {}

    def run(self, *words, check=True, stdin=None):
        done = subprocess.run([TOP / "ops/lab", *map(str, words)], input=stdin, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env={**os.environ, "HEDGEROW_LAB": str(self.directory)})
        assert not check or done.returncode == 0, f"ops/lab {' '.join(map(str, words))}:\n{done.stdout}"
        return done.stdout

    def env(self):
        pairs = (line.split("=", 1) for line in self.run("env").splitlines())
        return dict(pairs)

    def hedgerow(self, site, *words, check=True):
        return self.run("hedgerow", site, *words, check=check)

    # --- registry and journal ---

    def sql(self, site, query, *values):
        """Rows of the query, as the owner of the database; None for a statement without rows."""
        for attempt in (1, 2):
            if site not in self.connections:
                owner = "postgres" if os.getuid() == 0 else None
                connection = psycopg2.connect(host=str(self.directory / site / "postgres"),
                                              dbname="hedgerow", user=owner)
                connection.autocommit = True
                self.connections[site] = connection
            try:
                with self.connections[site].cursor() as cursor:
                    cursor.execute(query, values or None)
                    return cursor.fetchall() if cursor.description else None
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                del self.connections[site]  # the server was restarted
                if attempt == 2:
                    raise
        return None

    def value(self, site, query, *values):
        rows = self.sql(site, query, *values)
        return rows[0][0] if rows else None

    def metric(self, site, name):
        """The sum over the site's gateways, as they last reported."""
        return int(self.value(site, "SELECT coalesce(sum(value), 0) FROM hedgerow.metric_status"
                                    " WHERE name = %s", name))

    def synced(self, site, forest):
        """Reads the forest now; returns when its people are published here and known at both sites."""
        self.hedgerow(site, "forest", "sync", forest)
        people = ("SELECT array_agg((anchor, address, native, installation, enabled, state)::text ORDER BY anchor)"
                  " FROM hedgerow.person WHERE site = %s")
        wait_until(lambda: self.value("amsterdam", people, site) == self.value("boston", people, site),
                   "replication of people")

    # --- processes ---

    def start(self, name):
        self.run("start", name)

    def stop(self, name):
        self.run("stop", name)

    def kill(self, name):
        self.run("kill", name)

    def link(self, *command):
        return self.run("link", *command)

    def link_is_up(self):
        return all(self.value(site, "SELECT count(*) FROM hedgerow.link_status WHERE state = 'up'")
                   for site in ("amsterdam", "boston"))

    def wait_link(self, seconds=60.0):
        wait_until(self.link_is_up, "the link between the sites", seconds)

    # --- logs ---

    def log_mark(self, name):
        path = self.directory / "log" / f"{name}.log"
        return path, path.stat().st_size

    @staticmethod
    def log_since(mark):
        path, size = mark
        with open(path, "rb") as log:
            log.seek(size)
            return log.read().decode(errors="replace")

    def wait_log(self, mark, pattern, seconds=20.0):
        """The first line since the mark that the pattern finds."""
        def line():
            return next((one for one in self.log_since(mark).splitlines() if re.search(pattern, one)), None)
        return wait_until(line, f"a line like {pattern!r} in {mark[0].name}", seconds)

    def sanitizer_reports(self):
        """What AddressSanitizer, LeakSanitizer and UBSan had to say, where daemons are built with them."""
        found = []
        for daemon in ("gateway-amsterdam", "gateway-boston", "directory-amsterdam", "directory-boston"):
            self.stop(daemon)  # leaks are told at the end
            lines = (self.directory / "log" / f"{daemon}.log").read_text(errors="replace").splitlines()
            for i, line in enumerate(lines):
                if re.search(r"ERROR: (Address|Leak)Sanitizer|runtime error:", line):
                    found += [f"{daemon}:"] + lines[i:i + 40]
                    break
        return found

    # --- people ---

    def accounts(self):
        lines = (self.directory / "accounts").read_text().splitlines()
        return {fields[0].split("@")[0]: Account(*fields) for fields in map(str.split, lines)}

    def account(self, local):
        """The account of a person, made when there is none."""
        if local not in self.accounts():
            self.run("account", local)
        return self.accounts()[local]

    def set_entry(self, forest, uid, attribute, value):
        self.run("ldap", forest, stdin=f"dn: uid={uid},ou=People,dc={forest},dc=example\n"
                                       f"changetype: modify\nreplace: {attribute}\n{attribute}: {value}\n")


def processes_of(directory):
    """Those that name the directory on their command line, write to a file in it, or are in it: some hide the former."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = " ".join([file.read().replace(b"\0", b" ").decode(errors="replace"),
                                 os.readlink(f"/proc/{pid}/fd/1"), os.readlink(f"/proc/{pid}/cwd")])
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found


def protobuf(packed):
    """Field number -> list of values of a packed protobuf message, one level deep."""
    fields, at, data = {}, 0, bytes(packed)

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind, number = key & 7, key >> 3
        if kind == 0:
            value = varint()
        elif kind == 1:
            value, at = int.from_bytes(data[at:at + 8], "little"), at + 8
        elif kind == 2:
            size = varint()
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        fields.setdefault(number, []).append(value)
    return fields


def unique(prefix="t"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
