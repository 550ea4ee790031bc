-- SPDX-License-Identifier: Apache-2.0
-- The life of a person: removal, return, grace, disabling; former addresses; forgetting.
BEGIN;
SELECT no_plan();
\ir sync.psql
SELECT hedgerow.add_mapping('globex', 'enabled', 'employeeType'), hedgerow.add_mapping('globex', 'alias', 'mailAlias'),
	hedgerow.apply_mapping('globex') \g /dev/null
SELECT pg_temp.people(1, 20) \g /dev/null
SELECT pg_temp.set('p1', 'createTimestamp', '20200101120000Z') \g /dev/null
SELECT pg_temp.run() \g /dev/null
CREATE FUNCTION pg_temp.who(key text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(l.name, 'nobody') || CASE WHEN l.enabled IS FALSE THEN ', disabled' ELSE '' END || coalesce(' as ' || r.kind, '')
	FROM hedgerow.lookup_addresses(ARRAY[key]) l LEFT JOIN hedgerow.routable r ON r.key = l.key
	WHERE l.address IS NOT DISTINCT FROM r.address $$;

---- Removal and return
DELETE FROM entries WHERE anchor = 'p1';
SELECT is((pg_temp.run()).removed, 1::bigint, 'who is gone is removed');
SELECT is((SELECT state || ' ' || address FROM hedgerow.person WHERE anchor = 'p1'), 'deleted user.1@example.com', 'softly');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p1' LIMIT 1), 'no longer in the directory', 'with the reason');
SELECT is(pg_temp.who('user.1@example.com'), 'nobody', 'nobody is routed there');
SELECT pg_temp.entry('new', 'user.1@example.com', 'u99', 'Newcomer') \g /dev/null
SELECT is((pg_temp.run()).added, 1::bigint, 'somebody else with the address is published');
SELECT is(pg_temp.who('user.1@example.com'), 'nobody', 'but the address is reserved');
SELECT is((SELECT reason FROM hedgerow.conflicts WHERE anchor = 'new'), 'reserved: a deleted person of this forest had the address', 'as the conflicts say');
SELECT pg_temp.people(1, 1), pg_temp.set('p1', 'createTimestamp', '20200101120000Z') \g /dev/null
SELECT is((pg_temp.run()).added, 1::bigint, 'who returns is added');
SELECT is((SELECT state || ' ' || created_at::date FROM hedgerow.person WHERE anchor = 'p1'), 'active 2020-01-01', 'as the same person');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p1' AND action = 'add'), 'returned', 'and that is written down');
SELECT is(pg_temp.who('user.1@example.com'), 'User 1 as address', 'and has the address again: the older entry');
DELETE FROM entries WHERE anchor = 'new';
SELECT pg_temp.set('p2', 'mail', NULL), pg_temp.run() \g /dev/null
SELECT is((SELECT skipped FROM hedgerow.sync_runs LIMIT 1), 1::bigint, 'an entry without an address is nobody');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p2' LIMIT 1), 'no longer has an address', 'and the reason says so');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'new' AND action = 'remove'), 'no longer in the directory', 'who went has another');

---- Grace and forgetting
UPDATE hedgerow.person SET changed_at = now() - interval '29 days' WHERE anchor = 'p2';
UPDATE hedgerow.person SET changed_at = now() - interval '31 days' WHERE anchor = 'new';
INSERT INTO hedgerow.alias (site, forest, anchor, address) VALUES ('ams', 'globex', 'new', 'newcomer@example.com');
SELECT is((pg_temp.run()).state, 'unchanged', 'after the grace period');
SELECT is((SELECT string_agg(anchor, ',') FROM hedgerow.person WHERE state = 'deleted'), 'p2', 'a deleted person is forgotten');
SELECT is((SELECT count(*) FROM hedgerow.alias WHERE anchor = 'new'), 0::bigint, 'with all aliases');
SELECT pg_temp.entry('heir', 'user.2@example.com', 'u98', 'Heir'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('user.2@example.com'), 'nobody', 'an address is reserved meanwhile');
SELECT is(hedgerow.forget_person('User.2@Example.com'), 1::bigint, 'an operator frees it before the time');
SELECT is(pg_temp.who('user.2@example.com'), 'Heir as address', 'and who waits has it');
SELECT throws_ok($$SELECT hedgerow.forget_person('user.2@example.com')$$, 'HR100', 'user.2@example.com is neither reserved nor a former address at this site', 'once');
SELECT throws_like($$SELECT hedgerow.forget_person('user.3@example.com')$$, '%neither reserved%', 'who is there is not forgotten');

---- What is broken
SELECT pg_temp.set('p11', 'mail', 'garbage'), pg_temp.run() \g /dev/null
SELECT is((SELECT state FROM hedgerow.find_user('user.11@example.com')), 'deleted: address: garbage is not an address local@domain', 'who is removed for a value is found with the reason');
SELECT is((SELECT address FROM hedgerow.sync_refusals WHERE anchor = 'p11'), 'user.11@example.com', 'and the refusal with who it was');
SELECT pg_temp.people(11, 11), pg_temp.run() \g /dev/null

---- Disabling
SELECT pg_temp.set('p3', 'employeeType', 'disabled') \g /dev/null
SELECT is((pg_temp.changes('globex', 'p3')).disabled, 1::bigint, 'disabling counts as such');
SELECT is(pg_temp.who('user.3@example.com'), 'User 3, disabled as address', 'and is known to who asks, so that senders are told');
SELECT is((SELECT state FROM hedgerow.find_user('user.3@example.com')), 'disabled', 'and to operators');
SELECT pg_temp.set('p3', 'employeeType', 'active') \g /dev/null
SELECT is((SELECT changed || ' ' || disabled FROM pg_temp.changes('globex', 'p3')), '1 0', 'enabling is a change');

---- Former addresses
SELECT pg_temp.set('p4', 'mail', 'four@example.com') \g /dev/null
SELECT is((pg_temp.run()).readdressed, 1::bigint, 'a new address');
SELECT is(pg_temp.who('four@example.com') || ', ' || pg_temp.who('user.4@example.com'), 'User 4 as address, User 4 as former', 'leaves the former one leading to it');
SELECT is((SELECT until - now() FROM hedgerow.alias WHERE address = 'user.4@example.com'), '90 days'::interval, 'for a time');
SELECT is((pg_temp.run()).state, 'unchanged', 'no run takes it for an alias of the directory');
SELECT pg_temp.set('p4', 'mail', 'vier@example.com'), pg_temp.changes('globex', 'p4') \g /dev/null
SELECT is(pg_temp.who('four@example.com') || ', ' || pg_temp.who('user.4@example.com'), 'User 4 as former, User 4 as former', 'there may be several');
SELECT pg_temp.entry('other', 'user.4@example.com', 'u97', 'Other'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('user.4@example.com'), 'Other as address', 'an address goes before a former one');
SELECT is((SELECT count(*) FROM hedgerow.conflicts), 0::bigint, 'which is no conflict');
SELECT pg_temp.set('other', 'mail', 'other@example.com'), pg_temp.set('other', 'mailAlias', 'four@example.com'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('four@example.com'), 'Other as alias', 'an alias goes before a former one');
SELECT pg_temp.set('p4', 'mail', 'user.4@example.com'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('user.4@example.com') || ', ' || pg_temp.who('vier@example.com'), 'User 4 as address, User 4 as former', 'and back: what is the address again is no former one');
SELECT is((SELECT string_agg(address, ',' ORDER BY address) FROM hedgerow.alias WHERE anchor = 'p4'), 'four@example.com,vier@example.com', 'only the others are');
SELECT pg_temp.set('p4', 'mailAlias', 'vier@example.com'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('vier@example.com'), 'User 4 as alias', 'a former address that the directory has as alias is an alias');
SELECT is((SELECT until FROM hedgerow.alias WHERE anchor = 'p4' AND address = 'vier@example.com'), NULL, 'without end');
SELECT pg_temp.set('p4', 'mail', 'fier@example.com'), pg_temp.set('p4', 'mailAlias', 'vier@example.com', 'user.4@example.com'), pg_temp.run() \g /dev/null
SELECT is((SELECT string_agg(address, ',' ORDER BY address) FROM hedgerow.alias WHERE anchor = 'p4' AND until IS NULL), 'user.4@example.com,vier@example.com',
	'a directory that keeps the former address as alias has its way');
SELECT is((pg_temp.run()).state, 'unchanged', 'and all that compares equal');
UPDATE hedgerow.alias SET until = now() - interval '1 second' WHERE anchor = 'p4' AND until IS NOT NULL;
SELECT is((SELECT count(*) FROM hedgerow.alias WHERE anchor = 'p4' AND address = 'four@example.com'), 1::bigint, 'a former address whose time is over');
DELETE FROM entries WHERE anchor = 'other';
SELECT hedgerow.forest_sync('globex') \g /dev/null
SELECT pg_temp.run() \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.alias WHERE anchor = 'p4' AND address = 'four@example.com'), 0::bigint, 'goes with the next full run');
INSERT INTO hedgerow.alias (site, forest, anchor, address, until) VALUES ('ams', 'globex', 'p5', 'over@example.com', now() - interval '1 second'),
	('ams', 'globex', 'p5', 'still@example.com', now() + interval '1 second');
