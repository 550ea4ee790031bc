-- SPDX-License-Identifier: Apache-2.0
-- The guard: what is held, what changes leave to a full run, release and drop.
BEGIN;
SELECT no_plan();
\ir sync.psql
UPDATE hedgerow.forest SET guard_delete_count = 10, guard_delete_percent = 10, guard_disable_count = 8,
	guard_disable_percent = 10, guard_address_count = 6, guard_address_percent = 10 WHERE forest = 'globex';
SELECT hedgerow.add_mapping('globex', 'enabled', 'employeeType'), hedgerow.apply_mapping('globex') \g /dev/null
SELECT pg_temp.people(1, 60) \g /dev/null
SELECT pg_temp.run() \g /dev/null
CREATE FUNCTION pg_temp.remove(first int, last int) RETURNS void LANGUAGE sql AS $$
	DELETE FROM entries WHERE anchor IN (SELECT 'p' || i FROM generate_series(first, last) i) $$;
CREATE FUNCTION pg_temp.active() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM hedgerow.person WHERE state = 'active' $$;
CREATE FUNCTION pg_temp.anchors(first int, last int) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg('p' || i ORDER BY i) FROM generate_series(first, last) i $$;
CREATE FUNCTION pg_temp.status() RETURNS text LANGUAGE sql AS $$
	SELECT format('%s%s, %s', state, ': ' || error, CASE WHEN held_run IS NULL THEN 'nothing held' ELSE 'held' END) FROM hedgerow.sync_status $$;

---- Three classes, each by number and percent
SELECT pg_temp.remove(1, 10) \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 50 read, +0 ~0 @0 -10 !0, 0 kept, 0 refused', 'as many as the number are removed');
SELECT pg_temp.people(1, 10), pg_temp.remove(11, 21) \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would remove 11 of 50 people; the guard allows 10 or 10 %', 'more are held');
SELECT is((SELECT count(*) FROM hedgerow.person WHERE state = 'active' AND anchor = 'p1'), 0::bigint, 'whole: nobody is added either');
UPDATE hedgerow.forest SET guard_delete_percent = 22 WHERE forest = 'globex';
SELECT is((SELECT state || ' ' || removed FROM pg_temp.run()), 'applied 11', 'unless they are no more than the percent');
UPDATE hedgerow.forest SET guard_delete_percent = 10 WHERE forest = 'globex';
SELECT pg_temp.people(1, 60), pg_temp.run() \g /dev/null
SELECT pg_temp.set(a, 'employeeType', 'no') FROM unnest(pg_temp.anchors(1, 9)) a \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would disable or take from chat 9 of 60 people; the guard allows 8 or 10 %', 'disabling too many is held');
SELECT is((SELECT string_agg(DISTINCT action, ',') || ' ' || count(*) FROM hedgerow.sync_held), 'disable 9', 'its difference is in the view');
SELECT pg_temp.set('p9', 'employeeType', 'yes') \g /dev/null
SELECT is((SELECT state || ' ' || disabled FROM pg_temp.run()), 'applied 8', 'as many as the number are disabled');
SELECT is((SELECT state FROM hedgerow.sync_runs WHERE run = (SELECT max(id) - 1 FROM hedgerow.sync_run)), 'lapsed', 'what was held has lapsed');
SELECT pg_temp.set(a, 'mail', a || '@example.com') FROM unnest(pg_temp.anchors(20, 26)) a \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would change the address of 7 of 60 people; the guard allows 6 or 10 %', 'so are too many new addresses');
SELECT is((SELECT string_agg(DISTINCT action || ' ' || reason, ',') FROM hedgerow.sync_held), NULL, 'with before and after instead of a reason');
SELECT is((SELECT before ->> 'address' || ' ' || (after ->> 'address') FROM hedgerow.sync_held WHERE anchor = 'p20'), 'user.20@example.com p20@example.com', 'in the view');
SELECT pg_temp.set(a, 'employeeType', 'no') FROM unnest(pg_temp.anchors(10, 19)) a \g /dev/null
SELECT is((SELECT error FROM pg_temp.run()), 'would disable or take from chat 10 of 60 people; the guard allows 8 or 10 %; would change the address of 7 of 60 people; the guard allows 6 or 10 %',
	'every class that is past is named');
