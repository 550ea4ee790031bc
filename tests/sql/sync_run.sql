-- SPDX-License-Identifier: Apache-2.0
-- Runs: what a full run, a changes run and a dry run do, their schedule, failures, lease and rights.
BEGIN;
SELECT no_plan();
\ir sync.psql

SELECT results_eq($$SELECT forest, due_ms, kind FROM hedgerow.sync_plan()$$,
	$$VALUES ('globex', 0::bigint, 'full')$$, 'a new forest is due at once');

---- First import, unchanged run, change
SELECT pg_temp.people(1, 60) \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +60 ~0 @0 -0 !0, 0 kept, 0 refused', 'the first run adds everybody');
SELECT is((SELECT address || ' ' || native || ' ' || installation || ' ' || name || ' ' || enabled || ' ' || kind FROM hedgerow.person WHERE anchor = 'p7'),
	'user.7@example.com u7@im.a.example im-a User 7 true user', 'fields are mapped, addresses in lower case, on the only installation');
SELECT is((SELECT count(*) FROM hedgerow.sync_difference), 0::bigint, 'a first import is not written down as a difference');
SELECT ok((SELECT due_ms > 200000 FROM hedgerow.sync_plan()), 'the next run is due after the interval');

UPDATE hedgerow.person SET changed_at = '2001-01-01' WHERE forest = 'globex';
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 60 read, +0 ~0 @0 -0 !0, 0 kept, 0 refused', 'the same answer changes nothing');
SELECT is((SELECT max(changed_at) FROM hedgerow.person), '2001-01-01'::timestamptz, 'and no row is written');
SELECT pg_temp.entry('p7', 'seventh@example.com', 'u7', 'User 7') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~1 @1 -0 !0, 0 kept, 0 refused', 'a new address is one change');
SELECT results_eq($$SELECT anchor, action, before ->> 'address', after ->> 'address' FROM hedgerow.sync_differences WHERE run = (SELECT max(id) FROM hedgerow.sync_run)$$,
	$$VALUES ('p7', 'address', 'user.7@example.com', 'seventh@example.com')$$, 'and is written down with before and after');
SELECT is((SELECT count(*) FROM hedgerow.person), 60::bigint, 'a rename keeps the person');
UPDATE hedgerow.person SET name = 'Mallory' WHERE anchor = 'p8';
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~1 @0 -0 !0, 0 kept, 0 refused', 'what somebody else wrote is put right');

---- Swap
SELECT pg_temp.entry('p1', 'user.2@example.com', 'u1', 'User 1'), pg_temp.entry('p2', 'user.1@example.com', 'u2', 'User 2') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~2 @2 -0 !0, 0 kept, 0 refused', 'two people swap addresses in one run');
SELECT is((SELECT string_agg(name, ', ' ORDER BY key) FROM hedgerow.lookup_addresses('{user.1@example.com,user.2@example.com}')),
	'User 2, User 1', 'and each has the other''s');

---- Changes
SELECT pg_temp.entry('p3', 'user.3@example.com', 'u3', 'Third'), pg_temp.entry('p4', 'user.4@example.com', 'u4', 'Fourth') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p3')), 'applied: 1 read, +0 ~1 @0 -0 !0, 0 kept, 0 refused', 'a changes run changes who is named');
SELECT is((SELECT name FROM hedgerow.person WHERE anchor = 'p4'), 'User 4', 'and nobody else');
SELECT pg_temp.people(61, 62) \g /dev/null
DELETE FROM entries WHERE anchor = 'p5';
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p4', 'p5', 'p61', 'unknown')), 'applied: 2 read, +1 ~1 @0 -1 !0, 0 kept, 0 refused',
	'it adds, changes and removes; who was never known is no matter');
SELECT is((SELECT state FROM hedgerow.person WHERE anchor = 'p5'), 'deleted', 'gone is removed softly');
CREATE TEMP TABLE written AS SELECT max(id) AS last FROM hedgerow.sync_run;
SELECT is((SELECT state || ' ' || (id > (SELECT last FROM written)) FROM pg_temp.changes('globex', 'p4')), 'unchanged true', 'a change that changes nothing');
SELECT is((SELECT max(id) FROM hedgerow.sync_run), (SELECT last FROM written), 'is not even written down');
SELECT is((SELECT kind || ' ' || state || ' ' || added FROM hedgerow.sync_runs LIMIT 1), 'changes applied 1', 'one that did something is');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 61 read, +1 ~0 @0 -0 !0, 0 kept, 0 refused', 'a full run finds what no change told of');
SELECT pg_temp.set('p6', 'mail', 'no address') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p6')), 'applied: 1 read, +0 ~0 @0 -1 !0, 0 kept, 1 refused', 'who cannot be published any more is removed, and listed');
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p7')), 'unchanged: 1 read, +0 ~0 @0 -0 !0, 0 kept, 1 refused', 'changes of others leave that refusal alone');
SELECT pg_temp.set('p6', 'mail', 'user.6@example.com') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p6')), 'applied: 1 read, +1 ~0 @0 -0 !0, 0 kept, 0 refused', 'and corrected, is back');
SELECT is((SELECT kind FROM hedgerow.sync_plan()), 'full', 'changes move no schedule');

