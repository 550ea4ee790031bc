-- SPDX-License-Identifier: Apache-2.0
-- What makes no sense is refused, with a message that says why and how to do it right.
SELECT no_plan();
SELECT throws_ok($$ SELECT hedgerow.add_site('amsterdam') $$, 'HR100', 'this database has no site yet', 'a database without a site takes no rows');
SELECT throws_ok($$ SELECT hedgerow.set_local_site('Amsterdam!') $$, 'HR100', '"Amsterdam!" cannot be the name of a site', 'site names are plain');
SELECT throws_ok($$ SELECT hedgerow.set_local_site('a-site-with-a-name-of-thirty-letters') $$, 'HR100', NULL, 'and short enough for a replication slot');
\ir prelude.psql

SELECT throws_ok($$ INSERT INTO hedgerow.site (site) VALUES ('sydney') $$, 'HR100',
	'this row of "site" belongs to site "sydney", and this is site "amsterdam"', 'no rows for other sites');
SELECT throws_ok($$ UPDATE hedgerow.site SET title = 'x' $$, 'HR100', NULL, 'rows of others are not changed');
SELECT throws_ok($$ DELETE FROM hedgerow.forest WHERE forest = 'fabrikam' $$, 'HR100',
	'this row of "forest" belongs to site "boston", and this is site "amsterdam"', 'nor removed');
SELECT throws_ok($$ UPDATE hedgerow.forest SET site = 'boston' WHERE forest = 'contoso' $$, 'HR100',
	'a row cannot move to another site', 'nor given away');
SELECT throws_ok($$ INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('boston', 'fabrikam', '1', 'a@example.com') $$,
	'HR100', 'this row of "person" belongs to site "boston", and this is site "amsterdam"', 'people neither');
