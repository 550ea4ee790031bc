-- SPDX-License-Identifier: Apache-2.0
-- What is remembered of a mail that came is written once it has become chat, not before rules and bounds have
-- decided: a mail that is refused leaves nothing, and does not count.

-- What a mail of `person` to `peer` needs to know. No row: it begins the conversation.
CREATE FUNCTION hedgerow.mail_conversation(domain text, person text, peer text, message_id text)
	RETURNS TABLE (thread text, recent bigint)
LANGUAGE sql STABLE AS $$
	SELECT t.thread, hedgerow.mail_recent(t.id, true, mail_conversation.message_id) FROM hedgerow.mail_thread t
		WHERE t.domain = mail_conversation.domain AND t.person = mail_conversation.person AND t.peer = mail_conversation.peer
$$;

-- A mail has become chat.
DROP FUNCTION hedgerow.mail_receive(text, text, text, text, text);
CREATE FUNCTION hedgerow.mail_receive(domain text, person text, peer text, message_id text, subject text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	INSERT INTO hedgerow.mail_message (thread, message_id, incoming)
		SELECT t.id, mail_receive.message_id, true
			FROM hedgerow.mail_thread_of(mail_receive.domain, mail_receive.person, mail_receive.peer, NULL, mail_receive.subject) t
		ON CONFLICT DO NOTHING;
END;

REVOKE ALL ON FUNCTION hedgerow.mail_conversation, hedgerow.mail_receive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_conversation, hedgerow.mail_receive TO hedgerow_gateway;
