-- SPDX-License-Identifier: Apache-2.0
-- Who wins an address, and what a gateway asks. The rule, once for one address (winner) and once
-- for all (routable, conflicts, quarantine):
--   1. The domain of the address is granted to the person's site and forest (email_domain).
--   2. The address is not reserved: no deleted person of the same forest held it. (An alias that the
--      directory gives it leads on: so do the addresses of those who left to those who stay.)
--   3. A user goes before a contact, who is enabled before who is not, then the lower forest.priority,
--      then the older entry (created_at: the directory's own word, so that the order of imports does
--      not matter), then site, forest, anchor.
--   4. A canonical address goes before an alias, an alias of the directory before a former address.
-- Whoever does not win the canonical address wins no alias either, nor a native address: they would
-- speak under somebody else's name. Of several who share a native address one has it, by the same
-- order; to the others only e-mail leads. When the cause goes, the next is there by itself.

CREATE FUNCTION hedgerow.domain_of(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(address, '@', 2);

CREATE INDEX person_deleted ON hedgerow.person (address) WHERE state = 'deleted';

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
	ORDER BY p.kind <> 'user', NOT p.enabled, f.priority, p.created_at, p.site, p.forest, p.anchor LIMIT 1
$$;

-- The person who has a native address.
CREATE FUNCTION hedgerow.native_winner(wanted text) RETURNS SETOF hedgerow.person
LANGUAGE sql STABLE AS $$
	SELECT c.* FROM hedgerow.person p
	JOIN hedgerow.forest f ON f.site = p.site AND f.forest = p.forest
	CROSS JOIN LATERAL hedgerow.winner(p.address) c
	WHERE p.native = wanted AND p.state = 'active' AND c.anchor = p.anchor AND c.site = p.site AND c.forest = p.forest
	ORDER BY p.kind <> 'user', NOT p.enabled, f.priority, p.created_at, p.site, p.forest, p.anchor LIMIT 1
$$;

-- Whether somebody else has the native address of a person.
CREATE FUNCTION hedgerow.is_native_lost(native text, site text, forest text, anchor text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM hedgerow.person o WHERE o.native = $1 AND o.state = 'active'
			AND NOT (o.anchor = $4 AND o.site = $2 AND o.forest = $3))
		AND NOT EXISTS (SELECT FROM hedgerow.native_winner($1) w WHERE w.anchor = $4 AND w.site = $2 AND w.forest = $3)
$$;

-- Where the people of an installation are. Its name is meant to be used once in the federation;
-- else the person's own site goes first.
CREATE FUNCTION hedgerow.home_site(installation text, site text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT i.site FROM hedgerow.installation i WHERE i.installation = home_site.installation
		ORDER BY i.site <> home_site.site, i.site LIMIT 1), home_site.site)
$$;
CREATE INDEX installation_name ON hedgerow.installation (installation);

-- A forest as rules name it. A name that several sites use means the local site's forest, or nobody's:
-- another site must not pass its people off as those of a forest that rules trust.
CREATE FUNCTION hedgerow.forest_name(site text, forest text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN site = hedgerow.local_site() OR NOT EXISTS (SELECT FROM hedgerow.forest o
		WHERE o.forest = forest_name.forest AND o.site <> forest_name.site) THEN forest ELSE forest || '@' || site END
$$;

-- One row a key, in order; address NULL: nobody has it. plpgsql keeps the plan; compiling it
-- (jit) would take longer than a thousand look-ups.
CREATE FUNCTION hedgerow.lookup_addresses(keys text[]) RETURNS TABLE (key text, address text, native text,
	installation text, site text, forest text, name text, enabled boolean)
LANGUAGE plpgsql STABLE SET jit = off AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH names AS MATERIALIZED (
		SELECT f.site, f.forest, hedgerow.forest_name(f.site, f.forest) AS name FROM hedgerow.forest f)
	SELECT k.key, w.address,
		CASE WHEN o.anchor IS NULL OR NOT hedgerow.is_native_lost(w.native, w.site, w.forest, w.anchor) THEN w.native END,
		w.installation, coalesce(h.site, w.site), fn.name, w.name, w.enabled
	FROM unnest(keys) WITH ORDINALITY k(key, n)
	LEFT JOIN LATERAL (
		(SELECT c.* FROM hedgerow.winner(k.key) c)
		UNION ALL
		(SELECT c.* FROM hedgerow.alias a
			JOIN hedgerow.person p ON p.site = a.site AND p.forest = a.forest AND p.anchor = a.anchor
			JOIN hedgerow.forest f ON f.site = a.site AND f.forest = a.forest
			CROSS JOIN LATERAL hedgerow.winner(p.address) c
			WHERE a.address = k.key AND (a.until IS NULL OR a.until > now() AND NOT EXISTS (SELECT FROM hedgerow.person gone
					WHERE gone.address = k.key AND gone.state = 'deleted' AND gone.site = a.site AND gone.forest = a.forest))
				AND c.site = p.site AND c.forest = p.forest AND c.anchor = p.anchor
				AND EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.site = a.site AND d.forest = a.forest
					AND d.domain = split_part(a.address, '@', 2))
			ORDER BY a.until IS NOT NULL, p.kind <> 'user', NOT p.enabled, f.priority, p.created_at, p.site, p.forest, p.anchor LIMIT 1)
		LIMIT 1) w ON true
	LEFT JOIN LATERAL (SELECT p.anchor FROM hedgerow.person p -- who shares the native address; seldom anybody
		WHERE p.native = w.native AND p.state = 'active' AND (p.anchor, p.site, p.forest) <> (w.anchor, w.site, w.forest) LIMIT 1) o ON true
	LEFT JOIN LATERAL (SELECT i.site FROM hedgerow.installation i WHERE i.installation = w.installation
		ORDER BY i.site <> w.site, i.site LIMIT 1) h ON true
	LEFT JOIN names fn ON fn.site = w.site AND fn.forest = w.forest
	ORDER BY k.n;
