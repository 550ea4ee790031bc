-- SPDX-License-Identifier: Apache-2.0
-- What operators do with runs and mappings, and see of them.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Asks the directory daemon for a run now. Returns the number of the newest run so far: the run asked
-- for has a higher one. The request waits in the database when no daemon is listening. `draft`: by the
-- draft of the mapping, which goes with a dry run only.
CREATE FUNCTION forest_sync(forest text, dry_run boolean DEFAULT false, draft boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(forest_sync.forest);
BEGIN
	IF forest_sync.draft AND NOT forest_sync.dry_run THEN
		PERFORM refuse('a draft of the mapping can only be tried in a dry run',
			format('put it in use: hedgerow mapping apply %s; or try it: hedgerow mapping preview %1$s', f.forest));
	ELSIF forest_sync.draft AND draft_version(f) IS NULL THEN
		PERFORM refuse_no_draft(f.forest);
	END IF;
	INSERT INTO sync_state AS s (site, forest, wants_full, wants_dry_run, wants_draft)
	VALUES (f.site, f.forest, NOT forest_sync.dry_run, forest_sync.dry_run, forest_sync.draft)
	ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET
		wants_full = s.wants_full OR excluded.wants_full,
		wants_dry_run = s.wants_dry_run OR excluded.wants_dry_run,
		wants_draft = CASE WHEN excluded.wants_dry_run THEN excluded.wants_draft ELSE s.wants_draft END;
	PERFORM pg_notify('hedgerow_sync', f.forest);
	RETURN coalesce((SELECT max(r.id) FROM sync_run r WHERE r.site = f.site AND r.forest = f.forest), 0);
END $$;

-- Held runs ------------------------------------------------------------------------------------------

CREATE FUNCTION sync_decide(forest_name text, meant bigint, decision text) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(forest_name);
	held bigint;
BEGIN
	SELECT s.held_run INTO held FROM sync_state s
	WHERE s.site = f.site AND s.forest = f.forest FOR UPDATE;
	IF held IS NULL THEN
		PERFORM refuse(format('forest "%s" has no held run', forest_name),
			'see: hedgerow forest runs ' || f.forest);
	ELSIF meant <> held THEN
		PERFORM refuse(format('run %s of forest "%s" is held, not run %s', held, f.forest, meant),
			format('the difference has changed since; look at it: hedgerow forest held %s', f.forest));
	END IF;
	UPDATE sync_run SET state = decision WHERE id = held;
	UPDATE sync_state SET held_run = NULL, decided_run = held, decided_at = clock_timestamp()
	WHERE site = f.site AND forest = f.forest;
	RETURN forest_sync(f.forest);
END $$;

-- Decides on the held run of a forest; with `run`, only when it is that one. Released: the next run applies its difference; what is new in it
-- counts against the guard alone. Dropped: the people whom it would have removed, disabled or given
-- another address stay as they are until the directory says otherwise of them, or of others too. Both
-- ask for a run at once.
CREATE FUNCTION release_run(forest text, run bigint DEFAULT NULL) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, hedgerow, pg_temp
AS $$ SELECT sync_decide($1, $2, 'released') $$;

CREATE FUNCTION drop_run(forest text, run bigint DEFAULT NULL) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, hedgerow, pg_temp
AS $$ SELECT sync_decide($1, $2, 'dropped') $$;

-- Mappings -------------------------------------------------------------------------------------------

CREATE FUNCTION refuse_no_draft(forest text) RETURNS void
LANGUAGE sql
AS $$
	SELECT refuse(format('the mapping of forest "%s" has no draft', forest), 'mapping add, set and remove make one: hedgerow mapping help')
$$;

-- The version that is edited. A new one begins as a copy of that in use.
CREATE FUNCTION begin_draft(forest_name text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(forest_name);
	draft int := draft_version(f);
BEGIN
	IF draft IS NULL THEN
		draft := f.mapping_version + 1;
		PERFORM set_config('hedgerow.copying', 'on', true);
		INSERT INTO mapping (site, forest, version, field, ordinal, attribute, pattern, replacement, fold)
		SELECT m.site, m.forest, draft, m.field, m.ordinal, m.attribute, m.pattern, m.replacement, m.fold
		FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.version = f.mapping_version;
		PERFORM set_config('hedgerow.copying', '', true);
	END IF;
	RETURN draft;
END $$;

-- ordinal NULL: after those that the field has.
CREATE FUNCTION add_mapping(forest text, field text, attribute text DEFAULT NULL, pattern text DEFAULT '^(.*)$',
	replacement text DEFAULT '\1', ordinal int DEFAULT NULL, fold text DEFAULT 'none') RETURNS mapping
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(add_mapping.forest);
	draft int := begin_draft(f.forest);
	made mapping;
BEGIN
	INSERT INTO mapping (site, forest, version, field, ordinal, attribute, pattern, replacement, fold)
		VALUES (f.site, f.forest, draft, add_mapping.field, coalesce(add_mapping.ordinal,
				(SELECT max(m.ordinal) + 1 FROM mapping m WHERE m.site = f.site AND m.forest = f.forest
					AND m.version = draft AND m.field = add_mapping.field), 1),
			add_mapping.attribute, add_mapping.pattern, add_mapping.replacement, add_mapping.fold)
		RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM refuse(format('field %s of forest "%s" has a mapping %s already', field, forest, ordinal),
		format('change it with: hedgerow mapping set %s %s', forest, field));
END $$;

-- The mapping of that ordinal, or a new one.
CREATE FUNCTION set_mapping(forest text, field text, attribute text DEFAULT NULL, pattern text DEFAULT '^(.*)$',
	replacement text DEFAULT '\1', ordinal int DEFAULT 1, fold text DEFAULT 'none') RETURNS mapping
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(set_mapping.forest);
	draft int := begin_draft(f.forest);
	made mapping;
BEGIN
	INSERT INTO mapping AS m (site, forest, version, field, ordinal, attribute, pattern, replacement, fold)
		VALUES (f.site, f.forest, draft, set_mapping.field, set_mapping.ordinal, set_mapping.attribute,
			set_mapping.pattern, set_mapping.replacement, set_mapping.fold)
		ON CONFLICT ON CONSTRAINT mapping_pkey DO UPDATE SET attribute = excluded.attribute,
			pattern = excluded.pattern, replacement = excluded.replacement, fold = excluded.fold
		RETURNING m.* INTO made;
	RETURN made;
END $$;

-- ordinal NULL: all of the field.
CREATE FUNCTION remove_mapping(forest text, field text, ordinal int DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(remove_mapping.forest);
	draft int := begin_draft(f.forest);
BEGIN
	DELETE FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.version = draft
		AND m.field = remove_mapping.field AND m.ordinal = coalesce(remove_mapping.ordinal, m.ordinal);
	IF NOT FOUND THEN
		PERFORM refuse(format('forest "%s" has no such mapping of field %s', forest, field), 'see: hedgerow mapping list');
	END IF;
END $$;

-- The draft becomes the usual mapping of the kind of forest.
CREATE FUNCTION reset_mapping(forest text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(reset_mapping.forest);
	draft int := begin_draft(f.forest);
BEGIN
	DELETE FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.version = draft
		AND NOT EXISTS (SELECT FROM usual_mapping(f.kind) u WHERE u.field = m.field AND u.ordinal = m.ordinal);
	INSERT INTO mapping AS m (site, forest, version, field, ordinal, attribute, pattern, replacement, fold)
		SELECT f.site, f.forest, draft, u.* FROM usual_mapping(f.kind) u
		ON CONFLICT ON CONSTRAINT mapping_pkey DO UPDATE SET attribute = excluded.attribute,
			pattern = excluded.pattern, replacement = excluded.replacement, fold = excluded.fold
		WHERE (m.attribute, m.pattern, m.replacement, m.fold)
			IS DISTINCT FROM (excluded.attribute, excluded.pattern, excluded.replacement, excluded.fold);
END $$;

-- Puts the draft in use; a full run follows at once. Returns its version.
CREATE FUNCTION apply_mapping(forest text) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(apply_mapping.forest);
	draft int := draft_version(f);
BEGIN
	IF draft IS NULL THEN
		PERFORM refuse_no_draft(f.forest);
	ELSIF NOT EXISTS (SELECT FROM mapping m WHERE m.site = f.site AND m.forest = f.forest
		AND m.version = draft AND m.field = 'address') THEN
		PERFORM refuse(format('the draft of the mapping of forest "%s" maps no address', f.forest),
			'say which attribute holds the e-mail address: hedgerow mapping add');
	END IF;
	UPDATE forest t SET mapping_version = draft WHERE t.site = f.site AND t.forest = f.forest;
	RETURN draft;
END $$;

CREATE FUNCTION discard_mapping(forest text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(discard_mapping.forest);
BEGIN
	DELETE FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.version > f.mapping_version;
	IF NOT FOUND THEN
		PERFORM refuse_no_draft(f.forest);
	END IF;
END $$;

-- Naming contexts --------------------------------------------------------------------------------------

CREATE FUNCTION add_context(forest text, base_dn text, urls text[]) RETURNS naming_context
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	made naming_context;
BEGIN
	INSERT INTO naming_context (site, forest, base_dn, urls)
		VALUES (local_site(), add_context.forest, add_context.base_dn, add_context.urls) RETURNING * INTO made;
	RETURN made;
END $$;

CREATE FUNCTION remove_context(forest text, base_dn text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(remove_context.forest);
BEGIN
	DELETE FROM naming_context c WHERE c.site = f.site AND c.forest = f.forest AND lower(c.base_dn) = lower(remove_context.base_dn);
	IF NOT FOUND THEN
		PERFORM refuse(format('forest "%s" has no further naming context %s', forest, base_dn),
			'see: hedgerow forest context list; the first is changed with: hedgerow forest set ' || forest || ' base_dn=DN urls=URL');
	END IF;
END $$;

-- People -----------------------------------------------------------------------------------------------

-- Frees an address of this site that nobody has now: the reserved one of a deleted person, who is forgotten,
-- or the former one of somebody. Returns how many it freed.
CREATE FUNCTION forget_person(address text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	wanted text := fold_address(forget_person.address);
	gone bigint;
	former bigint;
BEGIN
	PERFORM sync_lock(p.forest) FROM (SELECT t.forest FROM person t WHERE t.site = local_site() AND t.address = wanted
		UNION SELECT t.forest FROM alias t WHERE t.site = local_site() AND t.address = wanted ORDER BY 1) p;
	DELETE FROM alias a USING person p WHERE p.site = local_site() AND p.address = wanted AND p.state = 'deleted'
		AND a.site = p.site AND a.forest = p.forest AND a.anchor = p.anchor;
	DELETE FROM person p WHERE p.site = local_site() AND p.address = wanted AND p.state = 'deleted';
	GET DIAGNOSTICS gone = ROW_COUNT;
	DELETE FROM alias a WHERE a.site = local_site() AND a.address = wanted AND a.until IS NOT NULL;
	GET DIAGNOSTICS former = ROW_COUNT;
	IF gone + former = 0 THEN
		PERFORM refuse(format('%s is neither reserved nor a former address at this site', wanted), 'see: hedgerow user find ' || wanted);
	END IF;
	RETURN gone + former;
END $$;

-- Rights -----------------------------------------------------------------------------------------------

DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'hedgerow'::regnamespace AND p.proacl IS NULL
	LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		IF f::text ~ '^(hedgerow[.])?(sync_|fold_|escape_|draft_|usual_)' AND f::text !~ 'sync_decide' THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hedgerow_directory', f);
		END IF;
	END LOOP;
	EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO hedgerow_directory', current_database());
END $$;
GRANT EXECUTE ON FUNCTION forest_sync, release_run, drop_run, begin_draft, add_mapping, set_mapping, remove_mapping,
	reset_mapping, apply_mapping, discard_mapping, add_context, remove_context, forget_person,
	sync_forest, draft_version, usual_mapping, refuse_no_draft TO hedgerow_operator;

GRANT SELECT ON setting TO hedgerow_directory;
GRANT USAGE ON SEQUENCE sync_run_id_seq TO hedgerow_directory;
GRANT SELECT, INSERT, UPDATE ON sync_state TO hedgerow_directory;
GRANT SELECT, INSERT, DELETE ON sync_refused TO hedgerow_directory;
GRANT SELECT, INSERT, UPDATE, DELETE ON sync_run, sync_cursor, sync_difference, sync_seen TO hedgerow_directory;

COMMENT ON FUNCTION forest_sync IS 'Asks for a run of a forest now';
COMMENT ON FUNCTION release_run IS 'Lets the held run of a forest be applied';
COMMENT ON FUNCTION drop_run IS 'Leaves the people of a held run as they are';
COMMENT ON FUNCTION add_mapping IS 'Adds a mapping of an LDAP attribute to a field of a person, in the draft';
COMMENT ON FUNCTION set_mapping IS 'Adds or replaces the mapping of an ordinal, in the draft';
COMMENT ON FUNCTION remove_mapping IS 'Removes one or all mappings of a field, in the draft';
COMMENT ON FUNCTION reset_mapping IS 'Makes the draft the usual mapping of the kind of forest';
COMMENT ON FUNCTION apply_mapping IS 'Puts the draft of a mapping in use';
COMMENT ON FUNCTION discard_mapping IS 'Throws the draft of a mapping away';
COMMENT ON FUNCTION add_context IS 'Adds a domain or suffix to a forest';
COMMENT ON FUNCTION remove_context IS 'Removes a domain or suffix from a forest; the next full run finds its people gone';
COMMENT ON FUNCTION forget_person IS 'Frees the reserved address of a deleted person, or a former address';
