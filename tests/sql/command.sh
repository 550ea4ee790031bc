#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command hedgerow: what it takes, what it prints, how it fails. Nothing typed is read as SQL.
set -u
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${HEDGEROW_TEST_DATABASE:-}" ]; then
	exec "$here/../with-postgres.sh" "$0"
fi
hedgerow=$here/../../ops/hedgerow
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
psql -X -q -d "$HEDGEROW_TEST_DATABASE" -c 'CREATE DATABASE command' || exit 1
HEDGEROW_DATABASE="$HEDGEROW_TEST_DATABASE dbname=command"
export HEDGEROW_DATABASE

# expect STATUS PATTERN WORDS...: the pattern is looked for in all that is printed
expect() {
	want=$1
	pattern=$2
	shift 2
	"$hedgerow" "$@" >"$work/out" 2>&1
	got=$?
	if [ "$got" != "$want" ] || ! grep -qE -- "$pattern" "$work/out"; then
		echo "FAIL hedgerow $*: status $got instead of $want, or not \"$pattern\" in:" >&2
		cat "$work/out" >&2
		bad=1
	fi
}

expect 2 'hedgerow .* NOUN VERB'
expect 0 'site +init, add' help
expect 0 'hedgerow link add PEER \[--dialer DIALER\]' link help
expect 0 'hedgerow site key add' help site
expect 0 'add a directory' forest add --help
expect 2 'did you mean forest\?' foorest list
expect 2 'did you mean list\?' forest lst
expect 2 'there is no option --nope' --nope
expect 1 'hedgerow migrate' site list
expect 0 'applied 0001-registry' migrate
expect 0 'up to date' migrate
expect 1 'this database has no site yet' site add amsterdam
expect 1 'cannot be the name of a site' site init 'X Y'
expect 0 ': done' site init amsterdam --endpoint tcp://127.0.0.1:7500 --endpoint=tcp://gw.example:7500 --title "O'Hara; DROP TABLE hedgerow.site; --"
expect 0 "O'Hara; DROP TABLE" site list
expect 0 '\{tcp://127.0.0.1:7500,tcp://gw.example:7500\}' site list
expect 2 'NAME is missing' site init
expect 2 'too much' site init a b
expect 2 'has no option --foo' site init a --foo
expect 2 'needs a value' site init a --title
expect 2 'is given twice' site init a --title b --title c
expect 2 '--kind is missing' forest add contoso
expect 2 'takes no value' forest remove contoso --force=yes
expect 0 ': done' forest add contoso --kind openldap --url ldaps://a.example --url ldaps://b.example --bind-dn cn=x --bind-secret s --base-dn dc=x
expect 0 'ldaps://b.example' forest list
expect 1 '^hedgerow: e-mail domain "X.example" is not a domain name; write it in lower case: x.example$' domain add X.example --forest contoso
expect 0 ': done' domain add x.example --forest contoso
expect 0 ': done' installation add p --forest contoso --software prosody --native-domain im.example --host h
"$hedgerow" -q installation set p tls=true >"$work/out" 2>&1 && [ ! -s "$work/out" ] || expect 0 nothing -q installation set p tls=true
expect 0 'Component "x.example"' installation config p
expect 0 'disco_items = { { "x.example", "People" } }' installation config p
expect 1 'not one of this site' installation config q
expect 0 ': done' installation set p port=5348 ca=
expect 2 'is not FIELD=VALUE' installation set p port
expect 1 'is not a field of this installation' installation set p colour=blue
expect 0 '"port":5348' installation list --json
expect 0 '^\[\]$' --json rule list
expect 0 '"relation":"installation","action":"change"' --json change list
expect 0 ': done' rule add r deny --reason 'a | b "c" $d `e` \f'
expect 0 'a \| b "c" \$d `e` \\f' rule list
expect 0 '"action":"deny"' rule add r2 deny --json
expect 0 'rule r, site amsterdam' change list --limit 5
expect 1 'there is no change 12345' change undo 12345
expect 0 'attribute' mapping list contoso
expect 0 ': done' mapping set contoso name cn --pattern '^(.*) .*$' --replacement '\1'
expect 0 ': done' mapping remove contoso name 1
expect 0 'draft *| name' mapping list contoso
expect 1 'has not begun after 0 s' mapping preview contoso --timeout 0
expect 0 ': done' mapping apply contoso
expect 1 'has no draft' mapping discard contoso
expect 0 'former' mapping list contoso --all
expect 0 ': done' forest context add contoso dc=y --url ldaps://c.example
expect 0 'ldaps://c.example' forest context list contoso
expect 0 ': done' forest context remove contoso dc=y
expect 1 'can only be tried in a dry run' forest sync contoso --draft
expect 1 'neither reserved nor a former address' user forget ada@x.example
expect 0 '0 rows|^ *forest' forest held
expect 0 'cause' forest errors
expect 1 'is not a public key' site key add x
expect 0 ': done' site key add 'Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID'
expect 0 valid site key list
expect 1 'is not known here' link add boston
expect 0 'FORESTS' status
expect 0 '"streams"' status --json
expect 1 'is in use' forest remove contoso
expect 1 'has not begun after 0 s' forest sync contoso --timeout 0
expect 0 'asked for' forest sync contoso --no-wait
expect 0 ': done' setting set journal_retain '2 hours'
expect 3 'connection to server' -d 'host=/nonexistent dbname=x' site list
# The manuals name every command with its options, every view and every function of operators.
documented() { # FILE TEXT
	grep -qF -- "$2" "$here/../../docs/$1" || { echo "FAIL docs/$1 does not say \"$2\"" >&2; bad=1; }
}
"$hedgerow" help | sed -n 's/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p' | while read -r noun; do
	"$hedgerow" help "$noun" | grep '^hedgerow'
