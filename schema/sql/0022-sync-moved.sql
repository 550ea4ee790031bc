-- SPDX-License-Identifier: Apache-2.0
-- Of a forest with several naming contexts the daemon looks for who is gone from one in the others: only
-- where it cannot, `gone` is NULL in staging, and a full run is to tell.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Leaves out the removals that are not certain.
CREATE OR REPLACE FUNCTION sync_leave_out_moved(f forest) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	n bigint;
BEGIN
	DELETE FROM sync_change c USING sync_target t WHERE c.removed AND t.anchor = c.anchor AND t.gone IS NULL;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;
