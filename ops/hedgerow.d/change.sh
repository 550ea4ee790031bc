# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow change: who changed what

commands <<'TABLE'
change list|show|--limit=|SELECT id, date_trunc('second', at) AS at, who, relation, action, what, undoes FROM hedgerow.changes LIMIT coalesce(nullif(:'limit', ''), '20')::int|who changed what, newest first
change undo|call|ID|undo_change|put a row back as it was before a change
TABLE
