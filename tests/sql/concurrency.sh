#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two gateways append to the same queues at once while a third acknowledges and partitions rotate and go:
# seqs stay contiguous, nothing unread is dropped, nobody fails. Two `migrate` at once: one does it, the other waits.
set -u
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${HEDGEROW_TEST_DATABASE:-}" ]; then
	exec "$here/../with-postgres.sh" "$0" "$@"
fi
hedgerow=$here/../../ops/hedgerow
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fail() {
	echo "FAIL: $*" >&2
	cat "$work"/* >&2
	exit 1
}
psql -X -q -d "$HEDGEROW_TEST_DATABASE" -c 'CREATE DATABASE concurrency' || exit 1
database="$HEDGEROW_TEST_DATABASE dbname=concurrency"
run() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$database" "$@"; }

"$hedgerow" -d "$database" migrate >"$work/one" 2>&1 &
one=$!
"$hedgerow" -d "$database" migrate >"$work/two" 2>&1 &
two=$!
wait "$one" || fail 'the first migrate'
wait "$two" || fail 'the second migrate'
[ "$(cat "$work/one" "$work/two" | grep -c '^applied')" = "$(run -c 'SELECT count(*) FROM hedgerow.migration')" ] || fail 'each migration is applied once'

run >/dev/null <<'SQL' || fail 'setting up'
SELECT hedgerow.set_local_site('amsterdam');
UPDATE hedgerow.setting SET value = '0' WHERE name IN ('journal_rotate_after', 'journal_retain');
SELECT hedgerow.journal_node('n1'), hedgerow.journal_node('n2'), hedgerow.journal_node('n3');
SELECT id FROM hedgerow.journal_open('q1');
SELECT id FROM hedgerow.journal_open('q2');
SQL
# gateway NODE: 300 batches over both queues, in a transaction each
gateway() {
	run >"$work/$1" 2>&1 <<SQL
DO \$\$
DECLARE
	first bigint[];
BEGIN
	FOR batch IN 1..300 LOOP
		first := hedgerow.journal_commit('$1', batch, '{1,2}', '{2,3}', '{-1,-1}', '{f,f}', '{1,2,1,2,2}', '{1,1,2,2,3}',
			'{a,a,a,a,a}', '{b,b,b,b,b}', '{x,x,x,x,x}', '{NULL,NULL,NULL,NULL,NULL}', '{}', '{}', '{}');
		COMMIT;
	END LOOP;
END \$\$;
SQL
}
# acknowledges half of what there is, as a gateway does, and maintains, until both gateways are through
maintainer() {
	run >"$work/maintain" 2>&1 <<'SQL'
DO $$
DECLARE
	batch bigint := 0;
BEGIN
	LOOP
		EXIT WHEN (SELECT sum(head) FROM hedgerow.queue) = 3000;
		batch := batch + 1;
		PERFORM hedgerow.journal_commit('n3', batch, '{1,2}', '{0,0}',
			ARRAY(SELECT (q.head + q.acked) / 2 FROM hedgerow.queue q ORDER BY q.id), '{f,f}',
			'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');
		COMMIT;
		PERFORM hedgerow.journal_maintain();
		COMMIT;
	END LOOP;
END $$;
SQL
}
gateway n1 &
one=$!
gateway n2 &
two=$!
maintainer &
three=$!
wait "$one" || fail 'the first gateway'
wait "$two" || fail 'the second gateway'
wait "$three" || fail 'maintenance'

[ "$(run -c "SELECT string_agg(head::text, ',' ORDER BY id) FROM hedgerow.queue")" = 1200,1800 ] || fail 'heads count every row'
run -c "SELECT q.name, q.head - q.acked, count(j.seq), max(j.seq) FROM hedgerow.queue q
	LEFT JOIN hedgerow.journal j ON j.queue = q.id AND j.seq > q.acked GROUP BY q.id" >"$work/left"
[ "$(run -c "SELECT count(*) FROM hedgerow.queue q WHERE (SELECT count(*) FROM hedgerow.journal j
	WHERE j.queue = q.id AND j.seq > q.acked AND j.seq <= q.head) <> q.head - q.acked")" = 0 ] || fail 'everything unacknowledged is there'
[ "$(run -c 'SELECT count(*) - max(seq) + min(seq) - 1 FROM hedgerow.journal GROUP BY queue' | sort -u)" = 0 ] || fail 'seqs are contiguous'
run -c 'SELECT hedgerow.journal_maintain() FROM generate_series(1, 3)' >"$work/maintain"
run -c 'SELECT * FROM hedgerow.journal_part' >"$work/parts"
[ "$(run -c 'SELECT max(part) > 1 FROM hedgerow.journal_part')" = t ] || fail 'partitions came'
echo 'ok   concurrency'
