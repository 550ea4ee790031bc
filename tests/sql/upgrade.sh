#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A database that stands at migration 17, with people and with mail that waits in every way, comes through
# those that followed: nothing is lost, and what awaited a receipt falls due as the copy that it is.
set -u
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${HEDGEROW_TEST_DATABASE:-}" ]; then
	exec "$here/../with-postgres.sh" "$0" "$@"
fi
hedgerow=$here/../../ops/hedgerow
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fail() {
	echo "FAIL: $*" >&2
	exit 1
}
is() { # NAME EXPECTED QUERY
	got=$(run -c "$3") || fail "$1"
	[ "$got" = "$2" ] || fail "$1: '$got', not '$2'"
}
cp "$here"/../../schema/sql/000[1-9]-*.sql "$here"/../../schema/sql/001[0-7]-*.sql "$work/" || exit 1
psql -X -q -d "$HEDGEROW_TEST_DATABASE" -c 'CREATE DATABASE upgrade' || exit 1
database="$HEDGEROW_TEST_DATABASE dbname=upgrade"
run() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$database" "$@"; }

HEDGEROW_SQL_DIR=$work "$hedgerow" -q -d "$database" migrate || fail 'migration 17'
is 'it stands there' 17 'SELECT max(number) FROM hedgerow.migration'
cp "$work/0017-mail.sql" "$work/0017-other.sql"
HEDGEROW_SQL_DIR=$work "$hedgerow" -q -d "$database" migrate 2>"$work/refused" && fail 'one number, two migrations'
grep -q 'two migrations have the number 17' "$work/refused" || fail "$(cat "$work/refused")"

# in the queue: acknowledged, waiting; deferred: by the smarthost, as a copy (due, not due)
run >/dev/null <<'SQL' || fail 'mail that waits'
SELECT hedgerow.set_local_site('amsterdam');
SELECT hedgerow.journal_node('n1');
SELECT id FROM hedgerow.journal_open('mail:example.com');
SELECT hedgerow.journal_commit('n1', 1, '{1}', '{2}', '{1}', '{f}', '{1,1}', '{1,2}', '{s@x,s@x}', '{r@x,r@x}', '{a,b}', '{NULL,NULL}', '{}', '{}', '{}');
SELECT hedgerow.journal_commit('n1', 2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	'{1,1,1}', ARRAY[now() - interval '1 s', now() - interval '1 s', now() + interval '1 hour'], '{c,d,e}', '{s@x,s@x,t@x}', '{r@x,r@x,r@x}',
	'{NULL,m1,m2}', '{f,t,t}', '{NULL,NULL,NULL}', '{c,d,e}');
SELECT hedgerow.add_site('amsterdam');
SELECT hedgerow.add_forest('contoso', 'openldap', '{ldaps://ldap.example}', bind_dn => 'cn=sync', bind_secret => 's', base_dn => 'dc=contoso');
SELECT hedgerow.add_domain('example.com', 'contoso');
SELECT hedgerow.add_installation('prosody-a', 'contoso', 'prosody', 'im.example', 'localhost', 5347, 's');
INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, installation)
	SELECT 'amsterdam', 'contoso', n, n || '@example.com', n, n || '@im.example', 'prosody-a' FROM unnest('{ada,bob}'::text[]) n;
SELECT id FROM hedgerow.mail_send('example.com', 'r@x', 's@x', 'a@mail', 's1', 's@x/desk', NULL, NULL);
SQL

"$hedgerow" -q -d "$database" migrate || fail 'what followed'
is 'what waits for the same recipient goes first' 0 'SELECT hedgerow.journal_due()'
run >/dev/null -c "SELECT hedgerow.journal_commit('n1', 3, '{1}', '{0}', '{2}', '{f}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')" || fail 'it goes'
is 'what is due is appended' 2 'SELECT hedgerow.journal_due()'
is 'each as what it is' 'b|c|d copy' "SELECT string_agg(replace(encode(envelope, 'escape'), E'\\x60\\x01', ' copy'), '|' ORDER BY seq) FROM hedgerow.journal_read(1, 1, 10)"
is 'what is not due waits' 'm2|f' 'SELECT awaits, whole FROM hedgerow.deferred'
is 'what was mailed can be reported' s1 "SELECT stanza_id FROM hedgerow.mail_message WHERE message_id = 'a@mail'"
is 'receipts are still waited for' 1 'SELECT count(*) FROM hedgerow.journal_asked()'
is 'people are found' bob@example.com "SELECT address FROM hedgerow.search_people('ada@example.com', 'bob')"
is 'and listed' f 'SELECT hedgerow.list_people(100)'
is 'all of them' 2 'SELECT count(*) FROM hedgerow.listing'
echo 'ok'
