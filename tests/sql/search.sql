-- SPDX-License-Identifier: Apache-2.0
-- The directory for people: who is found by what, and who is not.
SELECT no_plan();
\ir prelude.psql
CREATE FUNCTION pg_temp.person(site text, forest text, anchor text, address text, name text, native text DEFAULT NULL,
	installation text DEFAULT NULL, enabled boolean DEFAULT true, state text DEFAULT 'active', details jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('session_replication_role', CASE site WHEN 'amsterdam' THEN 'origin' ELSE 'replica' END, true);
	INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, installation, enabled, state, details, created_at)
		VALUES (site, forest, anchor, address, name, coalesce(native, anchor || '@native.example'),
			coalesce(installation, CASE forest WHEN 'contoso' THEN 'prosody-a' ELSE 'ejabberd-b' END), enabled, state, details, '2020-01-01');
	PERFORM set_config('session_replication_role', 'origin', true);
END $$;
-- Local parts of the addresses that are found, ... at the end: there may be more. The same by whom is due to
-- be listed and by the listing.
CREATE FUNCTION pg_temp.search(words text, asker text, most int) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(coalesce(split_part(s.address, '@', 1), '...'), ' ' ORDER BY n), '')
	FROM hedgerow.search_people(asker, words, most) WITH ORDINALITY s(address, name, details, n)
$$;
CREATE FUNCTION pg_temp.found(words text, asker text DEFAULT 'ada.adams@example.com', most int DEFAULT 50) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	due text := pg_temp.search(words, asker, most);
	listed text;
BEGIN
	PERFORM hedgerow.list_people(1000);
	listed := pg_temp.search(words, asker, most);
	RETURN CASE WHEN listed = due THEN due ELSE format('due: %s, listed: %s', due, listed) END;
END $$;

SELECT hedgerow.add_rule('a-to-b', 'allow', 'forest:contoso', 'forest:fabrikam') \g /dev/null
SELECT pg_temp.person('amsterdam', 'contoso', 'ada', 'ada.adams@example.com', 'Ada Adams') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'bob', 'bob.baker@example.com', 'Bob Baker', details =>
	'{"given_name": "Robert", "family_name": "Baker-Smith", "organization": "Fabrikam"}') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'bea', 'bea@example.com', 'Béatrice O''Brien') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'jm', 'jm@example.com', 'Jürgen Müller-Strauß') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'sk', 'sk@example.com', 'Søren Łukasz Ægir') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'np', 'np@example.com', 'Νίκος ΠΑΠΑΔΟΠΟΥΛΟΣ') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'wx', 'wx@example.com', '王小明') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'noname', 'zed.zimmer@example.com', NULL) \g /dev/null

-- by name and address
SELECT is(pg_temp.found('baker'), 'bob.baker', 'by family name');
SELECT is(pg_temp.found('BAK'), 'bob.baker', 'by its beginning, whatever the case');
SELECT is(pg_temp.found('aker'), '', 'not by its end');
SELECT is(pg_temp.found('bob bak'), 'bob.baker', 'by beginnings of several words');
SELECT is(pg_temp.found('bak bo'), 'bob.baker', 'in any order');
SELECT is(pg_temp.found('bob miller'), '', 'all of which somebody must have');
SELECT is(pg_temp.found('robert'), 'bob.baker', 'by the given name of the directory');
SELECT is(pg_temp.found('smith'), 'bob.baker', 'by the second half of a double name');
SELECT is(pg_temp.found('fabrikam'), '', 'but not by organization');
SELECT is(pg_temp.found('zimmer'), 'zed.zimmer', 'by address when there is no name');
SELECT is(pg_temp.found('bob.baker@example.com'), 'bob.baker', 'by address');
SELECT is(pg_temp.found('bob.b@Exam'), 'bob.baker', 'by its beginning');
SELECT is(pg_temp.found('bob.baker@example.org'), '', 'in that domain only');
SELECT is(pg_temp.found('@example.com'), '', 'a domain alone finds nobody');

SELECT pg_temp.person('boston', 'fabrikam', 'jrr', 'jrr_t-1892@example.com', 'J.R.R.Tolkien/Ink-Ling, "Ron" <r@oxford.example>') \g /dev/null
SELECT is(pg_temp.found(w), 'jrr_t-1892', 'a part between signs is a word: ' || w)
	FROM unnest('{tolkien,ink,ling,ron,j r r,1892,jrr_t-18,"tolkien, ron"}'::text[]) w;
SELECT is(pg_temp.found('inkling'), '', 'a word is not joined');

