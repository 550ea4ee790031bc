-- SPDX-License-Identifier: Apache-2.0
-- From attributes to fields: values, the usual mappings, templates, folding, versions and their preview.
BEGIN;
SELECT no_plan();
\ir sync.psql
CREATE FUNCTION pg_temp.person(anchor text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s %s %s', address, native, name, CASE WHEN enabled THEN 'enabled' ELSE 'disabled' END) FROM hedgerow.person WHERE anchor = $1 AND state = 'active' $$;
CREATE FUNCTION pg_temp.aliases(anchor text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(address, ' ' ORDER BY address) FROM hedgerow.alias WHERE anchor = $1 AND until IS NULL $$;

---- Values
SELECT pg_temp.entry('v1', 'no address', 'v1', 'V'), pg_temp.entry('v2', 'v2@', 'v2', 'V'),
	pg_temp.entry('v3', 'a@b@example.com', 'v3', 'V'), pg_temp.entry('v4', 'v4@example..com', 'v4', 'V'),
	pg_temp.entry('v5', E'Mi\u0301ra.Gro\u00DF@EXAMPLE.com', 'v5', 'V'), pg_temp.entry('v6', 'Pat.O''Brien@example.com', 'pat.o''brien', 'V'),
	pg_temp.entry('v7', 'v7@elsewhere.example', 'v7', 'V'), pg_temp.entry('v8', 'v8@example.com', 'v8 x', 'V'),
	pg_temp.entry('v9', 'v9@example.com', 'v9', 'V'), pg_temp.entry('n1', 'n1@example.com', 'n1', 'N') \g /dev/null
UPDATE entries SET refused = '{"mail: a value of 9 bytes is not UTF-8"}' WHERE anchor = 'n1';
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 10 read, +5 ~0 @0 -0 !0, 0 kept, 6 refused', 'what is wrong is refused, the rest published');
SELECT is((SELECT dn FROM hedgerow.sync_refusals WHERE anchor = 'v1'), 'uid=v1', 'by the name of the entry');
SELECT is(pg_temp.reason('v1'), 'address: no address is not an address local@domain', 'text that is no address');
SELECT is(pg_temp.reason('v3'), 'address: a@b@example.com is not an address local@domain', 'two at signs');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'v5'), E'm\u00EDra.gross@example.com', 'composed and folded');
SELECT is((SELECT address || ' ' || native FROM hedgerow.person WHERE anchor = 'v6'),
	'pat.o\27brien@example.com pat.o\27brien@im.a.example', 'an apostrophe is escaped as XEP-0106 says');
SELECT is((SELECT address FROM hedgerow.person WHERE anchor = 'v7'), 'v7@elsewhere.example', 'a domain that is not granted is published');
SELECT is((SELECT reason FROM hedgerow.quarantine WHERE anchor = 'v7'), 'elsewhere.example is not granted to forest "globex" of site "ams"', 'and in quarantine');
SELECT is(pg_temp.reason('v8'), 'native: v8 x@im.a.example is not an address local@domain', 'a native address that is none');
SELECT is(pg_temp.reason('n1'), 'mail: a value of 9 bytes is not UTF-8', 'what the daemon refused is listed');
SELECT is(pg_temp.person('n1'), 'n1@example.com n1@im.a.example N enabled', 'and the rest of the entry published');
SELECT is((SELECT count(*) FROM hedgerow.sync_differences WHERE action = 'refuse'), 6::bigint, 'new refusals are part of the difference');
UPDATE hedgerow.sync_refused SET since = '2001-01-01';
SELECT pg_temp.set('v9', 'cn', 'Renamed') \g /dev/null
SELECT is((pg_temp.run()).state, 'applied', 'another run');
SELECT is((SELECT max(since) FROM hedgerow.sync_refused), '2001-01-01'::timestamptz, 'refusals that stand are not written again');
DELETE FROM entries WHERE anchor LIKE 'v%';
UPDATE entries SET refused = NULL;
SELECT is((pg_temp.run()).refused, 0::bigint, 'refusals go with their causes');
SELECT is((SELECT string_agg(v || ' ' || coalesce(hedgerow.sync_time(v)::text, '-'), '; ' ORDER BY n) FROM unnest(ARRAY['20240229120000Z', '20240229120000.0Z',
	'20240229123000+0130', '20240230000000Z', '16010101000000.0Z', '20241301000000Z', '2024', 'yesterday', '20240101000000Z5', '2024.0101000000Z', '20240101000000+9999', '99991231235960Z']) WITH ORDINALITY u (v, n)),
	'20240229120000Z 2024-02-29 12:00:00+00; 20240229120000.0Z 2024-02-29 12:00:00+00; 20240229123000+0130 2024-02-29 11:00:00+00; '
	'20240230000000Z 2024-03-01 00:00:00+00; 16010101000000.0Z 1601-01-01 00:00:00+00; 20241301000000Z 2025-01-01 00:00:00+00; 2024 -; yesterday -; 20240101000000Z5 -; 2024.0101000000Z -; 20240101000000+9999 -; 99991231235960Z 10000-01-01 00:00:00+00', 'times');

