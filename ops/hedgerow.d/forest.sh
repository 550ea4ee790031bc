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

# What is known of the run that was asked for: "ended RUN STATE|", or what changes as long as something moves, and
# how far it is in words. A run that had begun before is ended first.
sync_look() {
	cat <<'SQL' | ask -v forest="$forest" -v before="$before" -v kind="$kind"
SELECT coalesce(
	(SELECT format('ended %s %s|', run, state) FROM hedgerow.sync_runs WHERE forest = :'forest' AND run > :'before'
		AND kind = :'kind' AND state <> 'running' ORDER BY run LIMIT 1),
	(SELECT format('run %s %s %s|', run, phase, number)
			|| CASE WHEN run > :'before' THEN '' ELSE 'first ' END || 'run ' || run || ': '
			|| CASE phase WHEN 'read' THEN 'read ' WHEN 'compare' THEN 'comparing ' ELSE 'applying ' END
			|| to_char(number, 'FM999,999,999')
			|| CASE WHEN phase = 'read' AND expected > number THEN to_char(expected, '" of about "FM999,999,999') ELSE '' END
			|| CASE WHEN phase = 'read' THEN to_char(per_second, '", "FM999,999,999" a second"') ELSE '' END
			|| CASE WHEN left_about >= '2 minutes' THEN format(', about %s min left', ceil(extract(epoch FROM left_about) / 60))
				WHEN left_about IS NOT NULL THEN format(', about %s s left', ceil(extract(epoch FROM left_about))) ELSE '' END
		FROM hedgerow.sync_progress WHERE forest = :'forest' ORDER BY run LIMIT 1),
	(SELECT CASE WHEN bool_and(state = 'no daemon') THEN 'none|no hedgerow-directory reports of this forest: waiting for one'
		ELSE 'waiting|waiting for hedgerow-directory' END FROM hedgerow.sync_contexts WHERE forest = :'forest'));
SQL
}

show_progress() { # TEXT; nothing: wipe it
	[ "$progress" = no ] || printf "\\r\\033[K%.${columns}s" "$*" >&2
}

# What a run did, in words
sync_outline() { # RUN
	cat <<'SQL' | ask -v run="$1"
SELECT format('run %s of %s: %s after %s s', run, forest, state, round(extract(epoch FROM took), 1)) || coalesce(': ' || error, '')
	FROM hedgerow.sync_runs WHERE run = :'run';
SELECT to_char(read, '"read "FM999,999,999" entries"')
	|| coalesce(CASE WHEN state IN ('previewed', 'held') THEN '; it would have ' ELSE ': ' END || what, '; nothing to change')
	|| CASE WHEN skipped > 0 THEN to_char(skipped, '"; no people: "FM999,999,999') ELSE '' END
	|| CASE WHEN refused > 0 THEN to_char(refused, '"; refused: "FM999,999,999') || ', see: hedgerow forest refused ' || forest ELSE '' END
	FROM hedgerow.sync_runs r CROSS JOIN LATERAL (
		SELECT string_agg(to_char(n, verb || ' FM999,999,999') || more, ', ' ORDER BY place) AS what
		FROM (VALUES (1, '"added"', r.added, ''), (3, '"removed"', r.removed, ''), (4, '"disabled"', r.disabled, ''),
			(2, '"changed"', r.changed, CASE WHEN r.readdressed > 0 THEN to_char(r.readdressed, '" ("FM999,999,999" with another address)"') ELSE '' END),
			(5, '"kept"', r.kept, ' as they were')) v (place, verb, n, more) WHERE n > 0) w
	WHERE run = :'run' AND state <> 'failed';
SQL
}

