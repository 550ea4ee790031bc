-- SPDX-License-Identifier: Apache-2.0
-- Mail: what is set up, by whom; conversations and their mails.
SELECT no_plan();
\ir prelude.psql

-- what makes no sense
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('other.example') $$, 'HR100', 'other.example is granted to no forest of this site', 'a domain of ours');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com') $$, 'HR100', 'chat domain "" is not a domain name', 'needs a chat domain');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'example.com') $$, 'HR100', 'example.com is a federated e-mail domain', 'of its own');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'im.a.example') $$, 'HR100', 'im.a.example is the native domain of installation "prosody-a"', 'not a server''s');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com') $$, 'HR100', 'smarthost "" is not a host', 'and a smarthost');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', 'sydney') $$, 'HR100', 'site "sydney" is not known here', 'a carrier is a site');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', 'boston', chat_domain => 'chat.example.com') $$, 'HR100',
	'the mail of example.com is carried by site "boston", and is not set up here too', 'one of them sets it up');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', tls => 'none', username => 'u', secret => 's') $$,
	'HR100', 'a password is not sent in the clear', 'a password needs TLS');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', username => 'u') $$, 'HR100', NULL, 'a name needs a password');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', relays => '{10.0.0.1/8}') $$, 'HR100',
	'relay "10.0.0.1/8" is not a network', 'relays are networks');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', mode => 'loud') $$, 'HR100', NULL, 'modes are three');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', languages => '{x}') $$, 'HR100', NULL, 'languages are languages');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', away => '0') $$, 'HR100', NULL, 'away takes a while');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'h', secret => '/etc/passwd', username => 'u') $$, 'HR100', NULL, 'secrets are names of files');

-- what does
SELECT lives_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'mail.example.com', away => '10 minutes', relays => '{10.0.0.0/8}') $$, 'mail');
SELECT throws_ok($$ SELECT hedgerow.add_mail_domain('example.com', chat_domain => 'chat.example.com', smarthost => 'mail.example.com') $$, 'HR100', 'the mail of example.com is set up already', 'once');
SELECT is((SELECT array[from_address, tls, port::text, reply_key, carrier] FROM hedgerow.mail_domain), '{chat@chat.example.com,starttls,587,mail-reply.key,amsterdam}', 'with what is usual');
SELECT lives_ok($$ SELECT hedgerow.change('mail_domain', 'example.com', '{"mode": "notice", "relays": "10.0.0.0/8, 192.0.2.1"}') $$, 'it can be changed');
SELECT is((SELECT mode || relays::text FROM hedgerow.mail_domains), 'notice{10.0.0.0/8,192.0.2.1}', 'and is');
SELECT lives_ok($$ SELECT hedgerow.undo_change((SELECT max(id) FROM hedgerow.changes)) $$, 'and undone');
SELECT is((SELECT mode FROM hedgerow.mail_domains), 'full', 'as everything');
SELECT is((SELECT texts[1] || ' ' || texts[4] || ' ' || numbers[3] || ' ' || more::text FROM hedgerow.gateway_config() WHERE kind = 'mail'),
	'example.com chat.example.com 600000 {en,10.0.0.0/8}', 'gateways know');
SELECT throws_ok($$ UPDATE hedgerow.mail_domain SET carrier = 'boston' $$, 'HR100', NULL, 'who gives it away sets nothing up');
SELECT is((SELECT count(*) FROM hedgerow.mail_config('example.com') l WHERE l = E'chat.example.com\tlmtp:inet:127.0.0.1:2424'), 1::bigint, 'the lines for Postfix');
SELECT is((SELECT count(*) FROM hedgerow.mail_config('example.com', 'unix:/run/lmtp') l WHERE l IN (E'chat.example.com\tlmtp:unix:/run/lmtp',
	'# gateway.ini, section [mail]: listen = unix:/run/lmtp')), 2::bigint, 'with a socket that is named');
