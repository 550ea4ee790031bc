-- SPDX-License-Identifier: Apache-2.0
-- The guard sees who would lose the chat too: all people of a forest, when an attribute can no longer be
-- read, or when a second installation comes and nobody says whose it is.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- sync_target and person to sync_change: only what differs. The gravest that happens to a person is the
-- action; the guard counts each kind. Who loses the chat counts as disabled; who has another account there, or
-- loses all aliases, as readdressed: what is sent to them would reach nobody, or somebody else.
CREATE OR REPLACE FUNCTION sync_compare(f forest, few text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	IF few IS NULL AND NOT EXISTS (SELECT FROM sync_target WHERE NOT same) AND (SELECT count(*) FROM sync_target WHERE valid)
		= (SELECT count(*) FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active') THEN
		RETURN; -- all are as they were, and nobody is missing
	END IF;
	INSERT INTO sync_change
	SELECT d.anchor, CASE WHEN d.removed THEN 'remove' WHEN NOT d.was_active THEN 'add' WHEN d.disabled THEN 'disable'
		WHEN d.readdressed THEN 'address' ELSE 'change' END, d.known, d.was_active, d.removed, d.disabled, d.readdressed
	FROM (
		SELECT coalesce(t.anchor, p.anchor) AS anchor, p.anchor IS NOT NULL AS known,
			p.state IS NOT DISTINCT FROM 'active' AS was_active, t.anchor IS NULL AS removed,
			coalesce(p.state = 'active' AND p.enabled AND (NOT t.enabled
				OR p.native IS NOT NULL AND t.native IS NULL AND t.anchor IS NOT NULL), false) AS disabled,
			coalesce(p.state = 'active' AND (p.address <> t.address OR p.installation = t.installation
				AND split_part(p.native, '@', 1) <> split_part(t.native, '@', 1) OR p.aliases IS NOT NULL AND t.aliases IS NULL), false)
				AND t.anchor IS NOT NULL AS readdressed
		FROM (SELECT * FROM sync_target WHERE valid) t
		FULL JOIN (
			SELECT q.*, a.addresses AS aliases FROM person q
			LEFT JOIN (SELECT anchor, array_agg(address::text ORDER BY address) AS addresses FROM alias
				WHERE site = f.site AND forest = f.forest AND until IS NULL AND (few IS NULL OR anchor = ANY (few))
				GROUP BY anchor) a ON a.anchor = q.anchor
			WHERE q.site = f.site AND q.forest = f.forest AND (few IS NULL OR q.anchor = ANY (few))
		) p ON p.anchor = t.anchor
		WHERE CASE WHEN t.anchor IS NULL THEN p.state = 'active'
			WHEN t.same THEN false
			WHEN p.anchor IS NULL THEN true
			ELSE p.state <> 'active' OR p.address <> t.address OR p.enabled <> t.enabled OR p.kind <> t.kind
			OR (p.native, p.installation, p.name, p.created_at) IS DISTINCT FROM (t.native, t.installation, t.name, t.created_at)
			OR p.details <> t.details OR p.aliases IS DISTINCT FROM t.aliases END
	) d;
END $$;

-- What passes the guard; NULL: nothing. One by one counts as at once.
CREATE OR REPLACE FUNCTION sync_excess(f forest, people bigint, removed bigint, disabled bigint, readdressed bigint) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT string_agg(format('would %s %s of %s people%s; the guard allows %s or %s %%', c.verb, c.n, people,
		CASE WHEN c.before > 0 THEN format(' after %s of late', c.before) END, c.most, c.percent), '; ')
	FROM sync_recent(f) x CROSS JOIN LATERAL (VALUES
		('remove', sync_excess.removed, x.removed, (f).guard_delete_count, (f).guard_delete_percent),
		('disable or take from chat', sync_excess.disabled, x.disabled, (f).guard_disable_count, (f).guard_disable_percent),
		('change the address of', sync_excess.readdressed, x.readdressed, (f).guard_address_count, (f).guard_address_percent))
		c (verb, n, before, most, percent)
	WHERE c.n > 0 AND c.n + c.before > c.most AND (c.n + c.before) * 100 > c.percent * people);

-- The removals, disablings and new addresses in sync_change, and whether each has been decided: the run
-- last released or dropped would have done the same.
CREATE OR REPLACE FUNCTION sync_grave(f forest)
	RETURNS TABLE (anchor text, removed boolean, disabled boolean, readdressed boolean, decided boolean)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT c.anchor, c.removed, c.disabled, c.readdressed, d.anchor IS NOT NULL
	FROM sync_change c
	LEFT JOIN sync_target t ON t.anchor = c.anchor AND c.readdressed
	LEFT JOIN (SELECT x.anchor, x.action, x.after ->> 'address' AS address, x.after ->> 'native' AS native FROM sync_state s
		JOIN sync_difference x ON x.run = s.decided_run WHERE s.site = f.site AND s.forest = f.forest) d
		ON d.anchor = c.anchor AND d.action = c.action AND (NOT c.readdressed OR d.address = t.address AND d.native IS NOT DISTINCT FROM t.native)
	WHERE c.removed OR c.disabled OR c.readdressed;
END $$;
