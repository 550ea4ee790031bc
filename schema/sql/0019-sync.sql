-- SPDX-License-Identifier: Apache-2.0
-- Publishing that costs less, and a guard that sees more.

ALTER TABLE hedgerow.forest ALTER guard_delete_percent SET DEFAULT 1, ALTER guard_disable_percent SET DEFAULT 1,
	ALTER guard_address_percent SET DEFAULT 1;

-- A new forest's guard allows one percent where it allowed ten: of 100,000 people 9,999 could have gone
-- unasked. Up to 2,000 people nothing changes, as the numbers are greater there.
CREATE OR REPLACE FUNCTION hedgerow.add_forest(forest text, kind text, urls text[], bind_dn text DEFAULT NULL, bind_secret text DEFAULT NULL,
	base_dn text DEFAULT NULL, filter text DEFAULT NULL, tls text DEFAULT NULL, ca text DEFAULT NULL, title text DEFAULT NULL,
	bind text DEFAULT 'simple', page_size int DEFAULT 1000, sync_interval interval DEFAULT '6 hours',
	poll_interval interval DEFAULT '30 seconds', guard_delete_count int DEFAULT 20, guard_delete_percent int DEFAULT 1,
	guard_disable_count int DEFAULT 20, guard_disable_percent int DEFAULT 1, guard_address_count int DEFAULT 20,
	guard_address_percent int DEFAULT 1, priority int DEFAULT 100) RETURNS hedgerow.forest
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.forest;
BEGIN
	INSERT INTO hedgerow.forest (site, forest, kind, urls, bind, bind_dn, bind_secret, base_dn, filter, tls, ca, title,
			page_size, sync_interval, poll_interval, guard_delete_count, guard_delete_percent, guard_disable_count, guard_disable_percent,
			guard_address_count, guard_address_percent, priority)
		VALUES (hedgerow.local_site(), add_forest.forest, add_forest.kind, add_forest.urls, add_forest.bind, add_forest.bind_dn,
			add_forest.bind_secret, add_forest.base_dn,
			coalesce(add_forest.filter, CASE add_forest.kind
				WHEN 'activedirectory' THEN '(&(objectCategory=person)(objectClass=user))'
				WHEN 'ldif' THEN '(|(objectClass=inetOrgPerson)(&(objectClass=user)(!(objectClass=computer))))'
				ELSE '(objectClass=inetOrgPerson)' END),
			coalesce(add_forest.tls, CASE WHEN add_forest.urls[1] LIKE 'ldap:%' THEN 'starttls' ELSE 'ldaps' END),
			add_forest.ca, add_forest.title, add_forest.page_size, add_forest.sync_interval, add_forest.poll_interval,
			add_forest.guard_delete_count, add_forest.guard_delete_percent, add_forest.guard_disable_count,
			add_forest.guard_disable_percent, add_forest.guard_address_count, add_forest.guard_address_percent, add_forest.priority)
		RETURNING * INTO made;
	IF made.tls = 'plain' THEN
		RAISE WARNING 'forest "%" is read in plain text: the password and everybody''s data cross the network readable', made.forest;
	END IF;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('forest', add_forest.forest, 'forest');
END $$;

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

---- What a run costs

-- An entry that a changing directory gave twice counts once, as given last. That there is none, which is
-- the rule, is seen by hashes.
CREATE OR REPLACE FUNCTION sync_distinct() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	IF (SELECT count(*) <> count(DISTINCT hashtextextended(anchor, 0)) FROM sync_target) THEN
		DELETE FROM sync_target t
		USING (SELECT anchor, max(given) AS last FROM sync_target GROUP BY anchor HAVING count(*) > 1) twice
		WHERE t.anchor = twice.anchor AND t.given <> twice.last;
	END IF;
END $$;

-- The SQL that maps what is in sync_staging into sync_target. OFFSET 0 keeps each step a step, so that no
-- expression is evaluated twice.
CREATE OR REPLACE FUNCTION sync_map_sql(f forest, map_version int) RETURNS text
LANGUAGE plpgsql STABLE
AS $body$
DECLARE
	fields text;
	texts text;
	names text;
	aliases text;
