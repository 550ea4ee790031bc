-- SPDX-License-Identifier: Apache-2.0
-- The journal: contiguous, once, in order, never past head; partitions go when nobody needs them.
SELECT no_plan();
\ir prelude.psql
-- n rows for one queue, and nothing else
CREATE FUNCTION pg_temp.append(number bigint, queue bigint, n int, body text DEFAULT 'x') RETURNS bigint[] LANGUAGE sql AS $$
	SELECT hedgerow.journal_commit('n1', number, ARRAY[queue], ARRAY[n], '{-1}', '{f}',
		array_fill(1, ARRAY[n]), ARRAY(SELECT generate_series(1, n)), array_fill('s@x'::text, ARRAY[n]), array_fill('r@x'::text, ARRAY[n]),
		array_fill(convert_to(body, 'UTF8'), ARRAY[n]), array_fill(NULL::timestamptz, ARRAY[n]), '{}', '{}', '{}')
$$;
CREATE FUNCTION pg_temp.ack(number bigint, queue bigint, seq bigint) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT hedgerow.journal_commit('n1', number, ARRAY[queue], '{0}', ARRAY[seq], '{f}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')
$$;
CREATE FUNCTION pg_temp.come(number bigint, site text, origin_from bigint, origin_to bigint) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT hedgerow.journal_commit('n1', number, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
		ARRAY[site], ARRAY[origin_from], ARRAY[origin_to])
$$;

SELECT is((SELECT head FROM hedgerow.journal_open('link:boston')), 0::bigint, 'a queue begins empty');
SELECT is((SELECT incarnation FROM hedgerow.journal_open('link:boston')), (SELECT incarnation FROM hedgerow.journal_open('link:boston')), 'and is the same when opened again');
SELECT is((SELECT id FROM hedgerow.journal_open('xmpp:prosody-a:example.com')), 2::bigint, 'another is another');
SELECT throws_ok($$ SELECT pg_temp.append(1, 1, 1) $$, 'HR002', 'node "n1" is not registered', 'only nodes that are known');
SELECT is(hedgerow.journal_node('n1'), 0::bigint, 'a node begins at 0');
SELECT is(pg_temp.append(1, 1, 3), '{1}', 'the first row is 1');
SELECT is(pg_temp.append(1, 1, 3), NULL, 'a repeat does nothing');
SELECT is((SELECT head FROM hedgerow.queue WHERE id = 1), 3::bigint, 'nothing at all');
SELECT is(hedgerow.journal_node('n1'), 1::bigint, 'and the node knows where it is');
SELECT is(pg_temp.append(2, 1, 2), '{4}', 'the next follows');
SELECT throws_ok($$ SELECT pg_temp.append(1, 1, 1) $$, 'HR002', 'node "n1" is at batch 2 already, 1 comes too late', 'an old number is a mistake');
SELECT is(pg_temp.append(7, 1, 1), '{6}', 'a number may be left out: acknowledgements alone can be lost in a crash');
SELECT is(hedgerow.journal_commit('n1', 8, '{1,2}', '{2,1}', '{-1,-1}', '{t,f}', '{1,2,1}', '{1,1,2}', '{a,b,c}', '{d,e,f}', '{one,two,three}',
	'{NULL,2030-01-01,NULL}', '{}', '{}', '{}'), '{7,1}', 'several queues at once');
SELECT is((SELECT array_agg(seq || convert_from(envelope, 'UTF8') ORDER BY seq) FROM hedgerow.journal_read(1, 6, 10)), '{7one,8three}', 'each in its queue, in order');
SELECT is((SELECT expires FROM hedgerow.journal WHERE queue = 2 AND seq = 1), '2030-01-01', 'with its expiry');
SELECT is((SELECT count(*) FROM hedgerow.journal_read(1, 0, 3)), 3::bigint, 'at most so many');
SELECT throws_ok($$ SELECT pg_temp.append(9, 99, 1) $$, 'HR003', 'there is no queue 99', 'only queues that are there');
SELECT throws_ok($$ SELECT hedgerow.journal_commit('n1', 9, '{1}', '{2}', '{-1}', '{f}', '{1}', '{1}', '{a}', '{b}', '{c}', '{NULL}', '{}', '{}', '{}') $$,
	'HR003', '2 rows were announced, 1 came', 'what is announced comes');

