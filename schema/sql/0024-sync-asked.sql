-- SPDX-License-Identifier: Apache-2.0
-- When changes ask for a full run: not while the last one has failed, whose next try is planned already;
-- also when somebody of a held run has changed, as the cause may be gone.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Whether the newest full run that has ended has failed.
CREATE FUNCTION sync_is_failing(r sync_run) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce((SELECT w.state = 'failed' FROM sync_run w
	WHERE w.site = r.site AND w.forest = r.forest AND w.kind = 'full' AND w.state <> 'running' ORDER BY w.id DESC LIMIT 1), false);

-- Whether a run of changes tells of somebody whom the held run would have changed.
CREATE FUNCTION sync_concerns_held(r sync_run) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN EXISTS (SELECT FROM sync_state s JOIN sync_difference d ON d.run = s.held_run JOIN sync_target t ON t.anchor = d.anchor
		WHERE s.site = r.site AND s.forest = r.forest);
END $$;

-- Writes the end of a run down and sets the time of the next. Of a changes run that found no difference
-- nothing is written but where it came to.
CREATE OR REPLACE FUNCTION sync_end(r sync_run) RETURNS sync_run
LANGUAGE plpgsql
AS $$
DECLARE
	is_full boolean := r.kind = 'full';
	failing boolean := r.kind = 'changes' AND sync_is_failing(r);
	concerned boolean := r.kind = 'changes' AND r.state <> 'failed' AND sync_concerns_held(r);
BEGIN
	r.finished := clock_timestamp();
	IF r.kind <> 'changes' THEN
		UPDATE sync_run t SET state = r.state, staged = r.staged, finished = r.finished, read = r.read, skipped = r.skipped,
			added = r.added, changed = r.changed, readdressed = r.readdressed, removed = r.removed, disabled = r.disabled,
			kept = r.kept, refused = r.refused, error = r.error
		WHERE t.id = r.id;
	ELSIF r.state <> 'unchanged' OR r.kept > 0 THEN
		INSERT INTO sync_run SELECT r.*;
	END IF;
	IF r.state IN ('applied', 'unchanged', 'held') AND (is_full OR r.state = 'applied' OR r.kept > 0 OR concerned) THEN
		UPDATE sync_state s SET failures = CASE WHEN failing THEN s.failures ELSE 0 END,
			last_good = CASE WHEN r.state <> 'held' AND NOT r.wants_full THEN r.finished ELSE s.last_good END,
			wants_full = s.wants_full OR r.wants_full AND s.held_run IS NULL AND NOT failing,
			next_run = CASE WHEN is_full THEN r.finished + f.sync_interval * (0.9 + 0.2 * random())
				WHEN (r.wants_full OR concerned) AND NOT failing THEN least(s.next_run, r.finished + interval '1 minute')
				ELSE s.next_run END
		FROM forest f
		WHERE s.site = r.site AND s.forest = r.forest AND f.site = r.site AND f.forest = r.forest;
	END IF;
	UPDATE sync_now SET state = r.state;
	PERFORM set_config('application_name', 'hedgerow-directory', false);
	RETURN r;
END $$;

REVOKE ALL ON FUNCTION sync_is_failing, sync_concerns_held FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sync_is_failing, sync_concerns_held TO hedgerow_directory;
