-- SPDX-License-Identifier: Apache-2.0
-- A run from its beginning to its end, and when the next is due.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

CREATE FUNCTION forest_is_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	UPDATE sync_state SET next_run = now(), failures = 0
	WHERE site = NEW.site AND forest = NEW.forest;
	RETURN NULL;
END $$;
CREATE TRIGGER e_forest_is_due AFTER UPDATE OF kind, urls, tls, ca, bind, bind_dn, bind_secret, base_dn,
	filter, page_size, sync_interval, poll_interval ON forest
	FOR EACH ROW EXECUTE FUNCTION forest_is_due();

CREATE FUNCTION forest_is_due_for_context() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	UPDATE sync_state SET next_run = now(), failures = 0
	WHERE (site, forest) IN ((NEW.site, NEW.forest), (OLD.site, OLD.forest));
	RETURN NULL;
END $$;
CREATE TRIGGER e_forest_is_due AFTER INSERT OR UPDATE OR DELETE ON naming_context
	FOR EACH ROW EXECUTE FUNCTION forest_is_due_for_context();

CREATE FUNCTION forest_forgets_sync() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	DELETE FROM sync_state WHERE site = OLD.site AND forest = OLD.forest;
	DELETE FROM sync_refused WHERE site = OLD.site AND forest = OLD.forest;
	DELETE FROM sync_cursor WHERE site = OLD.site AND forest = OLD.forest;
	RETURN NULL;
END $$;
CREATE TRIGGER e_forest_forgets_sync AFTER DELETE ON forest
	FOR EACH ROW EXECUTE FUNCTION forest_forgets_sync();

-- A run -----------------------------------------------------------------------------------------
-- sync_begin, sync_finish and sync_fail are called by the daemon; the functions between are their parts
-- and count on their settings.

CREATE FUNCTION sync_forest(name text) RETURNS forest
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	f forest%ROWTYPE;
BEGIN
	SELECT t.* INTO f FROM forest t WHERE t.site = local_site() AND t.forest = name;
	IF NOT FOUND THEN
		PERFORM refuse(format('forest "%s" is not one of this site', name), 'see: hedgerow forest list',
			known('forests', ARRAY(SELECT t.forest FROM forest t WHERE t.site = local_site() ORDER BY 1)));
	END IF;
	RETURN f;
END $$;

