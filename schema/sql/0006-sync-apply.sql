-- SPDX-License-Identifier: Apache-2.0
-- The doing of a run, and its record. `few` as in 0005-sync-compare.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- People ---------------------------------------------------------------------------------------------

CREATE FUNCTION sync_apply_people(f forest, few text[]) RETURNS void
LANGUAGE plpgsql
SET hedgerow.publishing = on
AS $$
DECLARE
	keys bigint[] := (SELECT array_agg(sync_key(f.forest, a)) FROM unnest(few) a);
BEGIN
	DELETE FROM sync_seen k WHERE k.key IN (SELECT sync_key(f.forest, c.anchor) FROM sync_change c)
		AND (keys IS NULL OR k.key = ANY (keys));
	IF EXISTS (SELECT FROM sync_change WHERE removed) THEN
		UPDATE person p SET state = 'deleted', changed_at = now()
		FROM sync_change c
		WHERE c.removed AND p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor
			AND (few IS NULL OR p.anchor = ANY (few));
	END IF;
	IF EXISTS (SELECT FROM sync_change WHERE known AND NOT removed) THEN
		UPDATE person p SET address = t.address, native = t.native, installation = t.installation, name = t.name, kind = t.kind,
			enabled = t.enabled, details = t.details, created_at = t.created_at, state = 'active', changed_at = now()
		FROM sync_change c JOIN sync_target t ON t.anchor = c.anchor
		WHERE c.known AND NOT c.removed AND p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor
			AND (few IS NULL OR p.anchor = ANY (few));
	END IF;
	IF EXISTS (SELECT FROM sync_change WHERE NOT known) THEN
		INSERT INTO person (site, forest, anchor, address, native, installation, name, kind, enabled, details, created_at)
		SELECT f.site, f.forest, t.anchor, t.address, t.native, t.installation, t.name, t.kind, t.enabled, t.details, t.created_at
		FROM sync_change c JOIN sync_target t ON t.anchor = c.anchor
		WHERE NOT c.known;
	END IF;
END $$;

-- All that is staged, into a forest without anybody. Returns how many people.
CREATE FUNCTION sync_add_all(f forest) RETURNS bigint
LANGUAGE plpgsql
SET hedgerow.publishing = on
AS $$
DECLARE
	added bigint;
BEGIN
	INSERT INTO person (site, forest, anchor, address, native, installation, name, kind, enabled, details, created_at)
	SELECT f.site, f.forest, t.anchor, t.address, t.native, t.installation, t.name, t.kind, t.enabled, t.details, t.created_at
	FROM sync_target t WHERE t.valid;
	GET DIAGNOSTICS added = ROW_COUNT;
	INSERT INTO alias (site, forest, anchor, address)
	SELECT f.site, f.forest, t.anchor, v FROM sync_target t CROSS JOIN unnest(t.aliases) AS u (v)
	WHERE t.valid AND t.aliases IS NOT NULL;
	RETURN added;
END $$;

-- What people were called until now, for those who have another address; before sync_apply_people.
CREATE FUNCTION sync_note_former(f forest, few text[]) RETURNS void
LANGUAGE plpgsql
SET hedgerow.publishing = on
AS $$
BEGIN
	INSERT INTO alias AS a (site, forest, anchor, address, until)
	SELECT p.site, p.forest, p.anchor, p.address, now() + s.time
	FROM sync_change c
	JOIN sync_target t ON t.anchor = c.anchor
	JOIN person p ON p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor AND (few IS NULL OR p.anchor = ANY (few))
	CROSS JOIN (SELECT value::interval AS time FROM setting WHERE name = 'former_address_time') s
	WHERE c.known AND NOT c.removed AND p.address <> t.address AND s.time > '0'
	ON CONFLICT ON CONSTRAINT alias_pkey DO UPDATE SET until = excluded.until WHERE a.until IS NOT NULL;
END $$;

-- The directory's aliases. One that was a former address is the directory's from now on; a former address
-- that is the person's address again is no alias.
CREATE FUNCTION sync_apply_aliases(f forest, few text[]) RETURNS void
LANGUAGE plpgsql
SET hedgerow.publishing = on
AS $$
BEGIN
	DELETE FROM alias a USING sync_change c JOIN sync_target t ON t.anchor = c.anchor
	WHERE NOT c.removed AND c.known AND a.site = f.site AND a.forest = f.forest AND a.anchor = c.anchor
		AND (few IS NULL OR a.anchor = ANY (few))
		AND CASE WHEN a.until IS NULL THEN a.address <> ALL (coalesce(t.aliases, '{}')) ELSE a.address = t.address END;
	INSERT INTO alias AS a (site, forest, anchor, address)
	SELECT f.site, f.forest, t.anchor, v
	FROM sync_change c JOIN sync_target t ON t.anchor = c.anchor CROSS JOIN unnest(t.aliases) AS u (v)
	WHERE NOT c.removed AND t.aliases IS NOT NULL
	ON CONFLICT ON CONSTRAINT alias_pkey DO UPDATE SET until = NULL WHERE a.until IS NOT NULL;