SELECT lives_ok($$ INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', '1', 'a@example.com') $$, 'own people are fine');
SELECT throws_ok($$ UPDATE hedgerow.person SET site = 'boston' $$, 'HR100', NULL, 'people do not move by hand');
SELECT throws_ok($$ INSERT INTO hedgerow.alias VALUES ('boston', 'fabrikam', '1', 'b@example.com') $$, 'HR100', NULL, 'aliases neither');

-- A peer that publishes rows of ours
SET session_replication_role = replica;
UPDATE hedgerow.person SET address = 'evil@example.com';
INSERT INTO hedgerow.person (site, forest, anchor, address) VALUES ('amsterdam', 'contoso', '2', 'evil@example.com');
DELETE FROM hedgerow.forest WHERE site = 'amsterdam';
RESET session_replication_role;
SELECT is((SELECT string_agg(address, ',') FROM hedgerow.person), 'a@example.com', 'replication does not write rows of this site');
SELECT is((SELECT count(*) FROM hedgerow.forest WHERE site = 'amsterdam'), 1::bigint, 'nor removes them');

-- site
SELECT throws_ok($$ UPDATE hedgerow.site SET endpoints = '{127.0.0.1:7500}' WHERE site = 'amsterdam' $$, 'HR100',
	'endpoint "127.0.0.1:7500" of site "amsterdam" cannot be dialled', 'an endpoint has a scheme');
SELECT throws_ok($$ UPDATE hedgerow.site SET endpoints = '{tcp://h:70000}' WHERE site = 'amsterdam' $$, 'HR100', NULL, 'a port has 16 bits');
SELECT lives_ok($$ UPDATE hedgerow.site SET endpoints = '{tcp://[::1]:7500,tcp://gw.example:1}' WHERE site = 'amsterdam' $$, 'IPv6 is fine');
SELECT throws_ok($$ UPDATE hedgerow.site SET message_expiry = '0' WHERE site = 'amsterdam' $$, 'HR100', NULL, 'messages live for a while');
SELECT throws_ok($$ SELECT hedgerow.add_site('amsterdam') $$, 'HR100', 'site "amsterdam" exists already', 'twice is once too often');
SELECT throws_ok($$ SELECT hedgerow.set_local_site('sydney') $$, 'HR100', 'this database is site "amsterdam" and has rows of it', 'a site keeps its name');
SELECT throws_ok($$ SELECT hedgerow.remove_site('amsterdam') $$, 'HR100', 'site "amsterdam" still has forest "contoso"', 'a site in use stays');

-- keys
SELECT throws_ok($$ SELECT hedgerow.add_site_key('short') $$, 'HR100', '"short" is not a public key', 'keys have 40 characters');
SELECT lives_ok($$ SELECT hedgerow.add_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID') $$, 'a key');
SELECT throws_ok($$ SELECT hedgerow.add_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID') $$, 'HR100', 'this site has that key already', 'once');
SELECT throws_ok($$ SELECT hedgerow.expire_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID', now() - interval '1 day') $$, 'HR100',
	'the key would end before it begins', 'a key ends after it begins');
SELECT throws_ok($$ SELECT hedgerow.add_site_key('rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7', now() - interval '2 days', now() - interval '1 day') $$, 'HR100',
	'the key has ended already', 'a new key is of use');

-- link
SELECT throws_ok($$ SELECT hedgerow.add_link('amsterdam') $$, 'HR100', 'site "amsterdam" cannot have a link to itself', 'no link to itself');
SELECT throws_ok($$ SELECT hedgerow.add_link('sydney') $$, 'HR100', 'site "sydney" is not known here', 'no link to nowhere');
SELECT throws_ok($$ SELECT hedgerow.add_link('boston', dialer => 'sydney') $$, 'HR100',
	'"sydney" cannot dial the link of "amsterdam" and "boston"', 'one of the two dials');
SELECT throws_ok($$ SELECT hedgerow.add_link('boston', cost => 0) $$, 'HR100', 'the cost of a link cannot be 0', 'a cost is positive');
SET session_replication_role = replica;
INSERT INTO hedgerow.link VALUES ('boston', 'amsterdam', 'boston');
RESET session_replication_role;
SELECT throws_ok($$ SELECT hedgerow.add_link('boston', dialer => 'amsterdam') $$, 'HR100',
	'site "boston" says that "boston" dials this link, not "amsterdam"', 'both name the same dialer');
SELECT is((hedgerow.add_link('boston')).dialer, 'boston', 'the peer''s choice is the default');
SELECT throws_ok($$ SELECT hedgerow.remove_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID') $$, 'HR100', NULL, 'the last key of a linked site stays');
UPDATE hedgerow.site_key SET not_before = now() - interval '2 days';
SELECT throws_ok($$ SELECT hedgerow.expire_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID', now() - interval '1 day') $$, 'HR100',
	'this is the last valid key of site "amsterdam", whose links need one', 'nor does it end');
SELECT lives_ok($$ SELECT hedgerow.expire_site_key('Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID', now() + interval '1 day') $$, 'later it may');
SELECT throws_ok($$ UPDATE hedgerow.site SET endpoints = '{}' WHERE site = 'amsterdam' $$, 'HR100',
	'site "amsterdam" needs an endpoint: others dial it', 'who is dialled has an endpoint');
SELECT throws_ok($$ SELECT hedgerow.remove_site('boston') $$, 'HR100', 'there is a link to site "boston"', 'a linked site is not forgotten');
SELECT lives_ok($$ SELECT hedgerow.remove_link('boston') $$, 'a link goes');
SELECT lives_ok($$ SELECT hedgerow.remove_site('boston') $$, 'and then the site is forgotten');
SELECT is((SELECT count(*) FROM hedgerow.forest WHERE site = 'boston'), 0::bigint, 'with all of its rows');
SELECT throws_ok($$ SELECT hedgerow.remove_site('boston') $$, 'HR100', 'site "boston" is not known here', 'once');

-- forest and mapping
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'novell', '{ldaps://h}', 'cn=x', 's', 'dc=x') $$, 'HR100',
	'the kind of a forest cannot be "novell"', 'a forest is of a known kind');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldap://h}', 'cn=x', 's', 'dc=x', tls => 'ldaps') $$, 'HR100',
	'url "ldap://h" does not go with tls ldaps', 'never plain text');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{http://h}', 'cn=x', 's', 'dc=x') $$, 'HR100', NULL, 'an LDAP url');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldaps://h:0}', 'cn=x', 's', 'dc=x') $$, 'HR100', 'url "ldaps://h:0" has no port that there is', 'with a port');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldaps://[::1]:65536/}', 'cn=x', 's', 'dc=x') $$, 'HR100', NULL, 'of 16 bits');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldaps://h}', '', 's', 'dc=x') $$, 'HR100', 'forest "x" has no bind_dn', 'never an anonymous bind');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldaps://h}', 'cn=x', '/etc/passwd', 'dc=x') $$, 'HR100',
	'"/etc/passwd" cannot be the name of a file for the bind password', 'a secret is a file name without path');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldaps://h}', 'cn=x', 's', 'dc=x', filter => '(cn=*') $$, 'HR100',
	'"(cn=*" is not an LDAP filter', 'parentheses are closed');
