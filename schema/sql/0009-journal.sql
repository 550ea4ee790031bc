-- SPDX-License-Identifier: Apache-2.0
-- The journal: an append-only log for each destination. Invariants:
--   * seq is contiguous in a queue: taken by UPDATE queue SET head = head + n in the transaction
--     that inserts.
--   * acked never goes back and never passes head.
--   * A batch of a node is committed once: node.last_batch is moved by the same transaction.
--   * What came from a site moves that site's resume position in the same transaction.
--   * A partition is dropped only when it takes no more rows and every queue is past those in it.
--   * What is deferred leaves its queue, and what falls due returns to it, in one transaction.
-- Lock order: advisory lock of the parts, node, queues by id, resume positions.

INSERT INTO hedgerow.setting (name, value, kind, meaning) VALUES
	('journal_rotate_after', '10 minutes', 'interval', 'a journal partition older than this is closed'),
	('journal_rotate_size', '1 GB', 'bytes', 'a journal partition larger than this is closed'),
	('journal_retain', '1 hour', 'interval', 'a closed partition is kept at least this long');

-- Small and updated with every batch: room for HOT updates, and vacuum when it is still cheap
CREATE TABLE hedgerow.queue (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL UNIQUE,
	head bigint NOT NULL DEFAULT 0,
	acked bigint NOT NULL DEFAULT 0,
	offered bigint NOT NULL DEFAULT 0, -- up to here it may have been handed over; kept for links only
	incarnation uuid NOT NULL DEFAULT gen_random_uuid(),
	created_at timestamptz NOT NULL DEFAULT now(),
	CHECK (acked >= 0 AND acked <= head)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0);

CREATE TABLE hedgerow.node (
	node text PRIMARY KEY,
	last_batch bigint NOT NULL DEFAULT 0,
	started_at timestamptz NOT NULL DEFAULT now(),
	seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0);

CREATE TABLE hedgerow.resume_position (
	site text PRIMARY KEY,
	incarnation uuid NOT NULL,
	position bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0);

-- Rows are never updated or deleted, so partitions need no vacuum: autovacuum is off, and a
-- partition is gone long before it would matter for wraparound.
CREATE TABLE hedgerow.journal (
	queue bigint NOT NULL,
	seq bigint NOT NULL,
	expires timestamptz,
	part int NOT NULL,
	sender text NOT NULL,
	recipient text NOT NULL,
	envelope bytea NOT NULL
) PARTITION BY LIST (part);

CREATE TABLE hedgerow.journal_part (
	part int PRIMARY KEY,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	closed_at timestamptz -- NULL: the one that takes rows
);
CREATE UNIQUE INDEX journal_part_open ON hedgerow.journal_part ((true)) WHERE closed_at IS NULL;

CREATE TABLE hedgerow.dead_letter (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	queue bigint NOT NULL,
	seq bigint NOT NULL,
	queue_name text NOT NULL,
	sender text,
	recipient text,
	at timestamptz NOT NULL DEFAULT now(),
	reason text NOT NULL,
	envelope bytea NOT NULL,
	UNIQUE (queue, seq)
);

-- What shall be appended to a queue later: what its destination would not take for now, and what goes
-- there only when no receipt says that it is not needed.
CREATE TABLE hedgerow.deferred (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	queue bigint NOT NULL REFERENCES hedgerow.queue,
	not_before timestamptz NOT NULL,
	envelope_id bytea NOT NULL,
	sender text NOT NULL, -- bare, as is recipient
	recipient text NOT NULL,
	awaits text,	-- the stanza id whose receipt from the recipient makes this row go
	asked boolean NOT NULL DEFAULT false, -- for the receipt, by us: nobody else waits for it
	expires timestamptz,
	envelope bytea NOT NULL,
	UNIQUE (queue, envelope_id)
);
CREATE INDEX deferred_due ON hedgerow.deferred (not_before);
CREATE INDEX deferred_pair ON hedgerow.deferred (recipient, sender, awaits);

-- Held shared by each transaction that appends, exclusively by the one that rotates: so nobody
-- appends to a partition after it was closed.
CREATE FUNCTION hedgerow.journal_lock_key() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 7161110847210741001;

