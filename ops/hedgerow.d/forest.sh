# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow forest: directories and their runs

commands <<'TABLE'
forest add|call|FOREST !--kind= !--url*=:urls !--base-dn= --bind= --bind-dn= --bind-secret= --filter= --tls= --ca= --title= --page-size= --sync-interval= --poll-interval= --guard-delete-count= --guard-delete-percent= --guard-disable-count= --guard-disable-percent= --guard-address-count= --guard-address-percent= --priority=|add_forest|add a directory: openldap, activedirectory or ldif
forest set|change|FOREST FIELD=VALUE...|forest|change fields of a forest
forest remove|call|FOREST --force|remove_forest|remove a directory; --force: with its people, grants and rules
forest list|show||SELECT site, forest, kind, urls, tls, bind, base_dn, filter, sync_interval, priority FROM hedgerow.forests|the directories of all sites
forest context add|call|FOREST BASE-DN !--url*=:urls|add_context|add a domain or suffix to a forest
forest context remove|call|FOREST BASE-DN|remove_context|remove one
forest context list|show|[FOREST]|SELECT * FROM hedgerow.sync_contexts WHERE :'forest' IN ('', forest)|the domains or suffixes of this site's forests, and how far their changes have been taken
forest status|show||SELECT * FROM hedgerow.sync_status|the last and next run of this site's forests
forest sync|forest_sync|FOREST --dry-run --draft --no-wait --timeout=||read a directory now; --dry-run: show what would change; --draft: by the draft of its mapping
forest runs|show|[FOREST] --limit=|SELECT run, forest, kind, state, started, took, read, skipped, added, changed, readdressed, removed, disabled, kept, refused, error FROM hedgerow.sync_runs WHERE :'forest' IN ('', forest) LIMIT coalesce(nullif(:'limit', ''), '20')::int|what the last runs did
forest show|show|FOREST [RUN]|SELECT action, address, anchor, before, after, reason FROM hedgerow.sync_differences WHERE forest = :'forest' AND run = coalesce(nullif(:'run', '')::bigint, (SELECT max(run) FROM hedgerow.sync_differences WHERE forest = :'forest'))|the difference of a run, or of the last that had one
forest held|show|[FOREST]|SELECT forest, run, action, address, anchor, before, after, reason FROM hedgerow.sync_held WHERE :'forest' IN ('', forest)|what runs wait for a decision, and what they would do
forest refused|show|[FOREST]|SELECT * FROM hedgerow.sync_refusals WHERE :'forest' IN ('', forest)|entries and values that are not published
forest errors|show|[FOREST]|SELECT * FROM hedgerow.sync_errors WHERE :'forest' IN ('', forest)|why runs failed, each cause once
forest release|call|FOREST [RUN]|release_run|apply the run that is held; with RUN, only when it is that one
forest drop|call|FOREST [RUN]|drop_run|drop the run that is held: the people stay as they are
TABLE

# What is known of the run that was asked for: "ended RUN STATE", or how far it is
sync_look() {
	cat <<'SQL' | ask -v forest="$forest" -v before="$before" -v kind="$kind"
SELECT coalesce(
	(SELECT format('ended %s %s', run, state) FROM hedgerow.sync_runs WHERE forest = :'forest' AND run > :'before'
		AND kind = :'kind' AND state <> 'running' ORDER BY run LIMIT 1),
	(SELECT format('run %s: %s%s%s%s', run,
			CASE phase WHEN 'read' THEN 'read ' WHEN 'compare' THEN 'comparing ' ELSE 'applying ' END, btrim(to_char(number, '999,999,999')),
			CASE WHEN phase = 'read' AND expected > number THEN ' of about ' || btrim(to_char(expected, '999,999,999')) ELSE '' END,
			CASE WHEN phase = 'read' THEN format(', %s a second', btrim(to_char(per_second, '999,999,999'))) ELSE '' END)
			|| coalesce(format(', about %s s left', ceil(extract(epoch FROM left_about))), '')
		FROM hedgerow.sync_progress WHERE forest = :'forest' AND run > :'before' AND kind = :'kind' LIMIT 1),
	'waiting for hedgerow-directory');
SQL
}

show_progress() { # TEXT; nothing: wipe it
	[ "$progress" = no ] || printf '\r\033[K%s' "$*" >&2
}

# What a run did, in words, and the first of those to whom it did it
sync_summary() { # RUN
	cat <<'SQL' | ask -v run="$1"
SELECT format('run %s of %s: %s after %s s', run, forest, state, round(extract(epoch FROM took), 1)) || coalesce(': ' || error, '')
	FROM hedgerow.sync_runs WHERE run = :'run';
SELECT format('read %s, %s of them no people; added %s, changed %s, %s with another address, removed %s, disabled %s, kept %s, refused %s',
		read, skipped, added, changed, readdressed, removed, disabled, kept, refused)
	FROM hedgerow.sync_runs WHERE run = :'run' AND state <> 'failed';
SELECT format('%-8s %s%s', action, coalesce(address, anchor), coalesce(' (' || reason || ')',
		CASE WHEN action IN ('change', 'address', 'disable') THEN (SELECT ': ' || string_agg(format('%s %s -> %s', b.key,
			coalesce(before ->> b.key, '-'), coalesce(after ->> b.key, '-')), ', ' ORDER BY b.key)
			FROM jsonb_object_keys(after) b(key) WHERE before -> b.key IS DISTINCT FROM after -> b.key) END))
	FROM hedgerow.sync_differences WHERE run = :'run' ORDER BY action DESC, address LIMIT 20;
SELECT format('... and %s more: hedgerow forest show %s %s', count(*) - 20, min(forest), :'run')
	FROM hedgerow.sync_differences WHERE run = :'run' HAVING count(*) > 20;
SELECT format('It waits for a decision: hedgerow forest held %s; then hedgerow forest release %1$s %2$s, or drop %1$s %2$s', forest, run)
	FROM hedgerow.sync_runs WHERE run = :'run' AND state = 'held';
SQL
}

cmd_forest_sync() {
	wait=120
	patient=yes
	dry=false
	draft=false
	forest=
	while [ $# -gt 0 ]; do
		case $1 in
		--dry-run) dry=true ;;
		--draft) draft=true ;;
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
	progress=no
	[ ! -t 2 ] || [ "$quiet" = yes ] || progress=yes
	before=$(printf '%s\n' "SELECT hedgerow.forest_sync(:'forest', dry_run => :'dry', draft => :'draft');" |
		ask -v forest="$forest" -v dry="$dry" -v draft="$draft") || return
	[ "$patient" = yes ] || { say "$command: asked for"; return 0; }
	ticks=$((wait * 5))
	while :; do
		found=$(sync_look) || return
		case $found in ended*) break ;; esac
		show_progress "$found"
		ticks=$((ticks - 1))
		if [ "$ticks" -le 0 ]; then
			show_progress
			fail 1 "the run has not ended after $wait s; is hedgerow-directory running? See: hedgerow forest runs $forest"
		fi
		sleep 0.2
	done
	show_progress
	run=${found#ended }
	run=${run%% *}
	if [ "$json" = yes ] && [ "$dry" = true ]; then
		printf '%s' "SELECT action, address, anchor, before, after, reason FROM hedgerow.sync_differences WHERE run = :'run'" | print_query -v run="$run"
	elif [ "$json" = yes ]; then
		printf '%s' "SELECT * FROM hedgerow.sync_runs WHERE run = :'run'" | print_query -v run="$run"
	else
		sync_summary "$run"
	fi || return
	case $found in *' failed' | *' held') return 1 ;; esac
}
