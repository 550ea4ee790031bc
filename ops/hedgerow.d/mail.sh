# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow mail: chat that goes by mail, and back

commands <<'TABLE'
mail status|show||SELECT * FROM hedgerow.mail_status|the mail that this site carries: state, what waits
mail test|show|ADDRESS|SELECT * FROM hedgerow.mail_test(:'address')|what would become of a message to somebody, and why
mail config|text|DOMAIN|SELECT * FROM hedgerow.mail_config(:'domain')|the lines for Postfix
mail originals|show|[DOMAIN] --limit=|SELECT * FROM hedgerow.mail_originals WHERE :'domain' IN ('', domain) LIMIT coalesce(nullif(:'limit', ''), '50')::int|mails that are kept whole, the newest first
mail original|mail_original|MESSAGE-ID||a mail that is kept, as it came
mail list|show|[DOMAIN] --limit=|SELECT * FROM hedgerow.mail_threads WHERE :'domain' IN ('', domain) LIMIT coalesce(nullif(:'limit', ''), '50')::int|conversations by mail, the last used first
TABLE

cmd_mail_original() {
	[ "${1:-}" != --help ] || help_command
	[ $# = 1 ] || wrong 'name the Message-ID'
	bytes=$(printf '%s\n' "SELECT encode(hedgerow.mail_original(:'id'), 'base64');" | ask -v id="$1") || return
	printf '%s\n' "$bytes" | base64 -d
}
