-- SPDX-License-Identifier: Apache-2.0
-- Publishing a forest: mapping, comparison, guard, decisions, life cycle, rights.
BEGIN;
SELECT no_plan();

INSERT INTO hedgerow.local_site (site) VALUES ('ams') ON CONFLICT DO NOTHING;
INSERT INTO hedgerow.site (site) VALUES (hedgerow.local_site()) ON CONFLICT DO NOTHING;
INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn, filter)
VALUES (hedgerow.local_site(), 'globex', 'openldap', '{ldaps://ldap.globex.example}', 'cn=sync', 'globex.password',
	'dc=globex,dc=example', '(objectClass=inetOrgPerson)');
INSERT INTO hedgerow.email_domain (site, domain, forest) VALUES (hedgerow.local_site(), 'example.com', 'globex');
INSERT INTO hedgerow.installation (site, installation, forest, software, native_domain, host, port, secret)
VALUES (hedgerow.local_site(), 'im-a', 'globex', 'prosody', 'im.a.example', '127.0.0.1', 5347, 'im-a.secret');

-- entries: what the directory holds; run() publishes them as the daemon would.
CREATE TEMP TABLE entries (anchor text, refused text[], attributes jsonb);
GRANT ALL ON entries TO PUBLIC;
CREATE FUNCTION pg_temp.run(forest text DEFAULT 'globex', dry boolean DEFAULT false) RETURNS hedgerow.sync_run
LANGUAGE plpgsql AS $$
DECLARE
	begun record;
BEGIN
	PERFORM hedgerow.sync_open(forest);
	SELECT b.run, (b.s).attributes INTO STRICT begun
	FROM hedgerow.sync_begin(forest, CASE WHEN dry THEN 'dry-run' ELSE 'full' END, false, 'test') b;
	EXECUTE 'INSERT INTO sync_staging SELECT anchor, ''uid='' || anchor, false, refused' ||
		(SELECT coalesce(string_agg(format(
			', CASE WHEN attributes ? %1$L THEN ARRAY(SELECT jsonb_array_elements_text(attributes -> %1$L)) END', a), '' ORDER BY n), '')
		FROM unnest(begun.attributes) WITH ORDINALITY AS u (a, n)) || ' FROM entries';
	RETURN hedgerow.sync_finish(begun.run);
END $$;
CREATE FUNCTION pg_temp.entry(anchor text, mail text, uid text, name text) RETURNS void LANGUAGE sql AS $$
	DELETE FROM entries e WHERE e.anchor = $1;
	INSERT INTO entries VALUES ($1, NULL, jsonb_strip_nulls(jsonb_build_object(
		'mail', CASE WHEN mail IS NOT NULL THEN jsonb_build_array(mail) END,
		'uid', CASE WHEN uid IS NOT NULL THEN jsonb_build_array(uid) END,
		'cn', CASE WHEN name IS NOT NULL THEN jsonb_build_array(name) END)));
$$;
CREATE FUNCTION pg_temp.summary(r hedgerow.sync_run) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s: %s read, +%s ~%s -%s !%s, %s kept, %s refused', r.state, r.read, r.added, r.changed,
		r.removed, r.disabled, r.kept, r.refused)