SELECT throws_ok($$ SELECT hedgerow.add_forest('x', 'openldap', '{ldaps://h}', 'cn=x', 's', 'dc=x', guard_delete_percent => 101) $$, 'HR100', NULL, 'percent');
SELECT throws_ok($$ SELECT hedgerow.add_forest('X Y', 'openldap', '{ldaps://h}', 'cn=x', 's', 'dc=x') $$, 'HR100', NULL, 'a name');
SELECT is((hedgerow.add_forest('x', 'openldap', '{ldap://h}', 'cn=x', 's', 'dc=x')).tls, 'starttls', 'ldap:// means StartTLS');
SELECT throws_ok($$ SELECT hedgerow.add_mapping('x', 'shoe-size', 'mail') $$, 'HR100', 'the field of a mapping cannot be "shoe-size"', 'fields of people');
SELECT throws_ok($$ SELECT hedgerow.add_mapping('x', 'name', 'mail', pattern => '(') $$, 'HR100', 'pattern "(" is not a regular expression', 'patterns compile');
SELECT throws_ok($$ SELECT hedgerow.add_mapping('x', 'name') $$, 'HR100', 'a mapping without an attribute has nothing that \1 could stand for', 'a constant has a value');
SELECT throws_ok($$ SELECT hedgerow.add_mapping('nope', 'name', 'cn') $$, 'HR100', 'forest "nope" is not one of this site', 'of a forest that is');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('nope') $$, 'HR100', 'forest "nope" is not one of this site', 'removing what is not');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('contoso') $$, 'HR100',
	'forest "contoso" is in use: installation "prosody-a" serves it', 'a forest in use stays');
SELECT lives_ok($$ SELECT hedgerow.remove_forest('x') $$, 'an unused one goes');
SELECT is((SELECT count(*) FROM hedgerow.mapping WHERE forest = 'x'), 0::bigint, 'with its mappings');

-- e-mail domain and installation
SELECT throws_ok($$ SELECT hedgerow.add_domain('Example.org', 'contoso') $$, 'HR100', 'e-mail domain "Example.org" is not a domain name', 'lower case');
SELECT throws_ok($$ SELECT hedgerow.add_domain('-x.org', 'contoso') $$, 'HR100', NULL, 'a domain name');
SELECT lives_ok($$ SELECT hedgerow.add_domain('bücher.example', 'contoso') $$, 'an international one');
SELECT throws_ok($$ SELECT hedgerow.add_domain('im.a.example', 'contoso') $$, 'HR100',
	'im.a.example is the native domain of installation "prosody-a"', 'a component is not the server itself');
SELECT throws_ok($$ SELECT hedgerow.add_installation('p2', 'contoso', 'prosody', 'example.com', 'h') $$, 'HR100',
	'example.com is a federated e-mail domain', 'the same from the other side');
SELECT throws_ok($$ SELECT hedgerow.add_installation('p2', 'nope', 'prosody', 'im.c.example', 'h') $$, 'HR100',
	'forest "nope" is not known in the federation', 'an installation serves a forest');
SELECT throws_ok($$ SELECT hedgerow.add_installation('p2', 'contoso', 'prosody', 'im.a.example', 'h') $$, 'HR100',
	'im.a.example is the native domain of installation "prosody-a" already', 'a native domain of its own');
