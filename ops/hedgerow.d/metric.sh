# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow metric: counters and gauges

commands <<'TABLE'
metric list|show|[NODE]|SELECT node, name, value, kind, help FROM hedgerow.metric_status WHERE :'node' IN ('', node)|counters and gauges of the gateways
TABLE
