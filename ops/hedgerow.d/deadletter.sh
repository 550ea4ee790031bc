# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow deadletter: messages that a destination would not take

commands <<'TABLE'
deadletter list|show|--limit=|SELECT * FROM hedgerow.dead_letters LIMIT coalesce(nullif(:'limit', ''), '50')::int|messages that a destination would not take
deadletter retry|call|ID|retry_dead_letter|try one again
deadletter remove|call|ID|remove_dead_letter|remove one for good
TABLE
