-- SPDX-License-Identifier: Apache-2.0
-- The registry: who is where. Federation tables carry the owning site in their key and travel to
-- every site by logical replication; a row is changed at its owner only.
--
-- Rules of the federation tables:
--   * What is wrong is refused by triggers, not by CHECK or FOREIGN KEY: triggers do not run for
--     replicated rows, so an opinion of this database never stops the rows of another site.
--   * What several sites may claim (an address, a domain, an installation's name) is never unique;
--     a view decides who wins and another lists who lost.
--   * A trigger that must run for replicated rows too (NOTIFY) has a row form, enabled for
--     REPLICA: the apply worker runs no statement triggers.

DO $$
BEGIN
	IF current_setting('server_version_num')::int < 150000 THEN
		RAISE EXCEPTION 'PostgreSQL % is too old', current_setting('server_version')
			USING HINT = 'row filters in publications need PostgreSQL 15 or later';
	END IF;
	IF current_setting('server_encoding') <> 'UTF8' THEN
		RAISE EXCEPTION 'the encoding of this database is %, not UTF8', current_setting('server_encoding')
			USING HINT = 'make it anew: createdb --encoding=UTF8 --template=template0 NAME';
	END IF;
END $$;

-- Group roles of the cluster; who logs in is made a member of one.
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['hedgerow_reader', 'hedgerow_operator', 'hedgerow_gateway', 'hedgerow_directory'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
			BEGIN
				EXECUTE format('CREATE ROLE %I NOLOGIN', name);
			EXCEPTION WHEN duplicate_object OR unique_violation THEN
				NULL; -- another database of this cluster is being migrated too
			END;
		END IF;
	END LOOP;
END $$;

CREATE SCHEMA IF NOT EXISTS hedgerow; -- `hedgerow migrate` has made it, with the table migration

GRANT USAGE ON SCHEMA hedgerow TO hedgerow_reader, hedgerow_operator, hedgerow_gateway, hedgerow_directory;

---- Refusals and checks of text

CREATE FUNCTION hedgerow.refuse(message text, hint text, detail text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF detail IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'HR100', MESSAGE = message, HINT = hint;
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'HR100', MESSAGE = message, DETAIL = detail, HINT = hint;
END $$;

CREATE FUNCTION hedgerow.is_name(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value ~ '^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$', false);

-- A site's name becomes part of the names of a publication and of a replication slot (63 bytes,
-- no hyphen): short, and with one spelling only once hyphens are underscores.
CREATE FUNCTION hedgerow.is_site_name(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value ~ '^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$', false);

CREATE FUNCTION hedgerow.is_domain(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value = lower(value COLLATE "C") AND octet_length(value) <= 253
	AND value ~ '^([a-z0-9\u0080-\U0010ffff]([a-z0-9\u0080-\U0010ffff-]{0,61}[a-z0-9\u0080-\U0010ffff])?\.)*[a-z0-9\u0080-\U0010ffff]([a-z0-9\u0080-\U0010ffff-]{0,61}[a-z0-9\u0080-\U0010ffff])?$', false);

-- local@domain, lower case, as the local part of a JID may be (RFC 7622, 3.3)
CREATE FUNCTION hedgerow.is_address(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value = lower(value COLLATE "C") AND octet_length(value) <= 1023
	AND value ~ '^[^@"&''/:<>[:space:][:cntrl:]]+@[^@]+$'
	AND hedgerow.is_domain(split_part(value, '@', 2)), false);

-- What an address in a table must be at least; publishing has folded and checked it in full.
CREATE FUNCTION hedgerow.is_stored_address(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value = lower(value COLLATE "C") AND value ~ '^[^@[:space:]]+@[^@[:space:]]+$';

CREATE FUNCTION hedgerow.is_host(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value ~ '^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$', false);

CREATE FUNCTION hedgerow.is_endpoint(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value ~ '^tcp://([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$'
	AND substring(value from ':([0-9]+)$')::int BETWEEN 1 AND 65535, false);

-- The name of a file in the secrets directory: never a path, never a secret itself
CREATE FUNCTION hedgerow.is_file_name(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value ~ '^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$', false);

CREATE FUNCTION hedgerow.is_z85_key(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(length(value) = 40 AND value ~ '^[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]+$', false);

-- What directory search and vCards show of a person beside name and address
CREATE FUNCTION hedgerow.is_details(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(jsonb_typeof(value) = 'object' AND NOT value @? '$.* ? (@.type() != "string")'
	AND value - ARRAY['given_name', 'family_name', 'organization', 'department', 'title', 'telephone'] = '{}', false);

CREATE FUNCTION hedgerow.is_regex(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN ('' ~ value) IS NOT NULL;
EXCEPTION WHEN invalid_regular_expression THEN
	RETURN false;
END $$;

---- This database

CREATE TABLE hedgerow.local_site (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	site text NOT NULL
);

CREATE FUNCTION hedgerow.local_site() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT l.site FROM hedgerow.local_site l);

CREATE TABLE hedgerow.setting (
	name text PRIMARY KEY,
	value text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('interval', 'bytes', 'number')),
	meaning text NOT NULL
);

CREATE TABLE hedgerow.change_log (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	who text NOT NULL DEFAULT session_user,
	program text NOT NULL DEFAULT current_setting('application_name'),
	transaction bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
	relation text NOT NULL,
	before jsonb,
	after jsonb,
	undoes bigint
);

---- Federation tables

CREATE TABLE hedgerow.site (
	site text PRIMARY KEY,
	title text,
	endpoints text[] NOT NULL DEFAULT '{}',
	message_expiry interval NOT NULL DEFAULT '7 days',
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE hedgerow.site_key (
	site text,
	public_key text,
	not_before timestamptz NOT NULL DEFAULT now(),
	not_after timestamptz NOT NULL DEFAULT 'infinity',
	PRIMARY KEY (site, public_key)
);

CREATE TABLE hedgerow.link (
	site text,
	peer text,
	dialer text NOT NULL,
	cost int NOT NULL DEFAULT 10,
	PRIMARY KEY (site, peer)
);

CREATE TABLE hedgerow.forest (
	site text,
	forest text,
	title text,
	kind text NOT NULL,
	urls text[] NOT NULL,
	tls text NOT NULL DEFAULT 'ldaps',
	ca text,
	bind text NOT NULL DEFAULT 'simple',
	bind_dn text,     -- a DN, or with gssapi a principal; NULL: a kind that is not logged on to
	bind_secret text, -- a file: the password, or with gssapi the keytab
	base_dn text NOT NULL,
	filter text NOT NULL,
	page_size int NOT NULL DEFAULT 1000,
	sync_interval interval NOT NULL DEFAULT '6 hours', -- from one full comparison to the next
	poll_interval interval NOT NULL DEFAULT '30 seconds', -- changes are asked for at least so often
	guard_delete_count int NOT NULL DEFAULT 20, -- a run that passes both of a pair is held
	guard_delete_percent int NOT NULL DEFAULT 10,
	guard_disable_count int NOT NULL DEFAULT 20,
	guard_disable_percent int NOT NULL DEFAULT 10,
	guard_address_count int NOT NULL DEFAULT 20,
	guard_address_percent int NOT NULL DEFAULT 10,
	mapping_version int NOT NULL DEFAULT 1,
	priority int NOT NULL DEFAULT 100,
	PRIMARY KEY (site, forest)
);

-- Further domains or suffixes of a forest; the first is in its own row.
CREATE TABLE hedgerow.naming_context (
	site text,
	forest text,
	base_dn text,
	urls text[] NOT NULL,
	PRIMARY KEY (site, forest, base_dn)
);

CREATE TABLE hedgerow.mapping (
	site text,
	forest text,
	version int, -- forest.mapping_version is in use; one above it is a draft
	field text,
	ordinal int,
	attribute text,
	pattern text NOT NULL DEFAULT '^(.*)$',
	replacement text NOT NULL DEFAULT '\1',
	fold text NOT NULL DEFAULT 'none',
	PRIMARY KEY (site, forest, version, field, ordinal)
);

CREATE TABLE hedgerow.email_domain (
	site text,
	domain text,
	forest text,
	PRIMARY KEY (site, domain, forest)
);

CREATE TABLE hedgerow.installation (
	site text,
	installation text,
	forest text NOT NULL,
	software text NOT NULL,
	native_domain text NOT NULL,
	host text NOT NULL,
	port int NOT NULL,
	secret text NOT NULL,
	tls boolean NOT NULL DEFAULT false,
	ca text,
	PRIMARY KEY (site, installation)
);

-- Compared by bytes, so that the order of claims is the same at every site, whatever its locale.
CREATE TABLE hedgerow.person (
	site text COLLATE "C",
	forest text COLLATE "C",
	anchor text COLLATE "C",
	address text COLLATE "C" NOT NULL,
	native text COLLATE "C",
	installation text,
	name text,
	kind text NOT NULL DEFAULT 'user', -- or contact: somebody whose account is elsewhere
	enabled boolean NOT NULL DEFAULT true,
	state text NOT NULL DEFAULT 'active',
	details jsonb NOT NULL DEFAULT '{}', -- texts by the names that is_details knows
	created_at timestamptz, -- as the directory says; NULL: it does not
	changed_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (anchor, site, forest) -- what differs first: it is filled by hundred thousands
) WITH (fillfactor = 90);
CREATE INDEX person_address ON hedgerow.person (address);
CREATE INDEX person_native ON hedgerow.person (native) WHERE native IS NOT NULL;

CREATE TABLE hedgerow.alias (
	site text COLLATE "C",
	forest text COLLATE "C",
	anchor text COLLATE "C",
	address text COLLATE "C",
	until timestamptz, -- a former address of the person; NULL: an alias that the directory has
	PRIMARY KEY (anchor, address, site, forest)
);
CREATE INDEX alias_address ON hedgerow.alias (address);

CREATE TABLE hedgerow.rule (
	site text,
	rule text,
	priority int NOT NULL DEFAULT 100,
	from_pattern text NOT NULL DEFAULT 'any',
	to_pattern text NOT NULL DEFAULT 'any',
	kind text NOT NULL DEFAULT 'any',
	action text NOT NULL,
	reason text,
	PRIMARY KEY (site, rule)
);

-- How the mail of a site's people of an e-mail domain is carried: by this site, as the row says, or by
-- another (`carrier`), as the row of that one says. So a site's people are spoken for only by a site
-- that their own site names.
CREATE TABLE hedgerow.mail_domain (
	site text,
	domain text,
	carrier text NOT NULL,
	chat_domain text,
	smarthost text,
	port int,
	tls text,
	ca text,
	username text,
	secret text,
	from_address text,
	reply_key text,
	reply_key_previous text,
	reply_life interval NOT NULL DEFAULT '14 days',
	authserv_id text,
	relays text[] NOT NULL DEFAULT '{}',
	mode text NOT NULL DEFAULT 'full',
	away interval,
	digest int NOT NULL DEFAULT 20,
	hourly int NOT NULL DEFAULT 60,
	languages text[] NOT NULL DEFAULT '{en}',
	attachments text NOT NULL DEFAULT 'name',
	originals interval,
	outsiders boolean NOT NULL DEFAULT false,
	PRIMARY KEY (site, domain)
);
COMMENT ON COLUMN hedgerow.mail_domain.chat_domain IS 'mail to local@chat_domain becomes chat for local@domain; reply addresses are in it';
COMMENT ON COLUMN hedgerow.mail_domain.from_address IS 'stands in From of what is sent: of a domain that the smarthost may send for';
COMMENT ON COLUMN hedgerow.mail_domain.reply_key IS 'file with the key that signs reply addresses, 32 bytes or more';
COMMENT ON COLUMN hedgerow.mail_domain.reply_key_previous IS 'file with the key before, still believed';
COMMENT ON COLUMN hedgerow.mail_domain.authserv_id IS 'whose Authentication-Results are believed';
COMMENT ON COLUMN hedgerow.mail_domain.relays IS 'networks whose mail is believed to be from whom it says';
COMMENT ON COLUMN hedgerow.mail_domain.mode IS 'off, notice (who wrote, not what) or full';
COMMENT ON COLUMN hedgerow.mail_domain.away IS 'who gives no receipt for so long gets mail; NULL: never';
COMMENT ON COLUMN hedgerow.mail_domain.digest IS 'messages in one mail at most; the others are counted in it';
COMMENT ON COLUMN hedgerow.mail_domain.hourly IS 'mails of one conversation in an hour, each way, at most';
COMMENT ON COLUMN hedgerow.mail_domain.languages IS 'of what we say in mails, the best first';
COMMENT ON COLUMN hedgerow.mail_domain.attachments IS 'of mails that come: name (they are named in the chat) or refuse';
COMMENT ON COLUMN hedgerow.mail_domain.originals IS 'how long the whole of a mail that became chat is kept for operators; NULL: not';
COMMENT ON COLUMN hedgerow.mail_domain.outsiders IS 'whether people of no forest may be reached and write, where a rule outsider:... allows it';

---- Ownership: a row of another site is changed there

-- remove_site, which forgets a site that has left, works as the owner and says so by a setting.
CREATE FUNCTION hedgerow.is_forgetting(gone text, relation regclass) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(current_setting('hedgerow.forgetting', true) = gone, false)
	AND EXISTS (SELECT FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
		WHERE c.oid = relation AND r.rolname = current_user);

CREATE FUNCTION hedgerow.refuse_owner(relation text, owner text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	here text := hedgerow.local_site();
BEGIN
	IF here IS NULL THEN
		PERFORM hedgerow.refuse('this database has no site yet', 'name it first: hedgerow site init NAME');
	END IF;
	PERFORM hedgerow.refuse(
		format('this row of "%s" belongs to site "%s", and this is site "%s"', relation, owner, here),
		format('change it in the database of "%s"; it arrives here by replication', owner));
END $$;

CREATE FUNCTION hedgerow.own_row() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF OLD.site IS DISTINCT FROM hedgerow.local_site() AND NOT hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
			PERFORM hedgerow.refuse_owner(TG_TABLE_NAME, OLD.site);
		END IF;
		RETURN OLD;
	END IF;
	IF TG_OP = 'UPDATE' AND OLD.site <> NEW.site THEN
		PERFORM hedgerow.refuse('a row cannot move to another site', 'remove it at one site and add it at the other');
	END IF;
	IF NEW.site IS DISTINCT FROM hedgerow.local_site() THEN
		PERFORM hedgerow.refuse_owner(TG_TABLE_NAME, NEW.site);
	END IF;
	RETURN NEW;
END $$;

-- own_row for the tables that are written by hundred thousands: once a statement
CREATE FUNCTION hedgerow.own_rows() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	owner text;
BEGIN
	SELECT r.site INTO owner FROM changed r
		WHERE r.site IS DISTINCT FROM (SELECT hedgerow.local_site()) LIMIT 1;
	IF FOUND AND NOT (TG_OP = 'DELETE' AND hedgerow.is_forgetting(owner, TG_RELID)) THEN
		PERFORM hedgerow.refuse_owner(TG_TABLE_NAME, owner);
	END IF;
	RETURN NULL;
END $$;

---- What makes no sense is refused, with the way to make sense

-- With the setting hedgerow.force = on (the parameter `force` of the remove functions) what is in
-- use may go.
CREATE FUNCTION hedgerow.is_forced() RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(current_setting('hedgerow.force', true) = 'on', false);

CREATE FUNCTION hedgerow.refuse_address(value text, anchor text) RETURNS void
LANGUAGE sql AS $$
	SELECT hedgerow.refuse(format('"%s" is not a federation address (person %s)', value, anchor),
		'an address is local@domain in lower case; correct the entry or the mapping')
$$;

CREATE FUNCTION hedgerow.check_name(what text, value text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF NOT hedgerow.is_name(value) THEN
		PERFORM hedgerow.refuse(format('"%s" cannot be the name of %s', coalesce(value, ''), what),
			'use 1 to 64 of a-z, 0-9, dot, hyphen and underscore, with a letter or digit first and last');
	END IF;
END $$;

CREATE FUNCTION hedgerow.check_file(what text, value text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF value IS NOT NULL AND NOT hedgerow.is_file_name(value) THEN
		PERFORM hedgerow.refuse(format('"%s" cannot be the name of a file for %s', value, what),
			'give the name of a file in the secrets directory, without a path; what is in it never comes into SQL');
	END IF;
END $$;

CREATE FUNCTION hedgerow.check_range(what text, value bigint, low bigint, high bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF value IS NULL OR value < low OR value > high THEN
		PERFORM hedgerow.refuse(format('%s cannot be %s', what, coalesce(value::text, 'null')),
			format('give a number from %s to %s', low, high));
	END IF;
END $$;

CREATE FUNCTION hedgerow.check_interval(what text, value interval, low interval, high interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF value IS NULL OR value < low OR value > high THEN
		PERFORM hedgerow.refuse(format('%s cannot be %s', what, coalesce(value::text, 'null')),
			format('give an interval from %s to %s', low, high));
	END IF;
END $$;

CREATE FUNCTION hedgerow.check_word(what text, value text, words text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF value IS NULL OR value <> ALL (words) THEN
		PERFORM hedgerow.refuse(format('%s cannot be "%s"', what, coalesce(value, '')),
			'it is one of: ' || array_to_string(words, ', '));
	END IF;
END $$;

CREATE FUNCTION hedgerow.check_domain(what text, value text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF NOT hedgerow.is_domain(value) THEN
		PERFORM hedgerow.refuse(format('%s "%s" is not a domain name', what, coalesce(value, '')),
			CASE WHEN hedgerow.is_domain(lower(value))
				THEN format('write it in lower case: %s', lower(value))
				ELSE 'write it like example.com: letters, digits and hyphens between dots' END);
	END IF;
END $$;

-- "site X, Y and Z" for hints; what is known of a kind
CREATE FUNCTION hedgerow.known(what text, names text[]) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN cardinality(names) > 0 THEN format('known %s: %s', what, array_to_string(names, ', '))
	ELSE format('there are no %s yet', what) END;

CREATE FUNCTION hedgerow.valid_local_site() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	used text;
BEGIN
	IF TG_OP <> 'INSERT' THEN
		SELECT r.relation INTO used FROM (
			SELECT 'site' AS relation, site FROM hedgerow.site
			UNION ALL SELECT 'forest', site FROM hedgerow.forest
			UNION ALL SELECT 'person', site FROM hedgerow.person
			UNION ALL SELECT 'installation', site FROM hedgerow.installation) r
		WHERE r.site = OLD.site AND (TG_OP = 'DELETE' OR NEW.site <> OLD.site) LIMIT 1;
		IF FOUND THEN
			PERFORM hedgerow.refuse(format('this database is site "%s" and has rows of it', OLD.site),
				'a site keeps its name; make a new database for another site',
				format('there are rows in "%s"', used));
		END IF;
		IF TG_OP = 'DELETE' THEN
			RETURN OLD;
		END IF;
	END IF;
	IF NOT hedgerow.is_site_name(NEW.site) THEN
		PERFORM hedgerow.refuse(format('"%s" cannot be the name of a site', NEW.site),
			'use up to 24 of a-z, 0-9 and hyphen, with a letter first');
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_site() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	endpoint text;
	used text;
BEGIN
	IF TG_OP = 'DELETE' THEN
		SELECT format('%s "%s"', r.kind, r.name) INTO used FROM (
			SELECT 'link' AS kind, peer AS name, site FROM hedgerow.link
			UNION ALL SELECT 'forest', forest, site FROM hedgerow.forest
			UNION ALL SELECT 'installation', installation, site FROM hedgerow.installation) r
		WHERE r.site = OLD.site LIMIT 1;
		IF FOUND AND NOT hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
			PERFORM hedgerow.refuse(format('site "%s" still has %s', OLD.site, used), 'remove that first');
		END IF;
		RETURN OLD;
	END IF;
	IF NOT hedgerow.is_site_name(NEW.site) THEN
		PERFORM hedgerow.refuse(format('"%s" cannot be the name of a site', NEW.site),
			'use up to 24 of a-z, 0-9 and hyphen, with a letter first');
	END IF;
	FOREACH endpoint IN ARRAY coalesce(NEW.endpoints, '{}') LOOP
		IF NOT hedgerow.is_endpoint(endpoint) THEN
			PERFORM hedgerow.refuse(format('endpoint "%s" of site "%s" cannot be dialled', coalesce(endpoint, ''), NEW.site),
				'write it as tcp://HOST:PORT, for instance tcp://gw.boston.example:7500');
		END IF;
	END LOOP;
	PERFORM hedgerow.check_interval('message_expiry', NEW.message_expiry, '1 second', '90 days');
	IF TG_OP = 'UPDATE' AND cardinality(NEW.endpoints) = 0 AND cardinality(OLD.endpoints) > 0 THEN
		SELECT l.site INTO used FROM hedgerow.link l
			WHERE NEW.site IN (l.site, l.peer) AND l.dialer <> NEW.site LIMIT 1;
		IF FOUND THEN
			PERFORM hedgerow.refuse(format('site "%s" needs an endpoint: others dial it', NEW.site),
				'keep one, or make this site the dialer of its links');
		END IF;
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_site_key() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF EXISTS (SELECT FROM hedgerow.link l WHERE l.site = OLD.site)
			AND NOT EXISTS (SELECT FROM hedgerow.site_key k WHERE k.site = OLD.site
				AND k.public_key <> OLD.public_key AND k.not_before <= now() AND k.not_after > now())
			AND NOT hedgerow.is_forced() AND NOT hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
			PERFORM hedgerow.refuse(format('this is the last valid key of site "%s", whose links need one', OLD.site),
				'add the new key first: hedgerow site key add PUBLIC-KEY');
		END IF;
		RETURN OLD;
	END IF;
	IF NOT hedgerow.is_z85_key(NEW.public_key) THEN
		PERFORM hedgerow.refuse(format('"%s" is not a public key', NEW.public_key),
			'a CURVE key is 40 characters of Z85, as hedgerow key generate prints it');
	END IF;
	IF EXISTS (SELECT FROM hedgerow.site_key k WHERE k.public_key = NEW.public_key AND k.site <> NEW.site) THEN
		PERFORM hedgerow.refuse('this public key belongs to another site already',
			'each site has keys of its own: hedgerow key generate');
	END IF;
	IF NEW.not_after <= NEW.not_before THEN
		PERFORM hedgerow.refuse('the key would end before it begins', 'give a not_after later than not_before');
	END IF;
	IF TG_OP = 'INSERT' AND NEW.not_after <= now() THEN
		PERFORM hedgerow.refuse('the key has ended already', 'give a not_after that is to come');
	END IF;
	IF TG_OP = 'UPDATE' AND NEW.not_after <= now() AND OLD.not_before <= now() AND OLD.not_after > now()
		AND EXISTS (SELECT FROM hedgerow.link l WHERE l.site = NEW.site)
		AND NOT EXISTS (SELECT FROM hedgerow.site_key k WHERE k.site = NEW.site
			AND k.public_key <> OLD.public_key AND k.not_before <= now() AND k.not_after > now()) THEN
		PERFORM hedgerow.refuse(format('this is the last valid key of site "%s", whose links need one', NEW.site),
			'add the new key first: hedgerow site key add PUBLIC-KEY');
	END IF;
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = NEW.site) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not in the registry', NEW.site), 'add it first: hedgerow site init NAME');
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_link() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	theirs hedgerow.link;
	listener text;
BEGIN
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	IF NEW.peer = NEW.site THEN
		PERFORM hedgerow.refuse(format('site "%s" cannot have a link to itself', NEW.site), 'name another site as the peer');
	END IF;
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = NEW.site) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not in the registry', NEW.site), 'add it first: hedgerow site init NAME');
	END IF;
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = NEW.peer) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not known here', NEW.peer),
			format('join its database first: hedgerow site join %s --database CONNINFO', NEW.peer),
			hedgerow.known('sites', ARRAY(SELECT s.site FROM hedgerow.site s ORDER BY 1)));
	END IF;
	IF NEW.dialer IS NULL OR NEW.dialer NOT IN (NEW.site, NEW.peer) THEN
		PERFORM hedgerow.refuse(format('"%s" cannot dial the link of "%s" and "%s"', coalesce(NEW.dialer, ''), NEW.site, NEW.peer),
			format('the dialer is one of the two: %s or %s', NEW.site, NEW.peer));
	END IF;
	SELECT * INTO theirs FROM hedgerow.link l WHERE l.site = NEW.peer AND l.peer = NEW.site;
	IF FOUND AND theirs.dialer <> NEW.dialer THEN
		PERFORM hedgerow.refuse(format('site "%s" says that "%s" dials this link, not "%s"', NEW.peer, theirs.dialer, NEW.dialer),
			format('use dialer %s here, or change the row of "%s" there first', theirs.dialer, NEW.peer));
	END IF;
	listener := CASE NEW.dialer WHEN NEW.site THEN NEW.peer ELSE NEW.site END;
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = listener AND cardinality(s.endpoints) > 0) THEN
		PERFORM hedgerow.refuse(format('"%s" would dial "%s", which has no endpoint', NEW.dialer, listener),
			format('give site "%s" an endpoint like tcp://gw.example:7500, or let it be the dialer', listener));
	END IF;
	PERFORM hedgerow.check_range('the cost of a link', NEW.cost, 1, 1000);
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.check_base_dn(value text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(value, '') !~ '=' THEN
		PERFORM hedgerow.refuse(format('base_dn "%s" is not a distinguished name', coalesce(value, '')), 'write it like ou=People,dc=example,dc=com');
	END IF;
END $$;

CREATE FUNCTION hedgerow.check_urls(forest text, kind text, tls text, urls text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	url text;
BEGIN
	IF coalesce(cardinality(urls), 0) = 0 THEN
		PERFORM hedgerow.refuse(format('forest "%s" has no url', forest), 'give one or more like ldaps://dc1.example');
	END IF;
	FOREACH url IN ARRAY urls LOOP
		IF kind = 'ldif' THEN
			IF coalesce(url, '') !~ '^file:///[^?#[:cntrl:]]+$' THEN
				PERFORM hedgerow.refuse(format('"%s" is not the url of an LDIF file', coalesce(url, '')), 'write it as file:///PATH');
			END IF;
			CONTINUE;
		END IF;
		IF url IS NULL OR url !~ '^ldaps?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?$' THEN
			PERFORM hedgerow.refuse(format('"%s" is not the url of a directory', coalesce(url, '')),
				'write it as ldaps://HOST[:PORT], or ldap://HOST[:PORT] with tls starttls');
		END IF;
		IF substring(url from ':([0-9]+)/?$')::int NOT BETWEEN 1 AND 65535 THEN
			PERFORM hedgerow.refuse(format('url "%s" has no port that there is', url), 'a port is a number from 1 to 65535');
		END IF;
		IF (url LIKE 'ldaps:%') <> (tls = 'ldaps') THEN
			PERFORM hedgerow.refuse(format('url "%s" does not go with tls %s', url, tls),
				'ldaps:// goes with tls ldaps, ldap:// with tls starttls; tls plain is ldap:// without encryption, for private networks only');
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION hedgerow.valid_naming_context() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	f hedgerow.forest;
BEGIN
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	SELECT * INTO f FROM hedgerow.forest t WHERE t.site = NEW.site AND t.forest = NEW.forest;
	IF NOT FOUND THEN
		PERFORM hedgerow.refuse(format('forest "%s" is not one of this site', NEW.forest), 'add it first: hedgerow forest add',
			hedgerow.known('forests', ARRAY(SELECT t.forest FROM hedgerow.forest t WHERE t.site = NEW.site ORDER BY 1)));
	END IF;
	PERFORM hedgerow.check_base_dn(NEW.base_dn);
	PERFORM hedgerow.check_urls(NEW.forest, f.kind, f.tls, NEW.urls);
	IF lower(NEW.base_dn) = lower(f.base_dn) OR EXISTS (SELECT FROM hedgerow.naming_context c
		WHERE c.site = NEW.site AND c.forest = NEW.forest AND lower(c.base_dn) = lower(NEW.base_dn)
		AND (TG_OP = 'INSERT' OR c.base_dn <> OLD.base_dn)) THEN
		PERFORM hedgerow.refuse(format('%s is a naming context of forest "%s" already', NEW.base_dn, NEW.forest),
			'each is named once; several servers of one are several urls');
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_forest() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	url text;
	used text;
	guard record;
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF hedgerow.is_forced() OR hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
			RETURN OLD;
		END IF;
		SELECT format('installation "%s" serves it', i.installation) INTO used
			FROM hedgerow.installation i WHERE i.forest = OLD.forest
			AND NOT EXISTS (SELECT FROM hedgerow.forest f WHERE f.forest = OLD.forest AND f.site <> OLD.site) LIMIT 1;
		IF used IS NULL THEN
			SELECT format('e-mail domain "%s" is granted to it', d.domain) INTO used
				FROM hedgerow.email_domain d WHERE d.site = OLD.site AND d.forest = OLD.forest LIMIT 1;
		END IF;
		IF used IS NULL THEN
			SELECT format('rule "%s" names it', r.rule) INTO used FROM hedgerow.rule r
				WHERE r.site = OLD.site AND 'forest:' || OLD.forest IN (r.from_pattern, r.to_pattern) LIMIT 1;
		END IF;
		IF used IS NULL THEN
			SELECT format('%s people come from it', count(*)) INTO used FROM hedgerow.person p
				WHERE p.site = OLD.site AND p.forest = OLD.forest AND p.state = 'active' HAVING count(*) > 0;
		END IF;
		IF used IS NOT NULL THEN
			PERFORM hedgerow.refuse(format('forest "%s" is in use: %s', OLD.forest, used),
				'remove that first, or force it: everything of the forest goes with it');
		END IF;
		RETURN OLD;
	END IF;
	PERFORM hedgerow.check_name('a forest', NEW.forest);
	PERFORM hedgerow.check_word('the kind of a forest', NEW.kind, ARRAY['openldap', 'activedirectory', 'ldif']);
	PERFORM hedgerow.check_word('tls', NEW.tls, ARRAY['ldaps', 'starttls', 'plain']);
	PERFORM hedgerow.check_word('the bind of a forest', NEW.bind, ARRAY['simple', 'gssapi']);
	PERFORM hedgerow.check_urls(NEW.forest, NEW.kind, NEW.tls, NEW.urls);
	PERFORM hedgerow.check_file('the CA', NEW.ca);
	PERFORM hedgerow.check_file(CASE NEW.bind WHEN 'gssapi' THEN 'the keytab' ELSE 'the bind password' END, NEW.bind_secret);
	IF NEW.kind <> 'ldif' AND (coalesce(NEW.bind_dn, '') !~ '[^[:space:]]' OR NEW.bind_secret IS NULL) THEN
		PERFORM hedgerow.refuse(format('forest "%s" has no %s', NEW.forest,
				CASE WHEN coalesce(NEW.bind_dn, '') !~ '[^[:space:]]' THEN 'bind_dn' ELSE 'bind_secret' END),
			'name who reads the directory, like cn=hedgerow,dc=example,dc=com, and the file with the password: a bind without a name is anonymous');
	END IF;
	PERFORM hedgerow.check_base_dn(NEW.base_dn);
	IF EXISTS (SELECT FROM hedgerow.naming_context c WHERE c.site = NEW.site AND c.forest = NEW.forest
		AND lower(c.base_dn) = lower(NEW.base_dn)) THEN
		PERFORM hedgerow.refuse(format('%s is another naming context of forest "%s"', NEW.base_dn, NEW.forest), 'remove that first');
	END IF;
	FOR url IN SELECT u FROM hedgerow.naming_context c CROSS JOIN unnest(c.urls) u
		WHERE c.site = NEW.site AND c.forest = NEW.forest LOOP
		PERFORM hedgerow.check_urls(NEW.forest, NEW.kind, NEW.tls, ARRAY[url]);
	END LOOP;
	IF coalesce(NEW.filter, '') !~ '^\(.+\)$'
		OR length(replace(NEW.filter, '(', '')) <> length(replace(NEW.filter, ')', '')) THEN
		PERFORM hedgerow.refuse(format('"%s" is not an LDAP filter', coalesce(NEW.filter, '')), 'write it like (objectClass=inetOrgPerson), each parenthesis closed');
	END IF;
	PERFORM hedgerow.check_range('page_size', NEW.page_size, 1, 100000);
	PERFORM hedgerow.check_interval('sync_interval', NEW.sync_interval, '1 second', '30 days');
	PERFORM hedgerow.check_interval('poll_interval', NEW.poll_interval, '1 second', '1 day');
	FOR guard IN SELECT key, value::bigint FROM jsonb_each_text(to_jsonb(NEW)) WHERE starts_with(key, 'guard_') LOOP
		PERFORM hedgerow.check_range(guard.key, guard.value, 0, CASE WHEN guard.key LIKE '%percent' THEN 100 ELSE 1000000 END);
	END LOOP;
	PERFORM hedgerow.check_range('mapping_version', NEW.mapping_version, 1, 1000000);
	IF TG_OP = 'UPDATE' AND NEW.mapping_version <> OLD.mapping_version AND NOT EXISTS (SELECT FROM hedgerow.mapping m
		WHERE m.site = NEW.site AND m.forest = NEW.forest AND m.version = NEW.mapping_version) THEN
		PERFORM hedgerow.refuse(format('forest "%s" has no version %s of its mapping', NEW.forest, NEW.mapping_version),
			'see: hedgerow mapping list');
	END IF;
	PERFORM hedgerow.check_range('priority', NEW.priority, 0, 1000000);
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = NEW.site) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not in the registry', NEW.site), 'add it first: hedgerow site init NAME');
	END IF;
	RETURN NEW;
END $$;

-- Whether an owner's function copies rows: a new draft, or the usual mapping of a kind. Such rows are
-- checked once more when they are edited, and are in the record of changes only then.
CREATE FUNCTION hedgerow.is_copying(relation regclass) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(current_setting('hedgerow.copying', true) = 'on', false)
	AND EXISTS (SELECT FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
		WHERE c.oid = relation AND r.rolname = current_user);

-- The attributes that a replacement names: ${givenName}.${sn}@example.com
CREATE FUNCTION hedgerow.template_names(replacement text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT m[1] FROM regexp_matches(replacement, '\$\{([^}]*)\}', 'g') m);

CREATE FUNCTION hedgerow.is_attribute(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(value ~ '^[A-Za-z0-9][A-Za-z0-9.;-]{0,127}$', false);

-- A version that is or was in use stays as it is: only a draft is edited.
CREATE FUNCTION hedgerow.check_draft(mapping hedgerow.mapping) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	active int := (SELECT f.mapping_version FROM hedgerow.forest f
		WHERE f.site = mapping.site AND f.forest = mapping.forest);
BEGIN
	IF mapping.version <= active AND NOT hedgerow.is_copying('hedgerow.mapping') THEN
		PERFORM hedgerow.refuse(format('version %s of the mapping of forest "%s" is or was in use, and stays as it is',
				mapping.version, mapping.forest),
			format('edit the draft (hedgerow mapping set %s FIELD), then: hedgerow mapping apply %1$s', mapping.forest));
	END IF;
END $$;

CREATE FUNCTION hedgerow.valid_mapping() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	IF TG_OP <> 'INSERT' AND NOT hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
		PERFORM hedgerow.check_draft(OLD);
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	PERFORM hedgerow.check_draft(NEW);
	PERFORM hedgerow.check_word('the field of a mapping', NEW.field, ARRAY['address', 'alias', 'native', 'installation', 'name',
		'enabled', 'kind', 'created', 'skip', 'given_name', 'family_name', 'organization', 'department', 'title', 'telephone']);
	PERFORM hedgerow.check_range('the ordinal of a mapping', NEW.ordinal, 1, 1000);
	PERFORM hedgerow.check_word('fold', NEW.fold, ARRAY['none', 'lower', 'upper']);
	IF NOT EXISTS (SELECT FROM hedgerow.forest f WHERE f.site = NEW.site AND f.forest = NEW.forest) THEN
		PERFORM hedgerow.refuse(format('forest "%s" is not one of this site', NEW.forest), 'add it first: hedgerow forest add',
			hedgerow.known('forests', ARRAY(SELECT f.forest FROM hedgerow.forest f WHERE f.site = NEW.site ORDER BY 1)));
	END IF;
	IF NEW.attribute IS NOT NULL AND NOT hedgerow.is_attribute(NEW.attribute) THEN
		PERFORM hedgerow.refuse(format('"%s" is not the name of an LDAP attribute', NEW.attribute), 'write it like mail or proxyAddresses');
	END IF;
	IF NOT hedgerow.is_regex(NEW.pattern) THEN
		PERFORM hedgerow.refuse(format('pattern "%s" is not a regular expression', NEW.pattern),
			'PostgreSQL''s regular expressions are meant, for instance ^smtp:(.*)$');
	END IF;
	IF NEW.replacement IS NULL OR (NEW.attribute IS NULL AND NEW.replacement ~ '\\[1-9]') THEN
		PERFORM hedgerow.refuse('a mapping without an attribute has nothing that \1 could stand for',
			'give the value itself, or a template like ${givenName}.${sn}@example.com');
	END IF;
	FOREACH name IN ARRAY hedgerow.template_names(NEW.replacement) LOOP
		IF name = 'installation.domain' AND NEW.field <> 'native' THEN
			PERFORM hedgerow.refuse('${installation.domain} is for the field native only', 'write the domain itself');
		ELSIF name <> 'installation.domain' AND NOT hedgerow.is_attribute(name) THEN
			PERFORM hedgerow.refuse(format('"${%s}" does not name an LDAP attribute', name), 'write it like ${givenName}');
		END IF;
	END LOOP;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_email_domain() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	used bigint;
	native text;
BEGIN
	IF TG_OP = 'DELETE' THEN
		SELECT count(*) INTO used FROM hedgerow.person p WHERE p.site = OLD.site AND p.forest = OLD.forest
			AND p.state = 'active' AND right(p.address, length(OLD.domain) + 1) = '@' || OLD.domain;
		IF used > 0 AND NOT hedgerow.is_forced() AND NOT hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
			PERFORM hedgerow.refuse(format('%s people of forest "%s" have addresses in %s', used, OLD.forest, OLD.domain),
				'map them elsewhere first, or force it: they are then no longer routed, and listed in quarantine');
		END IF;
		RETURN OLD;
	END IF;
	PERFORM hedgerow.check_domain('e-mail domain', NEW.domain);
	IF NOT EXISTS (SELECT FROM hedgerow.forest f WHERE f.site = NEW.site AND f.forest = NEW.forest) THEN
		PERFORM hedgerow.refuse(format('forest "%s" is not one of this site', NEW.forest), 'add it first: hedgerow forest add',
			hedgerow.known('forests', ARRAY(SELECT f.forest FROM hedgerow.forest f WHERE f.site = NEW.site ORDER BY 1)));
	END IF;
	SELECT i.installation INTO native FROM hedgerow.installation i WHERE i.native_domain = NEW.domain LIMIT 1;
	IF FOUND THEN
		PERFORM hedgerow.refuse(format('%s is the native domain of installation "%s"', NEW.domain, native),
			'a federated e-mail domain becomes a component of the server, so its own users need another domain, like im.' || NEW.domain);
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_installation() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	used bigint;
	other text;
BEGIN
	IF TG_OP = 'DELETE' THEN
		SELECT count(*) INTO used FROM hedgerow.person p
			WHERE p.installation = OLD.installation AND p.state = 'active'
			AND NOT EXISTS (SELECT FROM hedgerow.installation i WHERE i.installation = OLD.installation AND i.site <> OLD.site);
		IF used > 0 AND NOT hedgerow.is_forced() AND NOT hedgerow.is_forgetting(OLD.site, TG_RELID) THEN
			PERFORM hedgerow.refuse(format('%s people are served by installation "%s"', used, OLD.installation),
				'move them in the directory first, or force it: messages to them then come back');
		END IF;
		RETURN OLD;
	END IF;
	PERFORM hedgerow.check_name('an installation', NEW.installation);
	IF NEW.installation = 'none' THEN
		PERFORM hedgerow.refuse('"none" cannot be the name of an installation', 'it is what a directory says of people without chat; choose another');
	END IF;
	PERFORM hedgerow.check_word('the software of an installation', NEW.software, ARRAY['prosody', 'ejabberd', 'openfire']);
	PERFORM hedgerow.check_domain('native domain', NEW.native_domain);
	IF NOT hedgerow.is_host(NEW.host) THEN
		PERFORM hedgerow.refuse(format('"%s" is not a host', coalesce(NEW.host, '')), 'give a host name or an IP address, without port');
	END IF;
	PERFORM hedgerow.check_range('the port of an installation', NEW.port, 1, 65535);
	PERFORM hedgerow.check_file('the component secret', NEW.secret);
	PERFORM hedgerow.check_file('the CA', NEW.ca);
	IF NOT EXISTS (SELECT FROM hedgerow.forest f WHERE f.forest = NEW.forest) THEN
		PERFORM hedgerow.refuse(format('forest "%s" is not known in the federation', NEW.forest), 'name the forest whose people the installation serves',
			hedgerow.known('forests', ARRAY(SELECT DISTINCT f.forest FROM hedgerow.forest f ORDER BY 1)));
	END IF;
	SELECT d.site INTO other FROM hedgerow.email_domain d WHERE d.domain = NEW.native_domain LIMIT 1;
	IF FOUND THEN
		PERFORM hedgerow.refuse(format('%s is a federated e-mail domain', NEW.native_domain),
			'the server''s own users need a domain of their own, like im.' || NEW.native_domain);
	END IF;
	SELECT i.site INTO other FROM hedgerow.installation i
		WHERE i.installation = NEW.installation AND i.site <> NEW.site ORDER BY 1 LIMIT 1;
	IF FOUND AND TG_OP = 'INSERT' THEN
		PERFORM hedgerow.refuse(format('installation "%s" is at site "%s" already', NEW.installation, other),
			'people name their installation, so its name is used once in the federation; choose another');
	END IF;
	SELECT i.installation INTO other FROM hedgerow.installation i
		WHERE i.native_domain = NEW.native_domain AND (i.site, i.installation) <> (NEW.site, NEW.installation)
		AND (TG_OP = 'INSERT' OR NEW.native_domain <> OLD.native_domain) LIMIT 1;
	IF FOUND THEN
		PERFORM hedgerow.refuse(format('%s is the native domain of installation "%s" already', NEW.native_domain, other),
			'each installation has a native domain of its own');
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.check_pattern(what text, value text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	kind text := split_part(value, ':', 1);
	name text := substr(value, length(split_part(value, ':', 1)) + 2);
BEGIN
	IF value = 'any' THEN
		RETURN;
	END IF;
	IF kind IS NULL OR kind NOT IN ('forest', 'site', 'domain', 'address', 'outsider') OR name = '' THEN
		PERFORM hedgerow.refuse(format('"%s" is not a pattern for %s', coalesce(value, ''), what),
			'write any, forest:NAME, site:NAME, domain:DOMAIN, address:USER@DOMAIN, or outsider:any, outsider:DOMAIN, outsider:USER@DOMAIN');
	ELSIF kind = 'outsider' AND name <> 'any' AND NOT hedgerow.is_address(name) THEN
		PERFORM hedgerow.check_domain('domain', name);
	ELSIF kind = 'forest' AND NOT EXISTS (SELECT FROM hedgerow.forest f WHERE name IN (f.forest, f.forest || '@' || f.site)) THEN
		PERFORM hedgerow.refuse(format('forest "%s" is not known in the federation', name), 'the rule would never match; correct the name',
			hedgerow.known('forests', ARRAY(SELECT DISTINCT f.forest FROM hedgerow.forest f ORDER BY 1)));
	ELSIF kind = 'site' AND NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = name) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not known here', name), 'the rule would never match; correct the name, or join the site first',
			hedgerow.known('sites', ARRAY(SELECT s.site FROM hedgerow.site s ORDER BY 1)));
	ELSIF kind = 'domain' THEN
		PERFORM hedgerow.check_domain('domain', name);
	ELSIF kind = 'address' AND NOT hedgerow.is_address(name) THEN
		PERFORM hedgerow.refuse(format('"%s" is not a federation address', name), 'write it in lower case like address:ada@example.com, without resource');
	END IF;
END $$;

CREATE FUNCTION hedgerow.valid_rule() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	PERFORM hedgerow.check_name('a rule', NEW.rule);
	PERFORM hedgerow.check_range('the priority of a rule', NEW.priority, 0, 1000000);
	PERFORM hedgerow.check_pattern('from', NEW.from_pattern);
	PERFORM hedgerow.check_pattern('to', NEW.to_pattern);
	PERFORM hedgerow.check_word('the kind of a rule', NEW.kind, ARRAY['any', 'message', 'presence', 'iq']);
	PERFORM hedgerow.check_word('the action of a rule', NEW.action, ARRAY['allow', 'deny']);
	IF length(NEW.reason) > 500 OR NEW.reason ~ '[[:cntrl:]]' THEN
		PERFORM hedgerow.refuse('the reason of a rule is one line of at most 500 characters', 'make it shorter; the sender sees it');
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION hedgerow.valid_mail_domain() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	other text;
	item text;
BEGIN
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	PERFORM hedgerow.check_domain('e-mail domain', NEW.domain);
	IF NOT EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.site = NEW.site AND d.domain = NEW.domain) THEN
		PERFORM hedgerow.refuse(format('%s is granted to no forest of this site', NEW.domain), 'grant it first: hedgerow domain add',
			hedgerow.known('domains', ARRAY(SELECT DISTINCT d.domain FROM hedgerow.email_domain d WHERE d.site = NEW.site ORDER BY 1)));
	END IF;
	IF NOT EXISTS (SELECT FROM hedgerow.site s WHERE s.site = NEW.carrier) THEN
		PERFORM hedgerow.refuse(format('site "%s" is not known here', coalesce(NEW.carrier, '')), 'name this site, or one that was joined',
			hedgerow.known('sites', ARRAY(SELECT s.site FROM hedgerow.site s ORDER BY 1)));
	END IF;
	IF NEW.carrier <> NEW.site THEN
		IF coalesce(NEW.chat_domain, NEW.smarthost, NEW.from_address, NEW.secret) IS NOT NULL OR NEW.away IS NOT NULL THEN
			PERFORM hedgerow.refuse(format('the mail of %s is carried by site "%s", and is not set up here too', NEW.domain, NEW.carrier),
				'leave everything but carrier out; mail for who is away needs this site as carrier, which knows of receipts');
		END IF;
		RETURN NEW;
	END IF;
	PERFORM hedgerow.check_domain('chat domain', NEW.chat_domain);
	SELECT 'is a federated e-mail domain' INTO other FROM hedgerow.email_domain d WHERE d.domain = NEW.chat_domain
		UNION ALL SELECT format('is the native domain of installation "%s"', i.installation) FROM hedgerow.installation i WHERE i.native_domain = NEW.chat_domain
		UNION ALL SELECT format('is the chat domain of %s', m.domain) FROM hedgerow.mail_domain m
			WHERE m.chat_domain = NEW.chat_domain AND (m.site, m.domain) <> (NEW.site, NEW.domain) LIMIT 1;
	IF FOUND THEN
		PERFORM hedgerow.refuse(format('%s %s', NEW.chat_domain, other), 'mail that shall become chat needs a domain of its own, like chat.' || NEW.domain);
	END IF;
	IF NOT hedgerow.is_host(NEW.smarthost) THEN
		PERFORM hedgerow.refuse(format('smarthost "%s" is not a host', coalesce(NEW.smarthost, '')), 'give a host name or an IP address, without port');
	END IF;
	PERFORM hedgerow.check_range('the port of a smarthost', NEW.port, 1, 65535);
	PERFORM hedgerow.check_word('tls of a smarthost', NEW.tls, ARRAY['starttls', 'tls', 'none']);
	PERFORM hedgerow.check_file('the CA', NEW.ca);
	PERFORM hedgerow.check_file('the password at the smarthost', NEW.secret);
	PERFORM hedgerow.check_file('the key of reply addresses', NEW.reply_key);
	PERFORM hedgerow.check_file('the key of reply addresses before', NEW.reply_key_previous);
	IF NEW.reply_key IS NULL THEN
		PERFORM hedgerow.refuse('reply addresses need a key', 'name a file in the secrets directory with at least 32 bytes in its first line');
	END IF;
	IF (NEW.username IS NULL) <> (NEW.secret IS NULL) OR NEW.username ~ '[[:cntrl:]]' THEN
		PERFORM hedgerow.refuse('a login at the smarthost is a username and the name of a file with its password', 'give both, or neither');
	END IF;
	IF NEW.secret IS NOT NULL AND NEW.tls = 'none' THEN
		PERFORM hedgerow.refuse('a password is not sent in the clear', 'use starttls or tls with the smarthost');
	END IF;
	IF NOT hedgerow.is_address(NEW.from_address) THEN
		PERFORM hedgerow.refuse(format('"%s" is not an address for From', coalesce(NEW.from_address, '')), 'write it in lower case, like chat@chat.' || NEW.domain);
	END IF;
	IF NEW.authserv_id !~ '^[!-~]{1,253}$' THEN
		PERFORM hedgerow.refuse(format('"%s" is not an authserv-id', NEW.authserv_id), 'it is one word, as the MTA writes it first in Authentication-Results');
	END IF;
	FOREACH item IN ARRAY NEW.relays LOOP
		BEGIN
			PERFORM item::cidr;
		EXCEPTION WHEN data_exception THEN
			PERFORM hedgerow.refuse(format('relay "%s" is not a network', item), 'give an address or a network, like 10.0.0.0/8 or 2001:db8::1');
		END;
	END LOOP;
	FOREACH item IN ARRAY NEW.languages LOOP
		IF item !~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$' THEN
			PERFORM hedgerow.refuse(format('"%s" is not a language', item), 'write it like en, de or nl-BE');
		END IF;
	END LOOP;
	PERFORM hedgerow.check_word('mode of mail', NEW.mode, ARRAY['off', 'notice', 'full']);
	PERFORM hedgerow.check_word('attachments', NEW.attachments, ARRAY['name', 'refuse']);
	IF NEW.away IS NOT NULL THEN
		PERFORM hedgerow.check_interval('away', NEW.away, '1 second', '30 days');
	END IF;
	IF NEW.originals IS NOT NULL THEN
		PERFORM hedgerow.check_interval('originals', NEW.originals, '1 hour', '10 years');
	END IF;
	PERFORM hedgerow.check_interval('reply_life', NEW.reply_life, '1 hour', '1 year');
	PERFORM hedgerow.check_range('digest', NEW.digest, 1, 100);
	PERFORM hedgerow.check_range('hourly', NEW.hourly, 1, 100000);
	RETURN NEW;
END $$;

-- What the functions of publishing write by hundred thousands they have mapped, folded and checked.
CREATE FUNCTION hedgerow.is_publishing() RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(current_setting('hedgerow.publishing', true) = 'on', false);

-- Once a statement, over all its rows.
CREATE FUNCTION hedgerow.valid_person() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	bad record;
BEGIN
	SELECT c.* INTO bad FROM changed c WHERE NOT hedgerow.is_stored_address(c.address)
		OR c.state NOT IN ('active', 'deleted') OR c.kind NOT IN ('user', 'contact') OR c.native <> lower(c.native)
		OR c.details <> '{}' AND NOT hedgerow.is_details(c.details) LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	ELSIF NOT hedgerow.is_stored_address(bad.address) THEN
		PERFORM hedgerow.refuse_address(bad.address, bad.anchor);
	ELSIF bad.state NOT IN ('active', 'deleted') THEN
		PERFORM hedgerow.refuse(format('the state of a person cannot be "%s" (person %s)', bad.state, bad.anchor), 'it is one of: active, deleted');
	ELSIF bad.kind NOT IN ('user', 'contact') THEN
		PERFORM hedgerow.refuse(format('the kind of a person cannot be "%s" (person %s)', bad.kind, bad.anchor), 'it is one of: user, contact');
	ELSIF NOT hedgerow.is_details(bad.details) THEN
		PERFORM hedgerow.refuse(format('the details of person %s cannot be %s', bad.anchor, left(bad.details::text, 200)),
			'they are texts under given_name, family_name, organization, department, title, telephone');
	END IF;
	PERFORM hedgerow.refuse(format('native address "%s" is not in lower case (person %s)', bad.native, bad.anchor), 'correct the entry or the mapping');
	RETURN NULL;
END $$;

CREATE FUNCTION hedgerow.valid_alias() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	bad record;
BEGIN
	SELECT c.* INTO bad FROM changed c WHERE NOT hedgerow.is_stored_address(c.address) LIMIT 1;
	IF FOUND THEN
		PERFORM hedgerow.refuse_address(bad.address, bad.anchor);
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION hedgerow.valid_setting() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.name <> OLD.name OR NEW.kind <> OLD.kind THEN
		PERFORM hedgerow.refuse('only the value of a setting can be changed', 'see: hedgerow setting list');
	END IF;
	BEGIN
		IF NEW.kind = 'interval' AND NEW.value::interval >= '0'
			OR NEW.kind = 'bytes' AND pg_size_bytes(NEW.value) > 0
			OR NEW.kind = 'number' AND NEW.value::bigint >= 0 THEN
			RETURN NEW;
		END IF;
	EXCEPTION WHEN data_exception THEN
		NULL;
	END;
	PERFORM hedgerow.refuse(format('setting %s cannot be "%s"', NEW.name, NEW.value),
		CASE NEW.kind WHEN 'interval' THEN 'give an interval like 1 hour'
			WHEN 'bytes' THEN 'give a size like 1 GB' ELSE 'give a number of 0 or more' END);
	RETURN NULL;
END $$;

---- The record of changes, and who is told

CREATE FUNCTION hedgerow.audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	before jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
	after jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
BEGIN
	IF before IS DISTINCT FROM after THEN
		INSERT INTO hedgerow.change_log (relation, before, after, undoes)
			VALUES (TG_TABLE_NAME, before, after, nullif(current_setting('hedgerow.undoes', true), '')::bigint);
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION hedgerow.notify_config() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('hedgerow_config', '');
	RETURN NULL;
END $$;

CREATE FUNCTION hedgerow.notify_person() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('hedgerow_person', '');
	RETURN NULL;
END $$;

DO $$
DECLARE
	t text;
	op text;
BEGIN
	FOREACH t IN ARRAY ARRAY['site', 'site_key', 'link', 'forest', 'naming_context', 'mapping', 'email_domain', 'installation', 'rule', 'mail_domain'] LOOP
		EXECUTE format('CREATE TRIGGER a_own BEFORE INSERT OR UPDATE OR DELETE ON hedgerow.%I
			FOR EACH ROW EXECUTE FUNCTION hedgerow.own_row()', t);
		EXECUTE format('CREATE TRIGGER b_valid BEFORE INSERT OR UPDATE OR DELETE ON hedgerow.%I
			FOR EACH ROW EXECUTE FUNCTION hedgerow.%I()', t, 'valid_' || t);
		EXECUTE format('CREATE TRIGGER c_audit AFTER INSERT OR UPDATE OR DELETE ON hedgerow.%I FOR EACH ROW %s
			EXECUTE FUNCTION hedgerow.audit()', t,
			CASE t WHEN 'mapping' THEN $w$WHEN (NOT hedgerow.is_copying('hedgerow.mapping'))$w$ ELSE '' END);
		EXECUTE format('CREATE TRIGGER d_notify AFTER INSERT OR UPDATE OR DELETE ON hedgerow.%I
			FOR EACH ROW EXECUTE FUNCTION hedgerow.notify_config()', t);
		EXECUTE format('ALTER TABLE hedgerow.%I ENABLE ALWAYS TRIGGER d_notify', t);
	END LOOP;
	FOREACH t IN ARRAY ARRAY['person', 'alias'] LOOP
		FOREACH op IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
			EXECUTE format('CREATE TRIGGER a_own_%s AFTER %s ON hedgerow.%I REFERENCING %s TABLE AS changed
				FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.own_rows()', lower(op), op, t,
				CASE op WHEN 'DELETE' THEN 'OLD' ELSE 'NEW' END);
			IF op <> 'DELETE' THEN
				EXECUTE format('CREATE TRIGGER b_valid_%s AFTER %s ON hedgerow.%I REFERENCING NEW TABLE AS changed
					FOR EACH STATEMENT WHEN (NOT hedgerow.is_publishing()) EXECUTE FUNCTION hedgerow.%I()', lower(op), op, t, 'valid_' || t);
			END IF;
		END LOOP;
		-- An UPDATE may not take a row from another site either: its old version counts too.
		EXECUTE format('CREATE TRIGGER a_own_old AFTER UPDATE ON hedgerow.%I REFERENCING OLD TABLE AS changed
			FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.own_rows()', t);
		EXECUTE format('CREATE TRIGGER d_notify AFTER INSERT OR UPDATE OR DELETE ON hedgerow.%I
			FOR EACH STATEMENT EXECUTE FUNCTION hedgerow.notify_person()', t);
		EXECUTE format('CREATE TRIGGER d_notify_replicated AFTER INSERT OR UPDATE OR DELETE ON hedgerow.%I
			FOR EACH ROW EXECUTE FUNCTION hedgerow.notify_person()', t);
		EXECUTE format('ALTER TABLE hedgerow.%I ENABLE REPLICA TRIGGER d_notify_replicated', t);
	END LOOP;
END $$;

CREATE TRIGGER b_valid BEFORE INSERT OR UPDATE OR DELETE ON hedgerow.local_site
	FOR EACH ROW EXECUTE FUNCTION hedgerow.valid_local_site();
CREATE TRIGGER c_audit AFTER INSERT OR UPDATE OR DELETE ON hedgerow.local_site
	FOR EACH ROW EXECUTE FUNCTION hedgerow.audit();
CREATE TRIGGER d_notify AFTER INSERT OR UPDATE OR DELETE ON hedgerow.local_site
	FOR EACH ROW EXECUTE FUNCTION hedgerow.notify_config();
CREATE TRIGGER b_valid BEFORE UPDATE ON hedgerow.setting
	FOR EACH ROW EXECUTE FUNCTION hedgerow.valid_setting();
CREATE TRIGGER c_audit AFTER UPDATE ON hedgerow.setting
	FOR EACH ROW EXECUTE FUNCTION hedgerow.audit();

---- Rights

GRANT SELECT, INSERT, UPDATE, DELETE ON hedgerow.site, hedgerow.site_key, hedgerow.link, hedgerow.forest,
	hedgerow.naming_context, hedgerow.mapping, hedgerow.email_domain, hedgerow.installation, hedgerow.rule, hedgerow.mail_domain, hedgerow.local_site
	TO hedgerow_operator;
GRANT SELECT ON hedgerow.person, hedgerow.alias TO hedgerow_operator;
GRANT SELECT ON hedgerow.setting, hedgerow.change_log TO hedgerow_operator;
GRANT UPDATE (value) ON hedgerow.setting TO hedgerow_operator;

GRANT SELECT ON hedgerow.local_site, hedgerow.site, hedgerow.site_key, hedgerow.link, hedgerow.forest,
	hedgerow.email_domain, hedgerow.installation, hedgerow.rule, hedgerow.mail_domain, hedgerow.person, hedgerow.alias
	TO hedgerow_gateway;

GRANT SELECT ON hedgerow.local_site, hedgerow.site, hedgerow.forest, hedgerow.naming_context, hedgerow.mapping,
	hedgerow.email_domain, hedgerow.installation TO hedgerow_directory;
GRANT SELECT, INSERT, UPDATE, DELETE ON hedgerow.person, hedgerow.alias TO hedgerow_directory;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA hedgerow FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hedgerow
	TO hedgerow_reader, hedgerow_operator, hedgerow_gateway, hedgerow_directory; -- checks only, so far

COMMENT ON SCHEMA hedgerow IS 'Hedgerow, the federation gateway: registry, journal, operators'' functions and views';
COMMENT ON TABLE hedgerow.local_site IS 'Which site this database is: one row';
COMMENT ON TABLE hedgerow.setting IS 'Settings of this database; change them with set_setting';
COMMENT ON TABLE hedgerow.change_log IS 'Every change of configuration: who, when, the row before and after';
COMMENT ON TABLE hedgerow.site IS 'The sites of the federation and where they are dialled';
COMMENT ON TABLE hedgerow.site_key IS 'CURVE public keys of a site''s gateways; two may be valid at a time';
COMMENT ON TABLE hedgerow.link IS 'A site''s consent to talk to a peer; a link is up when both have one';
COMMENT ON TABLE hedgerow.forest IS 'Directories that people come from';
COMMENT ON TABLE hedgerow.naming_context IS 'Further domains or suffixes of a forest, and their servers';
COMMENT ON TABLE hedgerow.mapping IS 'How LDAP attributes become the fields of a person';
COMMENT ON TABLE hedgerow.email_domain IS 'Grants: a forest may publish addresses in a domain';
COMMENT ON TABLE hedgerow.installation IS 'XMPP servers, each serving people of a forest';
COMMENT ON TABLE hedgerow.mail_domain IS 'How the mail of a site''s people of an e-mail domain is carried';
COMMENT ON TABLE hedgerow.person IS 'People as their forest''s directory publishes them';
COMMENT ON TABLE hedgerow.alias IS 'Further addresses of a person';
COMMENT ON TABLE hedgerow.rule IS 'Who may send what to whom; the lowest priority is asked first';