$$;
CREATE FUNCTION pg_temp.reason(of text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(field || ': ' || reason, '; ' ORDER BY field, reason) FROM hedgerow.sync_refused WHERE anchor = of
$$;

---- Mapping rows of a new forest
SELECT is((SELECT array_agg(DISTINCT field ORDER BY field) FROM hedgerow.mapping WHERE forest = 'globex'),
	'{address,name,native}', 'a new OpenLDAP forest gets the usual mapping');
SELECT results_eq($$SELECT forest, due_ms, kind FROM hedgerow.sync_plan()$$,
	$$VALUES ('globex', 0::bigint, 'full')$$, 'a new forest is due at once');

---- First import, unchanged run, change
SELECT pg_temp.entry('p' || i, 'User.' || i || '@Example.COM', 'u' || i, 'User ' || i) FROM generate_series(1, 60) i;
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +60 ~0 -0 !0, 0 kept, 0 refused', 'the first run adds everybody');
SELECT is((SELECT address || ' ' || native || ' ' || installation || ' ' || name || ' ' || enabled FROM hedgerow.person WHERE anchor = 'p7'),
	'user.7@example.com u7@im.a.example im-a User 7 true', 'fields are mapped, addresses in lower case, on the only installation');
SELECT is((SELECT count(*) FROM hedgerow.sync_difference), 0::bigint, 'a first import is not written down as a difference');
SELECT ok((SELECT due_ms > 200000 FROM hedgerow.sync_plan()), 'the next run is due after the interval');

UPDATE hedgerow.person SET changed_at = '2001-01-01', created_at = '2000-01-01' WHERE forest = 'globex';
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 60 read, +0 ~0 -0 !0, 0 kept, 0 refused', 'the same answer changes nothing');
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 60 read, +0 ~0 -0 !0, 0 kept, 0 refused', 'nor by the quick way');
SELECT is((SELECT max(changed_at) FROM hedgerow.person), '2001-01-01'::timestamptz, 'and no row is written');

SELECT pg_temp.entry('p7', 'seventh@example.com', 'u7', 'User 7');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~1 -0 !0, 0 kept, 0 refused', 'a new address is one change');
SELECT results_eq($$SELECT anchor, action, before ->> 'address', after ->> 'address' FROM hedgerow.sync_differences WHERE run = (SELECT max(id) FROM hedgerow.sync_run)$$,
	$$VALUES ('p7', 'change', 'user.7@example.com', 'seventh@example.com')$$, 'and is written down with before and after');
SELECT is((SELECT created_at FROM hedgerow.person WHERE anchor = 'p7'), '2000-01-01'::timestamptz, 'a rename keeps the person');

UPDATE hedgerow.person SET name = 'Mallory' WHERE anchor = 'p8';
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~1 -0 !0, 0 kept, 0 refused', 'what somebody else wrote is put right, though the answer is the same');

---- Swap
SELECT pg_temp.entry('p1', 'user.2@example.com', 'u1', 'User 1'), pg_temp.entry('p2', 'user.1@example.com', 'u2', 'User 2');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~2 -0 !0, 0 kept, 0 refused', 'two people swap addresses in one run');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'p1'), 'user.2@example.com', 'and each has the other''s');

---- Removal and return
DELETE FROM entries WHERE anchor = 'p3';
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 59 read, +0 ~0 -1 !0, 0 kept, 0 refused', 'who is gone is removed');
SELECT is((SELECT state FROM hedgerow.person WHERE anchor = 'p3'), 'deleted', 'softly');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p3' LIMIT 1), 'no longer in the directory', 'with the reason');
SELECT pg_temp.entry('p3', 'user.3@example.com', 'u3', 'User 3');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +1 ~0 -0 !0, 0 kept, 0 refused', 'who returns is added');
SELECT is((SELECT state || ' ' || created_at::date FROM hedgerow.person WHERE anchor = 'p3'), 'active 2000-01-01', 'as the same person');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p3' AND action = 'add'), 'returned', 'and that is written down');
SELECT pg_temp.entry('p3', NULL, 'u3', 'User 3');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 60 read, +0 ~0 -1 !0, 0 kept, 0 refused', 'an entry without an address is nobody');
SELECT is((SELECT skipped FROM hedgerow.sync_runs LIMIT 1), 1::bigint, 'and is counted as skipped');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p3' LIMIT 1), 'no longer has an address', 'and the reason says so');

---- Grace
UPDATE hedgerow.person SET changed_at = now() - interval '31 days' WHERE anchor = 'p3';
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 60 read, +0 ~0 -0 !0, 0 kept, 0 refused', 'after the grace period');
SELECT is((SELECT count(*) FROM hedgerow.person WHERE anchor = 'p3'), 0::bigint, 'a deleted person is forgotten');
SELECT pg_temp.entry('p3', 'user.3@example.com', 'u3', 'User 3');
SELECT pg_temp.run();

---- Guard
DELETE FROM entries WHERE anchor IN (SELECT 'p' || i FROM generate_series(10, 40) i);
SELECT is(pg_temp.summary(pg_temp.run()), 'held: 29 read, +0 ~0 -31 !0, 0 kept, 0 refused', 'a run that removes too many is held');
SELECT is((SELECT count(*) FROM hedgerow.person WHERE state = 'active'), 60::bigint, 'and removes nobody');
SELECT is((SELECT count(*) FROM hedgerow.sync_differences WHERE state = 'held' AND action = 'remove'), 31::bigint, 'its difference is in the view');
SELECT is((SELECT error FROM hedgerow.sync_status), 'would remove or disable 31 of 60 people; the guard allows 20 or 10 %', 'and the reason in the status');
SELECT ok((SELECT held_run IS NOT NULL FROM hedgerow.sync_status), 'which names the held run');
SELECT is(pg_temp.summary(pg_temp.run()), 'held: 29 read, +0 ~0 -31 !0, 0 kept, 0 refused', 'it is held again');
SELECT is((SELECT count(*) FROM hedgerow.sync_difference d JOIN hedgerow.sync_run r ON r.id = d.run WHERE r.state = 'held'), 31::bigint, 'but the same difference is kept once');
SELECT ok(hedgerow.release_run('globex') > 0, 'release asks for a run');
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'at once');
DELETE FROM entries WHERE anchor = 'p41';
SELECT is(pg_temp.summary(pg_temp.run()), 'held: 28 read, +0 ~0 -32 !0, 0 kept, 0 refused', 'a larger difference than the released one is held');
SELECT throws_like($$SELECT hedgerow.release_run('initech')$$, '%initech%', 'an unknown forest is refused');
SELECT pg_temp.entry('p41', 'user.41@example.com', 'u41', 'User 41'), pg_temp.entry('p10', 'user.10@example.com', 'u10', 'User 10');
SELECT hedgerow.release_run('globex');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 30 read, +0 ~0 -30 !0, 0 kept, 0 refused', 'a smaller one is applied');
SELECT throws_like($$SELECT hedgerow.release_run('globex')$$, '%no held run%', 'the decision is used up');
SELECT ok((SELECT held_run IS NULL FROM hedgerow.sync_status), 'and nothing is held');

