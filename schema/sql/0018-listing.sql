-- SPDX-License-Identifier: Apache-2.0
-- Whom a search finds leaves the way of those who publish people. The index of everybody's words was a
-- fifth of a first import, and half of what another site needs to receive it, which makes an expression
-- ready for each row. Now gateways fill a table beside the people, a little after them.

DROP INDEX hedgerow.person_words;

CREATE TABLE hedgerow.listing (
	anchor text COLLATE "C",
	site text COLLATE "C",
	forest text COLLATE "C",
	words tsvector NOT NULL,
	PRIMARY KEY (anchor, site, forest)
);
CREATE INDEX listing_words ON hedgerow.listing USING gin (words);

-- A row for each change, and no key: nobody waits here for another.
CREATE TABLE hedgerow.listing_due (
	anchor text COLLATE "C" NOT NULL,
	site text COLLATE "C" NOT NULL,
	forest text COLLATE "C" NOT NULL
);

CREATE FUNCTION hedgerow.list_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO hedgerow.listing_due SELECT c.anchor, c.site, c.forest FROM changed c;
	RETURN NULL;
END $$;

-- What replication brings, which runs no triggers for statements.
CREATE FUNCTION hedgerow.list_replicated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		INSERT INTO hedgerow.listing_due VALUES (OLD.anchor, OLD.site, OLD.forest);
	ELSE
		INSERT INTO hedgerow.listing_due VALUES (NEW.anchor, NEW.site, NEW.forest);
	END IF;
	RETURN NULL;
END $$;

CREATE TRIGGER f_list_insert AFTER INSERT ON hedgerow.person REFERENCING NEW TABLE AS changed
	FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.list_changed();
CREATE TRIGGER f_list_update AFTER UPDATE ON hedgerow.person REFERENCING NEW TABLE AS changed
	FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.list_changed();
CREATE TRIGGER f_list_delete AFTER DELETE ON hedgerow.person REFERENCING OLD TABLE AS changed
	FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.list_changed();
CREATE TRIGGER f_list_replicated AFTER INSERT OR UPDATE OR DELETE ON hedgerow.person
	FOR EACH ROW EXECUTE FUNCTION hedgerow.list_replicated();
ALTER TABLE hedgerow.person ENABLE REPLICA TRIGGER f_list_replicated;

INSERT INTO hedgerow.listing_due SELECT p.anchor, p.site, p.forest FROM hedgerow.person p;

-- Brings at most `most` changes into the listing; one caller at a time. Returns whether there may be more.
CREATE FUNCTION hedgerow.list_people(most int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	taken bigint;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtextextended('list_people', 0)) THEN
		RETURN false;
	END IF;
	WITH due AS (
		DELETE FROM hedgerow.listing_due WHERE ctid = ANY (ARRAY(SELECT d.ctid FROM hedgerow.listing_due d LIMIT most)) RETURNING *
	), people AS MATERIALIZED (
		SELECT d.anchor, d.site, d.forest, CASE WHEN p.anchor IS NOT NULL THEN hedgerow.words_of(p.name, p.address, p.details) END AS words
		FROM (SELECT DISTINCT * FROM due) d
		LEFT JOIN hedgerow.person p ON p.anchor = d.anchor AND p.site = d.site AND p.forest = d.forest
			AND p.state = 'active' AND p.enabled
	), unlisted AS (
		DELETE FROM hedgerow.listing l USING people p
		WHERE p.words IS NULL AND l.anchor = p.anchor AND l.site = p.site AND l.forest = p.forest
	), listed AS (
		INSERT INTO hedgerow.listing AS l SELECT * FROM people p WHERE p.words IS NOT NULL
		ON CONFLICT ON CONSTRAINT listing_pkey DO UPDATE SET words = excluded.words WHERE l.words <> excluded.words
	)
	SELECT count(*) INTO taken FROM due;
	RETURN taken = most;
END $$;

