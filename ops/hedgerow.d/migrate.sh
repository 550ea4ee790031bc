# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow migrate: the schema of the database

commands <<'TABLE'
migrate|migrate|||make or update the schema of the database
TABLE

find_sql() {
	for dir in ${HEDGEROW_SQL_DIR:+"$HEDGEROW_SQL_DIR"} "$library/../../schema/sql" "$library/../sql"; do
		if [ -e "$dir/0001-registry.sql" ]; then
			printf '%s' "$dir"
			return 0
		fi
	done
	return 1
}

# All in one session, which holds an advisory lock; each file is one transaction.
cmd_migrate() {
	eval "$parse"
	dir=$(find_sql) || fail 2 'the migrations are not found; set HEDGEROW_SQL_DIR to the folder with 0001-registry.sql'
	highest=0
	set --
	: >"$scratch/steps"
	for file in "$dir"/[0-9][0-9][0-9][0-9]-*.sql; do
		base=$(basename "$file" .sql)
		number=$(printf '%s' "${base%%-*}" | sed 's/^0*//')
		[ "$number" -gt "$highest" ] || fail 2 "two migrations have the number $number"
		highest=$number
		set -- "$@" -v "file_$number=$file" -v "name_$number=$base"
		cat >>"$scratch/steps" <<SQL
SELECT NOT EXISTS (SELECT FROM hedgerow.migration WHERE number = $number) AS due \\gset
\\if :due
BEGIN;
\\o /dev/null
\\i :file_$number
\\o
RESET search_path;
INSERT INTO hedgerow.migration (number, name) VALUES ($number, :'name_$number');
COMMIT;
\\echo applied :name_$number
\\endif
SQL
	done
	{
		cat <<'SQL'
SET client_min_messages = warning;
\o /dev/null
SELECT pg_advisory_lock(hashtextextended('hedgerow migrate', 0));
\o
BEGIN;
CREATE SCHEMA IF NOT EXISTS hedgerow;
CREATE TABLE IF NOT EXISTS hedgerow.migration (
	number int PRIMARY KEY,
	name text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE hedgerow.migration IS 'Migrations that this database has had';
SELECT set_config('hedgerow.known', :'highest', false) \g /dev/null
DO $$
DECLARE
	newest int := (SELECT max(number) FROM hedgerow.migration);
BEGIN
	IF newest > current_setting('hedgerow.known')::int THEN
		RAISE EXCEPTION 'the database has migration %, this command knows only up to %', newest, current_setting('hedgerow.known')
			USING HINT = 'use the hedgerow of the newer version';
	END IF;
END $$;
COMMIT;
SQL
		cat "$scratch/steps"
	} | sql -A -t -v highest="$highest" "$@" >"$scratch/applied" || return
	if [ -s "$scratch/applied" ]; then
		say "$(cat "$scratch/applied")"
	else
		say 'the schema is up to date'
	fi
}
