-- SPDX-License-Identifier: Apache-2.0
-- The directory for people: somebody finds a colleague by name, within what rules allow.
--
-- Words are compared folded: without case and accents, split at whatever is no letter or digit. Those
-- of a person are in a full-text index, which finds them by their beginnings: on 300,000 people as quick
-- as an index by pg_trgm, half its size, and without an extension. What is published pays 2 us a person
-- for it, so the expression is kept cheap: ASCII is not folded, and only signs that names have part words.

CREATE FUNCTION hedgerow.fold_accents(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(replace(replace(replace(translate(
	regexp_replace(normalize(lower(normalize(value, NFKC) COLLATE "und-x-icu"), NFKD), U&'[\0300-\036F]', '', 'g'),
	U&'øđłħŧıðς\00B7\2010\2011\2012\2013\2014\2018\2019\201C\201D', 'odlhtidσ          '),
	'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');

CREATE FUNCTION hedgerow.search_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) = length(value) THEN value ELSE hedgerow.fold_accents(value) END;

-- The words of a folded text, parted by hand: the parser of text search takes twice as long, and parts some
-- names at other places. 500 letters are no longer than the longest word of the index (2,046 bytes).
CREATE FUNCTION hedgerow.search_words(folded text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_remove(string_to_array(left(
	replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(lower(folded COLLATE "C"),
		'.', ' '), '-', ' '), '_', ' '), '/', ' '), ',', ' '), '''', ' '), '(', ' '), ')', ' '), '&', ' '), '"', ' '), ':', ' '), '+', ' '),
	500), ' '), '');

CREATE FUNCTION hedgerow.words_of(name text, address text, details jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_to_tsvector(hedgerow.search_words(
	hedgerow.search_fold(split_part(address, '@', 1)) || ' ' || hedgerow.search_fold(coalesce(name, '')) ||
	CASE WHEN name = (details ->> 'given_name') || ' ' || (details ->> 'family_name') THEN ''
		ELSE ' ' || hedgerow.search_fold(coalesce(details ->> 'given_name', '')) ||
			' ' || hedgerow.search_fold(coalesce(details ->> 'family_name', '')) END));

-- Publishing many people only lists them; vacuum sorts the list in.
CREATE INDEX person_words ON hedgerow.person USING gin (hedgerow.words_of(name, address, details))
	WITH (gin_pending_list_limit = 65536) WHERE state = 'active' AND enabled AND native IS NOT NULL;

-- Every word of the text as the beginning of a word, in a query for the index; NULL: it has none.
-- What follows an @ is no word: search_people compares it with the domain.
CREATE FUNCTION hedgerow.search_query(words text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT string_agg(DISTINCT quote_literal(w) || ':*', ' & ')
	FROM unnest(hedgerow.search_words(translate(hedgerow.search_fold(regexp_replace(words, '@\S*', ' ', 'g')),
		E'!"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~\t\r\n', '                                   '))) w)::tsquery;

-- Whether a pattern of a rule means a person, as policy_ask has it
CREATE FUNCTION hedgerow.is_meant(pattern text, address text, forest text, site text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pattern = 'any' OR pattern = 'forest:' || forest OR pattern = 'site:' || site
	OR pattern = 'domain:' || split_part(address, '@', 2) OR pattern = 'address:' || address;

-- People who have all the words and to whom rules let `asker` (a federation address) send messages or
-- queries, at most `most` of them by name; a last row without address: there may be more. Looks at 5,000
-- who have the words, so that a search costs little whatever the rules are.
CREATE FUNCTION hedgerow.search_people(asker text, words text, most int DEFAULT 50)
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
	), candidates AS MATERIALIZED (
		SELECT p.site, p.forest, p.anchor, p.address, p.installation, p.name, p.details FROM hedgerow.person p
		WHERE p.state = 'active' AND p.enabled AND p.native IS NOT NULL
			AND hedgerow.words_of(p.name, p.address, p.details) @@ query
			AND (domain IS NULL OR starts_with(split_part(p.address, '@', 2), domain))
		LIMIT 5000
	), allowed AS MATERIALIZED ( -- costs less than to find the winner
		SELECT c.* FROM candidates c
		JOIN forests f ON f.site = c.site AND f.forest = c.forest
		CROSS JOIN LATERAL (SELECT i.site FROM hedgerow.installation i WHERE i.installation = c.installation
			ORDER BY i.site <> c.site, i.site LIMIT 1) h
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
	SELECT NULL, NULL, NULL WHERE (SELECT count(*) FROM found) > search_people.most OR (SELECT count(*) FROM candidates) = 5000;
END $$;

REVOKE ALL ON FUNCTION hedgerow.fold_accents, hedgerow.search_fold, hedgerow.search_words, hedgerow.words_of, hedgerow.search_query, hedgerow.is_meant,
	hedgerow.search_people FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.fold_accents, hedgerow.search_fold, hedgerow.search_words, hedgerow.words_of TO hedgerow_directory;
GRANT EXECUTE ON FUNCTION hedgerow.search_people TO hedgerow_gateway, hedgerow_operator;

COMMENT ON FUNCTION hedgerow.search_people IS 'Whom somebody finds by name: the directory for people, within what rules allow';