SELECT is((SELECT count(*) FROM hedgerow.sync_runs WHERE state = 'held'), 1::bigint, 'one run waits, the one before has lapsed');
SELECT hedgerow.release_run('globex') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~7 @7 -0 !10, 0 kept, 0 refused', 'released, all of it is applied');

---- Chat
SELECT hedgerow.add_installation('im-b', 'globex', 'ejabberd', 'im.b.example', '127.0.0.1') \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would disable or take from chat 42 of 60 people; the guard allows 8 or 10 %',
	'a second installation, and nobody says who is there: held');
SELECT is((SELECT count(*) FROM hedgerow.person WHERE native IS NULL AND enabled), 0::bigint, 'nobody has lost the chat');
SELECT hedgerow.add_mapping('globex', 'installation', NULL, replacement => 'im-a'), hedgerow.apply_mapping('globex') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 60 read, +0 ~0 @0 -0 !0, 0 kept, 0 refused', 'until the mapping does');
SELECT pg_temp.set(a, 'uid', 'other' || a) FROM unnest(pg_temp.anchors(30, 36)) a \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would change the address of 7 of 60 people; the guard allows 6 or 10 %',
	'other accounts in the chat count as other addresses');
SELECT hedgerow.drop_run('globex') \g /dev/null
SELECT is((SELECT state || ' ' || kept FROM pg_temp.run()), 'unchanged 7', 'and can be dropped');
SELECT pg_temp.set('p30', 'uid', 'third') \g /dev/null
SELECT is((pg_temp.run()).state, 'held', 'a third account is another question');
SELECT pg_temp.people(30, 36), hedgerow.add_mapping('globex', 'alias', 'mailAlternateAddress'), hedgerow.apply_mapping('globex') \g /dev/null
SELECT pg_temp.set(a, 'mailAlternateAddress', 'other.' || a || '@example.com') FROM unnest(pg_temp.anchors(30, 36)) a \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~7 @0 -0 !0, 0 kept, 0 refused', 'aliases may come');
SELECT pg_temp.set(a, 'mailAlternateAddress', NULL) FROM unnest(pg_temp.anchors(30, 36)) a \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would change the address of 7 of 60 people; the guard allows 6 or 10 %', 'all of somebody''s going is another address');

---- Held, released
DELETE FROM entries;
SELECT pg_temp.people(1, 60), pg_temp.run() \g /dev/null
SELECT hedgerow.release_run('globex'), pg_temp.run() FROM hedgerow.sync_status WHERE held_run IS NOT NULL \g /dev/null
SELECT pg_temp.remove(10, 40) \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'held: 29 read, +0 ~0 @0 -31 !0, 0 kept, 0 refused', 'a run that removes too many is held');
SELECT is(pg_temp.active(), 60::bigint, 'and removes nobody');
SELECT is((SELECT count(*) FROM hedgerow.sync_differences WHERE state = 'held' AND action = 'remove'), 31::bigint, 'its difference is in the view');
SELECT is(pg_temp.status(), 'held: would remove 31 of 60 people; the guard allows 10 or 10 %, held', 'and the reason in the status');
SELECT is(pg_temp.summary(pg_temp.run()), 'held: 29 read, +0 ~0 @0 -31 !0, 0 kept, 0 refused', 'it is held again');
SELECT is((SELECT count(*) FROM hedgerow.sync_held), 31::bigint, 'but the same difference is kept once');
SELECT ok(hedgerow.release_run('globex') > 0, 'release asks for a run');
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'at once');
SELECT pg_temp.remove(41, 51) \g /dev/null
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would remove 11 of 60 people; the guard allows 10 or 10 %', 'what came since counts alone');
SELECT throws_like($$SELECT hedgerow.release_run('initech')$$, '%initech%', 'an unknown forest is refused');
SELECT throws_like($$SELECT hedgerow.release_run('globex', 1)$$, '%is held, not run 1', 'nor is a run decided on that is held no more');
SELECT pg_temp.people(51, 51), pg_temp.people(10, 10), hedgerow.release_run('globex') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 20 read, +0 ~0 @0 -40 !0, 0 kept, 0 refused', 'a smaller difference is applied');
SELECT throws_like($$SELECT hedgerow.release_run('globex')$$, '%no held run%', 'the decision is used up');
SELECT is(pg_temp.status(), 'applied, nothing held', 'and nothing is held');

