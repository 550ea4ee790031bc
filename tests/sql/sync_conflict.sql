-- SPDX-License-Identifier: Apache-2.0
-- Who wins what several forests publish: the same whatever the order of import, and by the rule.
BEGIN;
SELECT no_plan();
\ir sync.psql
SELECT hedgerow.add_forest('contoso', 'activedirectory', '{ldaps://dc1}', 'svc', 'c.password', 'dc=contoso', priority => 50),
	hedgerow.add_forest('fabrikam', 'activedirectory', '{ldaps://dc2}', 'svc', 'f.password', 'dc=fabrikam', filter => '(objectClass=*)'),
	hedgerow.add_installation('im-c', 'contoso', 'openfire', 'im.c.example', '127.0.0.1'),
	hedgerow.add_installation('im-f', 'fabrikam', 'ejabberd', 'im.f.example', '127.0.0.1'),
	hedgerow.add_domain('example.com', 'contoso'), hedgerow.add_domain('example.com', 'fabrikam') \g /dev/null
UPDATE hedgerow.forest SET guard_delete_percent = 100, guard_address_percent = 100, guard_disable_percent = 100;

-- What the three directories hold: forest, anchor, attributes
CREATE TEMP TABLE holdings (forest text, anchor text, attributes jsonb);
INSERT INTO holdings VALUES
	-- the same address in two forests: the priority
	('contoso', 'c1', '{"mail": "both@example.com", "sAMAccountName": "both", "cn": "Both C", "whenCreated": "20200101000000Z"}'),
	('globex', 'g1', '{"mail": "both@example.com", "uid": "both", "cn": "Both G", "createTimestamp": "20100101000000Z"}'),
	-- of equal priority: the age that the directory tells
	('globex', 'g2', '{"mail": "age@example.com", "uid": "age", "cn": "Age G", "createTimestamp": "20200101000000Z"}'),
	('fabrikam', 'f2', '{"mail": "age@example.com", "sAMAccountName": "age", "cn": "Age F", "whenCreated": "20190101000000Z"}'),
	-- of equal age, or none: by name
	('globex', 'g3', '{"mail": "name@example.com", "uid": "name", "cn": "Name G"}'),
	('fabrikam', 'f3', '{"mail": "name@example.com", "sAMAccountName": "name", "cn": "Name F"}'),
	-- one that tells its age before one that does not
	('globex', 'g4', '{"mail": "told@example.com", "uid": "told", "cn": "Told G", "createTimestamp": "20240101000000Z"}'),
	('fabrikam', 'f4', '{"mail": "told@example.com", "sAMAccountName": "told", "cn": "Told F"}'),
	-- a linked account: the resource forest has it disabled
	('contoso', 'c5', '{"mail": "linked@example.com", "sAMAccountName": "linked", "cn": "Linked C", "userAccountControl": "514", "whenCreated": "20000101000000Z"}'),
	('fabrikam', 'f5', '{"mail": "linked@example.com", "sAMAccountName": "linked", "cn": "Linked F", "userAccountControl": "512", "whenCreated": "20240101000000Z"}'),
	-- a contact that is another forest's user
	('contoso', 'c6', '{"mail": "contact@example.com", "cn": "Contact C", "objectClass": ["top", "contact"], "whenCreated": "20000101000000Z"}'),
	('globex', 'g6', '{"mail": "contact@example.com", "uid": "contact", "cn": "Contact G"}'),
	-- twice in one forest
	('globex', 'g7', '{"mail": "twin@example.com", "uid": "twin1", "cn": "Twin A", "createTimestamp": "20200101000000Z"}'),
	('globex', 'g8', '{"mail": "twin@example.com", "uid": "twin2", "cn": "Twin B", "createTimestamp": "20180101000000Z"}'),
	-- a native address twice
	('globex', 'g9', '{"mail": "n9@example.com", "uid": "shared", "cn": "Native A", "createTimestamp": "20200101000000Z"}'),
	('globex', 'ga', '{"mail": "na@example.com", "uid": "Shared", "cn": "Native B", "createTimestamp": "20180101000000Z"}'),
	-- an alias that is somebody's address, and one of two
	('contoso', 'cb', '{"mail": "b@example.com", "sAMAccountName": "b", "cn": "B", "proxyAddresses": ["smtp:twin@example.com", "smtp:ab@example.com"]}'),
	('fabrikam', 'fb', '{"mail": "bb@example.com", "sAMAccountName": "bb", "cn": "BB", "proxyAddresses": ["smtp:ab@example.com"], "whenCreated": "19990101000000Z"}'),
	-- an alias of who does not have the own address
	('globex', 'gc', '{"mail": "b@example.com", "uid": "bc", "cn": "BC"}');

