-- SPDX-License-Identifier: Apache-2.0
-- Changes one by one lead to the same registry as reading everything: random histories of a directory,
-- published as changes runs, then compared with a full run and with a forest that is read for the first
-- time. What failed is repeated by its seed.
BEGIN;
SELECT no_plan();
\ir sync.psql
SELECT hedgerow.add_mapping('globex', 'alias', 'mailAlias'), hedgerow.add_mapping('globex', 'skip', 'employeeType', '^robot$', 'yes'),
	hedgerow.set_mapping('globex', 'enabled', 'employeeNumber'), hedgerow.apply_mapping('globex') \g /dev/null
UPDATE hedgerow.forest SET guard_delete_count = 1000000, guard_address_count = 1000000, guard_disable_count = 1000000;

-- One thing happens to one entry.
CREATE FUNCTION pg_temp.happen(anchor text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	mail text := 'a' || floor(random() * 12)::int || '@example.com';
BEGIN
	CASE floor(random() * 9)::int
	WHEN 0 THEN DELETE FROM entries e WHERE e.anchor = happen.anchor;
	WHEN 1, 2 THEN PERFORM pg_temp.entry(anchor, jsonb_build_object('mail', mail, 'uid', 'u' || floor(random() * 12)::int, 'cn', 'N' || floor(random() * 4)::int));
	WHEN 3 THEN PERFORM pg_temp.set(anchor, 'mail', mail);
	WHEN 4 THEN PERFORM pg_temp.set(anchor, 'mailAlias', variadic ARRAY(SELECT 'b' || floor(random() * 9)::int || '@example.com' FROM generate_series(1, floor(random() * 3)::int)));
	WHEN 5 THEN PERFORM pg_temp.set(anchor, 'employeeNumber', CASE WHEN random() < 0.5 THEN 'no' WHEN random() < 0.5 THEN 'yes' ELSE 'what?' END);
	WHEN 6 THEN PERFORM pg_temp.set(anchor, 'employeeType', CASE WHEN random() < 0.5 THEN 'robot' END);
	WHEN 7 THEN PERFORM pg_temp.set(anchor, 'mail', CASE WHEN random() < 0.5 THEN 'broken' END);
	ELSE PERFORM pg_temp.set(anchor, 'title', 'T' || floor(random() * 3)::int), pg_temp.set(anchor, 'createTimestamp', format('20%s0101000000Z', 10 + floor(random() * 3)::int));
	END CASE;
END $$;

-- What is published of a forest, as one text; installations are those of the forest.
CREATE FUNCTION pg_temp.published(forest text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(row(p.anchor, p.address, split_part(p.native, '@', 1), p.name, p.kind, p.enabled, p.details, p.created_at,
		(SELECT array_agg(a.address ORDER BY a.address) FROM hedgerow.alias a
			WHERE a.site = p.site AND a.forest = p.forest AND a.anchor = p.anchor AND a.until IS NULL))::text, E'\n' ORDER BY p.anchor), '')
		|| coalesce((SELECT string_agg(E'\n' || row(r.anchor, r.field, replace(r.reason, 'im-z', 'im-a'))::text, '' ORDER BY r.anchor, r.field, r.reason)
			FROM hedgerow.sync_refused r WHERE r.forest = published.forest), '')
	FROM hedgerow.person p WHERE p.forest = published.forest AND p.state = 'active' $$;

-- A whole history; returns what went wrong.
CREATE FUNCTION pg_temp.history(seed float8) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	anchors text[];
	r hedgerow.sync_run;
	bad text;
BEGIN
	PERFORM setseed(seed);
	FOR step IN 1..12 LOOP
		anchors := ARRAY(SELECT 'x' || floor(random() * 25)::int FROM generate_series(1, 1 + floor(random() * 6)::int));
		PERFORM pg_temp.happen(a) FROM unnest(anchors) a;
		r := pg_temp.changes('globex', variadic anchors || ARRAY['stranger']);
		IF r.state NOT IN ('applied', 'unchanged') OR r.kept > 0 OR r.wants_full THEN
			RETURN format('seed %s, step %s: %s', seed, step, r);
		END IF;
	END LOOP;
	bad := pg_temp.published('globex');
	r := pg_temp.run();
	IF r.state <> 'unchanged' THEN
		RETURN format('seed %s: a full run after the changes: %s %s', seed, r, (SELECT string_agg(d::text, ' ') FROM hedgerow.sync_difference d WHERE d.run = r.id));
	END IF;
	PERFORM hedgerow.add_forest('twin', 'openldap', '{ldaps://x}', 'cn=x', 'x', 'dc=x'),
		hedgerow.add_installation('im-z', 'twin', 'prosody', 'im.z.example', 'h');
	PERFORM hedgerow.add_mapping('twin', 'alias', 'mailAlias'), hedgerow.add_mapping('twin', 'skip', 'employeeType', '^robot$', 'yes'),
		hedgerow.set_mapping('twin', 'enabled', 'employeeNumber'), hedgerow.apply_mapping('twin'), pg_temp.run('twin');
	IF pg_temp.published('twin') <> bad THEN
		RETURN format(E'seed %s: changes led to\n%s\nand a first import to\n%s', seed, bad, pg_temp.published('twin'));
	END IF;
	PERFORM hedgerow.remove_installation('im-z', force => true), hedgerow.remove_forest('twin', force => true);
	RETURN NULL;
END $$;

SELECT pg_temp.people(1, 5), pg_temp.run() \g /dev/null
SELECT is(pg_temp.history(i / 100.0), NULL, format('history %s', i)) FROM generate_series(1, 15) i;
SELECT ok((SELECT sum(removed) > 20 AND sum(readdressed) > 20 AND sum(disabled) > 5 AND sum(added) > 50 FROM hedgerow.sync_run WHERE kind = 'changes'),
	'of which all kinds of things were part');
SELECT ok((SELECT count(*) > 10 FROM hedgerow.sync_differences WHERE action = 'refuse') AND (SELECT count(*) > 10 FROM hedgerow.sync_differences WHERE reason = 'returned'),
	'refusals and returns too');

SELECT * FROM finish();
ROLLBACK;
