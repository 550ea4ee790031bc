# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Two Hedgerow sites: a PostgreSQL cluster and a gateway each, joined by replication and a CURVE
# link. The load generator plays both XMPP servers. People are put into the registry directly.

hedgerow_at() { # SITE ROLE WORD...
	local site=$1 role=$2
	shift 2
	"$top/ops/hedgerow" --quiet --database "$(postgres_conninfo "$site" "$role")" "$@" >>"$LAB/log/hedgerow.log" 2>&1 ||
		die "hedgerow $*: $(tail -n 3 "$LAB/log/hedgerow.log")"
}

# Durable as they come; larger than a lab's, so that checkpoints don't come every second.
hedgerow_postgres() { # SITE
	mkdir -m 711 "$LAB/$1"
	mkdir -m 700 "$LAB/$1/secrets"
	postgres_create "$1" >"$LAB/log/initdb-$1.log" 2>&1 ||
		die "PostgreSQL $1: $(tail -n 5 "$LAB/log/initdb-$1.log" "$LAB/log/postgres-$1.log")"
	postgres_stop "$1"
	cat >>"$LAB/$1/postgres/data/postgresql.conf" <<-END
		fsync = on
		synchronous_commit = on
		full_page_writes = on
		shared_buffers = 128MB
		wal_buffers = 16MB
		max_wal_size = 4GB
		checkpoint_timeout = 15min
	END
	postgres_start "$1"
}

hedgerow_site() { # SITE OTHER ADDRESS
	local site=$1 owner role
	owner=$(postgres_owner)
	hedgerow_postgres "$site"
	hedgerow_at "$site" "$owner" migrate
	for role in gateway operator; do
		postgres_psql "$site" -q -c "CREATE ROLE $role LOGIN IN ROLE hedgerow_$role"
	done
	hedgerow_at "$site" operator site init "$site" --endpoint "tcp://$3:$link_port"
	hedgerow_at "$site" operator site key add \
		"$("$build/hedgerow-gateway" --generate-key "$LAB/$site/secrets/link.key")"
	printf '%s' "$secret" >"$LAB/$site/secrets/component.secret"
	chmod 600 "$LAB/$site/secrets/component.secret"
	hedgerow_at "$site" operator forest add "forest-$site" --kind openldap --url ldaps://unused.example \
		--bind-dn cn=unused --bind-secret unused --base-dn dc=unused
	hedgerow_at "$site" operator domain add example.com --forest "forest-$site"
	hedgerow_at "$site" operator installation add "xmpp-$site" --forest "forest-$site" \
		--software prosody --native-domain "im.$site.example" --host "$3" --port $component_port \
		--secret component.secret
	cat >"$LAB/$site/gateway.ini" <<-END
		[gateway]
		node = $site-1
		database = $(postgres_conninfo "$site" gateway)
		secrets = $LAB/$site/secrets

		[link]
		listen = tcp://$3:$link_port
		retry_max = 2s
	END
}

hedgerow_people() { # SITE
	"$build/tests/bench/xmppload" --people $((2 * pairs)) | awk -F '\t' -v site="$1" -v OFS='\t' \
		'$1 == site { print site, "forest-" site, $3, $2 "@example.com", $3 "@im." site ".example", "xmpp-" site, $4 }' |
		postgres_psql "$1" -q -c 'COPY hedgerow.person (site, forest, anchor, address, native, installation, name)
			FROM stdin' -c 'ANALYZE hedgerow.person'
}

hedgerow_is_complete() {
	local site
	for site in a b; do
		[ "$(postgres_psql "$site" -A -t -c "SELECT (SELECT count(*) FROM hedgerow.person) = 2 * $pairs
			AND (SELECT count(*) FROM hedgerow.email_domain) = 2
			AND (SELECT count(*) FROM hedgerow.site_key) = 2")" = t ] || return 1
	done
}

hedgerow_link_is_up() {
	[ "$(postgres_psql a -A -t -c "SELECT bool_and(state = 'up') FROM hedgerow.link_status")" = t ]
}

hedgerow_up() {
	local a=$net.31 b=$net.32 owner
	owner=$(postgres_owner)
	hedgerow_site a b "$a"
	hedgerow_site b a "$b"
	hedgerow_at a "$owner" site join b --database "$(postgres_conninfo b)"
	hedgerow_at b "$owner" site join a --database "$(postgres_conninfo a)"
	hedgerow_people a
	hedgerow_people b
	wait_for 60 "the registry of both sites" hedgerow_is_complete || die "the sites did not replicate"
	hedgerow_at a operator link add b --dialer a
	hedgerow_at b operator link add a --dialer a
	hedgerow_at a operator rule add a-to-b allow --from forest:forest-a --to forest:forest-b
	hedgerow_at b operator rule add a-to-b allow --from forest:forest-a --to forest:forest-b
	process_run gateway-a "$build/hedgerow-gateway" -c "$LAB/a/gateway.ini"
	process_run gateway-b "$build/hedgerow-gateway" -c "$LAB/b/gateway.ini"
	load_begin hedgerow --role server --native-a im.a.example --native-b im.b.example \
		--federated example.com --a "$a:$component_port" --b "$b:$component_port" \
		--watch "$(process_pid gateway-a)" --watch "$(process_pid gateway-b)" \
		--watch "$(process_pid postgres-a)" --watch "$(process_pid postgres-b)" \
		--wire "$a:$link_port" --wire "$b:$link_port"
	wait_for 60 "the link" hedgerow_link_is_up || die "the link did not come up"
	load_open hedgerow
}
