-- SPDX-License-Identifier: Apache-2.0
-- From the attributes of an entry to the fields of a person: mapping is data. It becomes SQL once a
-- mapping, in a trigger function of the session, and maps each COPY as it comes.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- The usual mapping of a kind of forest -------------------------------------------------------------

CREATE FUNCTION usual_mapping(forest_kind text)
	RETURNS TABLE (field text, ordinal int, attribute text, pattern text, replacement text, fold text)
LANGUAGE sql IMMUTABLE
AS $$
	SELECT m.field, row_number() OVER (PARTITION BY m.field ORDER BY m.place)::int, m.attribute,
		coalesce(m.pattern, '^(.*)$'), coalesce(m.replacement, '\1'), 'none'
	FROM (VALUES
		(1, '{openldap,activedirectory,ldif}', 'address', 'mail', NULL, NULL),
		(2, '{activedirectory,ldif}', 'address', 'proxyAddresses', '^SMTP:(.*)$', NULL),
		(3, '{activedirectory,ldif}', 'alias', 'proxyAddresses', '(?i)^(?:smtp|sip):(.*)$', NULL),
		(4, '{activedirectory,ldif}', 'alias', 'userPrincipalName', NULL, NULL),
		(5, '{activedirectory,ldif}', 'alias', 'msRTCSIP-PrimaryUserAddress', '(?i)^sip:(.*)$', NULL),
		(6, '{activedirectory,ldif}', 'alias', 'msExchIMAddress', NULL, NULL),
		(7, '{openldap,ldif}', 'native', 'uid', NULL, '\1@${installation.domain}'),
		(8, '{activedirectory,ldif}', 'native', 'sAMAccountName', NULL, '\1@${installation.domain}'),
		(9, '{openldap,activedirectory,ldif}', 'name', 'displayName', NULL, NULL),
		(10, '{openldap,activedirectory,ldif}', 'name', 'cn', NULL, NULL),
		(11, '{activedirectory,ldif}', 'enabled', 'userAccountControl', NULL, NULL),
		(12, '{openldap,ldif}', 'enabled', 'pwdAccountLockedTime', '^000001010000Z$', 'false'), -- for ever
		(13, '{activedirectory,ldif}', 'kind', 'objectClass', '^contact$', 'contact'),
		(14, '{activedirectory,ldif}', 'created', 'whenCreated', NULL, NULL),
		(15, '{openldap,ldif}', 'created', 'createTimestamp', NULL, NULL),
		(16, '{openldap,activedirectory,ldif}', 'given_name', 'givenName', NULL, NULL),
		(17, '{openldap,activedirectory,ldif}', 'family_name', 'sn', NULL, NULL),
		(18, '{activedirectory,ldif}', 'organization', 'company', NULL, NULL),
		(19, '{openldap,ldif}', 'organization', 'o', NULL, NULL),
		(20, '{activedirectory,ldif}', 'department', 'department', NULL, NULL),
		(21, '{openldap,ldif}', 'department', 'ou', NULL, NULL),
		(22, '{openldap,activedirectory,ldif}', 'title', 'title', NULL, NULL),
		(23, '{openldap,activedirectory,ldif}', 'telephone', 'telephoneNumber', NULL, NULL)
	) AS m (place, kinds, field, attribute, pattern, replacement)
	WHERE forest_kind = ANY (m.kinds::text[])
$$;

CREATE FUNCTION forest_gets_mapping() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
BEGIN
	PERFORM set_config('hedgerow.copying', 'on', true);
	INSERT INTO mapping (site, forest, version, field, ordinal, attribute, pattern, replacement, fold)
	SELECT NEW.site, NEW.forest, NEW.mapping_version, u.* FROM usual_mapping(NEW.kind) u;
	PERFORM set_config('hedgerow.copying', '', true);
	RETURN NULL;
END $$;
CREATE TRIGGER e_forest_gets_mapping AFTER INSERT ON forest
	FOR EACH ROW EXECUTE FUNCTION forest_gets_mapping();

-- Expressions ---------------------------------------------------------------------------------------