END $$;

CREATE FUNCTION hedgerow.lookup_natives(keys text[]) RETURNS TABLE (key text, address text, native text,
	installation text, site text, forest text, name text, enabled boolean)
LANGUAGE plpgsql STABLE SET jit = off AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH names AS MATERIALIZED (
		SELECT f.site, f.forest, hedgerow.forest_name(f.site, f.forest) AS name FROM hedgerow.forest f)
	SELECT k.key, w.address, w.native, w.installation, coalesce(h.site, w.site), fn.name, w.name, w.enabled
	FROM unnest(keys) WITH ORDINALITY k(key, n)
	LEFT JOIN LATERAL (SELECT c.* FROM hedgerow.native_winner(k.key) c) w ON true
	LEFT JOIN LATERAL (SELECT i.site FROM hedgerow.installation i WHERE i.installation = w.installation
		ORDER BY i.site <> w.site, i.site LIMIT 1) h ON true
	LEFT JOIN names fn ON fn.site = w.site AND fn.forest = w.forest
	ORDER BY k.n;
END $$;

-- Every person and the place in the order of those who may have the canonical address: 1 wins, NULL
-- may not have it. Who is first beside each.
CREATE VIEW hedgerow.standing AS
	SELECT p.site, p.forest, p.anchor, p.address, p.native, p.installation, p.name, p.kind, p.enabled, p.created_at, f.priority,
		d.domain IS NOT NULL AS granted, g.address IS NOT NULL AS reserved,
		CASE WHEN d.domain IS NOT NULL AND g.address IS NULL THEN row_number() OVER contest END AS place,
		first_value(p.site) OVER contest AS first_site, first_value(p.forest) OVER contest AS first_forest,
		first_value(p.anchor) OVER contest AS first_anchor
	FROM hedgerow.person p
	JOIN hedgerow.forest f ON f.site = p.site AND f.forest = p.forest
	LEFT JOIN hedgerow.email_domain d ON d.site = p.site AND d.forest = p.forest AND d.domain = split_part(p.address, '@', 2)
	LEFT JOIN (SELECT DISTINCT gone.site, gone.forest, gone.address FROM hedgerow.person gone WHERE gone.state = 'deleted') g
		ON g.site = p.site AND g.forest = p.forest AND g.address = p.address
	WHERE p.state = 'active'
	WINDOW contest AS (PARTITION BY p.address ORDER BY d.domain IS NULL OR g.address IS NOT NULL,
		p.kind <> 'user', NOT p.enabled, f.priority, p.created_at, p.site, p.forest, p.anchor);

-- The same for aliases; `owner` is who has the alias as canonical address.
CREATE VIEW hedgerow.alias_standing AS
	SELECT a.address AS alias, a.until IS NOT NULL AS former, p.site, p.forest, p.anchor, p.address, p.native, p.installation,
		p.name, p.kind, p.enabled, p.created_at, p.priority,
		d.domain IS NOT NULL AS granted, p.place = 1 AS has_canonical,
		o.site AS owner_site, o.forest AS owner_forest, o.anchor AS owner_anchor,
		CASE WHEN d.domain IS NOT NULL AND p.place = 1 AND o.address IS NULL THEN row_number() OVER contest END AS place,
		first_value(p.site) OVER contest AS first_site, first_value(p.forest) OVER contest AS first_forest,
		first_value(p.anchor) OVER contest AS first_anchor
	FROM hedgerow.alias a
	JOIN hedgerow.standing p ON p.site = a.site AND p.forest = a.forest AND p.anchor = a.anchor
	LEFT JOIN hedgerow.email_domain d ON d.site = a.site AND d.forest = a.forest AND d.domain = split_part(a.address, '@', 2)
	LEFT JOIN hedgerow.standing o ON o.address = a.address AND o.place = 1
	WHERE a.address <> p.address AND (a.until IS NULL OR a.until > now())
		AND NOT EXISTS (SELECT FROM hedgerow.person gone WHERE a.until IS NOT NULL
			AND gone.address = a.address AND gone.state = 'deleted' AND gone.site = a.site AND gone.forest = a.forest)
	WINDOW contest AS (PARTITION BY a.address
		ORDER BY d.domain IS NULL OR p.place IS DISTINCT FROM 1 OR o.address IS NOT NULL, a.until IS NOT NULL,
			p.kind <> 'user', NOT p.enabled, p.priority, p.created_at, p.site, p.forest, p.anchor);

