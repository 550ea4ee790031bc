-- SPDX-License-Identifier: Apache-2.0
-- A run sees at half the cost that no entry was given twice.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- An entry that a changing directory gave twice counts once, as given last. That there is none, which is
-- the rule, is seen by hashes.
CREATE OR REPLACE FUNCTION sync_distinct() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	IF (SELECT count(*) <> count(DISTINCT hashtextextended(anchor, 0)) FROM sync_target) THEN
		DELETE FROM sync_target t
		USING (SELECT anchor, max(given) AS last FROM sync_target GROUP BY anchor HAVING count(*) > 1) twice
		WHERE t.anchor = twice.anchor AND t.given <> twice.last;
	END IF;
END $$;