---- An entry given twice by a directory that changed meanwhile
CREATE FUNCTION pg_temp.twice(kind text, variadic names text[]) RETURNS hedgerow.sync_run LANGUAGE plpgsql AS $$
DECLARE
	number bigint := pg_temp.begin('globex', kind);
	name text;
BEGIN
	IF kind = 'full' THEN
		PERFORM pg_temp.stage('globex');
	END IF;
	FOREACH name IN ARRAY names LOOP
		PERFORM pg_temp.entry('p9', 'user.9@example.com', 'u9', name);
		PERFORM pg_temp.stage('globex', those => '{p9}');
	END LOOP;
	RETURN pg_temp.end(number);
END $$;
SELECT is((SELECT read || ' ' || changed FROM pg_temp.twice('full', 'Early', 'Late')), '61 1', 'counts once');
SELECT is((SELECT name FROM hedgerow.person WHERE anchor = 'p9'), 'Late', 'as given last');
SELECT is((SELECT read || ' ' || changed FROM pg_temp.twice('changes', 'Later', 'Latest')), '1 1', 'in a changes run too');
SELECT is((SELECT name FROM hedgerow.person WHERE anchor = 'p9'), 'Latest', 'the last counts');
DO $$
DECLARE
	number bigint := pg_temp.begin('globex', 'changes');
BEGIN
	PERFORM pg_temp.stage('globex', those => '{p9}');
	PERFORM pg_temp.stage_gone('p10'), pg_temp.stage_gone('p9');
	PERFORM pg_temp.stage('globex', those => '{p10}');
	PERFORM pg_temp.end(number);
END $$;
SELECT is((SELECT string_agg(anchor || ' ' || state, ', ' ORDER BY anchor) FROM hedgerow.person WHERE anchor IN ('p9', 'p10')), 'p10 active, p9 deleted',
	'gone and there again, there and then gone: the last counts');

---- Cursors
CREATE FUNCTION pg_temp.move(kind text, cookie text, entries bigint DEFAULT 21) RETURNS hedgerow.sync_run LANGUAGE plpgsql AS $$
DECLARE
	number bigint := pg_temp.begin('globex', kind);
BEGIN
	IF kind <> 'changes' THEN
		PERFORM pg_temp.stage('globex');
	END IF;
	PERFORM hedgerow.sync_at('dc=globex,dc=example', 'syncrepl', 'ldap.globex.example', 'i1', 7, cookie::bytea, entries);
	RETURN pg_temp.end(number);
END $$;
SELECT is((pg_temp.move('full', 'c1')).state, 'applied', 'a full run with a cursor');
SELECT is((SELECT convert_from(cookie, 'UTF8') || ' ' || method || ' ' || server || ' ' || incarnation || ' ' || usn || ' ' || entries FROM hedgerow.sync_cursor),
	'c1 syncrepl ldap.globex.example i1 7 21', 'keeps it');
SELECT is((SELECT convert_from(cookie, 'UTF8') || ' ' || method FROM hedgerow.sync_open('globex')), 'c1 syncrepl', 'and the daemon gets it back');
SELECT is((pg_temp.move('changes', 'c2', 0)).state, 'unchanged', 'a changes run of nothing');
SELECT is((SELECT convert_from(cookie, 'UTF8') || ' ' || entries FROM hedgerow.sync_cursor), 'c2 21', 'moves the cursor, and leaves the number of entries');
SELECT is((SELECT max(id) FROM hedgerow.sync_run), (SELECT max(run) FROM hedgerow.sync_runs WHERE kind = 'full'), 'without a row of its own');
SELECT is((pg_temp.move('dry-run', 'c3')).state, 'previewed', 'a dry run');
SELECT is((SELECT convert_from(cookie, 'UTF8') FROM hedgerow.sync_cursor), 'c2', 'moves none');
SELECT is((SELECT state || ': ' || error FROM pg_temp.move('full', 'c4', 0)),
	'failed: the directory answered with no entries in dc=globex,dc=example: everybody is kept', 'a naming context that had entries and answers with none fails the run');
