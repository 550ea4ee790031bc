-- SPDX-License-Identifier: Apache-2.0
-- Copies: what is mailed to somebody who is away is in their chat as well, so nobody is told when it can't be
-- mailed. That it is one stays with it: in deferred.awaits until it falls due, then as a mark in the envelope, and
-- its mail names no message for reports to be about. What is in a queue, or was mailed, when this migration comes
-- bears no mark: it counts as what is nowhere else, and its sender is told.
-- Order: what is deferred holds what came after it, from the same sender or, where the smarthost takes nothing for
-- the recipient, from anybody. Who sends asks the table, so a gateway that was started again knows, too.
-- So what has fallen due stays in the table as long as its queue has something for the recipient: behind that it would
-- come back too late. A copy that the smarthost has deferred awaits its receipt all the same.

ALTER TABLE hedgerow.deferred ADD whole boolean NOT NULL DEFAULT false; -- it holds all later mail to its recipient
DROP FUNCTION hedgerow.journal_commit(text, bigint, bigint[], int[], bigint[], boolean[], int[], int[], text[], text[], bytea[],
	timestamptz[], text[], bigint[], bigint[], bigint[], timestamptz[], bytea[], text[], text[], text[], boolean[], timestamptz[], bytea[],
	text[], text[], text[], boolean[]);
DROP FUNCTION hedgerow.journal_held(bigint);