SELECT is(pg_temp.ack(9, 1, 5), '{0}', 'an acknowledgement');
SELECT is((SELECT acked FROM hedgerow.queue WHERE id = 1), 5::bigint, 'moves acked');
SELECT is(pg_temp.ack(10, 1, 3), '{0}', 'an old one is no harm');
SELECT is((SELECT acked FROM hedgerow.queue WHERE id = 1), 5::bigint, 'acked never goes back');
SELECT throws_ok($$ SELECT pg_temp.ack(11, 1, 9) $$, '23514', NULL, 'nor past head');
SELECT is(current_setting('synchronous_commit'), 'on', 'the setting for acknowledgements is of their transaction only');

SELECT is(hedgerow.journal_position('boston', '11111111-1111-1111-1111-111111111111'), 0::bigint, 'a resume position begins at 0');
SELECT is(pg_temp.come(11, 'boston', 0, 5), '{}', 'it moves with a batch');
SELECT is(hedgerow.journal_position('boston', '11111111-1111-1111-1111-111111111111'), 5::bigint, 'and is remembered');
SELECT throws_ok($$ SELECT pg_temp.come(12, 'boston', 4, 6) $$, 'HR001', 'the resume position of site "boston" is 5, not 4', 'from where it is');
SELECT throws_ok($$ SELECT pg_temp.come(12, 'sydney', 0, 6) $$, 'HR001', 'the resume position of site "sydney" is unknown, not 0', 'of a known site');
SELECT is(hedgerow.journal_position('boston', '22222222-2222-2222-2222-222222222222'), 0::bigint, 'a new incarnation begins at 0');
SELECT is(hedgerow.journal_position('boston', '11111111-1111-1111-1111-111111111111'), 0::bigint, 'the old one is forgotten');

SELECT is((SELECT count(*) FROM (SELECT pg_temp.append(12, 1, 8, repeat('y', 1048576))) a), 1::bigint, 'eight megabytes');
SELECT is((SELECT count(*) FROM hedgerow.journal_read(1, 8, 100)), 4::bigint, 'are read four at a time');
SELECT is((SELECT min(seq) FROM hedgerow.journal_read(1, 8, 100)), 9::bigint, 'from the beginning');

-- what is deferred, and receipts
SELECT is((SELECT id FROM hedgerow.journal_open('mail:example.com')), 3::bigint, 'a queue for mail');
CREATE FUNCTION pg_temp.defer(number bigint, at timestamptz, id text, recipient text, awaits text DEFAULT NULL, whole boolean DEFAULT false,
	tried boolean DEFAULT false) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT hedgerow.journal_commit('n1', number, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
		'{3}', ARRAY[at], ARRAY[convert_to(id, 'UTF8')], '{s@x}', ARRAY[recipient], ARRAY[awaits], ARRAY[awaits IS NOT NULL], '{NULL}',
		ARRAY[CASE WHEN tried THEN hedgerow.envelope_copy(convert_to(id, 'UTF8')) ELSE convert_to(id, 'UTF8') END],
		later_whole => ARRAY[whole])