-- People who share a native address; `place` 1 has it.
CREATE VIEW hedgerow.native_standing AS
	SELECT s.native, s.site, s.forest, s.anchor, s.name, s.kind, s.enabled, s.created_at,
		CASE WHEN s.place = 1 THEN row_number() OVER contest END AS place,
		first_value(s.place) OVER contest = 1 AS is_won, first_value(s.site) OVER contest AS first_site,
		first_value(s.forest) OVER contest AS first_forest, first_value(s.anchor) OVER contest AS first_anchor
	FROM hedgerow.standing s
	JOIN (SELECT o.native FROM hedgerow.person o WHERE o.state = 'active' AND o.native IS NOT NULL
		GROUP BY o.native HAVING count(*) > 1) shared ON shared.native = s.native
	WINDOW contest AS (PARTITION BY s.native ORDER BY s.place IS DISTINCT FROM 1, s.kind <> 'user', NOT s.enabled,
		s.priority, s.created_at, s.site, s.forest, s.anchor);

CREATE VIEW hedgerow.routable AS
	SELECT w.key, w.kind, w.address, CASE WHEN n.native IS NULL THEN w.native END AS native, w.installation,
		coalesce(h.site, w.site) AS site, w.forest, w.site AS publisher, w.anchor, w.name, w.enabled
	FROM (SELECT s.address AS key, 'address' AS kind, s.address, s.native, s.installation, s.site, s.forest, s.anchor, s.name, s.enabled
			FROM hedgerow.standing s WHERE s.place = 1
		UNION ALL
		SELECT a.alias, CASE WHEN a.former THEN 'former' ELSE 'alias' END, a.address, a.native, a.installation, a.site, a.forest,
			a.anchor, a.name, a.enabled
			FROM hedgerow.alias_standing a WHERE a.place = 1) w
	LEFT JOIN hedgerow.native_standing n ON n.site = w.site AND n.forest = w.forest AND n.anchor = w.anchor AND n.place IS DISTINCT FROM 1
	LEFT JOIN LATERAL (SELECT i.site FROM hedgerow.installation i WHERE i.installation = w.installation
		ORDER BY i.site <> w.site, i.site LIMIT 1) h ON true;

