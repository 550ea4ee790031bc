# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow domain: federated e-mail domains

commands <<'TABLE'
domain add|call|DOMAIN !--forest=|add_domain|grant an e-mail domain to a forest
domain remove|call|DOMAIN --forest= --force|remove_domain|withdraw the grant
domain list|show||SELECT * FROM hedgerow.domains|federated e-mail domains
TABLE