-- The attributes that a version of a mapping reads, in the order of the columns of staging.
CREATE FUNCTION sync_attributes(f forest, map_version int) RETURNS text[]
LANGUAGE sql STABLE
AS $$
	SELECT coalesce(array_agg(a.name ORDER BY lower(a.name)), '{}') FROM (
		SELECT DISTINCT ON (lower(n.name)) n.name
		FROM mapping m CROSS JOIN LATERAL (SELECT m.attribute UNION SELECT unnest(template_names(m.replacement))) n (name)
		WHERE m.site = f.site AND m.forest = f.forest AND m.version = map_version AND n.name <> 'installation.domain'
		ORDER BY lower(n.name), n.name) a
$$;

-- The column of staging for an attribute.
CREATE FUNCTION sync_column(attributes text[], name text) RETURNS text IMMUTABLE
RETURN (SELECT 'a' || u.n FROM unnest(attributes) WITH ORDINALITY u (attribute, n) WHERE lower(u.attribute) = lower(name));

-- The SQL of a replacement: texts, ${attribute}, and \1 where `value` stands for it. With `value` NULL
-- backslashes are left to regexp_replace, and those in attributes escaped from it. What names an
-- attribute that an entry does not have gives NULL.
CREATE FUNCTION sync_template(attributes text[], replacement text, value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
	parts text[] := '{}';
	rest text := replacement;
	part text[];
	reference text;
BEGIN
	LOOP
		part := regexp_match(rest, CASE WHEN value IS NULL THEN '^(.*?)\$\{([^}]*)\}(.*)$' ELSE '^(.*?)(?:\$\{([^}]*)\}|\\1)(.*)$' END);
		IF coalesce(part[1], rest) <> '' THEN
			parts := parts || quote_literal(coalesce(part[1], rest));
		END IF;
		EXIT WHEN part IS NULL;
		reference := CASE WHEN part[2] IS NULL THEN value WHEN part[2] = 'installation.domain' THEN 'p.native_domain'
			ELSE sync_column(attributes, part[2]) || '[1]' END;
		parts := parts || CASE WHEN value IS NULL AND part[2] <> 'installation.domain'
			THEN format($f$replace(%s, '\', '\\')$f$, reference) ELSE reference END;
		rest := part[3];
	END LOOP;
	RETURN CASE WHEN parts = '{}' THEN quote_literal('') ELSE array_to_string(parts, ' || ') END;
END $$;

-- The SQL of one mapped value `value` of the attribute of a mapping.
CREATE FUNCTION sync_mapped(attributes text[], m mapping, value text) RETURNS text IMMUTABLE
RETURN format(CASE m.fold WHEN 'lower' THEN 'lower(%s COLLATE "und-x-icu")' WHEN 'upper' THEN 'upper(%s COLLATE "und-x-icu")' ELSE '%s' END,
	CASE WHEN m.pattern = '^(.*)$' AND m.replacement !~ '\\[^1]|\\$' THEN sync_template(attributes, m.replacement, value)
	ELSE format('nullif(regexp_replace(%s, %L, %s), %L)', value, m.pattern, sync_template(attributes, m.replacement, NULL), '') END);

-- The SQL of a mapping over one row of staging: the first value that matches, mapped.
CREATE FUNCTION sync_expression(attributes text[], m mapping) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
	col text := sync_column(attributes, m.attribute);
BEGIN
	IF col IS NULL THEN
		m.pattern := '^(.*)$';
		RETURN sync_mapped(attributes, m, quote_literal(''));
	ELSIF m.pattern = '^(.*)$' THEN
		RETURN sync_mapped(attributes, m, col || '[1]');
	END IF;
	RETURN format($f$CASE WHEN %1$s[1] ~ %2$L THEN %3$s
		WHEN cardinality(%1$s) > 1 THEN (SELECT %4$s FROM unnest(%1$s) WITH ORDINALITY AS u (v, n) WHERE v ~ %2$L ORDER BY n LIMIT 1) END$f$,
		col, m.pattern, sync_mapped(attributes, m, col || '[1]'), sync_mapped(attributes, m, 'v'));
END $$;

-- As sync_expression, but an array of all the values that match.
CREATE FUNCTION sync_expression_all(attributes text[], m mapping) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
	col text := sync_column(attributes, m.attribute);
BEGIN
	IF col IS NULL THEN
		RETURN format('ARRAY[%s]', sync_expression(attributes, m));
	ELSIF m.pattern = '^(.*)$' AND m.replacement = '\1' AND m.fold = 'none' THEN
		RETURN col;
	END IF;
	RETURN format('CASE WHEN %1$s IS NOT NULL THEN ARRAY(SELECT %2$s FROM unnest(%1$s) AS u (v) WHERE v ~ %3$L) END',
		col, sync_mapped(attributes, m, 'v'), m.pattern);
END $$;

-- The SQL of a field; NULL: nothing maps to it.
CREATE FUNCTION sync_field(f forest, map_version int, field text) RETURNS text
LANGUAGE sql STABLE
AS $$
	SELECT CASE WHEN $3 = 'alias' THEN string_agg(sync_expression_all(a.names, m), ' || ' ORDER BY m.ordinal)
		ELSE 'coalesce(' || string_agg(sync_expression(a.names, m), ', ' ORDER BY m.ordinal) || ')' END
	FROM mapping m CROSS JOIN (SELECT sync_attributes(f, map_version) AS names) a
	WHERE m.site = f.site AND m.forest = f.forest AND m.version = map_version AND m.field = $3
$$;

-- The SQL that maps what is in sync_staging into sync_target. OFFSET 0 keeps each step a step, so that no
-- expression is evaluated twice.
CREATE FUNCTION sync_map_sql(f forest, map_version int) RETURNS text
LANGUAGE plpgsql STABLE
AS $body$
DECLARE
	fields text;
	details text;
	aliases text;
BEGIN
	SELECT string_agg(format('%s AS %I', coalesce(sync_field(f, map_version, n.field),
			CASE n.field WHEN 'alias' THEN 'NULL::text[]' ELSE 'NULL::text' END), n.field), ', ')
	INTO fields FROM unnest('{address,alias,native,name,enabled,kind,created,skip}'::text[]) n (field);
	SELECT format('jsonb_strip_nulls(jsonb_object(%L, ARRAY[%s]))', array_agg(n.field),
		string_agg(sync_field(f, map_version, n.field), ', '))
	INTO details FROM unnest('{given_name,family_name,organization,department,title,telephone}'::text[]) n (field)
	WHERE sync_field(f, map_version, n.field) IS NOT NULL HAVING count(*) > 0;

	aliases := CASE WHEN sync_field(f, map_version, 'alias') IS NULL THEN 'SELECT NULL::text[] AS good, NULL::text[] AS bad' ELSE $sql$
		SELECT array_agg(DISTINCT v.folded ORDER BY v.folded) FILTER (WHERE v.valid) AS good,
			array_agg(DISTINCT format('alias: %s is not an address local@domain', left(v.folded, 100))) FILTER (WHERE NOT v.valid) AS bad
		FROM (SELECT w.folded, sync_is_plain(w.folded) OR sync_is_address(w.folded) AS valid
			FROM (SELECT fold_address(u.v) AS folded FROM unnest(j.alias) u (v) WHERE is_person AND problem IS NULL AND u.v <> '' OFFSET 0) w
			WHERE w.folded <> j.address_folded OFFSET 0) v $sql$ END;

	-- 1 fields, 2 installation, 3 forest, 4 site, 5 details, 6 aliases
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
			%1$s, %5$s AS details
		FROM (SELECT *, nullif(coalesce(%2$s, (SELECT installation FROM sole)), 'none') AS wanted
			FROM sync_staging WHERE given > before OFFSET 0) s
		LEFT JOIN place p ON p.installation = s.wanted
		OFFSET 0),
	low AS (
		SELECT *, lower(address COLLATE "C") AS address_low, lower(native COLLATE "C") AS native_low,
			sync_is_plain(lower(address COLLATE "C")) AS address_plain, sync_is_plain(lower(native COLLATE "C")) AS native_plain,
			coalesce(kind, 'user') AS is_kind, sync_enabled(enabled) AS is_enabled, sync_time(created) AS created_at
		FROM raw OFFSET 0),
	folded AS (
		SELECT *, NOT gone AND skip IS NULL AND address IS NOT NULL AS is_person,
			installation IS NOT NULL AND (native IS NOT NULL OR is_kind = 'user') AS is_placed,
			CASE WHEN address_plain THEN address_low ELSE fold_address(address) END AS address_folded,
			CASE WHEN native_plain THEN native_low ELSE fold_address(native) END AS native_folded
		FROM low OFFSET 0),
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
		coalesce(details, $$'{}'::jsonb$$), aliases);
END $body$;

-- The session's tables for a mapping ----------------------------------------------------------------

CREATE FUNCTION sync_drop_temporary() RETURNS void
LANGUAGE plpgsql
SET client_min_messages = warning
AS $$
BEGIN
	DROP TABLE IF EXISTS pg_temp.sync_staging, pg_temp.sync_target, pg_temp.sync_change, pg_temp.sync_refusal,
		pg_temp.sync_position, pg_temp.sync_now;
	DROP FUNCTION IF EXISTS pg_temp.sync_take();
END $$;

-- Makes the temporary tables, or empties those that an earlier run by the same mapping has left: a session
-- that follows changes makes none for each. `is_new`: the forest has nobody yet, so nothing was seen.
--   sync_staging  entries as the daemon gives them; never more than one COPY
--   sync_target   what they are to be, in the order given; `valid`: a person that can be published;
--                 `same`: as it was seen before, and not mapped again
--   sync_change   what differs from the registry
--   sync_refusal  what is refused
--   sync_position the cursors to store
--   sync_now      the run
CREATE FUNCTION sync_prepare(f forest, map_version int, is_new boolean) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	-- all that the tables and the statement are made of: the mapping, and the code
	fingerprint text := md5(concat_ws(' ', f.site, f.forest, (SELECT max(number) FROM migration),
		(SELECT string_agg(row(m.field, m.ordinal, m.attribute, m.pattern, m.replacement, m.fold)::text, ',' ORDER BY m.field, m.ordinal)
			FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.version = map_version)));
	attributes text[];
BEGIN
	IF NOT EXISTS (SELECT FROM mapping m WHERE m.site = f.site AND m.forest = f.forest AND m.version = map_version AND m.field = 'address') THEN
		PERFORM refuse(format('forest "%s" has no mapping for the field address', f.forest),
			'say which attribute holds the e-mail address: hedgerow mapping add');
	END IF;
	PERFORM set_config('hedgerow.sync_salt', hashtextextended(concat_ws(' ', fingerprint,
		(SELECT string_agg(concat_ws(' ', i.site, i.installation, i.native_domain), ',' ORDER BY i.site, i.installation)
			FROM installation i WHERE i.forest = f.forest),
		coalesce((SELECT s.epoch FROM sync_state s WHERE s.site = f.site AND s.forest = f.forest), 0)), 0)::text, false);
	IF is_new THEN
		DELETE FROM sync_seen k WHERE k.forest = f.forest; -- whoever emptied it, and how
	END IF;
	PERFORM set_config('hedgerow.sync_seen', (NOT is_new)::text, false);
	IF current_setting('hedgerow.sync_prepared', true) = fingerprint THEN
		PERFORM sync_clear();
		RETURN;
	END IF;
	PERFORM sync_drop_temporary();
	attributes := sync_attributes(f, map_version);
	EXECUTE format('CREATE TEMP TABLE sync_staging (given bigint, anchor text COLLATE "C", dn text, gone boolean,
		refused text[]%s, digest bigint) ON COMMIT DELETE ROWS',
		(SELECT string_agg(format(', a%s text[] COLLATE "C"', n), '' ORDER BY n) FROM generate_series(1, cardinality(attributes)) n));
	CREATE TEMP TABLE sync_target (given bigint, anchor text COLLATE "C", gone boolean, valid boolean, address text COLLATE "C",
		native text COLLATE "C", installation text, name text, kind text, enabled boolean, details jsonb,
		created_at timestamptz, aliases text[], digest bigint, problem text, dn text, refusals text[], same boolean NOT NULL DEFAULT false);
	CREATE TEMP TABLE sync_change (anchor text COLLATE "C", action text, known boolean, was_active boolean, removed boolean,
		disabled boolean, readdressed boolean);
	CREATE TEMP TABLE sync_refusal (anchor text COLLATE "C", field text, reason text, dn text);
	CREATE TEMP TABLE sync_position (LIKE sync_cursor INCLUDING DEFAULTS);
	CREATE TEMP TABLE sync_now (LIKE sync_run);
	EXECUTE format($sql$
		CREATE FUNCTION pg_temp.sync_take() RETURNS trigger LANGUAGE plpgsql
		SET search_path = pg_catalog, hedgerow, pg_temp SET jit = off SET TimeZone = 'UTC'
		AS $take$
		DECLARE
			before bigint := (SELECT read FROM sync_now);
		BEGIN
			IF sync_taken(%L) THEN
				%s;
			END IF;
			RETURN NULL;
		END $take$ $sql$, f.forest, sync_map_sql(f, map_version));
	CREATE TRIGGER sync_take AFTER INSERT ON sync_staging FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.sync_take();
	PERFORM set_config('hedgerow.sync_prepared', fingerprint, false);
