# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow trespass: rows that a site published in the name of another

commands <<'TABLE'
trespass list|show||SELECT * FROM hedgerow.trespasses|rows that a site published in the name of another
TABLE