---- Drop
SELECT pg_temp.entry('p' || i, 'user.' || i || '@example.com', 'u' || i, 'User ' || i) FROM generate_series(1, 60) i;
SELECT pg_temp.run();
DELETE FROM entries WHERE anchor IN (SELECT 'p' || i FROM generate_series(10, 40) i);
SELECT is((pg_temp.run()).state, 'held', 'held for a second decision');
SELECT hedgerow.drop_run('globex');
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 29 read, +0 ~0 -0 !0, 31 kept, 0 refused', 'after a drop the people are kept');
SELECT pg_temp.entry('n1', 'new@example.com', 'new', 'New');
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 30 read, +1 ~0 -0 !0, 31 kept, 0 refused', 'while additions go on');
SELECT pg_temp.entry('p' || i, 'user.' || i || '@example.com', 'u' || i, 'User ' || i) FROM generate_series(10, 35) i;
SELECT is(pg_temp.summary(pg_temp.run()), 'unchanged: 56 read, +0 ~0 -0 !0, 5 kept, 0 refused', 'fewer than the guard allows are kept too');
DELETE FROM entries WHERE anchor IN (SELECT 'p' || i FROM generate_series(10, 36) i);
SELECT is((pg_temp.run()).state, 'unchanged', 'the same people gone again: still kept');
DELETE FROM entries WHERE anchor = 'p50';
SELECT is((pg_temp.run()).state, 'held', 'one more gone: asked again');
SELECT pg_temp.entry('p' || i, 'user.' || i || '@example.com', 'u' || i, 'User ' || i) FROM generate_series(1, 60) i;
SELECT is((pg_temp.run()).state, 'unchanged', 'all are back: nothing was lost');
SELECT ok((SELECT held_run IS NULL FROM hedgerow.sync_status), 'and nothing waits any more');

---- Empty and near-empty answers
CREATE TEMP TABLE saved AS SELECT * FROM entries;
DELETE FROM entries;
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'failed: the directory answered with no entries: everybody is kept', 'an empty answer fails');
SELECT is((SELECT count(*) FROM hedgerow.person WHERE state = 'active'), 61::bigint, 'and keeps everybody');
SELECT throws_like($$SELECT hedgerow.release_run('globex')$$, '%no held run%', 'it cannot be released');
INSERT INTO entries VALUES ('ou', NULL, '{}');
UPDATE hedgerow.forest SET guard_percent = 100 WHERE forest = 'globex';
SELECT is((SELECT state || ': ' || error FROM pg_temp.run()), 'held: would leave nobody of 61 people', 'a run that leaves nobody is held whatever the guard');
UPDATE hedgerow.forest SET guard_percent = 10 WHERE forest = 'globex';
DELETE FROM entries;
INSERT INTO entries SELECT * FROM saved;
SELECT is((pg_temp.run()).state, 'unchanged', 'the answer is whole again');

