-- SPDX-License-Identifier: Apache-2.0
-- Publishing a directory forest into the registry.
--
-- The daemon takes the forest's lease for as long as it lives (sync_open). One run: sync_begin makes
-- the staging table of the session, the daemon fills it with COPY, and sync_finish maps, compares,
-- guards and applies the set in one transaction, writing only rows that differ. Staging is a temporary
-- table, so that a daemon that dies leaves nothing behind. A full run stages everything and so proves
-- who is gone; a changes run stages entries that changed, whole as they are now, and anchors that are
-- gone, and touches nobody else.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Tables ----------------------------------------------------------------------------------------

CREATE TABLE sync_run (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	site text NOT NULL,
	forest text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('full', 'changes', 'dry-run')),
	state text NOT NULL DEFAULT 'running' CHECK (state IN
		('running', 'applied', 'unchanged', 'previewed', 'held', 'released', 'dropped', 'failed')),
	node text,
	started timestamptz NOT NULL DEFAULT now(),
	finished timestamptz,
	read bigint NOT NULL DEFAULT 0,
	skipped bigint NOT NULL DEFAULT 0,
	added bigint NOT NULL DEFAULT 0,
	changed bigint NOT NULL DEFAULT 0,
	readdressed bigint NOT NULL DEFAULT 0,
	removed bigint NOT NULL DEFAULT 0,
	disabled bigint NOT NULL DEFAULT 0,
	kept bigint NOT NULL DEFAULT 0,
	refused bigint NOT NULL DEFAULT 0,
	wants_full boolean NOT NULL DEFAULT false,
	difference bigint, -- hash of the difference of a held run, whatever its order
	error text
);
CREATE INDEX sync_run_forest ON sync_run (site, forest, id);
CREATE INDEX sync_run_running ON sync_run (site, forest) WHERE state = 'running';
COMMENT ON TABLE sync_run IS 'Each reading of a forest: what it found and what became of it. Local.';
COMMENT ON COLUMN sync_run.skipped IS 'entries without an address: not people';
COMMENT ON COLUMN sync_run.kept IS 'people left as they were: the operator dropped that change, or a changes run left it to a full run';
COMMENT ON COLUMN sync_run.readdressed IS 'people whose address changed; they are among changed or disabled too';
COMMENT ON COLUMN sync_run.wants_full IS 'a changes run that left something to a full run, and asked for it';
COMMENT ON COLUMN sync_run.refused IS 'refusals that stand after this run, see sync_refusals';

CREATE TABLE sync_state (
	site text NOT NULL,
	forest text NOT NULL,
	last_good timestamptz,
	last_good_run bigint,
	answer numeric,    -- hash of the directory's answer that last_good_run left published, and
	inputs text,       -- of everything else that it depended on: see sync_inputs
	next_run timestamptz NOT NULL DEFAULT now(),
	failures int NOT NULL DEFAULT 0,
	wants_full boolean NOT NULL DEFAULT false,
	wants_dry_run boolean NOT NULL DEFAULT false,
	wants_draft boolean NOT NULL DEFAULT false, -- the dry run is of the draft mapping
	held_run bigint,   -- waits for release_run or drop_run
	decided_run bigint, -- the held run last released or dropped; its difference is what was decided
	PRIMARY KEY (site, forest)
);
COMMENT ON TABLE sync_state IS 'Where publishing a forest stands: schedule, requests, decisions. Local.';

CREATE TABLE sync_cursor (
	site text NOT NULL,
	forest text NOT NULL,
	base_dn text NOT NULL,
	method text NOT NULL, -- dirsync, usn, syncrepl, file; none: no changes can be had
	server text,
	incarnation text, -- of the server's database: another one means that cookie and usn are void
	usn bigint,
	cookie bytea,
	entries bigint NOT NULL DEFAULT 0, -- that the last full run found in this context
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (site, forest, base_dn)
);
COMMENT ON TABLE sync_cursor IS 'How far the changes of each naming context have been taken, written with what they brought. Local.';

CREATE TABLE sync_difference (
	run bigint NOT NULL,
	anchor text NOT NULL,
	action text NOT NULL CHECK (action IN ('add', 'change', 'remove', 'disable', 'refuse')),
	before jsonb,
	after jsonb,
	reason text
);
CREATE INDEX sync_difference_run ON sync_difference (run, anchor);
COMMENT ON TABLE sync_difference IS 'What a run changed, or would have changed. The first import of a forest is not recorded. Local.';

CREATE TABLE sync_refused (
	site text NOT NULL,
	forest text NOT NULL,
	anchor text NOT NULL,
	field text NOT NULL,
	reason text NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (site, forest, anchor, field, reason)
);
COMMENT ON TABLE sync_refused IS 'Values and entries of a directory that are not published now, and why. Local.';

INSERT INTO setting (name, value, kind, meaning) VALUES
	('person_grace', '30 days', 'interval',
	'a person who is gone from the directory is forgotten, and the address free, after this time');

