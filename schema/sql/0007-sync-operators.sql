-- SPDX-License-Identifier: Apache-2.0
-- What operators do with runs, and see of them.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Asks the directory daemon for a run now. Returns the number of the newest run so far: the run asked
-- for has a higher one. The request waits in the database when no daemon is listening.
CREATE FUNCTION forest_sync(forest text, dry_run boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(forest_sync.forest);
BEGIN
	INSERT INTO sync_state AS s (site, forest, wants_full, wants_dry_run)
	VALUES (f.site, f.forest, NOT forest_sync.dry_run, forest_sync.dry_run)
	ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET
		wants_full = s.wants_full OR excluded.wants_full,
		wants_dry_run = s.wants_dry_run OR excluded.wants_dry_run;
	PERFORM pg_notify('hedgerow_sync', f.forest || CASE WHEN forest_sync.dry_run THEN ' dry-run' ELSE '' END);
	RETURN coalesce((SELECT max(r.id) FROM sync_run r WHERE r.site = f.site AND r.forest = f.forest), 0);
END $$;

CREATE FUNCTION sync_decide(forest_name text, decision text) RETURNS bigint
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
			'see hedgerow.sync_runs: how its runs ended');
	END IF;
	UPDATE sync_run SET state = decision WHERE id = held;
	UPDATE sync_state SET held_run = NULL, decided_run = held
	WHERE site = f.site AND forest = f.forest;
	RETURN forest_sync(f.forest);
END $$;

-- Decides on the held run of a forest. Released: the next run applies its difference, or a smaller one.
-- Dropped: the people whom it would have removed or disabled stay until the directory has them again
-- or loses others too. Both ask for a run at once.
CREATE FUNCTION release_run(forest text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, hedgerow, pg_temp
AS $$ SELECT sync_decide($1, 'released') $$;

CREATE FUNCTION drop_run(forest text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, hedgerow, pg_temp
AS $$ SELECT sync_decide($1, 'dropped') $$;

CREATE VIEW sync_runs AS
	SELECT id AS run, forest, kind, state, started, finished - started AS took, read, skipped, added,
		changed, removed, disabled, kept, refused, error, node
	FROM sync_run ORDER BY id DESC;
COMMENT ON VIEW sync_runs IS 'The runs of the directory daemon, newest first';

CREATE VIEW sync_differences AS
	SELECT d.run, r.forest, r.state, d.anchor, d.action, coalesce(d.after, d.before) ->> 'address' AS address,
		d.before, d.after, d.reason
	FROM sync_difference d JOIN sync_run r ON r.id = d.run
	ORDER BY d.run DESC, d.action, d.anchor;
COMMENT ON VIEW sync_differences IS 'What each run changed, would change (dry run) or is held for';

CREATE VIEW sync_refusals AS
	SELECT forest, anchor, field, reason, since FROM sync_refused ORDER BY forest, anchor, field;
COMMENT ON VIEW sync_refusals IS 'Directory values and entries that are not published now, and why';

CREATE VIEW sync_status AS
	SELECT f.forest, f.kind, last.state, last.started AS last_run, s.last_good, now() - s.last_good AS lag,
		CASE WHEN last.state = 'running' THEN NULL ELSE coalesce(s.next_run, now()) END AS next_run,
		s.held_run, s.failures, last.error,
		(SELECT count(*) FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active') AS people,
		(SELECT count(*) FROM sync_refused x WHERE x.site = f.site AND x.forest = f.forest) AS refused
	FROM forest f
	LEFT JOIN sync_state s ON s.site = f.site AND s.forest = f.forest
	LEFT JOIN LATERAL (SELECT * FROM sync_run r WHERE r.site = f.site AND r.forest = f.forest
		AND r.kind = 'full' ORDER BY r.id DESC LIMIT 1) last ON true
	WHERE f.site = (SELECT l.site FROM local_site l)
	ORDER BY 1;
COMMENT ON VIEW sync_status IS 'Each forest of this site: its last run, its next, and what waits for a decision';

-- Rights ----------------------------------------------------------------------------------------

DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'hedgerow'::regnamespace
		AND (p.proname LIKE 'sync\_%' OR p.proname IN ('fold_address', 'fold_text', 'escape_address', 'default_mapping', 'forest_sync',
			'release_run', 'drop_run', 'forest_gets_mapping', 'forest_is_due', 'forest_is_due_for_context', 'forest_forgets_sync'))
	LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		IF f::text ~ '^(hedgerow[.])?(sync_|fold_|escape_)' AND f::text !~ 'sync_decide' THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hedgerow_directory', f);
		END IF;
	END LOOP;
	EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO hedgerow_directory', current_database());
END $$;
GRANT EXECUTE ON FUNCTION default_mapping, forest_sync, release_run, drop_run TO hedgerow_operator;

GRANT SELECT ON setting TO hedgerow_directory;
GRANT SELECT, INSERT, UPDATE ON sync_state TO hedgerow_directory;
GRANT SELECT, INSERT, DELETE ON sync_refused TO hedgerow_directory;
GRANT SELECT, INSERT, UPDATE, DELETE ON sync_cursor TO hedgerow_directory;
GRANT SELECT, INSERT, UPDATE, DELETE ON sync_run, sync_difference TO hedgerow_directory;
GRANT SELECT ON sync_runs, sync_differences, sync_refusals, sync_status
	TO hedgerow_operator, hedgerow_reader, hedgerow_directory;