SELECT is(pg_temp.who('over@example.com') || ', ' || pg_temp.who('still@example.com'), 'nobody, User 5 as former', 'and leads nowhere before that');
SELECT is(hedgerow.forget_person('still@example.com'), 1::bigint, 'an operator may end it');
SELECT is(pg_temp.who('still@example.com'), 'nobody', 'at once');
SELECT hedgerow.set_setting('former_address_time', '0') \g /dev/null
SELECT pg_temp.set('p6', 'mail', 'six@example.com'), pg_temp.run() \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.alias WHERE anchor = 'p6'), 0::bigint, 'with the time 0 there are none');
SELECT hedgerow.set_setting('former_address_time', '1 day') \g /dev/null

---- Two swap, and keep nothing of each other's
SELECT pg_temp.set('p7', 'mail', 'user.8@example.com'), pg_temp.set('p8', 'mail', 'user.7@example.com'), pg_temp.changes('globex', 'p7', 'p8') \g /dev/null
SELECT is(pg_temp.who('user.8@example.com') || ', ' || pg_temp.who('user.7@example.com'), 'User 7 as address, User 8 as address', 'a swap');
SELECT is((SELECT string_agg(anchor || ' ' || address, ', ' ORDER BY anchor) FROM hedgerow.alias WHERE anchor IN ('p7', 'p8')),
	'p7 user.7@example.com, p8 user.8@example.com', 'each would take the own former address back');