$$;
CREATE FUNCTION pg_temp.mailed() RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(seq || replace(encode(envelope, 'escape'), E'`\001', ' copy') ORDER BY seq) FROM hedgerow.journal_read(3, 0, 100)
$$;
SELECT is(pg_temp.defer(13, now() + interval '1 hour', 'a', 'r@x', 'm1'), '{}', 'a copy that waits for a receipt');
SELECT is(pg_temp.defer(14, now() - interval '1 second', 'b', 'r@x', 'm2'), '{}', 'another');
SELECT is(pg_temp.defer(15, now() - interval '1 second', 'b', 'r@x', 'm2'), '{}', 'which is the same when it comes twice');
SELECT is(pg_temp.defer(16, now() + interval '1 hour', 'c', 'r@x'), '{}', 'and what was not taken');
SELECT is(pg_temp.defer(17, now() + interval '1 hour', 'd', 'q@x', 'm3'), '{}', 'for somebody else too');
SELECT is((SELECT count(*) FROM hedgerow.journal_asked()), 3::bigint, 'it is known what was asked for');
SELECT is((SELECT head FROM hedgerow.queue WHERE id = 3), 0::bigint, 'nothing of it is in the queue');
SELECT is(hedgerow.journal_due(), 2::bigint, 'what is due goes with what waits for the same pair');
SELECT is(pg_temp.mailed(), '{1a copy,2b copy}', 'in order, as the copies that they are');
SELECT is(hedgerow.journal_due(), 0::bigint, 'once');
SELECT is(hedgerow.journal_commit('n1', 18, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	cancel_recipient => '{q@x}', cancel_sender => '{other@x}', cancel_awaits => '{m3}'), '{}', 'a receipt for another sender');
SELECT is((SELECT count(*) FROM hedgerow.deferred), 2::bigint, 'does nothing');
SELECT is(hedgerow.journal_commit('n1', 19, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	cancel_recipient => '{q@x}', cancel_sender => '{s@x}', cancel_awaits => '{m3}'), '{}', 'the right one');
UPDATE hedgerow.deferred SET not_before = now();
SELECT is((SELECT array_agg(convert_from(envelope, 'UTF8')) FROM hedgerow.deferred), '{c}', 'makes the copy go');
SELECT is(hedgerow.journal_due(), 0::bigint, 'what was not taken does not come behind what the queue has for its recipient');
SELECT is(pg_temp.ack(20, 3, 1), '{0}', 'nor once some of that went');
SELECT is(hedgerow.journal_due(), 0::bigint, 'but not all');
SELECT is(hedgerow.journal_commit('n1', 21, '{3}', '{1}', '{2}', '{t}', '{1}', '{1}', '{t@x/desk}', '{r@x/phone}', '{e}', '{NULL}', '{}', '{}', '{}'), '{3}', 'nor');
SELECT is(hedgerow.journal_due(), 0::bigint, 'whichever device it is for');
SELECT is(hedgerow.journal_commit('n1', 22, '{3}', '{1}', '{3}', '{t}', '{1}', '{1}', '{s@x/desk}', '{other@x}', '{f}', '{NULL}', '{}', '{}', '{}'), '{4}', 'what the queue has for another');
SELECT is(hedgerow.journal_due(), 1::bigint, 'does not keep it');
SELECT is(pg_temp.mailed(), '{1a copy,2b copy,3e,4f,5c}', 'it comes again');
SELECT is(pg_temp.defer(23, now(), 'g', 'r2@x'), '{}', 'behind a queue that is long');
UPDATE hedgerow.queue SET head = acked + 1000 WHERE id = 3;
SELECT is(hedgerow.journal_due(), 0::bigint, 'nothing comes');
UPDATE hedgerow.queue SET head = acked + 999 WHERE id = 3;
SELECT is(hedgerow.journal_due(), 1::bigint, 'until it is shorter');
SELECT is((SELECT acked FROM hedgerow.queue WHERE id = 3), 3::bigint, 'nothing of it was acknowledged');
SELECT is(pg_temp.ack(24, 3, 1003), '{0}', 'until all is');

-- dead letters
SELECT lives_ok($$ SELECT hedgerow.journal_dead_letter(1, 7, 'one', 'poison') $$, 'a dead letter');
SELECT lives_ok($$ SELECT hedgerow.journal_dead_letter(1, 7, 'one', 'poison') $$, 'told twice');
SELECT is((SELECT array_agg(sender || ' ' || recipient || ' ' || reason) FROM hedgerow.dead_letters), '{"a d poison"}', 'is there once, and says who to whom');
SELECT lives_ok($$ SELECT hedgerow.retry_dead_letter(1) $$, 'it is tried again');
SELECT is((SELECT convert_from(envelope, 'UTF8') FROM hedgerow.journal_read(1, 16, 10)), 'one', 'at the end of its queue');
SELECT throws_ok($$ SELECT hedgerow.retry_dead_letter(1) $$, 'HR100', 'there is no dead letter 1', 'once');

-- partitions
SELECT lives_ok('SELECT hedgerow.journal_maintain()', 'nothing is due');
SELECT is((SELECT count(*) FROM hedgerow.journal_part), 1::bigint, 'so nothing happens');
UPDATE hedgerow.setting SET value = '0' WHERE name IN ('journal_rotate_after', 'journal_retain');
SELECT lives_ok('SELECT hedgerow.journal_maintain()', 'rotation is due');
SELECT is((SELECT array_agg(part || CASE WHEN closed_at IS NULL THEN ' open' ELSE ' closed' END ORDER BY part) FROM hedgerow.journal_part),
	'{"1 closed","2 open"}', 'a new partition');
