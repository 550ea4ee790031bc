# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# The database, through psql

find_database() {
	[ -z "$database" ] || return 0
	for file in "$here/../etc/hedgerow/hedgerow.conf" "$sysconfdir/hedgerow/hedgerow.conf"; do
		if [ -r "$file" ]; then
			database=$(sed -n 's/^[[:space:]]*database[[:space:]]*=[[:space:]]*//p' "$file" | head -n 1)
			[ -z "$database" ] || return 0
		fi
	done
	[ -z "${PGDATABASE:-}${PGSERVICE:-}" ] || return 0
	fail 2 'which database? Give -d CONNINFO, or set HEDGEROW_DATABASE'
}

# What psql says, as one line each: message; detail; hint
clean() {
	awk '
	function flush() { if (text != "") print "hedgerow: " text > "/dev/stderr"; text = "" }
	{ sub(/^psql:[^ ]*:[0-9]+: /, "") }
	/^(ERROR|FATAL):  / { flush(); sub(/^[A-Z]+:  /, ""); text = $0
		if ($0 ~ /schema "hedgerow" does not exist|relation "hedgerow\.[a-z_]*" does not exist|function hedgerow\..* does not exist/)
			text = text "; make or update the schema: hedgerow migrate"
		if ($0 ~ /^permission denied/)
			text = text "; your role must be a member of hedgerow_operator (or hedgerow_reader, to read)"
		next }
	/^(WARNING|NOTICE):  / { flush(); sub(/:  /, ": "); text = tolower(substr($0, 1, 1)) tolower(substr($0, 2, index($0, ":") - 2)) substr($0, index($0, ":")); next }
	/^psql: error: / { flush(); sub(/^psql: error: /, ""); text = $0; next }
	/^(DETAIL|HINT):  / { sub(/^[A-Z]+:  /, ""); text = text "; " $0; next }
	/^(LINE [0-9]+:|CONTEXT:|QUERY:|[[:space:]]*\^)/ { next }
	/^[[:space:]]*$/ { next }
	{ sub(/^[[:space:]]+/, ""); text = text == "" ? $0 : text " " $0 }
	END { flush() }'
}

# psql on a script from standard input. 0; 1 refused by the database; 3 database not reached
run_psql() { # CONNINFO ARGUMENTS...
	conninfo=$1
	shift
	{
		printf '\\set VERBOSITY default\n\\set SHOW_CONTEXT never\n'
		cat
	} | PGAPPNAME=hedgerow PGCLIENTENCODING=UTF8 psql -X -q -v ON_ERROR_STOP=1 -P pager=off -P footer=off "$@" \
		-f - ${conninfo:+-d "$conninfo"} 2>"$scratch/errors"
	status=$?
	clean <"$scratch/errors"
	case $status in
	0) return 0 ;;
	2) return 3 ;;
	*) return 1 ;;
	esac
}
sql() { run_psql "$database" "$@"; }
ask() { sql -A -t "$@"; } # bare values, for the script itself

# A query on standard input, as a table or as JSON
print_query() {
	if [ "$json" = yes ]; then
		{
			printf 'SELECT coalesce(json_agg(t), %s) FROM (' "'[]'"
			cat
			printf ') t;\n'
		} | sql -A -t "$@"
	else
		{
			cat
			printf ';\n'
		} | sql -P null=- "$@"
	fi
}
