-- SPDX-License-Identifier: Apache-2.0
-- Mail: what a site remembers of conversations that go by mail, and what operators set. The
-- settings of a domain are in the federation table mail_domain; the tables here are local.

INSERT INTO hedgerow.setting (name, value, kind, meaning) VALUES
	('mail_retain', '90 days', 'interval', 'a conversation by mail is forgotten when it was not used for this long');

-- One conversation between somebody who writes mail and somebody who chats. Its id is in the reply
-- addresses, and drawn: what is remembered for a mail is not flushed for each (a crash of PostgreSQL may
-- forget the last conversations that began), and no other conversation may ever get the id.
CREATE TABLE hedgerow.mail_thread (
	id bigint PRIMARY KEY DEFAULT hashtextextended(gen_random_uuid()::text, 0) & 9223372036854775807,
	domain text NOT NULL,
	person text NOT NULL, -- who writes mail
	peer text NOT NULL,   -- who chats
	thread text,	      -- as the chat's client calls it
	subject text,
	created_at timestamptz NOT NULL DEFAULT now(),
	used_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (domain, person, peer)
);
CREATE INDEX mail_thread_used ON hedgerow.mail_thread (used_at);

-- Its mails, by Message-ID. stanza_id and sender (full) are those of the message that a mail says.
CREATE TABLE hedgerow.mail_message (
	thread bigint NOT NULL REFERENCES hedgerow.mail_thread ON DELETE CASCADE,
	message_id text NOT NULL,
	incoming boolean NOT NULL,
	stanza_id text,
	sender text,
	taken int NOT NULL DEFAULT 0, -- how many messages were in it when the smarthost took it; 0: it did not yet
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (thread, message_id)
);
CREATE INDEX mail_message_at ON hedgerow.mail_message (thread, at);

-- Mails that became chat, whole, where mail_domain.originals says so: a chat shows the best part of them only.
CREATE TABLE hedgerow.mail_original (
	domain text NOT NULL,
	message_id text NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	mail bytea NOT NULL,
	PRIMARY KEY (domain, message_id)
);
CREATE INDEX mail_original_at ON hedgerow.mail_original (at);

-- What people have chosen for themselves.
CREATE TABLE hedgerow.mail_choice (
	address text PRIMARY KEY,
	mode text NOT NULL CHECK (mode IN ('off', 'notice', 'full')),
	changed_at timestamptz NOT NULL DEFAULT now()
);

-- The conversation of `person` (mail) and `peer` (chat); made when there is none. The last subject counts.
CREATE FUNCTION hedgerow.mail_thread_of(domain text, person text, peer text, thread text, subject text) RETURNS hedgerow.mail_thread
LANGUAGE sql AS $$
	INSERT INTO hedgerow.mail_thread AS t (domain, person, peer, thread, subject)
		VALUES (mail_thread_of.domain, mail_thread_of.person, mail_thread_of.peer, mail_thread_of.thread, nullif(mail_thread_of.subject, ''))
		ON CONFLICT ON CONSTRAINT mail_thread_domain_person_peer_key DO UPDATE SET used_at = now(),
			thread = coalesce(excluded.thread, t.thread), subject = coalesce(excluded.subject, t.subject)
		RETURNING t.*
$$;

-- How many mails of a conversation went one way in the last hour. What waits has not gone.
CREATE FUNCTION hedgerow.mail_recent(thread bigint, incoming boolean, but text) RETURNS bigint
LANGUAGE sql STABLE AS $$
	SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = mail_recent.thread AND m.incoming = mail_recent.incoming
		AND (m.incoming OR m.taken > 0) AND m.message_id <> mail_recent.but AND m.at > now() - interval '1 hour'
$$;