done >"$work/usage"
sed 's/^hedgerow //; s/ [^a-z].*//' "$work/usage" | sort -u >"$work/commands"
grep -o -e '--[a-z-]*' "$work/usage" | sort -u >"$work/options"
[ "$(wc -l <"$work/commands")" -gt 50 ] || { echo 'FAIL help lists too little' >&2; bad=1; }
while read -r words; do documented hedgerow.1 "Ic $words"; done <"$work/commands"
while read -r option; do documented hedgerow.1 "Fl ${option#-}"; done <"$work/options"
psql -X -A -t -d "$HEDGEROW_DATABASE" >"$work/names" <<'SQL'
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'hedgerow'::regnamespace AND c.relkind = 'v'
	AND has_table_privilege('hedgerow_reader', c.oid, 'SELECT')
UNION ALL SELECT DISTINCT 'Fn ' || p.proname FROM pg_proc p WHERE p.pronamespace = 'hedgerow'::regnamespace
	AND obj_description(p.oid, 'pg_proc') IS NOT NULL AND has_function_privilege('hedgerow_operator', p.oid, 'EXECUTE');
SQL
while read -r name; do documented hedgerow-schema.7 "$name"; done <"$work/names"
# Installed, its parts are elsewhere.
mkdir -p "$work/bin" "$work/share/hedgerow"
cp "$hedgerow" "$work/bin/hedgerow"
cp -R "$hedgerow.d" "$here/../../schema/sql" "$work/share/hedgerow/"
"$work/bin/hedgerow" migrate >"$work/out" 2>&1 && grep -q 'up to date' "$work/out" || { cat "$work/out" >&2; bad=1; }
# a newer database
psql -X -q -d "$HEDGEROW_DATABASE" -c "INSERT INTO hedgerow.migration VALUES (9999, '9999-future')" || exit 1
expect 1 'has migration 9999, this command knows only up to' migrate
unset HEDGEROW_DATABASE
expect 0 'make or update the schema' migrate help
expect 0 'make or update the schema' help migrate
expect 2 'there is no noun "../command"' ../command list
[ -e /etc/hedgerow/hedgerow.conf ] || expect 2 'which database\?' site list
printf '#!/bin/sh\necho "key for $2"\n' >"$work/gateway"
chmod +x "$work/gateway"
HEDGEROW_GATEWAY=$work/gateway
export HEDGEROW_GATEWAY
expect 0 'key for link.key' key generate link.key
[ "$bad" = 0 ] && echo 'ok   command'
exit "$bad"