---- Values
SELECT pg_temp.entry('v1', 'no address', 'v1', 'V'), pg_temp.entry('v2', 'v2@', 'v2', 'V'),
	pg_temp.entry('v3', 'a@b@example.com', 'v3', 'V'), pg_temp.entry('v4', 'v4@example..com', 'v4', 'V'),
	pg_temp.entry('v5', E'Mi\u0301ra.Gro\u00DF@EXAMPLE.com', 'v5', 'V'), pg_temp.entry('v6', 'Pat.O''Brien@example.com', 'pat.o''brien', 'V'),
	pg_temp.entry('v7', 'v7@elsewhere.example', 'v7', 'V'), pg_temp.entry('v8', 'v8@example.com', 'v8 x', E'V\n8');
UPDATE entries SET refused = '{"mail: a value of 9 bytes is not UTF-8"}' WHERE anchor = 'n1';
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 69 read, +3 ~0 -0 !0, 0 kept, 7 refused', 'what is wrong is refused, the rest published');
SELECT is(pg_temp.reason('v1'), 'address: no address is not an address local@domain', 'text that is no address');
SELECT is(pg_temp.reason('v3'), 'address: a@b@example.com is not an address local@domain', 'two at signs');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'v5'), E'm\u00EDra.gross@example.com', 'composed and folded');
SELECT is((SELECT address || ' ' || native FROM hedgerow.person WHERE anchor = 'v6'),
	'pat.o\27brien@example.com pat.o\27brien@im.a.example', 'an apostrophe is escaped as XEP-0106 says');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'v7'), 'v7@elsewhere.example', 'a domain that is not granted is published');
SELECT is(pg_temp.reason('v7'), 'address: v7@elsewhere.example: the domain is not granted to this forest: not routed', 'and listed');
SELECT is(pg_temp.reason('v8'), 'native: v8 x@im.a.example is not an address local@domain', 'a native address that is none');
SELECT is(pg_temp.reason('n1'), 'mail: a value of 9 bytes is not UTF-8', 'what the daemon refused is listed');
SELECT is((SELECT count(*) FROM hedgerow.sync_differences WHERE action = 'refuse'), 7::bigint, 'new refusals are part of the difference');
UPDATE hedgerow.sync_refused SET since = '2001-01-01';
SELECT pg_temp.entry('p5', 'user.5@example.com', 'u5', 'Renamed');
SELECT is((pg_temp.run()).state, 'applied', 'another run');
SELECT is((SELECT max(since) FROM hedgerow.sync_refused), '2001-01-01'::timestamptz, 'refusals that stand are not written again');
INSERT INTO hedgerow.email_domain (site, domain, forest) VALUES (hedgerow.local_site(), 'elsewhere.example', 'globex');
SELECT is((pg_temp.run()).refused, 6::bigint, 'a grant resolves one, though the answer is the same');
DELETE FROM entries WHERE anchor LIKE 'v%';
UPDATE entries SET refused = NULL;
SELECT is((pg_temp.run()).refused, 0::bigint, 'refusals go with their causes');

---- The same address twice
SELECT pg_temp.entry('a0', 'twin@example.com', 't0', 'T'), pg_temp.entry('b0', 'Twin@example.com', 't1', 'T'),
	pg_temp.entry('c0', 'other@example.com', 'T0', 'T');
SELECT is((pg_temp.run()).refused, 2::bigint, 'of two new people with one address one is refused');
SELECT is(pg_temp.reason('b0'), 'address: twin@example.com is that of a0', 'the one with the higher anchor');
SELECT is(pg_temp.reason('c0'), 'native: t0@im.a.example is that of a0', 'native addresses likewise');
UPDATE hedgerow.person SET created_at = '2000-01-01' WHERE anchor = 'a0';
SELECT pg_temp.entry('00', 'twin@example.com', 't2', 'T');
SELECT pg_temp.run();
SELECT is(pg_temp.reason('00'), 'address: twin@example.com is that of a0', 'the older person wins whatever the anchors');
DELETE FROM entries WHERE anchor IN ('a0', '00');
SELECT is((SELECT added || ' ' || refused FROM pg_temp.run()), '2 0', 'when the winner goes, the others are published');
DELETE FROM entries WHERE anchor IN ('b0', 'c0');
SELECT pg_temp.run();