BEGIN
	SELECT string_agg(format('%s AS %I', coalesce(sync_field(f, map_version, n.field),
			CASE n.field WHEN 'alias' THEN 'NULL::text[]' ELSE 'NULL::text' END), n.field), ', ')
	INTO fields FROM unnest('{address,alias,native,name,enabled,kind,created,skip}'::text[]) n (field);
	-- in the order that jsonb keeps them
	SELECT string_agg(m.value, ', ' ORDER BY m.n),
		string_agg(format('CASE WHEN texts[%s] IS NOT NULL THEN %L END', m.n, m.field), ', ' ORDER BY m.n)
	INTO texts, names FROM (SELECT n.field, sync_field(f, map_version, n.field) AS value, row_number() OVER (ORDER BY n.n) AS n
		FROM unnest('{title,telephone,department,given_name,family_name,organization}'::text[]) WITH ORDINALITY n (field, n)
		WHERE sync_field(f, map_version, n.field) IS NOT NULL) m;

	aliases := CASE WHEN sync_field(f, map_version, 'alias') IS NULL THEN 'SELECT NULL::text[] AS good, NULL::text[] AS bad' ELSE $sql$
		SELECT array_agg(DISTINCT v.folded ORDER BY v.folded) FILTER (WHERE v.valid) AS good,
			array_agg(DISTINCT format('alias: %s is not an address local@domain', left(v.folded, 100))) FILTER (WHERE NOT v.valid) AS bad
		FROM (SELECT w.folded, sync_is_plain(w.folded) OR sync_is_address(w.folded) AS valid
			FROM (SELECT fold_address(u.v) AS folded FROM unnest(j.alias) u (v) WHERE is_person AND problem IS NULL AND u.v <> '' OFFSET 0) w
			WHERE w.folded <> j.address_folded OFFSET 0) v $sql$ END;

	-- 1 fields, 2 installation, 3 forest, 4 site, 5 texts of details, 6 aliases, 7 names of the details that there are
	RETURN format($sql$
	INSERT INTO sync_target (given, anchor, gone, valid, address, native, installation, name, kind, enabled, details, created_at,
		aliases, digest, problem, dn, refusals)
	WITH place AS MATERIALIZED (
		SELECT DISTINCT ON (installation) installation, native_domain FROM installation
		WHERE forest = %3$L ORDER BY installation, site = %4$L DESC, site),
	sole AS MATERIALIZED (
		SELECT min(installation) AS installation FROM installation WHERE site = %4$L AND forest = %3$L HAVING count(*) = 1),
	raw AS (
		SELECT s.given, s.anchor, s.dn, s.gone, s.digest, s.refused, s.wanted, p.installation, p.native_domain,
			%1$s, ARRAY[%5$s]::text[] AS texts
		FROM (SELECT *, nullif(coalesce(%2$s, (SELECT installation FROM sole)), 'none') AS wanted
			FROM sync_staging WHERE given > before OFFSET 0) s
		LEFT JOIN place p ON p.installation = s.wanted
		OFFSET 0),
	low AS (
		SELECT *, lower(address COLLATE "C") AS address_low, lower(native COLLATE "C") AS native_low,
			coalesce(kind, 'user') AS is_kind, sync_enabled(enabled) AS is_enabled, sync_time(created) AS created_at,
			jsonb_object(array_remove(ARRAY[%7$s]::text[], NULL), array_remove(texts, NULL)) AS details
		FROM raw OFFSET 0),
	plain AS (
		SELECT *, sync_is_plain(address_low) AS address_plain, sync_is_plain(native_low) AS native_plain FROM low OFFSET 0),
	folded AS (
		SELECT *, NOT gone AND skip IS NULL AND address IS NOT NULL AS is_person,
			installation IS NOT NULL AND (native IS NOT NULL OR is_kind = 'user') AS is_placed,
			CASE WHEN address_plain THEN address_low ELSE fold_address(address) END AS address_folded,
			CASE WHEN native_plain THEN native_low ELSE fold_address(native) END AS native_folded
		FROM plain OFFSET 0),
	judged AS (
		SELECT f.*, CASE
			WHEN NOT is_person THEN NULL
			WHEN NOT (address_plain OR sync_is_address(address_folded)) THEN
				format('address: %%s is not an address local@domain', left(address, 100))
			WHEN is_kind NOT IN ('user', 'contact') THEN
				format('kind: %%s is neither user nor contact', left(is_kind, 100))
			WHEN wanted IS NOT NULL AND installation IS NULL THEN
				format('installation: %%s is not an installation of this forest', left(wanted, 100))
			WHEN is_placed AND native IS NULL THEN
				format('native: installation %%s is given, but no native address', installation)
			WHEN is_placed AND NOT (native_plain OR sync_is_address(native_folded)) THEN
				format('native: %%s is not an address local@domain', left(native, 100))
			WHEN is_placed AND split_part(native_folded, '@', 2) <> native_domain THEN
				format('native: %%s is not in %%s, the domain of installation %%s', left(native, 100), native_domain, installation)
			END AS problem
		FROM folded f OFFSET 0)
	SELECT given, anchor, gone, is_person AND problem IS NULL, address_folded,
		CASE WHEN is_placed THEN native_folded END, CASE WHEN is_placed THEN installation END, name, is_kind,
		coalesce(is_enabled, false), details, created_at, a.good, digest, problem, dn,
		refused || CASE WHEN is_person AND (problem IS NOT NULL OR is_enabled IS NULL OR created_at IS NULL AND created IS NOT NULL
				OR a.bad IS NOT NULL) THEN
			array_remove(ARRAY[problem,
				CASE WHEN is_enabled IS NULL THEN format('enabled: %%s is neither yes nor no: not enabled', left(enabled, 100)) END,
				CASE WHEN created_at IS NULL AND created IS NOT NULL THEN
					format('created: %%s is not a time like 20240131120000Z', left(created, 100)) END], NULL) || a.bad END
	FROM judged j
	CROSS JOIN LATERAL (%6$s) a
	$sql$, fields, coalesce(sync_field(f, map_version, 'installation'), 'NULL::text'), f.forest, f.site,
		coalesce(texts, ''), aliases, coalesce(names, ''));
