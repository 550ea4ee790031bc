# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow forest: directories and their runs

commands <<'TABLE'
forest add|call|FOREST !--kind= !--url*=:urls --bind= --bind-dn= --bind-secret= !--base-dn= --filter= --tls= --ca= --title= --page-size= --sync-interval= --poll-interval= --guard-percent= --guard-count= --priority=|add_forest|add a directory: openldap, activedirectory or ldif
forest set|change|FOREST FIELD=VALUE...|forest|change fields of a forest
forest remove|call|FOREST --force|remove_forest|remove a directory; --force: with its people, grants and rules
forest list|show||SELECT site, forest, kind, urls, tls, base_dn, filter, sync_interval, priority FROM hedgerow.forests|the directories of all sites
forest status|show||SELECT * FROM hedgerow.sync_status|the last and next run of this site's forests
forest sync|forest_sync|FOREST --dry-run --no-wait --timeout=||read a directory now; --dry-run: show what would change
forest runs|show|[FOREST] --limit=|SELECT run, forest, kind, state, started, took, read, skipped, added, changed, removed, disabled, kept, refused, error FROM hedgerow.sync_runs WHERE :'forest' IN ('', forest) LIMIT coalesce(nullif(:'limit', ''), '20')::int|what the last runs did
forest show|show|FOREST [RUN]|SELECT action, address, anchor, before, after, reason FROM hedgerow.sync_differences WHERE forest = :'forest' AND run = coalesce(nullif(:'run', '')::bigint, (SELECT max(run) FROM hedgerow.sync_differences WHERE forest = :'forest'))|the difference of a run, or of the last that had one
forest refused|show|[FOREST]|SELECT * FROM hedgerow.sync_refusals WHERE :'forest' IN ('', forest)|entries and values that are not published
forest release|call|FOREST|release_run|apply the run that is held
forest drop|call|FOREST|drop_run|drop the run that is held: nobody is removed
TABLE

cmd_forest_sync() {
	wait=120
	patient=yes
	dry=false
	forest=
	while [ $# -gt 0 ]; do
		case $1 in
		--dry-run) dry=true ;;
		--no-wait) patient=no ;;
		--timeout) [ $# -gt 1 ] || wrong '--timeout needs a value'; wait=$2; shift ;;
		--timeout=*) wait=${1#*=} ;;
		--help) help_command ;;
		-*) wrong "$command has no option $1" ;;
		*) [ -z "$forest" ] || wrong "$1 is too much"; forest=$1 ;;
		esac
		shift
	done
	[ -n "$forest" ] || wrong 'FOREST is missing'
	case $wait in '' | *[!0-9]*) wrong '--timeout is a number of seconds' ;; esac
	kind=full
	[ "$dry" = false ] || kind='dry-run'
	before=$(printf '%s\n' "SELECT hedgerow.forest_sync(:'forest', dry_run => :'dry');" | ask -v forest="$forest" -v dry="$dry") || return
	[ "$patient" = yes ] || { say "$command: asked for"; return 0; }
	ticks=$((wait * 5))
	while :; do
		ended=$(printf '%s\n' "SELECT run, state FROM hedgerow.sync_runs WHERE forest = :'forest' AND run > :'before'
			AND kind = :'kind' AND state <> 'running' ORDER BY run LIMIT 1;" |
			ask -v forest="$forest" -v before="$before" -v kind="$kind") || return
		[ -z "$ended" ] || break
		ticks=$((ticks - 1))
		[ "$ticks" -gt 0 ] || fail 1 "the run has not ended after $wait s; is hedgerow-directory running? See: hedgerow forest runs $forest"
		sleep 0.2
	done
	run=${ended%%|*}
	printf '%s' "SELECT * FROM hedgerow.sync_runs WHERE run = :'run'" >"$scratch/query"
	if [ "$dry" = true ]; then
		printf '%s' "SELECT action, address, anchor, before, after, reason FROM hedgerow.sync_differences WHERE run = :'run'" >"$scratch/query"
	fi
	print_query -v run="$run" <"$scratch/query" || return
	case ${ended#*|} in
	failed | held) return 1 ;;
	esac
}