SELECT throws_ok($$ SELECT hedgerow.mail_config('other.example') $$, 'HR100', 'this site does not carry the mail of other.example', 'of what is carried here');

-- what would become of it
INSERT INTO hedgerow.person (site, forest, anchor, address, name, native, installation) VALUES
	('amsterdam', 'contoso', '1', 'ada@example.com', 'Ada', 'ada@im.a.example', 'prosody-a'), ('amsterdam', 'contoso', '2', 'carla@example.com', 'Carla', NULL, NULL);
SELECT is((SELECT answer FROM hedgerow.mail_test('Carla@example.com') WHERE question = 'when'), 'at once', 'who has no chat gets it at once');
SELECT is((SELECT answer FROM hedgerow.mail_test('ada@example.com') WHERE question = 'when'), 'when no receipt has come after 00:10:00', 'who has gets it later');
SELECT is((SELECT answer FROM hedgerow.mail_test('eve@example.com') WHERE question = 'who is it'), 'nobody in the registry has this address', 'nobody gets nothing');
SELECT throws_ok($$ SELECT hedgerow.mail_test('carla') $$, 'HR100', '"carla" is not an address', 'an address is asked for');
SELECT throws_ok($$ SELECT hedgerow.mail_test('carla@example.com', 'ada@@example.com') $$, 'HR100', '"ada@@example.com" is not an address', 'and of whoever writes');
SELECT throws_ok($$ SELECT hedgerow.mail_test('') $$, 'HR100', '"" is not an address', 'nothing is none');
SELECT is((SELECT answer FROM hedgerow.mail_test('carla@example.com', 'ada@example.com') WHERE question = 'rule'), 'none; people of one forest may', 'no rule is needed in a forest');
SELECT hedgerow.add_rule('no-carla', 'deny', to_pattern => 'address:carla@example.com', priority => 5) \g /dev/null
SELECT hedgerow.add_rule('presence', 'allow', kind => 'presence', priority => 1) \g /dev/null
SELECT is((SELECT array[answer, change] FROM hedgerow.mail_test('carla@example.com', 'Ada@example.com') WHERE question = 'rule'),
	ARRAY['"no-carla" refuses it', 'hedgerow rule set no-carla action=allow'], 'the rule that decides is named');
SELECT is((SELECT row(answer, change)::text FROM hedgerow.mail_test('carla@example.com', 'ada@example.com') WHERE question = 'when'), '("never: no rule allows it","see rule")', 'and is why');
SELECT is((SELECT answer FROM hedgerow.mail_test('carla@example.com', 'eve@example.com') WHERE question = 'who writes'), 'eve@example.com: nobody in the registry', 'who is nobody may not');
SELECT hedgerow.remove_rule('no-carla'), hedgerow.remove_rule('presence') \g /dev/null
SELECT is((SELECT answer FROM hedgerow.mail_test('eve@elsewhere.example', 'ada@example.com') WHERE question = 'rule'), 'none allows outsiders', 'outsiders need a rule');
SELECT hedgerow.add_rule('eve', 'allow', from_pattern => 'outsider:elsewhere.example', to_pattern => 'forest:contoso') \g /dev/null
SELECT is((SELECT answer FROM hedgerow.mail_test('eve@elsewhere.example', 'ada@example.com') WHERE question = 'rule'), '"eve" allows it', 'who may write may be answered');
SELECT is((SELECT row(answer, change)::text FROM hedgerow.mail_test('eve@elsewhere.example', 'ada@example.com') WHERE question = 'when'),
	'("never: people of example.com do not write to outsiders","hedgerow domain mail set example.com outsiders=on")', 'where the domain has outsiders');