SELECT is((SELECT convert_from(cookie, 'UTF8') FROM hedgerow.sync_cursor), 'c2', 'which moves none either');
UPDATE hedgerow.sync_cursor SET entries = 20;
SELECT is((pg_temp.move('full', 'c5', 0)).state, 'unchanged', 'unless they were no more than the guard lets go');
SELECT is((hedgerow.sync_fail(pg_temp.begin('globex', 'changes'), 'gone away', false)).state, 'failed', 'a changes run fails');
SELECT is((SELECT error FROM hedgerow.sync_runs LIMIT 1), 'gone away', 'and that is written down');

---- Naming contexts
SELECT hedgerow.add_context('globex', 'dc=sub,dc=globex,dc=example', '{ldaps://sub.globex.example}') \g /dev/null
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'a further naming context is read at once');
SELECT results_eq($$SELECT base_dn, urls[1], method FROM hedgerow.sync_open('globex')$$,
	$$VALUES ('dc=globex,dc=example', 'ldaps://ldap.globex.example', 'syncrepl'), ('dc=sub,dc=globex,dc=example', 'ldaps://sub.globex.example', NULL)$$,
	'the source has both, each with its cursor');
SELECT is((SELECT count(run) FROM hedgerow.sync_begin('globex', 'changes', false, 'test', 'what it was')), 0::bigint, 'changes read by another source are not taken');
SELECT throws_ok($$SELECT hedgerow.add_context('globex', 'DC=Globex,DC=example', '{ldaps://x}')$$, 'HR100',
	'DC=Globex,DC=example is a naming context of forest "globex" already', 'each is named once');
SELECT throws_ok($$SELECT hedgerow.add_context('globex', 'dc=x', '{ldap://x}')$$, 'HR100', 'url "ldap://x" does not go with tls ldaps', 'its servers are as safe as the others');
SELECT throws_ok($$UPDATE hedgerow.forest SET base_dn = 'dc=sub,dc=globex,dc=example' WHERE forest = 'globex'$$, 'HR100', NULL, 'a forest does not take a further one as its first');
SELECT throws_ok($$SELECT hedgerow.remove_context('globex', 'dc=nowhere')$$, 'HR100', 'forest "globex" has no further naming context dc=nowhere', 'what is not there is not removed');
SELECT lives_ok($$SELECT hedgerow.remove_context('globex', 'dc=sub,dc=globex,dc=example')$$, 'it can be removed');

---- Dry run
SELECT pg_temp.run() \g /dev/null
SELECT pg_temp.set('p1', 'mail', 'first@example.com') \g /dev/null
SELECT hedgerow.forest_sync('globex', dry_run => true) \g /dev/null
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'dry-run')$$, 'a dry run can be asked for');
SELECT is(pg_temp.summary(pg_temp.run(kind => 'dry-run')), 'previewed: 61 read, +0 ~1 @1 -0 !0, 0 kept, 0 refused', 'it shows the difference');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'p1'), 'user.2@example.com', 'and changes nobody');
SELECT is((SELECT after ->> 'address' FROM hedgerow.sync_differences WHERE state = 'previewed' AND anchor = 'p1' LIMIT 1), 'first@example.com', 'the view has it');
SELECT ok((SELECT due_ms > 0 AND kind = 'full' FROM hedgerow.sync_plan()), 'the request is used up');

---- Failures and the schedule
SELECT ok(hedgerow.forest_sync('globex') > 0, 'a run can be asked for');
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'full')$$, 'it is due');
SELECT is((hedgerow.sync_fail(pg_temp.begin('globex', 'full'), 'no answer', false)).state, 'failed', 'a run fails');
SELECT ok((SELECT due_ms BETWEEN 5000 AND 12000 FROM hedgerow.sync_plan()), 'what may pass is tried again soon');
SELECT hedgerow.sync_fail(pg_temp.begin('globex', 'full'), 'no answer', false) \g /dev/null
SELECT ok((SELECT due_ms BETWEEN 15000 AND 23000 FROM hedgerow.sync_plan()), 'then later');
SELECT hedgerow.sync_fail(pg_temp.begin('globex', 'full'), 'wrong password', true) \g /dev/null
SELECT ok((SELECT due_ms BETWEEN 500000 AND 700000 FROM hedgerow.sync_plan()), 'what will not pass, after ten minutes');
SELECT is((SELECT error || ' ' || failures FROM hedgerow.sync_status), 'wrong password 3', 'the status shows it');
SELECT results_eq($$SELECT cause, runs, over FROM hedgerow.sync_errors WHERE cause IN ('no answer', 'wrong password') ORDER BY 1$$,
	$$VALUES ('no answer', 2::bigint, false), ('wrong password', 1, false)$$, 'and errors are listed by cause');