---- The usual mappings
SELECT is((SELECT string_agg(DISTINCT field, ',') FROM hedgerow.mappings WHERE forest = 'globex' AND state = 'in use'),
	'address,created,department,enabled,family_name,given_name,name,native,organization,telephone,title', 'a new OpenLDAP forest gets the usual mapping');
SELECT is((SELECT count(*) FROM hedgerow.change_log WHERE relation = 'mapping'), 0::bigint, 'which is nobody''s change');
SELECT pg_temp.entry('o1', '{"mail": ["otto@example.com", "o@example.com"], "uid": "otto", "cn": "Otto O.", "sn": "Ohm", "givenName": "Otto", "ou": "Optics",
	"title": "Optician", "telephoneNumber": ["+1", "+2"], "createTimestamp": "20210304050607Z", "o": "Globex Inc"}'),
	pg_temp.entry('o2', '{"mail": "olga@example.com", "uid": "olga", "cn": "Olga", "pwdAccountLockedTime": "000001010000Z", "createTimestamp": "soon"}'),
	pg_temp.entry('o3', '{"mail": "omar@example.com", "uid": "omar", "cn": "Omar", "pwdAccountLockedTime": "20240101000000Z"}'),
	pg_temp.run() \g /dev/null
SELECT is(pg_temp.person('o1'), 'otto@example.com otto@im.a.example Otto O. enabled', 'of several values the first counts');
SELECT is((SELECT details::text || created_at FROM hedgerow.person WHERE anchor = 'o1'),
	'{"title": "Optician", "telephone": "+1", "department": "Optics", "given_name": "Otto", "family_name": "Ohm", "organization": "Globex Inc"}2021-03-04 05:06:07+00', 'details and age');
SELECT is(pg_temp.person('o2') || ', ' || pg_temp.reason('o2'), 'olga@example.com olga@im.a.example Olga disabled, created: soon is not a time like 20240131120000Z',
	'an account that is locked for ever is disabled, a time that is none is listed');
SELECT is((SELECT details::text FROM hedgerow.person WHERE anchor = 'o2'), '{}', 'who has no details has none');
SELECT is(pg_temp.person('o3'), 'omar@example.com omar@im.a.example Omar enabled', 'an account that is locked for a while is not disabled');

SELECT hedgerow.add_forest('contoso', 'activedirectory', '{ldaps://dc1.contoso.example}', 'svc', 'contoso.password', 'dc=contoso,dc=example'),
	hedgerow.add_domain('contoso.example', 'contoso'), hedgerow.add_installation('im-c', 'contoso', 'openfire', 'im.c.example', '127.0.0.1') \g /dev/null
