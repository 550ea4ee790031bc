# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The Postfix of the lab, for both sites: their smarthost, the MTA in front of their gateways, and the
# mailboxes of everybody who has mail. Only root can run one; without, the lab has no mail side.
#
# amsterdam may send by its network, on SMTP_PORT; boston by a password, on SUBMISSION_PORT. Who comes
# from 127.0.0.1 is inside; from any other address of loopback outside, as far as lab.d/milter.py vouches.

mail_domains="example.com alpha.example beta.example elsewhere.example"
# The chat domains of each site, by e-mail domain.
declare -A chat_domains_amsterdam=([example.com]=chat.example.com [alpha.example]=chat.alpha.example)
declare -A chat_domains_boston=([example.com]=chat.boston.example [beta.example]=chat.beta.example)

postfix_wanted() {
	[ "$(id -u)" = 0 ]
}

postfix_create() {
	local dir=$LAB/postfix site domain port chat=()
	mkdir -p -m 755 "$dir" "$dir/etc" "$dir/data" "$dir/spool" "$dir/mail"
	chown postfix "$dir/data"
	chown nobody "$dir/mail"
	authority "$dir/tls" mx.lab.example
	: >"$dir/etc/transport"
	: >"$dir/etc/forward"
	printf '%s\n' "example.com 127.0.0.2" "elsewhere.example 127.0.0.3" >"$dir/etc/from"
	for site in $sites; do
		port=LMTP_$site
		local -n chat_domains=chat_domains_$site
		for domain in "${!chat_domains[@]}"; do
			chat+=("${chat_domains[$domain]}")
			printf '/@%s$/ lmtp:inet:127.0.0.1:%s\n' "${chat_domains[$domain]//./\\.}" "${!port}" >>"$dir/etc/transport"
		done
	done
	postfix_main "$dir" "${chat[*]}"
	postfix_passwords "$dir/etc/sasl" # where Debian's looks
	postfix_master >"$dir/etc/master.cf"
	postfix_start
}

postfix_main() { # DIR CHAT-DOMAINS
	cat >"$1/etc/main.cf" <<-END
		compatibility_level = 3.6
		maillog_file_prefixes = $LAB/log
		maillog_file = $LAB/log/postfix.log
		queue_directory = $1/spool
		data_directory = $1/data
		daemon_directory = /usr/lib/postfix/sbin
		command_directory = /usr/sbin
		myhostname = mx.lab.example
		mydestination =
		notify_classes =
		alias_maps =
		inet_interfaces = 127.0.0.1
		inet_protocols = ipv4
		mynetworks = 127.0.0.1/32
		smtpd_tls_cert_file = $1/tls/server.pem
		smtpd_tls_key_file = $1/tls/server.key
		smtpd_tls_security_level = may
		smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
		smtpd_recipient_limit = 2000
		smtpd_milters = inet:127.0.0.1:$MILTER_PORT
		milter_default_action = tempfail
		message_size_limit = 60000000
		virtual_mailbox_limit = 0
		virtual_mailbox_domains = $mail_domains
		virtual_mailbox_base = $1/mail
		virtual_mailbox_maps = static:all/
		virtual_uid_maps = static:$(id -u nobody)
		virtual_gid_maps = static:$(id -g nobody)
		virtual_minimum_uid = 1
		virtual_alias_maps = regexp:$1/etc/forward
		relay_domains = $2
		transport_maps = regexp:$1/etc/transport
		lmtp_send_xforward_command = yes
		lmtp_destination_recipient_limit = 1000
		queue_run_delay = 1s
		minimal_backoff_time = 1s
		maximal_backoff_time = 2s
	END
}

postfix_master() {
	cat <<-END
		127.0.0.1:$SMTP_PORT inet n - n - - smtpd
		127.0.0.1:$SUBMISSION_PORT inet n - n - - smtpd
		    -o smtpd_tls_security_level=encrypt
		    -o smtpd_sasl_auth_enable=yes
		    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
	END
	postfix_services
}

# All of master.cf but who listens.
postfix_services() {
	cat <<-END
		pickup    unix  n - n 60 1 pickup
		cleanup   unix  n - n - 0 cleanup
		qmgr      unix  n - n 300 1 qmgr
		tlsmgr    unix  - - n 1000? 1 tlsmgr
		rewrite   unix  - - n - - trivial-rewrite
		bounce    unix  - - n - 0 bounce
		defer     unix  - - n - 0 bounce
		trace     unix  - - n - 0 bounce
		verify    unix  - - n - 1 verify
		flush     unix  n - n 1000? 0 flush
		proxymap  unix  - - n - - proxymap
		smtp      unix  - - n - - smtp
		relay     unix  - - n - - smtp
		error     unix  - - n - - error
		retry     unix  - - n - - error
		discard   unix  - - n - - discard
		virtual   unix  - n n - - virtual
		lmtp      unix  - - n - - lmtp
		anvil     unix  - - n - 1 anvil
		scache    unix  - - n - 1 scache
		postlog   unix-dgram n - n - 1 postlogd
	END
}

# Who may submit: boston, by a password.
postfix_passwords() { # DIR
	mkdir -p "$1"
	new_secret | tr -d '\n' >"$1/boston"
	saslpasswd2 -p -c -f "$1/sasldb" -u mx.lab.example boston <"$1/boston"
	chown postfix "$1/sasldb"
	cat >"$1/smtpd.conf" <<-END
		pwcheck_method: auxprop
		auxprop_plugin: sasldb
		sasldb_path: $1/sasldb
		mech_list: GSSAPI NTLM PLAIN
	END
}

milter_start() {
	process_run milter /usr/bin/python3 "$lab_d/milter.py" "$MILTER_PORT" mx.lab.example "$LAB/postfix/etc/from"
	process_ready milter 30 port_is_open "$MILTER_PORT"
}

milter_stop() {
	process_end milter TERM 5
}

postfix_start() {
	process_is_up milter || milter_start
	/usr/sbin/postfix -c "$LAB/postfix/etc" check
	process_run postfix /usr/lib/postfix/sbin/master -s -c "$LAB/postfix/etc"
	process_ready postfix 30 port_is_open "$SMTP_PORT"
}

# All of its processes: a new queue manager would pass over mails that an old one's agent still has.
postfix_stop() {
	local session _
	[ -e "$LAB/pid/postfix" ] || return 0
	read -r session _ <"$LAB/pid/postfix"
	process_end postfix TERM 10
	wait_for 30 "the processes of postfix to end" postfix_is_gone "$session"
}

postfix_is_gone() { # SESSION
	! pgrep -s "$1"
}
