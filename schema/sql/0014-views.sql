-- SPDX-License-Identifier: Apache-2.0
-- What operators read. Views run with their owner's rights, so a reader needs no table.

CREATE VIEW hedgerow.sites AS
	SELECT s.site, s.title, s.site = hedgerow.local_site() AS local, s.endpoints, s.message_expiry,
		(SELECT count(*) FROM hedgerow.site_key k WHERE k.site = s.site AND k.not_before <= now() AND k.not_after > now()) AS valid_keys,
		(SELECT count(*) FROM hedgerow.forest f WHERE f.site = s.site) AS forests,
		(SELECT count(*) FROM hedgerow.installation i WHERE i.site = s.site) AS installations
	FROM hedgerow.site s ORDER BY s.site <> hedgerow.local_site(), s.site;

CREATE VIEW hedgerow.site_keys AS
	SELECT k.site, k.public_key, k.not_before, k.not_after,
		CASE WHEN k.not_before > now() THEN 'not yet' WHEN k.not_after <= now() THEN 'over' ELSE 'valid' END AS state
	FROM hedgerow.site_key k ORDER BY k.site, k.not_before;

CREATE VIEW hedgerow.links AS
	SELECT l.site, l.peer, l.dialer, l.cost,
		EXISTS (SELECT FROM hedgerow.link o WHERE o.site = l.peer AND o.peer = l.site AND o.dialer = l.dialer) AS both_consent
	FROM hedgerow.link l ORDER BY l.site <> hedgerow.local_site(), l.site, l.peer;

CREATE VIEW hedgerow.forests AS
	SELECT f.site, f.forest, f.title, f.kind, f.urls, f.tls, f.ca, f.bind, f.bind_dn, f.bind_secret, f.base_dn, f.filter,
		f.page_size, f.sync_interval, f.poll_interval, f.guard_delete_count, f.guard_delete_percent, f.guard_disable_count,
		f.guard_disable_percent, f.guard_address_count, f.guard_address_percent, f.mapping_version, f.priority
	FROM hedgerow.forest f ORDER BY f.site <> hedgerow.local_site(), f.site, f.forest;

CREATE VIEW hedgerow.mappings AS
	SELECT m.site, m.forest, m.version, CASE WHEN m.version = f.mapping_version THEN 'in use'
			WHEN m.version > f.mapping_version THEN 'draft' ELSE 'former' END AS state,
		m.field, m.ordinal, m.attribute, m.pattern, m.replacement, m.fold
	FROM hedgerow.mapping m JOIN hedgerow.forest f ON f.site = m.site AND f.forest = m.forest
	ORDER BY m.site <> hedgerow.local_site(), m.site, m.forest, m.version DESC, m.field, m.ordinal;

CREATE VIEW hedgerow.naming_contexts AS
	SELECT c.site, c.forest, c.base_dn, c.urls FROM (
		SELECT f.site, f.forest, f.base_dn, f.urls, 0 AS place FROM hedgerow.forest f
		UNION ALL SELECT n.site, n.forest, n.base_dn, n.urls, 1 FROM hedgerow.naming_context n) c
	ORDER BY c.site <> hedgerow.local_site(), c.site, c.forest, c.place, c.base_dn;

CREATE VIEW hedgerow.domains AS
	SELECT d.domain, d.site, d.forest, f.priority
	FROM hedgerow.email_domain d LEFT JOIN hedgerow.forest f ON f.site = d.site AND f.forest = d.forest
	ORDER BY d.domain, f.priority, d.site, d.forest;

CREATE VIEW hedgerow.installations AS
	SELECT i.site, i.installation, i.forest, i.software, i.native_domain, i.host, i.port, i.secret, i.tls, i.ca
	FROM hedgerow.installation i ORDER BY i.site <> hedgerow.local_site(), i.site, i.installation;

CREATE VIEW hedgerow.rules AS
	SELECT r.site, r.priority, r.rule, r.from_pattern, r.to_pattern, r.kind, r.action, r.reason
	FROM hedgerow.rule r ORDER BY r.site <> hedgerow.local_site(), r.site, r.priority, r.rule;

CREATE VIEW hedgerow.people AS
	SELECT p.site, p.forest, p.anchor, p.address, p.native, p.installation, hedgerow.home_site(p.installation, p.site) AS home_site,
		p.name, p.kind, p.enabled, p.state, p.details, p.created_at, p.changed_at
	FROM hedgerow.person p;

CREATE VIEW hedgerow.settings AS
	SELECT s.name, s.value, s.meaning FROM hedgerow.setting s ORDER BY s.name;

