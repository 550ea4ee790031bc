-- SPDX-License-Identifier: Apache-2.0
-- Publishing a directory forest into the registry.
--
-- One run: sync_begin makes the staging table of the session, the daemon fills it with COPY, and
-- sync_finish maps, compares, guards and applies the whole set in one transaction, writing only rows
-- that differ. Staging is a temporary table, so that a daemon that dies leaves nothing behind. What is
-- published is a function of the directory's answer, the mapping and the installations alone, except
-- that of two entries with one address the older person wins.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Tables ----------------------------------------------------------------------------------------

CREATE TABLE sync_run (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	site text NOT NULL,
	forest text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('full', 'dry-run')),
	state text NOT NULL DEFAULT 'running' CHECK (state IN
		('running', 'applied', 'unchanged', 'previewed', 'held', 'released', 'dropped', 'failed')),
	node text,
	started timestamptz NOT NULL DEFAULT now(),
	finished timestamptz,
	read bigint NOT NULL DEFAULT 0,
	skipped bigint NOT NULL DEFAULT 0,
	added bigint NOT NULL DEFAULT 0,
	changed bigint NOT NULL DEFAULT 0,
	removed bigint NOT NULL DEFAULT 0,
	disabled bigint NOT NULL DEFAULT 0,
	kept bigint NOT NULL DEFAULT 0,
	refused bigint NOT NULL DEFAULT 0,
	difference bigint, -- hash of the difference of a held run, whatever its order
	error text
);
CREATE INDEX sync_run_forest ON sync_run (site, forest, id);
CREATE INDEX sync_run_running ON sync_run (site, forest) WHERE state = 'running';
COMMENT ON TABLE sync_run IS 'Each reading of a forest: what it found and what became of it. Local.';
COMMENT ON COLUMN sync_run.skipped IS 'entries without an address: not people';
COMMENT ON COLUMN sync_run.kept IS 'people kept although the directory no longer has them: the operator dropped that removal';
COMMENT ON COLUMN sync_run.refused IS 'refusals that stand after this run, see sync_refusals';

CREATE TABLE sync_state (
	site text NOT NULL,
	forest text NOT NULL,
	last_good timestamptz,
	last_good_run bigint,
	answer numeric,    -- hash of the directory's answer that last_good_run left published, and
	inputs text,       -- of everything else that it depended on: see sync_inputs
	next_run timestamptz NOT NULL DEFAULT now(),
	failures int NOT NULL DEFAULT 0,
	wants_full boolean NOT NULL DEFAULT false,
	wants_dry_run boolean NOT NULL DEFAULT false,
	held_run bigint,   -- waits for release_run or drop_run
	decided_run bigint, -- the held run last released or dropped; its difference is what was decided
	PRIMARY KEY (site, forest)
);
COMMENT ON TABLE sync_state IS 'Where publishing a forest stands: schedule, requests, decisions. Local.';

CREATE TABLE sync_difference (
	run bigint NOT NULL,
	anchor text NOT NULL,
	action text NOT NULL CHECK (action IN ('add', 'change', 'remove', 'disable', 'refuse')),
	before jsonb,
	after jsonb,
	reason text
);
CREATE INDEX sync_difference_run ON sync_difference (run, anchor);
COMMENT ON TABLE sync_difference IS 'What a run changed, or would have changed. The first import of a forest is not recorded. Local.';

CREATE TABLE sync_refused (
	site text NOT NULL,
	forest text NOT NULL,
	anchor text NOT NULL,
	field text NOT NULL,
	reason text NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (site, forest, anchor, field, reason)
);
COMMENT ON TABLE sync_refused IS 'Values and entries of a directory that are not published now, and why. Local.';

INSERT INTO setting (name, value, kind, meaning) VALUES
	('person_grace', '30 days', 'interval',
	'a person who is gone from the directory is forgotten, and the address free, after this time');

-- Values ----------------------------------------------------------------------------------------

-- Case folding as stringprep's nodeprep (RFC 6122, appendix A) has it: lower(upper()) makes ss of a
-- sharp s, but dotless i must stay itself; the final sigma is folded, and table B.1 (soft hyphen,
-- joiners, variation selectors) left out. It differs from libidn only in scripts that had no case, or
-- were not there, in Unicode 3.2.
CREATE FUNCTION fold_text(value text) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN normalize(translate(lower(
	CASE WHEN value LIKE U&'%\0131%' THEN normalize(value, NFKC) COLLATE "und-x-icu"
		ELSE upper(normalize(value, NFKC) COLLATE "und-x-icu") END) COLLATE "C",
	U&'\03C2\00AD\034F\1806\180B\180C\180D\200B\200C\200D\2060\FEFF\FE00\FE01\FE02\FE03\FE04\FE05\FE06\FE07\FE08\FE09\FE0A\FE0B\FE0C\FE0D\FE0E\FE0F',
	U&'\03C3'), NFKC);