DELETE FROM entries;
SELECT pg_temp.entry('1', '{"mail": "rosa@contoso.example", "sAMAccountName": "Rosa", "displayName": "Rosa A", "cn": "x", "userAccountControl": "512",
		"proxyAddresses": ["SMTP:rosa@contoso.example", "smtp:r.adams@contoso.example", "sip:rosa.a@contoso.example", "x500:/o=Contoso"],
		"objectClass": ["top", "person", "user"], "userPrincipalName": "rosa@corp.contoso.example", "msRTCSIP-PrimaryUserAddress": "sip:rosa.lcs@contoso.example",
		"msExchIMAddress": "rosa.im@contoso.example", "whenCreated": "20100102030405.0Z", "company": "Contoso", "department": "R&D"}'),
	pg_temp.entry('2', '{"sAMAccountName": "otto", "cn": "Otto", "userAccountControl": "514",
		"proxyAddresses": ["smtp:o@contoso.example", "SMTP:otto@contoso.example", "smtp:bad"]}'),
	pg_temp.entry('3', '{"sAMAccountName": "svc", "cn": "Service", "userAccountControl": "66048"}'),
	pg_temp.entry('4', '{"mail": "guest@contoso.example", "cn": "Guest", "objectClass": ["top", "person", "contact"]}'),
	pg_temp.entry('5', '{"mail": "nobody@contoso.example", "cn": "No account", "objectClass": ["top", "person", "user"]}') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run('contoso')), 'applied: 5 read, +3 ~0 @0 -0 !0, 0 kept, 2 refused', 'Active Directory entries are mapped');
SELECT is(pg_temp.person('1'), 'rosa@contoso.example rosa@im.c.example Rosa A enabled', 'mail, sAMAccountName, displayName, userAccountControl');
SELECT is(pg_temp.aliases('1'), 'r.adams@contoso.example rosa.a@contoso.example rosa.im@contoso.example rosa.lcs@contoso.example rosa@corp.contoso.example',
	'aliases of all kinds, each once, without the person''s own address');
SELECT is((SELECT details::text || created_at FROM hedgerow.person WHERE anchor = '1'), '{"department": "R&D", "organization": "Contoso"}2010-01-02 03:04:05+00', 'details and age');
SELECT is(pg_temp.person('2') || ', ' || pg_temp.aliases('2') || ', ' || pg_temp.reason('2'),
	'otto@contoso.example otto@im.c.example Otto disabled, o@contoso.example, alias: bad is not an address local@domain',
	'the primary SMTP address where mail is missing; the bit ACCOUNTDISABLE; what is no alias');
SELECT is((SELECT kind || ' ' || address || coalesce(installation, '') FROM hedgerow.person WHERE anchor = '4'), 'contact guest@contoso.example', 'a contact is on no installation');
SELECT is(pg_temp.reason('5'), 'native: installation im-c is given, but no native address', 'a user must be');
SELECT is((SELECT count(*) FROM hedgerow.quarantine WHERE kind = 'alias'), 0::bigint, 'aliases in domains that nobody federates are nobody''s business');
SELECT hedgerow.add_domain('corp.contoso.example', 'globex') \g /dev/null
SELECT is((SELECT address FROM hedgerow.quarantine WHERE kind = 'alias'), 'rosa@corp.contoso.example', 'those in a domain of somebody else are');
SELECT is((pg_temp.run('contoso')).state, 'unchanged', 'all compares equal');
SELECT pg_temp.set('1', 'proxyAddresses', 'smtp:ra@contoso.example') \g /dev/null
SELECT is((SELECT changed FROM pg_temp.changes('contoso', '1')), 1::bigint, 'aliases change');
SELECT is(pg_temp.aliases('1'), 'ra@contoso.example rosa.im@contoso.example rosa.lcs@contoso.example rosa@corp.contoso.example', 'and are what the directory has');
DELETE FROM entries;
SELECT hedgerow.add_forest('import', 'ldif', '{file:///srv/people.ldif}', base_dn => 'dc=import'),
	pg_temp.entry('l1', '{"mail": "lena@example.com", "uid": "lena", "cn": "Lena"}'), pg_temp.entry('l2', '{"mail": "lars@example.com", "sAMAccountName": "lars", "cn": "Lars", "userAccountControl": "514"}') \g /dev/null
SELECT is((SELECT added || ' ' || refused FROM pg_temp.run('import')), '2 0', 'an LDIF file may come from either');
SELECT is(pg_temp.person('l1') || ', ' || pg_temp.person('l2'), 'lena@example.com  Lena enabled, lars@example.com  Lars disabled', 'without an installation nobody has a native address');
SELECT is((SELECT filter || ' ' || coalesce(bind_dn, '-') FROM hedgerow.forests WHERE forest = 'import'), '(|(objectClass=inetOrgPerson)(&(objectClass=user)(!(objectClass=computer)))) -', 'a file needs no account');