-- Whether a session of this database holds the lease under which a forest is read.
CREATE FUNCTION sync_is_leased(forest_name text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
	SELECT EXISTS (SELECT FROM pg_locks l, hashtextextended('forest:' || forest_name, 0) AS key
		WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.classid::bigint = (key >> 32) & 4294967295 AND l.objid::bigint = key & 4294967295)
$$;

-- What the daemon is to do, and when: the forests of this site. A run that died is done again at once.
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

-- Where a forest is read from: one row a naming context, those of the forest's own row first. What is
-- the same for all stands in each row. `fingerprint` is of all but the cursors.
CREATE TYPE sync_source AS (fingerprint text, kind text, tls text, ca text, bind text, bind_dn text, bind_secret text,
	filter text, page_size int, poll_ms bigint, attributes text[],
	base_dn text, urls text[], method text, server text, incarnation text, usn bigint, cookie bytea);

CREATE FUNCTION sync_source(f forest, draft boolean) RETURNS SETOF sync_source
LANGUAGE sql STABLE
AS $$
	WITH wanted AS (
		SELECT coalesce(array_agg(m.attribute ORDER BY lower(m.attribute)), '{}') AS attributes
		FROM (SELECT DISTINCT ON (lower(attribute)) attribute FROM mapping
			WHERE site = f.site AND forest = f.forest AND attribute IS NOT NULL
			ORDER BY lower(attribute), attribute) m),
	context AS (
		SELECT 0 AS place, f.base_dn, f.urls
		UNION ALL SELECT 1, c.base_dn, c.urls FROM naming_context c WHERE c.site = f.site AND c.forest = f.forest)
	SELECT md5(concat_ws(E'\n', f.kind, f.tls, f.ca, f.bind, f.bind_dn, f.bind_secret, f.filter, f.page_size, f.poll_interval,
			w.attributes, (SELECT array_agg(c::text ORDER BY place, base_dn) FROM context c))),
		f.kind, f.tls, f.ca, f.bind, f.bind_dn, f.bind_secret, f.filter, f.page_size,
		(extract(epoch FROM f.poll_interval) * 1000)::bigint, w.attributes,
		c.base_dn, c.urls, k.method, k.server, k.incarnation, k.usn, k.cookie
	FROM context c CROSS JOIN wanted w
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
	RETURN QUERY SELECT * FROM sync_source(f, false);
END $$;

-- Begins a run in the session that has the lease, and makes its staging table: anchor, dn, gone,
-- refused ('field: reason' of values that the daemon would not stage), then one text[] an attribute,
-- in the order of `attributes`. A changes run begins only when the source is still what `known` is the
-- fingerprint of; else `run` is NULL.
CREATE FUNCTION sync_begin(forest_name text, kind text, draft boolean, node_name text, known text DEFAULT NULL,
	OUT run bigint, OUT s sync_source) RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	f forest%ROWTYPE := sync_forest(forest_name);
	run_kind ALIAS FOR $2;
	number bigint;
	columns int;
BEGIN
	IF run_kind = 'changes' AND known IS DISTINCT FROM (SELECT t.fingerprint FROM sync_source(f, draft) t LIMIT 1) THEN
		RETURN QUERY SELECT NULL::bigint, t FROM sync_source(f, draft) t;
		RETURN;
	END IF;
	PERFORM sync_prune(f.site, f.forest);
	INSERT INTO sync_run (site, forest, kind, node) VALUES (f.site, f.forest, run_kind, node_name)
	RETURNING id INTO number;
	INSERT INTO sync_state AS s (site, forest, next_run)
	VALUES (f.site, f.forest, now() + f.sync_interval)
	ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET
		wants_full = s.wants_full AND run_kind <> 'full',
		wants_dry_run = s.wants_dry_run AND run_kind <> 'dry-run',
		wants_draft = s.wants_draft AND run_kind <> 'dry-run',
		next_run = CASE WHEN run_kind = 'full' THEN excluded.next_run ELSE s.next_run END;

	PERFORM sync_drop_temporary();
	-- The mapping as it is now serves the whole run.
	CREATE TEMP TABLE sync_mapping AS
	SELECT m.field, m.ordinal, m.attribute, m.pattern, m.replacement,
		'a' || dense_rank() OVER (ORDER BY lower(m.attribute)) AS col
	FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.attribute IS NOT NULL;
	INSERT INTO sync_mapping
	SELECT m.field, m.ordinal, NULL, NULL, m.replacement, NULL
	FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.attribute IS NULL;
	SELECT count(DISTINCT col) INTO columns FROM sync_mapping;
	EXECUTE format('CREATE TEMP TABLE sync_staging (anchor text, dn text, gone boolean, refused text[]%s)',
		(SELECT string_agg(format(', a%s text[] COLLATE "C"', n), '' ORDER BY n) FROM generate_series(1, columns) n));
	CREATE TEMP TABLE sync_position (LIKE sync_cursor INCLUDING DEFAULTS);
	RETURN QUERY SELECT number, t FROM sync_source(f, draft) t;
END $$;

-- How far a context has been read by the run under way; sync_finish stores it with what was read.
CREATE FUNCTION sync_position(base_dn text, method text, server text, incarnation text, usn bigint, cookie bytea,
	entries bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	INSERT INTO sync_position (site, forest, base_dn, method, server, incarnation, usn, cookie, entries)
	VALUES ('', '', $1, $2, $3, $4, $5, $6, $7);
END $$;

-- The cursors that the run brought; those of contexts that are no longer are forgotten.
CREATE FUNCTION sync_keep_positions(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO sync_cursor AS c (site, forest, base_dn, method, server, incarnation, usn, cookie, entries)
	SELECT f.site, f.forest, p.base_dn, p.method, p.server, p.incarnation, p.usn, p.cookie, p.entries FROM sync_position p
	ON CONFLICT ON CONSTRAINT sync_cursor_pkey DO UPDATE SET method = excluded.method, server = excluded.server,
		incarnation = excluded.incarnation, usn = excluded.usn, cookie = excluded.cookie, entries = excluded.entries,
		updated_at = now();
	DELETE FROM sync_cursor c WHERE c.site = f.site AND c.forest = f.forest AND c.base_dn <> f.base_dn
		AND NOT EXISTS (SELECT FROM naming_context n WHERE n.site = c.site AND n.forest = c.forest AND n.base_dn = c.base_dn);
END $$;

-- Runs are kept for 30 days, the last 100 of a forest for ever.
CREATE FUNCTION sync_prune(site_name text, forest_name text) RETURNS void
LANGUAGE sql
AS $$
	WITH old AS (
		DELETE FROM sync_run r
		WHERE r.site = site_name AND r.forest = forest_name AND r.started < now() - interval '30 days'
		AND r.id < (SELECT min(t.id) FROM (SELECT id FROM sync_run
			WHERE site = site_name AND forest = forest_name ORDER BY id DESC LIMIT 100) t)
		AND NOT EXISTS (SELECT FROM sync_state s WHERE s.site = r.site AND s.forest = r.forest
			AND r.id IN (s.held_run, s.decided_run))
		RETURNING r.id)
	DELETE FROM sync_difference WHERE run IN (SELECT id FROM old)
$$;

-- Ends a run whose whole answer is in staging. Returns the run as it ended.
CREATE FUNCTION sync_finish(number bigint) RETURNS sync_run
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
-- The temporary tables have no statistics: without these the planner takes a hundred thousand rows for
-- a handful, or sorts what it should hash.
SET enable_mergejoin = off SET enable_nestloop = off SET enable_sort = off SET jit = off
SET max_parallel_workers_per_gather = 0 SET work_mem = '64MB'
AS $$
DECLARE
	f forest%ROWTYPE;
	r sync_run%ROWTYPE;
	answer numeric;
	first_import boolean;
BEGIN
	SELECT * INTO STRICT r FROM sync_run WHERE id = number AND state = 'running' FOR UPDATE;
	f := sync_forest(r.forest);
	PERFORM sync_distinct_staging();
	IF r.kind = 'changes' THEN
		SET LOCAL enable_nestloop = on;
	END IF;
	SELECT count(*), coalesce(sum(hash_record_extended(t, 0)), 0) INTO r.read, answer FROM sync_staging t;
	IF r.kind = 'full' AND sync_is_same(f, answer) THEN
		PERFORM sync_keep_positions(f);
		RETURN sync_end(sync_skip(r, f));
	END IF;
	SELECT NOT EXISTS (SELECT FROM person WHERE site = f.site AND forest = f.forest) INTO first_import;
	IF r.kind <> 'changes' AND r.read = 0 AND EXISTS (SELECT FROM person
		WHERE site = f.site AND forest = f.forest AND state = 'active') THEN
		RETURN sync_fail(number, 'the directory answered with no entries: everybody is kept', true);
	END IF;

	PERFORM sync_map(f);
	PERFORM sync_compare(f, r.kind = 'changes');
	PERFORM sync_refuse(f);
	SELECT g.reason, g.kept INTO r.error, r.kept FROM sync_guard(f) g;
	SELECT r.read - count(*) INTO r.skipped FROM sync_target;
	SELECT count(*) INTO r.refused FROM sync_refusal;
	SELECT count(*) FILTER (WHERE action = 'add'), count(*) FILTER (WHERE action = 'change'),
		count(*) FILTER (WHERE action = 'remove'), count(*) FILTER (WHERE action = 'disable')
	INTO r.added, r.changed, r.removed, r.disabled FROM sync_change;

	IF r.kind = 'dry-run' THEN
		PERFORM sync_record_changes(number, f), sync_record_refusals(number, f);
		r.state := 'previewed';
	ELSIF r.error IS NOT NULL THEN
		r.difference := sync_hold(number, f);
		r.state := 'held';
	ELSE
		r.state := sync_commit(r, f, first_import);
		PERFORM sync_keep_positions(f), sync_remember(r, f, answer);
	END IF;
	RETURN sync_end(r);
END $$;

-- All that decides what becomes of an answer, the people that it is compared with included.
CREATE FUNCTION sync_inputs(f forest) RETURNS text
LANGUAGE sql STABLE
AS $$
	SELECT md5(concat_ws(E'\n',
		(SELECT string_agg(m::text, E'\n' ORDER BY m::text) FROM mapping m WHERE m.site = f.site AND m.forest = f.forest),
		(SELECT string_agg(d.domain, E'\n' ORDER BY d.domain) FROM email_domain d WHERE d.site = f.site AND d.forest = f.forest),
		(SELECT string_agg(i.site || ' ' || i.installation || ' ' || i.native_domain, E'\n' ORDER BY i.site, i.installation)
			FROM installation i WHERE i.forest = f.forest),
		(SELECT sum(hash_record_extended(p, 0)) FROM person p WHERE p.site = f.site AND p.forest = f.forest),
		(SELECT sum(hash_record_extended(a, 0)) FROM alias a WHERE a.site = f.site AND a.forest = f.forest)))
$$;

-- The quick way of an unchanged run: the answer is the one that was published last, and so is all that
-- decides what becomes of it, the people included.
CREATE FUNCTION sync_is_same(f forest, answer numeric) RETURNS boolean
LANGUAGE sql STABLE
AS $$
	SELECT coalesce((SELECT s.answer = sync_is_same.answer FROM sync_state s
		WHERE s.site = f.site AND s.forest = f.forest), false)
	AND (SELECT s.inputs = sync_inputs(f) FROM sync_state s WHERE s.site = f.site AND s.forest = f.forest)
$$;

CREATE FUNCTION sync_remember(r sync_run, f forest, answer numeric) RETURNS void
LANGUAGE sql
AS $$
	UPDATE sync_state s SET last_good_run = CASE WHEN r.kind = 'full' THEN r.id ELSE s.last_good_run END,
		answer = CASE WHEN r.kind = 'full' AND r.kept = 0 THEN sync_remember.answer END,
		inputs = CASE WHEN r.kind = 'full' AND r.kept = 0 THEN sync_inputs(f) END
	WHERE s.site = f.site AND s.forest = f.forest
$$;

-- An unchanged run; a removal that was held or decided is over, since the people are there again.
CREATE FUNCTION sync_skip(r sync_run, f forest) RETURNS sync_run
LANGUAGE plpgsql
AS $$
BEGIN
	r.state := 'unchanged';
	SELECT g.skipped, g.refused INTO r.skipped, r.refused FROM sync_run g JOIN sync_state s ON s.last_good_run = g.id
	WHERE s.site = f.site AND s.forest = f.forest;
	IF sync_forget(f) THEN
		UPDATE sync_state s SET inputs = sync_inputs(f) WHERE s.site = f.site AND s.forest = f.forest;
	END IF;
	UPDATE sync_state s SET held_run = NULL, decided_run = NULL
	WHERE s.site = f.site AND s.forest = f.forest AND (s.held_run IS NOT NULL OR s.decided_run IS NOT NULL);
	RETURN r;
END $$;

-- Forgets people who were removed longer ago than the grace period. Whether there were any.
CREATE FUNCTION sync_end(r sync_run) RETURNS sync_run
LANGUAGE plpgsql
AS $$
BEGIN
	r.finished := clock_timestamp();
	UPDATE sync_run t SET state = r.state, finished = r.finished, read = r.read, skipped = r.skipped,
		added = r.added, changed = r.changed, removed = r.removed, disabled = r.disabled,
		readdressed = r.readdressed, kept = r.kept, wants_full = r.wants_full, refused = r.refused, difference = r.difference, error = r.error
	WHERE t.id = r.id;
	IF r.kind = 'full' THEN
		UPDATE sync_state s SET
			last_good = CASE WHEN r.state IN ('applied', 'unchanged') THEN r.finished ELSE s.last_good END,
			failures = CASE WHEN r.state = 'failed' THEN s.failures ELSE 0 END,
			next_run = r.finished + f.sync_interval * (0.9 + 0.2 * random())
		FROM forest f
		WHERE s.site = r.site AND s.forest = r.forest AND f.site = r.site AND f.forest = r.forest;
	END IF;
	PERFORM sync_drop_temporary();
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
	r sync_run%ROWTYPE;
BEGIN
	SELECT * INTO STRICT r FROM sync_run WHERE id = number AND state = 'running' FOR UPDATE;
	r.state := 'failed';
	r.error := message;
	SELECT count(*) INTO r.read FROM sync_staging;
	r := sync_end(r);
	IF r.kind = 'full' THEN
		UPDATE sync_state s SET failures = s.failures + 1,
			next_run = now() + CASE WHEN is_permanent THEN least(f.sync_interval, interval '10 minutes')
			ELSE least(f.sync_interval, interval '10 seconds' * power(2, least(s.failures, 20))) END
				* (0.9 + 0.2 * random())
		FROM forest f
		WHERE s.site = r.site AND s.forest = r.forest AND f.site = r.site AND f.forest = r.forest;
	END IF;
	RETURN r;
END $$;

CREATE FUNCTION sync_drop_temporary() RETURNS void
LANGUAGE plpgsql
SET client_min_messages = warning
AS $$
BEGIN
	DROP TABLE IF EXISTS pg_temp.sync_staging, pg_temp.sync_mapping, pg_temp.sync_target,
		pg_temp.sync_alias, pg_temp.sync_change, pg_temp.sync_refusal, pg_temp.sync_gone, pg_temp.sync_position;
END $$;