-- A mail is about to be sent: remembered before it goes, so that whatever comes back finds it.
-- earlier: Message-IDs of the conversation, the oldest first. taken: it went before, with so many messages,
-- which is not known to the queue yet.
CREATE FUNCTION hedgerow.mail_send(domain text, person text, peer text, message_id text, stanza_id text, sender text, thread text,
	subject text) RETURNS TABLE (id bigint, topic text, earlier text[], recent bigint, choice text, taken int)
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
		coalesce((SELECT m.taken FROM hedgerow.mail_message m WHERE m.thread = conversation.id AND m.message_id = mail_send.message_id), 0);
	INSERT INTO hedgerow.mail_message (thread, message_id, incoming, stanza_id, sender)
		VALUES (conversation.id, mail_send.message_id, false, mail_send.stanza_id, mail_send.sender) ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION hedgerow.mail_taken(thread bigint, message_id text, messages int) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	UPDATE hedgerow.mail_message AS m SET taken = messages, at = clock_timestamp()
		WHERE m.thread = mail_taken.thread AND m.message_id = mail_taken.message_id;
END;

-- Whose conversation a reply address names, and, when `message_id` is one of its mails, what that said.
CREATE FUNCTION hedgerow.mail_find(thread bigint, message_id text DEFAULT NULL)
	RETURNS TABLE (domain text, person text, peer text, stanza_id text, sender text)
LANGUAGE sql STABLE AS $$
	SELECT t.domain, t.person, t.peer, m.stanza_id, m.sender FROM hedgerow.mail_thread t
		LEFT JOIN hedgerow.mail_message m ON m.thread = t.id AND m.message_id = mail_find.message_id
		WHERE t.id = mail_find.thread
$$;