-- As before, from the listing, and from those who are due to be listed: of these 20,000 at most. Who has no
-- chat is found where mail reaches them.
CREATE OR REPLACE FUNCTION hedgerow.search_people(asker text, words text, most int DEFAULT 50)
	RETURNS TABLE (address text, name text, details jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
	SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	query tsquery := hedgerow.search_query(words);
	domain text := lower(substring(words FROM '@([^@\s]*)'));
	a record;
BEGIN
	SELECT l.address, l.forest, l.site INTO a FROM hedgerow.lookup_addresses(ARRAY[search_people.asker]) l WHERE l.enabled;
	IF a.address IS NULL OR query IS NULL THEN
		RETURN;
	END IF;
	RETURN QUERY
	WITH forests AS MATERIALIZED (
		SELECT f.site, f.forest, hedgerow.forest_name(f.site, f.forest) AS name FROM hedgerow.forest f
	), rules AS MATERIALIZED (
		SELECT k.kind, r.priority, r.rule, r.to_pattern, r.action = 'allow' AS allow
		FROM hedgerow.rule r JOIN (VALUES ('message'), ('iq')) k(kind) ON r.kind IN ('any', k.kind)
		WHERE r.site = hedgerow.local_site() AND hedgerow.is_meant(r.from_pattern, a.address, a.forest, a.site)
	), due AS MATERIALIZED (
		SELECT d.anchor, d.site, d.forest FROM hedgerow.listing_due d LIMIT 20000
	), candidates AS MATERIALIZED (
		SELECT p.site, p.forest, p.anchor, p.address, p.installation, p.native, p.name, p.details
		FROM (SELECT l.anchor, l.site, l.forest FROM hedgerow.listing l WHERE l.words @@ query
				AND NOT EXISTS (SELECT FROM due d WHERE d.anchor = l.anchor AND d.site = l.site AND d.forest = l.forest)) l
		JOIN hedgerow.person p ON p.anchor = l.anchor AND p.site = l.site AND p.forest = l.forest
		WHERE p.state = 'active' AND p.enabled
			AND (domain IS NULL OR starts_with(split_part(p.address, '@', 2), domain))
		UNION ALL
		SELECT p.site, p.forest, p.anchor, p.address, p.installation, p.native, p.name, p.details
		FROM (SELECT DISTINCT * FROM due) d
		JOIN hedgerow.person p ON p.anchor = d.anchor AND p.site = d.site AND p.forest = d.forest
		WHERE p.state = 'active' AND p.enabled
			AND hedgerow.words_of(p.name, p.address, p.details) @@ query
			AND (domain IS NULL OR starts_with(split_part(p.address, '@', 2), domain))
		LIMIT 5000
	), allowed AS MATERIALIZED ( -- costs less than to find the winner
		SELECT c.* FROM candidates c
		JOIN forests f ON f.site = c.site AND f.forest = c.forest
		CROSS JOIN LATERAL (
			(SELECT i.site FROM hedgerow.installation i WHERE c.native IS NOT NULL AND i.installation = c.installation
				ORDER BY i.site <> c.site, i.site LIMIT 1)
			UNION ALL
			SELECT m.site FROM hedgerow.mail_domain m
			WHERE c.native IS NULL AND m.site = c.site AND m.domain = split_part(c.address, '@', 2) AND m.mode <> 'off') h
		WHERE EXISTS (SELECT FROM (VALUES ('message'), ('iq')) k(kind)
			WHERE coalesce((SELECT r.allow FROM rules r
					WHERE r.kind = k.kind AND hedgerow.is_meant(r.to_pattern, c.address, f.name, h.site)
					ORDER BY r.priority, r.rule LIMIT 1),
				f.name = a.forest))
	), found AS MATERIALIZED (
		SELECT c.address, c.name, c.details FROM allowed c CROSS JOIN LATERAL hedgerow.winner(c.address) w
		WHERE w.site = c.site AND w.forest = c.forest AND w.anchor = c.anchor
		LIMIT search_people.most + 1
	)
	(SELECT f.address, f.name, f.details FROM found f ORDER BY lower(f.name), f.address LIMIT search_people.most)
	UNION ALL
	SELECT NULL, NULL, NULL WHERE (SELECT count(*) FROM found) > search_people.most OR (SELECT count(*) FROM candidates) = 5000
		OR (SELECT count(*) FROM due) = 20000;
END $$;

REVOKE ALL ON FUNCTION hedgerow.list_changed, hedgerow.list_replicated, hedgerow.list_people FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION hedgerow.fold_accents, hedgerow.search_fold, hedgerow.search_words, hedgerow.words_of FROM hedgerow_directory;
GRANT EXECUTE ON FUNCTION hedgerow.list_people TO hedgerow_gateway;

COMMENT ON TABLE hedgerow.listing IS 'The words by which a search finds people. Local, made from the people';
COMMENT ON TABLE hedgerow.listing_due IS 'People who have changed and are not listed anew yet. Local';
