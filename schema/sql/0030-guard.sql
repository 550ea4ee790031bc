-- SPDX-License-Identifier: Apache-2.0
-- The guard of a new forest allows one percent where it allowed ten: of 100,000 people 9,999 could have
-- gone unasked. Up to 2,000 people nothing changes, since the numbers are greater there. And what is held is told from another
-- difference by all of it.

ALTER TABLE hedgerow.forest ALTER guard_delete_percent SET DEFAULT 1, ALTER guard_disable_percent SET DEFAULT 1,
	ALTER guard_address_percent SET DEFAULT 1;

CREATE OR REPLACE FUNCTION hedgerow.add_forest(forest text, kind text, urls text[], bind_dn text DEFAULT NULL, bind_secret text DEFAULT NULL,
	base_dn text DEFAULT NULL, filter text DEFAULT NULL, tls text DEFAULT NULL, ca text DEFAULT NULL, title text DEFAULT NULL,
	bind text DEFAULT 'simple', page_size int DEFAULT 1000, sync_interval interval DEFAULT '6 hours',
	poll_interval interval DEFAULT '30 seconds', guard_delete_count int DEFAULT 20, guard_delete_percent int DEFAULT 1,
	guard_disable_count int DEFAULT 20, guard_disable_percent int DEFAULT 1, guard_address_count int DEFAULT 20,
	guard_address_percent int DEFAULT 1, priority int DEFAULT 100) RETURNS hedgerow.forest
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.forest;
BEGIN
	INSERT INTO hedgerow.forest (site, forest, kind, urls, bind, bind_dn, bind_secret, base_dn, filter, tls, ca, title,
			page_size, sync_interval, poll_interval, guard_delete_count, guard_delete_percent, guard_disable_count, guard_disable_percent,
			guard_address_count, guard_address_percent, priority)
		VALUES (hedgerow.local_site(), add_forest.forest, add_forest.kind, add_forest.urls, add_forest.bind, add_forest.bind_dn,
			add_forest.bind_secret, add_forest.base_dn,
			coalesce(add_forest.filter, CASE add_forest.kind
				WHEN 'activedirectory' THEN '(&(objectCategory=person)(objectClass=user))'
				WHEN 'ldif' THEN '(|(objectClass=inetOrgPerson)(&(objectClass=user)(!(objectClass=computer))))'
				ELSE '(objectClass=inetOrgPerson)' END),
			coalesce(add_forest.tls, CASE WHEN add_forest.urls[1] LIKE 'ldap:%' THEN 'starttls' ELSE 'ldaps' END),
			add_forest.ca, add_forest.title, add_forest.page_size, add_forest.sync_interval, add_forest.poll_interval,
			add_forest.guard_delete_count, add_forest.guard_delete_percent, add_forest.guard_disable_count,
			add_forest.guard_disable_percent, add_forest.guard_address_count, add_forest.guard_address_percent, add_forest.priority)
		RETURNING * INTO made;
	IF made.tls = 'plain' THEN
		RAISE WARNING 'forest "%" is read in plain text: the password and everybody''s data cross the network readable', made.forest;
	END IF;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('forest', add_forest.forest, 'forest');
END $$;

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Holds the difference. One that is held already is not written down again.
CREATE OR REPLACE FUNCTION sync_hold(r sync_run, f forest) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hash bigint := (SELECT coalesce(sum(hashtextextended(row(c.*, t.address, t.native, t.installation,
			t.name, t.kind, t.enabled, t.details, t.created_at, t.aliases)::text, 0) >> 8), 0) % 4611686018427387904
		FROM sync_change c LEFT JOIN sync_target t ON t.anchor = c.anchor);
BEGIN
	UPDATE sync_run SET difference = hash WHERE id = r.id;
	IF NOT EXISTS (SELECT FROM sync_state s JOIN sync_run h ON h.id = s.held_run
		WHERE s.site = f.site AND s.forest = f.forest AND h.difference = hash) THEN
		PERFORM sync_record_changes(r.id, f, NULL), sync_record_refusals(r.id, f), sync_lapse(f, r.id);
	END IF;
	RETURN 'held';
END $$;