SELECT is((SELECT answer FROM hedgerow.mail_test('eve@else.example', 'ada@example.com') WHERE question = 'rule'), 'none allows outsiders', 'of that domain');
SELECT hedgerow.remove_rule('eve') \g /dev/null
SELECT is(hedgerow.mail_address('O''Hara&Sons@Example.com'), 'o\27hara\26sons@example.com', 'a mailbox is a federation address');
SET ROLE hedgerow_gateway;
SELECT lives_ok($$ SELECT hedgerow.mail_choose('carla@example.com', 'off') $$, 'people choose');
SELECT is(hedgerow.mail_chosen('carla@example.com'), 'off', 'and it is kept');
RESET ROLE;
SELECT is((SELECT row(answer, change)::text FROM hedgerow.mail_test('carla@example.com') WHERE question = 'when'),
	'("never: the person has switched mail off","the person''s own switch, a command in the chat")', 'which counts');
SELECT hedgerow.change('mail_domain', 'example.com', '{"mode": "off"}') \g /dev/null
SELECT is((SELECT row(answer, change)::text FROM hedgerow.mail_test('ada@example.com') WHERE question = 'when'),
	'("never: example.com has mail switched off","hedgerow domain mail set example.com mode=full")', 'so does the domain''s mode');
SELECT hedgerow.change('mail_domain', 'example.com', '{"mode": "full"}') \g /dev/null
UPDATE hedgerow.person SET enabled = false WHERE anchor = '1';
SELECT is((SELECT answer FROM hedgerow.mail_test('ada@example.com') WHERE question = 'when'), 'never: the account is disabled', 'and the account');
UPDATE hedgerow.person SET enabled = true WHERE anchor = '1';
SELECT hedgerow.mail_choose('carla@example.com', '') \g /dev/null
SELECT is(hedgerow.mail_chosen('carla@example.com'), NULL, 'until it is taken back');

-- conversations
ALTER TABLE hedgerow.mail_thread ALTER id SET DEFAULT 1;
SET ROLE hedgerow_gateway;
SELECT is((SELECT row(id, topic, earlier, recent, choice)::text FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'a@x', 's1', 'ada@example.com/desk', 't', 'S')),
	'(1,S,{},0,)', 'a conversation begins');
SELECT is((SELECT row(id, topic, earlier, recent, choice)::text FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'a@x', 's1', 'ada@example.com/desk', 't', 'S')),
	'(1,S,{},0,)', 'a mail that is tried again is the same');
SELECT lives_ok($$ SELECT hedgerow.mail_taken(1, 'a@x', 2) $$, 'and when it is taken');
SELECT is((SELECT taken FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'a@x', 's1', 'ada@example.com/desk', 't', 'S')), 2, 'that is known');
SELECT is((SELECT row(id, topic, earlier, recent, choice)::text FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'b@x', 's2', 'ada@example.com/desk', NULL, 'T')),
	'(1,T,{a@x},1,)', 'it goes on, under the last subject');
SELECT is((SELECT recent FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'b2@x', 's2', 'ada@example.com/desk', NULL, 'T')), 1::bigint,
	'what has not gone yet does not count, or a bound once passed would let nothing through');