-- in any spelling
SELECT is(pg_temp.found('beatrice obrien'), '', 'an apostrophe parts words');
SELECT is(pg_temp.found('beatrice o''brien'), 'bea', 'on both sides');
SELECT is(pg_temp.found('BÉATRICE brien'), 'bea', 'with the accent or without');
SELECT is(pg_temp.found('jurgen muller'), 'jm', 'umlauts');
SELECT is(pg_temp.found('Müller strauss'), 'jm', 'sharp s');
SELECT is(pg_temp.found(normalize('Müller', NFD)), 'jm', 'decomposed');
SELECT is(pg_temp.found('soren lukasz aegir'), 'sk', 'letters that have no accent to lose');
SELECT is(pg_temp.found('νικ παπαδοπουλος'), 'np', 'Greek');
SELECT is(pg_temp.found('王小'), 'wx', 'Chinese');
SELECT is(pg_temp.found('王'), 'wx', 'one character of which may be a name');

-- hostile words are words
SELECT is(pg_temp.found($$bob' | 'ada$$), '', 'an operator is no operator');
SELECT is(pg_temp.found($$' & !(:*<->)\ "$$), '', 'nothing but signs finds nobody');
SELECT is(pg_temp.found('bak*'), 'bob.baker', 'a star is ignored');
SELECT is(pg_temp.found('%'), '', 'a percent sign too');
SELECT is(pg_temp.found(''), '', 'no words, nobody');
SELECT is(pg_temp.found(repeat('x', 100000)), '', 'a long word');
SELECT is(pg_temp.found(repeat('x ', 5000) || 'baker'), '', 'many words');
SELECT is(pg_temp.found('<b>bob</b>'), 'bob.baker', 'markup is parted like anything');

-- who is not routable is not found
SELECT pg_temp.person('boston', 'fabrikam', 'x1', 'x1@example.com', 'Xavier Disabled', enabled => false) \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'x2', 'x2@example.com', 'Xavier Deleted', state => 'deleted') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'x3', 'x3@other.example', 'Xavier Quarantined') \g /dev/null
SELECT pg_temp.person('boston', 'fabrikam', 'x4', 'x4@example.com', 'Xavier Nowhere', installation => 'unknown') \g /dev/null
SELECT pg_temp.person('amsterdam', 'contoso', 'x5', 'bob.baker@example.com', 'Xavier Loser') \g /dev/null
SELECT is(pg_temp.found('xavier'), '', 'disabled, deleted, in quarantine, without installation, loser of the address');
SELECT pg_temp.person('boston', 'fabrikam', 'x6', 'x6@example.com', 'Xavier Real') \g /dev/null
SELECT is(pg_temp.found('xavier'), 'x6', 'the others are');
SET session_replication_role = replica;
UPDATE hedgerow.person SET native = NULL, installation = NULL WHERE anchor = 'x6';
RESET session_replication_role;
SELECT is(pg_temp.found('xavier'), '', 'who has no chat is not');
SET session_replication_role = replica;
INSERT INTO hedgerow.mail_domain (site, domain, carrier) VALUES ('boston', 'example.com', 'boston');
RESET session_replication_role;
SELECT is(pg_temp.found('xavier'), 'x6', 'but where mail reaches them');
SET session_replication_role = replica;
UPDATE hedgerow.mail_domain SET mode = 'off' WHERE site = 'boston';
RESET session_replication_role;
SELECT is(pg_temp.found('xavier'), '', 'not when it is off');

-- rules
SELECT is(pg_temp.found('baker', 'bob.baker@example.com'), 'bob.baker', 'people of one forest find each other');
SELECT is(pg_temp.found('adams', 'bob.baker@example.com'), '', 'of another only by rule');
SELECT is(pg_temp.found('baker', 'nobody@example.com'), '', 'a stranger finds nobody');
SELECT hedgerow.add_rule('no-messages', 'deny', 'address:ada.adams@example.com', 'address:bob.baker@example.com', 'message', 10) \g /dev/null
SELECT is(pg_temp.found('baker'), 'bob.baker', 'whom queries may reach is found');
SELECT hedgerow.add_rule('no-queries', 'deny', 'address:ada.adams@example.com', 'domain:example.com', 'iq', 10) \g /dev/null
SELECT is(pg_temp.found('baker'), '', 'whom neither messages nor queries may reach is not');
SELECT is(pg_temp.found('bea'), 'bea', 'others are');
SELECT is(pg_temp.found('baker', 'bob.baker@example.com'), 'bob.baker', 'the rule is about her, not him');
SELECT hedgerow.add_rule('all-the-same', 'allow', 'site:amsterdam', 'site:boston', 'any', 1) \g /dev/null
SELECT is(pg_temp.found('baker'), 'bob.baker', 'the first rule counts');
SELECT hedgerow.remove_rule(r) FROM unnest('{no-messages,no-queries,all-the-same}'::text[]) r \g /dev/null
SET session_replication_role = replica;
INSERT INTO hedgerow.rule (site, rule, priority, action) VALUES ('boston', 'theirs', 0, 'deny');
RESET session_replication_role;
SELECT is(pg_temp.found('baker'), 'bob.baker', 'a rule of another site does not count');
SET session_replication_role = replica;
INSERT INTO hedgerow.forest (site, forest, kind, urls, bind_dn, bind_secret, base_dn, filter)
	VALUES ('boston', 'contoso', 'openldap', '{ldaps://x}', 'cn=sync', 'f.bind', 'dc=f', '(cn=*)');
