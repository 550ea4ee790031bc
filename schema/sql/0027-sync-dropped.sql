-- SPDX-License-Identifier: Apache-2.0
-- What the operator has dropped is not done with the next removal, when both together are few enough for
-- the guard; and it does not hold up that somebody is disabled.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Leaves the people of decided changes as they are.
CREATE FUNCTION sync_leave_out_decided(f forest) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	those text[] := ARRAY(SELECT g.anchor FROM sync_grave(f) g WHERE g.decided);
BEGIN
	UPDATE sync_target SET digest = NULL WHERE anchor = ANY (those);
	DELETE FROM sync_change WHERE anchor = ANY (those);
END $$;

-- Whether the difference of a full run may be applied: `reason` says why not. What the operator has
-- dropped leaves the difference here; once others are to be removed or to have another address, all of it is
-- asked about again, however few they are. Who is disabled does not wait for that. What was released does
-- not count.
CREATE OR REPLACE FUNCTION sync_guard(f forest, OUT reason text, OUT kept bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	people bigint;
	stay boolean;
	decision text := (SELECT r.state FROM sync_state s JOIN sync_run r ON r.id = s.decided_run
		WHERE s.site = f.site AND s.forest = f.forest);
	g record;
BEGIN
	kept := 0;
	SELECT count(*) AS grave, count(*) FILTER (WHERE NOT decided) AS open,
		count(*) FILTER (WHERE NOT decided AND x.disabled AND NOT x.readdressed) AS to_disable,
		count(*) FILTER (WHERE x.removed AND NOT (decided AND released)) AS removed,
		count(*) FILTER (WHERE x.disabled AND NOT (decided AND released)) AS disabled,
		count(*) FILTER (WHERE x.readdressed AND NOT (decided AND released)) AS readdressed
	INTO g FROM sync_grave(f) x CROSS JOIN (SELECT decision IS NOT DISTINCT FROM 'released' AS released) d;
	IF g.grave = 0 THEN
		RETURN;
	END IF;
	SELECT count(*) INTO people FROM person p WHERE p.site = f.site AND p.forest = f.forest AND p.state = 'active';
	IF decision = 'dropped' AND g.open = g.to_disable AND sync_excess(f, people, 0, g.to_disable, 0) IS NULL THEN
		PERFORM sync_leave_out_decided(f);
		kept := g.grave - g.open;
		RETURN;
	END IF;
	SELECT people + count(*) FILTER (WHERE action = 'add') > count(*) FILTER (WHERE c.removed) INTO stay FROM sync_change c;
	reason := coalesce(CASE WHEN NOT stay AND g.removed > 0 THEN format('would leave nobody of %s people', people)
		ELSE sync_excess(f, people, g.removed, g.disabled, g.readdressed) END,
		CASE WHEN decision = 'dropped' AND g.open < g.grave THEN
			format('would do %s things to people that have been dropped, and %s new ones', g.grave - g.open, g.open) END);
END $$;

REVOKE ALL ON FUNCTION sync_leave_out_decided FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sync_leave_out_decided TO hedgerow_directory;
