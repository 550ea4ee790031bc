-- SPDX-License-Identifier: Apache-2.0
-- Who wins an address, and what a gateway asks. The rule, once for one address (winner) and once
-- for all (routable, conflicts, quarantine):
--   1. The domain of the address is granted to the person's site and forest (email_domain).
--   2. The address is not reserved: no deleted person of the same forest held it.
--   3. A canonical address goes before an alias; then the lower forest.priority, then the older
--      created_at, then site, forest, anchor. Whoever does not win the canonical address wins no
--      alias either, nor a native address: they would speak under somebody else's name.

CREATE FUNCTION hedgerow.domain_of(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(address, '@', 2);

-- The person who has the canonical address. A plain SELECT, so that the planner inlines it.
CREATE FUNCTION hedgerow.winner(wanted text) RETURNS SETOF hedgerow.person
LANGUAGE sql STABLE AS $$
	SELECT p.* FROM hedgerow.person p
	JOIN hedgerow.forest f ON f.site = p.site AND f.forest = p.forest
	WHERE p.address = wanted AND p.state = 'active'
		AND EXISTS (SELECT FROM hedgerow.email_domain d
			WHERE d.site = p.site AND d.forest = p.forest AND d.domain = split_part(p.address, '@', 2))
		AND NOT EXISTS (SELECT FROM hedgerow.person gone
			WHERE gone.address = wanted AND gone.state = 'deleted' AND gone.site = p.site AND gone.forest = p.forest)
	ORDER BY f.priority, p.created_at, p.site, p.forest, p.anchor LIMIT 1
$$;

-- Where the people of an installation are. Its name is meant to be used once in the federation;
-- else the person's own site goes first.
CREATE FUNCTION hedgerow.home_site(installation text, site text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT i.site FROM hedgerow.installation i WHERE i.installation = home_site.installation
		ORDER BY i.site <> home_site.site, i.site LIMIT 1), home_site.site)
$$;
CREATE INDEX installation_name ON hedgerow.installation (installation);

-- One row a key, in order; address NULL: nobody has it.
CREATE FUNCTION hedgerow.lookup_addresses(keys text[]) RETURNS TABLE (key text, address text, native text,
	installation text, site text, forest text, name text, enabled boolean)
LANGUAGE sql STABLE AS $$
	SELECT k.key, w.address, w.native, w.installation, hedgerow.home_site(w.installation, w.site),
		w.forest, w.name, w.enabled
	FROM unnest(keys) WITH ORDINALITY k(key, n)
	LEFT JOIN LATERAL (
		(SELECT 0 AS rank, c.* FROM hedgerow.winner(k.key) c)
		UNION ALL
		(SELECT 1, c.* FROM hedgerow.alias a
			JOIN hedgerow.person p ON p.site = a.site AND p.forest = a.forest AND p.anchor = a.anchor
			JOIN hedgerow.forest f ON f.site = a.site AND f.forest = a.forest
			CROSS JOIN LATERAL hedgerow.winner(p.address) c
			WHERE a.address = k.key AND c.site = p.site AND c.forest = p.forest AND c.anchor = p.anchor
				AND EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.site = a.site AND d.forest = a.forest
					AND d.domain = split_part(a.address, '@', 2))
			ORDER BY f.priority, p.created_at, p.site, p.forest, p.anchor LIMIT 1)
		LIMIT 1) w ON true
	ORDER BY k.n
$$;

CREATE FUNCTION hedgerow.lookup_natives(keys text[]) RETURNS TABLE (key text, address text, native text,
	installation text, site text, forest text, name text, enabled boolean)