---- Dropped
SELECT pg_temp.people(1, 60), pg_temp.run(), pg_temp.remove(10, 40) \g /dev/null
SELECT is((pg_temp.run()).state, 'held', 'held for a second decision');
SELECT hedgerow.drop_run('globex') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 29 read, +0 ~0 @0 -0 !0, 31 kept, 0 refused', 'after a drop the people are kept');
SELECT is((SELECT kept FROM hedgerow.sync_status), 31::bigint, 'as the status says');
SELECT pg_temp.entry('n1', 'new@example.com', 'new', 'New') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 30 read, +1 ~0 @0 -0 !0, 31 kept, 0 refused', 'while additions go on');
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p10', 'p11')), 'unchanged: 0 read, +0 ~0 @0 -0 !0, 2 kept, 0 refused', 'a changes run keeps them too');
SELECT ok((SELECT due_ms > 0 FROM hedgerow.sync_plan()), 'and asks for nothing');
SELECT pg_temp.people(10, 35) \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 56 read, +0 ~0 @0 -0 !0, 5 kept, 0 refused', 'fewer than the guard allows are kept too');
SELECT pg_temp.remove(10, 36) \g /dev/null
SELECT is((pg_temp.run()).state, 'unchanged', 'the same people gone again: still kept');
SELECT pg_temp.set('p55', 'employeeType', 'no') \g /dev/null
SELECT is((SELECT kept || ' ' || wants_full FROM pg_temp.changes('globex', 'p55')), '1 true', 'somebody is disabled: changes leave it to a full run');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 30 read, +0 ~0 @0 -0 !1, 31 kept, 0 refused', 'which waits for nobody');
SELECT pg_temp.set('p55', 'employeeType', 'yes'), pg_temp.run() \g /dev/null
SELECT pg_temp.remove(50, 50) \g /dev/null
SELECT is((SELECT kept || ' ' || wants_full FROM pg_temp.changes('globex', 'p50')), '1 true', 'one more gone: changes leave it to a full run');
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'and ask for it at once');
SELECT is((pg_temp.run()).state, 'held', 'which asks again');
SELECT hedgerow.drop_run('globex') \g /dev/null
SELECT pg_temp.people(10, 37), pg_temp.remove(49, 49) \g /dev/null
SELECT is((SELECT state || ' ' || removed || ': ' || error FROM pg_temp.run()),
	'held 5: would do 4 things to people that have been dropped, and 1 new ones', 'also when they are few enough together');
SELECT is(pg_temp.active(), 61::bigint, 'nobody is removed by it');
SELECT pg_temp.people(38, 40), pg_temp.people(50, 50), pg_temp.people(49, 49), pg_temp.remove(48, 48) \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~0 @0 -1 !0, 0 kept, 0 refused', 'when they are back the guard alone decides');
SELECT pg_temp.people(1, 60), pg_temp.run() \g /dev/null
SELECT is((pg_temp.run()).state, 'unchanged', 'all are back: nothing was lost');
SELECT is(pg_temp.status(), 'unchanged, nothing held', 'and nothing waits any more');
SELECT pg_temp.set(a, 'mail', a || '@example.com') FROM unnest(pg_temp.anchors(20, 26)) a \g /dev/null
SELECT pg_temp.run(), hedgerow.drop_run('globex') \g /dev/null
SELECT is((SELECT state || ' ' || kept FROM pg_temp.run()), 'unchanged 7', 'new addresses can be dropped');
SELECT pg_temp.set('p20', 'mail', 'twenty@example.com') \g /dev/null
SELECT is((pg_temp.run()).state, 'held', 'another new address is another question');
DELETE FROM entries;
SELECT pg_temp.people(1, 60), pg_temp.entry('n1', 'new@example.com', 'new', 'New'), pg_temp.run() \g /dev/null