CREATE FUNCTION pg_temp.import(forest text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM entries;
	PERFORM pg_temp.entry(h.anchor, h.attributes) FROM holdings h WHERE h.forest = import.forest;
	PERFORM pg_temp.run(import.forest);
END $$;
CREATE FUNCTION pg_temp.routes() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s=%s/%s', key, anchor, coalesce(native, '-')), ' ' ORDER BY key) FROM hedgerow.routable $$;
CREATE FUNCTION pg_temp.losses() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s: %s', kind, key, anchor, reason), E'\n' ORDER BY kind, key, anchor) FROM hedgerow.conflicts $$;
CREATE FUNCTION pg_temp.look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(name, 'nobody') FROM hedgerow.lookup_addresses(ARRAY[key]) $$;

---- Every order of import gives the same
CREATE TEMP TABLE orders (names text[], routes text, losses text);
DO $$
DECLARE
	names text[];
	name text;
BEGIN
	FOR names IN SELECT ARRAY[a, b, c] FROM unnest('{globex,contoso,fabrikam}'::text[]) a, unnest('{globex,contoso,fabrikam}'::text[]) b,
		unnest('{globex,contoso,fabrikam}'::text[]) c WHERE a <> b AND b <> c AND a <> c LOOP
		DELETE FROM hedgerow.alias;
		DELETE FROM hedgerow.person;
		DELETE FROM hedgerow.sync_state;
		FOREACH name IN ARRAY names LOOP
			PERFORM pg_temp.import(name);
		END LOOP;
		INSERT INTO orders VALUES (names, pg_temp.routes(), pg_temp.losses());
	END LOOP;
END $$;
SELECT is((SELECT count(*) FROM orders), 6::bigint, 'six orders of three imports');
SELECT is((SELECT count(DISTINCT routes || losses) FROM orders), 1::bigint, 'give one answer');
SELECT is((SELECT string_agg(format('%s %s', r.key, l.name), '; ' ORDER BY r.key) FROM hedgerow.routable r, hedgerow.lookup_addresses(ARRAY[r.key]) l
	WHERE (l.address, coalesce(l.native, '-'), l.name) <> (r.address, coalesce(r.native, '-'), r.name)), NULL, 'look-ups and view agree');

---- By the rule
SELECT is(pg_temp.look('both@example.com'), 'Both C', 'the forest with the lower priority');
SELECT is(pg_temp.look('age@example.com'), 'Age F', 'the older entry, as its directory says');
SELECT is(pg_temp.look('name@example.com'), 'Name F', 'else by name');
SELECT is(pg_temp.look('told@example.com'), 'Told G', 'age that is told goes before none');
SELECT is(pg_temp.look('linked@example.com'), 'Linked F', 'who is enabled goes before who is not, whatever the priority');
SELECT is(pg_temp.look('contact@example.com'), 'Contact G', 'a user goes before a contact');
SELECT is(pg_temp.look('twin@example.com'), 'Twin B', 'an address before an alias');
SELECT is(pg_temp.look('ab@example.com'), 'B', 'aliases by the same rule');
SELECT is((SELECT string_agg(name || ' ' || coalesce(native, '-'), ', ' ORDER BY key) FROM hedgerow.lookup_addresses('{n9@example.com,na@example.com}')),
	'Native A -, Native B shared@im.a.example', 'a native address is that of one; to the other only e-mail leads');
SELECT is((SELECT name FROM hedgerow.lookup_natives('{shared@im.a.example}')), 'Native B', 'who alone speaks by it');
SELECT is((SELECT state FROM hedgerow.find_user('n9@example.com')), 'by e-mail only: somebody else has the native address', 'operators see why');
SELECT is((SELECT string_agg(native, ',') FROM hedgerow.lookup_natives('{both@im.a.example,linked@im.c.example}')), NULL, 'who lost the address has no voice');
SELECT is(pg_temp.losses(), array_to_string(ARRAY[
	'address age@example.com g2: Age F in forest "fabrikam" of site "ams" has it: it is the older entry',
	'address b@example.com gc: B in forest "contoso" of site "ams" has it: its forest has priority 50, this one 100',
	'address both@example.com g1: Both C in forest "contoso" of site "ams" has it: its forest has priority 50, this one 100',
	'address contact@example.com c6: Contact G in forest "globex" of site "ams" has it: a user goes before a contact',
	'address linked@example.com c5: Linked F in forest "fabrikam" of site "ams" has it: who is enabled goes before who is not',
	'address name@example.com g3: Name F in forest "fabrikam" of site "ams" has it: by the names of site, forest and anchor',
	'address told@example.com f4: Told G in forest "globex" of site "ams" has it: it is the older entry',
	'address twin@example.com g7: Twin B in forest "globex" of site "ams" has it: it is the older entry',
	'alias ab@example.com fb: B in forest "contoso" of site "ams" has it: its forest has priority 50, this one 100',
	'alias twin@example.com cb: Twin B in forest "globex" of site "ams" has it: an address goes before an alias',
	'native shared@im.a.example g9: Native B in forest "globex" of site "ams" has it: it is the older entry'], E'\n'), 'each loser is listed with the reason');

---- When the cause goes, the loser wins by itself
DELETE FROM holdings WHERE anchor = 'c1';
SELECT pg_temp.import('contoso') \g /dev/null
SELECT is(pg_temp.look('both@example.com'), 'Both G', 'the winner goes: the next is there');
UPDATE holdings SET attributes = attributes || '{"userAccountControl": "512"}' WHERE anchor = 'c5';
SELECT pg_temp.import('contoso') \g /dev/null
SELECT is(pg_temp.look('linked@example.com'), 'Linked C', 'the account is enabled');
UPDATE holdings SET attributes = attributes || '{"mail": "other@example.com"}' WHERE anchor = 'g8';
SELECT pg_temp.import('globex') \g /dev/null
SELECT is(pg_temp.look('twin@example.com'), 'Twin A', 'the winner has another address');
UPDATE hedgerow.forest SET priority = 10 WHERE forest = 'globex';
SELECT is(pg_temp.look('age@example.com'), 'Age G', 'a priority changes, without any run');
SELECT hedgerow.remove_domain('example.com', 'globex', force => true) \g /dev/null
SELECT is(pg_temp.look('age@example.com'), 'Age F', 'a grant is withdrawn');
SELECT is((SELECT count(*) FROM hedgerow.quarantine WHERE forest = 'globex' AND kind = 'address'),
	(SELECT count(*) FROM hedgerow.person WHERE forest = 'globex' AND state = 'active'), 'and all of the forest are in quarantine');
SELECT hedgerow.add_domain('example.com', 'globex') \g /dev/null
SELECT is(pg_temp.look('age@example.com'), 'Age G', 'and given again');

SELECT * FROM finish();
ROLLBACK;