SELECT is(pg_temp.append(26, 2, 1), '{2}', 'takes rows');
SELECT is((SELECT tableoid::regclass::text FROM hedgerow.journal WHERE queue = 2 AND seq = 2), 'hedgerow.journal_2', 'there');
SELECT is((SELECT array_agg(seq) FROM hedgerow.journal_read(2, 0, 10)), '{1,2}', 'reading goes over both');
SELECT throws_ok($$ INSERT INTO hedgerow.journal VALUES (2, 2, NULL, 2, 'a', 'b', 'c') $$, '23505', NULL, 'a seq is there once');
UPDATE hedgerow.setting SET value = '1 day' WHERE name = 'journal_rotate_after';
SELECT lives_ok('SELECT hedgerow.journal_maintain()', 'not everything is acknowledged');
SELECT is((SELECT count(*) FROM hedgerow.journal_part), 2::bigint, 'so nothing is dropped');
SELECT pg_temp.ack(27, 1, 17) \g /dev/null
SELECT hedgerow.journal_maintain() \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.journal_part), 2::bigint, 'one queue alone is not enough');
SELECT pg_temp.ack(28, 2, 1) \g /dev/null
UPDATE hedgerow.setting SET value = '1 hour' WHERE name = 'journal_retain';
SELECT hedgerow.journal_maintain() \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.journal_part), 2::bigint, 'it is kept for a while');
UPDATE hedgerow.setting SET value = '0' WHERE name = 'journal_retain';
SELECT hedgerow.journal_maintain() \g /dev/null
SELECT is((SELECT array_agg(part) FROM hedgerow.journal_part), '{2}', 'dropped when every queue is past it');
SELECT hasnt_table('hedgerow', 'journal_1', 'the table itself');
SELECT is((SELECT array_agg(seq) FROM hedgerow.journal_read(2, 1, 10)), '{2}', 'what is needed is there');
SELECT is((SELECT count(*) FROM hedgerow.journal_parts WHERE bytes > 0), 1::bigint, 'operators see the sizes');

-- a queue that nobody serves
SELECT is(hedgerow.purge_queue('xmpp:prosody-a:example.com'), 1::bigint, 'is purged');
SELECT is((SELECT depth FROM hedgerow.queues WHERE queue = 'xmpp:prosody-a:example.com'), 0::bigint, 'and is empty');
SELECT is((SELECT array_agg(reason) FROM hedgerow.dead_letters), '{"the queue was purged"}', 'its letters are dead');
SELECT ok(hedgerow.journal_lease('installation:prosody-a'), 'a lease');
SELECT throws_ok($$ SELECT hedgerow.purge_queue('xmpp:prosody-a:example.com') $$, 'HR100',
	'a gateway serves queue "xmpp:prosody-a:example.com"', 'what is served is not purged');
SELECT ok(hedgerow.journal_lease('installation:prosody-a'), 'a lease that we have already');
SELECT is((SELECT array_agg(name) FROM hedgerow.leases), '{installation:prosody-a}', 'leases are visible');

