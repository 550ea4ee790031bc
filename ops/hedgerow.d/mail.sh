# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow mail: chat that goes by mail, and back

commands <<'TABLE'
mail status|show||SELECT * FROM hedgerow.mail_status|the mail that this site carries: state, what waits
mail test|show|ADDRESS|SELECT * FROM hedgerow.mail_test(:'address')|what would become of a message to somebody, and why
mail config|text|DOMAIN|SELECT * FROM hedgerow.mail_config(:'domain')|the lines for Postfix
mail list|show|[DOMAIN] --limit=|SELECT * FROM hedgerow.mail_threads WHERE :'domain' IN ('', domain) LIMIT coalesce(nullif(:'limit', ''), '50')::int|conversations by mail, the last used first
TABLE
