-- SPDX-License-Identifier: Apache-2.0
-- What operators see of the publishing of directories.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

CREATE VIEW sync_runs AS
	SELECT id AS run, forest, kind, state, started, finished - started AS took, read, skipped, added, changed, readdressed,
		removed, disabled, kept, refused, mapping_version, error, node
	FROM sync_run ORDER BY id DESC;
COMMENT ON VIEW sync_runs IS 'The runs of the directory daemon, newest first';

CREATE VIEW sync_differences AS
	SELECT d.run, r.forest, r.state, d.anchor, d.action, coalesce(d.after, d.before) ->> 'address' AS address,
		d.before, d.after, d.reason
	FROM sync_difference d JOIN sync_run r ON r.id = d.run
	ORDER BY d.run DESC, d.action, d.anchor;
COMMENT ON VIEW sync_differences IS 'What each run changed, would change (dry run) or is held for';

CREATE VIEW sync_held AS
	SELECT r.forest, r.id AS run, r.started, r.error AS why, r.added, r.changed, r.readdressed, r.removed, r.disabled,
		d.action, d.anchor, coalesce(d.after, d.before) ->> 'address' AS address, d.before, d.after, d.reason
	FROM sync_state s JOIN sync_run r ON r.id = s.held_run LEFT JOIN sync_difference d ON d.run = r.id
	ORDER BY r.forest, d.action DESC, d.anchor;
COMMENT ON VIEW sync_held IS 'Runs that wait for a decision, each with all of its difference';

CREATE VIEW sync_refusals AS
	SELECT r.forest, r.anchor, r.dn, p.address, r.field, r.reason, r.since
	FROM sync_refused r LEFT JOIN person p ON p.site = r.site AND p.forest = r.forest AND p.anchor = r.anchor
	ORDER BY r.forest, r.dn, r.anchor, r.field;
COMMENT ON VIEW sync_refusals IS 'Directory values and entries that are not published now, and why';

CREATE VIEW sync_errors AS
	SELECT r.forest, r.error AS cause, count(*) AS runs, min(r.finished) AS first, max(r.finished) AS last,
		coalesce(max(r.finished) < s.last_good, false) AS over
	FROM sync_run r LEFT JOIN sync_state s ON s.site = r.site AND s.forest = r.forest
	WHERE r.state = 'failed'
	GROUP BY r.forest, r.error, s.last_good
	ORDER BY max(r.finished) DESC;
COMMENT ON VIEW sync_errors IS 'Why runs failed, each cause once; over: a run has been good since';

CREATE VIEW sync_contexts AS
	SELECT f.forest, c.base_dn, c.urls, coalesce(t.state, 'no daemon') AS state, t.since, t.detail, t.node,
		k.method, k.server, k.incarnation, k.usn, octet_length(k.cookie) AS cookie_bytes, k.entries, k.updated_at
	FROM forest f
	CROSS JOIN LATERAL (SELECT f.base_dn, f.urls
		UNION ALL SELECT n.base_dn, n.urls FROM naming_context n WHERE n.site = f.site AND n.forest = f.forest) c
	LEFT JOIN sync_cursor k ON k.site = f.site AND k.forest = f.forest AND k.base_dn = c.base_dn
	-- of several daemons one has the lease; the others say standby of the whole forest
	LEFT JOIN LATERAL (SELECT * FROM status u WHERE u.kind = 'forest' AND u.name = f.forest || '/' || c.base_dn
		AND u.seen_at > now() - interval '30 seconds' ORDER BY u.seen_at DESC LIMIT 1) t ON true
	WHERE f.site = (SELECT l.site FROM local_site l)
	ORDER BY f.forest, c.base_dn <> f.base_dn, c.base_dn;
COMMENT ON VIEW sync_contexts IS 'Each domain or suffix of this site''s forests: whether it is followed, and how far its changes have been taken';

-- What the daemon says of itself in its application_name; see sync_tell.
CREATE VIEW sync_progress AS
	SELECT p.run, r.forest, r.kind, p.phase, p.number, p.took,
		(p.number / greatest(extract(epoch FROM p.took), 0.001))::bigint AS per_second, e.read AS expected,
		CASE WHEN p.phase = 'read' AND p.number > 0 AND e.read > 0 THEN
			make_interval(secs => greatest(e.read - p.number, 0) * extract(epoch FROM p.took) / p.number) + e.ending
		WHEN p.phase <> 'read' THEN e.ending END AS left_about
	FROM (
		SELECT split_part(a.application_name, ' ', 3)::bigint AS run, split_part(a.application_name, ' ', 4) AS phase,
			split_part(a.application_name, ' ', 5)::bigint AS number, clock_timestamp() - r.started AS took
		FROM pg_stat_activity a
		JOIN sync_run r ON r.id = split_part(a.application_name, ' ', 3)::bigint
		WHERE a.application_name ~ '^hedgerow-directory run [0-9]{1,18} [a-z]+ [0-9]{1,18}$' AND a.datname = current_database()) p
	JOIN sync_run r ON r.id = p.run
	LEFT JOIN LATERAL (SELECT l.read, l.finished - l.staged AS ending FROM sync_run l
		WHERE l.site = r.site AND l.forest = r.forest AND l.kind <> 'changes' AND l.staged IS NOT NULL AND l.id < r.id
		ORDER BY l.id DESC LIMIT 1) e ON true;
COMMENT ON VIEW sync_progress IS 'What a run under way is doing: read, compare or apply, how many, how fast, and for how long yet';

CREATE VIEW sync_status AS
	SELECT f.forest, f.kind, last.state, last.started AS last_run, s.last_good,
		CASE WHEN c.followed THEN interval '0' ELSE now() - coalesce(c.lost, s.last_good) END AS lag, whole.finished AS last_full,
		CASE WHEN last.state = 'running' THEN NULL WHEN s.wants_full THEN now() ELSE coalesce(s.next_run, now()) END AS next_run,
		c.changes_by,
		s.held_run, s.failures, coalesce(c.trouble, last.error) AS error,
		(SELECT count(*) FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active') AS people,
		(SELECT count(*) FROM sync_refused x WHERE x.site = f.site AND x.forest = f.forest) AS refused,
		whole.kept, f.mapping_version
	FROM forest f
	LEFT JOIN sync_state s ON s.site = f.site AND s.forest = f.forest
	LEFT JOIN LATERAL (SELECT * FROM sync_run r WHERE r.site = f.site AND r.forest = f.forest
		AND r.kind <> 'dry-run' ORDER BY r.id DESC LIMIT 1) last ON true
	LEFT JOIN sync_run whole ON whole.id = s.last_full
	LEFT JOIN LATERAL (SELECT bool_and(x.state = 'followed') AS followed,
			min(x.since) FILTER (WHERE x.state IN ('lost', 'refused')) AS lost,
			string_agg(DISTINCT x.detail, '; ') FILTER (WHERE x.state IN ('lost', 'refused')) AS trouble,
			string_agg(DISTINCT coalesce(x.method || ' ', '') || CASE WHEN x.state = 'followed' THEN x.server
				ELSE x.state END, ', ') AS changes_by
		FROM sync_contexts x WHERE x.forest = f.forest) c ON true
	WHERE f.site = (SELECT l.site FROM local_site l)
	ORDER BY 1;
COMMENT ON VIEW sync_status IS 'Each forest of this site: its last run, its next, and what waits for a decision';

GRANT SELECT ON sync_runs, sync_differences, sync_held, sync_refusals, sync_errors, sync_contexts, sync_progress, sync_status
	TO hedgerow_operator, hedgerow_reader, hedgerow_directory;
