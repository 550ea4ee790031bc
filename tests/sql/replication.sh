#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two sites in two clusters: join both ways, only own rows travel, NOTIFY reaches who listens to
# replicated rows, leave and join again.
set -u
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${HEDGEROW_TEST_DATABASE:-}" ]; then
	exec "$here/../with-postgres.sh" "$0"
fi
if [ -z "${HEDGEROW_TEST_FIRST:-}" ]; then
	HEDGEROW_TEST_FIRST=$HEDGEROW_TEST_DATABASE
	export HEDGEROW_TEST_FIRST
	unset HEDGEROW_TEST_DATABASE
	"$here/../with-postgres.sh" "$0" # not exec: the first cluster ends when this does
	exit
fi
hedgerow=$here/../../ops/hedgerow
amsterdam="$HEDGEROW_TEST_FIRST dbname=amsterdam"
boston="$HEDGEROW_TEST_DATABASE dbname=boston"
work=$(mktemp -d) || exit 1
listener=
cleanup() {
	[ -z "$listener" ] || kill "$listener" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
fail() {
	echo "FAIL: $*" >&2
	for f in "$work"/*; do echo "== $f" >&2; cat "$f" >&2; done
	exit 1
}
a() { "$hedgerow" -d "$amsterdam" "$@" >"$work/a" 2>&1; }
b() { "$hedgerow" -d "$boston" "$@" >"$work/b" 2>&1; }
sql() { # DATABASE SQL
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}
# until DATABASE QUERY ANSWER: replication is asynchronous, so a bounded number of looks
until_is() {
	looks=300
	while [ "$(sql "$1" "$2")" != "$3" ]; do
		looks=$((looks - 1))
		[ "$looks" -gt 0 ] || fail "$2 is $(sql "$1" "$2"), not $3"
		sleep 0.05
	done
}

sql "$HEDGEROW_TEST_FIRST" 'CREATE DATABASE amsterdam' || exit 1
sql "$HEDGEROW_TEST_DATABASE" 'CREATE DATABASE boston' || exit 1
a migrate && b migrate || fail migrate
a site join boston --database "$boston" && fail 'joined without a site'
a site init amsterdam --endpoint tcp://127.0.0.1:7500 && b site init boston || fail 'site init'
a link add boston && fail 'a link to a site that is not known'
a site join sydney --database "$boston" && fail 'joined somebody else'
grep -q 'is of site "boston", not "sydney"' "$work/a" || fail 'who it is, is said'
a site join amsterdam --database "$amsterdam" && fail 'joined itself'
a forest add contoso --kind openldap --url ldaps://ldap.contoso.example --bind-dn cn=sync --bind-secret s --base-dn dc=contoso || fail 'forest add'

a site join boston --database "$boston" || fail 'the first join'
b site join amsterdam --database "$amsterdam" || fail 'the second join'
b site join amsterdam --database "$amsterdam" || fail 'joining again does no harm'
[ "$(sql "$boston" "SELECT string_agg(site, ',' ORDER BY site) FROM hedgerow.site")" = amsterdam,boston ] || fail 'boston knows both'
[ "$(sql "$amsterdam" "SELECT string_agg(site, ',' ORDER BY site) FROM hedgerow.site")" = amsterdam,boston ] || fail 'amsterdam knows both'
[ "$(sql "$boston" "SELECT count(*) FROM hedgerow.mapping")" -gt 0 ] || fail 'the first copy is there after join'

# Somebody in boston listens; psql prints a notification when a command ends, so it is fed commands.
mkfifo "$work/fifo"
psql -X -q -A -t -d "$boston" <"$work/fifo" >"$work/heard" 2>&1 &
listener=$!
exec 9>"$work/fifo"
echo 'LISTEN hedgerow_person; LISTEN hedgerow_config;' >&9
heard() {
	looks=300
	until grep -q "notification \"$1\"" "$work/heard"; do
		looks=$((looks - 1))
		[ "$looks" -gt 0 ] || fail "no notification $1"
		echo 'SELECT;' >&9
		sleep 0.05
	done
}
sql "$amsterdam" "INSERT INTO hedgerow.person (site, forest, anchor, address)
	SELECT 'amsterdam', 'contoso', i, 'p' || i || '@example.com' FROM generate_series(1, 1000) i" || fail people
until_is "$boston" 'SELECT count(*) FROM hedgerow.person' 1000
heard hedgerow_person
a domain add example.com --forest contoso || fail 'domain add'
until_is "$boston" "SELECT count(*) FROM hedgerow.lookup_addresses('{p7@example.com}') WHERE site = 'amsterdam'" 1
heard hedgerow_config
exec 9>&-
wait "$listener"
listener=

# Rows are their owner's
sql "$boston" "DELETE FROM hedgerow.person WHERE anchor = '1'" 2>"$work/refused" && fail 'a row of another site was removed'
grep -q 'belongs to site "amsterdam"' "$work/refused" || fail 'the owner is named'
b link add amsterdam || fail 'link add'
until_is "$amsterdam" 'SELECT count(*) FROM hedgerow.link' 1
a link add boston --dialer amsterdam && fail 'the dialer is agreed on'
a link add boston || fail 'link add, the other way'
until_is "$boston" 'SELECT bool_and(both_consent) FROM hedgerow.links' t
sql "$amsterdam" "DELETE FROM hedgerow.person WHERE anchor = '1'; UPDATE hedgerow.person SET address = 'new@example.com' WHERE anchor = '2'" || fail 'changing'
until_is "$boston" "SELECT count(*) || ' ' || min(address) FILTER (WHERE anchor = '2') FROM hedgerow.person" '999 new@example.com'
# boston's database publishes rows that it says are amsterdam's: they do not arrive
sql "$boston" "SET session_replication_role = replica; ALTER TABLE hedgerow.person DISABLE TRIGGER a_keep_own;
	UPDATE hedgerow.person SET address = 'evil@example.com', site = 'boston' WHERE anchor = '3'" || fail 'forging'
until_is "$amsterdam" "SELECT count(*) FROM hedgerow.person WHERE address = 'evil@example.com' AND site = 'boston'" 1
[ "$(sql "$amsterdam" "SELECT address FROM hedgerow.person WHERE site = 'amsterdam' AND anchor = '3'")" = p3@example.com ] || fail 'own rows are as they were'
sql "$boston" "SET session_replication_role = replica; DELETE FROM hedgerow.person WHERE site = 'boston';
	ALTER TABLE hedgerow.person ENABLE REPLICA TRIGGER a_keep_own" || fail 'forging less'

# Leave and come back
b site leave amsterdam && fail 'left with a link'
b link remove amsterdam && b site leave amsterdam || fail leave
[ "$(sql "$boston" 'SELECT count(*) FROM hedgerow.person')" = 0 ] || fail 'rows are forgotten'
[ "$(sql "$amsterdam" 'SELECT count(*) FROM pg_replication_slots')" = 0 ] || fail 'the slot is dropped'
b site leave amsterdam && fail 'left twice'
b site join amsterdam --database "$amsterdam" || fail 'join again'
[ "$(sql "$boston" 'SELECT count(*) FROM hedgerow.person')" = 999 ] || fail 'everybody is back'
b status || fail status
grep -q '^amsterdam joined' "$work/b" || fail 'status says joined'
echo 'ok   replication'
