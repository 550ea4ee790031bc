#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# with-postgres.sh COMMAND [ARGUMENT...]
# Runs COMMAND with a PostgreSQL cluster of its own: in a new directory, on a Unix socket only,
# HEDGEROW_TEST_DATABASE = its conninfo (a superuser, database postgres). Stops and removes it
# afterwards. Exit status: that of COMMAND; 77 (skipped) where PostgreSQL 15 or later is missing.
# As root, the server runs as the user postgres. Settings beyond the defaults, one a line, may be
# given in HEDGEROW_TEST_POSTGRES_CONF.
set -u

# the newest pg_ctl of Debian's layout, else the one on PATH
find_bin() {
	for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -rn); do
		version=${dir#/usr/lib/postgresql/}
		version=${version%/bin}
		case $version in *[!0-9]*) continue ;; esac
		if [ "$version" -ge 15 ] && [ -x "$dir/pg_ctl" ]; then
			printf '%s\n' "$dir"
			return 0
		fi
	done
	found=$(command -v pg_ctl) && dirname "$found"
}

as_server() {
	if [ "$(id -u)" -eq 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

if [ $# -eq 0 ]; then
	echo "usage: with-postgres.sh COMMAND [ARGUMENT...]" >&2
	exit 2
fi
if ! bin=$(find_bin); then
	echo "with-postgres.sh: PostgreSQL 15 or later not found: skipped" >&2
	exit 77
fi

base=$(mktemp -d "${TMPDIR:-/tmp}/hedgerow-pg.XXXXXX") || exit 1
cleanup() {
	trap - EXIT
	if [ -f "$base/data/postmaster.pid" ]; then
		(cd "$base" && as_server "$bin/pg_ctl" -D "$base/data" -m immediate -w stop) >/dev/null 2>&1
	fi
	rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

chmod 755 "$base"
[ "$(id -u)" -ne 0 ] || chown postgres "$base"

start() {
	cd "$base" || return 1
	as_server "$bin/initdb" -D "$base/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync &&
		as_server tee -a "$base/data/postgresql.conf" <<-EOF &&
			listen_addresses = ''
			unix_socket_directories = '$base'
			fsync = off
			full_page_writes = off
			shared_buffers = 32MB
			max_connections = 50
			max_wal_senders = 10
			max_logical_replication_workers = 10
			wal_level = logical
			timezone = 'UTC'
			log_line_prefix = '%m [%p] '
			${HEDGEROW_TEST_POSTGRES_CONF:-}
		EOF
		as_server "$bin/pg_ctl" -D "$base/data" -l "$base/log" -w -t 60 start
}
if ! (start) >"$base/start" 2>&1; then
	cat "$base/start" >&2
	[ ! -f "$base/log" ] || cat "$base/log" >&2
	exit 1
fi

HEDGEROW_TEST_DATABASE="host=$base user=postgres dbname=postgres"
export HEDGEROW_TEST_DATABASE
"$@"
