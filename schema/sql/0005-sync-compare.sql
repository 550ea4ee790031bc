-- SPDX-License-Identifier: Apache-2.0
-- What a run would change, and whether it may. The functions are parts of sync_finish and count on its
-- settings. `few`: the anchors that alone matter, which are then found by index; NULL: all.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- An entry that a changing directory gave twice counts once, as given last.
CREATE FUNCTION sync_distinct() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	DELETE FROM sync_target t
	USING (SELECT anchor, max(given) AS last FROM sync_target GROUP BY anchor HAVING count(*) > 1) twice
	WHERE t.anchor = twice.anchor AND t.given <> twice.last;
END $$;

-- sync_target and person to sync_change: only what differs. The gravest that happens to a person is the
-- action; the guard counts each kind.
CREATE FUNCTION sync_compare(f forest, few text[]) RETURNS void
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
			coalesce(p.state = 'active' AND p.enabled AND NOT t.enabled, false) AS disabled,
			coalesce(p.state = 'active' AND p.address <> t.address, false) AS readdressed
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

-- sync_refusal: what this answer refuses.
CREATE FUNCTION sync_refuse() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO sync_refusal
	SELECT DISTINCT t.anchor, split_part(v, ': ', 1), substr(v, strpos(v, ': ') + 2), t.dn
	FROM sync_target t CROSS JOIN unnest(t.refusals) u (v) WHERE t.refusals IS NOT NULL;
END $$;

-- The guard ----------------------------------------------------------------------------------------

-- What changes runs have done to people since the last decision, or within guard_window.
CREATE FUNCTION sync_recent(f forest, OUT removed bigint, OUT disabled bigint, OUT readdressed bigint)
LANGUAGE sql STABLE
AS $$
	SELECT coalesce(sum(r.removed), 0)::bigint, coalesce(sum(r.disabled), 0)::bigint, coalesce(sum(r.readdressed), 0)::bigint
	FROM sync_run r WHERE r.site = f.site AND r.forest = f.forest AND r.kind = 'changes' AND r.state = 'applied'
		AND r.finished > greatest((SELECT s.decided_at FROM sync_state s WHERE s.site = f.site AND s.forest = f.forest),
			clock_timestamp() - (SELECT value::interval FROM setting WHERE name = 'guard_window'))
$$;

-- What passes the guard; NULL: nothing. One by one counts as at once.
CREATE FUNCTION sync_excess(f forest, people bigint, removed bigint, disabled bigint, readdressed bigint) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT string_agg(format('would %s %s of %s people%s; the guard allows %s or %s %%', c.verb, c.n, people,
		CASE WHEN c.before > 0 THEN format(' after %s of late', c.before) END, c.most, c.percent), '; ')
	FROM sync_recent(f) x CROSS JOIN LATERAL (VALUES
		('remove', sync_excess.removed, x.removed, (f).guard_delete_count, (f).guard_delete_percent),
		('disable', sync_excess.disabled, x.disabled, (f).guard_disable_count, (f).guard_disable_percent),
		('change the address of', sync_excess.readdressed, x.readdressed, (f).guard_address_count, (f).guard_address_percent))
		c (verb, n, before, most, percent)
	WHERE c.n > 0 AND c.n + c.before > c.most AND (c.n + c.before) * 100 > c.percent * people);

-- The removals, disablings and new addresses in sync_change, and whether each has been decided: the run
-- last released or dropped would have done the same.
CREATE FUNCTION sync_grave(f forest)
	RETURNS TABLE (anchor text, removed boolean, disabled boolean, readdressed boolean, decided boolean)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT c.anchor, c.removed, c.disabled, c.readdressed, d.anchor IS NOT NULL
	FROM sync_change c
	LEFT JOIN sync_target t ON t.anchor = c.anchor AND c.readdressed
	LEFT JOIN (SELECT x.anchor, x.action, x.after ->> 'address' AS address FROM sync_state s
		JOIN sync_difference x ON x.run = s.decided_run WHERE s.site = f.site AND s.forest = f.forest) d
		ON d.anchor = c.anchor AND d.action = c.action AND (d.address = t.address OR NOT c.readdressed)
	WHERE c.removed OR c.disabled OR c.readdressed;
END $$;