END $$;

-- Empties them. TRUNCATE writes to the catalogue, which the handful of rows of a changes run is not worth;
-- but nobody vacuums temporary tables.
CREATE FUNCTION sync_clear() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	IF EXISTS (SELECT FROM sync_now WHERE kind <> 'changes') OR pg_relation_size('pg_temp.sync_target')
		+ pg_relation_size('pg_temp.sync_change') + pg_relation_size('pg_temp.sync_now') > 1000000 THEN
		TRUNCATE sync_staging, sync_target, sync_change, sync_refusal, sync_position, sync_now;
		RETURN;
	END IF;
	DELETE FROM sync_staging;
	DELETE FROM sync_target;
	DELETE FROM sync_change;
	DELETE FROM sync_refusal;
	DELETE FROM sync_position;
	DELETE FROM sync_now;
END $$;

-- What the run is doing, for others to see at once: the session's application_name.
CREATE FUNCTION sync_tell(run bigint, phase text, number bigint) RETURNS void
LANGUAGE sql
AS $$ SELECT set_config('application_name', format('hedgerow-directory run %s %s %s', run, phase, number), false) $$;

-- A COPY has come: those of it that are as they were seen need no mapping. LIMIT keeps it to one look into the
-- index for each, whatever the planner, who knows nothing of temporary tables, thinks of the rest. Returns
-- whether there are others.
CREATE FUNCTION sync_taken(forest_name text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
	before bigint;
	taken bigint;
	same bigint := 0;
BEGIN
	SELECT n.read, greatest(n.read, (SELECT max(s.given) FROM sync_staging s)) INTO before, taken FROM sync_now n;
	UPDATE sync_now SET read = taken;
	PERFORM sync_tell(n.id, 'read', n.read) FROM sync_now n;
	IF current_setting('hedgerow.sync_seen')::boolean THEN
		INSERT INTO sync_target (given, anchor, gone, valid, same)
		SELECT s.given, s.anchor, false, k.valid, true
		FROM (SELECT t.given, t.anchor, sync_key(forest_name, t.anchor) AS key,
				t.digest # current_setting('hedgerow.sync_salt')::bigint AS digest
			FROM sync_staging t WHERE t.given > before AND NOT t.gone OFFSET 0) s
		CROSS JOIN LATERAL (SELECT n.valid FROM sync_seen n WHERE n.key = s.key AND n.digest = s.digest LIMIT 1) k;
		GET DIAGNOSTICS same = ROW_COUNT;
		IF same BETWEEN 1 AND taken - before - 1 THEN
			DELETE FROM sync_staging s USING sync_target t WHERE t.given > before AND t.given = s.given;
		END IF;
	END IF;
	RETURN same < taken - before;
END $$;

-- After a run that left the people as the entries say: remembers which do, so that the next run is quick.
-- The daemon calls it when the run is over and its people are there.
CREATE FUNCTION sync_remember() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, hedgerow, pg_temp
AS $$
DECLARE
	remembered bigint;
BEGIN
	INSERT INTO sync_seen AS k (key, digest, valid, forest)
	SELECT sync_key(r.forest, t.anchor), t.digest # current_setting('hedgerow.sync_salt')::bigint, t.valid, r.forest
	FROM sync_now r CROSS JOIN sync_target t
	WHERE r.state IN ('applied', 'unchanged') AND NOT t.same AND NOT t.gone AND t.digest IS NOT NULL AND t.refusals IS NULL
	ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, valid = excluded.valid, forest = excluded.forest;
	GET DIAGNOSTICS remembered = ROW_COUNT;
	PERFORM sync_clear();
	RETURN remembered;
END $$;