DELETE FROM hedgerow.mail_message WHERE message_id = 'b2@x';
SELECT is((SELECT row(thread, recent)::text FROM hedgerow.mail_conversation('example.com', 'carla@example.com', 'ada@example.com', 'c@y')), '(t,0)', 'an answer belongs to it');
SELECT is((SELECT count(*) FROM hedgerow.mail_conversation('example.com', 'carla@example.com', 'eve@example.com', 'c@y')), 0::bigint, 'and to no other');
SELECT is((SELECT count(*) FROM hedgerow.mail_message WHERE incoming), 0::bigint, 'which leaves nothing');
SELECT lives_ok($$ SELECT hedgerow.mail_receive('example.com', 'carla@example.com', 'ada@example.com', 'c@y', 'Re: S') $$, 'until it has become chat');
SELECT is((SELECT recent FROM hedgerow.mail_conversation('example.com', 'carla@example.com', 'ada@example.com', 'c@y')), 0::bigint, 'it does not count for itself');
SELECT is((SELECT recent FROM hedgerow.mail_conversation('example.com', 'carla@example.com', 'ada@example.com', 'd@y')), 1::bigint, 'but for the next');
SELECT lives_ok($$ SELECT hedgerow.mail_receive('example.com', 'carla@example.com', 'ada@example.com', 'd@y', NULL) $$, 'which follows');
SELECT lives_ok($$ SELECT hedgerow.mail_receive('example.com', 'carla@example.com', 'ada@example.com', 'd@y', NULL) $$, 'once');
SELECT is((SELECT earlier FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'e@x', 's3', 'x', NULL, NULL)), '{a@x,b@x,c@y,d@y}', 'both ways');
SELECT is((SELECT row(domain, person, peer, stanza_id, sender)::text FROM hedgerow.mail_find(1, 'b@x')), '(example.com,carla@example.com,ada@example.com,s2,ada@example.com/desk)', 'a report finds its message');
SELECT is((SELECT stanza_id FROM hedgerow.mail_find(1, 'zzz')), NULL, 'or not');
SELECT is((SELECT count(*) FROM hedgerow.mail_find(2)), 0::bigint, 'what is not there is not found');
SELECT is((SELECT row(person, stanza_id, sender, standing)::text FROM hedgerow.mail_report(1, 'b@x', 2)), '(carla@example.com,s2,ada@example.com/desk,new)', 'whose writer is told');
SELECT is((SELECT standing FROM hedgerow.mail_report(1, 'b@x', 2)), 'busy', 'by one report at a time');
UPDATE hedgerow.mail_message SET reported_at = now() - interval '2 minutes' WHERE message_id = 'b@x';
SELECT is((SELECT standing FROM hedgerow.mail_report(1, 'b@x', 2)), 'new', 'one that came to nothing does not count');
SELECT lives_ok($$ SELECT hedgerow.mail_reported(1, 'b@x') $$, 'told once');
UPDATE hedgerow.mail_message SET reported_at = now() - interval '2 minutes' WHERE message_id = 'b@x';
SELECT is((SELECT standing FROM hedgerow.mail_report(1, 'b@x', 2)), 'told', 'and never again');
SELECT is((SELECT standing FROM hedgerow.mail_report(1, 'a@x', 1)), 'capped', 'no more in an hour than mails may go');
UPDATE hedgerow.mail_message SET reported_at = now() - interval '61 minutes' WHERE message_id = 'b@x';
SELECT is((SELECT standing FROM hedgerow.mail_report(1, 'a@x', 1)), 'new', 'but in the next');
SELECT is((SELECT count(*) FROM hedgerow.mail_report(1, 'c@y', 9)), 0::bigint, 'no report is about a mail that came');
SELECT is((SELECT count(*) FROM hedgerow.mail_report(1, 'zzz', 9)), 0::bigint, 'nor about one that is not known');
SELECT is((SELECT count(*) FROM hedgerow.mail_report(2, 'a@x', 9)), 0::bigint, 'or is of another conversation');
-- what was taken, what a copy leaves out, and what an earlier message holds back
RESET ROLE;
SELECT is((SELECT row(sent, received)::text FROM hedgerow.mail_threads), '(1,2)', 'operators see how many mails went: those that were taken');
ALTER TABLE hedgerow.mail_thread ALTER id SET DEFAULT hashtext(gen_random_uuid()::text)::bigint + 4294967296;
INSERT INTO hedgerow.queue (name) VALUES ('mail:example.com'), ('mail:example.org');
INSERT INTO hedgerow.deferred (queue, not_before, envelope_id, sender, recipient, awaits, whole, envelope)
	SELECT q.id, a.at, convert_to(a.id, 'UTF8'), a.sender, a.recipient, a.awaits, a.whole, '' FROM hedgerow.queue q, (VALUES
		('3', 'ada@example.com', 'c2@example.com', NULL, false, timestamptz '2026-01-01Z'), ('5', 'ada@example.com', 'c2@example.com', NULL, false, '2026-01-02Z'),
		('2', 'ada@example.com', 'c2@example.com', 's', false, '2026-01-03Z'), ('7', 'bob@example.com', 'c2@example.com', NULL, true, '2026-01-04Z'),
		('1', 'ada@example.com', 'c3@example.com', NULL, true, '2026-01-05Z')) a (id, sender, recipient, awaits, whole, at)
	WHERE q.name = 'mail:example.com';