---- One by one
SELECT pg_temp.remove(1, 12) \g /dev/null
SELECT is((SELECT sum((pg_temp.changes('globex', a)).removed) FROM unnest(pg_temp.anchors(1, 10)) a), 10::numeric, 'changes remove one by one');
SELECT is((SELECT removed || ' ' || kept || ' ' || wants_full FROM pg_temp.changes('globex', 'p11')), '0 1 true', 'until the guard is reached: then a full run is asked for');
SELECT is((SELECT due_ms || ' ' || kind FROM hedgerow.sync_plan()), '0 full', 'which is due at once');
SELECT pg_temp.set('p30', 'cn', 'Thirty') \g /dev/null
SELECT is((SELECT changed || ' ' || removed || ' ' || kept FROM pg_temp.changes('globex', 'p12', 'p30')), '1 0 1', 'harmless changes go on');
SELECT is((SELECT state || ' ' || removed || ': ' || error FROM pg_temp.run()), 'held 2: would remove 2 of 51 people after 10 of late; the guard allows 10 or 10 %', 'which counts what changes have done too');
SELECT hedgerow.release_run('globex') \g /dev/null
SELECT is((SELECT state || ' ' || removed FROM pg_temp.run()), 'applied 2', 'released, the rest goes');
SELECT pg_temp.remove(13, 23) \g /dev/null
SELECT is((SELECT sum((pg_temp.changes('globex', a)).removed) FROM unnest(pg_temp.anchors(13, 22)) a), 10::numeric, 'a decision begins the count again');
SELECT is((SELECT removed || ' ' || kept FROM pg_temp.changes('globex', 'p23')), '0 1', 'to the same end');
SELECT pg_temp.set('p30', 'employeeType', 'no'), pg_temp.changes('globex', 'p30') \g /dev/null
SELECT is((SELECT enabled FROM hedgerow.person WHERE anchor = 'p30'), false, 'of each class by itself');
UPDATE hedgerow.sync_run SET finished = finished - interval '61 minutes';
SELECT is((SELECT removed || ' ' || kept FROM pg_temp.changes('globex', 'p23')), '1 0', 'when the window is over, the count begins again');
SELECT pg_temp.remove(24, 40) \g /dev/null
SELECT is((SELECT removed || ' ' || kept || ' ' || wants_full FROM pg_temp.changes('globex', variadic pg_temp.anchors(24, 40))), '0 17 true', 'many at once are left out too');
SELECT is((pg_temp.run()).state, 'held', 'and the full run is held with all of them');
SELECT pg_temp.remove(41, 41), pg_temp.set('p42', 'mail', 'two@example.com'), pg_temp.set('p43', 'cn', 'Three') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.changes('globex', 'p41', 'p42', 'p43')), 'applied: 2 read, +0 ~1 @0 -0 !0, 2 kept, 0 refused', 'while a run is held, grave changes wait');
SELECT ok((SELECT due_ms BETWEEN 1 AND 90000 FROM hedgerow.sync_plan()), 'for a full run within the minute');
SELECT hedgerow.release_run('globex') \g /dev/null
SELECT is((SELECT state || ' ' || removed || ' ' || readdressed FROM pg_temp.run()), 'applied 18 1', 'released, all is applied');
SELECT pg_temp.remove(44, 44) \g /dev/null
SELECT is((SELECT removed || ' ' || kept FROM pg_temp.changes('globex', 'p44')), '1 0', 'a decision begins the count again');

---- The cause of what is held goes away
SELECT pg_temp.people(1, 60), pg_temp.run(), pg_temp.remove(1, 30), pg_temp.people(61, 65), pg_temp.set('p50', 'cn', 'Fifty') \g /dev/null
SELECT hedgerow.release_run('globex'), pg_temp.run() FROM hedgerow.sync_status WHERE held_run IS NOT NULL \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'held: 36 read, +5 ~1 @0 -30 !0, 0 kept, 0 refused', 'held with what is harmless');
SELECT ok((SELECT due_ms > 90000 FROM hedgerow.sync_plan()), 'until the next full run');
SELECT pg_temp.set('p51', 'cn', 'Fifty One'), pg_temp.changes('globex', 'p51') \g /dev/null
SELECT ok((SELECT due_ms > 90000 FROM hedgerow.sync_plan()), 'whatever others do');
SELECT pg_temp.set('p50', 'cn', 'Half A Hundred'), pg_temp.set('p61', 'cn', 'Newest'), pg_temp.changes('globex', 'p50', 'p61') \g /dev/null
SELECT ok((SELECT due_ms > 90000 FROM hedgerow.sync_plan()), 'or those with whom it had only harmless plans');
SELECT pg_temp.people(1, 30) \g /dev/null
SELECT is((SELECT state FROM pg_temp.changes('globex', variadic pg_temp.anchors(1, 30))), 'unchanged', 'the directory is put right');
SELECT ok((SELECT due_ms BETWEEN 1 AND 90000 FROM hedgerow.sync_plan()), 'and a full run is due within the minute');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 66 read, +4 ~0 @0 -0 !0, 0 kept, 0 refused', 'which applies the rest');
SELECT is(pg_temp.status(), 'applied, nothing held', 'and ends the hold');
SELECT pg_temp.remove(61, 65), pg_temp.set('p51', 'cn', 'User 51'), pg_temp.set('p50', 'cn', 'User 50'), pg_temp.run() \g /dev/null