-- Who lost what to whom, and why the other goes first. What was lost to nobody has a reason of its own.
CREATE VIEW hedgerow.conflicts AS
	SELECT l.kind, l.key, l.site, l.forest, l.anchor, l.name,
		coalesce(l.reason, format('%s in forest "%s" of site "%s" has it: %s', coalesce(w.name, w.address), w.forest, w.site,
			CASE WHEN l.as_canonical THEN 'an address goes before an alias'
				WHEN w.kind <> l.person_kind THEN 'a user goes before a contact'
				WHEN w.enabled <> l.enabled THEN 'who is enabled goes before who is not'
				WHEN wf.priority <> lf.priority THEN format('its forest has priority %s, this one %s', wf.priority, lf.priority)
				WHEN w.created_at IS DISTINCT FROM l.created_at THEN 'it is the older entry'
				ELSE 'by the names of site, forest and anchor' END)) AS reason,
		w.site AS winner_site, w.forest AS winner_forest, w.anchor AS winner_anchor
	FROM (
		SELECT 'address' AS kind, s.address AS key, s.site, s.forest, s.anchor, s.name, s.kind AS person_kind, s.enabled, s.created_at,
			false AS as_canonical, CASE WHEN s.reserved THEN 'reserved: a deleted person of this forest had the address' END AS reason,
			s.first_site, s.first_forest, s.first_anchor
		FROM hedgerow.standing s WHERE s.granted AND s.place IS DISTINCT FROM 1
		UNION ALL
		SELECT 'alias', a.alias, a.site, a.forest, a.anchor, a.name, a.kind, a.enabled, a.created_at, a.owner_site IS NOT NULL,
			CASE WHEN a.has_canonical IS NOT TRUE THEN 'the person does not have the canonical address ' || a.address END,
			coalesce(a.owner_site, a.first_site), coalesce(a.owner_forest, a.first_forest), coalesce(a.owner_anchor, a.first_anchor)
		FROM hedgerow.alias_standing a WHERE a.granted AND NOT a.former AND a.place IS DISTINCT FROM 1
		UNION ALL
		SELECT 'native', n.native, n.site, n.forest, n.anchor, n.name, n.kind, n.enabled, n.created_at, false,
			CASE WHEN n.is_won IS NOT TRUE THEN 'several claim it, and none of them has their address' END,
			n.first_site, n.first_forest, n.first_anchor
		FROM hedgerow.native_standing n WHERE n.place IS DISTINCT FROM 1) l
	LEFT JOIN hedgerow.person w ON l.reason IS NULL AND w.site = l.first_site AND w.forest = l.first_forest AND w.anchor = l.first_anchor
	LEFT JOIN hedgerow.forest wf ON wf.site = w.site AND wf.forest = w.forest
	LEFT JOIN hedgerow.forest lf ON lf.site = l.site AND lf.forest = l.forest
	UNION ALL
	SELECT 'installation', i.installation, i.site, i.forest, NULL, NULL,
		'the name is used at several sites: ' || (SELECT string_agg(o.site, ', ' ORDER BY o.site)
			FROM hedgerow.installation o WHERE o.installation = i.installation), NULL, NULL, NULL
	FROM hedgerow.installation i
	WHERE EXISTS (SELECT FROM hedgerow.installation o WHERE o.installation = i.installation AND o.site <> i.site)
	UNION ALL
	SELECT 'forest', f.forest, f.site, f.forest, NULL, NULL,
		format('the name is used at several sites: rules know this one as "%s"', hedgerow.forest_name(f.site, f.forest)), NULL, NULL, NULL
	FROM hedgerow.forest f
	WHERE EXISTS (SELECT FROM hedgerow.forest o WHERE o.forest = f.forest AND o.site <> f.site)
	UNION ALL
	SELECT 'unknown installation', p.installation, p.site, p.forest, NULL, NULL,
		format('%s people of this forest name it', count(*)), NULL, NULL, NULL
	FROM hedgerow.person p
	WHERE p.state = 'active' AND p.installation IS NOT NULL
		AND NOT EXISTS (SELECT FROM hedgerow.installation i WHERE i.installation = p.installation)
	GROUP BY p.installation, p.site, p.forest;

-- An alias in a domain that nobody federates is nobody's business: many directories have a few of
-- everybody.
CREATE VIEW hedgerow.quarantine AS
	SELECT s.address, 'address' AS kind, s.site, s.forest, s.anchor, s.name,
		format('%s is not granted to forest "%s" of site "%s"', split_part(s.address, '@', 2), s.forest, s.site) AS reason
	FROM hedgerow.standing s WHERE NOT s.granted
	UNION ALL
	SELECT a.alias, 'alias', a.site, a.forest, a.anchor, a.name,
		format('%s is not granted to forest "%s" of site "%s"', split_part(a.alias, '@', 2), a.forest, a.site)
	FROM hedgerow.alias_standing a WHERE NOT a.granted
		AND EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.domain = split_part(a.alias, '@', 2));

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
		SELECT 6, 'mail', ARRAY[m.domain, m.site, m.carrier, m.chat_domain, m.smarthost, m.tls, m.ca, m.username, m.secret,
				m.from_address, m.reply_key, m.reply_key_previous, m.authserv_id, m.mode, m.attachments],
			ARRAY[m.port, (extract(epoch FROM m.reply_life) * 1000)::bigint, coalesce((extract(epoch FROM m.away) * 1000)::bigint, 0),
				m.digest, m.hourly, m.outsiders::int, cardinality(m.languages), (m.originals IS NOT NULL)::int],
			m.languages || m.relays, m.domain, m.site, 0 FROM hedgerow.mail_domain m
		UNION ALL
		SELECT 0, 'local', ARRAY[hedgerow.local_site()], NULL, NULL, NULL, NULL, 0) c
	ORDER BY c.place, c.n, c.a, c.b
$$;

REVOKE ALL ON FUNCTION hedgerow.domain_of, hedgerow.forest_name, hedgerow.winner, hedgerow.native_winner, hedgerow.is_native_lost, hedgerow.home_site, hedgerow.lookup_addresses,
	hedgerow.lookup_natives, hedgerow.gateway_config FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.domain_of, hedgerow.forest_name, hedgerow.winner, hedgerow.native_winner, hedgerow.is_native_lost, hedgerow.home_site, hedgerow.lookup_addresses,
	hedgerow.lookup_natives, hedgerow.gateway_config TO hedgerow_gateway;
GRANT EXECUTE ON FUNCTION hedgerow.domain_of, hedgerow.forest_name, hedgerow.home_site TO hedgerow_reader, hedgerow_operator, hedgerow_directory;
