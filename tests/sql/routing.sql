-- SPDX-License-Identifier: Apache-2.0
-- Who wins an address: the same answer from the look-ups and from the view.
SELECT no_plan();
\ir prelude.psql
CREATE FUNCTION pg_temp.person(site text, forest text, anchor text, address text, native text DEFAULT NULL,
	installation text DEFAULT NULL, created timestamptz DEFAULT '2020-01-01', state text DEFAULT 'active') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('session_replication_role', CASE site WHEN 'amsterdam' THEN 'origin' ELSE 'replica' END, true);
	INSERT INTO hedgerow.person (site, forest, anchor, address, native, installation, name, created_at, state)
		VALUES (site, forest, anchor, address, native, installation, anchor, created, state);
	PERFORM set_config('session_replication_role', 'origin', true);
END $$;
CREATE FUNCTION pg_temp.who(key text) RETURNS text LANGUAGE sql AS $$
	SELECT anchor FROM hedgerow.lookup_addresses(ARRAY[key]) l JOIN hedgerow.routable r ON r.key = who.key
	WHERE l.address = r.address AND l.name = r.name AND l.site = r.site AND l.native IS NOT DISTINCT FROM r.native
$$;
CREATE FUNCTION pg_temp.nobody(key text) RETURNS boolean LANGUAGE sql AS $$
	SELECT (SELECT address IS NULL FROM hedgerow.lookup_addresses(ARRAY[key]))
		AND NOT EXISTS (SELECT FROM hedgerow.routable r WHERE r.key = nobody.key)
$$;

SELECT pg_temp.person('amsterdam', 'contoso', 'ada', 'ada@example.com', 'ada@im.a.example', 'prosody-a') \g /dev/null
SELECT is(pg_temp.who('ada@example.com'), 'ada', 'one person, one address');
SELECT ok(pg_temp.nobody('nobody@example.com'), 'nobody is nobody');
SELECT is((SELECT array_agg(coalesce(name, '-')) FROM hedgerow.lookup_addresses('{x@y,ada@example.com,ada@example.com,z@y}')),
	'{-,ada,ada,-}', 'one row a key, in the order asked');
SELECT is((SELECT address FROM hedgerow.lookup_natives('{ada@im.a.example}')), 'ada@example.com', 'by native address');

SELECT pg_temp.person('boston', 'fabrikam', 'bob', 'ada@example.com', 'bob@im.b.example', 'ejabberd-b', '2024-01-01') \g /dev/null
SELECT is(pg_temp.who('ada@example.com'), 'bob', 'the forest with the lower priority wins, though younger');
SELECT is((SELECT site FROM hedgerow.lookup_addresses('{ada@example.com}')), 'boston', 'and is at home where the installation is');
SELECT is((SELECT reason FROM hedgerow.conflicts WHERE anchor = 'ada'), 'bob in forest "fabrikam" of site "boston" has it: its forest has priority 50, this one 100', 'the loser is listed');
SELECT is((SELECT address FROM hedgerow.lookup_natives('{ada@im.a.example}')), NULL, 'and has no voice');
UPDATE hedgerow.forest SET priority = 50 WHERE forest = 'contoso';
SELECT is(pg_temp.who('ada@example.com'), 'ada', 'of equal forests, the older person');
UPDATE hedgerow.person SET created_at = '2024-01-01' WHERE anchor = 'ada';
SELECT is(pg_temp.who('ada@example.com'), 'ada', 'of equal age, by site');