---- Versions
DELETE FROM entries;
SELECT pg_temp.people(1, 30), pg_temp.set('p1', 'givenName', 'Ada'), pg_temp.set('p1', 'sn', 'Love\1ace\'), pg_temp.run() \g /dev/null
SELECT hedgerow.release_run('globex'), pg_temp.run() FROM hedgerow.sync_status WHERE forest = 'globex' AND held_run IS NOT NULL \g /dev/null
SELECT throws_ok($$UPDATE hedgerow.mapping SET attribute = 'cn' WHERE forest = 'globex' AND field = 'address'$$, 'HR100',
	'version 1 of the mapping of forest "globex" is or was in use, and stays as it is', 'a mapping in use is not edited');
SELECT throws_ok($$SELECT hedgerow.apply_mapping('globex')$$, 'HR100', 'the mapping of forest "globex" has no draft', 'nothing to apply');
SELECT throws_ok($$SELECT hedgerow.forest_sync('globex', dry_run => true, draft => true)$$, 'HR100', NULL, 'nor to preview');
SELECT is((hedgerow.set_mapping('globex', 'name', 'uid')).version, 2, 'an edit makes a draft');
SELECT is((SELECT count(*) FROM hedgerow.mappings WHERE forest = 'globex' AND state = 'draft'), (SELECT count(*) FROM hedgerow.mappings WHERE forest = 'globex' AND state = 'in use'),
	'which begins as a copy');
SELECT is((SELECT count(*) FROM hedgerow.change_log WHERE relation = 'mapping'), 1::bigint, 'only the edit is in the record');
SELECT is((pg_temp.run()).state, 'unchanged', 'and does nothing by itself');
SELECT throws_ok($$SELECT hedgerow.forest_sync('globex', draft => true)$$, 'HR100', 'a draft of the mapping can only be tried in a dry run', 'it cannot be run');
SELECT hedgerow.forest_sync('globex', dry_run => true, draft => true) \g /dev/null
SELECT results_eq($$SELECT kind, draft FROM hedgerow.sync_plan() WHERE forest = 'globex'$$, $$VALUES ('dry-run', true)$$, 'but previewed');
SELECT is((SELECT changed FROM pg_temp.run(kind => 'dry-run', draft => true)), 30::bigint, 'everybody would change');
SELECT is((SELECT before ->> 'name' || ' ' || (after ->> 'name') FROM hedgerow.sync_differences WHERE state = 'previewed' AND anchor = 'p3'), 'User 3 u3', 'like that');
SELECT is((SELECT mapping_version FROM hedgerow.sync_runs WHERE state = 'previewed'), 2, 'by the version of the draft');
SELECT is((SELECT name FROM hedgerow.person WHERE anchor = 'p3'), 'User 3', 'and nobody does');
SELECT ok((SELECT due_ms > 0 FROM hedgerow.sync_plan() WHERE forest = 'globex'), 'the wish is used up');
SELECT is(hedgerow.apply_mapping('globex'), 2, 'the draft is put in use');
SELECT is((SELECT due_ms FROM hedgerow.sync_plan() WHERE forest = 'globex'), 0::bigint, 'and a run is due');
SELECT is((SELECT changed FROM pg_temp.run()), 30::bigint, 'everybody changes');
SELECT is((SELECT string_agg(DISTINCT version || ' ' || state, ', ') FROM hedgerow.mappings WHERE forest = 'globex'), '1 former, 2 in use', 'all versions stay');
SELECT hedgerow.undo_change((SELECT max(id) FROM hedgerow.change_log)) \g /dev/null
SELECT is((SELECT string_agg(DISTINCT version || ' ' || state, ', ') FROM hedgerow.mappings WHERE forest = 'globex'), '1 in use, 2 draft', 'what was applied can be undone, and is a draft again');
SELECT lives_ok($$SELECT hedgerow.discard_mapping('globex')$$, 'and thrown away');
SELECT throws_ok($$SELECT hedgerow.discard_mapping('globex')$$, 'HR100', 'the mapping of forest "globex" has no draft', 'once');
SELECT is((SELECT changed FROM pg_temp.run()), 30::bigint, 'everybody is as before');
SELECT hedgerow.remove_mapping('globex', 'address') \g /dev/null
SELECT throws_ok($$SELECT hedgerow.apply_mapping('globex')$$, 'HR100', 'the draft of the mapping of forest "globex" maps no address', 'without an address nothing can be mapped');
SELECT hedgerow.reset_mapping('globex') \g /dev/null
SELECT bag_eq($$SELECT field, ordinal, attribute, pattern, replacement, fold FROM hedgerow.mapping WHERE forest = 'globex' AND version = 2$$,
	$$SELECT * FROM hedgerow.usual_mapping('openldap')$$, 'the draft may begin anew with the usual mapping');
SELECT throws_ok($$UPDATE hedgerow.forest SET mapping_version = 7 WHERE forest = 'globex'$$, 'HR100', 'forest "globex" has no version 7 of its mapping', 'only a version that is there is put in use');

---- Templates and folding
SELECT throws_ok($$SELECT hedgerow.set_mapping('globex', 'name', NULL, replacement => '${given name}')$$, 'HR100', '"${given name}" does not name an LDAP attribute', 'a template names attributes');
SELECT throws_ok($$SELECT hedgerow.set_mapping('globex', 'name', NULL, replacement => '${installation.domain}')$$, 'HR100', NULL, 'the domain is for native addresses');
SELECT throws_ok($$SELECT hedgerow.set_mapping('globex', 'name', 'cn', fold => 'title')$$, 'HR100', NULL, 'folding is none, lower or upper');
SELECT hedgerow.set_mapping('globex', 'name', NULL, replacement => '${sn}, ${givenName}'),
	hedgerow.set_mapping('globex', 'name', 'cn', '^(\S+) (\d+)$', '\2 (\1) of ${DEPARTMENT} \\', 2),
	hedgerow.set_mapping('globex', 'name', 'cn', ordinal => 3, replacement => '<\1|\1>', fold => 'upper'),
	hedgerow.set_mapping('globex', 'alias', 'sn', replacement => '${givenName}.\1@example.com', fold => 'lower'),
	hedgerow.add_mapping('globex', 'alias', 'nick', pattern => '^nick=(.*)$', replacement => '\1@example.com'),
	hedgerow.add_mapping('globex', 'alias', NULL, replacement => 'everybody@example.com'),
	hedgerow.add_mapping('globex', 'skip', 'employeeType', '^robot$', 'yes'), hedgerow.apply_mapping('globex') \g /dev/null
SELECT is((SELECT attributes @> '{DEPARTMENT,givenName,sn,cn,nick,employeeType}' AND NOT attributes @> '{installation.domain}' FROM hedgerow.sync_open('globex')), true, 'what templates name is read');
SELECT pg_temp.entry('t1', '{"mail": "t1@example.com", "uid": "t1", "cn": "Tom 1", "sn": "Thumb", "DEPARTMENT": "a\\1b"}'),
	pg_temp.entry('t2', '{"mail": "t2@example.com", "uid": "t2", "cn": "Ma${sn}x", "sn": "M", "nick": ["m", "nick=max", "nick=maxi"]}'),
	pg_temp.entry('t3', '{"mail": "t3@example.com", "uid": "t3", "cn": "R2D2", "employeeType": ["staff", "robot"]}'), pg_temp.set('p1', 'sn', 'Lovelace'),
	pg_temp.set('p5', 'employeeType', 'robot') \g /dev/null
SELECT is(pg_temp.summary(pg_temp.run()), 'applied: 33 read, +2 ~29 @0 -1 !0, 0 kept, 0 refused', 'templates, and who is no person');
SELECT is((SELECT string_agg(name, '; ' ORDER BY anchor) FROM hedgerow.person WHERE anchor IN ('p1', 't1', 't2')), 'Lovelace, Ada; 1 (Tom) of a\1b \; <MA${SN}X|MA${SN}X>',
	'all attributes, an attribute with a backslash, a value that looks like a template');
SELECT is(pg_temp.aliases('p1') || '; ' || pg_temp.aliases('t2'), 'ada.lovelace@example.com everybody@example.com; everybody@example.com max@example.com maxi@example.com',
	'where an attribute is missing the template gives nothing; all values that match are aliases');
SELECT is((SELECT reason FROM hedgerow.sync_differences WHERE anchor = 'p5' AND action = 'remove'), 'no longer a person by the mapping', 'who is skipped is removed');
SELECT is((SELECT skipped FROM hedgerow.sync_runs LIMIT 1), 2::bigint, 'and counted');

---- Enabled, kind
SELECT hedgerow.set_mapping('globex', 'enabled', 'cn'), hedgerow.set_mapping('globex', 'kind', 'title'), hedgerow.apply_mapping('globex') \g /dev/null
SELECT pg_temp.set('t1', 'cn', 'maybe'), pg_temp.set('t2', 'cn', 'yes'), pg_temp.set('t2', 'title', 'printer') \g /dev/null
SELECT pg_temp.changes('globex', 't1', 't2') \g /dev/null
SELECT is((SELECT enabled FROM hedgerow.person WHERE anchor = 't1'), false, 'what is neither yes nor no is not enabled');
SELECT is(pg_temp.reason('t1'), 'enabled: maybe is neither yes nor no: not enabled', 'and is listed');
SELECT is(pg_temp.reason('t2'), 'kind: printer is neither user nor contact', 'kinds are two');
SELECT hedgerow.reset_mapping('globex'), hedgerow.apply_mapping('globex'), pg_temp.run() \g /dev/null

---- Installations
SELECT hedgerow.add_installation('im-b', 'globex', 'ejabberd', 'im.b.example', '127.0.0.1') \g /dev/null
SELECT is((pg_temp.run()).state, 'held', 'with two installations and no mapping everybody would lose theirs');
SELECT hedgerow.release_run('globex'), pg_temp.run() \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.person WHERE forest = 'globex' AND installation IS NOT NULL AND state = 'active'), 0::bigint, 'with two installations and no mapping nobody has one');
SELECT hedgerow.add_mapping('globex', 'installation', 'departmentNumber', '^([ab])$', 'im-\1'),
	hedgerow.add_mapping('globex', 'installation', 'departmentNumber', '^!(.*)$', '\1'), hedgerow.add_mapping('globex', 'installation', replacement => 'im-a'),
	hedgerow.apply_mapping('globex') \g /dev/null
