-- SPDX-License-Identifier: Apache-2.0
-- A report of a mail that says several messages is an error for each of them.

ALTER TABLE hedgerow.mail_message -- of the messages after the first that can be answered
	ADD more_ids text[] NOT NULL DEFAULT '{}',
	ADD more_senders text[] NOT NULL DEFAULT '{}';
DROP FUNCTION hedgerow.mail_send(text, text, text, text, text, text, text, text, text, bytea);
DROP FUNCTION hedgerow.mail_report(bigint, text, int);

-- A mail is about to be sent: remembered before it goes, so that whatever comes back finds it.
-- earlier: Message-IDs of the conversation, the oldest first. taken: it went before, with so many messages,
-- which is not known to the queue yet. stanza_id NULL: it is a copy, and nobody is told what becomes of it.
-- recipient: as the message has it. held: until when what is deferred of earlier messages (envelope_id: UUIDv7, in
-- order of time) of this conversation, or of all to this recipient, holds it. more_*: of the messages in it after
-- the first; as long as no smarthost has taken it, it may become another mail than it was.
CREATE FUNCTION hedgerow.mail_send(domain text, person text, peer text, message_id text, stanza_id text, sender text, thread text,
	subject text, recipient text DEFAULT NULL, envelope_id bytea DEFAULT NULL, more_ids text[] DEFAULT '{}', more_senders text[] DEFAULT '{}')
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
	INSERT INTO hedgerow.mail_message AS m (thread, message_id, incoming, stanza_id, sender, more_ids, more_senders)
		VALUES (conversation.id, mail_send.message_id, false, mail_send.stanza_id, mail_send.sender, mail_send.more_ids, mail_send.more_senders)
		ON CONFLICT ON CONSTRAINT mail_message_pkey DO UPDATE
			SET stanza_id = excluded.stanza_id, more_ids = excluded.more_ids, more_senders = excluded.more_senders
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

REVOKE ALL ON FUNCTION hedgerow.mail_send, hedgerow.mail_report FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_send, hedgerow.mail_report TO hedgerow_gateway;