UPDATE hedgerow.forest SET bind_secret = 'other' WHERE forest = 'globex';
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'changed access is tried at once');
SELECT pg_temp.begin('globex', 'full') AS dead \gset
SELECT ok(hedgerow.sync_is_leased('globex'), 'a daemon holds the lease');
SELECT pg_advisory_unlock_all() \g /dev/null
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'a run that died is due at once');
SELECT hedgerow.sync_open('globex') \g /dev/null
SELECT is((SELECT state FROM hedgerow.sync_runs WHERE run = :dead), 'failed', 'the next daemon writes it down');
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'full')$$, 'and it is still due');
SELECT is((pg_temp.run()).state, 'applied', 'and works');
SELECT is((SELECT failures FROM hedgerow.sync_status), 0, 'a good run ends the failures');
SELECT ok((SELECT bool_and(over) FROM hedgerow.sync_errors), 'and its causes are over');
SELECT pg_temp.begin('globex', 'dry-run') AS dead \gset
SELECT pg_advisory_unlock_all() \g /dev/null
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'dry-run')$$, 'a dry run that died is due as a dry run');
SELECT is((pg_temp.run(kind => 'dry-run')).state, 'previewed', 'and works');
SELECT throws_like($$SELECT hedgerow.forest_sync('initech')$$, '%initech%', 'an unknown forest is refused');
SELECT throws_ok($$SELECT hedgerow.sync_finish(1)$$, 'HR100', 'run 1 is not under way in this session', 'nor is a run ended twice');

---- What was seen need not be mapped again
CREATE FUNCTION pg_temp.mapped(kind text DEFAULT 'full', variadic anchors text[] DEFAULT '{}') RETURNS bigint LANGUAGE plpgsql
SET search_path = hedgerow, pg_temp AS $$
DECLARE
	number bigint := pg_temp.begin('globex', kind);
	mapped bigint;
BEGIN
	PERFORM pg_temp.stage('globex', those => CASE WHEN kind = 'changes' THEN anchors END);
	SELECT count(*) INTO mapped FROM sync_target WHERE NOT same;
	PERFORM pg_temp.end(number);
	RETURN mapped;
END $$;
SELECT pg_temp.run() \g /dev/null
SELECT is(pg_temp.mapped(), 0::bigint, 'of an answer that is as before nothing is mapped');
SELECT pg_temp.set('p1', 'cn', 'New'), pg_temp.set('p2', 'mail', 'broken') \g /dev/null
SELECT is(pg_temp.mapped(), 2::bigint, 'else what has changed');
SELECT is(pg_temp.mapped(), 1::bigint, 'and what is refused, each time');
SELECT pg_temp.set('p2', 'mail', 'user.1@example.com') \g /dev/null
SELECT is(pg_temp.mapped('changes', 'p1', 'p2', 'p3'), 1::bigint, 'a changes run neither maps what it knows');
SELECT is(pg_temp.mapped(), 0::bigint, 'and remembers for the next');
SELECT is((SELECT due_ms > 0 FROM hedgerow.sync_plan()), true, 'all this asks for nothing');
UPDATE hedgerow.person SET name = 'Mallory' WHERE anchor = 'p8';
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'who writes people by hand makes a run due');
SELECT is(pg_temp.mapped(), (SELECT count(*) FROM entries), 'that maps everything');
SELECT is((SELECT name FROM hedgerow.person WHERE anchor = 'p8'), 'User 8', 'and puts it right');
DELETE FROM hedgerow.alias;
SELECT pg_temp.set('p11', 'mail', 'new.11@example.com'), pg_temp.run() \g /dev/null
INSERT INTO hedgerow.alias (site, forest, anchor, address) VALUES ('ams', 'globex', 'p12', 'mallory@example.com');
SELECT pg_temp.run() \g /dev/null
SELECT is((SELECT string_agg(anchor || ' ' || address, ', ') FROM hedgerow.alias), 'p11 user.11@example.com', 'aliases too, but for former addresses');
DELETE FROM hedgerow.person WHERE anchor = 'p13';
SELECT is((pg_temp.run()).added, 1::bigint, 'who was deleted by hand is there again');
SELECT is(pg_temp.mapped('dry-run'), 0::bigint, 'a dry run by the same mapping is quick too');

