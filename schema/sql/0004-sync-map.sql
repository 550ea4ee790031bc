-- SPDX-License-Identifier: Apache-2.0
-- From the attributes of an entry to the fields of a person: mapping is data.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

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
	WHERE m.kind = CASE forest_kind WHEN 'ldif' THEN 'openldap' ELSE forest_kind END
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
	raw AS (SELECT anchor, %1$s FROM sync_staging WHERE gone IS NOT TRUE OFFSET 0),
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

