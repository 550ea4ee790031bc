#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The pgTAP tests: every tests/sql/*.sql (or those named) in a database of its own that has the schema.
set -u
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${HEDGEROW_TEST_DATABASE:-}" ]; then
	exec "$here/../with-postgres.sh" "$0" "$@"
fi
hedgerow=$here/../../ops/hedgerow
base=$HEDGEROW_TEST_DATABASE
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT

admin() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$base" -c "$1"; }
if [ "$(admin "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'")" != 1 ]; then
	echo 'pgTAP is not installed (Debian: postgresql-15-pgtap): skipped' >&2
	exit 77
fi
admin 'CREATE DATABASE sql_template' || exit 1
"$hedgerow" -q -d "$base dbname=sql_template" migrate || exit 1
psql -X -q -v ON_ERROR_STOP=1 -d "$base dbname=sql_template" -c 'CREATE SCHEMA tap; CREATE EXTENSION pgtap SCHEMA tap; GRANT USAGE ON SCHEMA tap TO PUBLIC' || exit 1

[ $# -gt 0 ] || set -- "$here"/*.sql
bad=0
for file in "$@"; do
	name=$(basename "$file" .sql)
	admin "CREATE DATABASE sql_test TEMPLATE sql_template" || exit 1
	if ! PGOPTIONS='-c search_path=public,tap' psql -X -q -A -t -P pager=off -v ON_ERROR_STOP=1 -d "$base dbname=sql_test" -f "$file" >"$out" 2>&1 ||
		grep -qE '^not ok|^# Looks like' "$out" || ! grep -q '^1\.\.' "$out"; then
		echo "FAIL $name"
		grep -vE '^ok|^$' "$out"
		bad=1
	else
		echo "ok   $name: $(grep -c '^ok' "$out") tests"
	fi
	admin 'DROP DATABASE sql_test WITH (FORCE)' || exit 1
done
exit $bad
