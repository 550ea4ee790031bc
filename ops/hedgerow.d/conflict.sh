# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow conflict: what is claimed more than once

commands <<'TABLE'
conflict list|show||SELECT kind, key, reason, site, forest, anchor, name FROM hedgerow.conflicts|addresses and names that are claimed more than once
TABLE
