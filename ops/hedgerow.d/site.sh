# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow site: sites, their keys, and the replication of the registry between them

commands <<'TABLE'
site init|site_init|NAME --title= --endpoint*=:endpoints --key=||name this database's site and add it to the federation
site add|call|SITE --title= --endpoint*=:endpoints --message-expiry=|add_site|add the row of this site (site init does it too)
site set|change|SITE FIELD=VALUE...|site|change the title, endpoints or message_expiry of this site
site join|site_join|PEER !--database= --timeout=||receive the registry of another site by logical replication
site leave|site_leave|PEER --keep||stop receiving it; its rows are forgotten, unless --keep
site remove|call|SITE|remove_site|remove this site's row, or forget a site that was left
site list|show||SELECT site, title, local, endpoints, message_expiry, valid_keys, forests, installations FROM hedgerow.sites|the sites of the federation
site key add|call|PUBLIC-KEY --not-before= --not-after=|add_site_key|add a public key of this site's gateways
site key expire|call|PUBLIC-KEY NOT-AFTER|expire_site_key|let a key end at a time, like '2030-01-31 12:00'
site key remove|call|PUBLIC-KEY|remove_site_key|remove a key now
site key list|show|[SITE]|SELECT * FROM hedgerow.site_keys WHERE :'site' IN ('', site)|the public keys of sites
TABLE

cmd_site_init() {
	eval "$parse"
	endpoints=
	for g in $given; do
		case $g in
		endpoints#*)
			i=1
			while [ "$i" -le "${g#*#}" ]; do
				endpoints="$endpoints${endpoints:+, }:'endpoints_$i'"
				i=$((i + 1))
			done
			;;
		esac
	done
	{
		cat <<'SQL'
BEGIN;
SELECT hedgerow.set_local_site(:'name') \g /dev/null
\if :{?title}
\else
\set title ''
\endif
SQL
		printf "SELECT hedgerow.add_site(:'name', ARRAY[%s]::text[], nullif(:'title', ''))" "$endpoints"
		cat <<'SQL'
 \g /dev/null
\if :{?key}
SELECT hedgerow.add_site_key(:'key') \g /dev/null
\endif
COMMIT;
SQL
	} | sql "$@" || return
	say "$command: done"
}

#### site join, site leave

tables='site site_key link forest naming_context mapping email_domain installation person alias rule mail_domain'

# The publication of the site that the database $1 is, if it has none yet
publish() { # CONNINFO
	{
		cat <<'SQL'
SELECT site FROM hedgerow.local_site \gset
SELECT 'hedgerow_' || replace(:'site', '-', '_') AS publication \gset
SELECT NOT EXISTS (SELECT FROM pg_publication WHERE pubname = :'publication') AS due \gset
\if :due
SQL
		printf 'CREATE PUBLICATION :"publication" FOR TABLE'
		separator=
		for table in $tables; do
			printf "%s hedgerow.%s WHERE (site = :'site')" "$separator" "$table"
			separator=,
		done
		# never TRUNCATE: a row filter does not hold it back
		cat <<'SQL'
	WITH (publish = 'insert, update, delete');
\echo publication :publication made at site :site
\endif
SQL
	} | run_psql "$1" -A -t
}

peer_facts() { # CONNINFO: site|wal_level|system|migration
	printf '%s\n' "SELECT coalesce(hedgerow.local_site(), ''), current_setting('wal_level'),
		(SELECT system_identifier FROM pg_control_system()), (SELECT max(number) FROM hedgerow.migration);" |
		run_psql "$1" -A -t
}

cmd_site_join() {
	conninfo=
	wait=60
	want_peer=
	while [ $# -gt 0 ]; do
		case $1 in
		--database) [ $# -gt 1 ] || wrong '--database needs a value'; conninfo=$2; shift ;;
		--database=*) conninfo=${1#*=} ;;
		--timeout) [ $# -gt 1 ] || wrong '--timeout needs a value'; wait=$2; shift ;;
		--timeout=*) wait=${1#*=} ;;
		--help) help_command ;;
		-*) wrong "$command has no option $1" ;;
		*) [ -z "$want_peer" ] || wrong "$1 is too much"; want_peer=$1 ;;
		esac
		shift
	done
	[ -n "$want_peer" ] || wrong 'PEER is missing'
	[ -n "$conninfo" ] || wrong '--database is missing'
	case $wait in '' | *[!0-9]*) wrong '--timeout is a number of seconds' ;; esac

	ours=$(peer_facts "$database") || return
	theirs=$(peer_facts "$conninfo") || fail 3 "the database of \"$want_peer\" did not answer, see above"
	IFS='|' read -r our_site our_level our_system our_migration <<SQL
$ours
SQL
	IFS='|' read -r their_site their_level their_system their_migration <<SQL