LANGUAGE sql STABLE AS $$
	SELECT k.key, w.address, w.native, w.installation, hedgerow.home_site(w.installation, w.site),
		w.forest, w.name, w.enabled
	FROM unnest(keys) WITH ORDINALITY k(key, n)
	LEFT JOIN LATERAL (
		SELECT c.* FROM hedgerow.person p
		JOIN hedgerow.forest f ON f.site = p.site AND f.forest = p.forest
		CROSS JOIN LATERAL hedgerow.winner(p.address) c
		WHERE p.native = k.key AND c.site = p.site AND c.forest = p.forest AND c.anchor = p.anchor
		ORDER BY f.priority, p.created_at, p.site, p.forest, p.anchor LIMIT 1) w ON true
	ORDER BY k.n
$$;

-- Every claim to an address, with its place in the order of those that may have it
CREATE VIEW hedgerow.claim AS
	SELECT c.*, f.priority, hedgerow.domain_of(c.key) AS domain,
		EXISTS (SELECT FROM hedgerow.email_domain d
			WHERE d.site = c.site AND d.forest = c.forest AND d.domain = hedgerow.domain_of(c.key)) AS granted,
		EXISTS (SELECT FROM hedgerow.person gone WHERE gone.address = c.key AND gone.state = 'deleted'
			AND gone.site = c.site AND gone.forest = c.forest) AS reserved
	FROM (SELECT p.address AS key, 'address' AS kind, p.* FROM hedgerow.person p WHERE p.state = 'active'
		UNION ALL
		SELECT a.address, 'alias', p.* FROM hedgerow.alias a
			JOIN hedgerow.person p USING (site, forest, anchor)
			WHERE p.state = 'active' AND a.address <> p.address) c
	JOIN hedgerow.forest f ON f.site = c.site AND f.forest = c.forest;

CREATE VIEW hedgerow.canonical AS -- who wins each canonical address
	SELECT DISTINCT ON (c.key) c.* FROM hedgerow.claim c
	WHERE c.kind = 'address' AND c.granted AND NOT c.reserved
	ORDER BY c.key, c.priority, c.created_at, c.site, c.forest, c.anchor;

CREATE VIEW hedgerow.routable AS
	SELECT w.key, w.kind, w.address, w.native, w.installation,
		hedgerow.home_site(w.installation, w.site) AS site,
		w.forest, w.site AS publisher, w.anchor, w.name, w.enabled
	FROM (SELECT c.* FROM hedgerow.canonical c
		UNION ALL
		SELECT * FROM (SELECT DISTINCT ON (a.key) a.* FROM hedgerow.claim a
			JOIN hedgerow.canonical c USING (site, forest, anchor)
			WHERE a.kind = 'alias' AND a.granted
				AND NOT EXISTS (SELECT FROM hedgerow.canonical other WHERE other.key = a.key)
			ORDER BY a.key, a.priority, a.created_at, a.site, a.forest, a.anchor) aliases) w;

CREATE VIEW hedgerow.conflicts AS
	SELECT c.kind, c.key, c.site, c.forest, c.anchor, c.name,
		CASE WHEN c.reserved THEN 'reserved: a deleted person of this forest had the address'
			WHEN w.key IS NULL THEN 'the person does not have the canonical address ' || c.address
			ELSE format('lost to %s in forest "%s" of site "%s"', coalesce(w.name, w.address), w.forest, w.publisher) END AS reason,
		w.publisher AS winner_site, w.forest AS winner_forest, w.anchor AS winner_anchor
	FROM hedgerow.claim c
	LEFT JOIN hedgerow.routable w ON w.key = c.key
	WHERE c.granted AND (w.publisher, w.forest, w.anchor) IS DISTINCT FROM (c.site, c.forest, c.anchor)
	UNION ALL
	SELECT 'native', p.native, p.site, p.forest, p.anchor, p.name,
		format('%s people have this native address', n.people), NULL, NULL, NULL
	FROM (SELECT native, count(*) AS people FROM hedgerow.person
		WHERE state = 'active' AND native IS NOT NULL GROUP BY native HAVING count(*) > 1) n
	JOIN hedgerow.person p ON p.native = n.native AND p.state = 'active'
	UNION ALL
	SELECT 'installation', i.installation, i.site, i.forest, NULL, NULL,
		'the name is used at several sites: ' || (SELECT string_agg(o.site, ', ' ORDER BY o.site)
			FROM hedgerow.installation o WHERE o.installation = i.installation), NULL, NULL, NULL
	FROM hedgerow.installation i
	WHERE EXISTS (SELECT FROM hedgerow.installation o WHERE o.installation = i.installation AND o.site <> i.site)
	UNION ALL
	SELECT 'unknown installation', p.installation, p.site, p.forest, NULL, NULL,
		format('%s people of this forest name it', count(*)), NULL, NULL, NULL
	FROM hedgerow.person p
	WHERE p.state = 'active' AND p.installation IS NOT NULL
		AND NOT EXISTS (SELECT FROM hedgerow.installation i WHERE i.installation = p.installation)
	GROUP BY p.installation, p.site, p.forest;

