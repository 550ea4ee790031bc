-- SPDX-License-Identifier: Apache-2.0
-- A mail that may have arrived goes again as it was: with another message in it under the same Message-ID it would
-- be dropped where duplicates are, and that message with it.

ALTER TABLE hedgerow.mail_message ADD messages int NOT NULL DEFAULT 0; -- in it when it was let go; 0: it was not
DROP FUNCTION hedgerow.mail_send(text, text, text, text, text, text, text, text, text, bytea, text[], text[]);

-- A mail is about to be sent: remembered before it goes, so that whatever comes back finds it.
-- earlier: Message-IDs of the conversation, the oldest first. taken: it went before, with so many messages,
-- which is not known to the queue yet. stanza_id NULL: it is a copy, and nobody is told what becomes of it.
-- recipient: as the message has it. held: until when what is deferred of earlier messages (envelope_id: UUIDv7, in
-- order of time) of this conversation, or of all to this recipient, holds it. more_*: of the messages in it after
-- the first. messages: how many it has. tried: how many it had when it was let go before, if that was less: it may have
-- arrived, so what came later is another mail; nothing is remembered then. It is let go unless it is held or
-- the conversation has had its mails of the hour.
CREATE FUNCTION hedgerow.mail_send(domain text, person text, peer text, message_id text, stanza_id text, sender text, thread text,
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
		WHERE q.name = 'mail:' || mail_send.domain AND d.recipient = mail_send.recipient AND d.awaits IS NULL
			AND d.envelope_id < mail_send.envelope_id AND (d.whole OR d.sender = mail_send.peer));
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

REVOKE ALL ON FUNCTION hedgerow.mail_send FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_send TO hedgerow_gateway;
