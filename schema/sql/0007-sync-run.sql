-- SPDX-License-Identifier: Apache-2.0
-- A run from its beginning to its end, and when the next is due. sync_plan, sync_open, sync_begin,
-- sync_at, sync_finish, sync_remember and sync_fail are called by the daemon.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Whether a session of this database holds the lease under which a forest is read.
CREATE FUNCTION sync_is_leased(forest_name text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
	SELECT EXISTS (SELECT FROM pg_locks l, hashtextextended('forest:' || forest_name, 0) AS key
		WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.classid::bigint = (key >> 32) & 4294967295 AND l.objid::bigint = key & 4294967295)
$$;

-- What the daemon is to do, and when: one row a forest of this site. A run that died is done again at once.
CREATE FUNCTION sync_plan() RETURNS TABLE (forest text, due_ms bigint, kind text, draft boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
	SELECT f.forest,
		CASE WHEN s.forest IS NULL OR s.wants_full OR s.wants_dry_run OR dead.kind IS NOT NULL THEN 0
		ELSE greatest(0, ceil(extract(epoch FROM s.next_run - now()) * 1000))::bigint END,
		CASE WHEN NOT s.wants_full AND dead.kind IS DISTINCT FROM 'full'
			AND (s.wants_dry_run OR dead.kind = 'dry-run') THEN 'dry-run' ELSE 'full' END,
		coalesce(s.wants_draft, false)
	FROM forest f
	LEFT JOIN sync_state s ON s.site = f.site AND s.forest = f.forest
	LEFT JOIN LATERAL (SELECT r.kind FROM sync_run r
		WHERE r.site = f.site AND r.forest = f.forest AND r.state = 'running'
		AND NOT sync_is_leased(f.forest) ORDER BY r.id DESC LIMIT 1) dead ON true
	WHERE f.site = local_site()
	ORDER BY 1
$$;

-- Where a forest is read from: one row a naming context, that of the forest's own row first. What is the
-- same for all stands in each row. `fingerprint` is of all but the cursors.
CREATE TYPE sync_source AS (fingerprint text, kind text, tls text, ca text, bind text, bind_dn text, bind_secret text,
	filter text, page_size int, poll_ms bigint, attributes text[],
	base_dn text, urls text[], method text, server text, incarnation text, usn bigint, cookie bytea);

CREATE FUNCTION sync_source(f forest, map_version int) RETURNS SETOF sync_source
LANGUAGE sql STABLE
AS $$
	WITH context AS (
		SELECT 0 AS place, f.base_dn, f.urls
		UNION ALL SELECT 1, c.base_dn, c.urls FROM naming_context c WHERE c.site = f.site AND c.forest = f.forest)
	SELECT md5(jsonb_build_array(f.kind, f.tls, f.ca, f.bind, f.bind_dn, f.bind_secret, f.filter, f.page_size, f.poll_interval,
			a.names, (SELECT jsonb_agg(c ORDER BY place, base_dn) FROM context c))::text),
		f.kind, f.tls, f.ca, f.bind, f.bind_dn, f.bind_secret, f.filter, f.page_size,
		(extract(epoch FROM f.poll_interval) * 1000)::bigint, a.names,
		c.base_dn, c.urls, k.method, k.server, k.incarnation, k.usn, k.cookie
	FROM context c CROSS JOIN (SELECT sync_attributes(f, map_version) AS names) a
	LEFT JOIN sync_cursor k ON k.site = f.site AND k.forest = f.forest AND k.base_dn = c.base_dn
	ORDER BY c.place, c.base_dn
$$;

-- Takes the forest's lease for this session. No row: another daemon has it. A run that died with its
-- session is written down as failed, and asked for again.
CREATE FUNCTION sync_open(forest_name text) RETURNS SETOF sync_source
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE := sync_forest(forest_name);
	died text[];
BEGIN
	IF NOT pg_try_advisory_lock(hashtextextended('forest:' || forest_name, 0)) THEN
		RETURN;
	END IF;
	WITH dead AS (
		UPDATE sync_run t SET state = 'failed', finished = now(),
			error = 'the daemon or its database connection ended before the run did'
		WHERE t.site = f.site AND t.forest = f.forest AND t.state = 'running' RETURNING t.kind)
	SELECT array_agg(kind) INTO died FROM dead;
	UPDATE sync_state s SET wants_full = s.wants_full OR 'full' = ANY (died),
		wants_dry_run = s.wants_dry_run OR 'dry-run' = ANY (died)
	WHERE s.site = f.site AND s.forest = f.forest AND died IS NOT NULL;
	RETURN QUERY SELECT * FROM sync_source(f, f.mapping_version);
END $$;

-- The draft of a forest's mapping: the highest version, when it is above that in use.
CREATE FUNCTION draft_version(f forest) RETURNS int
LANGUAGE sql STABLE
AS $$
	SELECT max(m.version) FROM mapping m
	WHERE m.site = f.site AND m.forest = f.forest AND m.version > f.mapping_version
$$;

-- Begins a run in the session that has the lease, and makes its staging table: given (1, 2, ...), anchor,
-- dn, gone, refused ('field: reason' of values that the daemon would not stage), then one text[] an
-- attribute, in the order of `attributes`, and a digest of all that follows gone. A changes run begins only when the source is still what `known` is the
-- fingerprint of, else `run` is NULL; it is written down when it ends, if there is anything to say.
CREATE FUNCTION sync_begin(forest_name text, run_kind text, draft boolean, node_name text, known text DEFAULT NULL,
	OUT run bigint, OUT s sync_source) RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	f forest%ROWTYPE;
	map_version int;
	r sync_run%ROWTYPE;
BEGIN
	IF run_kind <> 'changes' THEN
		PERFORM sync_lock(forest_name); -- a forest that is being removed leaves no run
	END IF;
	f := sync_forest(forest_name);
	map_version := coalesce(CASE WHEN draft THEN draft_version(f) END, f.mapping_version);
	IF run_kind = 'changes' AND known IS DISTINCT FROM (SELECT t.fingerprint FROM sync_source(f, map_version) t LIMIT 1) THEN
		RETURN QUERY SELECT NULL::bigint, t FROM sync_source(f, map_version) t;
		RETURN;
	END IF;
	PERFORM sync_prepare(f, map_version,
		run_kind <> 'changes' AND NOT EXISTS (SELECT FROM person p WHERE p.site = f.site AND p.forest = f.forest));
	INSERT INTO sync_now (id, site, forest, kind, state, node, mapping_version, started, read, skipped, added, changed,
		readdressed, removed, disabled, kept, refused, wants_full)
	VALUES (nextval('sync_run_id_seq'), f.site, f.forest, run_kind, 'running', node_name, map_version, clock_timestamp(),
		0, 0, 0, 0, 0, 0, 0, 0, 0, false)
	RETURNING * INTO r;
	IF run_kind <> 'changes' THEN
		PERFORM sync_prune(f.site, f.forest);
		INSERT INTO sync_run SELECT r.*;
		PERFORM sync_tell(r.id, 'read', 0);
		INSERT INTO sync_state AS st (site, forest, next_run) VALUES (f.site, f.forest, now() + f.sync_interval)
		ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET
			wants_full = st.wants_full AND run_kind <> 'full',
			wants_dry_run = st.wants_dry_run AND run_kind <> 'dry-run',
			wants_draft = st.wants_draft AND run_kind <> 'dry-run',
			next_run = CASE WHEN run_kind = 'full' THEN excluded.next_run ELSE st.next_run END;
	END IF;
	RETURN QUERY SELECT r.id, t FROM sync_source(f, map_version) t;
END $$;

-- How far a context has been read by the run under way; sync_finish stores it with what was read.
CREATE FUNCTION sync_at(base_dn text, method text, server text, incarnation text, usn bigint, cookie bytea,
	entries bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	INSERT INTO sync_position (site, forest, base_dn, method, server, incarnation, usn, cookie, entries)
	VALUES ('', '', $1, $2, $3, $4, $5, $6, $7);
END $$;

-- The end ------------------------------------------------------------------------------------------

CREATE FUNCTION sync_running(number bigint) RETURNS sync_run
LANGUAGE plpgsql
AS $$
DECLARE
	r sync_run%ROWTYPE;
BEGIN
	SELECT * INTO r FROM sync_now WHERE id = number AND state = 'running';
	IF NOT FOUND THEN
		PERFORM refuse(format('run %s is not under way in this session', number), 'begin another');
	END IF;
	RETURN r;
END $$;

-- An empty answer, of a whole forest or of one naming context, deletes nobody; whether the few of a small
-- context may go the guard says.
CREATE FUNCTION sync_emptiness(f forest, read bigint) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	base text;
BEGIN
	IF read = 0 AND EXISTS (SELECT FROM person WHERE site = f.site AND forest = f.forest AND state = 'active') THEN
		RETURN 'the directory answered with no entries: everybody is kept';
	END IF;
	SELECT p.base_dn INTO base FROM sync_position p
	JOIN sync_cursor c ON c.site = f.site AND c.forest = f.forest AND c.base_dn = p.base_dn
	WHERE p.entries = 0 AND c.entries > f.guard_delete_count ORDER BY 1 LIMIT 1;
	RETURN 'the directory answered with no entries in ' || base || ': everybody is kept';
END $$;

-- Ends a run whose whole answer is in staging. Returns the run as it ended.
CREATE FUNCTION sync_finish(number bigint) RETURNS sync_run
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
-- The temporary tables have no statistics: without these the planner takes a hundred thousand rows for
-- a handful, or sorts what it should hash. Each plan is made for what it is asked: see `few`.
SET enable_mergejoin = off SET enable_nestloop = off SET enable_sort = off SET jit = off
SET max_parallel_workers_per_gather = 0 SET work_mem = '64MB' SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	r sync_run%ROWTYPE := sync_running(number);
	f forest%ROWTYPE;
	few text[];
BEGIN
	PERFORM sync_lock(r.forest), sync_distinct();
	f := sync_forest(r.forest);
	r.staged := clock_timestamp();
	SELECT count(*) FILTER (WHERE NOT gone), count(*) FILTER (WHERE NOT gone AND NOT valid AND problem IS NULL)
	INTO r.read, r.skipped FROM sync_target;
	IF r.kind = 'changes' THEN
		few := ARRAY(SELECT anchor FROM sync_target);
	ELSE
		r.error := sync_emptiness(f, r.read);
		IF r.error IS NOT NULL THEN
			RETURN sync_fail(number, r.error, true);
		END IF;
	END IF;
	PERFORM sync_refuse();
	IF r.kind = 'full' AND NOT EXISTS (SELECT FROM person WHERE site = f.site AND forest = f.forest) THEN
		r := sync_import(r, f);
	ELSE
		r := sync_judge(r, f, few);
		r.state := CASE WHEN r.kind = 'dry-run' THEN sync_preview(r, f) WHEN r.error IS NOT NULL THEN sync_hold(r, f)
			ELSE sync_apply(r, f, few) END;
	END IF;
	IF r.kind <> 'dry-run' THEN
		PERFORM sync_keep_positions(f, r.kind);
	END IF;
	SELECT count(*) INTO r.refused FROM sync_refused x
	WHERE r.kind = 'changes' AND x.site = f.site AND x.forest = f.forest;
	r.refused := r.refused + (SELECT count(*) FROM sync_refusal WHERE r.kind <> 'changes');
	RETURN sync_end(r);
END $$;

-- What the run would do, and what the guard says to that.
CREATE FUNCTION sync_judge(r sync_run, f forest, few text[]) RETURNS sync_run
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM sync_tell(r.id, 'compare', r.read), sync_compare(f, few);
	IF r.kind = 'changes' THEN
		SELECT g.kept, g.wants_full INTO r.kept, r.wants_full FROM sync_guard_changes(f) g;
	ELSE
		SELECT g.reason, g.kept INTO r.error, r.kept FROM sync_guard(f) g;
	END IF;
	SELECT count(*) FILTER (WHERE action = 'add'), count(*) FILTER (WHERE action IN ('change', 'address')),
		count(*) FILTER (WHERE c.readdressed), count(*) FILTER (WHERE c.removed), count(*) FILTER (WHERE c.disabled)
	INTO r.added, r.changed, r.readdressed, r.removed, r.disabled FROM sync_change c;
	RETURN r;
END $$;

-- The first import of a forest: nothing to compare with, to guard or to write down.
CREATE FUNCTION sync_import(r sync_run, f forest) RETURNS sync_run
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM sync_tell(r.id, 'apply', r.read);
	r.added := sync_add_all(f);
	PERFORM sync_record_refusals(r.id, f);
	r.state := CASE WHEN r.added + sync_apply_refusals(f, false) > 0 THEN 'applied' ELSE 'unchanged' END;
	PERFORM sync_settle(r, f);
	RETURN r;
END $$;

CREATE FUNCTION sync_preview(r sync_run, f forest) RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM sync_record_changes(r.id, f, NULL), sync_record_refusals(r.id, f);
	RETURN 'previewed';
END $$;

-- Applies the difference.
CREATE FUNCTION sync_apply(r sync_run, f forest, few text[]) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	changes bigint := (SELECT count(*) FROM sync_change);
	refusals bigint;
BEGIN
	IF few IS NULL AND changes BETWEEN 1 AND 1000 THEN
		few := ARRAY(SELECT anchor FROM sync_change);
	END IF;
	PERFORM sync_record_refusals(r.id, f);
	IF changes > 0 THEN
		PERFORM sync_record_changes(r.id, f, few), sync_tell(r.id, 'apply', changes), sync_note_former(f, few),
			sync_apply_aliases(f, few), sync_apply_people(f, few);
	END IF;
	refusals := sync_apply_refusals(f, r.kind = 'changes');
	IF r.kind = 'full' THEN
		PERFORM sync_forget(f), sync_settle(r, f);
	END IF;
	RETURN CASE WHEN changes > 0 OR refusals > 0 THEN 'applied' ELSE 'unchanged' END;
END $$;

-- A full run that was applied is the answer to what was held. A decision is over with the run that uses
-- it, but people stay kept while the directory says the same.
CREATE FUNCTION sync_settle(r sync_run, f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM sync_lapse(f, NULL);
	UPDATE sync_state s SET last_full = r.id, decided_run = CASE WHEN r.kept > 0 THEN s.decided_run END
	WHERE s.site = f.site AND s.forest = f.forest;
END $$;

-- Another run is held now, or none: what was held and not decided has lapsed.
CREATE FUNCTION sync_lapse(f forest, held bigint) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	UPDATE sync_run r SET state = 'lapsed' FROM sync_state s
	WHERE s.site = f.site AND s.forest = f.forest AND r.id = s.held_run AND r.state = 'held';
	UPDATE sync_state s SET held_run = held
	WHERE s.site = f.site AND s.forest = f.forest AND s.held_run IS DISTINCT FROM held;
END $$;

-- Holds the difference. One that is held already is not written down again.
CREATE FUNCTION sync_hold(r sync_run, f forest) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hash bigint := (SELECT coalesce(sum(hashtextextended(concat_ws(' ', c.anchor, c.action, t.address, t.native, t.installation,
			t.name, t.kind, t.enabled, t.details, t.created_at, t.aliases), 0) >> 8), 0) % 4611686018427387904
		FROM sync_change c LEFT JOIN sync_target t ON t.anchor = c.anchor);
BEGIN
	UPDATE sync_run SET difference = hash WHERE id = r.id;
	IF NOT EXISTS (SELECT FROM sync_state s JOIN sync_run h ON h.id = s.held_run
		WHERE s.site = f.site AND s.forest = f.forest AND h.difference = hash) THEN
		PERFORM sync_record_changes(r.id, f, NULL), sync_record_refusals(r.id, f), sync_lapse(f, r.id);
	END IF;
	RETURN 'held';
END $$;

-- Writes the end of a run down and sets the time of the next. Of a changes run that found no difference
-- nothing is written but where it came to.
CREATE FUNCTION sync_end(r sync_run) RETURNS sync_run
LANGUAGE plpgsql
AS $$
BEGIN
	r.finished := clock_timestamp();
	IF r.kind <> 'changes' THEN
		UPDATE sync_run t SET state = r.state, staged = r.staged, finished = r.finished, read = r.read, skipped = r.skipped,
			added = r.added, changed = r.changed, readdressed = r.readdressed, removed = r.removed, disabled = r.disabled,
			kept = r.kept, refused = r.refused, error = r.error
		WHERE t.id = r.id;
	ELSIF r.state <> 'unchanged' OR r.kept > 0 THEN
		INSERT INTO sync_run SELECT r.*;
	END IF;
	IF r.state IN ('applied', 'unchanged', 'held') AND (r.kind = 'full' OR r.state = 'applied' OR r.kept > 0) THEN
		UPDATE sync_state s SET failures = 0,
			last_good = CASE WHEN r.state <> 'held' AND NOT r.wants_full THEN r.finished ELSE s.last_good END,
			wants_full = s.wants_full OR r.wants_full AND s.held_run IS NULL,
			next_run = CASE WHEN r.kind = 'full' THEN r.finished + f.sync_interval * (0.9 + 0.2 * random())
				WHEN r.wants_full THEN least(s.next_run, r.finished + interval '1 minute') ELSE s.next_run END
		FROM forest f
		WHERE s.site = r.site AND s.forest = r.forest AND f.site = r.site AND f.forest = r.forest;
	END IF;
	UPDATE sync_now SET state = r.state;
	PERFORM set_config('application_name', 'hedgerow-directory', false);
	RETURN r;
END $$;

-- Ends a run without touching anybody. What may pass by itself is tried again after 10 s, 20 s, 40 s
-- and so on up to the interval of the forest; what will not, after 10 minutes, so that a wrong password
-- does not lock the account.
CREATE FUNCTION sync_fail(number bigint, message text, is_permanent boolean) RETURNS sync_run
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	r sync_run%ROWTYPE := sync_running(number);
BEGIN
	r.state := 'failed';
	r.error := message;
	r := sync_end(r);
	IF r.kind <> 'dry-run' THEN
		UPDATE sync_state s SET failures = s.failures + 1,
			next_run = CASE WHEN r.kind = 'changes' THEN s.next_run ELSE now() +
				CASE WHEN is_permanent THEN least(f.sync_interval, interval '10 minutes')
				ELSE least(f.sync_interval, interval '10 seconds' * power(2, least(s.failures, 20))) END
				* (0.9 + 0.2 * random()) END
		FROM forest f
		WHERE s.site = r.site AND s.forest = r.forest AND f.site = r.site AND f.forest = r.forest;
	END IF;
	RETURN r;
END $$;