CREATE VIEW hedgerow.quarantine AS
	SELECT c.key AS address, c.kind, c.site, c.forest, c.anchor, c.name,
		format('%s is not granted to forest "%s" of site "%s"', c.domain, c.forest, c.site) AS reason
	FROM hedgerow.claim c WHERE NOT c.granted;

-- The small tables as one consistent answer. What stands where is said in schema/config.c.
CREATE FUNCTION hedgerow.gateway_config()
	RETURNS TABLE (kind text, texts text[], numbers bigint[], more text[])
LANGUAGE sql STABLE AS $$
	SELECT c.kind, c.texts, c.numbers, c.more FROM (
		SELECT 1 AS place, 'site' AS kind, ARRAY[s.site, NULL] AS texts,
			ARRAY[(extract(epoch FROM s.message_expiry) * 1000)::bigint, (s.site = hedgerow.local_site())::int, cardinality(s.endpoints)] AS numbers,
			s.endpoints || ARRAY(SELECT k.public_key FROM hedgerow.site_key k
				WHERE k.site = s.site AND k.not_before <= now() AND k.not_after > now()
				ORDER BY k.not_before DESC, k.public_key) AS more,
			s.site AS a, NULL AS b, 0 AS n
		FROM hedgerow.site s
		UNION ALL
		SELECT 2, 'link', ARRAY[l.site, l.peer, l.dialer], ARRAY[l.cost], NULL, l.site, l.peer, 0 FROM hedgerow.link l
		UNION ALL
		SELECT 3, 'installation', ARRAY[i.installation, i.site, i.forest, i.software, i.native_domain, i.host, i.secret, i.ca],
			ARRAY[i.port, i.tls::int], NULL, i.installation, i.site, 0 FROM hedgerow.installation i
		UNION ALL
		SELECT DISTINCT 4, 'domain', ARRAY[d.domain], NULL::bigint[], NULL::text[], d.domain, NULL, 0 FROM hedgerow.email_domain d
		UNION ALL
		SELECT 5, 'rule', ARRAY[r.from_pattern, r.to_pattern, r.kind, r.action, r.reason], ARRAY[r.priority], NULL, r.rule, NULL, r.priority
		FROM hedgerow.rule r WHERE r.site = hedgerow.local_site()
		UNION ALL
		SELECT 0, 'local', ARRAY[hedgerow.local_site()], NULL, NULL, NULL, NULL, 0) c
	ORDER BY c.place, c.n, c.a, c.b
$$;

REVOKE ALL ON FUNCTION hedgerow.domain_of, hedgerow.winner, hedgerow.home_site, hedgerow.lookup_addresses,
	hedgerow.lookup_natives, hedgerow.gateway_config FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.domain_of, hedgerow.winner, hedgerow.home_site, hedgerow.lookup_addresses,
	hedgerow.lookup_natives, hedgerow.gateway_config TO hedgerow_gateway;
GRANT EXECUTE ON FUNCTION hedgerow.domain_of, hedgerow.home_site TO hedgerow_reader, hedgerow_operator, hedgerow_directory;