DELETE FROM entries WHERE anchor = 'p8';
SELECT pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('user.7@example.com'), 'nobody', 'but not while it is reserved');
SELECT pg_temp.entry('p8', 'user.8b@example.com', 'u8', 'User 8'), pg_temp.run() \g /dev/null
SELECT is((SELECT state || ' ' || address FROM hedgerow.person WHERE anchor = 'p8'), 'active user.8b@example.com', 'who returns under another address');
SELECT is((SELECT count(*) FROM hedgerow.alias WHERE anchor = 'p8' AND address = 'user.7@example.com'), 1::bigint, 'has the one before as a former one');
SELECT pg_temp.set('p7', 'mailAlias', 'user.7@example.com'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('user.7@example.com'), 'User 7 as alias', 'which yields to who has it as an alias');
DELETE FROM entries WHERE anchor = 'p9';
SELECT pg_temp.set('p10', 'mailAlias', 'user.9@example.com'), pg_temp.run() \g /dev/null
SELECT is(pg_temp.who('user.9@example.com'), 'User 10 as alias', 'an alias may take the reserved address of who left');

---- Removing the forest
SELECT hedgerow.remove_installation('im-a', force => true), hedgerow.remove_forest('globex', force => true) \g /dev/null
SELECT is((SELECT (SELECT count(*) FROM hedgerow.person) + (SELECT count(*) FROM hedgerow.alias) + (SELECT count(*) FROM hedgerow.sync_state)
	+ (SELECT count(*) FROM hedgerow.sync_run) + (SELECT count(*) FROM hedgerow.sync_difference) + (SELECT count(*) FROM hedgerow.sync_refused) + (SELECT count(*) FROM hedgerow.sync_cursor)), 0::bigint, 'a forest goes with all that is known of it');

SELECT * FROM finish();
ROLLBACK;
