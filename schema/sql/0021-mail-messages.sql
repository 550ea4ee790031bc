-- SPDX-License-Identifier: Apache-2.0
-- What is remembered of mails: of what goes out every message that it says, since a report is an error for each of
-- them, once, and since a mail that may have arrived goes again as it was (with another message in it it would be dropped
-- where duplicates are, and that message with it); of what comes in nothing before it has become chat.

ALTER TABLE hedgerow.mail_message
	ADD reported_at timestamptz, -- a report was let through
	ADD is_reported boolean NOT NULL DEFAULT false, -- and is committed as an error
	ADD more_ids text[] NOT NULL DEFAULT '{}', -- of the messages after the first that can be answered
	ADD more_senders text[] NOT NULL DEFAULT '{}',
	ADD messages int NOT NULL DEFAULT 0; -- in it when it was let go; 0: it was not
DROP FUNCTION hedgerow.mail_send(text, text, text, text, text, text, text, text);
DROP FUNCTION hedgerow.mail_receive(text, text, text, text, text);

---- Out

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
		WHERE q.name = 'mail:' || mail_send.domain AND d.recipient = mail_send.recipient
			AND d.envelope_id < mail_send.envelope_id AND (d.whole OR d.awaits IS NULL AND d.sender = mail_send.peer));
	RETURN QUERY SELECT conversation.id, conversation.subject,
		ARRAY(SELECT e.message_id FROM (SELECT m.message_id, m.at FROM hedgerow.mail_message m
				WHERE m.thread = conversation.id AND m.message_id <> mail_send.message_id ORDER BY m.at DESC LIMIT 20) e ORDER BY e.at),
		past, (SELECT c.mode FROM hedgerow.mail_choice c WHERE c.address = mail_send.person),
		-- of a mail of copies, which may be fewer, only the first message is surely in it
		coalesce(CASE WHEN known.taken > 1 AND known.stanza_id IS NULL AND mail_send.stanza_id IS NOT NULL THEN 1 ELSE known.taken END, 0),
		behind,
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

-- A report says that the mail `message_id` of a conversation has failed: whose messages that were, and whether the
-- report may become errors: 'new': it may, 'told': one has already, 'busy': one is about to, 'capped': not within
-- this hour. One that was let through and not committed within a minute is forgotten: the MTA brings it again.
CREATE FUNCTION hedgerow.mail_report(thread bigint, message_id text, hourly int)
	RETURNS TABLE (person text, stanza_id text, sender text, standing text, more_ids text[], more_senders text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	whose text;
	mail hedgerow.mail_message;
	answer text;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	SELECT t.person INTO whose FROM hedgerow.mail_thread t WHERE t.id = mail_report.thread FOR UPDATE;
	SELECT m.* INTO mail FROM hedgerow.mail_message m
		WHERE m.thread = mail_report.thread AND m.message_id = mail_report.message_id AND NOT m.incoming;
	IF NOT FOUND OR mail.stanza_id IS NULL OR mail.sender IS NULL THEN
		RETURN;
	END IF;
	answer := CASE WHEN mail.is_reported THEN 'told'
		WHEN mail.reported_at > clock_timestamp() - interval '1 minute' THEN 'busy'
		WHEN (SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = mail.thread AND m.message_id <> mail.message_id
			AND m.reported_at > clock_timestamp() - interval '1 hour') >= mail_report.hourly THEN 'capped'
		ELSE 'new' END;
	IF answer = 'new' THEN
		UPDATE hedgerow.mail_message m SET reported_at = clock_timestamp() WHERE m.thread = mail.thread AND m.message_id = mail.message_id;
	END IF;
	RETURN QUERY SELECT whose, mail.stanza_id, mail.sender, answer, mail.more_ids, mail.more_senders;
END $$;

-- The error is committed.
CREATE FUNCTION hedgerow.mail_reported(thread bigint, message_id text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	UPDATE hedgerow.mail_message AS m SET is_reported = true
		WHERE m.thread = mail_reported.thread AND m.message_id = mail_reported.message_id;
END;

---- In

-- What a mail of `person` to `peer` needs to know. No row: it begins the conversation.
CREATE FUNCTION hedgerow.mail_conversation(domain text, person text, peer text, message_id text)
	RETURNS TABLE (thread text, recent bigint)
LANGUAGE sql STABLE AS $$
	SELECT t.thread, hedgerow.mail_recent(t.id, true, mail_conversation.message_id) FROM hedgerow.mail_thread t
		WHERE t.domain = mail_conversation.domain AND t.person = mail_conversation.person AND t.peer = mail_conversation.peer
$$;

-- A mail has become chat.
CREATE FUNCTION hedgerow.mail_receive(domain text, person text, peer text, message_id text, subject text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	INSERT INTO hedgerow.mail_message (thread, message_id, incoming)
		SELECT t.id, mail_receive.message_id, true
			FROM hedgerow.mail_thread_of(mail_receive.domain, mail_receive.person, mail_receive.peer, NULL, mail_receive.subject) t
		ON CONFLICT DO NOTHING;
END;

---- For operators

-- sent: what smarthosts took.
CREATE OR REPLACE VIEW hedgerow.mail_threads AS
	SELECT t.id, t.domain, t.person, t.peer, t.created_at, t.used_at,
		(SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = t.id AND NOT m.incoming AND m.taken > 0) AS sent,
		(SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = t.id AND m.incoming) AS received
	FROM hedgerow.mail_thread t ORDER BY t.used_at DESC;

REVOKE ALL ON FUNCTION hedgerow.mail_send, hedgerow.mail_report, hedgerow.mail_reported, hedgerow.mail_conversation, hedgerow.mail_receive
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_send, hedgerow.mail_report, hedgerow.mail_reported, hedgerow.mail_conversation,
	hedgerow.mail_receive TO hedgerow_gateway;
