-- SPDX-License-Identifier: Apache-2.0
-- hedgerow mail test: what would become of a message, why, and the mail itself. The why is said here; the
-- mail is composed by the gateway that would send it: asked for in the table mail_trial, by NOTIFY.

CREATE UNLOGGED TABLE hedgerow.mail_trial (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	recipient text NOT NULL,
	sender text, -- NULL: an example
	body text NOT NULL,
	asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	outcome text CHECK (outcome IN ('mail', 'later', 'none')), -- NULL: not answered yet
	reason text,
	mail text
);

---- Whom operators mean

-- The federation address that a mailbox is, as federation/email.h has it: what a JID cannot have is escaped.
CREATE FUNCTION hedgerow.mail_address(mailbox text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
	local text := lower(coalesce(substring(mailbox FROM '^(.*)@'), ''));
	made text := replace(replace(replace(local, '&', '\26'), '''', '\27'), '/', '\2f') || '@' || lower(substring(mailbox FROM '[^@]*$'));
BEGIN
	IF NOT hedgerow.is_address(made) OR octet_length(mailbox) > 1023 THEN
		PERFORM hedgerow.refuse(format('"%s" is not an address', left(mailbox, 100)), 'write it like ada.adams@example.com');
	END IF;
	RETURN made;
END $$;

-- The canonical address of whoever it leads to; in a message of `sender`, an address outside of every federated
-- domain is that of an outsider.
CREATE FUNCTION hedgerow.mail_recipient(address text, sender text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT coalesce(
		(SELECT l.address FROM hedgerow.lookup_addresses(ARRAY[a.wanted]) l WHERE l.address IS NOT NULL),
		(SELECT split_part(a.wanted, '@', 1) || '\40' || hedgerow.domain_of(a.wanted) || '@' || hedgerow.domain_of(l.address)
			FROM hedgerow.lookup_addresses(ARRAY[hedgerow.mail_address(sender)]) l
			WHERE l.address IS NOT NULL AND NOT EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.domain = hedgerow.domain_of(a.wanted))),
		a.wanted)
	FROM (SELECT hedgerow.mail_address(mail_recipient.address) AS wanted) a
$$;

---- Why

-- Whether a pattern means somebody, as policy_ask has it; forest NULL: an outsider.
CREATE FUNCTION hedgerow.is_meant_by(pattern text, address text, forest text, site text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN forest IS NOT NULL THEN hedgerow.is_meant(pattern, address, forest, site)
	ELSE pattern IN ('outsider:any', 'outsider:' || regexp_replace(address, '\\40(.*)@.*$', '@\1'), 'outsider:' || substring(address FROM '\\40(.*)@')) END;

-- The first rule of this site that means a message between the two.
CREATE FUNCTION hedgerow.message_rule(address text, forest text, site text, to_address text, to_forest text, to_site text) RETURNS hedgerow.rule
LANGUAGE sql STABLE AS $$
	SELECT r FROM hedgerow.rule r WHERE r.site = hedgerow.local_site() AND r.kind IN ('any', 'message')
		AND hedgerow.is_meant_by(r.from_pattern, message_rule.address, message_rule.forest, message_rule.site)
		AND hedgerow.is_meant_by(r.to_pattern, to_address, to_forest, to_site)
	ORDER BY r.priority, r.rule LIMIT 1
$$;

-- Whether a message may go from one to the other by the rules of this site, as dispatch_decide has it; to_forest
-- NULL: to an outsider, who may be answered where he may write.
CREATE FUNCTION hedgerow.may_write(address text, forest text, site text, to_address text, to_forest text, to_site text)
	RETURNS TABLE (allowed boolean, answer text, change text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	r hedgerow.rule := hedgerow.message_rule(address, forest, site, to_address, to_forest, to_site);
BEGIN
	IF to_forest IS NULL AND r.action IS DISTINCT FROM 'allow' THEN
		r := coalesce(hedgerow.message_rule(to_address, NULL, to_site, address, forest, site), r);
	END IF;
	IF r.rule IS NOT NULL THEN
		RETURN QUERY VALUES (r.action = 'allow',
			format('"%s" %s it', r.rule, CASE r.action WHEN 'allow' THEN 'allows' ELSE 'refuses' END) || coalesce(': ' || r.reason, ''),
			format('hedgerow rule set %s action=%s', r.rule, CASE r.action WHEN 'allow' THEN 'deny' ELSE 'allow' END));
	ELSIF forest = to_forest THEN
		RETURN QUERY VALUES (true, 'none; people of one forest may',
			format('hedgerow rule add RULE deny --from address:%s --to address:%s --kind message', address, to_address));
	ELSE
		RETURN QUERY VALUES (false, CASE WHEN to_forest IS NULL THEN 'none allows outsiders' ELSE 'none allows it between these forests' END,
			format('hedgerow rule add RULE allow --from forest:%s --to %s', forest, coalesce('forest:' || to_forest, 'outsider:any')));
	END IF;
END $$;

-- What would become of a message to `address`, in words, and what would change that. Nothing is sent, and no
-- gateway is asked. `sender` NULL: whoever is allowed to.
DROP FUNCTION hedgerow.mail_test(text);
CREATE FUNCTION hedgerow.mail_test(address text, sender text DEFAULT NULL) RETURNS TABLE (question text, answer text, change text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	here text := hedgerow.local_site();
	wanted text := hedgerow.mail_recipient(mail_test.address, mail_test.sender);
	domain text := hedgerow.domain_of(wanted);
	outside boolean := wanted LIKE '_%\\40_%@%';
	p record; -- whom
	s record; -- who writes
	ours hedgerow.mail_domain;     -- what the person's site says
	settings hedgerow.mail_domain; -- what the carrier says
	chosen text;
	mode text;
	at_site text;
	never text;  -- why there is no mail
	remedy text; -- and what would change that
BEGIN
	SELECT l.* INTO s FROM hedgerow.lookup_addresses(ARRAY[hedgerow.mail_address(mail_test.sender)]) l WHERE mail_test.sender IS NOT NULL;
	SELECT l.* INTO p FROM hedgerow.lookup_addresses(ARRAY[wanted]) l;
	IF p.address IS NULL AND NOT outside THEN
		RETURN QUERY VALUES ('who is it', 'nobody in the registry has this address', format('an entry of a directory: hedgerow user find %s', split_part(wanted, '@', 1)));
		IF mail_test.sender IS NULL AND NOT EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.domain = hedgerow.domain_of(wanted)) THEN
			RETURN QUERY VALUES ('outsider', 'depends on who writes', 'hedgerow mail test --from ADDRESS');
		END IF;
		RETURN;
	END IF;
	RETURN QUERY VALUES ('who is it', CASE WHEN p.address IS NULL THEN format('an outsider, to people of %s: %s', domain, wanted)
		ELSE coalesce(p.name || ', ', '') || p.address END, NULL::text);
	IF p.address IS NOT NULL THEN
		at_site := p.site;
		IF NOT p.enabled THEN
			never := 'the account is disabled';
			remedy := 'the entry in the directory';
		END IF;
		RETURN QUERY VALUES ('chat', CASE WHEN p.installation IS NULL OR p.native IS NULL THEN format('no installation; forest "%s" of site "%s"', p.forest, p.site)
			ELSE format('installation "%s" of site "%s"', p.installation, p.site) END, NULL::text);
	ELSE
		at_site := s.site;
	END IF;

	-- may they?
	IF mail_test.sender IS NULL THEN
		RETURN QUERY VALUES ('who writes', 'somebody who is allowed to', 'hedgerow mail test --from ADDRESS');
	ELSIF s.address IS NULL THEN
		never := coalesce(never, 'the sender is not in the registry');
		RETURN QUERY VALUES ('who writes', format('%s: nobody in the registry', hedgerow.mail_address(mail_test.sender)), NULL::text);
	ELSE
		RETURN QUERY VALUES ('who writes', coalesce(s.name || ', ', '') || s.address, NULL::text);
		RETURN QUERY SELECT 'rule', m.answer || CASE WHEN s.site <> here THEN format(' (site "%s" has rules of its own)', s.site) ELSE '' END, m.change
			FROM hedgerow.may_write(s.address, s.forest, s.site, wanted, p.forest, coalesce(p.site, s.site)) m;
		IF NOT (SELECT m.allowed FROM hedgerow.may_write(s.address, s.forest, s.site, wanted, p.forest, coalesce(p.site, s.site)) m) THEN
			never := coalesce(never, 'no rule allows it');
			remedy := coalesce(remedy, 'see rule');
		END IF;
	END IF;

	-- how?
	SELECT * INTO ours FROM hedgerow.mail_domain m WHERE m.site = at_site AND m.domain = hedgerow.domain_of(wanted);
	IF NOT FOUND THEN
		RETURN QUERY VALUES ('when', format('never: site "%s" has not set up the mail of %s', at_site, domain),
			format('hedgerow domain mail add %s', domain) || CASE WHEN at_site <> here THEN format(' (at site "%s")', at_site) ELSE '' END);
		RETURN;
	END IF;
	SELECT * INTO settings FROM hedgerow.mail_domain m WHERE m.site = ours.carrier AND m.domain = ours.domain AND m.carrier = m.site;
	IF NOT FOUND THEN
		RETURN QUERY VALUES ('when', format('never: site "%s" carries the mail of %s and has not set it up', ours.carrier, domain),
			format('hedgerow domain mail add %s (at site "%s")', domain, ours.carrier));
		RETURN;
	END IF;
	at_site := CASE WHEN settings.site <> here THEN format(' (at site "%s")', settings.site) ELSE '' END;
	IF p.address IS NULL AND NOT settings.outsiders THEN
		never := coalesce(never, format('people of %s do not write to outsiders', domain));
		remedy := coalesce(remedy, format('hedgerow domain mail set %s outsiders=on%s', domain, at_site));
	END IF;
	SELECT c.mode INTO chosen FROM hedgerow.mail_choice c WHERE c.address = wanted;
	mode := CASE WHEN settings.mode = 'off' OR chosen = 'off' THEN 'off' WHEN 'notice' IN (settings.mode, chosen) THEN 'notice' ELSE 'full' END;
	IF mode = 'off' THEN
		never := coalesce(never, CASE settings.mode WHEN 'off' THEN format('%s has mail switched off', domain) ELSE 'the person has switched mail off' END);
		remedy := coalesce(remedy, CASE settings.mode WHEN 'off' THEN format('hedgerow domain mail set %s mode=full%s', domain, at_site)
			ELSE 'the person''s own switch, a command in the chat' END);
	END IF;
	RETURN QUERY VALUES ('carried by', format('site "%s" through %s port %s, %s', settings.site, settings.smarthost, settings.port, settings.tls)
			|| CASE WHEN settings.site = here THEN (SELECT format('; %s%s', t.state, ': ' || t.detail) FROM hedgerow.mail_status t WHERE t.domain = settings.domain) ELSE '' END,
		format('hedgerow domain mail set %s smarthost=HOST port=PORT tls=TLS%s', domain, at_site));
	RETURN QUERY SELECT 'when', CASE WHEN never IS NOT NULL THEN 'never: ' || never
			WHEN p.installation IS NULL OR p.native IS NULL THEN 'at once'
			WHEN ours.carrier <> ours.site THEN format('never: mail for who is away is sent by their own site "%s" only', ours.site)
			WHEN ours.away IS NULL THEN 'never: mail for who is away is not set up'
			ELSE format('when no receipt has come after %s', ours.away) END,
		CASE WHEN never IS NOT NULL THEN remedy
			WHEN p.installation IS NULL OR p.native IS NULL THEN format('an installation for the person, or: hedgerow domain mail set %s mode=off%s', domain, at_site)
			WHEN ours.carrier <> ours.site THEN format('hedgerow domain mail set %s carrier=%s (at site "%2$s")', domain, ours.site)
			ELSE format('hedgerow domain mail set %s away=INTERVAL%s', domain, at_site) END;
	RETURN QUERY VALUES
		('what', CASE mode WHEN 'off' THEN 'nothing' WHEN 'notice' THEN 'a notice of who wrote' ELSE 'the text' END
			|| format(' (mode of the domain: %s; the person''s own switch: %s)', settings.mode,
				CASE WHEN settings.site <> here THEN 'known to their site' ELSE coalesce(chosen, 'as the domain has it') END),
			format('hedgerow domain mail set %s mode=MODE%s', domain, at_site)),
		('language', array_to_string(settings.languages, ', '), format('hedgerow domain mail set %s languages=LANGUAGES%s', domain, at_site)),
		('from', settings.from_address, format('hedgerow domain mail set %s from_address=ADDRESS%s', domain, at_site)),
		('replies to', format('a signed address of %s, for %s (that of a test leads nowhere)', settings.chat_domain, settings.reply_life),
			format('hedgerow domain mail set %s reply_life=INTERVAL%s', domain, at_site));
	IF settings.site = here THEN
		RETURN QUERY VALUES
			('this hour', format('%s of at most %s mails of one conversation', coalesce((SELECT hedgerow.mail_recent(t.id, false, '')
				FROM hedgerow.mail_thread t WHERE t.domain = settings.domain AND t.person = wanted AND t.peer = s.address), 0), settings.hourly),
				format('hedgerow domain mail set %s hourly=N', domain)),
			('waiting', (SELECT format('%s in the queue, %s deferred, %s for a receipt',
					(SELECT coalesce(sum(q.head - q.acked), 0) FROM hedgerow.queue q WHERE q.name = 'mail:' || settings.domain),
					count(*) FILTER (WHERE d.awaits IS NULL), count(*) FILTER (WHERE d.awaits IS NOT NULL))
				FROM hedgerow.deferred d WHERE d.recipient = wanted), NULL);
	END IF;
END $$;

---- The mail

-- Asks the gateways for it. The conversation is a new one: what it has said so far is not for operators to read.
CREATE FUNCTION hedgerow.mail_try(address text, sender text DEFAULT NULL, body text DEFAULT 'This is a test.') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	asked bigint;
BEGIN
	IF octet_length(mail_try.body) > 65536 THEN
		PERFORM hedgerow.refuse('the text is too long', 'it may have 65536 bytes');
	END IF;
	IF (SELECT count(*) FROM hedgerow.mail_trial t WHERE t.outcome IS NULL AND t.asked_at > clock_timestamp() - interval '1 minute') >= 100 THEN
		PERFORM hedgerow.refuse('100 tests are waiting for a gateway', 'see: hedgerow mail status');
	END IF;
	INSERT INTO hedgerow.mail_trial (recipient, sender, body)
		VALUES (hedgerow.mail_recipient(mail_try.address, mail_try.sender),
			hedgerow.mail_recipient(mail_try.sender, NULL), mail_try.body)
		RETURNING id INTO asked;
	PERFORM pg_notify('hedgerow_mail_trial', '');
	RETURN asked;
END $$;

-- outcome: mail, later (the mail waits), none; waiting: nobody has answered yet; no gateway: nobody can.
CREATE FUNCTION hedgerow.mail_tried(id bigint) RETURNS TABLE (outcome text, reason text, mail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(t.outcome, CASE WHEN EXISTS (SELECT FROM hedgerow.gateway_status g WHERE g.running) THEN 'waiting' ELSE 'no gateway' END),
		t.reason, t.mail
	FROM hedgerow.mail_trial t WHERE t.id = mail_tried.id
$$;

-- For gateways: what is asked, with what the person has chosen and how many mails of this conversation went in
-- the last hour. What is old goes.
CREATE FUNCTION hedgerow.mail_trials() RETURNS TABLE (id bigint, recipient text, sender text, body text, choice text, recent bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM hedgerow.mail_trial t WHERE t.asked_at < clock_timestamp() - interval '5 minutes';
	RETURN QUERY SELECT t.id, t.recipient, t.sender, t.body, hedgerow.mail_chosen(t.recipient),
		coalesce((SELECT hedgerow.mail_recent(m.id, false, '') FROM hedgerow.mail_thread m
			WHERE m.domain = hedgerow.domain_of(t.recipient) AND m.person = t.recipient AND m.peer = t.sender), 0)
		FROM hedgerow.mail_trial t WHERE t.outcome IS NULL AND t.asked_at > clock_timestamp() - interval '1 minute' ORDER BY t.id;
END $$;

-- The first answer counts.
CREATE FUNCTION hedgerow.mail_trial_answer(id bigint, outcome text, reason text, mail text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE hedgerow.mail_trial t SET outcome = mail_trial_answer.outcome, reason = mail_trial_answer.reason, mail = mail_trial_answer.mail
		WHERE t.id = mail_trial_answer.id AND t.outcome IS NULL;
END;

---- Rights

GRANT SELECT, UPDATE, DELETE ON hedgerow.mail_trial TO hedgerow_gateway;
REVOKE ALL ON FUNCTION hedgerow.mail_address, hedgerow.mail_recipient, hedgerow.is_meant_by, hedgerow.message_rule, hedgerow.may_write, hedgerow.mail_test,
	hedgerow.mail_try, hedgerow.mail_tried, hedgerow.mail_trials, hedgerow.mail_trial_answer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.mail_test TO hedgerow_operator, hedgerow_reader;
GRANT EXECUTE ON FUNCTION hedgerow.mail_try, hedgerow.mail_tried TO hedgerow_operator;
GRANT EXECUTE ON FUNCTION hedgerow.mail_trials, hedgerow.mail_trial_answer TO hedgerow_gateway;

COMMENT ON TABLE hedgerow.mail_trial IS 'Mails that operators ask gateways to show. Local, for minutes';
COMMENT ON FUNCTION hedgerow.mail_test IS 'What would become of a message to an address, why, and what would change that';
COMMENT ON FUNCTION hedgerow.mail_try IS 'Asks the gateways for the mail that a message would become; returns the number for mail_tried';
COMMENT ON FUNCTION hedgerow.mail_tried IS 'What they said';
