-- SPDX-License-Identifier: Apache-2.0
-- Order: what is deferred comes back behind what came after it and waits in the queue, and it is the table that
-- holds that until then. So it stays there as long as the queue has something for its recipient.

-- Appends what has fallen due to its queue, and with it all else of the same sender and recipient that
-- is deferred for the same reason, in the order in which it was deferred: where nothing in the queue, which is
-- short, is for that recipient. What awaited a receipt is marked as the copy that it is. Returns how many rows.
CREATE OR REPLACE FUNCTION hedgerow.journal_due() RETURNS bigint
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
	current int;
	total bigint := 0;
	ids bigint[];
	busy text[];
	added bigint;
	top bigint;
	target record;
	pair record;
BEGIN
	IF NOT EXISTS (SELECT FROM hedgerow.deferred d WHERE d.not_before <= now())
		OR NOT pg_try_advisory_xact_lock(7161110847210741003) THEN -- another gateway is at it
		RETURN 0;
	END IF;
	PERFORM pg_advisory_xact_lock_shared(7161110847210741001);
	SELECT p.part INTO STRICT current FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
	-- Locked, so that nothing joins a queue after it was looked through.
	FOR target IN SELECT q.id, q.acked FROM hedgerow.queue q WHERE q.head - q.acked < 1000
			AND q.id IN (SELECT d.queue FROM hedgerow.deferred d WHERE d.not_before <= now()) ORDER BY q.id FOR UPDATE LOOP
		SELECT array_agg(DISTINCT split_part(j.recipient, '/', 1)) INTO busy
			FROM hedgerow.journal j WHERE j.queue = target.id AND j.seq > target.acked;
		FOR pair IN SELECT r.sender, r.recipient, r.waits FROM (
				SELECT d.sender, d.recipient, d.awaits IS NOT NULL AS waits, min(d.id) AS first
				FROM (SELECT * FROM hedgerow.deferred w WHERE w.queue = target.id AND w.not_before <= now()
					AND w.recipient NOT IN (SELECT unnest(busy)) ORDER BY w.not_before LIMIT 1000) d
				GROUP BY 1, 2, 3) r ORDER BY r.first LOOP
			-- Locked before they are counted: a receipt may come meanwhile, and seq has no gaps.
			SELECT array_agg(w.id) INTO ids FROM (SELECT d.id FROM hedgerow.deferred d WHERE d.queue = target.id
				AND d.sender = pair.sender AND d.recipient = pair.recipient AND (d.awaits IS NOT NULL) = pair.waits FOR UPDATE) w;
			added := coalesce(cardinality(ids), 0);
			CONTINUE WHEN added = 0;
			UPDATE hedgerow.queue q SET head = q.head + added WHERE q.id = target.id RETURNING q.head INTO STRICT top;
			WITH due AS (DELETE FROM hedgerow.deferred d WHERE d.id = ANY (ids) RETURNING d.*)
			INSERT INTO hedgerow.journal (part, queue, seq, expires, sender, recipient, envelope)
				SELECT current, d.queue, top - added + row_number() OVER (ORDER BY d.id), d.expires, d.sender, d.recipient,
					CASE WHEN d.awaits IS NULL THEN d.envelope ELSE hedgerow.envelope_copy(d.envelope) END
				FROM due d;
			PERFORM pg_notify('hedgerow_queue', target.id::text);
			total := total + added;
		END LOOP;
	END LOOP;
	RETURN total;
END $$;