SET ROLE hedgerow_gateway;
CREATE FUNCTION pg_temp.held(domain text, peer text, id text) RETURNS text LANGUAGE sql AS $$
	SELECT to_char(held AT TIME ZONE 'UTC', 'DD') FROM hedgerow.mail_send(domain, 'carla@example.com', peer, 'h@x', NULL, peer, NULL, NULL, 'c2@example.com', convert_to(id, 'UTF8'))
$$;
SELECT is(ARRAY(SELECT coalesce(pg_temp.held('example.com', 'ada@example.com', i::text), '-') FROM generate_series(1, 9) i), '{-,-,-,01,01,02,02,04,04}',
	'a message is held by what is deferred and came before it');
SELECT is(ARRAY(SELECT coalesce(pg_temp.held('example.com', 'eve@example.com', i::text), '-') FROM generate_series(1, 9) i), '{-,-,-,-,-,-,-,04,04}',
	'of others only where the smarthost takes nothing for the recipient');
SELECT is(pg_temp.held('example.org', 'ada@example.com', '9'), NULL, 'and of the same domain');
SELECT hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'copy@x', NULL, 'ada@example.com/desk', NULL, NULL) \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.mail_report(1, 'copy@x', 9)), 0::bigint, 'a report of a copy is about no message');
SELECT hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'copy@x', 's9', 'ada@example.com/desk', NULL, NULL) \g /dev/null
SELECT is((SELECT stanza_id FROM hedgerow.mail_report(1, 'copy@x', 9)), 's9', 'unless the message is mailed itself');
SELECT hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'copy@x', 's9', 'ada@example.com/desk', NULL, NULL, NULL, NULL, '{s10,s11}', '{ada@example.com/desk,ada@example.com/phone}') \g /dev/null
UPDATE hedgerow.mail_message SET reported_at = NULL WHERE message_id = 'copy@x';
SELECT is((SELECT row(stanza_id, more_ids, more_senders)::text FROM hedgerow.mail_report(1, 'copy@x', 9)), '(s9,"{s10,s11}","{ada@example.com/desk,ada@example.com/phone}")',
	'a report is about all messages of the mail as it is tried');
SELECT hedgerow.mail_taken(1, 'copy@x', 3) \g /dev/null
SELECT hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'copy@x', 's9', 'ada@example.com/desk', NULL, NULL) \g /dev/null
UPDATE hedgerow.mail_message SET reported_at = NULL WHERE message_id = 'copy@x';
SELECT is((SELECT more_ids FROM hedgerow.mail_report(1, 'copy@x', 9)), '{s10,s11}', 'and as it was taken');
CREATE FUNCTION pg_temp.taken(message_id text, stanza_id text) RETURNS int LANGUAGE sql AS $$
	SELECT taken FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', message_id, stanza_id, 'ada@example.com/desk', NULL, NULL) $$;
SELECT is(pg_temp.taken('fresh@x', 's20'), 0, 'what is sent for the first time was not taken');
SELECT is(pg_temp.taken('copies@x', NULL), 0, 'nor was a copy');
SELECT hedgerow.mail_taken(1, 'copies@x', 3) \g /dev/null
SELECT is(pg_temp.taken('copies@x', NULL), 3, 'until it is');
SELECT is(pg_temp.taken('copies@x', 's21'), 1, 'of the messages themselves only the first is surely in that mail');
CREATE FUNCTION pg_temp.tried(count int, hourly int) RETURNS int LANGUAGE sql AS $$
	SELECT tried FROM hedgerow.mail_send('example.com', 'carla@example.com', 'ada@example.com', 'again@x', 's' || count, 'ada@example.com/desk', NULL, NULL,
		'c4@example.com', 'z', '{}', '{}', count, hourly)