-- As message Envelope of federation/wire.proto with is_copy (12) true: what is appended to a message of protobuf
-- is merged into it. One that bears the mark already has been in the queue: it was tried, and put off.
CREATE FUNCTION hedgerow.envelope_is_copy(envelope bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substr(envelope, length(envelope) - 1) = '\x6001'::bytea;

CREATE FUNCTION hedgerow.envelope_copy(envelope bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN hedgerow.envelope_is_copy(envelope) THEN envelope ELSE envelope || '\x6001'::bytea END;

-- Appends and acknowledges. queues are ascending by id; counts[i] rows go to queues[i]; row r goes
-- to queues[row_queue[r]] as its row_offset[r]-th, both from 1. acked -1: unchanged. offer[i]: all of
-- queues[i] may be handed over from now on.
-- later_*: rows for the table deferred; cancel_*: receipts (of recipient, to sender, for a stanza id, or
-- for all of them: '').
-- Returns the seq of the first row of each queue, 0 where there is none; NULL when this batch was
-- committed before.
CREATE FUNCTION hedgerow.journal_commit(
	node text, number bigint,
	queues bigint[], counts int[], acked bigint[], wake boolean[],
	row_queue int[], row_offset int[], sender text[], recipient text[], envelope bytea[], expires timestamptz[],
	origin_site text[], origin_from bigint[], origin_to bigint[],
	later_queue bigint[] DEFAULT '{}', later_at timestamptz[] DEFAULT '{}', later_id bytea[] DEFAULT '{}',
	later_sender text[] DEFAULT '{}', later_recipient text[] DEFAULT '{}', later_awaits text[] DEFAULT '{}',
	later_asked boolean[] DEFAULT '{}', later_expires timestamptz[] DEFAULT '{}', later_envelope bytea[] DEFAULT '{}',
	cancel_recipient text[] DEFAULT '{}', cancel_sender text[] DEFAULT '{}', cancel_awaits text[] DEFAULT '{}',
	offer boolean[] DEFAULT '{}', later_whole boolean[] DEFAULT '{}') RETURNS bigint[]
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
	last bigint;
	current int;
	first bigint[] := array_fill(0::bigint, ARRAY[coalesce(cardinality(queues), 0)]);
	total int := coalesce(cardinality(row_queue), 0);
	counted int := 0;
	n int;
	top bigint;
BEGIN
	IF total = 0 AND coalesce(cardinality(origin_site), 0) = 0 AND cardinality(later_queue) = 0
		AND cardinality(cancel_awaits) = 0 AND NOT true = ANY (offer) THEN
		-- Acknowledgements only: lost in a crash, they come again.
		PERFORM set_config('synchronous_commit', 'off', true);
	END IF;
	PERFORM pg_advisory_xact_lock_shared(7161110847210741001);

	UPDATE hedgerow.node AS t SET last_batch = number, seen_at = now()
		WHERE t.node = node AND t.last_batch < number;
	IF NOT FOUND THEN
		SELECT t.last_batch INTO last FROM hedgerow.node t WHERE t.node = node;
		IF last = number THEN
			RETURN NULL;
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'HR002', MESSAGE = CASE
			WHEN last IS NULL THEN format('node "%s" is not registered', node)
			ELSE format('node "%s" is at batch %s already, %s comes too late', node, last, number) END;
	END IF;

	FOR i IN 1 .. coalesce(cardinality(queues), 0) LOOP
		n := counts[i];
		UPDATE hedgerow.queue AS q SET head = q.head + n, acked = greatest(q.acked, acked[i]),
				offered = CASE WHEN offer[i] THEN q.head + n ELSE q.offered END
			WHERE q.id = queues[i] RETURNING q.head INTO top;
		IF top IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'HR003', MESSAGE = format('there is no queue %s', queues[i]);
		END IF;
		IF n > 0 THEN
			first[i] := top - n + 1;
			counted := counted + n;
			IF wake[i] THEN
				PERFORM pg_notify('hedgerow_queue', queues[i]::text);
			END IF;
		END IF;
	END LOOP;
	IF counted <> total THEN
		RAISE EXCEPTION USING ERRCODE = 'HR003', MESSAGE = format('%s rows were announced, %s came', counted, total);
	END IF;

	IF total > 0 THEN
		SELECT p.part INTO STRICT current FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
		INSERT INTO hedgerow.journal (part, queue, seq, expires, sender, recipient, envelope)
			SELECT current, queues[r.q], first[r.q] + r.o - 1, r.x, r.s, r.t, r.e
			FROM (SELECT unnest(row_queue) AS q, unnest(row_offset) AS o, unnest(expires) AS x,
				unnest(sender) AS s, unnest(recipient) AS t, unnest(envelope) AS e) r;
	END IF;

	IF array_position(later_awaits, NULL) IS NOT NULL THEN
		-- A message whose chat was taken away takes the place of its own copy.
		DELETE FROM hedgerow.deferred d
			USING (SELECT unnest(later_queue) AS q, unnest(later_id) AS i, unnest(later_awaits) AS a) r
			WHERE d.queue = r.q AND d.envelope_id = r.i AND r.a IS NULL AND d.awaits IS NOT NULL;
	END IF;
	IF cardinality(later_queue) > 0 THEN
		INSERT INTO hedgerow.deferred (queue, not_before, envelope_id, sender, recipient, awaits, asked, expires, envelope, whole)
			SELECT r.q, least(r.n, r.x), r.i, r.s, r.t, r.a, r.k, r.x, r.e, coalesce(r.w, false)
			FROM (SELECT unnest(later_queue) AS q, unnest(later_at) AS n, unnest(later_id) AS i, unnest(later_sender) AS s,
				unnest(later_recipient) AS t, unnest(later_awaits) AS a, unnest(later_asked) AS k,
				unnest(later_expires) AS x, unnest(later_envelope) AS e, unnest(later_whole) AS w) r
			ON CONFLICT DO NOTHING;
	END IF;
	IF cardinality(cancel_awaits) > 0 THEN
		DELETE FROM hedgerow.deferred d
			USING (SELECT unnest(cancel_recipient) AS t, unnest(cancel_sender) AS s, unnest(cancel_awaits) AS a) c
			WHERE d.recipient = c.t AND d.sender = c.s AND d.awaits IS NOT NULL AND c.a IN ('', d.awaits);
	END IF;

	FOR i IN 1 .. coalesce(cardinality(origin_site), 0) LOOP
		UPDATE hedgerow.resume_position AS p SET position = origin_to[i]
			WHERE p.site = origin_site[i] AND p.position = origin_from[i];
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'HR001', MESSAGE = format('the resume position of site "%s" is %s, not %s',
				origin_site[i],
				coalesce((SELECT p.position::text FROM hedgerow.resume_position p WHERE p.site = origin_site[i]), 'unknown'),
				origin_from[i]);
		END IF;
	END LOOP;
	RETURN first;
END $$;

-- Appends what has fallen due to its queue, and with it all else of the same sender and recipient that
-- is deferred for the same reason (a copy that nothing was tried with yet; one that was put off; what is no copy), in the order in which it was deferred: where nothing in the queue, which is short, is for that recipient.
-- What awaits a receipt is marked as the copy that it is. Returns how many rows.
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
	-- Locked, so that nothing joins a queue after it was looked through; journal_commit may refer to it meanwhile.
	FOR target IN SELECT q.id, q.acked FROM hedgerow.queue q WHERE q.head - q.acked < 1000
			AND q.id IN (SELECT d.queue FROM hedgerow.deferred d WHERE d.not_before <= now()) ORDER BY q.id FOR NO KEY UPDATE LOOP
		SELECT array_agg(DISTINCT split_part(j.recipient, '/', 1)) INTO busy
			FROM hedgerow.journal j WHERE j.queue = target.id AND j.seq > target.acked;
		FOR pair IN SELECT r.sender, r.recipient, r.waits, r.tried FROM (
				SELECT d.sender, d.recipient, d.awaits IS NOT NULL AS waits,
					d.awaits IS NOT NULL AND hedgerow.envelope_is_copy(d.envelope) AS tried, min(d.id) AS first
				FROM (SELECT * FROM hedgerow.deferred w WHERE w.queue = target.id AND w.not_before <= now()
					AND w.recipient NOT IN (SELECT unnest(busy)) ORDER BY w.not_before LIMIT 1000) d
				GROUP BY 1, 2, 3, 4) r ORDER BY r.first LOOP
			-- Locked before they are counted: a receipt may come meanwhile, and seq has no gaps.
			SELECT array_agg(w.id) INTO ids FROM (SELECT d.id FROM hedgerow.deferred d WHERE d.queue = target.id
				AND d.sender = pair.sender AND d.recipient = pair.recipient AND (d.awaits IS NOT NULL) = pair.waits
				AND (d.awaits IS NOT NULL AND hedgerow.envelope_is_copy(d.envelope)) = pair.tried FOR UPDATE) w;
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

REVOKE ALL ON FUNCTION hedgerow.journal_commit, hedgerow.envelope_copy, hedgerow.envelope_is_copy FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.journal_commit, hedgerow.envelope_copy, hedgerow.envelope_is_copy TO hedgerow_gateway;