END $$;

-- Who was removed longer ago than the grace period is forgotten, and so are former addresses whose time
-- is over.
CREATE FUNCTION sync_forget(f forest) RETURNS void
LANGUAGE plpgsql
SET hedgerow.publishing = on
AS $$
DECLARE
	gone text[] := ARRAY(SELECT p.anchor FROM person p
		WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'deleted'
			AND p.changed_at < now() - (SELECT value::interval FROM setting WHERE name = 'person_grace'));
BEGIN
	DELETE FROM alias a WHERE a.site = f.site AND a.forest = f.forest AND (a.until < now() OR a.anchor = ANY (gone));
	IF gone <> '{}' THEN
		DELETE FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.anchor = ANY (gone);
	END IF;
END $$;

-- The record -----------------------------------------------------------------------------------------

CREATE FUNCTION sync_record_changes(number bigint, f forest, few text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO sync_difference (run, anchor, action, before, after, reason)
	SELECT number, c.anchor, c.action,
		CASE WHEN c.was_active THEN jsonb_build_object('address', p.address, 'native', p.native,
			'installation', p.installation, 'name', p.name, 'kind', p.kind, 'enabled', p.enabled, 'details', p.details,
			'created', p.created_at, 'aliases', a.addresses) END,
		CASE WHEN NOT c.removed THEN jsonb_build_object('address', t.address, 'native', t.native,
			'installation', t.installation, 'name', t.name, 'kind', t.kind, 'enabled', t.enabled, 'details', t.details,
			'created', t.created_at, 'aliases', t.aliases) END,
		CASE WHEN c.removed THEN CASE WHEN t.anchor IS NULL OR t.gone THEN 'no longer in the directory'
			WHEN t.problem IS NOT NULL THEN t.problem
			WHEN t.address IS NULL THEN 'no longer has an address'
			ELSE 'no longer a person by the mapping' END
		WHEN c.action = 'add' AND c.known THEN 'returned' END
	FROM sync_change c
	LEFT JOIN sync_target t ON t.anchor = c.anchor
	LEFT JOIN person p ON p.site = f.site AND p.forest = f.forest AND p.anchor = c.anchor AND (few IS NULL OR p.anchor = ANY (few))
	LEFT JOIN (SELECT anchor, array_agg(address ORDER BY address) AS addresses FROM alias
		WHERE site = f.site AND forest = f.forest AND until IS NULL AND (few IS NULL OR anchor = ANY (few))
		GROUP BY anchor) a ON a.anchor = c.anchor;
END $$;

-- Refusals that are new.
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

-- Returns how many refusals came or went. A changes run (`staged_only`) says nothing of other anchors.
CREATE FUNCTION sync_apply_refusals(f forest, staged_only boolean) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	gone bigint;
	fresh bigint;
BEGIN
	DELETE FROM sync_refused r WHERE r.site = f.site AND r.forest = f.forest
		AND (NOT staged_only OR EXISTS (SELECT FROM sync_target t WHERE t.anchor = r.anchor))
		AND NOT EXISTS (SELECT FROM sync_refusal n
			WHERE n.anchor = r.anchor AND n.field = r.field AND n.reason = r.reason);
	GET DIAGNOSTICS gone = ROW_COUNT;
	INSERT INTO sync_refused (site, forest, anchor, field, reason, dn)
	SELECT f.site, f.forest, n.anchor, n.field, n.reason, n.dn FROM sync_refusal n
	ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS fresh = ROW_COUNT;
	RETURN gone + fresh;
END $$;

-- The cursors that a run brought; those of contexts that are no longer are forgotten. Of a changes run the
-- number of entries stays as a full run found it.
CREATE FUNCTION sync_keep_positions(f forest, run_kind text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO sync_cursor AS c (site, forest, base_dn, method, server, incarnation, usn, cookie, entries)
	SELECT f.site, f.forest, p.base_dn, p.method, p.server, p.incarnation, p.usn, p.cookie, p.entries FROM sync_position p
	ON CONFLICT ON CONSTRAINT sync_cursor_pkey DO UPDATE SET method = excluded.method, server = excluded.server,
		incarnation = excluded.incarnation, usn = excluded.usn, cookie = excluded.cookie, updated_at = now(),
		entries = CASE WHEN run_kind = 'full' THEN excluded.entries ELSE c.entries END;
	IF run_kind = 'full' THEN
		DELETE FROM sync_cursor c WHERE c.site = f.site AND c.forest = f.forest AND c.base_dn <> f.base_dn
			AND NOT EXISTS (SELECT FROM naming_context n
				WHERE n.site = c.site AND n.forest = c.forest AND n.base_dn = c.base_dn);
	END IF;
END $$;
