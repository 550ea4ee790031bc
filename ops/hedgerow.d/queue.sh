# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow queue: what waits for each destination

commands <<'TABLE'
queue list|show||SELECT queue, depth, deferred, head, acked, served FROM hedgerow.queues|what waits for each destination
queue purge|call|NAME --reason=|purge_queue|give up what waits in a queue that nobody serves
TABLE
