#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The measuring part of ops/bench directory.

    directory.py people openldap N PASSWORD     LDIF of N people, for a whole directory
    directory.py people samba N                 LDIF of N people, for OU=People
    directory.py measure SYSTEM OPTION...       one line of JSON with what was measured
    directory.py report [--json] FILE           all lines as a table, or as one object
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

import ldap
import psycopg2

KINDS = {"openldap": "openldap", "samba": "activedirectory"}
ANCHORS = {"openldap": "entryUUID", "samba": "objectGUID"}
NAMES = {"openldap": "uid", "samba": "sAMAccountName"}
GIVEN = "Ada Bob Carol Dave Erik Fay Grace Hugo Ivan Jane Kate Liam Mia Nina Olaf Paul Quinn Rita Sara Tom".split()
SURNAMES = "Adams Baker Clark Doyle Evans Ford Grant Hill Irwin Jones King Lopez Moore Nash Owens Price".split()
RUN_SECONDS = 600
VISIBLE_SECONDS = 60


# --- people ---

def people(system, count, password=None):
    base = f"dc={system},dc=example"
    if system == "openldap":
        print(f"dn: {base}\nobjectClass: dcObject\nobjectClass: organization\ndc: {system}\no: Bench\n")
        for unit in ("People", "Services"):
            print(f"dn: ou={unit},{base}\nobjectClass: organizationalUnit\nou: {unit}\n")
        print(f"dn: cn=hedgerow,ou=Services,{base}\nobjectClass: organizationalRole\n"
              f"objectClass: simpleSecurityObject\ncn: hedgerow\nuserPassword: {password}\n")
    for i in range(count):
        given, surname = GIVEN[i % len(GIVEN)], SURNAMES[i // len(GIVEN) % len(SURNAMES)]
        mail = f"{given}.{surname}.{i}@{system}.example"
        common = (f"givenName: {given}\nsn: {surname}\ndisplayName: {given} {surname}\nmail: {mail}\n"
                  f"telephoneNumber: +31 20 {i:07d}\ntitle: Engineer\n")
        if system == "openldap":
            print(f"dn: uid=u{i},ou=People,{base}\nobjectClass: inetOrgPerson\nuid: u{i}\ncn: {given} {surname} {i}\n"
                  f"departmentNumber: {i % 97}\n{common}")
        else:
            print(f"dn: CN={given} {surname} {i},OU=People,{base}\nobjectClass: user\nsAMAccountName: u{i}\n"
                  f"userPrincipalName: u{i}@{system}.example\nproxyAddresses: SMTP:{mail}\n"
                  f"proxyAddresses: smtp:u{i}@{system}.example\nmsRTCSIP-PrimaryUserAddress: sip:{mail}\n"
                  f"department: Department {i % 97}\nuserAccountControl: 544\n{common}")


# --- measuring ---

def note(text):
    print(text, file=sys.stderr, flush=True)


def wait_until(condition, what, seconds, pause=0.05):
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            sys.exit(f"bench: waited {seconds} s in vain for {what}")
        time.sleep(pause)


def cpu(pid):
    """Seconds of processor time of a process and its children, living and gone."""
    total = 0
    for one in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{one}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(one) == pid:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


class Site:
    def __init__(self, conninfo):
        self.connection = psycopg2.connect(conninfo)
        self.connection.autocommit = True

    def rows(self, query, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query, *values):
        rows = self.rows(query, *values)
        return rows[0][0] if rows else None


class Bench:
    def __init__(self, system, options):
        self.system, self.options = system, options
        self.a, self.b = Site(options.a), Site(options.b)
        self.a.rows("SET search_path = hedgerow")
        self.secrets = f"{options.lab}/a/secrets"
        with open(f"{options.lab}/{system}/access", encoding="utf-8") as file:
            self.url, self.base, self.reader, self.admin, self.admin_password = file.read().split("\n")[:5]
        self.filter = self.people = None  # of the forest, once it is there

    def cpu(self):
        """Of the directory's server, our daemon, and the PostgreSQLs of both sites."""
        return [cpu(pid) for pid in self.options.watch]

    # The forest, all at once: the daemon begins to read when it is committed.
    def add_forest(self, among=None):
        self.a.rows("BEGIN")
        self.a.rows("SELECT hedgerow.add_forest(%s, %s, %s, bind_dn => %s, bind_secret => %s, base_dn => %s, ca => %s)",
                    self.system, KINDS[self.system], [self.url], self.reader, f"{self.system}.password", self.base,
                    f"{self.system}.ca")
        if among:
            self.a.rows("UPDATE hedgerow.forest SET filter = '(&' || filter || %s || ')' WHERE forest = %s", among, self.system)
        self.a.rows("SELECT hedgerow.add_domain(%s, %s)", f"{self.system}.example", self.system)
        self.a.rows("SELECT hedgerow.add_installation(%s, %s, 'prosody', %s, '127.0.0.1', 5347, 'unused')",
                    f"im-{self.system}", self.system, f"im.{self.system}.example")
        self.a.rows("COMMIT")
        self.filter = self.a.value("SELECT filter FROM hedgerow.forest WHERE forest = %s", self.system)

    def remove_forest(self):
        self.a.rows("SELECT hedgerow.remove_installation(%s, force => true)", f"im-{self.system}")
        self.a.rows("SELECT hedgerow.remove_forest(%s, force => true)", self.system)
        self.everywhere(0)
        for site in (self.a, self.b):
            site.rows("VACUUM ANALYZE hedgerow.person")
            site.rows("VACUUM ANALYZE hedgerow.alias")

    def everywhere(self, count):
        people = "SELECT count(*) = %s FROM hedgerow.person WHERE forest = %s AND state = 'active'"
        wait_until(lambda: self.b.value(people, count, self.system), "people at the other site", RUN_SECONDS)

    def settle(self):
        """What is over shall not be in the next figure."""
        for site in (self.a, self.b):
            site.rows("CHECKPOINT")

    def run_after(self, number):
        """The next full run, ended."""
        def ended():
            rows = self.a.rows("SELECT state, extract(epoch FROM started + took)::float8, read, error FROM hedgerow.sync_runs"
                               " WHERE forest = %s AND kind = 'full' AND run > %s AND state <> 'running'"
                               " ORDER BY run LIMIT 1", self.system, number)
            return rows and rows[0]
        state, finished, read, error = wait_until(ended, "the run", RUN_SECONDS)
        if state not in ("applied", "unchanged"):
            sys.exit(f"bench: the run has {state}: {error}")
        return state, finished, read

    def newest_run(self):
        return self.a.value("SELECT coalesce(max(run), 0) FROM hedgerow.sync_runs")

    def search(self):
        """Seconds that ldapsearch takes for what the daemon reads."""
        attributes = self.a.value("SELECT hedgerow.sync_attributes(f, f.mapping_version) FROM hedgerow.forest f"
                                  " WHERE forest = %s", self.system)
        environment = {**os.environ, "LDAPTLS_CACERT": f"{self.secrets}/{self.system}.ca", "LDAPTLS_REQCERT": "demand"}
        since = time.time()
        subprocess.run(["ldapsearch", "-x", "-LLL", "-H", self.url, "-D", self.reader,
                        "-y", f"{self.secrets}/{self.system}.password", "-b", self.base, "-E", "pr=1000/noprompt",
                        self.filter, ANCHORS[self.system], *attributes],
                       env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.time() - since

    def first_publish(self, among=None):
        before, since = self.newest_run(), time.time()
        self.add_forest(among)
        _, finished, read = self.run_after(before)
        self.people = self.a.value("SELECT count(*) FROM hedgerow.person WHERE forest = %s", self.system)
        self.everywhere(self.people)
        return finished - since, time.time() - since, read

    def unchanged_run(self):
        """Seconds, and rows written to tables of people; rows have the number of what wrote them."""
        tables = ("SELECT count(*), sum(hashtextextended(t.ctid::text || t.xmin::text, 0)::numeric) FROM ("
                  " SELECT ctid, xmin FROM hedgerow.person UNION ALL SELECT ctid, xmin FROM hedgerow.alias) t")
        written = ("SELECT count(*) FROM (SELECT xmin FROM hedgerow.person UNION ALL SELECT xmin FROM hedgerow.alias) t"
                   " WHERE age(xmin) < age(%s::text::xid)")
        rows, mark = self.a.rows(tables), self.a.value("SELECT pg_current_xact_id()::xid::text")
        since = time.time()
        before = self.a.value("SELECT hedgerow.forest_sync(%s)", self.system)
        _, finished, _ = self.run_after(before)
        changed = self.a.value(written, mark)
        if self.a.rows(tables) != rows and not changed:
            sys.exit("bench: rows have gone in a run without changes")
        return finished - since, changed

    def rss_mib(self):
        """The most that the daemon had."""
        with open(f"/proc/{self.options.daemon}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))

    def changes(self, count):
        """Milliseconds from the change of an address to its being routable at both sites, each time."""
        directory = self.connect()
        took, here = [], []
        for number in random.Random(3).sample(range(self.people), count):
            name = f"u{number}"
            found = [one for one in directory.search_s(self.base, ldap.SCOPE_SUBTREE, f"({NAMES[self.system]}={name})", ["1.1"])
                     if one[0]]
            new = f"changed.{number}@{self.system}.example"
            time.sleep(random.random())  # at no special moment of anybody's clock
            since = time.time()
            directory.modify_s(found[0][0], [(ldap.MOD_REPLACE, "mail", [new.encode()])])
            for site in (self.a, self.b):
                wait_until(lambda: site.value("SELECT address FROM hedgerow.lookup_addresses(ARRAY[%s])", new) == new,
                           f"{new} to be routable", VISIBLE_SECONDS, 0.002)
                here.append((time.time() - since) * 1000)
            took.append(here.pop())
        if took:
            runs = self.a.value("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM took) * 1000)"
                                " FROM hedgerow.sync_runs WHERE kind = 'changes' AND forest = %s", self.system)
            note(f"{self.system}: a run of changes takes {runs or 0:.0f} ms; routable at the site that reads after"
                 f" {statistics.median(here):.0f} ms, at both after " + " ".join(f"{one:.0f}" for one in took))
        return took

    def connect(self):
        directory = ldap.initialize(self.url)
        directory.set_option(ldap.OPT_REFERRALS, 0)
        directory.set_option(ldap.OPT_X_TLS_CACERTFILE, f"{self.secrets}/{self.system}.ca")
        directory.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        with open(self.admin_password, encoding="ascii") as file:
            directory.simple_bind_s(self.admin, file.read())
        return directory

    def measure(self):
        rounds = {"ldapsearch_s": [], "first_publish_s": [], "unchanged_run_s": [], "first_publish_everywhere_s": []}
        spent = {"ldapsearch": [], "first_publish": [], "unchanged_run": []}
        written = entries = 0

        def spending(name, action):
            before = self.cpu()
            result = action()
            spent[name].append([after - then for after, then in zip(self.cpu(), before)])
            return result

        self.first_publish(f"({NAMES[self.system]}=*0)")
        tenth = self.rss_mib()
        for number in range(self.options.rounds):
            self.remove_forest()
            self.settle()
            first, everywhere, entries = spending("first_publish", self.first_publish)
            self.settle()
            rounds["ldapsearch_s"].append(spending("ldapsearch", self.search))
            unchanged, rows = spending("unchanged_run", self.unchanged_run)
            written += rows
            rounds["first_publish_s"].append(first)
            rounds["first_publish_everywhere_s"].append(everywhere)
            rounds["unchanged_run_s"].append(unchanged)
            note(f"{self.system}, round {number + 1}: ldapsearch {rounds['ldapsearch_s'][-1]:.2f} s, first publish"
                 f" {first:.2f} s, at the other site {everywhere:.2f} s, unchanged run {unchanged:.2f} s, {rows} rows written")
        took = self.changes(self.options.changes)
        return {"system": self.system, "entries": entries,
                **{name: round(statistics.median(values), 3) for name, values in rounds.items()},
                "rows_written": written, "rss_mib": round(self.rss_mib(), 1), "rss_of_a_tenth_mib": round(tenth, 1),
                "change_visible_ms": round(statistics.median(took), 1) if took else None,
                "change_visible_worst_ms": round(max(took), 1) if took else None,
                "cpu_s": {name: [round(statistics.median(column), 2) for column in zip(*values)]
                          for name, values in spent.items()}}


# --- the table ---

def report(results, as_json):
    if as_json:
        print(json.dumps({one.pop("system"): one for one in results}))
        return

    def row(title, text):
        print(f"{title:<52}" + "".join(f"{text(one):>24}" for one in results))

    def ms(name):
        return lambda one: "-" if one[name] is None else f"{one[name]:.0f} ms"

    def ratio(name):
        return lambda one: f"{one[name] / one['ldapsearch_s']:.2f}"

    def spent(name):
        return lambda one: " + ".join(f"{seconds:.1f}" for seconds in one["cpu_s"][name])
    print()
    row("", lambda one: one["system"])
    row("entries", lambda one: f"{one['entries']:,}")
    row("ldapsearch in pages of 1,000, the same attributes", lambda one: f"{one['ldapsearch_s']:.2f} s")
    row("first publish", lambda one: f"{one['first_publish_s']:.2f} s")
    row("    times ldapsearch", ratio("first_publish_s"))
    row("    until everybody is known at the other site", lambda one: f"{one['first_publish_everywhere_s']:.2f} s")
    row("full run without a change", lambda one: f"{one['unchanged_run_s']:.2f} s")
    row("    times ldapsearch", ratio("unchanged_run_s"))
    row("    rows that it wrote", lambda one: f"{one['rows_written']}")
    row("processors: directory + daemon + PostgreSQL, two", lambda one: "")
    row("    ldapsearch, in seconds", spent("ldapsearch"))
    row("    first publish, until everybody is known", spent("first_publish"))
    row("    full run without a change", spent("unchanged_run"))
    row("memory of the daemon, at most", lambda one: f"{one['rss_mib']:.1f} MiB")
    row("    when it had read a tenth of the entries", lambda one: f"{one['rss_of_a_tenth_mib']:.1f} MiB")
    row("change to routable at both sites, median", ms("change_visible_ms"))
    row("    the worst", ms("change_visible_worst_ms"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("people")
    verb.add_argument("system", choices=KINDS)
    verb.add_argument("count", type=int)
    verb.add_argument("password", nargs="?")
    verb = verbs.add_parser("measure")
    verb.add_argument("system", choices=KINDS)
    for name in ("--lab", "--a", "--b"):
        verb.add_argument(name, required=True)
    for name in ("--rounds", "--changes", "--daemon"):
        verb.add_argument(name, required=True, type=int)
    verb.add_argument("--watch", required=True, type=int, nargs=4)
    verb = verbs.add_parser("report")
    verb.add_argument("--json", action="store_true")
    verb.add_argument("file")
    options = parser.parse_args()
    if options.verb == "people":
        people(options.system, options.count, options.password)
    elif options.verb == "measure":
        print(json.dumps(Bench(options.system, options).measure()))
    else:
        with open(options.file, encoding="utf-8") as lines:
            report([json.loads(line) for line in lines], options.json)


if __name__ == "__main__":
    main()