-- A change in words: name and fields of a row, or of a change what was and what is
CREATE FUNCTION hedgerow.change_text(before jsonb, after jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN (SELECT string_agg(CASE WHEN before IS NULL THEN format('%s %s', k.key, k.value)
		WHEN before ->> k.key IS NOT DISTINCT FROM k.value THEN format('%s %s', k.key, k.value)
		ELSE format('%s %s -> %s', k.key, coalesce(before ->> k.key, '-'), coalesce(k.value, '-')) END, ', '
		ORDER BY before ->> k.key IS DISTINCT FROM k.value, k.key)
	FROM jsonb_each_text(after) k
	WHERE CASE WHEN before IS NULL THEN k.value IS NOT NULL AND k.key NOT IN ('one', 'created_at')
		ELSE before ->> k.key IS DISTINCT FROM k.value
			OR k.key IN ('site', 'peer', 'forest', 'base_dn', 'version', 'field', 'ordinal', 'domain', 'installation', 'rule', 'public_key') END);
REVOKE ALL ON FUNCTION hedgerow.change_text FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.change_text TO hedgerow_reader, hedgerow_operator;

CREATE VIEW hedgerow.changes AS
	SELECT c.id, c.at, c.who, c.program, c.transaction, c.relation,
		CASE WHEN c.before IS NULL THEN 'add' WHEN c.after IS NULL THEN 'remove' ELSE 'change' END AS action,
		CASE WHEN c.before IS NULL OR c.after IS NULL THEN hedgerow.change_text(NULL, coalesce(c.after, c.before))
			ELSE hedgerow.change_text(c.before, c.after) END AS what,
		c.before, c.after, c.undoes
	FROM hedgerow.change_log c ORDER BY c.id DESC;

---- What happens now

CREATE VIEW hedgerow.leases AS -- which session holds what
	SELECT n.name, l.pid
	FROM (SELECT 'node:' || node AS name FROM hedgerow.node
		UNION SELECT 'installation:' || installation FROM hedgerow.installation WHERE site = hedgerow.local_site()
		UNION SELECT 'link:' || peer FROM hedgerow.link WHERE site = hedgerow.local_site()
		UNION SELECT 'mail:' || domain FROM hedgerow.mail_domain WHERE site = hedgerow.local_site()
		UNION SELECT 'forest:' || forest FROM hedgerow.forest WHERE site = hedgerow.local_site()) n
	JOIN pg_locks l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
		AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		AND l.classid::bigint = (hashtextextended(n.name, 0) >> 32) & 4294967295
		AND l.objid::bigint = hashtextextended(n.name, 0) & 4294967295;

CREATE VIEW hedgerow.gateway_status AS
	SELECT n.node, l.pid IS NOT NULL AS running, n.started_at, n.seen_at, n.last_batch,
		(SELECT count(*) FROM hedgerow.status s WHERE s.node = n.node AND s.kind = 'stream' AND l.pid IS NOT NULL) AS streams,
		(SELECT count(*) FROM hedgerow.status s WHERE s.node = n.node AND s.kind = 'link' AND l.pid IS NOT NULL) AS links,
		l.pid AS backend
	FROM hedgerow.node n LEFT JOIN hedgerow.leases l ON l.name = 'node:' || n.node
	ORDER BY n.node;

CREATE VIEW hedgerow.live_status AS -- what running gateways say
	SELECT DISTINCT ON (s.kind, s.name) s.*
	FROM hedgerow.status s JOIN hedgerow.leases l ON l.name = 'node:' || s.node
	ORDER BY s.kind, s.name, s.seen_at DESC;

CREATE VIEW hedgerow.link_status AS
	SELECT l.peer, coalesce(s.state, CASE WHEN NOT l.both_consent THEN 'waits for the peer''s consent' ELSE 'no gateway' END) AS state,
		s.since, s.detail, s.node, l.dialer, q.head - q.acked AS queued, r.position AS received
	FROM hedgerow.links l
	LEFT JOIN hedgerow.live_status s ON s.kind = 'link' AND s.name = l.peer
	LEFT JOIN hedgerow.queue q ON q.name = 'link:' || l.peer
	LEFT JOIN hedgerow.resume_position r ON r.site = l.peer
	WHERE l.site = hedgerow.local_site() ORDER BY l.peer;

CREATE VIEW hedgerow.stream_status AS
	SELECT i.installation, d.domain, coalesce(s.state, 'no gateway') AS state, s.since, s.detail, s.node, q.head - q.acked AS queued
	FROM hedgerow.installation i
	CROSS JOIN (SELECT DISTINCT domain FROM hedgerow.email_domain) d
	LEFT JOIN hedgerow.live_status s ON s.kind = 'stream' AND s.name = i.installation || '/' || d.domain
	LEFT JOIN hedgerow.queue q ON q.name = 'xmpp:' || i.installation || ':' || d.domain
	WHERE i.site = hedgerow.local_site() ORDER BY 1, 2;

CREATE VIEW hedgerow.metric_status AS
	SELECT m.node, m.name, m.value, CASE WHEN m.gauge THEN 'gauge' ELSE 'counter' END AS kind, m.help, m.seen_at
	FROM hedgerow.metric m ORDER BY m.node, m.name;

CREATE VIEW hedgerow.queues AS
	SELECT q.name AS queue, q.head - q.acked AS depth, q.head, q.acked,
		hedgerow.is_leased(hedgerow.queue_lease(q.name)) AS served,
		(SELECT count(*) FROM hedgerow.deferred d WHERE d.queue = q.id) AS deferred, q.id, q.incarnation, q.created_at
	FROM hedgerow.queue q ORDER BY q.head - q.acked DESC, q.name;

CREATE VIEW hedgerow.journal_parts AS
	SELECT p.part, p.created_at, p.closed_at,
		pg_total_relation_size(format('hedgerow.journal_%s', p.part)) AS bytes
	FROM hedgerow.journal_part p ORDER BY p.part;

CREATE VIEW hedgerow.dead_letters AS
	SELECT d.id, d.at, d.queue_name AS queue, d.seq, d.sender, d.recipient, d.reason, octet_length(d.envelope) AS bytes
	FROM hedgerow.dead_letter d ORDER BY d.id DESC;

---- Rights and what they are for

GRANT SELECT ON hedgerow.sites, hedgerow.site_keys, hedgerow.links, hedgerow.forests, hedgerow.naming_contexts, hedgerow.mappings, hedgerow.domains,
	hedgerow.installations, hedgerow.rules, hedgerow.people, hedgerow.settings, hedgerow.changes, hedgerow.leases,
	hedgerow.gateway_status, hedgerow.link_status, hedgerow.stream_status, hedgerow.metric_status, hedgerow.queues,
	hedgerow.journal_parts, hedgerow.dead_letters, hedgerow.routable, hedgerow.conflicts, hedgerow.quarantine TO hedgerow_reader, hedgerow_operator;
GRANT SELECT ON hedgerow.local_site, hedgerow.migration TO hedgerow_reader, hedgerow_operator, hedgerow_gateway, hedgerow_directory;

COMMENT ON VIEW hedgerow.sites IS 'The sites of the federation, this one first';
COMMENT ON VIEW hedgerow.site_keys IS 'CURVE public keys of all sites and whether they are valid now';
COMMENT ON VIEW hedgerow.links IS 'Links that sites consent to; both_consent: the peer has the same row';
COMMENT ON VIEW hedgerow.forests IS 'Directories that people come from';
COMMENT ON VIEW hedgerow.naming_contexts IS 'The domains or suffixes of each forest, and their servers';
COMMENT ON VIEW hedgerow.mappings IS 'How LDAP attributes become fields of people';
COMMENT ON VIEW hedgerow.domains IS 'Federated e-mail domains and the forests that may publish in them';
COMMENT ON VIEW hedgerow.installations IS 'XMPP servers';
COMMENT ON VIEW hedgerow.rules IS 'Who may send what to whom, in the order in which they are asked';
COMMENT ON VIEW hedgerow.people IS 'People as published, of all sites, also those who win no address';
COMMENT ON VIEW hedgerow.settings IS 'Settings of this database';
COMMENT ON VIEW hedgerow.changes IS 'Every change of configuration, newest first; undo_change(id) takes one back';
COMMENT ON VIEW hedgerow.leases IS 'Which database session owns which node, installation, link or forest';
COMMENT ON VIEW hedgerow.gateway_status IS 'Gateways of this site: running, when started, what they own';
COMMENT ON VIEW hedgerow.link_status IS 'Each link of this site: state, what is queued, how far the peer''s mail has come';
COMMENT ON VIEW hedgerow.stream_status IS 'Each XMPP stream of this site: installation and domain, state, what is queued';
COMMENT ON VIEW hedgerow.metric_status IS 'Counters and gauges as gateways last reported them';
COMMENT ON VIEW hedgerow.queues IS 'Destinations of the journal and what waits for them';
COMMENT ON VIEW hedgerow.journal_parts IS 'Partitions of the journal and their size';
COMMENT ON VIEW hedgerow.dead_letters IS 'Envelopes that their destination would not take';
COMMENT ON VIEW hedgerow.routable IS 'Every address that has a person: the winner of each';
COMMENT ON VIEW hedgerow.conflicts IS 'Addresses, native addresses and installation names claimed more than once';
COMMENT ON VIEW hedgerow.quarantine IS 'People and aliases whose domain is not granted to their forest: never routed';