CREATE FUNCTION hedgerow.journal_add_part(number int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	name text := 'journal_' || number;
BEGIN
	-- ATTACH, unlike PARTITION OF, waits for no reader or writer of the journal.
	EXECUTE format('CREATE TABLE hedgerow.%I (LIKE hedgerow.journal INCLUDING STORAGE,
		CHECK (part = %s)) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)', name, number);
	EXECUTE format('CREATE UNIQUE INDEX %I ON hedgerow.%I (queue, seq)', name || '_seq', name);
	EXECUTE format('ALTER TABLE hedgerow.journal ATTACH PARTITION hedgerow.%I FOR VALUES IN (%s)', name, number);
	EXECUTE format('ALTER TABLE hedgerow.%I DROP CONSTRAINT %I', name, name || '_part_check');
	INSERT INTO hedgerow.journal_part (part) VALUES (number);
END $$;

ALTER TABLE hedgerow.journal ALTER COLUMN envelope SET STORAGE EXTERNAL; -- no time for compression
SELECT hedgerow.journal_add_part(1);

-- Appends and acknowledges. queues are ascending by id; counts[i] rows go to queues[i]; row r goes
-- to queues[row_queue[r]] as its row_offset[r]-th, both from 1. acked -1: unchanged. offer[i]: all of
-- queues[i] may be handed over from now on.
-- later_*: rows for the table deferred; cancel_*: receipts (of recipient, to sender, for a stanza id, or
-- for all of them: '').
-- Returns the seq of the first row of each queue, 0 where there is none; NULL when this batch was
-- committed before.
CREATE FUNCTION hedgerow.journal_commit(
	node text, number bigint,
	queues bigint[], counts int[], acked bigint[], wake boolean[],
	row_queue int[], row_offset int[], sender text[], recipient text[], envelope bytea[], expires timestamptz[],
	origin_site text[], origin_from bigint[], origin_to bigint[],
	later_queue bigint[] DEFAULT '{}', later_at timestamptz[] DEFAULT '{}', later_id bytea[] DEFAULT '{}',
	later_sender text[] DEFAULT '{}', later_recipient text[] DEFAULT '{}', later_awaits text[] DEFAULT '{}',
	later_asked boolean[] DEFAULT '{}', later_expires timestamptz[] DEFAULT '{}', later_envelope bytea[] DEFAULT '{}',
	cancel_recipient text[] DEFAULT '{}', cancel_sender text[] DEFAULT '{}', cancel_awaits text[] DEFAULT '{}',
	offer boolean[] DEFAULT '{}') RETURNS bigint[]
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
	last bigint;
	current int;
	first bigint[] := array_fill(0::bigint, ARRAY[coalesce(cardinality(queues), 0)]);
	total int := coalesce(cardinality(row_queue), 0);
	counted int := 0;
	n int;
	top bigint;
