-- SPDX-License-Identifier: Apache-2.0
-- What a run would change, whether it may, and its doing.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- sync_target and person to sync_change: only what differs.
CREATE FUNCTION sync_compare(f forest, staged_only boolean) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	CREATE TEMP TABLE sync_change ON COMMIT DROP AS
	SELECT coalesce(t.anchor, p.anchor) AS anchor,
		CASE WHEN t.anchor IS NULL THEN 'remove'
		WHEN p.anchor IS NULL OR p.state <> 'active' THEN 'add'
		WHEN p.enabled AND NOT t.enabled THEN 'disable'
		ELSE 'change' END AS action,
		p.anchor IS NOT NULL AS known, p.state IS NOT DISTINCT FROM 'active' AS was_active
	FROM (SELECT * FROM sync_target WHERE problem IS NULL) t
	FULL JOIN (
		SELECT q.*, a.addresses AS aliases FROM person q
		LEFT JOIN (SELECT anchor, array_agg(address ORDER BY address COLLATE "C") AS addresses
			FROM alias WHERE site = f.site AND forest = f.forest GROUP BY anchor) a ON a.anchor = q.anchor
		WHERE q.site = f.site AND q.forest = f.forest
	) p ON p.anchor = t.anchor
	WHERE (NOT staged_only OR EXISTS (SELECT FROM sync_staging s WHERE s.anchor = coalesce(t.anchor, p.anchor)))
		AND CASE WHEN t.anchor IS NULL THEN p.state = 'active'
		ELSE p.state IS DISTINCT FROM 'active' OR p.address IS DISTINCT FROM t.address
		OR p.native IS DISTINCT FROM t.native OR p.installation IS DISTINCT FROM t.installation
		OR p.name IS DISTINCT FROM t.name OR p.enabled IS DISTINCT FROM t.enabled
		OR p.aliases IS DISTINCT FROM t.aliases END;
END $$;