-- A mail is about to become chat. The commit of the journal that follows makes this one durable as well.
CREATE FUNCTION hedgerow.mail_receive(domain text, person text, peer text, message_id text, subject text)
	RETURNS TABLE (id bigint, thread text, recent bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	conversation hedgerow.mail_thread;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	conversation := hedgerow.mail_thread_of(mail_receive.domain, mail_receive.person, mail_receive.peer, NULL, mail_receive.subject);
	RETURN QUERY SELECT conversation.id, conversation.thread, hedgerow.mail_recent(conversation.id, true, mail_receive.message_id);
	INSERT INTO hedgerow.mail_message (thread, message_id, incoming)
		VALUES (conversation.id, mail_receive.message_id, true) ON CONFLICT DO NOTHING;
END $$;

-- Before mail_receive. A mail that comes again is kept as it came first.
CREATE FUNCTION hedgerow.mail_keep(domain text, message_id text, mail bytea) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	INSERT INTO hedgerow.mail_original (domain, message_id, mail) VALUES (mail_keep.domain, mail_keep.message_id, mail_keep.mail)
		ON CONFLICT ON CONSTRAINT mail_original_pkey DO NOTHING;
END;

CREATE FUNCTION hedgerow.mail_choose(address text, mode text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM hedgerow.mail_choice c WHERE mail_choose.mode = '' AND c.address = mail_choose.address;
	INSERT INTO hedgerow.mail_choice (address, mode) SELECT mail_choose.address, mail_choose.mode WHERE mail_choose.mode <> ''
		ON CONFLICT ON CONSTRAINT mail_choice_pkey DO UPDATE SET mode = excluded.mode, changed_at = now();
END;

CREATE FUNCTION hedgerow.mail_chosen(address text) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT c.mode FROM hedgerow.mail_choice c WHERE c.address = mail_chosen.address);

CREATE FUNCTION hedgerow.mail_forget() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	gone bigint;
BEGIN
	DELETE FROM hedgerow.mail_thread t WHERE t.id IN (SELECT o.id FROM hedgerow.mail_thread o
		WHERE o.used_at < now() - hedgerow.setting_value('mail_retain')::interval ORDER BY o.used_at LIMIT 1000);
	GET DIAGNOSTICS gone = ROW_COUNT;
	DELETE FROM hedgerow.mail_original o WHERE (o.domain, o.message_id) IN (SELECT t.domain, t.message_id FROM hedgerow.mail_original t
		LEFT JOIN hedgerow.mail_domain m ON m.site = hedgerow.local_site() AND m.domain = t.domain
		WHERE t.at < now() - coalesce(m.originals, '0') ORDER BY t.at LIMIT 1000);
	RETURN gone;
END $$;

-- Nobody looks for receipts where no mail goes to who is away: the copies that wait for them go.
CREATE FUNCTION hedgerow.drop_copies() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NEW.site = hedgerow.local_site() THEN
		DELETE FROM hedgerow.deferred d USING hedgerow.queue q
			WHERE q.name = 'mail:' || NEW.domain AND d.queue = q.id AND d.awaits IS NOT NULL;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER drop_copies AFTER UPDATE ON hedgerow.mail_domain FOR EACH ROW
	WHEN (OLD.away IS NOT NULL AND NEW.away IS NULL) EXECUTE FUNCTION hedgerow.drop_copies();

---- Operators

CREATE FUNCTION hedgerow.mail_original(message_id text) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found bytea;
BEGIN
	SELECT o.mail INTO found FROM hedgerow.mail_original o
		WHERE o.message_id = btrim(mail_original.message_id, '<>') ORDER BY o.at DESC LIMIT 1;
	IF found IS NULL THEN
		PERFORM hedgerow.refuse(format('no mail with the Message-ID %s is kept here', message_id),
			'see: hedgerow mail originals; whether they are kept says: hedgerow domain mail set DOMAIN originals=INTERVAL');
	END IF;
	RETURN found;
END $$;

-- carrier NULL: this site; port NULL: that of tls.
CREATE FUNCTION hedgerow.add_mail_domain(domain text, carrier text DEFAULT NULL, chat_domain text DEFAULT NULL, smarthost text DEFAULT NULL,
	port int DEFAULT NULL, tls text DEFAULT NULL, ca text DEFAULT NULL, username text DEFAULT NULL, secret text DEFAULT NULL,
	from_address text DEFAULT NULL, reply_key text DEFAULT NULL, reply_key_previous text DEFAULT NULL, reply_life interval DEFAULT '14 days',
	authserv_id text DEFAULT NULL, relays text[] DEFAULT '{}', mode text DEFAULT 'full', away interval DEFAULT NULL,
	digest int DEFAULT 20, hourly int DEFAULT 60, languages text[] DEFAULT '{en}', attachments text DEFAULT 'name',
	outsiders boolean DEFAULT false, originals interval DEFAULT NULL) RETURNS hedgerow.mail_domain
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	made hedgerow.mail_domain;
	here text := hedgerow.local_site();
	ours boolean := coalesce(add_mail_domain.carrier, here) = here;
BEGIN
	INSERT INTO hedgerow.mail_domain (site, domain, carrier, chat_domain, smarthost, port, tls, ca, username, secret, from_address,
			reply_key, reply_key_previous, reply_life, authserv_id, relays, mode, away, digest, hourly, languages, attachments, outsiders, originals)
		VALUES (here, add_mail_domain.domain, coalesce(add_mail_domain.carrier, here), add_mail_domain.chat_domain, add_mail_domain.smarthost,
			CASE WHEN ours THEN coalesce(add_mail_domain.port, CASE add_mail_domain.tls WHEN 'tls' THEN 465 WHEN 'none' THEN 25 ELSE 587 END) END,
			CASE WHEN ours THEN coalesce(add_mail_domain.tls, 'starttls') END, add_mail_domain.ca, add_mail_domain.username,
			add_mail_domain.secret, coalesce(add_mail_domain.from_address, CASE WHEN ours THEN 'chat@' || add_mail_domain.chat_domain END),
			CASE WHEN ours THEN coalesce(add_mail_domain.reply_key, 'mail-reply.key') END, add_mail_domain.reply_key_previous, add_mail_domain.reply_life,
			add_mail_domain.authserv_id, add_mail_domain.relays, add_mail_domain.mode, add_mail_domain.away, add_mail_domain.digest,
			add_mail_domain.hourly, add_mail_domain.languages, add_mail_domain.attachments, add_mail_domain.outsiders,
			add_mail_domain.originals)
		RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse(format('the mail of %s is set up already', domain), format('change it with: hedgerow domain mail set %s FIELD=VALUE', domain));
END $$;

CREATE FUNCTION hedgerow.remove_mail_domain(domain text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM hedgerow.mail_domain m WHERE m.site = hedgerow.local_site() AND m.domain = remove_mail_domain.domain;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('the mail of %s is not set up at this site', domain), 'see: hedgerow domain mail list');
	END IF;
END $$;

-- What would become of a message to `address`, in words. Nothing is sent.
CREATE FUNCTION hedgerow.mail_test(address text) RETURNS TABLE (question text, answer text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	wanted text := lower(mail_test.address);
	person record;
	ours hedgerow.mail_domain;
	settings hedgerow.mail_domain;
	chosen text;
	mode text;
BEGIN
	SELECT l.* INTO person FROM hedgerow.lookup_addresses(ARRAY[wanted]) l WHERE l.address IS NOT NULL;
	IF NOT FOUND THEN
		RETURN QUERY VALUES ('who is it', 'nobody in the registry has this address'),
			('mail', CASE WHEN EXISTS (SELECT FROM hedgerow.mail_domain m WHERE m.outsiders AND m.site = hedgerow.local_site())
				THEN 'as an outsider, where a rule outsider:... allows it' ELSE 'none' END);
		RETURN;
	END IF;
	RETURN QUERY VALUES ('who is it', coalesce(person.name || ', ', '') || person.address),
		('chat', CASE WHEN NOT person.enabled THEN 'disabled' WHEN person.installation IS NULL OR person.native IS NULL THEN 'no installation'
			ELSE format('installation "%s" of site "%s"', person.installation, person.site) END);
	SELECT * INTO ours FROM hedgerow.mail_domain m WHERE m.site = person.site AND m.domain = hedgerow.domain_of(person.address);
	IF NOT FOUND THEN
		RETURN QUERY VALUES ('mail', format('none: site "%s" has not set up the mail of %s (hedgerow domain mail add)', person.site, hedgerow.domain_of(person.address)));
		RETURN;
	END IF;
	SELECT * INTO settings FROM hedgerow.mail_domain m WHERE m.site = ours.carrier AND m.domain = ours.domain AND m.carrier = m.site;
	IF NOT FOUND THEN
		RETURN QUERY VALUES ('mail', format('none: site "%s" carries it and has not set it up', ours.carrier));
		RETURN;
	END IF;
	SELECT c.mode INTO chosen FROM hedgerow.mail_choice c WHERE c.address = person.address;
	mode := CASE WHEN settings.mode = 'off' OR chosen = 'off' THEN 'off' WHEN 'notice' IN (settings.mode, chosen) THEN 'notice' ELSE 'full' END;
	RETURN QUERY VALUES ('carried by', format('site "%s" through %s port %s, %s', settings.site, settings.smarthost, settings.port, settings.tls)),
		('when', CASE WHEN NOT person.enabled OR mode = 'off' THEN 'never'
			WHEN person.installation IS NULL OR person.native IS NULL THEN 'at once'
			WHEN ours.away IS NULL OR ours.carrier <> ours.site THEN 'never: mail for who is away is not set up'
			ELSE format('when no receipt has come after %s', ours.away) END),
		('what', CASE mode WHEN 'off' THEN 'nothing' WHEN 'notice' THEN 'a notice of who wrote' ELSE 'the text' END
			|| CASE WHEN chosen IS NOT NULL THEN format(' (the domain has %s, the person chose %s)', settings.mode, chosen) ELSE '' END),
		('from', settings.from_address), ('to', person.address), ('replies to', 'a signed address of ' || settings.chat_domain),
		('waiting', (SELECT format('%s in the queue, %s deferred, %s for a receipt',
				(SELECT coalesce(sum(q.head - q.acked), 0) FROM hedgerow.queue q WHERE q.name = 'mail:' || ours.domain),
				count(*) FILTER (WHERE d.awaits IS NULL), count(*) FILTER (WHERE d.awaits IS NOT NULL))
			FROM hedgerow.deferred d WHERE d.recipient = person.address));
END $$;

-- The lines for Postfix. `listen`: as in gateway.ini, section mail. Debian's Postfix runs its LMTP client in a
-- chroot, which sees no socket outside: TCP is what works everywhere.
CREATE FUNCTION hedgerow.mail_config(domain text, listen text DEFAULT '127.0.0.1:2424') RETURNS SETOF text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	m hedgerow.mail_domain;
	hop text;
BEGIN
	SELECT * INTO m FROM hedgerow.mail_domain t WHERE t.site = hedgerow.local_site() AND t.domain = mail_config.domain AND t.carrier = t.site;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('this site does not carry the mail of %s', domain), 'see: hedgerow domain mail list');
	END IF;
	hop := CASE WHEN listen LIKE 'unix:%' THEN 'lmtp:' || listen ELSE 'lmtp:inet:' || listen END;
	RETURN NEXT format('# Postfix, for mail to people of %s in the chat. In DNS, MX of %s is this server.', m.domain, m.chat_domain);
	RETURN NEXT '# main.cf:';
	RETURN NEXT 'transport_maps = hash:/etc/postfix/transport';
	RETURN NEXT format('relay_domains = %s', m.chat_domain);
	RETURN NEXT '# recipients are checked by the gateway before the mail is taken:';
	RETURN NEXT 'smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, reject_unverified_recipient';
	RETURN NEXT 'unverified_recipient_reject_code = 550';
	RETURN NEXT '# many recipients in one transaction, and the client''s address for relays:';
	RETURN NEXT 'lmtp_destination_recipient_limit = 1000';
	RETURN NEXT 'lmtp_send_xforward_command = yes';
	RETURN NEXT '# milters in this order, the one that knows DMARC last, so that its result stands topmost:';
	RETURN NEXT format('#   SPF, DKIM, DMARC; all with the authserv-id %s', coalesce(m.authserv_id, '(none is set: hedgerow domain mail set ' || m.domain || ' authserv_id=NAME)'));
	RETURN NEXT '#   and each must remove Authentication-Results that came with that id.';
	RETURN NEXT 'smtpd_milters = inet:127.0.0.1:8892, inet:127.0.0.1:8891, inet:127.0.0.1:8893';
	RETURN NEXT '# /etc/postfix/transport (then: postmap /etc/postfix/transport):';
	RETURN NEXT format('%s	%s', m.chat_domain, hop);
	RETURN NEXT format('# gateway.ini, section [mail]: listen = %s', listen);
	RETURN NEXT format('# and %s must be allowed to send as %s and with any sender of %s.', m.smarthost, m.from_address, m.chat_domain);
END $$;

CREATE VIEW hedgerow.mail_domains AS
	SELECT m.site, m.domain, m.carrier, m.chat_domain, m.smarthost, m.port, m.tls, m.ca, m.username, m.secret, m.from_address,
		m.reply_key, m.reply_key_previous, m.reply_life, m.authserv_id, m.relays, m.mode, m.away, m.digest, m.hourly, m.languages,
		m.attachments, m.originals, m.outsiders
	FROM hedgerow.mail_domain m ORDER BY m.site <> hedgerow.local_site(), m.site, m.domain;

CREATE VIEW hedgerow.mail_status AS
	SELECT m.domain, coalesce(s.state, 'no gateway') AS state, s.since, s.detail, s.node, coalesce(q.head - q.acked, 0) AS queued,
		(SELECT count(*) FROM hedgerow.deferred d WHERE d.queue = q.id AND d.awaits IS NULL) AS deferred,
		(SELECT count(*) FROM hedgerow.deferred d WHERE d.queue = q.id AND d.awaits IS NOT NULL) AS waiting_for_receipt,
		(SELECT count(*) FROM hedgerow.mail_thread t WHERE t.domain = m.domain) AS conversations
	FROM hedgerow.mail_domain m
	LEFT JOIN hedgerow.live_status s ON s.kind = 'mail' AND s.name = m.domain
	LEFT JOIN hedgerow.queue q ON q.name = 'mail:' || m.domain
	WHERE m.site = hedgerow.local_site() AND m.carrier = m.site ORDER BY m.domain;

CREATE VIEW hedgerow.mail_threads AS
	SELECT t.id, t.domain, t.person, t.peer, t.created_at, t.used_at,
		(SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = t.id AND NOT m.incoming) AS sent,
		(SELECT count(*) FROM hedgerow.mail_message m WHERE m.thread = t.id AND m.incoming) AS received
	FROM hedgerow.mail_thread t ORDER BY t.used_at DESC;

CREATE VIEW hedgerow.mail_originals AS
	SELECT o.domain, o.message_id, o.at, octet_length(o.mail) AS bytes FROM hedgerow.mail_original o ORDER BY o.at DESC;

---- Rights

GRANT SELECT ON hedgerow.mail_domains, hedgerow.mail_status, hedgerow.mail_threads, hedgerow.mail_originals TO hedgerow_reader, hedgerow_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON hedgerow.mail_thread, hedgerow.mail_message, hedgerow.mail_original, hedgerow.mail_choice TO hedgerow_gateway;
REVOKE ALL ON FUNCTION hedgerow.mail_thread_of, hedgerow.mail_recent, hedgerow.mail_send, hedgerow.mail_taken, hedgerow.mail_find, hedgerow.mail_receive,
	hedgerow.mail_keep, hedgerow.mail_original, hedgerow.mail_choose, hedgerow.mail_chosen, hedgerow.mail_forget, hedgerow.add_mail_domain, hedgerow.remove_mail_domain,
	hedgerow.mail_test, hedgerow.mail_config, hedgerow.drop_copies FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_thread_of, hedgerow.mail_recent, hedgerow.mail_send, hedgerow.mail_taken, hedgerow.mail_find, hedgerow.mail_receive,
	hedgerow.mail_keep, hedgerow.mail_choose, hedgerow.mail_chosen, hedgerow.mail_forget, hedgerow.setting_value TO hedgerow_gateway;
GRANT SELECT ON hedgerow.setting TO hedgerow_gateway;
GRANT EXECUTE ON FUNCTION hedgerow.add_mail_domain, hedgerow.remove_mail_domain, hedgerow.mail_config, hedgerow.mail_original TO hedgerow_operator;
GRANT EXECUTE ON FUNCTION hedgerow.mail_test TO hedgerow_operator, hedgerow_reader;

COMMENT ON TABLE hedgerow.mail_thread IS 'Conversations by mail. Local';
COMMENT ON TABLE hedgerow.mail_message IS 'The mails of conversations, by Message-ID. Local';
COMMENT ON TABLE hedgerow.mail_original IS 'Mails that became chat, whole, for as long as mail_domain.originals says. Local';
COMMENT ON TABLE hedgerow.mail_choice IS 'What people have chosen about mail for themselves. Local';
COMMENT ON VIEW hedgerow.mail_domains IS 'How the mail of e-mail domains is carried, at all sites';
COMMENT ON VIEW hedgerow.mail_status IS 'The mail that this site carries: state, what waits';
COMMENT ON VIEW hedgerow.mail_threads IS 'Conversations by mail, the last used first';
COMMENT ON VIEW hedgerow.mail_originals IS 'Mails that are kept whole, the newest first';
COMMENT ON FUNCTION hedgerow.mail_original IS 'A mail that is kept, as it came';
COMMENT ON FUNCTION hedgerow.add_mail_domain IS 'Sets up the mail of an e-mail domain, carried by this site or another';
COMMENT ON FUNCTION hedgerow.remove_mail_domain IS 'Ends the mail of an e-mail domain at this site';
COMMENT ON FUNCTION hedgerow.mail_test IS 'What would become of a message to an address, and why';
COMMENT ON FUNCTION hedgerow.mail_config IS 'The lines for Postfix';