$$;
SELECT is(pg_temp.tried(1, 0), 0, 'a mail is not let go past the hourly bound');
SELECT is(pg_temp.tried(2, 9), 0, 'so it may have more messages later, and is let go');
SELECT is(pg_temp.tried(2, 9), 0, 'again as it was');
SELECT is(pg_temp.tried(3, 9), 2, 'but not with more');
SELECT is((SELECT stanza_id FROM hedgerow.mail_report(1, 'again@x', 9)), 's2', 'which are not in it');
RESET ROLE;
DELETE FROM hedgerow.deferred; DELETE FROM hedgerow.queue; DELETE FROM hedgerow.mail_message WHERE message_id IN ('h@x', 'copy@x', 'again@x');
DELETE FROM hedgerow.mail_thread WHERE peer <> 'ada@example.com' OR domain <> 'example.com';
SET ROLE hedgerow_gateway;
SELECT is(hedgerow.mail_forget(), 0::bigint, 'what is used stays');
UPDATE hedgerow.mail_thread SET used_at = now() - interval '91 days';
SELECT is(hedgerow.mail_forget(), 1::bigint, 'what is not, goes');
SELECT is((SELECT count(*) FROM hedgerow.mail_message), 0::bigint, 'with its mails');
RESET ROLE;
SELECT lives_ok($$ SELECT hedgerow.mail_keep('example.com', 'c@y', '\x4d61696c') $$, 'a mail is kept whole');
SELECT lives_ok($$ SELECT hedgerow.mail_keep('example.com', 'c@y', '\x00') $$, 'as it came first');
SELECT is(hedgerow.mail_original('<c@y>'), '\x4d61696c'::bytea, 'and found by its Message-ID');
SELECT throws_ok($$ SELECT hedgerow.mail_original('nothing@y') $$, 'HR100', 'no mail with the Message-ID nothing@y is kept here', 'others are not');
SELECT is((SELECT bytes FROM hedgerow.mail_originals WHERE message_id = 'c@y'), 4, 'operators see what is kept');
UPDATE hedgerow.mail_domain SET originals = '1 day' WHERE domain = 'example.com';
SELECT hedgerow.mail_forget();
SELECT is((SELECT count(*) FROM hedgerow.mail_originals), 1::bigint, 'for as long as the domain says');
UPDATE hedgerow.mail_original SET at = now() - interval '25 hours';
SELECT hedgerow.mail_forget();
SELECT is((SELECT count(*) FROM hedgerow.mail_originals), 0::bigint, 'and no longer');
UPDATE hedgerow.mail_domain SET originals = NULL WHERE domain = 'example.com';
SELECT is((SELECT state FROM hedgerow.mail_status), 'no gateway', 'operators see how it is');

