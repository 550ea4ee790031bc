# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow status: the site on one screen

commands <<'TABLE'
status|status|||sites, links, streams, queues and held runs on one screen
TABLE

section() { # TITLE QUERY
	printf '%s\n' "$1"
	printf '%s;\n' "$2" | sql -P null=- -P border=0 -P expanded=off
}

cmd_status() {
	eval "$parse"
	if [ "$json" = yes ]; then
		cat <<'SQL' | ask
SELECT json_build_object('site', hedgerow.local_site(),
	'sites', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.sites t),
	'subscriptions', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.subscriptions t),
	'gateways', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.gateway_status t),
	'links', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.link_status t),
	'streams', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.stream_status t),
	'queues', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.queues t),
	'forests', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.sync_status t),
	'trespasses', (SELECT coalesce(json_agg(t), '[]') FROM hedgerow.trespasses t),
	'dead_letters', (SELECT count(*) FROM hedgerow.dead_letters));
SQL
		return
	fi
	section SITES "SELECT s.site, CASE WHEN s.local THEN 'here' WHEN u.site IS NULL THEN 'not joined'
			WHEN NOT u.enabled THEN 'disabled' WHEN NOT u.connected THEN 'not connected'
			WHEN NOT u.complete THEN 'first copy' ELSE 'joined' END AS registry, s.valid_keys AS keys, s.forests, s.installations
		FROM hedgerow.sites s LEFT JOIN hedgerow.subscriptions u ON u.site = s.site" || return
	section GATEWAYS "SELECT node, CASE WHEN running THEN 'running' ELSE 'stopped' END AS state,
		date_trunc('second', started_at) AS started, streams, links FROM hedgerow.gateway_status" || return
	section LINKS "SELECT peer, state, date_trunc('second', since) AS since, queued, node, detail FROM hedgerow.link_status" || return
	section STREAMS "SELECT installation, domain, state, date_trunc('second', since) AS since, queued, node, detail FROM hedgerow.stream_status" || return
	section 'QUEUES WITH SOMETHING IN THEM' "SELECT queue, depth, served FROM hedgerow.queues WHERE depth > 0" || return
	section FORESTS "SELECT forest, people, state, date_trunc('second', last_good) AS last_good, changes_by AS changes,
		date_trunc('second', lag) AS lag, refused,
		CASE WHEN held_run IS NOT NULL THEN 'run ' || held_run || ' is HELD: hedgerow forest release or drop ' || forest END AS held, error
		FROM hedgerow.sync_status" || return
	count=$(printf 'SELECT count(*) FROM hedgerow.dead_letters;\n' | ask) || return
	[ "$count" = 0 ] || say "$count dead letters: hedgerow deadletter list"
	printf '%s\n' "SELECT site || ' publishes rows in the name of others, which are passed over: hedgerow trespass list'
		FROM (SELECT DISTINCT site FROM hedgerow.trespasses) t ORDER BY 1;" | ask
}
