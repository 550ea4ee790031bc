-- SPDX-License-Identifier: Apache-2.0
-- What the daemons report of themselves every few seconds. Unlogged: after a crash of PostgreSQL it
-- comes again with the next report. A node is a gateway, or NODE/directory.

CREATE UNLOGGED TABLE hedgerow.status (
	node text,
	kind text,
	name text,
	state text NOT NULL,
	detail text,
	since timestamptz NOT NULL DEFAULT now(), -- in this state
	seen_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (node, kind, name)
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE hedgerow.metric (
	node text,
	name text,
	value bigint NOT NULL,
	gauge boolean NOT NULL,
	help text NOT NULL,
	seen_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (node, name)
) WITH (fillfactor = 50);

-- The whole of what the node has to say: what it no longer names is gone.
CREATE FUNCTION hedgerow.status_report(
	node text, kinds text[], names text[], states text[], details text[],
	metrics text[], "values" bigint[], gauges boolean[], helps text[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('synchronous_commit', 'off', true);
	UPDATE hedgerow.node AS n SET seen_at = now() WHERE n.node = status_report.node;
	DELETE FROM hedgerow.status s WHERE s.node = status_report.node
		AND NOT EXISTS (SELECT FROM unnest(kinds, names) AS r(kind, name) WHERE r.kind = s.kind AND r.name = s.name);
	INSERT INTO hedgerow.status AS s (node, kind, name, state, detail)
		SELECT DISTINCT ON (r.kind, r.name) status_report.node, r.kind, r.name, r.state, r.detail
		FROM unnest(kinds, names, states, details) AS r(kind, name, state, detail)
		ORDER BY r.kind, r.name
		ON CONFLICT ON CONSTRAINT status_pkey DO UPDATE SET state = excluded.state, detail = excluded.detail, seen_at = now(),
			since = CASE WHEN s.state = excluded.state THEN s.since ELSE now() END;
	INSERT INTO hedgerow.metric AS m (node, name, value, gauge, help)
		SELECT DISTINCT ON (r.name) status_report.node, r.name, r.value, r.gauge, r.help
		FROM unnest(metrics, "values", gauges, helps) AS r(name, value, gauge, help)
		ORDER BY r.name
		ON CONFLICT ON CONSTRAINT metric_pkey DO UPDATE SET value = excluded.value, gauge = excluded.gauge,
			help = excluded.help, seen_at = now();
END;

GRANT SELECT, INSERT, UPDATE, DELETE ON hedgerow.status, hedgerow.metric TO hedgerow_gateway, hedgerow_directory;
GRANT SELECT (node), UPDATE (seen_at) ON hedgerow.node TO hedgerow_directory;
REVOKE ALL ON FUNCTION hedgerow.status_report FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hedgerow.status_report TO hedgerow_gateway, hedgerow_directory;

COMMENT ON TABLE hedgerow.status IS 'State of links, streams and forests as each daemon reports it';
COMMENT ON TABLE hedgerow.metric IS 'Counters and gauges as each daemon reports them';