INSERT INTO hedgerow.email_domain VALUES ('boston', 'example.com', 'contoso');
RESET session_replication_role;
SELECT pg_temp.person('boston', 'contoso', 'false', 'quentin@example.com', 'Quentin False', installation => 'ejabberd-b') \g /dev/null
SELECT is(pg_temp.found('quentin'), '', 'another site''s forest of the same name is another forest');

-- how many
SELECT pg_temp.person('boston', 'fabrikam', 'k' || n, 'k' || n || '@example.com', 'Kay ' || chr(96 + n)) FROM generate_series(1, 5) n \g /dev/null
SELECT is(pg_temp.found('kay', most => 5), 'k1 k2 k3 k4 k5', 'as many as asked for, by name');
SELECT is(pg_temp.found('kay', most => 4) ~ '^(k. ){4}[.]{3}$', true, 'no more, and a row that says so');

-- what is told
SELECT results_eq($$ SELECT address, name, details ->> 'organization' FROM hedgerow.search_people('ada.adams@example.com', 'baker') $$,
	$$ VALUES ('bob.baker@example.com', 'Bob Baker', 'Fabrikam') $$, 'address, name and details');

-- the roles
SET ROLE hedgerow_gateway;
SELECT is(pg_temp.found('baker'), 'bob.baker', 'the gateway may ask');
RESET ROLE;
SET ROLE hedgerow_reader;
SELECT throws_ok($$ SELECT hedgerow.search_people('ada.adams@example.com', 'baker') $$, '42501', NULL, 'a reader may not');
RESET ROLE;
SET ROLE hedgerow_directory;
SELECT lives_ok($$ UPDATE hedgerow.person SET name = 'Ada Augusta Adams' WHERE anchor = 'ada' $$, 'who publishes people needs nothing more');
RESET ROLE;
SELECT is(pg_temp.found('augusta'), 'ada.adams', 'and a change is found');

-- The listing
SELECT results_eq($$ SELECT anchor, (SELECT count(*) FROM hedgerow.listing_due) FROM hedgerow.listing WHERE words @@ 'augusta' $$,
	$$ VALUES ('ada' COLLATE "C", 0::bigint) $$, 'has who was found, and nobody is due');
DELETE FROM hedgerow.person WHERE anchor = 'ada' AND site = 'amsterdam';
SELECT is(pg_temp.search('augusta', 'bob.baker@example.com', 9), '', 'who is deleted is not found');
SELECT is(hedgerow.list_people(1), true, 'of one there may be more');
SELECT is(hedgerow.list_people(1), false, 'of none there is not');
SELECT is((SELECT count(*) FROM hedgerow.listing WHERE anchor = 'ada'), 0::bigint, 'and is not listed');
SELECT pg_temp.person('amsterdam', 'contoso', 'ada', 'ada.adams@example.com', 'Ada Adams') \g /dev/null
BEGIN;
INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, installation)
	SELECT 'amsterdam', 'contoso', 'due' || n, 'due.' || n || '@example.com', 'Due ' || n, 'd' || n || '@im.a.example', 'prosody-a'
	FROM generate_series(1, 20001) n;
SELECT is(pg_temp.search('nobody.of.this.name', 'ada.adams@example.com', 9), '...', 'when very many are due there may always be others');
ROLLBACK;

-- by index
INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, installation)
	SELECT 'amsterdam', 'contoso', 'crowd' || n, 'crowd.' || n || '@example.com', 'Person ' || n, 'c' || n || '@im.a.example', 'prosody-a'
	FROM generate_series(1, 20000) n;
SELECT hedgerow.list_people(100000) \g /dev/null
ANALYZE hedgerow.person, hedgerow.listing;
SET enable_seqscan = off; -- 20,000 are few
DO $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN SELECT FROM hedgerow.listing l WHERE l.words @@ hedgerow.search_query(''person 77'')' LOOP
		plan := plan || line;
	END LOOP;
	PERFORM set_config('test.plan', plan, false);
END $$;
RESET enable_seqscan;
SELECT matches(current_setting('test.plan'), 'listing_words', 'people are found by index');
SELECT is((SELECT count(*) FROM hedgerow.search_people('ada.adams@example.com', 'crowd')), 51::bigint, 'many are cut');
SELECT * FROM finish();