-- what gateways report
SELECT hedgerow.journal_lease('node:n1') \g /dev/null
SELECT hedgerow.status_report('n1', '{stream,link}', '{prosody-a/example.com,boston}', '{up,down}', '{NULL,refused}', '{a_total,b}', '{1,2}', '{f,t}', '{A,B}') \g /dev/null
SELECT is((SELECT state FROM hedgerow.stream_status), 'up', 'the state of a stream');
SELECT is((SELECT array_agg(name || '=' || value || ' ' || kind) FROM hedgerow.metric_status), '{"a_total=1 counter","b=2 gauge"}', 'metrics');
SELECT hedgerow.status_report('n1', '{stream}', '{prosody-a/example.com}', '{down}', '{gone}', '{a_total}', '{5}', '{f}', '{A}') \g /dev/null
SELECT is((SELECT state || ' ' || detail FROM hedgerow.stream_status), 'down gone', 'as last reported');
SELECT is((SELECT count(*) FROM hedgerow.status), 1::bigint, 'what is no longer reported is gone');
SELECT ok((SELECT running FROM hedgerow.gateway_status WHERE node = 'n1'), 'a gateway with its lease runs');
SELECT pg_advisory_unlock_all() \g /dev/null
SELECT ok(NOT (SELECT running FROM hedgerow.gateway_status WHERE node = 'n1'), 'without it, not');
SELECT is((SELECT state FROM hedgerow.stream_status), 'no gateway', 'and then nobody knows');
SELECT is(hedgerow.journal_commit('n1', 1000, '{1}', '{0}', '{-1}', '{f}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', offer => '{t}'), '{0}', 'an offer');
SELECT is((SELECT offered FROM hedgerow.journal_open('link:boston')), (SELECT head FROM hedgerow.queue WHERE id = 1), 'is of all that is there');
SELECT is((SELECT count(*) FROM hedgerow.journal_leftovers()), 0::bigint, 'where nothing waits, nothing is left over');
SELECT is(cardinality(pg_temp.append(1001, 1, 1)) + cardinality(pg_temp.append(1002, 2, 1)), 2, 'something waits');
SELECT is((SELECT queue || ' ' || (upto = (SELECT head FROM hedgerow.queue WHERE id = 1)) FROM hedgerow.journal_leftovers()), 'link:boston true', 'what waits for a link that there is not is left over');
SELECT hedgerow.add_link('boston') \g /dev/null
SELECT is((SELECT count(*) FROM hedgerow.journal_leftovers()), 0::bigint, 'until there is one');
SELECT hedgerow.remove_domain('example.com', force => true) \g /dev/null
SET session_replication_role = replica;
DELETE FROM hedgerow.email_domain;
RESET session_replication_role;
SELECT is((SELECT queue FROM hedgerow.journal_leftovers()), 'xmpp:prosody-a:example.com', 'so is what waits for a domain that nobody grants');
SELECT is(ARRAY[hedgerow.journal_lease('link:boston'), hedgerow.journal_lease('link:boston'), hedgerow.is_leased('link:boston')], '{t,t,t}', 'a lease is taken as often as asked');
SELECT hedgerow.journal_end_lease('link:boston') \g /dev/null
SELECT hedgerow.journal_end_lease('link:boston') \g /dev/null
SELECT is(hedgerow.is_leased('link:boston'), false, 'and ended at once');
-- a message and its own copy
SELECT is(pg_temp.defer(1901, now() + interval '1 hour', 'e', 'r@x', 'm5'), '{}', 'a copy of what waits for a chat');
SELECT is(pg_temp.defer(1902, now() + interval '2 hours', 'e', 'r@x', NULL, true), '{}', 'which is taken away');
SELECT is((SELECT array_agg(row(awaits, whole, not_before > now() + interval '1 hour')::text) FROM hedgerow.deferred), '{"(,t,t)"}', 'leaves the message alone');
SELECT is(pg_temp.defer(1903, now(), 'e', 'r@x', 'm5'), '{}', 'and no copy');
SELECT is((SELECT array_agg(row(awaits, whole, not_before > now() + interval '1 hour')::text) FROM hedgerow.deferred), '{"(,t,t)"}', 'takes its place');
DELETE FROM hedgerow.deferred;
SELECT is(pg_temp.defer(1904, now() + interval '1 hour', 'f', 'r@x', 'm6', true, true), '{}', 'a copy that the smarthost has deferred');
SELECT is(pg_temp.defer(1905, now() + interval '1 hour', 'h', 'r@x', 'm8', false, true), '{}', 'one past the bound of the hour');
SELECT is(pg_temp.defer(1906, now() - interval '1 s', 'g', 'r@x', 'm7'), '{}', 'and another that is due');
SELECT is(hedgerow.journal_due(), 1::bigint, 'which goes alone');
SELECT is((SELECT string_agg(awaits, ' ' ORDER BY id) FROM hedgerow.deferred), 'm6 m8', 'as the others have their own time');
SELECT is(hedgerow.envelope_copy(envelope), envelope, 'and are marked already') FROM hedgerow.deferred WHERE awaits = 'm8';
DELETE FROM hedgerow.deferred WHERE awaits = 'm8';
SELECT is(hedgerow.journal_commit('n1', 1908, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	cancel_recipient => '{r@x}', cancel_sender => '{s@x}', cancel_awaits => '{m6}'), '{}', 'it still awaits its receipt');
SELECT is((SELECT count(*) FROM hedgerow.deferred), 0::bigint, 'and goes when that comes');
SELECT * FROM finish();
