-- SPDX-License-Identifier: Apache-2.0
-- Each role can do its work and nothing else. PUBLIC can do nothing.
SELECT no_plan();
\ir prelude.psql

SELECT is((SELECT array_agg(p.proname::text ORDER BY 1) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname = 'hedgerow' AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
		WHERE a.grantee = 0)), NULL, 'no function is open to everybody');
SELECT is((SELECT array_agg(p.proname ORDER BY 1) FROM pg_proc p WHERE p.pronamespace = 'hedgerow'::regnamespace AND p.proname LIKE 'sync\_%'
		AND p.prorettype <> 'trigger'::regtype AND p.proname <> 'sync_decide' AND NOT has_function_privilege('hedgerow_directory', p.oid, 'EXECUTE')),
	NULL, 'who publishes may do all that publishing is made of');
SELECT is((SELECT array_agg(c.relname::text ORDER BY 1) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'hedgerow' AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)), NULL, 'no table either');
SELECT is((SELECT array_agg(p.oid::regprocedure::text) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname = 'hedgerow' AND p.prosecdef AND NOT coalesce(array_to_string(p.proconfig, ','), '') LIKE '%search_path=%'), NULL,
	'what runs with the owner''s rights has a search_path of its own');
SELECT is((SELECT array_agg(c.relname::text ORDER BY 1) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'hedgerow' AND c.relkind IN ('r', 'v') AND c.relname !~ '^journal_[0-9]+$'
	AND c.relname NOT IN ('standing', 'alias_standing', 'native_standing', 'live_status') AND obj_description(c.oid, 'pg_class') IS NULL), NULL,
	'tables and views are commented');
SELECT is((SELECT array_agg(v.relname::text ORDER BY 1) FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace
	WHERE n.nspname = 'hedgerow' AND v.relkind = 'v' AND v.relname NOT IN ('standing', 'alias_standing', 'native_standing', 'live_status')
	AND NOT has_table_privilege('hedgerow_reader', v.oid, 'SELECT')), NULL, 'a reader reads every view');

SET ROLE hedgerow_gateway;
SELECT lives_ok($$ SELECT hedgerow.journal_node('n1'), hedgerow.journal_lease('node:n1') $$, 'a gateway registers');
SELECT lives_ok($$ SELECT * FROM hedgerow.journal_open('link:boston') $$, 'opens queues');
SELECT lives_ok($$ SELECT hedgerow.journal_commit('n1', 1, '{1}', '{1}', '{-1}', '{t}', '{1}', '{1}', '{a}', '{b}', '{c}', '{NULL}', '{}', '{}', '{}') $$, 'appends');
SELECT lives_ok($$ SELECT * FROM hedgerow.journal_read(1, 0, 10) $$, 'reads');
SELECT lives_ok($$ SELECT hedgerow.journal_commit('n1', 2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	'{1}', ARRAY[now() - interval '1 second'], '{a}', '{a@b}', '{b@b}', '{NULL}', '{f}', '{NULL}', '{c}') $$, 'defers');
SELECT is(hedgerow.journal_due(), 1::bigint, 'takes up what is due');
SELECT lives_ok($$ SELECT hedgerow.journal_asked() $$, 'knows what it waits for');
SELECT lives_ok($$ SELECT hedgerow.journal_position('boston', gen_random_uuid()) $$, 'has positions');
SELECT lives_ok($$ SELECT hedgerow.journal_dead_letter(1, 1, 'c', 'why') $$, 'buries');
SELECT lives_ok($$ SELECT hedgerow.journal_maintain() $$, 'maintains');
SELECT lives_ok($$ SELECT hedgerow.status_report('n1', '{link}', '{boston}', '{up}', '{NULL}', '{}', '{}', '{}', '{}') $$, 'reports');
SELECT lives_ok($$ SELECT * FROM hedgerow.gateway_config() $$, 'loads its configuration');
SELECT lives_ok($$ SELECT * FROM hedgerow.lookup_addresses('{a@b}'), hedgerow.lookup_natives('{a@b}') $$, 'looks up');
SELECT throws_ok($$ SELECT * FROM hedgerow.mapping, hedgerow.change_log $$, '42501', NULL, 'does not read what it does not need');
SELECT throws_ok($$ UPDATE hedgerow.site SET title = 'x' $$, '42501', NULL, 'does not change configuration');
SELECT throws_ok($$ INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', '1', 'a@example.com') $$, '42501', NULL, 'nor people');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'allow') $$, '42501', NULL, 'nor rules');
SELECT throws_ok($$ DELETE FROM hedgerow.journal $$, '42501', NULL, 'never deletes from the journal');
SELECT throws_ok($$ SELECT hedgerow.journal_add_part(9) $$, '42501', NULL, 'nor makes tables but through maintenance');
SELECT throws_ok($$ SELECT hedgerow.forget_site('boston') $$, '42501', NULL, 'nor forgets sites');
SELECT throws_ok($$ CREATE TABLE hedgerow.x (y int) $$, '42501', NULL, 'nor makes its own');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('contoso', force => true) $$, '42501', NULL, 'nor removes forests');
RESET ROLE;

INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('amsterdam', 'x', '1', 'x@example.com');
INSERT INTO hedgerow.alias VALUES ('amsterdam', 'x', '1', 'y@example.com');
SET ROLE hedgerow_operator;
SELECT lives_ok($$ SELECT hedgerow.add_rule('r', 'allow') $$, 'an operator adds a rule');
SELECT lives_ok($$ SELECT hedgerow.change('rule', 'r', '{"action": "deny"}') $$, 'changes it');
SELECT lives_ok($$ SELECT hedgerow.undo_change((SELECT max(id) FROM hedgerow.changes)) $$, 'undoes that');
SELECT lives_ok($$ SELECT hedgerow.remove_rule('r') $$, 'removes it');
SELECT lives_ok($$ SELECT hedgerow.add_forest('x', 'activedirectory', '{ldaps://h}', 'cn=x', 's', 'dc=x') $$, 'adds a forest');
SELECT lives_ok($$ SELECT hedgerow.forest_sync('x') $$, 'asks for a run');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('x') $$, 'HR100', 'forest "x" is in use: 1 people come from it', 'is told what is in use');
SELECT lives_ok($$ SELECT hedgerow.remove_forest('x', force => true) $$, 'removes it');
SELECT is((SELECT count(*) FROM hedgerow.person) + (SELECT count(*) FROM hedgerow.alias), 0::bigint, 'with its people');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('fabrikam', force => true) $$, 'HR100', 'forest "fabrikam" is not one of this site', 'of this site only');
SELECT lives_ok($$ SELECT hedgerow.set_setting('journal_retain', '2 hours') $$, 'changes a setting');
SELECT lives_ok($$ SELECT * FROM hedgerow.find_user('ada') $$, 'finds people');
SELECT lives_ok($$ SELECT hedgerow.retry_dead_letter(1) $$, 'retries');
SELECT lives_ok($$ SELECT hedgerow.remove_site('boston') $$, 'forgets a site');
SELECT throws_ok($$ SELECT envelope FROM hedgerow.journal $$, '42501', NULL, 'does not read messages');
SELECT throws_ok($$ SELECT envelope FROM hedgerow.dead_letter $$, '42501', NULL, 'not dead ones either');
SELECT throws_ok($$ DELETE FROM hedgerow.change_log $$, '42501', NULL, 'does not rewrite the record');
SELECT throws_ok($$ INSERT INTO hedgerow.change_log (relation) VALUES ('x') $$, '42501', NULL, 'in no way');
SELECT throws_ok($$ UPDATE hedgerow.person SET address = 'x@example.com' $$, '42501', NULL, 'does not make people');
SELECT throws_ok($$ DELETE FROM hedgerow.person $$, '42501', NULL, 'nor removes them');
SELECT throws_ok($$ DELETE FROM hedgerow.alias $$, '42501', NULL, 'nor their aliases');
SELECT throws_ok($$ SELECT hedgerow.forget_site('amsterdam') $$, '42501', NULL, 'asks before forgetting');
SELECT throws_ok($$ UPDATE hedgerow.queue SET acked = head $$, '42501', NULL, 'leaves queues alone');
RESET ROLE;

SET ROLE hedgerow_reader;
SELECT lives_ok($$ SELECT (SELECT count(*) FROM hedgerow.sites), (SELECT count(*) FROM hedgerow.queues), (SELECT count(*) FROM hedgerow.gateway_status),
	(SELECT count(*) FROM hedgerow.changes), (SELECT count(*) FROM hedgerow.people), (SELECT count(*) FROM hedgerow.routable),
	(SELECT count(*) FROM hedgerow.conflicts), (SELECT count(*) FROM hedgerow.quarantine), (SELECT count(*) FROM hedgerow.journal_parts),
	(SELECT count(*) FROM hedgerow.subscriptions), (SELECT count(*) FROM hedgerow.link_status), (SELECT count(*) FROM hedgerow.stream_status) $$, 'a reader reads');
SELECT lives_ok($$ SELECT * FROM hedgerow.find_user('ada') $$, 'finds people');
SELECT throws_ok($$ SELECT * FROM hedgerow.site $$, '42501', NULL, 'views only');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'allow') $$, '42501', NULL, 'changes nothing');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('contoso', force => true) $$, '42501', NULL, 'removes no forest');
RESET ROLE;

SET ROLE hedgerow_directory;
SELECT lives_ok($$ INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', '1', 'a@example.com') $$, 'the directory writes people');
SELECT throws_ok($$ UPDATE hedgerow.forest SET title = 'x' $$, '42501', NULL, 'not configuration');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('contoso', force => true) $$, '42501', NULL, 'nor removes its forest');
SELECT throws_ok($$ SELECT * FROM hedgerow.journal $$, '42501', NULL, 'reads no messages');
SELECT throws_ok($$ SELECT hedgerow.journal_lease('node:n1') $$, '42501', NULL, 'is no gateway');
RESET ROLE;
SELECT * FROM finish();