END $body$;

---- The guard

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

-- Leaves out the removals that are not certain.
CREATE OR REPLACE FUNCTION sync_leave_out_moved(f forest) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	n bigint;
BEGIN
	DELETE FROM sync_change c USING sync_target t WHERE c.removed AND t.anchor = c.anchor AND t.gone IS NULL;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;

-- Leaves the people of decided changes as they are.
CREATE FUNCTION sync_leave_out_decided(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	those text[] := ARRAY(SELECT g.anchor FROM sync_grave(f) g WHERE g.decided);
BEGIN
	UPDATE sync_target SET digest = NULL WHERE anchor = ANY (those);
	DELETE FROM sync_change WHERE anchor = ANY (those);
END $$;

-- Whether the difference of a full run may be applied: `reason` says why not. What the operator has
-- dropped leaves the difference here; once others are to be removed or to have another address, all of it is
-- asked about again, however few they are. Who is disabled does not wait for that. What was released does
-- not count.
CREATE OR REPLACE FUNCTION sync_guard(f forest, OUT reason text, OUT kept bigint)
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
		count(*) FILTER (WHERE NOT decided AND x.disabled AND NOT x.readdressed) AS to_disable,
		count(*) FILTER (WHERE x.removed AND NOT (decided AND released)) AS removed,
		count(*) FILTER (WHERE x.disabled AND NOT (decided AND released)) AS disabled,
		count(*) FILTER (WHERE x.readdressed AND NOT (decided AND released)) AS readdressed
	INTO g FROM sync_grave(f) x CROSS JOIN (SELECT decision IS NOT DISTINCT FROM 'released' AS released) d;
	IF g.grave = 0 THEN
		RETURN;
	END IF;
	SELECT count(*) INTO people FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active';
	IF decision = 'dropped' AND g.open = g.to_disable AND sync_excess(f, people, 0, g.to_disable, 0) IS NULL THEN
		PERFORM sync_leave_out_decided(f);
		kept := g.grave - g.open;
		RETURN;
	END IF;
	SELECT people + count(*) FILTER (WHERE action = 'add') > count(*) FILTER (WHERE c.removed) INTO stay FROM sync_change c;
	reason := coalesce(CASE WHEN NOT stay AND g.removed > 0 THEN format('would leave nobody of %s people', people)
		ELSE sync_excess(f, people, g.removed, g.disabled, g.readdressed) END,
		CASE WHEN decision = 'dropped' AND g.open < g.grave THEN
			format('would do %s things to people that have been dropped, and %s new ones', g.grave - g.open, g.open) END);
END $$;

-- Holds the difference. One that is held already is not written down again.
CREATE OR REPLACE FUNCTION sync_hold(r sync_run, f forest) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hash bigint := (SELECT coalesce(sum(hashtextextended(row(c.*, t.address, t.native, t.installation,
			t.name, t.kind, t.enabled, t.details, t.created_at, t.aliases)::text, 0) >> 8), 0) % 4611686018427387904
		FROM sync_change c LEFT JOIN sync_target t ON t.anchor = c.anchor);
BEGIN
	UPDATE sync_run SET difference = hash WHERE id = r.id;
	IF NOT EXISTS (SELECT FROM sync_state s JOIN sync_run h ON h.id = s.held_run
		WHERE s.site = f.site AND s.forest = f.forest AND h.difference = hash) THEN
		PERFORM sync_record_changes(r.id, f, NULL), sync_record_refusals(r.id, f), sync_lapse(f, r.id);
	END IF;
	RETURN 'held';
END $$;

---- When changes ask for a full run

-- Whether the newest full run that has ended has failed.
CREATE FUNCTION sync_is_failing(r sync_run) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce((SELECT w.state = 'failed' FROM sync_run w
	WHERE w.site = r.site AND w.forest = r.forest AND w.kind = 'full' AND w.state <> 'running' ORDER BY w.id DESC LIMIT 1), false);

-- Whether a run of changes tells of somebody to whom the held run would have done what the guard counts.
CREATE FUNCTION sync_concerns_held(r sync_run) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN EXISTS (SELECT FROM sync_state s JOIN sync_difference d ON d.run = s.held_run JOIN sync_target t ON t.anchor = d.anchor
		WHERE s.site = r.site AND s.forest = r.forest AND d.action IN ('remove', 'disable', 'address'));
END $$;

-- Writes the end of a run down and sets the time of the next. Of a changes run that found no difference
-- nothing is written but where it came to.
CREATE OR REPLACE FUNCTION sync_end(r sync_run) RETURNS sync_run
LANGUAGE plpgsql
AS $$
DECLARE
	is_full boolean := r.kind = 'full';
	failing boolean := r.kind = 'changes' AND sync_is_failing(r);
	concerned boolean := r.kind = 'changes' AND r.state <> 'failed' AND sync_concerns_held(r);
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
	IF r.state IN ('applied', 'unchanged', 'held') AND (is_full OR r.state = 'applied' OR r.kept > 0 OR concerned) THEN
		UPDATE sync_state s SET failures = CASE WHEN failing THEN s.failures ELSE 0 END,
			last_good = CASE WHEN r.state <> 'held' AND NOT r.wants_full THEN r.finished ELSE s.last_good END,
			wants_full = s.wants_full OR r.wants_full AND s.held_run IS NULL AND NOT failing,
			next_run = CASE WHEN is_full THEN r.finished + f.sync_interval * (0.9 + 0.2 * random())
				WHEN (r.wants_full OR concerned) AND NOT failing THEN least(s.next_run, r.finished + interval '1 minute')
				ELSE s.next_run END
		FROM forest f
		WHERE s.site = r.site AND s.forest = r.forest AND f.site = r.site AND f.forest = r.forest;
	END IF;
	UPDATE sync_now SET state = r.state;
	PERFORM set_config('application_name', 'hedgerow-directory', false);
	RETURN r;
END $$;

REVOKE ALL ON FUNCTION sync_is_failing, sync_concerns_held, sync_leave_out_decided FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sync_is_failing, sync_concerns_held, sync_leave_out_decided TO hedgerow_directory;
