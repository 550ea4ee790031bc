-- SPDX-License-Identifier: Apache-2.0
-- What operators call. Parameters have names and defaults: SELECT hedgerow.add_link(peer => 'boston').
-- The checks are in the triggers of the tables, so that plain INSERT and UPDATE are as safe.

CREATE FUNCTION hedgerow.refuse_second(what text, name text, noun text) RETURNS void
LANGUAGE sql AS $$
	SELECT hedgerow.refuse(format('%s "%s" exists already', what, name),
		format('change it with: hedgerow %s set %s FIELD=VALUE', noun, name))
$$;

CREATE FUNCTION hedgerow.refuse_missing(what text, name text, known_names text[]) RETURNS void
LANGUAGE sql AS $$
	SELECT hedgerow.refuse(format('%s "%s" is not one of this site', what, coalesce(name, '')),
		hedgerow.known(what || 's', known_names))
$$;

CREATE FUNCTION hedgerow.set_local_site(site text) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO hedgerow.local_site (site) VALUES (set_local_site.site)
		ON CONFLICT (one) DO UPDATE SET site = excluded.site
$$;

---- site and keys

CREATE FUNCTION hedgerow.add_site(site text, endpoints text[] DEFAULT '{}', title text DEFAULT NULL,
	message_expiry interval DEFAULT '7 days') RETURNS hedgerow.site
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.site;
BEGIN
	INSERT INTO hedgerow.site (site, endpoints, title, message_expiry)
		VALUES (add_site.site, add_site.endpoints, add_site.title, add_site.message_expiry) RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('site', add_site.site, 'site');
END $$;

-- Forgets the rows of another site; only for who owns the schema, since nothing is asked.
CREATE FUNCTION hedgerow.forget_site(site text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	gone text := forget_site.site;
BEGIN
	PERFORM set_config('hedgerow.forgetting', gone, true);
	DELETE FROM hedgerow.alias t WHERE t.site = gone;
	DELETE FROM hedgerow.person t WHERE t.site = gone;
	DELETE FROM hedgerow.rule t WHERE t.site = gone;
	DELETE FROM hedgerow.mail_domain t WHERE t.site = gone;
	DELETE FROM hedgerow.email_domain t WHERE t.site = gone;
	DELETE FROM hedgerow.installation t WHERE t.site = gone;
	DELETE FROM hedgerow.mapping t WHERE t.site = gone;
	DELETE FROM hedgerow.naming_context t WHERE t.site = gone;
	DELETE FROM hedgerow.forest t WHERE t.site = gone;
	DELETE FROM hedgerow.link t WHERE t.site = gone;
	DELETE FROM hedgerow.site_key t WHERE t.site = gone;
	DELETE FROM hedgerow.site t WHERE t.site = gone;
	DELETE FROM hedgerow.trespass t WHERE t.site = gone;
	PERFORM set_config('hedgerow.forgetting', '', true);
END $$;

-- Of this site: its row and keys. Of another: everything that came from there, once this database
-- no longer subscribes to it.
CREATE FUNCTION hedgerow.remove_site(site text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	gone text := site;
BEGIN
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = gone) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not known here', gone),
			hedgerow.known('sites', ARRAY(SELECT s.site FROM hedgerow.site s ORDER BY 1)));
	END IF;
	IF gone = hedgerow.local_site() THEN
		PERFORM set_config('hedgerow.force', 'on', true);
		DELETE FROM hedgerow.site s WHERE s.site = gone;
		DELETE FROM hedgerow.site_key k WHERE k.site = gone;
		PERFORM set_config('hedgerow.force', '', true);
		RETURN;
	END IF;
	IF EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
		WHERE d.datname = current_database() AND s.subname = format('hedgerow_%s_from_%s', hedgerow.local_site(), gone)) THEN
		PERFORM hedgerow.refuse(format('this database still receives the rows of site "%s"', gone),
			format('leave it first: hedgerow site leave %s', gone));
	END IF;
	IF EXISTS (SELECT FROM hedgerow.link l WHERE l.site = hedgerow.local_site() AND l.peer = gone) THEN
		PERFORM hedgerow.refuse(format('there is a link to site "%s"', gone), format('remove it first: hedgerow link remove %s', gone));
	END IF;
	PERFORM hedgerow.forget_site(gone);
END $$;