-- mails that are only shown
SET ROLE hedgerow_operator;
SELECT is(hedgerow.mail_try('Carla@example.com', 'ADA@example.com', 'Hello'), 1::bigint, 'operators ask for a mail');
SELECT is((SELECT row(outcome, reason, mail)::text FROM hedgerow.mail_tried(1)), '("no gateway",,)', 'which needs a gateway');
SELECT throws_ok($$ SELECT hedgerow.mail_try('carla') $$, 'HR100', '"carla" is not an address', 'to an address');
SELECT throws_ok($$ SELECT hedgerow.mail_try('carla@example.com', NULL, repeat('x', 65537)) $$, 'HR100', 'the text is too long', 'that is no book');
SELECT throws_ok($$ SELECT * FROM hedgerow.mail_trial $$, '42501', NULL, 'others'' are not theirs to read');
SELECT throws_ok($$ SELECT hedgerow.mail_trials() $$, '42501', NULL, 'they are no gateway');
RESET ROLE;
INSERT INTO hedgerow.mail_thread (id, domain, person, peer) VALUES (99, 'example.com', 'carla@example.com', 'ada@example.com');
INSERT INTO hedgerow.mail_message (thread, message_id, incoming, taken) VALUES (99, 'm@x', false, 1);
SELECT hedgerow.mail_choose('carla@example.com', 'notice') \g /dev/null
SET ROLE hedgerow_gateway;
SELECT is((SELECT row(t.*)::text FROM hedgerow.mail_trials() t), '(1,carla@example.com,ada@example.com,Hello,notice,1)', 'a gateway finds it, with what counts for it');
SELECT lives_ok($$ SELECT hedgerow.mail_trial_answer(1, 'mail', 'r', 'Subject: x') $$, 'and answers');
SELECT lives_ok($$ SELECT hedgerow.mail_trial_answer(1, 'none', 'another', NULL) $$, 'as may another');
SELECT is((SELECT count(*) FROM hedgerow.mail_trials()), 0::bigint, 'once');
RESET ROLE;
SET ROLE hedgerow_operator;
SELECT is((SELECT row(outcome, reason, mail)::text FROM hedgerow.mail_tried(1)), '(mail,r,"Subject: x")', 'the first answer counts');
SELECT hedgerow.mail_try('x@elsewhere.example', 'ada@example.com'), hedgerow.mail_try('x@elsewhere.example') \g /dev/null
RESET ROLE;
SELECT is((SELECT array_agg(recipient ORDER BY id) FROM hedgerow.mail_trial WHERE outcome IS NULL), ARRAY['x\40elsewhere.example@example.com', 'x@elsewhere.example'], 'outsiders are those of who writes');
INSERT INTO hedgerow.mail_trial (recipient, body) SELECT 'x@example.com', '' FROM generate_series(1, 100);
SELECT throws_ok($$ SELECT hedgerow.mail_try('carla@example.com') $$, 'HR100', '100 tests are waiting for a gateway', 'no crowds');
UPDATE hedgerow.mail_trial SET asked_at = now() - interval '6 minutes';
SELECT is((SELECT count(*) FROM hedgerow.mail_trials()), 0::bigint, 'nobody waits for so long');
SELECT is((SELECT count(*) FROM hedgerow.mail_trial), 0::bigint, 'what is old is forgotten');
DELETE FROM hedgerow.mail_thread; DELETE FROM hedgerow.mail_choice;

-- copies for who is away
INSERT INTO hedgerow.queue (name) VALUES ('mail:example.com');
INSERT INTO hedgerow.deferred (queue, not_before, envelope_id, sender, recipient, awaits, envelope)
	SELECT q.id, now() + '1 hour', a.id::bytea, 'carla@example.com', 'ada@example.com', a.awaits, '' FROM hedgerow.queue q, (VALUES ('1', 's1'), ('2', NULL)) a (id, awaits)
	WHERE q.name = 'mail:example.com';
SELECT hedgerow.change('mail_domain', 'example.com', '{"away": "5 minutes"}') \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.deferred), 2::bigint, 'copies wait for a receipt');
SELECT hedgerow.change('mail_domain', 'example.com', '{"away": null}') \g /dev/null
SELECT is((SELECT array_agg(awaits) FROM hedgerow.deferred), '{NULL}', 'and go when nobody who is away is mailed any more; mail does not');
SELECT lives_ok($$ SELECT hedgerow.remove_mail_domain('example.com') $$, 'no more mail');
SELECT throws_ok($$ SELECT hedgerow.remove_mail_domain('example.com') $$, 'HR100', 'the mail of example.com is not set up at this site', 'once');
SELECT lives_ok($$ SELECT hedgerow.add_mail_domain('example.com', 'boston') $$, 'another site may carry it');
SELECT * FROM finish();
