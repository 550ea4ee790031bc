-- SPDX-License-Identifier: Apache-2.0
-- A run costs less: that no entry was given twice is seen by hashes; a row of the mapping folds each address
-- once, where inlining did it a dozen times, and makes the details without the names that have no text.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

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
