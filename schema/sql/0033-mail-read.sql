-- SPDX-License-Identifier: Apache-2.0
-- A copy for who is away still awaits its receipt when the smarthost has deferred it, or the hourly bound: who has read
-- it meanwhile is not mailed. One that the smarthost has deferred is `whole`, holds what follows, and is due by itself.

-- Appends what has fallen due to its queue, and with it all else of the same sender and recipient that
-- is deferred for the same reason (a copy that nothing was tried with yet; one that the smarthost deferred; what is
-- no copy), in the order in which it was deferred: where nothing in the queue, which is short, is for that recipient.
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
	-- Locked, so that nothing joins a queue after it was looked through.
	FOR target IN SELECT q.id, q.acked FROM hedgerow.queue q WHERE q.head - q.acked < 1000
			AND q.id IN (SELECT d.queue FROM hedgerow.deferred d WHERE d.not_before <= now()) ORDER BY q.id FOR UPDATE LOOP
		SELECT array_agg(DISTINCT split_part(j.recipient, '/', 1)) INTO busy
			FROM hedgerow.journal j WHERE j.queue = target.id AND j.seq > target.acked;
		FOR pair IN SELECT r.sender, r.recipient, r.waits, r.tried FROM (
				SELECT d.sender, d.recipient, d.awaits IS NOT NULL AS waits,
					d.awaits IS NOT NULL AND d.whole AS tried, min(d.id) AS first
				FROM (SELECT * FROM hedgerow.deferred w WHERE w.queue = target.id AND w.not_before <= now()
					AND w.recipient NOT IN (SELECT unnest(busy)) ORDER BY w.not_before LIMIT 1000) d
				GROUP BY 1, 2, 3, 4) r ORDER BY r.first LOOP
			-- Locked before they are counted: a receipt may come meanwhile, and seq has no gaps.
			SELECT array_agg(w.id) INTO ids FROM (SELECT d.id FROM hedgerow.deferred d WHERE d.queue = target.id
				AND d.sender = pair.sender AND d.recipient = pair.recipient AND (d.awaits IS NOT NULL) = pair.waits
				AND (d.awaits IS NOT NULL AND d.whole) = pair.tried FOR UPDATE) w;
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

-- A mail is about to be sent: remembered before it goes, so that whatever comes back finds it.
-- earlier: Message-IDs of the conversation, the oldest first. taken: it went before, with so many messages,
-- which is not known to the queue yet. stanza_id NULL: it is a copy, and nobody is told what becomes of it.
-- recipient: as the message has it. held: until when what is deferred of earlier messages (envelope_id: UUIDv7, in
-- order of time) of this conversation, or of all to this recipient, holds it. more_*: of the messages in it after
-- the first. messages: how many it has. tried: how many it had when it was let go before, if that was less: it may have
-- arrived, so what came later is another mail; nothing is remembered then. It is let go unless it is held or
-- the conversation has had its mails of the hour.
CREATE OR REPLACE FUNCTION hedgerow.mail_send(domain text, person text, peer text, message_id text, stanza_id text, sender text, thread text,
	subject text, recipient text DEFAULT NULL, envelope_id bytea DEFAULT NULL, more_ids text[] DEFAULT '{}', more_senders text[] DEFAULT '{}',
	messages int DEFAULT 0, hourly int DEFAULT 0)
	RETURNS TABLE (id bigint, topic text, earlier text[], recent bigint, choice text, taken int, held timestamptz, tried int)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	conversation hedgerow.mail_thread;
	known hedgerow.mail_message;
	behind timestamptz;
	past bigint;
	let_go boolean;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	conversation := hedgerow.mail_thread_of(mail_send.domain, mail_send.person, mail_send.peer, mail_send.thread, mail_send.subject);
	SELECT m.* INTO known FROM hedgerow.mail_message m WHERE m.thread = conversation.id AND m.message_id = mail_send.message_id;
	past := hedgerow.mail_recent(conversation.id, false, mail_send.message_id);
	behind := (SELECT max(d.not_before) FROM hedgerow.deferred d JOIN hedgerow.queue q ON q.id = d.queue
		WHERE q.name = 'mail:' || mail_send.domain AND d.recipient = mail_send.recipient
			AND d.envelope_id < mail_send.envelope_id AND (d.whole OR d.awaits IS NULL AND d.sender = mail_send.peer));
	RETURN QUERY SELECT conversation.id, conversation.subject,
		ARRAY(SELECT e.message_id FROM (SELECT m.message_id, m.at FROM hedgerow.mail_message m
				WHERE m.thread = conversation.id AND m.message_id <> mail_send.message_id ORDER BY m.at DESC LIMIT 20) e ORDER BY e.at),
		past, (SELECT c.mode FROM hedgerow.mail_choice c WHERE c.address = mail_send.person), coalesce(known.taken, 0), behind,
		CASE WHEN known.messages < mail_send.messages THEN known.messages ELSE 0 END;
	IF known.messages > 0 AND known.messages < mail_send.messages THEN
		RETURN;
	END IF;
	let_go := behind IS NULL AND past < mail_send.hourly;
	INSERT INTO hedgerow.mail_message AS m (thread, message_id, incoming, stanza_id, sender, more_ids, more_senders, messages)
		VALUES (conversation.id, mail_send.message_id, false, mail_send.stanza_id, mail_send.sender, mail_send.more_ids, mail_send.more_senders,
			CASE WHEN let_go THEN mail_send.messages ELSE 0 END)
		ON CONFLICT ON CONSTRAINT mail_message_pkey DO UPDATE
			SET stanza_id = excluded.stanza_id, more_ids = excluded.more_ids, more_senders = excluded.more_senders,
				messages = greatest(m.messages, excluded.messages)
			WHERE m.stanza_id IS NULL OR m.taken = 0;
END $$;