---- Installations say where people are
UPDATE hedgerow.installation SET native_domain = 'im.z.example' WHERE installation = 'im-a';
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'a changed installation makes its forest due');
SELECT is((pg_temp.run()).changed, 61::bigint, 'everybody moves with it');

---- What is configured while a run is under way
SELECT pg_temp.begin('globex', 'full') AS number \gset
SELECT hedgerow.add_context('globex', 'dc=sub,dc=globex,dc=example', '{ldaps://sub.globex.example}'), pg_temp.stage('globex') \gset
SELECT is((hedgerow.sync_finish(:number)).state, 'unchanged', 'a run ends that began before');
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'full')$$, 'and another is due');
SELECT hedgerow.remove_context('globex', 'dc=sub,dc=globex,dc=example'), pg_temp.run() \g /dev/null

---- Temporary tables, which no autovacuum visits
SELECT pg_temp.changes('globex', 'p' || i) FROM generate_series(1, 20) i \g /dev/null
SELECT pg_temp.run() \g /dev/null
SELECT is(pg_relation_size('pg_temp.sync_target') + pg_relation_size('pg_temp.sync_change') + pg_relation_size('pg_temp.sync_now'), 0::bigint,
	'a full run leaves nothing of them, however small it is');

---- A directory that is away
SELECT hedgerow.status_report('d1', '{forest}', '{"globex/dc=globex,dc=example"}', '{lost}', '{no route}', '{}', '{}', '{}', '{}') \g /dev/null
SELECT is((SELECT error || ', ' || (changes_by LIKE '%lost') FROM hedgerow.sync_status), 'no route, true', 'the status says why its changes do not come');
SELECT hedgerow.status_report('d1', '{forest}', '{"globex/dc=globex,dc=example"}', '{followed}', '{syncrepl}', '{}', '{}', '{}', '{}') \g /dev/null
SELECT is((SELECT error FROM hedgerow.sync_status), NULL, 'until they do');
SELECT is((SELECT lag FROM hedgerow.sync_status), interval '0', 'without a lag, then');

---- What is seen while a run is under way
SELECT set_config('application_name', 'psql', false) \g /dev/null
SELECT pg_temp.begin('globex', 'full') AS number \gset
SELECT pg_temp.stage('globex') \g /dev/null
SELECT results_eq($$SELECT forest, kind, phase, number, expected FROM hedgerow.sync_progress$$, $$VALUES ('globex', 'full', 'read', 61::bigint, 61::bigint)$$,
	'how far the reading has come');
SELECT hedgerow.sync_finish(:number), pg_stat_clear_snapshot() \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.sync_progress), 0::bigint, 'and nothing when it is over');

---- Rights
SELECT pg_temp.set('p1', 'cn', 'Rosa') \g /dev/null
SET LOCAL search_path = hedgerow, pg_temp;
SELECT sync_drop_temporary(), set_config('hedgerow.sync_prepared', '', false) \g /dev/null
SET LOCAL search_path = public, tap;
SET LOCAL ROLE hedgerow_directory;
SELECT is((pg_temp.run()).state, 'applied', 'the directory role may do a whole run');
SELECT is((pg_temp.changes('globex', 'p1', 'p2')).state, 'unchanged', 'and changes');
SELECT throws_ok($$UPDATE hedgerow.forest SET guard_delete_percent = 100$$, '42501', NULL, 'but not change the guard');
SELECT throws_ok($$SELECT hedgerow.release_run('globex')$$, '42501', NULL, 'nor decide');
SELECT throws_ok($$SELECT hedgerow.apply_mapping('globex')$$, '42501', NULL, 'nor map');
RESET ROLE;
SET LOCAL ROLE hedgerow_operator;
SELECT ok(hedgerow.forest_sync('globex') > 0, 'the operator may ask for a run');
SELECT throws_like($$SELECT hedgerow.drop_run('globex')$$, '%no held run%', 'and decide on one');
SELECT throws_ok($$SELECT * FROM hedgerow.sync_begin('globex', 'full', false, 'x')$$, '42501', NULL, 'but not do one');
RESET ROLE;
SET LOCAL ROLE hedgerow_reader;
SELECT is((SELECT count(*) FROM hedgerow.sync_status), 1::bigint, 'the reader sees the status');
SELECT lives_ok($$SELECT (SELECT count(*) FROM hedgerow.sync_progress), (SELECT count(*) FROM hedgerow.sync_held), (SELECT count(*) FROM hedgerow.sync_contexts)$$, 'and the rest');
SELECT throws_ok($$SELECT hedgerow.forest_sync('globex')$$, '42501', NULL, 'and no more');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