SELECT pg_temp.set('p5', 'departmentNumber', 'x', 'b'), pg_temp.set('p6', 'departmentNumber', '!im-z'), pg_temp.run() \g /dev/null
SELECT is((SELECT installation || ' ' || native FROM hedgerow.person WHERE anchor = 'p5'), 'im-b u5@im.b.example', 'the first value that matches counts');
SELECT is((SELECT installation || ' ' || native FROM hedgerow.person WHERE anchor = 'p4'), 'im-a u4@im.a.example', 'the constant is for the rest');
SELECT is(pg_temp.reason('p6'), 'installation: im-z is not an installation of this forest', 'an unknown installation is refused');
SELECT pg_temp.set('p5', 'departmentNumber', 'a'), pg_temp.set('p6', 'departmentNumber', 'a') \g /dev/null
SELECT is((SELECT added || ' ' || changed FROM pg_temp.changes('globex', 'p5', 'p6')), '1 1', 'people move between installations');
SELECT hedgerow.set_mapping('globex', 'native', 'uid', replacement => '\1@im.b.example'), hedgerow.apply_mapping('globex') \g /dev/null
SELECT is((SELECT state || ' ' || refused FROM pg_temp.run()), 'held 33', 'a mapping that breaks everybody is held');
SELECT is((SELECT reason FROM hedgerow.sync_held WHERE anchor = 'p5' AND action = 'remove'),
	'native: u5@im.b.example is not in im.a.example, the domain of installation im-a', 'with the reason');
SELECT hedgerow.undo_change((SELECT max(id) FROM hedgerow.change_log WHERE relation = 'forest')) \g /dev/null
SELECT is((pg_temp.run()).state, 'unchanged', 'and undone');

SELECT * FROM finish();
ROLLBACK;