BEGIN
	IF total = 0 AND coalesce(cardinality(origin_site), 0) = 0 AND cardinality(later_queue) = 0
		AND cardinality(cancel_awaits) = 0 AND NOT true = ANY (offer) THEN
		-- Acknowledgements only: lost in a crash, they come again.
		PERFORM set_config('synchronous_commit', 'off', true);
	END IF;
	PERFORM pg_advisory_xact_lock_shared(7161110847210741001);

	UPDATE hedgerow.node AS t SET last_batch = number, seen_at = now()
		WHERE t.node = node AND t.last_batch < number;
	IF NOT FOUND THEN
		SELECT t.last_batch INTO last FROM hedgerow.node t WHERE t.node = node;
		IF last = number THEN
			RETURN NULL;
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'HR002', MESSAGE = CASE
			WHEN last IS NULL THEN format('node "%s" is not registered', node)
			ELSE format('node "%s" is at batch %s already, %s comes too late', node, last, number) END;
	END IF;

	FOR i IN 1 .. coalesce(cardinality(queues), 0) LOOP
		n := counts[i];
		UPDATE hedgerow.queue AS q SET head = q.head + n, acked = greatest(q.acked, acked[i]),
				offered = CASE WHEN offer[i] THEN q.head + n ELSE q.offered END
			WHERE q.id = queues[i] RETURNING q.head INTO top;
		IF top IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'HR003', MESSAGE = format('there is no queue %s', queues[i]);
		END IF;
		IF n > 0 THEN
			first[i] := top - n + 1;
			counted := counted + n;
			IF wake[i] THEN
				PERFORM pg_notify('hedgerow_queue', queues[i]::text);
			END IF;
		END IF;
	END LOOP;
	IF counted <> total THEN
		RAISE EXCEPTION USING ERRCODE = 'HR003', MESSAGE = format('%s rows were announced, %s came', counted, total);
	END IF;

	IF total > 0 THEN
		SELECT p.part INTO STRICT current FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
		INSERT INTO hedgerow.journal (part, queue, seq, expires, sender, recipient, envelope)
			SELECT current, queues[r.q], first[r.q] + r.o - 1, r.x, r.s, r.t, r.e
			FROM (SELECT unnest(row_queue) AS q, unnest(row_offset) AS o, unnest(expires) AS x,
				unnest(sender) AS s, unnest(recipient) AS t, unnest(envelope) AS e) r;
	END IF;

	IF cardinality(later_queue) > 0 THEN
		INSERT INTO hedgerow.deferred (queue, not_before, envelope_id, sender, recipient, awaits, asked, expires, envelope)
			SELECT r.q, least(r.n, r.x), r.i, r.s, r.t, r.a, r.k, r.x, r.e
			FROM (SELECT unnest(later_queue) AS q, unnest(later_at) AS n, unnest(later_id) AS i, unnest(later_sender) AS s,
				unnest(later_recipient) AS t, unnest(later_awaits) AS a, unnest(later_asked) AS k,
				unnest(later_expires) AS x, unnest(later_envelope) AS e) r
			ON CONFLICT DO NOTHING;
	END IF;
	IF cardinality(cancel_awaits) > 0 THEN
		DELETE FROM hedgerow.deferred d
			USING (SELECT unnest(cancel_recipient) AS t, unnest(cancel_sender) AS s, unnest(cancel_awaits) AS a) c
			WHERE d.recipient = c.t AND d.sender = c.s AND d.awaits IS NOT NULL AND c.a IN ('', d.awaits);
	END IF;

	FOR i IN 1 .. coalesce(cardinality(origin_site), 0) LOOP
		UPDATE hedgerow.resume_position AS p SET position = origin_to[i]
			WHERE p.site = origin_site[i] AND p.position = origin_from[i];
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'HR001', MESSAGE = format('the resume position of site "%s" is %s, not %s',
				origin_site[i],
				coalesce((SELECT p.position::text FROM hedgerow.resume_position p WHERE p.site = origin_site[i]), 'unknown'),
				origin_from[i]);
		END IF;
	END LOOP;
	RETURN first;
END $$;

-- Appends what has fallen due to its queue, and with it all else of the same sender and recipient that
-- is deferred for the same reason, in the order in which it was deferred. Returns how many rows.
CREATE FUNCTION hedgerow.journal_due() RETURNS bigint
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
	current int;
	total bigint := 0;
	ids bigint[];
	added bigint;
	top bigint;
	pair record;
