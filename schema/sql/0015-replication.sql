-- SPDX-License-Identifier: Apache-2.0
-- What other sites may write here. A subscription brings the rows of its site and nothing else, but
-- the peer decides what it publishes. So rows that it says are of this site or of a third are passed
-- over: an error would stop the rest.

CREATE TABLE hedgerow.trespass (
	site text, -- who published the rows
	relation text,
	owner text NOT NULL, -- in whose name the last of them was
	rows bigint NOT NULL,
	first_at timestamptz NOT NULL DEFAULT now(),
	last_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (site, relation)
) WITH (fillfactor = 50);

-- The site whose rows this session brings, remembered in the setting hedgerow.source: that of the
-- subscription when this is a replication worker ("-" when it is none of ours); "*" for a superuser
-- who plays a replica.
CREATE FUNCTION hedgerow.find_source() RETURNS text
LANGUAGE sql AS $$
	SELECT set_config('hedgerow.source', CASE WHEN me.backend_type = 'client backend' THEN '*' ELSE coalesce(
		(SELECT substr(s.subname, length(ours.prefix) + 1) FROM pg_stat_subscription s
			WHERE s.pid = me.pid AND starts_with(s.subname, ours.prefix)), '-') END, false)
	FROM pg_stat_get_activity(pg_backend_pid()) me, (SELECT format('hedgerow_%s_from_', hedgerow.local_site()) AS prefix) ours
$$;

-- Logged once a transaction. Counted one by one up to a hundred in a transaction, then by hundreds:
-- each update of one row in a transaction makes the next one dearer.
CREATE FUNCTION hedgerow.note_trespass(source text, relation text, owner text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	n bigint := coalesce(nullif(current_setting('hedgerow.trespasses', true), ''), '0')::bigint + 1;
BEGIN
	PERFORM set_config('hedgerow.trespasses', n::text, true);
	IF n = 1 THEN
		RAISE WARNING 'site "%" publishes rows of "%" in the name of site "%": passed over', source, relation, owner;
	END IF;
	IF n <= 100 OR n % 100 = 0 THEN
		INSERT INTO hedgerow.trespass AS t (site, relation, owner, rows) VALUES (source, relation, owner, 1)
			ON CONFLICT ON CONSTRAINT trespass_pkey DO UPDATE SET owner = excluded.owner, last_at = now(),
				rows = t.rows + CASE WHEN n <= 100 THEN 1 ELSE 100 END;
	END IF;
END $$;

CREATE FUNCTION hedgerow.keep_owner() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	source text := current_setting('hedgerow.source', true);
	owner text;
BEGIN
	IF source IS NULL OR source = '' THEN
		source := hedgerow.find_source();
	END IF;
	IF TG_OP <> 'INSERT' AND OLD.site <> source THEN
		owner := OLD.site;
	ELSIF TG_OP <> 'DELETE' AND NEW.site <> source THEN
		owner := NEW.site;
	END IF;
	IF source = '*' AND owner IS DISTINCT FROM hedgerow.local_site() THEN
		owner := NULL;
	END IF;
	IF owner IS NOT NULL THEN
		PERFORM hedgerow.note_trespass(source, TG_TABLE_NAME, left(owner, 100));
		RETURN NULL;
	ELSIF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	RETURN NEW;
END $$;

-- TRUNCATE asks for no row's owner; only an error holds it back.
CREATE FUNCTION hedgerow.refuse_truncate() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hedgerow.refuse(format('"%s" has rows of several sites and is not truncated', TG_TABLE_NAME),
		'remove the rows of this site; to forget another: hedgerow site leave and site remove');
	RETURN NULL;
END $$;

-- A peer's publication says which tables are received; only those that keep_owner guards may be.
CREATE FUNCTION hedgerow.check_subscription() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
	bad record;
BEGIN
	SELECT s.subname, r.srrelid::regclass AS relation INTO bad
		FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid
		WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
			AND starts_with(s.subname, 'hedgerow_')
			AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = r.srrelid AND t.tgname = 'a_keep_owner') LIMIT 1;
	IF FOUND THEN
		PERFORM hedgerow.refuse(format('subscription "%s" would receive the table %s, which is not of the registry', bad.subname, bad.relation),
			'ask who runs that site to take it out of the publication; until then the site is not to be trusted');
	END IF;
END $$;

DO $$
DECLARE
	t text;
BEGIN
	FOR t IN SELECT DISTINCT c.relname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid -- whose rows have an owner
			WHERE c.relnamespace = 'hedgerow'::regnamespace AND g.tgname IN ('a_own', 'a_own_insert') LOOP
		EXECUTE format('CREATE TRIGGER a_keep_owner BEFORE INSERT OR UPDATE OR DELETE ON hedgerow.%I
			FOR EACH ROW EXECUTE FUNCTION hedgerow.keep_owner()', t);
		EXECUTE format('ALTER TABLE hedgerow.%I ENABLE REPLICA TRIGGER a_keep_owner', t);
		EXECUTE format('CREATE TRIGGER a_truncate BEFORE TRUNCATE ON hedgerow.%I
			FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.refuse_truncate()', t);
		EXECUTE format('ALTER TABLE hedgerow.%I ENABLE ALWAYS TRIGGER a_truncate', t);
	END LOOP;
END $$;

CREATE EVENT TRIGGER hedgerow_check_subscription ON ddl_command_end
	WHEN TAG IN ('CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION') EXECUTE FUNCTION hedgerow.check_subscription();

CREATE VIEW hedgerow.trespasses AS
	SELECT t.site, t.relation, t.owner, t.rows, t.first_at, t.last_at FROM hedgerow.trespass t ORDER BY t.last_at DESC, t.site, t.relation;

CREATE VIEW hedgerow.subscriptions AS -- what comes from other sites, and how far it has come
	SELECT split_part(s.subname, '_from_', 2) AS site, s.subname AS subscription, s.subenabled AS enabled,
		st.pid IS NOT NULL AS connected,
		NOT EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r') AS complete,
		st.last_msg_receipt_time AS heard_at, e.apply_error_count AS errors,
		coalesce((SELECT sum(t.rows) FROM hedgerow.trespass t WHERE t.site = split_part(s.subname, '_from_', 2)), 0)::bigint AS trespasses
	FROM pg_subscription s
	JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()
	LEFT JOIN pg_stat_subscription st ON st.subid = s.oid AND st.relid IS NULL
	LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
	WHERE s.subname LIKE 'hedgerow\_%\_from\_%' ORDER BY 1;

REVOKE ALL ON FUNCTION hedgerow.find_source, hedgerow.note_trespass, hedgerow.keep_owner, hedgerow.refuse_truncate,
	hedgerow.check_subscription FROM PUBLIC;
GRANT SELECT ON hedgerow.trespasses, hedgerow.subscriptions TO hedgerow_reader, hedgerow_operator;

COMMENT ON TABLE hedgerow.trespass IS 'What sites published in the name of others';
COMMENT ON VIEW hedgerow.trespasses IS 'Rows that a site published in the name of another; they were passed over';
COMMENT ON VIEW hedgerow.subscriptions IS 'Registries of other sites that arrive here by replication';