SELECT pg_temp.person('amsterdam', 'contoso', 'eve', 'eve@other.example') \g /dev/null
SELECT ok(pg_temp.nobody('eve@other.example'), 'a domain that is not granted is not routed');
SELECT is((SELECT reason FROM hedgerow.quarantine WHERE anchor = 'eve'), 'other.example is not granted to forest "contoso" of site "amsterdam"', 'it is in quarantine');
INSERT INTO hedgerow.alias (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', 'eve', 'e@example.com');
SELECT ok(pg_temp.nobody('e@example.com'), 'nor does an alias help');

INSERT INTO hedgerow.alias (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', 'ada', 'a.adams@example.com'), ('amsterdam', 'contoso', 'ada', 'carl@example.com'),
	('amsterdam', 'contoso', 'ada', 'ada@foreign.example');
SELECT is(pg_temp.who('a.adams@example.com'), 'ada', 'an alias leads to its person');
SELECT is((SELECT address FROM hedgerow.lookup_addresses('{a.adams@example.com}')), 'ada@example.com', 'who answers as the canonical address');
SELECT is(pg_temp.who('carl@example.com'), 'ada', 'an alias that is free');
SELECT pg_temp.person('boston', 'fabrikam', 'carl', 'carl@example.com') \g /dev/null
SELECT is(pg_temp.who('carl@example.com'), 'carl', 'loses to who has it as address');
SELECT is((SELECT site FROM hedgerow.lookup_addresses('{carl@example.com}')), 'boston', 'without an installation: the site of the forest');
SELECT is((SELECT reason FROM hedgerow.conflicts WHERE kind = 'alias' AND key = 'carl@example.com'),
	'carl in forest "fabrikam" of site "boston" has it: an address goes before an alias', 'and is listed');
SELECT ok(pg_temp.nobody('ada@foreign.example'), 'an alias needs a grant too');
SELECT is((SELECT count(*) FROM hedgerow.quarantine WHERE kind = 'alias'), 0::bigint, 'in a domain that nobody federates it is nobody''s business');
SET session_replication_role = replica;
INSERT INTO hedgerow.email_domain VALUES ('boston', 'foreign.example', 'fabrikam');
RESET session_replication_role;
SELECT is((SELECT reason FROM hedgerow.quarantine WHERE kind = 'alias'), 'foreign.example is not granted to forest "contoso" of site "amsterdam"', 'else it is in quarantine');
SET session_replication_role = replica;
DELETE FROM hedgerow.email_domain WHERE domain = 'foreign.example';
RESET session_replication_role;

SELECT pg_temp.person('amsterdam', 'contoso', 'old', 'dan@example.com', state => 'deleted') \g /dev/null
SELECT pg_temp.person('amsterdam', 'contoso', 'new', 'dan@example.com') \g /dev/null
SELECT ok(pg_temp.nobody('dan@example.com'), 'the address of a deleted person is reserved');
SELECT is((SELECT reason FROM hedgerow.conflicts WHERE anchor = 'new'), 'reserved: a deleted person of this forest had the address', 'and is listed');
SELECT pg_temp.person('boston', 'fabrikam', 'dan', 'dan@example.com') \g /dev/null
SELECT is(pg_temp.who('dan@example.com'), 'dan', 'but not against another forest: people move');
DELETE FROM hedgerow.person WHERE anchor = 'old';
UPDATE hedgerow.person SET created_at = '2019-01-01' WHERE anchor = 'new';
SELECT is(pg_temp.who('dan@example.com'), 'new', 'released, the newcomer has it');
SELECT throws_ok($$ SELECT hedgerow.forget_person('dan@example.com') $$, 'HR100', 'dan@example.com is neither reserved nor a former address at this site', 'nothing to forget');

SELECT pg_temp.person('amsterdam', 'contoso', 'guest', 'guest@example.com', 'guest@im.b.example', 'ejabberd-b') \g /dev/null
SELECT is((SELECT site FROM hedgerow.lookup_addresses('{guest@example.com}')), 'boston', 'an installation of another site is at home there');
SET session_replication_role = replica;
INSERT INTO hedgerow.installation VALUES ('boston', 'prosody-a', 'fabrikam', 'prosody', 'im.x.example', 'h', 1, 's');
RESET session_replication_role;
SELECT is((SELECT site FROM hedgerow.lookup_addresses('{a.adams@example.com}')), 'amsterdam', 'of two of one name, the own site''s');
SELECT is((SELECT count(*) FROM hedgerow.conflicts WHERE kind = 'installation'), 2::bigint, 'both are listed');
SELECT pg_temp.person('amsterdam', 'contoso', 'lost', 'lost@example.com', 'lost@im.a.example', 'nowhere') \g /dev/null
SELECT is((SELECT reason FROM hedgerow.conflicts WHERE kind = 'unknown installation'), '1 people of this forest name it', 'an unknown installation is listed');
SELECT pg_temp.person('amsterdam', 'contoso', 'twin', 'twin@example.com', 'lost@im.a.example', 'prosody-a') \g /dev/null
SELECT is((SELECT string_agg(anchor, ',') FROM hedgerow.conflicts WHERE kind = 'native'), 'twin', 'a native address of two is that of one, and the other is listed');
UPDATE hedgerow.person SET enabled = false WHERE anchor = 'guest';
SELECT is((SELECT enabled FROM hedgerow.lookup_addresses('{guest@example.com}')), false, 'disabled people are found, as disabled');
SELECT is((SELECT state FROM hedgerow.find_user('guest')), 'disabled', 'operators see it');
SELECT is((SELECT state FROM hedgerow.find_user('eve@other')), 'quarantined: domain not granted', 'and why somebody is not reached');
SELECT is((SELECT aliases FROM hedgerow.find_user('a.adams')), '{a.adams@example.com,ada@foreign.example,carl@example.com}', 'found by an alias');

-- the plan of a look-up asks indexes only
DO $$
DECLARE
	line text;
	plan text := '';
BEGIN
	SET LOCAL enable_seqscan = off;
	FOR line IN EXPLAIN SELECT * FROM hedgerow.winner('x@y') LOOP
		plan := plan || line;
	END LOOP;
	PERFORM set_config('test.plan', plan, false);
END $$;
SELECT matches(current_setting('test.plan'), 'person_address', 'the winner is found by index');

-- what a gateway loads
SELECT is((SELECT count(*) FROM hedgerow.gateway_config() WHERE kind = 'domain'), 1::bigint, 'a domain is there once, however many forests share it');
SELECT is((SELECT texts[1] FROM hedgerow.gateway_config() WHERE kind = 'local'), 'amsterdam', 'and who we are');
SELECT hedgerow.add_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID') \g /dev/null
SELECT hedgerow.add_site_key('rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7', not_before => now() + interval '1 day') \g /dev/null
SELECT is((SELECT more FROM hedgerow.gateway_config() WHERE kind = 'site' AND texts[1] = 'amsterdam'),
	ARRAY['tcp://127.0.0.1:7500', 'Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID'], 'endpoints, then the keys that are valid now');
-- a forest of another site under the name of ours
SET session_replication_role = replica;
INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn, filter)
	VALUES ('boston', 'contoso', 'openldap', '{ldaps://x}', 'cn=sync', 'f.bind', 'dc=f', '(cn=*)');
INSERT INTO hedgerow.email_domain VALUES ('boston', 'other.example', 'contoso');
RESET session_replication_role;
SELECT pg_temp.person('boston', 'contoso', 'mallory', 'mallory@other.example') \g /dev/null
SELECT is((SELECT forest FROM hedgerow.lookup_addresses('{mallory@other.example}')), 'contoso@boston', 'is not taken for it by rules');
SELECT is((SELECT forest FROM hedgerow.lookup_natives('{ada@im.a.example}')), 'contoso', 'and ours keeps its name');
SELECT is((SELECT count(*) FROM hedgerow.conflicts WHERE kind = 'forest'), 2::bigint, 'and is listed');
SELECT * FROM finish();