BEGIN
	IF NOT EXISTS (SELECT FROM hedgerow.deferred d WHERE d.not_before <= now())
		OR NOT pg_try_advisory_xact_lock(7161110847210741003) THEN -- another gateway is at it
		RETURN 0;
	END IF;
	PERFORM pg_advisory_xact_lock_shared(7161110847210741001);
	SELECT p.part INTO STRICT current FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
	FOR pair IN SELECT r.queue, r.sender, r.recipient, r.waits FROM (
			SELECT d.queue, d.sender, d.recipient, d.awaits IS NOT NULL AS waits, min(d.id) AS first
			FROM (SELECT * FROM hedgerow.deferred w WHERE w.not_before <= now() ORDER BY w.not_before LIMIT 1000) d
			GROUP BY 1, 2, 3, 4) r ORDER BY r.queue, r.first LOOP
		-- Locked before they are counted: a receipt may come meanwhile, and seq has no gaps.
		SELECT array_agg(w.id) INTO ids FROM (SELECT d.id FROM hedgerow.deferred d WHERE d.queue = pair.queue
			AND d.sender = pair.sender AND d.recipient = pair.recipient AND (d.awaits IS NOT NULL) = pair.waits FOR UPDATE) w;
		added := coalesce(cardinality(ids), 0);
		CONTINUE WHEN added = 0;
		UPDATE hedgerow.queue q SET head = q.head + added WHERE q.id = pair.queue RETURNING q.head INTO STRICT top;
		WITH due AS (DELETE FROM hedgerow.deferred d WHERE d.id = ANY (ids) RETURNING d.*)
		INSERT INTO hedgerow.journal (part, queue, seq, expires, sender, recipient, envelope)
			SELECT current, d.queue, top - added + row_number() OVER (ORDER BY d.id), d.expires, d.sender, d.recipient, d.envelope
			FROM due d;
		PERFORM pg_notify('hedgerow_queue', pair.queue::text);
		total := total + added;
	END LOOP;
	RETURN total;
END $$;

-- From whom to whom something of a queue is deferred, "sender recipient", and until when.
CREATE FUNCTION hedgerow.journal_held(queue bigint) RETURNS TABLE (pair text, until timestamptz)
LANGUAGE sql STABLE AS $$
	SELECT d.sender || ' ' || d.recipient, max(d.not_before) FROM hedgerow.deferred d
		WHERE d.queue = journal_held.queue AND d.awaits IS NULL GROUP BY d.sender, d.recipient LIMIT 10000
$$;

-- Receipts that the gateway itself asked for and that have not come.
CREATE FUNCTION hedgerow.journal_asked() RETURNS TABLE (recipient text, sender text, awaits text)
LANGUAGE sql STABLE AS $$
	SELECT d.recipient, d.sender, d.awaits FROM hedgerow.deferred d WHERE d.asked ORDER BY d.id DESC LIMIT 65536
$$;

CREATE FUNCTION hedgerow.journal_open(name text)
	RETURNS TABLE (id bigint, head bigint, acked bigint, offered bigint, incarnation text)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
	IF NOT EXISTS (SELECT FROM hedgerow.queue q WHERE q.name = journal_open.name) THEN
		INSERT INTO hedgerow.queue (name) VALUES (journal_open.name) ON CONFLICT DO NOTHING;
	END IF;
	RETURN QUERY SELECT q.id, q.head, q.acked, q.offered, q.incarnation::text
		FROM hedgerow.queue q WHERE q.name = journal_open.name;
END $$;

-- Each partition is read by its index, whatever the planner thinks of tables without statistics.
CREATE FUNCTION hedgerow.journal_read(queue bigint, after bigint, most int)
	RETURNS TABLE (seq bigint, envelope bytea)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET work_mem = '16MB'
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT w.seq, w.envelope FROM (
		SELECT r.seq, r.envelope,
			sum(octet_length(r.envelope)) OVER (ORDER BY r.seq ROWS UNBOUNDED PRECEDING) - octet_length(r.envelope) AS before
		FROM (SELECT j.seq, j.envelope FROM hedgerow.journal j
			WHERE j.queue = journal_read.queue AND j.seq > journal_read.after
			ORDER BY j.seq LIMIT journal_read.most) r) w
	WHERE w.before < 4194304;
END $$;

CREATE FUNCTION hedgerow.journal_position(site text, incarnation uuid) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO hedgerow.resume_position AS p (site, incarnation) VALUES (journal_position.site, journal_position.incarnation)
		ON CONFLICT (site) DO UPDATE SET incarnation = excluded.incarnation,
			position = CASE WHEN p.incarnation = excluded.incarnation THEN p.position ELSE 0 END
		RETURNING position;
END;

CREATE FUNCTION hedgerow.journal_node(node text) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO hedgerow.node AS t (node) VALUES (journal_node.node)
		ON CONFLICT (node) DO UPDATE SET started_at = now(), seen_at = now()
		RETURNING last_batch;
END;

CREATE FUNCTION hedgerow.journal_lease(name text) RETURNS boolean
LANGUAGE sql
RETURN pg_try_advisory_lock(hashtextextended(name, 0));