CREATE FUNCTION hedgerow.add_site_key(public_key text, not_before timestamptz DEFAULT now(),
	not_after timestamptz DEFAULT 'infinity') RETURNS hedgerow.site_key
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.site_key;
BEGIN
	INSERT INTO hedgerow.site_key (site, public_key, not_before, not_after)
		VALUES (hedgerow.local_site(), add_site_key.public_key, add_site_key.not_before, add_site_key.not_after)
		RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse('this site has that key already', 'see: hedgerow site key list');
END $$;

CREATE FUNCTION hedgerow.remove_site_key(public_key text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM hedgerow.site_key k WHERE k.site = hedgerow.local_site() AND k.public_key = remove_site_key.public_key;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse('this site has no such key', 'see: hedgerow site key list');
	END IF;
END $$;

-- An old key ends later: the time in which gateways change over.
CREATE FUNCTION hedgerow.expire_site_key(public_key text, not_after timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE hedgerow.site_key k SET not_after = expire_site_key.not_after
		WHERE k.site = hedgerow.local_site() AND k.public_key = expire_site_key.public_key;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse('this site has no such key', 'see: hedgerow site key list');
	END IF;
END $$;

---- link

-- dialer NULL: as the peer says, else this site when the peer can be dialled, else the peer.
CREATE FUNCTION hedgerow.add_link(peer text, dialer text DEFAULT NULL, cost int DEFAULT 10) RETURNS hedgerow.link
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.link;
BEGIN
	INSERT INTO hedgerow.link (site, peer, dialer, cost) VALUES (hedgerow.local_site(), add_link.peer,
		coalesce(add_link.dialer,
			(SELECT l.dialer FROM hedgerow.link l WHERE l.site = add_link.peer AND l.peer = hedgerow.local_site()),
			(SELECT hedgerow.local_site() FROM hedgerow.site s WHERE s.site = add_link.peer AND cardinality(s.endpoints) > 0),
			add_link.peer),
		add_link.cost) RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('link', add_link.peer, 'link');
END $$;

CREATE FUNCTION hedgerow.remove_link(peer text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM hedgerow.link l WHERE l.site = hedgerow.local_site() AND l.peer = remove_link.peer;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse_missing('link', peer,
			ARRAY(SELECT l.peer FROM hedgerow.link l WHERE l.site = hedgerow.local_site() ORDER BY 1));
	END IF;
END $$;

---- forest, mapping, e-mail domain

CREATE FUNCTION hedgerow.add_forest(forest text, kind text, urls text[], bind_dn text DEFAULT NULL, bind_secret text DEFAULT NULL,
	base_dn text DEFAULT NULL, filter text DEFAULT NULL, tls text DEFAULT NULL, ca text DEFAULT NULL, title text DEFAULT NULL,
	bind text DEFAULT 'simple', page_size int DEFAULT 1000, sync_interval interval DEFAULT '6 hours',
	poll_interval interval DEFAULT '30 seconds', guard_delete_count int DEFAULT 20, guard_delete_percent int DEFAULT 10,
	guard_disable_count int DEFAULT 20, guard_disable_percent int DEFAULT 10, guard_address_count int DEFAULT 20,
	guard_address_percent int DEFAULT 10, priority int DEFAULT 100) RETURNS hedgerow.forest
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.forest;
BEGIN
	INSERT INTO hedgerow.forest (site, forest, kind, urls, bind, bind_dn, bind_secret, base_dn, filter, tls, ca, title,
			page_size, sync_interval, poll_interval, guard_delete_count, guard_delete_percent, guard_disable_count, guard_disable_percent,
			guard_address_count, guard_address_percent, priority)
		VALUES (hedgerow.local_site(), add_forest.forest, add_forest.kind, add_forest.urls, add_forest.bind, add_forest.bind_dn,
			add_forest.bind_secret, add_forest.base_dn,
			coalesce(add_forest.filter, CASE add_forest.kind
				WHEN 'activedirectory' THEN '(&(objectCategory=person)(objectClass=user))'
				WHEN 'ldif' THEN '(|(objectClass=inetOrgPerson)(&(objectClass=user)(!(objectClass=computer))))'
				ELSE '(objectClass=inetOrgPerson)' END),
			coalesce(add_forest.tls, CASE WHEN add_forest.urls[1] LIKE 'ldap:%' THEN 'starttls' ELSE 'ldaps' END),
			add_forest.ca, add_forest.title, add_forest.page_size, add_forest.sync_interval, add_forest.poll_interval,
			add_forest.guard_delete_count, add_forest.guard_delete_percent, add_forest.guard_disable_count,
			add_forest.guard_disable_percent, add_forest.guard_address_count, add_forest.guard_address_percent, add_forest.priority)
		RETURNING * INTO made;
	IF made.tls = 'plain' THEN
		RAISE WARNING 'forest "%" is read in plain text: the password and everybody''s data cross the network readable', made.forest;
	END IF;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('forest', add_forest.forest, 'forest');
END $$;

-- With `force`, its people, grants and rules go with it: people are nobody's to remove by hand.
CREATE FUNCTION hedgerow.remove_forest(forest text, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	here text := hedgerow.local_site();
BEGIN
	IF NOT EXISTS (SELECT FROM hedgerow.forest f WHERE f.site = here AND f.forest = forest) THEN
		PERFORM hedgerow.refuse_missing('forest', forest,
			ARRAY(SELECT f.forest FROM hedgerow.forest f WHERE f.site = here ORDER BY 1));
	END IF;
	PERFORM hedgerow.sync_lock(forest);
	IF force THEN
		PERFORM set_config('hedgerow.force', 'on', true);
		DELETE FROM hedgerow.alias a WHERE a.site = here AND a.forest = forest;
		DELETE FROM hedgerow.person p WHERE p.site = here AND p.forest = forest;
		DELETE FROM hedgerow.rule r WHERE r.site = here AND 'forest:' || forest IN (r.from_pattern, r.to_pattern);
		DELETE FROM hedgerow.email_domain d WHERE d.site = here AND d.forest = forest;
	END IF;
	DELETE FROM hedgerow.forest f WHERE f.site = here AND f.forest = forest;
	DELETE FROM hedgerow.mapping m WHERE m.site = here AND m.forest = forest;
	DELETE FROM hedgerow.naming_context c WHERE c.site = here AND c.forest = forest;
	DELETE FROM hedgerow.alias a WHERE a.site = here AND a.forest = forest;
	DELETE FROM hedgerow.person p WHERE p.site = here AND p.forest = forest; -- deleted ones, by now
	PERFORM set_config('hedgerow.force', '', true);
END $$;

CREATE FUNCTION hedgerow.add_domain(domain text, forest text) RETURNS hedgerow.email_domain
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.email_domain;
BEGIN
	INSERT INTO hedgerow.email_domain (site, domain, forest)
		VALUES (hedgerow.local_site(), add_domain.domain, add_domain.forest) RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse(format('%s is granted to forest "%s" already', domain, forest), 'see: hedgerow domain list');
END $$;

-- forest NULL: from all forests of this site.
CREATE FUNCTION hedgerow.remove_domain(domain text, forest text DEFAULT NULL, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('hedgerow.force', CASE WHEN force THEN 'on' ELSE '' END, true);
	DELETE FROM hedgerow.email_domain d WHERE d.site = hedgerow.local_site() AND d.domain = remove_domain.domain
		AND d.forest = coalesce(remove_domain.forest, d.forest);
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('this site does not grant %s%s', domain, ' to forest "' || forest || '"'),
			hedgerow.known('domains', ARRAY(SELECT DISTINCT d.domain FROM hedgerow.email_domain d WHERE d.site = hedgerow.local_site() ORDER BY 1)));
	END IF;
	PERFORM set_config('hedgerow.force', '', true);
END $$;

---- installation, rule

CREATE FUNCTION hedgerow.add_installation(installation text, forest text, software text, native_domain text,
	host text, port int DEFAULT NULL, secret text DEFAULT NULL, tls boolean DEFAULT false, ca text DEFAULT NULL)
	RETURNS hedgerow.installation
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.installation;
BEGIN
	INSERT INTO hedgerow.installation (site, installation, forest, software, native_domain, host, port, secret, tls, ca)
		VALUES (hedgerow.local_site(), add_installation.installation, add_installation.forest, add_installation.software,
			add_installation.native_domain, add_installation.host,
			coalesce(add_installation.port, CASE add_installation.software WHEN 'ejabberd' THEN 8888 WHEN 'openfire' THEN 5275 ELSE 5347 END),
			coalesce(add_installation.secret, add_installation.installation || '.secret'),
			add_installation.tls, add_installation.ca)
		RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('installation', add_installation.installation, 'installation');
END $$;

CREATE FUNCTION hedgerow.remove_installation(installation text, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('hedgerow.force', CASE WHEN force THEN 'on' ELSE '' END, true);
	DELETE FROM hedgerow.installation i WHERE i.site = hedgerow.local_site() AND i.installation = remove_installation.installation;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse_missing('installation', installation,
			ARRAY(SELECT i.installation FROM hedgerow.installation i WHERE i.site = hedgerow.local_site() ORDER BY 1));
	END IF;
	PERFORM set_config('hedgerow.force', '', true);
END $$;

CREATE FUNCTION hedgerow.add_rule(rule text, action text, from_pattern text DEFAULT 'any', to_pattern text DEFAULT 'any',
	kind text DEFAULT 'any', priority int DEFAULT 100, reason text DEFAULT NULL) RETURNS hedgerow.rule
LANGUAGE plpgsql AS $$
DECLARE
	made hedgerow.rule;
BEGIN
	INSERT INTO hedgerow.rule (site, rule, action, from_pattern, to_pattern, kind, priority, reason)
		VALUES (hedgerow.local_site(), add_rule.rule, add_rule.action, add_rule.from_pattern, add_rule.to_pattern,
			add_rule.kind, add_rule.priority, add_rule.reason) RETURNING * INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	PERFORM hedgerow.refuse_second('rule', add_rule.rule, 'rule');
END $$;

CREATE FUNCTION hedgerow.remove_rule(rule text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM hedgerow.rule r WHERE r.site = hedgerow.local_site() AND r.rule = remove_rule.rule;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse_missing('rule', rule,
			ARRAY(SELECT r.rule FROM hedgerow.rule r WHERE r.site = hedgerow.local_site() ORDER BY 1));
	END IF;
END $$;

---- changing a row, a setting; undoing

-- The operators' tables: what stands before the name, and the column with the name.
CREATE FUNCTION hedgerow.name_column(noun text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE noun WHEN 'site' THEN 'site' WHEN 'link' THEN 'peer' WHEN 'forest' THEN 'forest'
	WHEN 'installation' THEN 'installation' WHEN 'rule' THEN 'rule' WHEN 'mail_domain' THEN 'domain' END;

-- hedgerow.change('installation', 'prosody-a', '{"port": 5348}'): other columns stay as they are.
CREATE FUNCTION hedgerow.change(noun text, name text, fields jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	key_column text := hedgerow.name_column(noun);
	columns text[];
	field text;
	list text;
	changed bigint;
BEGIN
	IF key_column IS NULL THEN
		PERFORM hedgerow.refuse(format('there is no %s to change', noun), 'it is one of: site, link, forest, installation, rule, mail_domain');
	END IF;
	SELECT array_agg(a.attname ORDER BY a.attnum) INTO columns FROM pg_attribute a
		WHERE a.attrelid = format('hedgerow.%I', noun)::regclass AND a.attnum > 0 AND NOT a.attisdropped
		AND a.attname NOT IN ('site', key_column, 'created_at');
	FOR field IN SELECT jsonb_object_keys(fields) LOOP
		IF field <> ALL (columns) THEN
			PERFORM hedgerow.refuse(format('"%s" is not a field of this %s that can be changed', field, noun),
				'its fields: ' || array_to_string(columns, ', '));
		END IF;
		IF field IN ('endpoints', 'urls', 'relays', 'languages') AND jsonb_typeof(fields -> field) <> 'array' THEN
			list := replace(coalesce(fields ->> field, ''), ' ', ''); -- a list in one text: a,b
			fields := fields || jsonb_build_object(field, CASE WHEN list = '' THEN '[]' ELSE to_jsonb(string_to_array(list, ',')) END);
		END IF;
	END LOOP;
	IF fields = '{}' THEN
		PERFORM hedgerow.refuse('nothing is to be changed', 'name one or more fields: ' || array_to_string(columns, ', '));
	END IF;
	EXECUTE format('UPDATE hedgerow.%1$I t SET (%2$s) = (SELECT %3$s FROM jsonb_populate_record(t, $1) n)
		WHERE t.site = hedgerow.local_site() AND t.%4$I = $2', noun,
		(SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) c),
		(SELECT string_agg('n.' || quote_ident(c), ', ') FROM unnest(columns) c), key_column) USING fields, name;
	GET DIAGNOSTICS changed = ROW_COUNT;
	IF changed = 0 THEN
		PERFORM hedgerow.refuse(format('%s "%s" is not one of this site', noun, name), format('see: hedgerow %s list', replace(noun, 'mail_domain', 'domain mail')));
	END IF;
END $$;

CREATE FUNCTION hedgerow.set_setting(name text, value text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE hedgerow.setting s SET value = set_setting.value WHERE s.name = set_setting.name;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('there is no setting "%s"', name),
			hedgerow.known('settings', ARRAY(SELECT s.name FROM hedgerow.setting s ORDER BY 1)));
	END IF;
END $$;

-- Puts one row of configuration back as it was before a change, if nothing has changed it since.
CREATE FUNCTION hedgerow.undo_change(id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	change hedgerow.change_log;
	key_columns text[];
	later bigint;
	now_is jsonb;
	same_key text;
	all_columns text;
BEGIN
	SELECT * INTO change FROM hedgerow.change_log c WHERE c.id = undo_change.id;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('there is no change %s', id), 'see: hedgerow change list');
	END IF;
	SELECT array_agg(a.attname) INTO key_columns FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
		WHERE i.indrelid = format('hedgerow.%I', change.relation)::regclass AND i.indisprimary;
	SELECT string_agg(format('t.%1$I = k.%1$I', c), ' AND ') INTO same_key FROM unnest(key_columns) c;
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO all_columns FROM pg_attribute a
		WHERE a.attrelid = format('hedgerow.%I', change.relation)::regclass AND a.attnum > 0 AND NOT a.attisdropped;
	EXECUTE format('SELECT to_jsonb(t) FROM hedgerow.%1$I t, jsonb_populate_record(NULL::hedgerow.%1$I, $1) k WHERE %2$s',
		change.relation, same_key) USING coalesce(change.after, change.before) INTO now_is;
	IF now_is IS DISTINCT FROM change.after THEN
		SELECT max(c.id) INTO later FROM hedgerow.change_log c WHERE c.relation = change.relation AND c.id > change.id
			AND NOT EXISTS (SELECT FROM unnest(key_columns) k
				WHERE coalesce(c.after, c.before) -> k IS DISTINCT FROM coalesce(change.after, change.before) -> k);
		PERFORM hedgerow.refuse(format('the row of change %s was changed again since', id),
			CASE WHEN later IS NULL THEN 'change it by hand' ELSE format('undo change %s first', later) END);
	END IF;
	PERFORM set_config('hedgerow.undoes', id::text, true);
	IF change.before IS NULL THEN
		EXECUTE format('DELETE FROM hedgerow.%1$I t USING jsonb_populate_record(NULL::hedgerow.%1$I, $1) k WHERE %2$s',
			change.relation, same_key) USING change.after;
	ELSIF change.after IS NULL THEN
		EXECUTE format('INSERT INTO hedgerow.%1$I (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::hedgerow.%1$I, $1) t',
			change.relation, all_columns) USING change.before;
	ELSE
		SELECT string_agg(quote_ident(c.key), ', ') INTO all_columns FROM jsonb_object_keys(change.before) c(key)
			WHERE change.before -> c.key IS DISTINCT FROM change.after -> c.key;
		EXECUTE format('UPDATE hedgerow.%1$I t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::hedgerow.%1$I, $1) n)
			FROM jsonb_populate_record(NULL::hedgerow.%1$I, $1) k WHERE %3$s', change.relation, all_columns, same_key)
			USING change.before;
	END IF;
	PERFORM set_config('hedgerow.undoes', '', true);
END $$;

---- people

-- People whose address, alias, native address, name or anchor has `text` in it; an exact address first.
-- `state` says whether messages reach them, or why not.
CREATE FUNCTION hedgerow.find_user(text text, most int DEFAULT 50) RETURNS TABLE (address text, name text, native text,
	installation text, site text, forest text, aliases text[], state text, anchor text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	wanted text := lower(find_user.text);
	inside text := '%' || replace(replace(replace(wanted, '\', '\\'), '%', '\%'), '_', '\_') || '%';
BEGIN
	RETURN QUERY
	SELECT p.address, p.name, p.native, p.installation, hedgerow.home_site(p.installation, p.site), p.forest,
		ARRAY(SELECT a.address FROM hedgerow.alias a
			WHERE a.site = p.site AND a.forest = p.forest AND a.anchor = p.anchor AND a.address <> p.address
				AND (a.until IS NULL OR a.until > now()) ORDER BY 1),
		CASE WHEN p.state <> 'active' THEN p.state || coalesce((SELECT ': ' || string_agg(r.field || ': ' || r.reason, '; ' ORDER BY r.field, r.reason)
				FROM hedgerow.sync_refused r WHERE r.site = p.site AND r.forest = p.forest AND r.anchor = p.anchor), '')
			WHEN NOT EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.site = p.site AND d.forest = p.forest
				AND d.domain = hedgerow.domain_of(p.address)) THEN 'quarantined: domain not granted'
			WHEN NOT EXISTS (SELECT FROM hedgerow.winner(p.address) w
				WHERE w.site = p.site AND w.forest = p.forest AND w.anchor = p.anchor) THEN 'conflict: somebody else has the address'
			WHEN NOT p.enabled THEN 'disabled'
			WHEN p.installation IS NULL OR p.native IS NULL THEN 'by e-mail only'
			WHEN hedgerow.is_native_lost(p.native, p.site, p.forest, p.anchor) THEN 'by e-mail only: somebody else has the native address'
			WHEN NOT EXISTS (SELECT FROM hedgerow.installation i WHERE i.installation = p.installation) THEN 'unknown installation'
			ELSE 'reachable' END,
		p.anchor
	FROM hedgerow.person p
	WHERE p.address LIKE inside OR p.native LIKE inside OR lower(p.name) LIKE inside OR p.anchor = find_user.text
		OR (p.site, p.forest, p.anchor) IN (SELECT a.site, a.forest, a.anchor FROM hedgerow.alias a WHERE a.address LIKE inside)
	ORDER BY p.address <> wanted, p.state, p.address, p.site, p.forest LIMIT find_user.most;
END $$;

---- queues and dead letters

CREATE FUNCTION hedgerow.is_leased(name text) RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (SELECT FROM pg_locks l
	WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
	AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
	AND l.classid::bigint = (hashtextextended(name, 0) >> 32) & 4294967295
	AND l.objid::bigint = hashtextextended(name, 0) & 4294967295);

-- The lease of who serves a queue: xmpp:INSTALLATION:DOMAIN, link:SITE, mail:DOMAIN
CREATE FUNCTION hedgerow.queue_lease(queue text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN queue LIKE 'xmpp:%' THEN 'installation:' || split_part(queue, ':', 2) ELSE queue END;

-- Gives up what waits in a queue that nobody serves any more: it becomes dead letters.
CREATE FUNCTION hedgerow.purge_queue(name text, reason text DEFAULT 'the queue was purged') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	purged hedgerow.queue;
BEGIN
	SELECT * INTO purged FROM hedgerow.queue q WHERE q.name = name FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('there is no queue "%s"', name), 'see: hedgerow queue list');
	END IF;
	IF hedgerow.is_leased(hedgerow.queue_lease(name)) THEN
		PERFORM hedgerow.refuse(format('a gateway serves queue "%s"', name), 'remove its installation or link first, or stop the gateway');
	END IF;
	INSERT INTO hedgerow.dead_letter (queue, seq, queue_name, sender, recipient, reason, envelope)
		SELECT j.queue, j.seq, purged.name, j.sender, j.recipient, reason, j.envelope
		FROM hedgerow.journal j WHERE j.queue = purged.id AND j.seq > purged.acked AND j.seq <= purged.head
		ON CONFLICT DO NOTHING;
	INSERT INTO hedgerow.dead_letter (queue, seq, queue_name, sender, recipient, reason, envelope)
		SELECT d.queue, -d.id, purged.name, d.sender, d.recipient, reason, d.envelope
		FROM hedgerow.deferred d WHERE d.queue = purged.id AND d.awaits IS NULL;
	DELETE FROM hedgerow.deferred d WHERE d.queue = purged.id;
	UPDATE hedgerow.queue q SET acked = head WHERE q.id = purged.id;
	RETURN purged.head - purged.acked;
END $$;

-- Appends a dead letter to its queue again.
CREATE FUNCTION hedgerow.retry_dead_letter(id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	letter hedgerow.dead_letter;
	top bigint;
BEGIN
	DELETE FROM hedgerow.dead_letter d WHERE d.id = id RETURNING * INTO letter;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('there is no dead letter %s', id), 'see: hedgerow deadletter list');
	END IF;
	PERFORM pg_advisory_xact_lock_shared(hedgerow.journal_lock_key());
	UPDATE hedgerow.queue q SET head = q.head + 1 WHERE q.id = letter.queue RETURNING q.head INTO top;
	IF top IS NULL THEN
		PERFORM hedgerow.refuse(format('queue %s of dead letter %s is gone', letter.queue_name, id), 'it can only be removed');
	END IF;
	INSERT INTO hedgerow.journal (part, queue, seq, sender, recipient, envelope)
		SELECT p.part, letter.queue, top, coalesce(letter.sender, ''), coalesce(letter.recipient, ''), letter.envelope
		FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
	PERFORM pg_notify('hedgerow_queue', letter.queue::text);
END $$;

CREATE FUNCTION hedgerow.remove_dead_letter(id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM hedgerow.dead_letter d WHERE d.id = remove_dead_letter.id;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('there is no dead letter %s', id), 'see: hedgerow deadletter list');
	END IF;
END $$;

---- What goes into the configuration file of an installation's server

CREATE FUNCTION hedgerow.installation_config(installation text) RETURNS SETOF text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	i hedgerow.installation;
	domains text[] := ARRAY(SELECT DISTINCT d.domain FROM hedgerow.email_domain d ORDER BY 1);
	name text;
BEGIN
	SELECT * INTO i FROM hedgerow.installation t
		WHERE t.installation = installation_config.installation AND t.site = hedgerow.local_site();
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse_missing('installation', installation,
			ARRAY(SELECT t.installation FROM hedgerow.installation t WHERE t.site = hedgerow.local_site() ORDER BY 1));
	END IF;
	IF cardinality(domains) = 0 THEN
		PERFORM hedgerow.refuse('no e-mail domain is federated yet', 'add one first: hedgerow domain add DOMAIN --forest FOREST');
	END IF;
	IF i.software = 'prosody' THEN
		RETURN NEXT format('-- Prosody: one component for each federated e-mail domain, served by Hedgerow as "%s".', i.installation);
		RETURN NEXT '-- Above all VirtualHost and Component lines:';
		RETURN NEXT format('component_ports = { %s }', i.port);
		RETURN NEXT format('component_interfaces = { "%s" } -- where the gateway connects to', i.host);
		RETURN NEXT format('disco_items = { %s } -- so that clients find the directory for people', (SELECT
			string_agg(format('{ "%s", "People" }', d.domain), ', ' ORDER BY d.domain) FROM hedgerow.email_domain d
			WHERE d.site = i.site AND d.forest = i.forest));
		FOREACH name IN ARRAY domains LOOP
			RETURN NEXT '';
			RETURN NEXT format('Component "%s"', name);
			RETURN NEXT format('	component_secret = "SECRET" -- what is in the file %s of the secrets directory', i.secret);
			RETURN NEXT '	validate_from_addresses = true -- must stay on: a component speaks for its own domain only';
		END LOOP;
	ELSIF i.software = 'ejabberd' THEN
		RETURN NEXT format('# ejabberd: one listener for all federated e-mail domains, served by Hedgerow as "%s".', i.installation);
		RETURN NEXT '# Under "listen:"';
		RETURN NEXT '  -';
		RETURN NEXT format('    port: %s', i.port);
		RETURN NEXT format('    ip: "%s"', i.host);
		RETURN NEXT '    module: ejabberd_service';
		RETURN NEXT '    access: all';
		RETURN NEXT '    check_from: true';
		RETURN NEXT '    global_routes: false # one stream for each domain';
		RETURN NEXT '    hosts:';
		FOREACH name IN ARRAY domains LOOP
			RETURN NEXT format('      "%s":', name);
			RETURN NEXT format('        password: "SECRET" # what is in the file %s of the secrets directory', i.secret);
		END LOOP;
		RETURN NEXT '# Under "modules:", so that clients find the directory for people';
		RETURN NEXT '#  mod_disco:';
		RETURN NEXT format('#    extra_domains: [%s]', (SELECT string_agg(d.domain, ', ' ORDER BY d.domain)
			FROM hedgerow.email_domain d WHERE d.site = i.site AND d.forest = i.forest));
	ELSE
		RETURN NEXT format('# Openfire: system properties, then one external component for each federated e-mail domain ("%s").', i.installation);
		RETURN NEXT '# Server, Server Settings, External Components; or as system properties:';
		RETURN NEXT 'xmpp.component.socket.active = true';
		RETURN NEXT format('xmpp.component.socket.port = %s', i.port);
		RETURN NEXT 'xmpp.component.permission = whitelist';
		RETURN NEXT '# "Allowed to connect", one line for each domain; SECRET is what is in the file ' || i.secret || ' of the secrets directory:';
		FOREACH name IN ARRAY domains LOOP
			RETURN NEXT format('%s	SECRET', name);
		END LOOP;
	END IF;
END $$;

---- Rights

REVOKE ALL ON FUNCTION hedgerow.refuse_second, hedgerow.refuse_missing, hedgerow.set_local_site, hedgerow.add_site,
	hedgerow.remove_site, hedgerow.forget_site, hedgerow.add_site_key, hedgerow.remove_site_key, hedgerow.expire_site_key, hedgerow.add_link,
	hedgerow.remove_link, hedgerow.add_forest, hedgerow.remove_forest,
	 hedgerow.add_domain, hedgerow.remove_domain, hedgerow.add_installation,
	hedgerow.remove_installation, hedgerow.add_rule, hedgerow.remove_rule, hedgerow.name_column, hedgerow.change,
	hedgerow.set_setting, hedgerow.undo_change, hedgerow.find_user, hedgerow.is_leased,
	hedgerow.queue_lease, hedgerow.purge_queue, hedgerow.retry_dead_letter, hedgerow.remove_dead_letter,
	hedgerow.installation_config FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.refuse_second, hedgerow.refuse_missing, hedgerow.set_local_site, hedgerow.add_site,
	hedgerow.remove_site, hedgerow.add_site_key, hedgerow.remove_site_key, hedgerow.expire_site_key, hedgerow.add_link,
	hedgerow.remove_link, hedgerow.add_forest, hedgerow.remove_forest,
	 hedgerow.add_domain, hedgerow.remove_domain, hedgerow.add_installation,
	hedgerow.remove_installation, hedgerow.add_rule, hedgerow.remove_rule, hedgerow.name_column, hedgerow.change,
	hedgerow.set_setting, hedgerow.undo_change, hedgerow.purge_queue,
	hedgerow.retry_dead_letter, hedgerow.remove_dead_letter, hedgerow.installation_config TO hedgerow_operator;
GRANT EXECUTE ON FUNCTION hedgerow.find_user, hedgerow.is_leased, hedgerow.queue_lease TO hedgerow_operator, hedgerow_reader;

COMMENT ON FUNCTION hedgerow.set_local_site IS 'Names the site of this database';
COMMENT ON FUNCTION hedgerow.add_site IS 'Adds this site to the federation';
COMMENT ON FUNCTION hedgerow.remove_site IS 'Removes this site''s own row, or forgets a site that was left';
COMMENT ON FUNCTION hedgerow.add_site_key IS 'Adds a CURVE public key of this site''s gateways';
COMMENT ON FUNCTION hedgerow.remove_site_key IS 'Removes a key; links that use it come down';
COMMENT ON FUNCTION hedgerow.expire_site_key IS 'Lets a key end at a given time';
COMMENT ON FUNCTION hedgerow.add_link IS 'Consents to a link with a peer site';
COMMENT ON FUNCTION hedgerow.remove_link IS 'Withdraws the consent: the link comes down';
COMMENT ON FUNCTION hedgerow.add_forest IS 'Adds a directory that people come from; it gets the usual mappings of its kind';
COMMENT ON FUNCTION hedgerow.remove_forest IS 'Removes a directory; force: with its people, grants and rules';
COMMENT ON FUNCTION hedgerow.add_domain IS 'Grants an e-mail domain to a forest';
COMMENT ON FUNCTION hedgerow.remove_domain IS 'Withdraws the grant of an e-mail domain';
COMMENT ON FUNCTION hedgerow.add_installation IS 'Adds an XMPP server';
COMMENT ON FUNCTION hedgerow.remove_installation IS 'Removes an XMPP server';
COMMENT ON FUNCTION hedgerow.installation_config IS 'The lines to paste into the server''s configuration';
COMMENT ON FUNCTION hedgerow.add_rule IS 'Adds a rule that allows or denies traffic';
COMMENT ON FUNCTION hedgerow.remove_rule IS 'Removes a rule';
COMMENT ON FUNCTION hedgerow.change IS 'Changes fields of a site, link, forest, installation, rule or the mail of a domain';
COMMENT ON FUNCTION hedgerow.set_setting IS 'Changes a setting of this database';
COMMENT ON FUNCTION hedgerow.undo_change IS 'Puts a row of configuration back as it was before a change';
COMMENT ON FUNCTION hedgerow.find_user IS 'Finds people and says whether messages reach them';
COMMENT ON FUNCTION hedgerow.purge_queue IS 'Makes dead letters of what waits in a queue that nobody serves';
COMMENT ON FUNCTION hedgerow.retry_dead_letter IS 'Appends a dead letter to its queue again';
COMMENT ON FUNCTION hedgerow.remove_dead_letter IS 'Removes a dead letter for good';
