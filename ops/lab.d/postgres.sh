# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The PostgreSQL of a site: a private cluster, reached by a socket in a directory of its own only.
# PostgreSQL refuses to run as root: then it is the user postgres's.

postgres_bin=/usr/lib/postgresql/15/bin

postgres_as() { # COMMAND...: as the owner of the clusters
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid postgres --regid postgres --init-groups -- "$@"
	else
		"$@"
	fi
}

postgres_owner() {
	if [ "$(id -u)" = 0 ]; then echo postgres; else id -un; fi
}

# The connection of ROLE (default: the owner of the cluster) to the database of SITE.
postgres_conninfo() { # SITE [ROLE]
	printf 'host=%s dbname=hedgerow user=%s' "$LAB/$1/postgres" "${2:-$(postgres_owner)}"
}

postgres_psql() { # SITE ARGUMENT...
	local site=$1
	shift
	psql -X -v ON_ERROR_STOP=1 "$@" "$(postgres_conninfo "$site")"
}

postgres_create() { # SITE
	local dir=$LAB/$1/postgres
	install -d -m 700 -o "$(postgres_owner)" "$dir"
	cd / # the owner may not see where we are
	postgres_as "$postgres_bin/initdb" -D "$dir/data" -A trust -E UTF8 --locale C.UTF-8 --no-sync --no-instructions
	cat >>"$dir/data/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$dir'
		unix_socket_permissions = 0700
		wal_level = logical
		max_connections = 60
		shared_buffers = 64MB
		max_wal_size = 256MB
		wal_retrieve_retry_interval = 500ms
		log_line_prefix = '%m [%p] %q%u '
	END
	postgres_start "$1"
	psql -X -q "host=$dir dbname=postgres user=$(postgres_owner)" -c 'CREATE DATABASE hedgerow'
}

postgres_start() { # SITE
	local name=postgres-$1 dir=$LAB/$1/postgres lock
	cd /
	# One that was killed is a zombie until init comes to it, and PostgreSQL would believe that it runs.
	for lock in "$dir/data/postmaster.pid" "$dir/.s.PGSQL.5432.lock"; do
		[ ! -e "$lock" ] || process_is_up "$name" || postgres_as sed -i '1s/.*/2147483647/' "$lock"
	done
	if [ "$(id -u)" = 0 ]; then
		process_run "$name" setpriv --reuid postgres --regid postgres --init-groups -- \
			"$postgres_bin/postgres" -D "$dir/data"
	else
		process_run "$name" "$postgres_bin/postgres" -D "$dir/data"
	fi
	process_ready "$name" 60 "$postgres_bin/pg_isready" -q -h "$dir"
}

postgres_stop() { # SITE: fast, sessions are cut
	process_end "postgres-$1" INT 20
}

postgres_remove() { # SITE: what it holds is not wanted again
	process_end "postgres-$1" QUIT 10
}