-- Leaves the people of grave changes as they are; their entries have not been seen, then.
CREATE FUNCTION sync_leave_out() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	UPDATE sync_target t SET digest = NULL FROM sync_change c WHERE c.anchor = t.anchor AND (c.disabled OR c.readdressed);
	DELETE FROM sync_change WHERE removed OR disabled OR readdressed;
END $$;

-- Whether the difference of a full run may be applied: `reason` says why not. What the operator has
-- dropped leaves the difference here; once there is anything else of that kind, all of it is asked about
-- again. What was released does not count.
CREATE FUNCTION sync_guard(f forest, OUT reason text, OUT kept bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	people bigint;
	stay boolean;
	decision text := (SELECT r.state FROM sync_state s JOIN sync_run r ON r.id = s.decided_run
		WHERE s.site = f.site AND s.forest = f.forest);
	g record;
BEGIN
	kept := 0;
	SELECT count(*) AS grave, count(*) FILTER (WHERE NOT decided) AS open,
		count(*) FILTER (WHERE x.removed AND NOT (decided AND released)) AS removed,
		count(*) FILTER (WHERE x.disabled AND NOT (decided AND released)) AS disabled,
		count(*) FILTER (WHERE x.readdressed AND NOT (decided AND released)) AS readdressed
	INTO g FROM sync_grave(f) x CROSS JOIN (SELECT decision IS NOT DISTINCT FROM 'released' AS released) d;
	IF g.grave = 0 THEN
		RETURN;
	ELSIF decision = 'dropped' AND g.open = 0 THEN
		PERFORM sync_leave_out();
		kept := g.grave;
		RETURN;
	END IF;
	SELECT count(*) INTO people FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active';
	SELECT people + count(*) FILTER (WHERE action = 'add') > count(*) FILTER (WHERE c.removed) INTO stay FROM sync_change c;
	reason := CASE WHEN NOT stay AND g.removed > 0 THEN format('would leave nobody of %s people', people)
		ELSE sync_excess(f, people, g.removed, g.disabled, g.readdressed) END;
END $$;

-- Who has left one naming context may be in another by now, as changes alone do not tell.
CREATE FUNCTION sync_leave_out_moved(f forest) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	n bigint := 0;
BEGIN
	IF EXISTS (SELECT FROM naming_context c WHERE c.site = f.site AND c.forest = f.forest) THEN
		DELETE FROM sync_change c USING sync_target t WHERE c.removed AND t.anchor = c.anchor AND t.gone;
		GET DIAGNOSTICS n = ROW_COUNT;
	END IF;
	RETURN n;
END $$;

-- The same for a changes run, which is never held: what may not be done is left to a full run.
CREATE FUNCTION sync_guard_changes(f forest, OUT kept bigint, OUT wants_full boolean)
LANGUAGE plpgsql
AS $$
DECLARE
	people bigint;
	st record;
	g record;
BEGIN
	kept := sync_leave_out_moved(f);
	wants_full := kept > 0;
	SELECT s.held_run, r.state = 'dropped' AS dropped, r.state = 'released' AS released INTO st
	FROM sync_state s LEFT JOIN sync_run r ON r.id = s.decided_run WHERE s.site = f.site AND s.forest = f.forest;
	SELECT count(*) AS grave, count(*) FILTER (WHERE NOT decided) AS open,
		count(*) FILTER (WHERE x.removed AND NOT (decided AND st.released)) AS removed,
		count(*) FILTER (WHERE x.disabled AND NOT (decided AND st.released)) AS disabled,
		count(*) FILTER (WHERE x.readdressed AND NOT (decided AND st.released)) AS readdressed
	INTO g FROM sync_grave(f) x;
	IF g.grave = 0 THEN
		RETURN;
	ELSIF st.held_run IS NULL AND st.dropped IS NOT TRUE THEN
		SELECT count(*) INTO people FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active';
		IF people > (SELECT count(*) FROM sync_change c WHERE c.removed) AND sync_excess(f, people, g.removed, g.disabled, g.readdressed) IS NULL THEN
			RETURN;
		END IF;
	END IF;
	PERFORM sync_leave_out();
	kept := kept + g.grave;
	wants_full := wants_full OR g.open > 0 OR st.dropped IS NOT TRUE;
END $$;
