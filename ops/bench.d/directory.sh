# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Two sites joined by replication; at site a hedgerow-directory reads one directory after the other:
# a slapd, a Samba. What is measured is in directory.py.

directory_site() { # SITE
	local site=$1 owner role
	owner=$(postgres_owner)
	hedgerow_postgres "$site"
	hedgerow_at "$site" "$owner" migrate
	for role in directory operator; do
		postgres_psql "$site" -q -c "CREATE ROLE $role LOGIN IN ROLE hedgerow_$role"
	done
	hedgerow_at "$site" operator site init "$site" --endpoint "tcp://127.0.0.1:$link_port"
	cat >"$LAB/$site/directory.ini" <<-END
		[directory]
		node = $site-1
		database = $(postgres_conninfo "$site" directory)
		secrets = $LAB/$site/secrets
	END
}

directory_sites() {
	local owner
	owner=$(postgres_owner)
	say "starting two sites"
	directory_site a
	directory_site b
	hedgerow_at a "$owner" site join b --database "$(postgres_conninfo b)"
	hedgerow_at b "$owner" site join a --database "$(postgres_conninfo a)"
}

directory_people() { # openldap|samba COUNT, and what else the kind needs
	/usr/bin/python3 "$here/directory.py" people "$@"
}

# Each leaves, in the secrets of site a, SYSTEM.ca and SYSTEM.password of the account that reads; and
# in $LAB/SYSTEM/access: url, base, who reads, who changes, the file with the password of that one.

openldap_directory() {
	local dir=$LAB/openldap/slapd base
	LDAPS_openldap=$(free_ports 1)
	base=$(slapd_base openldap)
	slapd_configure openldap
	directory_people openldap "$entries" "$(cat "$dir/service.secret")" | slapd_load openldap
	slapd_start openldap
	install -m 600 "$dir/tls/ca.pem" "$LAB/a/secrets/openldap.ca"
	install -m 600 "$dir/service.secret" "$LAB/a/secrets/openldap.password"
	printf '%s\n' "ldaps://127.0.0.1:$LDAPS_openldap" "$base" "cn=hedgerow,ou=Services,$base" \
		"cn=admin,$base" "$dir/admin.secret" >"$LAB/openldap/access"
}

samba_directory() {
	local dir=$LAB/samba/dc address
	address=$("$top/ops/lab.d/addc.py" address)
	"$top/ops/lab.d/addc.py" make "$dir" samba.example "$address"
	directory_people samba "$users" >"$dir/people.ldif"
	"$top/ops/lab.d/addc.py" load "$dir" "$dir/people.ldif"
	process_run samba samba -F --no-process-group --debug-stdout -M single -s "$dir/etc/smb.conf"
	process_ready samba 30 listens "$address" 636
	install -m 600 "$dir/ca.pem" "$LAB/a/secrets/samba.ca"
	install -m 600 "$dir/svc-hedgerow" "$LAB/a/secrets/samba.password"
	printf '%s\n' "ldaps://$address" DC=samba,DC=example svc-hedgerow@samba.example \
		administrator@samba.example "$dir/administrator" >"$LAB/samba/access"
}

directory_measure() { # SYSTEM
	local system=$1 server
	server=$(case $system in openldap) echo slapd-openldap ;; samba) echo samba ;; esac)
	say "filling $system"
	mkdir -m 700 "$LAB/$system"
	"${system}_directory" >"$LAB/log/$system-made.log" 2>&1 ||
		die "$system: $(tail -n 5 "$LAB/log/$system-made.log")"
	process_run directory-a "$build/hedgerow-directory" -c "$LAB/a/directory.ini"
	/usr/bin/python3 "$here/directory.py" measure "$system" --lab "$LAB" --rounds "$rounds" --changes "$changes" \
		--daemon "$(process_pid directory-a)" --watch "$(process_pid "$server")" "$(process_pid directory-a)" \
		"$(process_pid postgres-a)" "$(process_pid postgres-b)" --a "$(postgres_conninfo a)" --b "$(postgres_conninfo b)" >>"$LAB/results"
	process_end directory-a TERM 20
	process_end "$server" TERM 10
}

bench_directory() {
	local system
	bench_begin ad
	directory_sites
	for system in "${systems[@]}"; do
		directory_measure "$system"
	done
	/usr/bin/python3 "$here/directory.py" report ${json:+--json} "$LAB/results"
}