-- However often this session has taken it.
CREATE FUNCTION hedgerow.journal_end_lease(name text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	key bigint := hashtextextended(name, 0);
BEGIN
	WHILE EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid = pg_backend_pid()
		AND l.classid::bigint = (key >> 32) & 4294967295 AND l.objid::bigint = key & 4294967295) LOOP
		PERFORM pg_advisory_unlock(key);
	END LOOP;
END $$;

-- Queues in which something waits for a destination that this site no longer has, and how far: what
-- is appended later is for one that has come back.
CREATE FUNCTION hedgerow.journal_leftovers() RETURNS TABLE (queue text, upto bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT q.name, q.head FROM hedgerow.queue q WHERE q.head > q.acked AND CASE split_part(q.name, ':', 1)
		WHEN 'link' THEN NOT EXISTS (SELECT FROM hedgerow.link l
			WHERE l.site = hedgerow.local_site() AND l.peer = split_part(q.name, ':', 2))
		WHEN 'xmpp' THEN NOT EXISTS (SELECT FROM hedgerow.installation i
				WHERE i.site = hedgerow.local_site() AND i.installation = split_part(q.name, ':', 2))
			OR NOT EXISTS (SELECT FROM hedgerow.email_domain d WHERE d.domain = split_part(q.name, ':', 3))
		WHEN 'mail' THEN NOT EXISTS (SELECT FROM hedgerow.mail_domain m
			WHERE m.site = hedgerow.local_site() AND m.carrier = m.site AND m.domain = split_part(q.name, ':', 2))
		ELSE false END
	ORDER BY q.id;
END;

CREATE FUNCTION hedgerow.journal_dead_letter(queue bigint, seq bigint, envelope bytea, reason text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO hedgerow.dead_letter (queue, seq, queue_name, sender, recipient, reason, envelope)
		SELECT journal_dead_letter.queue, journal_dead_letter.seq,
			coalesce((SELECT q.name FROM hedgerow.queue q WHERE q.id = journal_dead_letter.queue), '?'),
			j.sender, j.recipient, journal_dead_letter.reason, journal_dead_letter.envelope
		FROM (VALUES (1)) one LEFT JOIN hedgerow.journal j
			ON j.queue = journal_dead_letter.queue AND j.seq = journal_dead_letter.seq
		ON CONFLICT DO NOTHING;
END;

-- Is there a row in this partition that its queue has not acknowledged?
CREATE FUNCTION hedgerow.journal_part_in_use(number int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
	used boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM hedgerow.queue q WHERE EXISTS (
		SELECT FROM hedgerow.%I j WHERE j.queue = q.id AND j.seq > q.acked))', 'journal_' || number) INTO used;
	RETURN used;
END $$;

CREATE FUNCTION hedgerow.setting_value(name text) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT s.value FROM hedgerow.setting s WHERE s.name = setting_value.name);

-- When gateways were last told which keys are valid: a key that begins or ends is no change of a row.
CREATE TABLE hedgerow.key_clock (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	checked_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO hedgerow.key_clock DEFAULT VALUES;

CREATE FUNCTION hedgerow.check_keys() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	before timestamptz;
BEGIN
	SELECT c.checked_at INTO before FROM hedgerow.key_clock c;
	IF EXISTS (SELECT FROM hedgerow.site_key k WHERE k.not_before > before AND k.not_before <= now()
		OR k.not_after > before AND k.not_after <= now()) THEN
		PERFORM pg_notify('hedgerow_config', '');
	END IF;
	UPDATE hedgerow.key_clock SET checked_at = now();
END $$;

-- Closes the open partition when it is due, drops one that nobody needs. Waits for a lock only so
-- long that nobody notices: what does not work now works a minute later.
CREATE FUNCTION hedgerow.journal_maintain() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
	open hedgerow.journal_part;
	old record;
	has_rows boolean;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hedgerow.journal_lock_key() + 1) THEN
		RETURN; -- another gateway is at it
	END IF;
	PERFORM hedgerow.check_keys();
	BEGIN
		SELECT * INTO STRICT open FROM hedgerow.journal_part p WHERE p.closed_at IS NULL;
		EXECUTE format('SELECT EXISTS (SELECT FROM hedgerow.%I)', 'journal_' || open.part) INTO has_rows;
		IF has_rows AND (open.created_at < clock_timestamp() - hedgerow.setting_value('journal_rotate_after')::interval
			OR pg_total_relation_size(format('hedgerow.%I', 'journal_' || open.part)) > pg_size_bytes(hedgerow.setting_value('journal_rotate_size'))) THEN
			PERFORM pg_advisory_xact_lock(hedgerow.journal_lock_key());
			UPDATE hedgerow.journal_part SET closed_at = clock_timestamp() WHERE part = open.part;
			PERFORM hedgerow.journal_add_part(open.part + 1);
			RETURN; -- nothing else while appends wait
		END IF;
	EXCEPTION WHEN lock_not_available THEN
		NULL;
	END;
	FOR old IN SELECT p.part FROM hedgerow.journal_part p
		WHERE p.closed_at < clock_timestamp() - hedgerow.setting_value('journal_retain')::interval ORDER BY p.part LOOP
		CONTINUE WHEN hedgerow.journal_part_in_use(old.part);
		BEGIN
			LOCK TABLE ONLY hedgerow.journal IN ACCESS EXCLUSIVE MODE;
			EXECUTE format('LOCK TABLE hedgerow.%I IN ACCESS EXCLUSIVE MODE', 'journal_' || old.part);
			IF NOT hedgerow.journal_part_in_use(old.part) THEN
				EXECUTE format('DROP TABLE hedgerow.%I', 'journal_' || old.part);
				DELETE FROM hedgerow.journal_part WHERE part = old.part;
			END IF;
		EXCEPTION WHEN lock_not_available THEN
			NULL;
		END;
		RETURN; -- one a call: the lock on the journal is held for this long only
	END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON hedgerow.queue, hedgerow.node, hedgerow.resume_position TO hedgerow_gateway;
GRANT SELECT, INSERT ON hedgerow.journal, hedgerow.dead_letter TO hedgerow_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON hedgerow.deferred TO hedgerow_gateway;
GRANT SELECT ON hedgerow.journal_part TO hedgerow_gateway;
REVOKE ALL ON FUNCTION hedgerow.journal_commit, hedgerow.journal_open, hedgerow.journal_read, hedgerow.journal_position,
	hedgerow.journal_due, hedgerow.journal_held, hedgerow.journal_asked, hedgerow.journal_node, hedgerow.journal_lease, hedgerow.journal_end_lease,
	hedgerow.journal_leftovers, hedgerow.journal_dead_letter, hedgerow.journal_maintain,
	hedgerow.journal_add_part, hedgerow.journal_part_in_use, hedgerow.journal_lock_key, hedgerow.setting_value,
	hedgerow.check_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.journal_commit, hedgerow.journal_open, hedgerow.journal_read, hedgerow.journal_position,
	hedgerow.journal_due, hedgerow.journal_held, hedgerow.journal_asked, hedgerow.journal_node, hedgerow.journal_lease, hedgerow.journal_end_lease,
	hedgerow.journal_leftovers, hedgerow.journal_dead_letter, hedgerow.journal_maintain
	TO hedgerow_gateway;

COMMENT ON TABLE hedgerow.queue IS 'Destinations of the journal: head is the last seq appended, acked the last one accepted, offered the last one that may have gone';
COMMENT ON TABLE hedgerow.journal IS 'Envelopes on their way; whole partitions are dropped when all queues are past them';
COMMENT ON TABLE hedgerow.journal_part IS 'The journal''s partitions; the one without closed_at takes rows';
COMMENT ON TABLE hedgerow.resume_position IS 'How far we have what each site sends';
COMMENT ON TABLE hedgerow.node IS 'Gateway processes of this site';
COMMENT ON TABLE hedgerow.key_clock IS 'When it was last looked whether a key begins or ends';
COMMENT ON TABLE hedgerow.deferred IS 'Envelopes that return to their queue at a later time';
COMMENT ON TABLE hedgerow.dead_letter IS 'Envelopes that their destination would not take';
