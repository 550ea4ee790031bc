-- SPDX-License-Identifier: Apache-2.0
-- The record of changes, undoing, changing fields; the configuration text for servers.
SELECT no_plan();
\ir prelude.psql
SELECT is((SELECT count(*) FROM hedgerow.changes WHERE relation = 'site' AND after ->> 'site' = 'boston'), 0::bigint, 'rows of others are recorded where they are changed');
SELECT lives_ok($$ SELECT hedgerow.change('installation', 'prosody-a', '{"port": "5348", "tls": true}') $$, 'fields are changed');
SELECT is((SELECT format('%s %s %s', port, tls, host) FROM hedgerow.installation WHERE site = 'amsterdam'), '5348 t 127.0.0.1', 'the others stay');
SELECT is((SELECT what FROM hedgerow.changes LIMIT 1), 'forest contoso, installation prosody-a, site amsterdam, port 5347 -> 5348, tls false -> true', 'it is recorded in words');
SELECT is((SELECT who FROM hedgerow.changes LIMIT 1), session_user::text, 'with who did it');
SELECT is((SELECT (before ->> 'port') || (after ->> 'port') FROM hedgerow.changes LIMIT 1), '53475348', 'before and after');
SELECT throws_ok($$ SELECT hedgerow.change('installation', 'prosody-a', '{"site": "boston"}') $$, 'HR100', '"site" is not a field of this installation that can be changed', 'keys stay');
SELECT throws_ok($$ SELECT hedgerow.change('installation', 'nope', '{"port": 1}') $$, 'HR100', 'installation "nope" is not one of this site', 'of a row that is');
SELECT throws_ok($$ SELECT hedgerow.change('person', 'x', '{"port": 1}') $$, 'HR100', 'there is no person to change', 'of a known kind');
SELECT throws_ok($$ SELECT hedgerow.change('installation', 'prosody-a', '{"port": 0}') $$, 'HR100', 'the port of an installation cannot be 0', 'checks hold');
SELECT lives_ok($$ SELECT hedgerow.change('site', 'amsterdam', '{"endpoints": "tcp://a:1, tcp://b:2"}') $$, 'a list');
SELECT is((SELECT endpoints FROM hedgerow.site WHERE site = 'amsterdam'), '{tcp://a:1,tcp://b:2}', 'of two');

SELECT max(id) AS id FROM hedgerow.changes WHERE relation = 'installation' \gset
SELECT lives_ok(format('SELECT hedgerow.undo_change(%s)', :id), 'a change is undone');
SELECT is((SELECT port FROM hedgerow.installation WHERE site = 'amsterdam'), 5347, 'as it was');
SELECT is((SELECT undoes FROM hedgerow.changes LIMIT 1), :id::bigint, 'undoing is recorded too');
SELECT throws_ok(format('SELECT hedgerow.undo_change(%s)', :id), 'HR100', format('the row of change %s was changed again since', :id), 'not twice');
SELECT hedgerow.add_rule('r', 'deny') \g /dev/null
SELECT max(id) AS id FROM hedgerow.changes \gset
SELECT lives_ok(format('SELECT hedgerow.undo_change(%s)', :id), 'an addition is undone');
SELECT is((SELECT count(*) FROM hedgerow.rule), 0::bigint, 'it is gone');
SELECT max(id) AS id FROM hedgerow.changes \gset
SELECT lives_ok(format('SELECT hedgerow.undo_change(%s)', :id), 'a removal is undone');
SELECT is((SELECT action FROM hedgerow.rule), 'deny', 'it is back');
SELECT throws_ok('SELECT hedgerow.undo_change(0)', 'HR100', 'there is no change 0', 'what was');
UPDATE hedgerow.rule SET action = 'deny';
SELECT is((SELECT max(id) FROM hedgerow.changes), (SELECT max(id) FROM hedgerow.changes WHERE undoes = :id), 'an update that changes nothing is not recorded');

-- forced removal takes everything along
INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', '1', 'a@example.com');
INSERT INTO hedgerow.alias VALUES ('amsterdam', 'contoso', '1', 'b@example.com');
SELECT lives_ok($$ SELECT hedgerow.remove_forest('contoso', force => true) $$, 'a forest with people, by force');
SELECT is((SELECT count(*) FROM hedgerow.person) + (SELECT count(*) FROM hedgerow.alias) +
	(SELECT count(*) FROM hedgerow.mapping) + (SELECT count(*) FROM hedgerow.email_domain WHERE site = 'amsterdam'), 0::bigint, 'all gone');
SELECT is(current_setting('hedgerow.force', true), '', 'force ends with the call');

-- text for servers: boston's domain is there too
SELECT is((SELECT count(*) FROM hedgerow.installation_config('prosody-a') l WHERE l LIKE 'Component "example.com"%'), 1::bigint, 'Prosody: a component a domain');
SELECT is((SELECT count(*) FROM hedgerow.installation_config('prosody-a') l WHERE l LIKE '%validate_from_addresses = true%'), 1::bigint, 'that speaks for itself only');
SELECT hedgerow.change('installation', 'prosody-a', '{"software": "ejabberd", "forest": "fabrikam"}') \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.installation_config('prosody-a') l WHERE l LIKE '%"example.com":'), 1::bigint, 'ejabberd: a host a domain');
SELECT is((SELECT count(*) FROM hedgerow.installation_config('prosody-a') l WHERE l LIKE '%check_from: true%'), 1::bigint, 'that speaks for itself only');
SELECT hedgerow.change('installation', 'prosody-a', '{"software": "openfire"}') \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.installation_config('prosody-a') l WHERE l LIKE 'example.com%'), 1::bigint, 'Openfire: a line a domain');
SELECT throws_ok($$ SELECT * FROM hedgerow.installation_config('ejabberd-b') $$, 'HR100', 'installation "ejabberd-b" is not one of this site', 'of this site');
SELECT * FROM finish();