---- Naming contexts
SELECT hedgerow.add_context('globex', 'dc=sub,dc=globex,dc=example', '{ldaps://sub.globex.example}') \g /dev/null
SELECT pg_temp.remove(45, 45) \g /dev/null
SELECT pg_temp.begin('globex', 'changes') AS number, pg_temp.stage_gone('p45', false) \gset
SELECT is((SELECT removed || ' ' || kept || ' ' || wants_full FROM pg_temp.end(:number)), '0 1 true', 'who is gone from one of several may be in another: a full run tells');
SELECT is((SELECT state || ' ' || removed FROM pg_temp.run()), 'applied 1', 'who is in none is removed by it');
SELECT pg_temp.set('p46', 'mail', NULL) \g /dev/null
SELECT is((SELECT removed || ' ' || wants_full FROM pg_temp.changes('globex', 'p46')), '1 false', 'whose entry is there, but no person any more, is removed at once');
SELECT pg_temp.remove(47, 47) \g /dev/null
SELECT is((SELECT removed || ' ' || kept || ' ' || wants_full FROM pg_temp.changes('globex', 'p47')), '1 0 false', 'who is in none, as was seen, is removed at once');
SELECT pg_temp.begin('globex', 'changes') AS number, pg_temp.stage_gone('p48', false), pg_temp.stage('globex', false, '{p48}') \gset
SELECT is((SELECT kept || ' ' || wants_full FROM pg_temp.end(:number)), '0 false', 'who was found in another after all is not gone');
SELECT pg_temp.begin('globex', 'full') AS number \gset
SELECT hedgerow.sync_fail(:number, 'wrong password', true), pg_temp.begin('globex', 'changes') AS number, pg_temp.stage_gone('p48', false) \gset
SELECT is((SELECT removed || ' ' || kept FROM pg_temp.end(:number)), '0 1', 'while full runs fail, who is gone from one stays');
SELECT pg_temp.set('p49', 'cn', 'Forty Nine'), pg_temp.changes('globex', 'p49') \g /dev/null
SELECT ok((SELECT due_ms > 400000 FROM hedgerow.sync_plan()), 'and changes do not ask for a full run before its time');
SELECT is((SELECT failures FROM hedgerow.sync_status), 1, 'nor do they end its failures');
SELECT pg_temp.run(), hedgerow.remove_context('globex', 'dc=sub,dc=globex,dc=example'), pg_temp.remove(46, 46) \g /dev/null

---- Empty and near-empty answers
CREATE TEMP TABLE saved AS SELECT * FROM entries;
DELETE FROM entries;
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'failed: the directory answered with no entries: everybody is kept', 'an empty answer fails');
SELECT is(pg_temp.active(), (SELECT count(*) FROM saved), 'and keeps everybody');
SELECT throws_like($$SELECT hedgerow.release_run('globex')$$, '%no held run%', 'it cannot be released');
SELECT pg_temp.entry('ou', '{}') \g /dev/null
UPDATE hedgerow.forest SET guard_delete_percent = 100 WHERE forest = 'globex';
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), format('held: would leave nobody of %s people', (SELECT count(*) FROM saved)), 'a run that leaves nobody is held whatever the guard');
SELECT hedgerow.release_run('globex') \g /dev/null
SELECT is((SELECT state FROM pg_temp.run()), 'applied', 'but an operator may want it');
INSERT INTO entries SELECT * FROM saved;
SELECT is((SELECT state || ' ' || added FROM pg_temp.run()), format('applied %s', (SELECT count(*) FROM saved)), 'and all come back');
SELECT is((SELECT removed || ' ' || kept || ' ' || wants_full FROM pg_temp.changes('globex', variadic (SELECT array_agg(anchor || 'x') FROM entries))), '0 0 false', 'strangers who are gone are nobody');
DELETE FROM entries;
SELECT is((SELECT removed || ' ' || wants_full FROM pg_temp.changes('globex', variadic (SELECT array_agg(anchor) FROM saved))), '0 true', 'changes that leave nobody are left to a full run, whatever the guard');

SELECT * FROM finish();
ROLLBACK;