---- An entry given twice by a directory that changed meanwhile
INSERT INTO entries SELECT anchor, refused, '{"mail": ["late@example.com"], "uid": ["u9"], "cn": ["Late"]}' FROM entries WHERE anchor = 'p9';
SELECT is((SELECT read || ' ' || changed FROM pg_temp.run()), '61 1', 'counts once');
DELETE FROM entries WHERE anchor = 'p9';
SELECT pg_temp.entry('p9', 'late@example.com', 'u9', 'Late');

---- Installations
INSERT INTO hedgerow.installation (site, installation, forest, software, native_domain, host, port, secret)
VALUES (hedgerow.local_site(), 'im-b', 'globex', 'ejabberd', 'im.b.example', '127.0.0.1', 5348, 'im-b.secret');
SELECT is((SELECT read || ' ' || changed FROM pg_temp.run()), '61 61', 'with two installations and no mapping nobody has one');
SELECT is((SELECT count(*) FROM hedgerow.person WHERE installation IS NULL AND native IS NULL AND state = 'active'), 61::bigint, 'and no native address');
INSERT INTO hedgerow.mapping (site, forest, field, ordinal, attribute, pattern, replacement)
VALUES (hedgerow.local_site(), 'globex', 'installation', 1, 'departmentNumber', '^([ab])$', 'im-\1'),
	(hedgerow.local_site(), 'globex', 'installation', 2, 'departmentNumber', '^!(.*)$', '\1'),
	(hedgerow.local_site(), 'globex', 'installation', 3, NULL, '^(.*)$', 'im-a');
UPDATE entries SET attributes = attributes || '{"departmentNumber": ["x", "b"]}' WHERE anchor = 'p5';
UPDATE entries SET attributes = attributes || '{"departmentNumber": ["!im-z"]}' WHERE anchor = 'p6';
SELECT is((SELECT changed || ' ' || removed FROM pg_temp.run()), '60 1', 'a mapping says where');
SELECT is((SELECT installation || ' ' || native FROM hedgerow.person WHERE anchor = 'p5'), 'im-b u5@im.b.example', 'the first value that matches counts');
SELECT is((SELECT installation || ' ' || native FROM hedgerow.person WHERE anchor = 'p4'), 'im-a u4@im.a.example', 'the constant is for the rest');
SELECT is(pg_temp.reason('p6'), 'installation: im-z is not an installation of this forest', 'an unknown installation is refused');
UPDATE entries SET attributes = attributes || '{"departmentNumber": ["a"]}' WHERE anchor IN ('p5', 'p6');
SELECT is((SELECT added || ' ' || changed FROM pg_temp.run()), '1 1', 'people move between installations');
UPDATE hedgerow.mapping SET replacement = '\1@im.b.example' WHERE field = 'native' AND forest = 'globex';
SELECT is((SELECT state || ' ' || refused FROM pg_temp.run()), 'held 61', 'a mapping that breaks everybody is held');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE state = 'held' AND anchor = 'p5' LIMIT 1),
	'native: u5@im.b.example is not in im.a.example, the domain of installation im-a', 'with the reason');
UPDATE hedgerow.mapping SET replacement = '\1@${installation.domain}' WHERE field = 'native' AND forest = 'globex';
SELECT is((pg_temp.run()).state, 'unchanged', 'the mapping is right again');

---- Dry run
SELECT pg_temp.entry('p1', 'first@example.com', 'u1', 'User 1');
SELECT hedgerow.forest_sync('globex', dry_run => true);
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'dry-run')$$, 'a dry run can be asked for');
SELECT is(pg_temp.summary(pg_temp.run(dry => true)), 'previewed: 61 read, +0 ~1 -0 !0, 0 kept, 0 refused', 'it shows the difference');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'p1'), 'user.1@example.com', 'and changes nobody');
SELECT is((SELECT after ->> 'address' FROM hedgerow.sync_differences WHERE state = 'previewed' AND anchor = 'p1' LIMIT 1), 'first@example.com', 'the view has it');
SELECT ok((SELECT due_ms > 0 AND kind = 'full' FROM hedgerow.sync_plan()), 'the request is used up');