SELECT throws_ok($$ SELECT hedgerow.add_installation('p2', 'contoso', 'skype', 'im.c.example', 'h') $$, 'HR100', NULL, 'known software');
SELECT throws_ok($$ SELECT hedgerow.add_installation('p2', 'contoso', 'prosody', 'im.c.example', 'h', 0) $$, 'HR100',
	'the port of an installation cannot be 0', 'a port');
SELECT throws_ok($$ SELECT hedgerow.add_installation('p2', 'contoso', 'prosody', 'im.c.example', 'h', secret => '../x') $$, 'HR100', NULL, 'no paths');
UPDATE hedgerow.person SET installation = 'prosody-a';
SELECT throws_ok($$ SELECT hedgerow.remove_installation('prosody-a') $$, 'HR100', '1 people are served by installation "prosody-a"', 'an installation in use stays');
SELECT throws_ok($$ SELECT hedgerow.remove_domain('example.com') $$, 'HR100', '1 people of forest "contoso" have addresses in example.com', 'a domain in use stays');
SELECT lives_ok($$ SELECT hedgerow.remove_domain('example.com', force => true) $$, 'unless forced');
SELECT is((SELECT reason FROM hedgerow.quarantine), 'example.com is not granted to forest "contoso" of site "amsterdam"', 'and quarantine says so');
SELECT lives_ok($$ SELECT hedgerow.remove_installation('prosody-a', force => true) $$, 'so for installations');

-- rule
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'allow', 'everyone') $$, 'HR100', '"everyone" is not a pattern for from', 'patterns');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'allow', 'forest:nope') $$, 'HR100', 'forest "nope" is not known in the federation', 'of what is known');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'allow', 'any', 'site:nope') $$, 'HR100', 'site "nope" is not known here', 'sites too');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'allow', 'address:Ada@example.com') $$, 'HR100', NULL, 'prepared addresses');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'maybe') $$, 'HR100', 'the action of a rule cannot be "maybe"', 'allow or deny');
SELECT throws_ok($$ SELECT hedgerow.add_rule('r', 'deny', kind => 'sms') $$, 'HR100', 'the kind of a rule cannot be "sms"', 'known kinds');
SELECT lives_ok($$ SELECT hedgerow.add_rule('r', 'deny', 'forest:contoso', 'domain:example.org', 'message', 10, 'not today') $$, 'a rule');
SELECT throws_ok($$ SELECT hedgerow.remove_forest('contoso') $$, 'HR100', NULL, 'a forest named by a rule stays');

-- people and settings
SELECT throws_ok($$ UPDATE hedgerow.person SET address = 'Ada@example.com' $$, 'HR100', NULL, 'addresses are stored in lower case');
SELECT throws_ok($$ UPDATE hedgerow.person SET state = 'ill' $$, 'HR100', 'the state of a person cannot be "ill" (person 1)', 'states');
SELECT lives_ok($$ UPDATE hedgerow.person SET details = '{"given_name": "Ada", "title": "Chief"}' $$, 'details are texts');
SELECT throws_ok($$ UPDATE hedgerow.person SET details = '{"shoes": "44"}' $$, 'HR100', 'the details of person 1 cannot be {"shoes": "44"}', 'under known names');
SELECT throws_ok($$ UPDATE hedgerow.person SET details = '{"title": 1}' $$, 'HR100', NULL, 'and nothing else');
SELECT throws_ok($$ UPDATE hedgerow.person SET details = '["title"]' $$, 'HR100', NULL, 'in an object');
SELECT throws_ok($$ SELECT hedgerow.set_setting('journal_retain', 'soon') $$, 'HR100', 'setting journal_retain cannot be "soon"', 'settings are checked');
SELECT lives_ok($$ SELECT hedgerow.set_setting('journal_retain', '2 hours') $$, 'and set');
SELECT throws_ok($$ SELECT hedgerow.set_setting('colour', 'blue') $$, 'HR100', 'there is no setting "colour"', 'known ones');
SELECT * FROM finish();
