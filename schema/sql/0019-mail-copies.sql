-- SPDX-License-Identifier: Apache-2.0
-- Copies: what is mailed to somebody who is away is in their chat as well, so nobody is told when it can't be
-- mailed. That it is one stays with it: in deferred.awaits until it falls due, then as a mark in the envelope, and
-- its mail names no message for reports to be about. What is in a queue, or was mailed, when this migration comes
-- bears no mark: it counts as what is nowhere else, and its sender is told.
-- Order: what is deferred holds what came after it, from the same sender or, where the smarthost takes nothing for
-- the recipient, from anybody. Who sends asks the table, so a gateway that was started again knows, too.

ALTER TABLE hedgerow.deferred ADD whole boolean NOT NULL DEFAULT false; -- it holds all later mail to its recipient
DROP FUNCTION hedgerow.journal_commit(text, bigint, bigint[], int[], bigint[], boolean[], int[], int[], text[], text[], bytea[],
	timestamptz[], text[], bigint[], bigint[], bigint[], timestamptz[], bytea[], text[], text[], text[], boolean[], timestamptz[], bytea[],
	text[], text[], text[], boolean[]);
DROP FUNCTION hedgerow.journal_held(bigint);
DROP FUNCTION hedgerow.mail_send(text, text, text, text, text, text, text, text);

-- As message Envelope of federation/wire.proto with is_copy (12) true: what is appended to a message of protobuf
-- is merged into it.
CREATE FUNCTION hedgerow.envelope_copy(envelope bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN envelope || '\x6001'::bytea;

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
-- is deferred for the same reason, in the order in which it was deferred. What awaited a receipt is marked as
-- the copy that it is. Returns how many rows.
CREATE OR REPLACE FUNCTION hedgerow.journal_due() RETURNS bigint
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
	current int;
	total bigint := 0;
	ids bigint[];
	added bigint;
	top bigint;
	pair record;
BEGIN
	IF NOT EXISTS (SELECT FROM hedgerow.deferred d WHERE d.not_before <= now())
		OR NOT pg_try_advisory_xact_lock(7161110847210741003) THEN -- another gateway is at it
		RETURN 0;
	END IF;
	PERFORM pg_advisory_xact_lock_shared(7161110847210741001);
	SELECT p.part INTO STRICT current FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
	FOR pair IN SELECT r.queue, r.sender, r.recipient, r.waits FROM (
			SELECT d.queue, d.sender, d.recipient, d.awaits IS NOT NULL AS waits, min(d.id) AS first
			FROM (SELECT * FROM hedgerow.deferred w WHERE w.not_before <= now() ORDER BY w.not_before LIMIT 1000) d
			GROUP BY 1, 2, 3, 4) r ORDER BY r.queue, r.first LOOP
		-- Locked before they are counted: a receipt may come meanwhile, and seq has no gaps.
		SELECT array_agg(w.id) INTO ids FROM (SELECT d.id FROM hedgerow.deferred d WHERE d.queue = pair.queue
			AND d.sender = pair.sender AND d.recipient = pair.recipient AND (d.awaits IS NOT NULL) = pair.waits FOR UPDATE) w;
		added := coalesce(cardinality(ids), 0);
		CONTINUE WHEN added = 0;
		UPDATE hedgerow.queue q SET head = q.head + added WHERE q.id = pair.queue RETURNING q.head INTO STRICT top;
		WITH due AS (DELETE FROM hedgerow.deferred d WHERE d.id = ANY (ids) RETURNING d.*)
		INSERT INTO hedgerow.journal (part, queue, seq, expires, sender, recipient, envelope)
			SELECT current, d.queue, top - added + row_number() OVER (ORDER BY d.id), d.expires, d.sender, d.recipient,
				CASE WHEN d.awaits IS NULL THEN d.envelope ELSE hedgerow.envelope_copy(d.envelope) END
			FROM due d;
		PERFORM pg_notify('hedgerow_queue', pair.queue::text);
		total := total + added;
	END LOOP;
	RETURN total;
END $$;

---- Mail

-- A mail is about to be sent: remembered before it goes, so that whatever comes back finds it.
-- earlier: Message-IDs of the conversation, the oldest first. taken: it went before, with so many messages,
-- which is not known to the queue yet. stanza_id NULL: it is a copy, and nobody is told what becomes of it.
-- recipient: as the message has it. held: until when what is deferred of earlier messages (envelope_id: UUIDv7, in
-- order of time) of this conversation, or of all to this recipient, holds it.
CREATE FUNCTION hedgerow.mail_send(domain text, person text, peer text, message_id text, stanza_id text, sender text, thread text,
	subject text, recipient text DEFAULT NULL, envelope_id bytea DEFAULT NULL)
	RETURNS TABLE (id bigint, topic text, earlier text[], recent bigint, choice text, taken int, held timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	conversation hedgerow.mail_thread;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	conversation := hedgerow.mail_thread_of(mail_send.domain, mail_send.person, mail_send.peer, mail_send.thread, mail_send.subject);
	RETURN QUERY SELECT conversation.id, conversation.subject,
		ARRAY(SELECT e.message_id FROM (SELECT m.message_id, m.at FROM hedgerow.mail_message m
				WHERE m.thread = conversation.id AND m.message_id <> mail_send.message_id ORDER BY m.at DESC LIMIT 20) e ORDER BY e.at),
		hedgerow.mail_recent(conversation.id, false, mail_send.message_id),
		(SELECT c.mode FROM hedgerow.mail_choice c WHERE c.address = mail_send.person),
		coalesce((SELECT m.taken FROM hedgerow.mail_message m WHERE m.thread = conversation.id AND m.message_id = mail_send.message_id), 0),
		(SELECT max(d.not_before) FROM hedgerow.deferred d JOIN hedgerow.queue q ON q.id = d.queue
			WHERE q.name = 'mail:' || mail_send.domain AND d.recipient = mail_send.recipient AND d.awaits IS NULL
			AND d.envelope_id < mail_send.envelope_id AND (d.whole OR d.sender = mail_send.peer));
	INSERT INTO hedgerow.mail_message AS m (thread, message_id, incoming, stanza_id, sender)
		VALUES (conversation.id, mail_send.message_id, false, mail_send.stanza_id, mail_send.sender)
		ON CONFLICT ON CONSTRAINT mail_message_pkey DO UPDATE SET stanza_id = excluded.stanza_id WHERE m.stanza_id IS NULL;
END $$;

-- sent: what smarthosts took.
CREATE OR REPLACE VIEW hedgerow.mail_threads AS
	SELECT t.id, t.domain, t.person, t.peer, t.created_at, t.used_at,
		(SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = t.id AND NOT m.incoming AND m.taken > 0) AS sent,
		(SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = t.id AND m.incoming) AS received
	FROM hedgerow.mail_thread t ORDER BY t.used_at DESC;

REVOKE ALL ON FUNCTION hedgerow.journal_commit, hedgerow.envelope_copy, hedgerow.mail_send FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.journal_commit, hedgerow.envelope_copy, hedgerow.mail_send TO hedgerow_gateway;
