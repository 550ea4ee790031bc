# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow mail: chat that goes by mail, and back

commands <<'TABLE'
mail status|show||SELECT * FROM hedgerow.mail_status|the mail that this site carries: state, what waits
mail test|mail_test|ADDRESS --from= --text= --no-mail||what would become of a message to somebody, why, and the mail itself; --no-mail: ask no gateway for it
mail config|text|DOMAIN|SELECT * FROM hedgerow.mail_config(:'domain')|the lines for Postfix
mail originals|show|[DOMAIN] --limit=|SELECT * FROM hedgerow.mail_originals WHERE :'domain' IN ('', domain) LIMIT coalesce(nullif(:'limit', ''), '50')::int|mails that are kept whole, the newest first
mail original|mail_original|MESSAGE-ID||a mail that is kept, as it came
mail list|show|[DOMAIN] --limit=|SELECT * FROM hedgerow.mail_threads WHERE :'domain' IN ('', domain) LIMIT coalesce(nullif(:'limit', ''), '50')::int|conversations by mail, the last used first
TABLE

# Why, and the mail as the gateway composes it that would send it
mail_report() { # psql's -v ...
	if [ "$json" = yes ]; then
		cat <<'SQL' | ask "$@"
SELECT json_build_object('answers', (SELECT json_agg(w) FROM hedgerow.mail_test(:'address', nullif(:'from', '')) w),
	'outcome', t.outcome, 'reason', t.reason, 'mail', t.mail)
FROM (SELECT) one LEFT JOIN hedgerow.mail_tried(nullif(:'id', '')::bigint) t ON true;
SQL
		return
	fi
	cat <<'SQL' | print_query "$@" || return
SELECT question, answer, change FROM hedgerow.mail_test(:'address', nullif(:'from', ''))
UNION ALL SELECT 'gateway', CASE outcome WHEN 'none' THEN 'no mail: ' ELSE '' END || reason, NULL
FROM hedgerow.mail_tried(nullif(:'id', '')::bigint) WHERE reason IS NOT NULL
SQL
	printf '%s\n' "SELECT replace(mail, E'\\r', '') FROM hedgerow.mail_tried(nullif(:'id', '')::bigint) WHERE mail IS NOT NULL;" | ask "$@"
}

cmd_mail_test() {
	eval "$parse"
	case $given in *' text '*) ;; *) set -- "$@" -v 'text=This is a test of what a message becomes.' ;; esac
	case $given in *' from '*) ;; *) set -- "$@" -v from= ;; esac
	id=
	outcome=
	case $given in
	*' no_mail '*) ;;
	*) id=$(printf '%s\n' "SELECT hedgerow.mail_try(:'address', nullif(:'from', ''), :'text');" | ask "$@") || return ;;
	esac
	ticks=50
	while [ -n "$id" ] && [ "$ticks" -gt 0 ]; do
		outcome=$(printf '%s\n' "SELECT outcome FROM hedgerow.mail_tried(:'id');" | ask -v id="$id") || return
		[ "$outcome" = waiting ] || break
		ticks=$((ticks - 1))
		sleep 0.2
	done
	mail_report -v id="$id" "$@" || return
	case $outcome in
	waiting) fail 1 'no gateway that has this mail has answered within 10 s: there is no mail to show; see: hedgerow mail status' ;;
	'no gateway') fail 1 'no gateway of this site is running: there is no mail to show; see: hedgerow gateway list' ;;
	esac
}

cmd_mail_original() {
	[ "${1:-}" != --help ] || help_command
	[ $# = 1 ] || wrong 'name the Message-ID'
	bytes=$(printf '%s\n' "SELECT encode(hedgerow.mail_original(:'id'), 'base64');" | ask -v id="$1") || return
	printf '%s\n' "$bytes" | base64 -d
}