---- Failures and the schedule
SELECT ok(hedgerow.forest_sync('globex') > 0, 'a run can be asked for');
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'full')$$, 'it is due');
SELECT is((hedgerow.sync_fail((SELECT run FROM hedgerow.sync_begin('globex', 'full', false, 'test')), 'no answer', false)).state, 'failed', 'a run fails');
SELECT ok((SELECT due_ms BETWEEN 5000 AND 12000 FROM hedgerow.sync_plan()), 'what may pass is tried again soon');
SELECT hedgerow.sync_fail((SELECT run FROM hedgerow.sync_begin('globex', 'full', false, 'test')), 'no answer', false);
SELECT ok((SELECT due_ms BETWEEN 15000 AND 23000 FROM hedgerow.sync_plan()), 'then later');
SELECT hedgerow.sync_fail((SELECT run FROM hedgerow.sync_begin('globex', 'full', false, 'test')), 'wrong password', true);
SELECT ok((SELECT due_ms > 200000 FROM hedgerow.sync_plan()), 'what will not pass, after the interval');
SELECT is((SELECT error || ' ' || failures FROM hedgerow.sync_status), 'wrong password 3', 'the status shows it');
UPDATE hedgerow.forest SET bind_secret = 'other' WHERE forest = 'globex';
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'changed access is tried at once');
SELECT run AS dead FROM hedgerow.sync_begin('globex', 'full', false, 'test') \gset
SELECT ok(hedgerow.sync_is_leased('globex'), 'a run holds the lease');
SELECT pg_advisory_unlock_all();
SELECT is((SELECT due_ms FROM hedgerow.sync_plan()), 0::bigint, 'a run that died is due at once');
SELECT is((pg_temp.run()).state, 'applied', 'after a daemon that died the next run works');
SELECT pg_advisory_unlock_all();
SELECT run FROM hedgerow.sync_begin('globex', 'dry-run', false, 'test');
SELECT pg_advisory_unlock_all();
SELECT results_eq($$SELECT due_ms, kind FROM hedgerow.sync_plan()$$, $$VALUES (0::bigint, 'dry-run')$$, 'a dry run that died, as a dry run');
SELECT is((pg_temp.run(dry => true)).state, 'previewed', 'and works');
SELECT is((SELECT state FROM hedgerow.sync_runs WHERE run = :dead), 'failed', 'and marks the dead one');
SELECT is((SELECT failures FROM hedgerow.sync_status), 0, 'a good run ends the failures');
SELECT throws_like($$SELECT hedgerow.forest_sync('initech')$$, '%initech%', 'an unknown forest is refused');

---- Aliases, and Active Directory's usual mapping
INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn, filter)
VALUES (hedgerow.local_site(), 'contoso', 'activedirectory', '{ldaps://dc1.contoso.example}', 'svc', 'contoso.password',
	'dc=contoso,dc=example', '(objectClass=user)');
INSERT INTO hedgerow.email_domain (site, domain, forest) VALUES (hedgerow.local_site(), 'contoso.example', 'contoso');
INSERT INTO hedgerow.installation (site, installation, forest, software, native_domain, host, port, secret)
VALUES (hedgerow.local_site(), 'im-c', 'contoso', 'openfire', 'im.c.example', '127.0.0.1', 5349, 'im-c.secret');
DELETE FROM entries;
INSERT INTO entries VALUES
	('1', NULL, '{"mail": ["rosa@contoso.example"], "sAMAccountName": ["Rosa"], "displayName": ["Rosa A"], "cn": ["x"],
		"userAccountControl": ["512"], "proxyAddresses": ["SMTP:rosa@contoso.example", "smtp:r.adams@contoso.example", "sip:rosa@contoso.example"]}'),
	('2', NULL, '{"sAMAccountName": ["otto"], "cn": ["Otto"], "userAccountControl": ["514"],
		"proxyAddresses": ["smtp:o@contoso.example", "SMTP:otto@contoso.example", "smtp:r.adams@contoso.example", "smtp:rosa@contoso.example", "smtp:bad"]}'),
	('3', NULL, '{"sAMAccountName": ["svc"], "cn": ["Service"], "userAccountControl": ["66048"]}');