-- sync_refusal: every refusal that this answer gives rise to.
CREATE FUNCTION sync_refuse(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	CREATE TEMP TABLE sync_refusal ON COMMIT DROP AS
	SELECT DISTINCT r.anchor, split_part(r.text, ': ', 1) AS field,
		substr(r.text, strpos(r.text, ': ') + 2) AS reason
	FROM (
		SELECT s.anchor, v AS text FROM sync_staging s CROSS JOIN unnest(s.refused) AS u (v)
		WHERE s.refused IS NOT NULL
		UNION ALL
		SELECT anchor, problem FROM sync_target WHERE problem IS NOT NULL
		UNION ALL
		SELECT anchor, 'alias: ' || problem FROM sync_alias WHERE problem IS NOT NULL
		UNION ALL
		SELECT anchor, format('enabled: %s is neither yes nor no: not enabled', left(enabled_unknown, 100))
		FROM sync_target WHERE problem IS NULL AND enabled_unknown IS NOT NULL
		UNION ALL
		SELECT t.anchor, format('address: %s: the domain is not granted to this forest: not routed', t.address)
		FROM sync_target t LEFT JOIN email_domain d
			ON d.site = f.site AND d.forest = f.forest AND d.domain = split_part(t.address, '@', 2)
		WHERE t.problem IS NULL AND d.domain IS NULL
		UNION ALL
		SELECT a.anchor, format('alias: %s: the domain is not granted to this forest: not routed', a.address)
		FROM sync_alias a LEFT JOIN email_domain d
			ON d.site = f.site AND d.forest = f.forest AND d.domain = split_part(a.address, '@', 2)
		WHERE a.problem IS NULL AND d.domain IS NULL
	) r;
END $$;

-- Why this difference may not be applied now; NULL: it may. Removals that the operator has dropped
-- leave the difference here.
CREATE FUNCTION sync_guard(f forest, OUT reason text, OUT kept bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	people bigint;
	lost bigint;
	remain bigint;
	decided text;
	undecided bigint;
BEGIN
	kept := 0;
	SELECT count(*) INTO people FROM person
	WHERE site = f.site AND forest = f.forest AND state = 'active';
	SELECT r.state INTO decided FROM sync_state s JOIN sync_run r ON r.id = s.decided_run
	WHERE s.site = f.site AND s.forest = f.forest;
	SELECT count(*) INTO undecided FROM sync_change c
	WHERE c.action IN ('remove', 'disable') AND NOT EXISTS (
		SELECT FROM sync_state s JOIN sync_difference d ON d.run = s.decided_run
		WHERE s.site = f.site AND s.forest = f.forest AND d.anchor = c.anchor AND d.action = c.action);
	SELECT count(*) FILTER (WHERE action IN ('remove', 'disable')),
		people + count(*) FILTER (WHERE action = 'add') - count(*) FILTER (WHERE action = 'remove')
	INTO lost, remain FROM sync_change;

	IF decided = 'dropped' AND undecided = 0 AND lost > 0 THEN
		DELETE FROM sync_change WHERE action IN ('remove', 'disable');
		kept := lost;
	ELSIF decided = 'released' AND undecided = 0 THEN
		RETURN;
	ELSIF people > 0 AND remain = 0 THEN
		reason := format('would leave nobody of %s people', people);
	ELSIF lost > f.guard_count AND lost * 100 > f.guard_percent * people THEN
		reason := format('would remove or disable %s of %s people; the guard allows %s or %s %%',
			lost, people, f.guard_count, f.guard_percent);
	END IF;
END $$;

CREATE FUNCTION sync_apply(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	UPDATE person p SET state = 'deleted', changed_at = now()
	FROM sync_change c
	WHERE c.action = 'remove' AND p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor;

	UPDATE person p SET address = t.address, native = t.native, installation = t.installation,
		name = t.name, enabled = t.enabled, state = 'active', changed_at = now()
	FROM sync_change c JOIN sync_target t ON t.anchor = c.anchor
	WHERE c.known AND c.action <> 'remove'
		AND p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor;

	INSERT INTO person (site, forest, anchor, address, native, installation, name, enabled, state)
	SELECT f.site, f.forest, t.anchor, t.address, t.native, t.installation, t.name, t.enabled, 'active'
	FROM sync_change c JOIN sync_target t ON t.anchor = c.anchor
	WHERE NOT c.known;

	DELETE FROM alias a USING sync_change c JOIN sync_target t ON t.anchor = c.anchor
	WHERE c.action <> 'remove' AND a.site = f.site AND a.forest = f.forest AND a.anchor = c.anchor
		AND a.address <> ALL (coalesce(t.aliases, '{}'));
	INSERT INTO alias (site, forest, anchor, address)
	SELECT f.site, f.forest, t.anchor, v
	FROM sync_change c JOIN sync_target t ON t.anchor = c.anchor CROSS JOIN unnest(t.aliases) AS u (v)
	WHERE c.action <> 'remove'
	ON CONFLICT DO NOTHING;
END $$;

-- Writes down the difference of a run.
CREATE FUNCTION sync_record_changes(number bigint, f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO sync_difference (run, anchor, action, before, after, reason)
	SELECT number, c.anchor, c.action,
		CASE WHEN c.was_active THEN jsonb_build_object('address', p.address, 'native', p.native,
			'installation', p.installation, 'name', p.name, 'enabled', p.enabled,
			'aliases', (SELECT jsonb_agg(a.address ORDER BY a.address) FROM alias a
				WHERE a.site = f.site AND a.forest = f.forest AND a.anchor = c.anchor)) END,
		CASE WHEN c.action <> 'remove' THEN jsonb_build_object('address', t.address, 'native', t.native,
			'installation', t.installation, 'name', t.name, 'enabled', t.enabled,
			'aliases', to_jsonb(t.aliases)) END,
		CASE WHEN c.action = 'remove' THEN coalesce(t.problem, CASE WHEN s.anchor IS NULL
			OR s.gone THEN 'no longer in the directory' ELSE 'no longer has an address' END)
		WHEN c.action = 'add' AND p.anchor IS NOT NULL THEN 'returned' END
	FROM sync_change c
	LEFT JOIN sync_target t ON t.anchor = c.anchor
	LEFT JOIN sync_staging s ON s.anchor = c.anchor
	LEFT JOIN person p ON p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor;
END $$;

-- Writes down the refusals that are new.
CREATE FUNCTION sync_record_refusals(number bigint, f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO sync_difference (run, anchor, action, reason)
	SELECT number, n.anchor, 'refuse', n.field || ': ' || n.reason
	FROM sync_refusal n
	WHERE NOT EXISTS (SELECT FROM sync_refused r WHERE r.site = f.site AND r.forest = f.forest
		AND r.anchor = n.anchor AND r.field = n.field AND r.reason = n.reason);
END $$;

CREATE FUNCTION sync_apply_refusals(f forest, staged_only boolean) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	gone bigint;
	fresh bigint;
BEGIN
	DELETE FROM sync_refused r WHERE r.site = f.site AND r.forest = f.forest
	AND (NOT staged_only OR EXISTS (SELECT FROM sync_staging s WHERE s.anchor = r.anchor))
	AND NOT EXISTS (SELECT FROM sync_refusal n
		WHERE n.anchor = r.anchor AND n.field = r.field AND n.reason = r.reason);
	GET DIAGNOSTICS gone = ROW_COUNT;
	INSERT INTO sync_refused (site, forest, anchor, field, reason)
	SELECT f.site, f.forest, n.anchor, n.field, n.reason FROM sync_refusal n
	WHERE NOT EXISTS (SELECT FROM sync_refused r WHERE r.site = f.site AND r.forest = f.forest
		AND r.anchor = n.anchor AND r.field = n.field AND r.reason = n.reason);
	GET DIAGNOSTICS fresh = ROW_COUNT;
	RETURN gone + fresh;
END $$;

CREATE FUNCTION sync_forget(f forest) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
	CREATE TEMP TABLE sync_gone ON COMMIT DROP AS
	SELECT p.anchor FROM person p
	WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'deleted'
		AND p.changed_at < now() - (SELECT value::interval FROM setting WHERE name = 'person_grace');
	IF NOT EXISTS (SELECT FROM sync_gone) THEN
		RETURN false;
	END IF;
	DELETE FROM alias a USING sync_gone g
	WHERE a.site = f.site AND a.forest = f.forest AND a.anchor = g.anchor;
	DELETE FROM person p USING sync_gone g
	WHERE p.site = f.site AND p.forest = f.forest AND p.anchor = g.anchor;
	RETURN true;
END $$;

-- An entry that a changing directory gave twice counts once, as given last.
CREATE FUNCTION sync_distinct_staging() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	IF EXISTS (SELECT FROM sync_staging GROUP BY anchor HAVING count(*) > 1) THEN
		DELETE FROM sync_staging s USING (SELECT anchor, max(ctid) AS last FROM sync_staging
			GROUP BY anchor HAVING count(*) > 1) d
		WHERE d.anchor = s.anchor AND s.ctid <> d.last;
	END IF;
END $$;

-- A difference that is held already is not written down again.
CREATE FUNCTION sync_hold(number bigint, f forest) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	hash bigint;
BEGIN
	SELECT coalesce(sum(hashtextextended(c.anchor || ' ' || c.action || ' ' || coalesce(t::text, ''), 0) >> 8), 0)
		% 4611686018427387904
	INTO hash FROM sync_change c LEFT JOIN sync_target t ON t.anchor = c.anchor;
	IF EXISTS (SELECT FROM sync_state s JOIN sync_run h ON h.id = s.held_run
		WHERE s.site = f.site AND s.forest = f.forest AND h.difference = hash) THEN
		RETURN hash;
	END IF;
	PERFORM sync_record_changes(number, f), sync_record_refusals(number, f);
	UPDATE sync_state SET held_run = number WHERE site = f.site AND forest = f.forest;
	RETURN hash;
END $$;

-- Applies the difference; returns the state that the run ends in.
CREATE FUNCTION sync_commit(r sync_run, f forest, first_import boolean) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	changes boolean := EXISTS (SELECT FROM sync_change);
	refusals bigint;
BEGIN
	IF NOT first_import THEN
		PERFORM sync_record_changes(r.id, f);
	END IF;
	PERFORM sync_record_refusals(r.id, f);
	IF changes THEN
		PERFORM sync_apply(f);
	END IF;
	refusals := sync_apply_refusals(f, r.kind = 'changes');
	PERFORM sync_forget(f);
	-- A decision is over with the run that uses it, but people stay kept while they are missing.
	UPDATE sync_state s SET held_run = NULL, decided_run = CASE WHEN r.kept > 0 THEN s.decided_run END
	WHERE s.site = f.site AND s.forest = f.forest;
	RETURN CASE WHEN changes OR refusals > 0 THEN 'applied' ELSE 'unchanged' END;
END $$;

-- Writes the end of a run down and sets the time of the next. The session keeps the lease until this is
-- committed, or the run would look dead.
