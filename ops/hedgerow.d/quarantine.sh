# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow quarantine: people whose domain is not granted

commands <<'TABLE'
quarantine list|show||SELECT * FROM hedgerow.quarantine|people whose domain is not granted to their forest
TABLE