SELECT is((SELECT added || ' ' || skipped || ' ' || refused FROM pg_temp.run('contoso')), '2 1 3', 'Active Directory entries are mapped');
SELECT is((SELECT address || ' ' || native || ' ' || name || ' ' || enabled FROM hedgerow.person WHERE forest = 'contoso' AND anchor = '1'),
	'rosa@contoso.example rosa@im.c.example Rosa A true', 'mail, sAMAccountName, displayName, userAccountControl');
SELECT is((SELECT address || ' ' || name || ' ' || enabled FROM hedgerow.person WHERE forest = 'contoso' AND anchor = '2'),
	'otto@contoso.example Otto false', 'the primary SMTP address where mail is missing; the bit ACCOUNTDISABLE');
SELECT results_eq($$SELECT anchor, address FROM hedgerow.alias WHERE forest = 'contoso' ORDER BY 1, 2$$,
	$$VALUES ('1', 'r.adams@contoso.example'), ('2', 'o@contoso.example')$$, 'aliases, each once, without the person''s own address');
SELECT is(pg_temp.reason('2'), 'alias: bad is not an address local@domain; alias: r.adams@contoso.example is an alias of 1; '
	'alias: rosa@contoso.example is the address of 1', 'and why the others are none');
SELECT is((pg_temp.run('contoso')).state, 'unchanged', 'aliases compare equal');
UPDATE entries SET attributes = jsonb_set(attributes, '{proxyAddresses}', '["smtp:ra@contoso.example"]') WHERE anchor = '1';
SELECT is((SELECT changed || ' ' || refused FROM pg_temp.run('contoso')), '2 2', 'an alias moves to who waited for it');
SELECT results_eq($$SELECT anchor, address FROM hedgerow.alias WHERE forest = 'contoso' ORDER BY 1, 2$$,
	$$VALUES ('1', 'ra@contoso.example'), ('2', 'o@contoso.example'), ('2', 'r.adams@contoso.example')$$, 'in one run');
UPDATE entries SET attributes = jsonb_set(attributes, '{userAccountControl}', '["514"]') WHERE anchor = '1';
SELECT is(pg_temp.summary(pg_temp.run('contoso')), 'applied: 3 read, +0 ~0 -0 !1, 0 kept, 2 refused', 'disabling counts as such');
UPDATE hedgerow.mapping SET attribute = 'cn' WHERE forest = 'contoso' AND field = 'enabled';
UPDATE entries SET attributes = jsonb_set(attributes, '{cn}', '["maybe"]') WHERE anchor = '1';
SELECT pg_temp.run('contoso');
SELECT is((SELECT enabled FROM hedgerow.person WHERE forest = 'contoso' AND anchor = '1'), false, 'what is neither yes nor no is not enabled');
SELECT is(pg_temp.reason('1'), 'enabled: maybe is neither yes nor no: not enabled', 'and is listed');
DELETE FROM hedgerow.mapping WHERE forest = 'contoso' AND field = 'address';
SELECT throws_like($$SELECT pg_temp.run('contoso')$$, '%no mapping for the field address%', 'without an address nothing can be mapped');

---- Rights
SELECT hedgerow.default_mapping('ams', 'contoso', 'activedirectory');
UPDATE entries SET attributes = jsonb_set(attributes, '{displayName}', '["Rosa B"]') WHERE anchor = '1';
SET LOCAL ROLE hedgerow_directory;
SELECT is((pg_temp.run('contoso')).state, 'applied', 'the directory role may do a whole run');
SELECT throws_ok($$UPDATE hedgerow.forest SET guard_percent = 100$$, '42501', NULL, 'but not change the guard');
SELECT throws_ok($$SELECT hedgerow.release_run('globex')$$, '42501', NULL, 'nor decide');
RESET ROLE;
SET LOCAL ROLE hedgerow_operator;
SELECT ok(hedgerow.forest_sync('globex') > 0, 'the operator may ask for a run');
SELECT throws_like($$SELECT hedgerow.drop_run('globex')$$, '%no held run%', 'and decide on one');
SELECT throws_ok($$SELECT * FROM hedgerow.sync_begin('globex', 'full', false, 'x')$$, '42501', NULL, 'but not do one');
RESET ROLE;
SET LOCAL ROLE hedgerow_reader;
SELECT ok((SELECT count(*) FROM hedgerow.sync_status) = 2, 'the reader sees the status');
SELECT throws_ok($$SELECT hedgerow.forest_sync('globex')$$, '42501', NULL, 'and no more');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