CREATE FUNCTION escape_address(value text) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN replace(replace(replace(value, '&', '\26'), '''', '\27'), '/', '\2f');

-- The form in which an address is stored and compared: folded, and what e-mail allows but XMPP forbids
-- escaped as XEP-0106 says. ASCII takes the short way.
CREATE FUNCTION fold_address(value text) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN octet_length(value) <> length(value) THEN escape_address(fold_text(value))
	WHEN value ~ '[&''/]' THEN escape_address(lower(value COLLATE "C"))
	ELSE lower(value COLLATE "C")
END COLLATE "C";

-- Whether a folded text is local@domain. Beyond ASCII, what nodeprep prohibits (RFC 3454, C.2 to C.8)
-- is none.
CREATE FUNCTION sync_is_address(value text) RETURNS boolean IMMUTABLE PARALLEL SAFE
RETURN value COLLATE "C" ~ '^[^@"&''/<>:[:space:][:cntrl:]]+@[^][@"&''/<>:,;()\\!#$%*+=?^_`{|}~[:space:][:cntrl:]]+$'
	AND octet_length(value) <= 320
	AND split_part(value, '@', 2) COLLATE "C" !~ '^[.-]|[.][.-]|-[.]|[.-]$'
	AND (octet_length(value) = length(value) OR value = lower(value) AND value COLLATE "und-x-icu" !~
		'[[:space:][:cntrl:]\u06dd\u070f\u180e\u200e\u200f\u2028-\u202e\u2061-\u2063\u206a-\u206f\u2ff0-\u2ffb\ue000-\uf8ff\ufdd0-\ufdef\ufff9-\uffff\U000e0001-\U0010ffff]');

-- Whether a lower-case text is an address that needs no folding: most are, and this is quick.
CREATE FUNCTION sync_is_plain(value text) RETURNS boolean IMMUTABLE PARALLEL SAFE
RETURN value COLLATE "C" ~ '^[a-z0-9.!#$%*+=?^_`{|}~\\-]+@[a-z0-9]+(-+[a-z0-9]+)*([.][a-z0-9]+(-+[a-z0-9]+)*)*$'
	AND octet_length(value) <= 320;

COMMENT ON FUNCTION fold_address IS 'the stored form of a federation or native address';
COMMENT ON FUNCTION sync_is_address IS 'whether a folded text is local@domain';

-- The text of an SQL expression over one staging row: the first value of `col` that matches, mapped.
CREATE FUNCTION sync_expression(col text, pattern text, replacement text) RETURNS text IMMUTABLE
RETURN CASE
	WHEN col IS NULL THEN quote_literal(replacement)
	WHEN pattern = '^(.*)$' AND replacement = '\1' THEN col || '[1]'
	WHEN pattern = '^(.*)$' AND replacement !~ '\\[^1]' THEN
		format($$replace(%L, '\1', %s[1])$$, replacement, col)
	ELSE format($$CASE WHEN %1$s[1] ~ %2$L THEN nullif(regexp_replace(%1$s[1], %2$L, %3$L), '')
		WHEN cardinality(%1$s) > 1 THEN (SELECT nullif(regexp_replace(v, %2$L, %3$L), '')
			FROM unnest(%1$s) WITH ORDINALITY AS u (v, n) WHERE v ~ %2$L ORDER BY n LIMIT 1) END$$,
		col, pattern, replacement)
END;

-- As sync_expression, but an array of all the values that match.
CREATE FUNCTION sync_expression_all(col text, pattern text, replacement text) RETURNS text IMMUTABLE
RETURN CASE
	WHEN col IS NULL THEN format('ARRAY[%L]', replacement)
	WHEN pattern = '^(.*)$' AND replacement = '\1' THEN col
	ELSE format('CASE WHEN %1$s IS NOT NULL THEN ARRAY(SELECT regexp_replace(v, %2$L, %3$L)
		FROM unnest(%1$s) AS u (v) WHERE v ~ %2$L) END',
		col, pattern, replacement)
END;

-- `enabled` of a mapped value. userAccountControl counts by its bit ACCOUNTDISABLE; words by their
-- meaning; what means nothing is NULL, and the person is not enabled.
CREATE FUNCTION sync_enabled(value text) RETURNS boolean IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN value IS NULL THEN true
	WHEN lower(value) IN ('true', 'yes', 'on', '1', 'enabled', 'active') THEN true
	WHEN lower(value) IN ('false', 'no', 'off', '0', 'disabled', 'inactive') THEN false
	WHEN value ~ '^-?[0-9]{3,18}$' THEN value::bigint & 2 = 0
END;

-- Mapping ---------------------------------------------------------------------------------------

CREATE FUNCTION default_mapping(forest_site text, forest_name text, forest_kind text) RETURNS void
LANGUAGE sql
AS $$
	INSERT INTO hedgerow.mapping (site, forest, field, ordinal, attribute, pattern, replacement)
	SELECT forest_site, forest_name, m.field, m.ordinal, m.attribute, m.pattern, m.replacement
	FROM (VALUES
		('openldap', 'address', 1, 'mail', '^(.*)$', '\1'),
		('openldap', 'native', 1, 'uid', '^(.*)$', '\1@${installation.domain}'),
		('openldap', 'name', 1, 'displayName', '^(.*)$', '\1'),
		('openldap', 'name', 2, 'cn', '^(.*)$', '\1'),
		('activedirectory', 'address', 1, 'mail', '^(.*)$', '\1'),
		('activedirectory', 'address', 2, 'proxyAddresses', '^SMTP:(.*)$', '\1'),
		('activedirectory', 'alias', 1, 'proxyAddresses', '(?i)^smtp:(.*)$', '\1'),
		('activedirectory', 'native', 1, 'sAMAccountName', '^(.*)$', '\1@${installation.domain}'),
		('activedirectory', 'name', 1, 'displayName', '^(.*)$', '\1'),
		('activedirectory', 'name', 2, 'cn', '^(.*)$', '\1'),
		('activedirectory', 'enabled', 1, 'userAccountControl', '^(.*)$', '\1')
	) AS m (kind, field, ordinal, attribute, pattern, replacement)
	WHERE m.kind = forest_kind
	ON CONFLICT DO NOTHING;
$$;

CREATE FUNCTION forest_gets_mapping() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	PERFORM default_mapping(NEW.site, NEW.forest, NEW.kind);
	RETURN NULL;
END $$;
CREATE TRIGGER e_forest_gets_mapping AFTER INSERT ON forest
	FOR EACH ROW EXECUTE FUNCTION forest_gets_mapping();

-- Changed access to a forest is tried at once.
CREATE FUNCTION forest_is_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	UPDATE sync_state SET next_run = now(), failures = 0
	WHERE site = NEW.site AND forest = NEW.forest;
	RETURN NULL;
END $$;
CREATE TRIGGER e_forest_is_due AFTER UPDATE OF kind, urls, tls, ca, bind_dn, bind_secret, base_dn,
	filter, page_size, sync_interval ON forest
	FOR EACH ROW EXECUTE FUNCTION forest_is_due();

CREATE FUNCTION forest_forgets_sync() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	DELETE FROM sync_state WHERE site = OLD.site AND forest = OLD.forest;
	DELETE FROM sync_refused WHERE site = OLD.site AND forest = OLD.forest;
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
CREATE FUNCTION sync_plan() RETURNS TABLE (forest text, due_ms bigint, dry_run boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
	SELECT f.forest,
		CASE WHEN s.forest IS NULL OR s.wants_full OR s.wants_dry_run OR dead.kind IS NOT NULL THEN 0
		ELSE greatest(0, ceil(extract(epoch FROM s.next_run - now()) * 1000))::bigint END,
		coalesce(NOT s.wants_full AND dead.kind IS DISTINCT FROM 'full'
			AND (s.wants_dry_run OR dead.kind = 'dry-run'), false)
	FROM forest f
	LEFT JOIN sync_state s ON s.site = f.site AND s.forest = f.forest
	LEFT JOIN LATERAL (SELECT r.kind FROM sync_run r
		WHERE r.site = f.site AND r.forest = f.forest AND r.state = 'running'
		AND NOT sync_is_leased(f.forest) ORDER BY r.id DESC LIMIT 1) dead ON true
	WHERE f.site = local_site()
	ORDER BY 1
$$;

-- Takes the forest's lease for this session and makes its staging table: anchor, dn, refused
-- ('field: reason' of values that the daemon would not stage), then one text[] an attribute, in the
-- order of `attributes`. No row: another daemon has the lease. It ends with the session.
CREATE FUNCTION sync_begin(forest_name text, is_dry_run boolean, node_name text)
RETURNS TABLE (run bigint, attributes text[], kind text, urls text[], tls text, ca text, bind_dn text,
	bind_secret text, base_dn text, filter text, page_size int)
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	f forest%ROWTYPE;
	names text[];
	number bigint;
BEGIN
	f := sync_forest(forest_name);
	IF NOT pg_try_advisory_lock(hashtextextended('forest:' || forest_name, 0)) THEN
		RETURN;
	END IF;
	UPDATE sync_run t SET state = 'failed', finished = now(),
		error = 'the daemon or its database connection ended before the run did'
	WHERE t.site = f.site AND t.forest = f.forest AND t.state = 'running';
	PERFORM sync_prune(f.site, f.forest);
	INSERT INTO sync_run (site, forest, kind, node)
	VALUES (f.site, f.forest, CASE WHEN is_dry_run THEN 'dry-run' ELSE 'full' END, node_name)
	RETURNING id INTO number;
	INSERT INTO sync_state AS s (site, forest, next_run)
	VALUES (f.site, f.forest, now() + f.sync_interval)
	ON CONFLICT (site, forest) DO UPDATE SET
		wants_full = s.wants_full AND is_dry_run,
		wants_dry_run = s.wants_dry_run AND NOT is_dry_run,
		next_run = CASE WHEN is_dry_run THEN s.next_run ELSE excluded.next_run END;

	PERFORM sync_drop_temporary();
	-- The mapping as it is now serves the whole run.
	CREATE TEMP TABLE sync_mapping AS
	SELECT m.field, m.ordinal, m.attribute, m.pattern, m.replacement,
		'a' || dense_rank() OVER (ORDER BY lower(m.attribute)) AS col
	FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.attribute IS NOT NULL;
	INSERT INTO sync_mapping
	SELECT m.field, m.ordinal, NULL, NULL, m.replacement, NULL
	FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.attribute IS NULL;
	SELECT array_agg(t.attribute ORDER BY t.n) INTO names
	FROM (SELECT min(m.attribute) AS attribute, substr(m.col, 2)::int AS n
		FROM sync_mapping m WHERE m.col IS NOT NULL GROUP BY m.col) t;
	EXECUTE format('CREATE TEMP TABLE sync_staging (anchor text, dn text, refused text[]%s)',
		(SELECT string_agg(format(', a%s text[] COLLATE "C"', n), '' ORDER BY n)
		FROM generate_series(1, cardinality(names)) n));
	RETURN QUERY SELECT number, coalesce(names, '{}'), f.kind, f.urls, f.tls, f.ca, f.bind_dn,
		f.bind_secret, f.base_dn, f.filter, f.page_size;
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

-- Staging to sync_target: one row an entry that is meant as a person; `problem` says why it cannot
-- be published.
CREATE FUNCTION sync_map(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	only_installation text;
	expressions text;
BEGIN
	IF NOT EXISTS (SELECT FROM sync_mapping m WHERE m.field = 'address') THEN
		PERFORM refuse(format('forest "%s" has no mapping for the field address', f.forest),
			'say which attribute holds the e-mail address: hedgerow.add_mapping');
	END IF;
	SELECT min(i.installation) INTO only_installation FROM installation i
	WHERE i.site = f.site AND i.forest = f.forest HAVING count(*) = 1;

	SELECT string_agg(format('%s AS %I', coalesce(e.sql, 'NULL::text' || e.suffix), e.field), ', ')
	INTO expressions
	FROM (
		SELECT n.field, CASE n.field WHEN 'alias' THEN '[]' ELSE '' END AS suffix,
			CASE n.field WHEN 'alias' THEN
				string_agg(sync_expression_all(m.col, m.pattern, m.replacement), ' || ' ORDER BY m.ordinal)
			ELSE
				'coalesce(' || string_agg(sync_expression(m.col, m.pattern, m.replacement), ', ' ORDER BY m.ordinal) || ')'
			END AS sql
		FROM unnest('{address,native,installation,name,enabled,alias}'::text[]) AS n (field)
		LEFT JOIN sync_mapping m ON m.field = n.field
		GROUP BY n.field
	) e;

	-- OFFSET 0 keeps each step a step, so that no expression is evaluated twice.
	EXECUTE format($sql$
	CREATE TEMP TABLE sync_target ON COMMIT DROP AS
	WITH place AS (
		SELECT DISTINCT ON (installation) installation, native_domain FROM installation
		WHERE forest = %2$L ORDER BY installation, site = %3$L DESC, site),
	raw AS (SELECT anchor, %1$s FROM sync_staging OFFSET 0),
	placed AS (
		SELECT r.anchor, r.address, r.name, r.alias, r.enabled, coalesce(r.installation, %4$L) AS wanted,
			p.installation, p.native_domain, lower(r.address COLLATE "C") AS address_low,
			replace(r.native, '${installation.domain}', p.native_domain) AS native,
			lower(replace(r.native, '${installation.domain}', p.native_domain) COLLATE "C") AS native_low
		FROM raw r LEFT JOIN place p ON p.installation = coalesce(r.installation, %4$L)
		WHERE r.address IS NOT NULL OFFSET 0),
	checked AS (
		SELECT *, sync_is_plain(address_low) AS address_plain, sync_is_plain(native_low) AS native_plain,
			sync_enabled(enabled) AS is_enabled
		FROM placed OFFSET 0),
	folded AS (
		SELECT anchor, wanted, installation, native_domain, name, alias, enabled, is_enabled,
			address_plain, native_plain,
			CASE WHEN address_plain THEN address_low ELSE fold_address(address) END AS address,
			CASE WHEN native_plain THEN native_low ELSE fold_address(native) END AS native
		FROM checked OFFSET 0)
	SELECT anchor, address, CASE WHEN installation IS NOT NULL THEN native END AS native,
		installation, regexp_replace(name, '[[:cntrl:]]+', ' ', 'g') AS name,
		coalesce(is_enabled, false) AS enabled, CASE WHEN is_enabled IS NULL THEN enabled END AS enabled_unknown,
		alias, NULL::text[] AS aliases,
		CASE WHEN NOT (address_plain OR sync_is_address(address)) THEN
			format('address: %%s is not an address local@domain', left(address, 100))
		WHEN wanted IS NOT NULL AND installation IS NULL THEN
			format('installation: %%s is not an installation of this forest', left(wanted, 100))
		WHEN installation IS NOT NULL AND native IS NULL THEN
			format('native: installation %%s is given, but no native address', installation)
		WHEN installation IS NOT NULL AND NOT (native_plain OR sync_is_address(native)) THEN
			format('native: %%s is not an address local@domain', left(native, 100))
		WHEN installation IS NOT NULL AND split_part(native, '@', 2) <> native_domain THEN
			format('native: %%s is not in %%s, the domain of installation %%s', left(native, 100), native_domain, installation)
		END AS problem
	FROM folded
	$sql$, expressions, f.forest, f.site, only_installation);
	PERFORM sync_map_unique(f, 'address');
	PERFORM sync_map_unique(f, 'native');
	PERFORM sync_map_aliases(f);
END $$;

-- Of several entries with the same address (or native address) the person who exists for longest
-- keeps it, then the one with the lowest anchor, so that the order of import does not matter.
CREATE FUNCTION sync_map_unique(f forest, field text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE format($sql$
	WITH twice AS MATERIALIZED (
		SELECT %1$I AS value FROM sync_target WHERE problem IS NULL AND %1$I IS NOT NULL
		GROUP BY %1$I HAVING count(*) > 1),
	ranked AS MATERIALIZED (
		SELECT t.anchor, first_value(t.anchor) OVER (PARTITION BY t.%1$I
			ORDER BY p.created_at NULLS LAST, t.anchor COLLATE "C") AS winner
		FROM sync_target t JOIN twice d ON d.value = t.%1$I
		LEFT JOIN person p ON p.site = %2$L AND p.forest = %3$L AND p.anchor = t.anchor AND p.state = 'active'
		WHERE t.problem IS NULL)
	UPDATE sync_target t
	SET problem = format('%1$s: %%s is that of %%s', t.%1$I, r.winner)
	FROM ranked r WHERE r.anchor = t.anchor AND r.winner <> r.anchor
	$sql$, field, f.site, f.forest);
END $$;

-- Fills sync_target.aliases, sorted; sync_alias lists what became of each value.
CREATE FUNCTION sync_map_aliases(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	CREATE TEMP TABLE sync_alias ON COMMIT DROP AS
	WITH wanted AS MATERIALIZED (
		SELECT DISTINCT t.anchor, fold_address(v) AS address
		FROM sync_target t CROSS JOIN unnest(t.alias) AS u (v)
		WHERE t.problem IS NULL AND v <> '' AND fold_address(v) <> t.address),
	ranked AS (
		SELECT w.anchor, w.address, o.anchor AS owner, first_value(w.anchor) OVER (
			PARTITION BY w.address ORDER BY p.created_at NULLS LAST, w.anchor COLLATE "C") AS winner
		FROM wanted w
		LEFT JOIN sync_target o ON o.address = w.address AND o.problem IS NULL
		LEFT JOIN person p ON p.site = f.site AND p.forest = f.forest AND p.anchor = w.anchor)
	SELECT anchor, address, CASE
		WHEN NOT sync_is_address(address) THEN
			format('%s is not an address local@domain', left(address, 100))
		WHEN owner IS NOT NULL THEN format('%s is the address of %s', address, owner)
		WHEN winner <> anchor THEN format('%s is an alias of %s', address, winner)
		END AS problem
	FROM ranked;

	UPDATE sync_target t SET aliases = a.addresses
	FROM (SELECT anchor, array_agg(address ORDER BY address) AS addresses
		FROM sync_alias WHERE problem IS NULL GROUP BY anchor) a
	WHERE a.anchor = t.anchor;
END $$;

-- sync_target and person to sync_change: only what differs.
CREATE FUNCTION sync_compare(f forest) RETURNS void
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
	WHERE CASE WHEN t.anchor IS NULL THEN p.state = 'active'
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
			THEN 'no longer in the directory' ELSE 'no longer has an address' END)
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

CREATE FUNCTION sync_apply_refusals(f forest) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	gone bigint;
	fresh bigint;
BEGIN
	DELETE FROM sync_refused r WHERE r.site = f.site AND r.forest = f.forest
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
	SELECT count(*), coalesce(sum(hash_record_extended(t, 0)), 0) INTO r.read, answer FROM sync_staging t;
	IF r.kind = 'full' AND sync_is_same(f, answer) THEN
		RETURN sync_end(sync_skip(r, f));
	END IF;
	SELECT NOT EXISTS (SELECT FROM person WHERE site = f.site AND forest = f.forest) INTO first_import;
	IF r.read = 0 AND EXISTS (SELECT FROM person
		WHERE site = f.site AND forest = f.forest AND state = 'active') THEN
		RETURN sync_fail(number, 'the directory answered with no entries: everybody is kept', true);
	END IF;

	PERFORM sync_map(f);
	PERFORM sync_compare(f);
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
		PERFORM sync_remember(r, f, answer);
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
	UPDATE sync_state s SET last_good_run = r.id,
		answer = CASE WHEN r.kept = 0 THEN sync_remember.answer END,
		inputs = CASE WHEN r.kept = 0 THEN sync_inputs(f) END
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
	refusals := sync_apply_refusals(f);
	PERFORM sync_forget(f);
	-- A decision is over with the run that uses it, but people stay kept while they are missing.
	UPDATE sync_state s SET held_run = NULL, decided_run = CASE WHEN r.kept > 0 THEN s.decided_run END
	WHERE s.site = f.site AND s.forest = f.forest;
	RETURN CASE WHEN changes OR refusals > 0 THEN 'applied' ELSE 'unchanged' END;
END $$;

-- Writes the end of a run down and sets the time of the next. The session keeps the lease until this is
-- committed, or the run would look dead.
CREATE FUNCTION sync_end(r sync_run) RETURNS sync_run
LANGUAGE plpgsql
AS $$
BEGIN
	r.finished := clock_timestamp();
	UPDATE sync_run t SET state = r.state, finished = r.finished, read = r.read, skipped = r.skipped,
		added = r.added, changed = r.changed, removed = r.removed, disabled = r.disabled,
		kept = r.kept, refused = r.refused, difference = r.difference, error = r.error
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
-- and so on up to the interval of the forest; what will not, after the interval, so that a wrong
-- password does not lock the account.
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
			next_run = now() + CASE WHEN is_permanent THEN f.sync_interval
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
		pg_temp.sync_alias, pg_temp.sync_change, pg_temp.sync_refusal, pg_temp.sync_gone;
END $$;

-- Operators -------------------------------------------------------------------------------------

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
			'release_run', 'drop_run', 'forest_gets_mapping', 'forest_is_due', 'forest_forgets_sync'))
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
GRANT SELECT, INSERT, UPDATE, DELETE ON sync_run, sync_difference TO hedgerow_directory;
GRANT SELECT ON sync_runs, sync_differences, sync_refusals, sync_status
	TO hedgerow_operator, hedgerow_reader, hedgerow_directory;
