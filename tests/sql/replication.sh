#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two sites in two clusters: join both ways, only own rows travel, NOTIFY reaches who listens to
# replicated rows, leave and join again. Then a third, in whose name the second publishes rows.
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
	for f in "$work"/*; do [ ! -f "$f" ] || { echo "== $f"; cat "$f"; } >&2; done
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
heard() { # PATTERN
	looks=300
	until grep -q "$1" "$work/heard"; do
		looks=$((looks - 1))
		[ "$looks" -gt 0 ] || fail "not heard: $1"
		echo 'SELECT;' >&9
		sleep 0.05
	done
}
printf '%s\n' 'LISTEN hedgerow_person; LISTEN hedgerow_config; \echo listening' >&9
heard listening # what happens before is not told
sql "$amsterdam" "INSERT INTO hedgerow.person (site, forest, anchor, address)
	SELECT 'amsterdam', 'contoso', i, 'p' || i || '@example.com' FROM generate_series(1, 1000) i" || fail people
until_is "$boston" 'SELECT count(*) FROM hedgerow.person' 1000
heard 'notification "hedgerow_person"'
a domain add example.com --forest contoso || fail 'domain add'
until_is "$boston" "SELECT count(*) FROM hedgerow.lookup_addresses('{p7@example.com}') WHERE site = 'amsterdam'" 1
heard 'notification "hedgerow_config"'
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
# boston's database publishes rows that were amsterdam's: amsterdam's own stay as they are
sql "$boston" "SET session_replication_role = replica; ALTER TABLE hedgerow.person DISABLE TRIGGER a_keep_owner;
	UPDATE hedgerow.person SET address = 'evil@example.com', site = 'boston' WHERE anchor = '3'" || fail 'forging'
until_is "$amsterdam" "SELECT count(*) FROM hedgerow.person WHERE address = 'evil@example.com' AND site = 'boston'" 1
[ "$(sql "$amsterdam" "SELECT address FROM hedgerow.person WHERE site = 'amsterdam' AND anchor = '3'")" = p3@example.com ] || fail 'own rows are as they were'
sql "$boston" "SET session_replication_role = replica; DELETE FROM hedgerow.person WHERE site = 'boston';
	ALTER TABLE hedgerow.person ENABLE REPLICA TRIGGER a_keep_owner" || fail 'forging less'

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

# A hostile site: boston publishes all that it has, and says that some of it is amsterdam's and sydney's.
sydney="$HEDGEROW_TEST_FIRST dbname=sydney"
sql "$HEDGEROW_TEST_FIRST" 'CREATE DATABASE sydney' || exit 1
s() { "$hedgerow" -d "$sydney" "$@" >"$work/s" 2>&1; }
s migrate && s site init sydney || fail 'sydney begins'
sql "$sydney" "INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('sydney', 'x', '1', 'sue@example.com')" || fail 'people of sydney'
a site join sydney --database "$sydney" || fail 'amsterdam joins sydney'
people() { # DATABASE: all of them but amsterdam's thousand
	sql "$1" "SELECT string_agg(site || ':' || address, ' ' ORDER BY site, address) FROM hedgerow.person WHERE address !~ '^p[0-9]'"
}
[ "$(people "$amsterdam")" = 'amsterdam:new@example.com sydney:sue@example.com' ] || fail 'sydney arrives'
sql "$boston" "ALTER PUBLICATION hedgerow_boston SET TABLE hedgerow.person, hedgerow.site, hedgerow.site_key;
	ALTER PUBLICATION hedgerow_boston SET (publish = 'insert, update, delete, truncate')" || fail 'publishing everything'
sql "$boston" "SET session_replication_role = replica; ALTER TABLE hedgerow.person DISABLE TRIGGER a_keep_owner;
	INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('sydney', 'x', '1', 'evil1@example.com'),
		('sydney', 'x', '2', 'evil2@example.com'), ('amsterdam', 'contoso', 'new', 'evil3@example.com');
	INSERT INTO hedgerow.site_key (site, public_key) VALUES ('sydney', 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7');
	INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('boston', 'y', '1', 'bob@example.com'), ('boston', 'y', '2', 'bea@example.com');
	UPDATE hedgerow.person SET address = 'evil4@example.com' WHERE site = 'sydney';
	UPDATE hedgerow.person SET site = 'sydney', anchor = '9' WHERE address = 'bea@example.com';
	DELETE FROM hedgerow.person WHERE site = 'sydney' AND anchor = '1';
	INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('boston', 'y', '3', 'last@example.com')" || fail 'forging in three names'
until_is "$amsterdam" "SELECT count(*) FROM hedgerow.person WHERE address = 'last@example.com'" 1
[ "$(people "$amsterdam")" = 'amsterdam:new@example.com boston:bea@example.com boston:bob@example.com boston:last@example.com sydney:sue@example.com' ] ||
	fail "only rows of boston come from boston: $(people "$amsterdam")"
[ "$(sql "$amsterdam" 'SELECT count(*) FROM hedgerow.site_key')" = 0 ] || fail 'a key for sydney came from boston'
[ "$(sql "$amsterdam" "SELECT string_agg(site || ' ' || relation || ' ' || owner || ' ' || rows, ', ' ORDER BY relation) FROM hedgerow.trespasses")" = \
	'boston person sydney 6, boston site_key sydney 1' ] || fail "counted: $(sql "$amsterdam" 'SELECT * FROM hedgerow.trespasses')"
a trespass list && grep -q 'boston.*person.*sydney' "$work/a" || fail 'trespass list'
a status && grep -q 'boston publishes rows in the name of others' "$work/a" || fail 'status tells'

# The first copy brings as little as what follows
a link remove boston && a site leave boston && a site join boston --database "$boston" || fail 'amsterdam joins boston anew'
[ "$(people "$amsterdam")" = 'amsterdam:new@example.com boston:bob@example.com boston:last@example.com sydney:sue@example.com' ] ||
	fail "only rows of boston are copied from boston: $(people "$amsterdam")"
[ "$(sql "$amsterdam" "SELECT rows >= 1000 FROM hedgerow.trespasses WHERE relation = 'person'")" = t ] || fail 'counted, the copied too'

# TRUNCATE stops what comes from boston, and takes nothing with it
sql "$boston" 'SET session_replication_role = replica; ALTER TABLE hedgerow.person DISABLE TRIGGER a_truncate; TRUNCATE hedgerow.person' || fail truncating
until_is "$amsterdam" "SELECT errors > 0 FROM hedgerow.subscriptions WHERE site = 'boston'" t
[ "$(sql "$amsterdam" "SELECT count(*) FROM hedgerow.person WHERE site IN ('amsterdam', 'sydney')")" = 1000 ] || fail 'TRUNCATE came through'
sql "$amsterdam" 'TRUNCATE hedgerow.person' 2>"$work/refused" && fail 'truncated by hand'
grep -q 'has rows of several sites' "$work/refused" || fail 'the reason is said'

# Tables that are not of the registry are not received, however they are offered
sql "$boston" 'ALTER PUBLICATION hedgerow_boston ADD TABLE hedgerow.setting' || fail 'publishing a local table'
a site join boston --database "$boston" && fail 'received a local table'
grep -q 'would receive the table hedgerow.setting' "$work/a" || fail 'the table is named'
a site leave boston || fail 'leaving the hostile one'
a site join boston --database "$boston" && fail 'subscribed to a local table'
[ "$(sql "$amsterdam" "SELECT count(*) FROM pg_subscription WHERE subname = 'hedgerow_amsterdam_from_boston'")" = 0 ] || fail 'no subscription stays'
echo 'ok   replication'