# The same, and the first of those to whom it did it, and what is next. What is held may have been held before.
sync_summary() { # RUN
	sync_outline "$1" && cat <<'SQL' | ask -v run="$1"
SELECT forest, CASE WHEN state = 'held' THEN coalesce((SELECT held_run FROM hedgerow.sync_status s WHERE s.forest = r.forest), run) ELSE run END AS told
	FROM hedgerow.sync_runs r WHERE run = :'run' \gset
SELECT format('%-8s %s%s', action, coalesce(address, anchor), coalesce(' (' || reason || ')',
		CASE WHEN action IN ('change', 'address', 'disable') THEN (SELECT ': ' || string_agg(format('%s %s -> %s', b.key,
			coalesce(before ->> b.key, '-'), coalesce(after ->> b.key, '-')), ', ' ORDER BY b.key)
			FROM jsonb_object_keys(after) b(key) WHERE before -> b.key IS DISTINCT FROM after -> b.key) END))
	FROM hedgerow.sync_differences WHERE run = :'told' ORDER BY action DESC, address LIMIT 20;
SELECT format('... and %s more: hedgerow forest show %s %s', to_char(count(*) - 20, 'FM999,999,999'), :'forest', :'told')
	FROM hedgerow.sync_differences WHERE run = :'told' HAVING count(*) > 20;
SELECT format('It waits for a decision: hedgerow forest held %s; then hedgerow forest release %1$s %2$s, or drop %1$s %2$s', :'forest', :'told')
	FROM hedgerow.sync_runs WHERE run = :'run' AND state = 'held';
SELECT format('It is tried again in %s s.', greatest(0, ceil(extract(epoch FROM s.next_run - now()))))
	FROM hedgerow.sync_runs r JOIN hedgerow.sync_status s ON s.forest = r.forest
	WHERE run = :'run' AND r.state = 'failed' AND r.kind = 'full' AND s.next_run IS NOT NULL;
SQL
}

# Waits until the run has ended; $found says how. Gives up when nothing has moved for $wait seconds.
sync_wait() {
	moved=
	earlier=
	while :; do
		found=$(sync_look) || return
		case $found in
		ended*) break ;;
		"$moved|"*) ticks=$((ticks - 1)) ;;
		*) moved=${found%%|*} ticks=$((wait * 5)) ;;
		esac
		show_progress "${found#*|}"
		if [ "$ticks" -le 0 ]; then
			show_progress
			case $found in
			run*) fail 1 "nothing has moved for $wait s; the run may go on: hedgerow forest runs $forest" ;;
			*) fail 1 "the run has not begun after $wait s; is hedgerow-directory running? See: hedgerow forest context list $forest" ;;
			esac
		fi
		case $found in *'|first run '*) earlier=${moved#run } earlier=${earlier%% *} ;; esac
		sleep 0.2
	done
	show_progress
	[ -z "$earlier" ] || [ "$json" = yes ] || sync_outline "$earlier"
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
	columns=$(stty size <&2 2>/dev/null | cut -d ' ' -f 2)
	columns=$((${columns:-0} > 1 ? columns - 1 : 79))
	before=$(printf '%s\n' "SELECT hedgerow.forest_sync(:'forest', dry_run => :'dry', draft => :'draft');" |
		ask -v forest="$forest" -v dry="$dry" -v draft="$draft") || return
	[ "$patient" = yes ] || { say "$command: asked for"; return 0; }
	trap 'show_progress; fail 130 "the run goes on: hedgerow forest runs $forest"' INT
	sync_wait || return
	trap 'exit 130' INT
	run=${found#ended }
	run=${run%% *}
	if [ "$json" = yes ] && [ "$dry" = true ]; then
		printf '%s' "SELECT action, address, anchor, before, after, reason FROM hedgerow.sync_differences WHERE run = :'run'" | print_query -v run="$run"
	elif [ "$json" = yes ]; then
		printf '%s' "SELECT * FROM hedgerow.sync_runs WHERE run = :'run'" | print_query -v run="$run"
	else
		sync_summary "$run"
	fi || return
	case $found in *' failed|' | *' held|') return 1 ;; esac
}
