-- SPDX-License-Identifier: Apache-2.0
-- Delivery reports that come by mail: one error for each message, however many reports speak of it,
-- and no more in an hour than the conversation may have mails.

ALTER TABLE hedgerow.mail_message
	ADD reported_at timestamptz,			  -- a report was let through
	ADD is_reported boolean NOT NULL DEFAULT false;	  -- and is committed as an error

-- A report says that the mail `message_id` of a conversation has failed: whose message that was, and whether the
-- report may become an error: 'new': it may, 'told': one has already, 'busy': one is about to, 'capped': not within
-- this hour. One that was let through and not committed within a minute is forgotten: the MTA brings it again.
CREATE FUNCTION hedgerow.mail_report(thread bigint, message_id text, hourly int)
	RETURNS TABLE (person text, stanza_id text, sender text, standing text)
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
	RETURN QUERY SELECT whose, mail.stanza_id, mail.sender, answer;
END $$;

-- The error is committed.
CREATE FUNCTION hedgerow.mail_reported(thread bigint, message_id text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	UPDATE hedgerow.mail_message AS m SET is_reported = true
		WHERE m.thread = mail_reported.thread AND m.message_id = mail_reported.message_id;
END;

REVOKE ALL ON FUNCTION hedgerow.mail_report, hedgerow.mail_reported FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_report, hedgerow.mail_reported TO hedgerow_gateway;