$theirs
SQL
	[ -n "$our_site" ] || fail 1 'this database has no site yet; name it first: hedgerow site init NAME'
	[ "$their_site" = "$want_peer" ] ||
		fail 1 "that database is of site \"${their_site:-(none yet)}\", not \"$want_peer\"; correct the name or the conninfo"
	[ "$their_site" != "$our_site" ] || fail 1 "a site does not join itself: both databases are of site \"$our_site\""
	for level in "$our_site:$our_level" "$their_site:$their_level"; do
		[ "${level#*:}" = logical ] ||
			fail 1 "the PostgreSQL of \"${level%%:*}\" has wal_level = ${level#*:}; set it to logical and restart it"
	done
	[ "$our_migration" = "$their_migration" ] ||
		fail 1 "\"$our_site\" has migration $our_migration, \"$their_site\" has $their_migration; bring both to the same: hedgerow migrate"

	publish "$database" || return
	publish "$conninfo" || fail 1 "\"$want_peer\" cannot be published, see above"
	subscription=hedgerow_${our_site}_from_${their_site}
	slot=$(printf '%s' "$subscription" | tr - _)
	exists=$(printf '%s\n' "SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
		WHERE d.datname = current_database() AND s.subname = :'subscription';" | ask -v subscription="$subscription") || return
	if [ "$exists" = 1 ]; then
		cat <<'SQL' | sql -v subscription="$subscription" -v conninfo="$conninfo" || return
ALTER SUBSCRIPTION :"subscription" CONNECTION :'conninfo';
ALTER SUBSCRIPTION :"subscription" ENABLE;
ALTER SUBSCRIPTION :"subscription" REFRESH PUBLICATION;
SQL
		say "subscription $subscription was there, and is refreshed"
	else
		subscribe || return
		say "subscription $subscription made"
	fi
	wait_complete || return
	count=$(printf '%s\n' "SELECT count(*) FROM hedgerow.person WHERE site = :'peer';" | ask -v peer="$want_peer") || return
	say "site $our_site has the registry of $want_peer: $count people"
}

# A slot left over from an earlier join would be in the way, and rows of the peer too. In one cluster,
# CREATE SUBSCRIPTION would wait for its own transaction when it makes the slot.
subscribe() {
	create_slot=true
	cat <<'SQL' | run_psql "$conninfo" -A -t -v slot="$slot" || return
SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot' AND NOT active) AS stale \gset
\if :stale
SELECT pg_drop_replication_slot(:'slot') \g /dev/null
\echo replication slot :slot of an earlier join dropped
\endif
SQL
	if [ "$our_system" = "$their_system" ]; then
		create_slot=false
		printf '%s\n' "SELECT pg_create_logical_replication_slot(:'slot', 'pgoutput');" |
			run_psql "$conninfo" -o /dev/null -v slot="$slot" || return
	fi
	cat <<'SQL' | sql -v peer="$want_peer" -v subscription="$subscription" -v conninfo="$conninfo" -v slot="$slot" -v create_slot="$create_slot"
SET client_min_messages = warning;
SELECT hedgerow.forget_site(:'peer') \g /dev/null
SELECT 'hedgerow_' || replace(:'peer', '-', '_') AS publication \gset
CREATE SUBSCRIPTION :"subscription" CONNECTION :'conninfo' PUBLICATION :"publication"
	WITH (slot_name = :'slot', create_slot = :create_slot);
SQL
}

wait_complete() {
	ticks=$((wait * 5))
	while :; do
		state=$(printf '%s\n' "SELECT (SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r'),
			(SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubid = s.oid)
			FROM pg_subscription s WHERE s.subname = :'subscription';" | ask -v subscription="$subscription") || return
		case $state in
		0\|0) fail 1 "\"$want_peer\" publishes no tables; is it up to date? hedgerow migrate" ;;
		0\|*) return 0 ;;
		esac
		ticks=$((ticks - 1))
		[ "$ticks" -gt 0 ] ||
			fail 1 "the first copy is not complete after $wait s: ${state%%|*} of ${state#*|} tables are missing. It goes on; see the log of PostgreSQL, and: hedgerow status"
		sleep 0.2
	done
}

cmd_site_leave() {
	eval "$parse"
	case $given in *' keep '*) keep=yes ;; *) keep=no ;; esac
	cat <<'SQL' | sql -A -t "$@" -v keep_rows="$keep" || return
SELECT coalesce(hedgerow.local_site(), '') AS local \gset
SELECT format('hedgerow_%s_from_%s', :'local', :'peer') AS subscription \gset
SELECT set_config('hedgerow.peer', :'peer', false), set_config('hedgerow.keep', :'keep_rows', false),
	set_config('hedgerow.subscription', :'subscription', false) \g /dev/null
DO $$
BEGIN
	IF current_setting('hedgerow.keep') = 'no' AND EXISTS (SELECT FROM hedgerow.link
		WHERE site = hedgerow.local_site() AND peer = current_setting('hedgerow.peer')) THEN
		PERFORM hedgerow.refuse(format('there is a link to site "%s"', current_setting('hedgerow.peer')),
			'remove it first: hedgerow link remove ' || current_setting('hedgerow.peer'));
	END IF;
	IF NOT EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
		WHERE d.datname = current_database() AND s.subname = current_setting('hedgerow.subscription')) THEN
		PERFORM hedgerow.refuse(format('this site has not joined "%s"', current_setting('hedgerow.peer')),
			'see: hedgerow site list');
	END IF;
END $$;
SQL
	peer=
	for w in "$@"; do case $w in peer=*) peer=${w#peer=} ;; esac; done
	subscription=$(printf "SELECT format('hedgerow_%%s_from_%%s', hedgerow.local_site(), :'peer');\n" | ask -v peer="$peer") || return
	if ! printf '%s\n' 'DROP SUBSCRIPTION :"subscription";' | sql -v subscription="$subscription" 2>"$scratch/drop"; then
		# The peer is not there to drop the slot: it does so when it is joined again.
		cat <<'SQL' | sql -v subscription="$subscription" || return
ALTER SUBSCRIPTION :"subscription" DISABLE;
ALTER SUBSCRIPTION :"subscription" SET (slot_name = NONE);
DROP SUBSCRIPTION :"subscription";
SQL
		say "$(sed 's/^hedgerow: //' "$scratch/drop")"
		say "the replication slot $(printf '%s' "$subscription" | tr - _) stays at \"$peer\" and keeps its WAL: drop it there with pg_drop_replication_slot"
	fi
	say "subscription $subscription dropped"
	[ "$keep" = yes ] || {
		printf '%s\n' "SELECT hedgerow.forget_site(:'peer');" | sql -o /dev/null -v peer="$peer" || return
		say "rows of site $peer forgotten"
	}
}
