# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# One site whose gateway has a fake XMPP server on one side, smtp-source and smtp-sink on the other; and a
# Postfix between the same two. What is measured is in mail.py.

mail_persons=2000 # half of them have mail only

mail_ports() {
	local names="MAIL_component MAIL_lmtp MAIL_smtp MAIL_sink_lmtp MAIL_sink_smtp" name
	for name in $names; do
		printf -v "$name" '%s' "$(free_ports 1)"
	done
}

mail_sinks() {
	local as=()
	[ "$(id -u)" != 0 ] || as=(-u nobody)
	process_run sink-lmtp smtp-sink "${as[@]}" -c -L "inet:127.0.0.1:$MAIL_sink_lmtp" 1000
	process_run sink-smtp smtp-sink "${as[@]}" -c "inet:127.0.0.1:$MAIL_sink_smtp" 1000
	process_ready sink-lmtp 10 listens 127.0.0.1 "$MAIL_sink_lmtp" || die "smtp-sink did not start"
	process_ready sink-smtp 10 listens 127.0.0.1 "$MAIL_sink_smtp" || die "smtp-sink did not start"
}

hedgerow_mail() {
	local owner role forest
	owner=$(postgres_owner)
	hedgerow_postgres a
	hedgerow_at a "$owner" migrate
	for role in gateway operator; do
		postgres_psql a -q -c "CREATE ROLE $role LOGIN IN ROLE hedgerow_$role"
	done
	hedgerow_at a operator site init a --endpoint "tcp://127.0.0.1:$link_port"
	for forest in chat mail; do
		hedgerow_at a operator forest add "$forest" --kind openldap --url ldaps://unused.example \
			--bind-dn cn=unused --bind-secret unused --base-dn dc=unused
		hedgerow_at a operator domain add example.com --forest "$forest"
	done
	hedgerow_at a operator rule add chat-to-mail allow --from forest:chat --to forest:mail
	hedgerow_at a operator rule add mail-to-chat allow --from forest:mail --to forest:chat
	(umask 077 && printf '%s' "$secret" >"$LAB/a/secrets/component.secret" &&
		new_secret | tr -d '\n' >"$LAB/a/secrets/mail-reply.key")
	"$build/hedgerow-gateway" --generate-key "$LAB/a/secrets/link.key" >/dev/null
	hedgerow_at a operator installation add xmpp-a --forest chat --software prosody --native-domain im.a.example \
		--host 127.0.0.1 --port "$MAIL_component" --secret component.secret
	hedgerow_at a operator domain mail add example.com --chat-domain chat.example.com --smarthost 127.0.0.1 \
		--port "$MAIL_sink_smtp" --tls none --authserv-id mx.bench.example --hourly 10000
	/usr/bin/python3 "$here/mail.py" people "$mail_persons" | postgres_psql a -q -c 'COPY hedgerow.person
		(site, forest, anchor, address, native, installation, name) FROM stdin' -c 'ANALYZE hedgerow.person'
	cat >"$LAB/a/gateway.ini" <<-END
		[gateway]
		node = a-1
		database = $(postgres_conninfo a gateway)
		secrets = $LAB/a/secrets

		[link]
		listen = tcp://127.0.0.1:$link_port

		[mail]
		listen = 127.0.0.1:$MAIL_lmtp
	END
	process_run gateway-a "$build/hedgerow-gateway" -c "$LAB/a/gateway.ini"
	process_ready gateway-a 30 listens 127.0.0.1 "$MAIL_lmtp" || die "the gateway did not start"
}

# As it comes from Debian, without the pause that it makes for who sends faster than it delivers.
postfix_mail() {
	local dir=$LAB/postfix
	[ "$(id -u)" = 0 ] || die "only root can run a Postfix: --only hedgerow"
	mkdir -m 755 "$dir" "$dir/etc" "$dir/data" "$dir/spool"
	chown postfix "$dir/data"
	cat >"$dir/etc/main.cf" <<-END
		compatibility_level = 3.6
		maillog_file_prefixes = $LAB/log
		maillog_file = $LAB/log/postfix.log
		queue_directory = $dir/spool
		data_directory = $dir/data
		daemon_directory = /usr/lib/postfix/sbin
		command_directory = /usr/sbin
		myhostname = mx.bench.example
		mydestination =
		notify_classes =
		alias_maps =
		inet_interfaces = 127.0.0.1
		inet_protocols = ipv4
		mynetworks = 127.0.0.0/8
		in_flow_delay = 0
		transport_maps = inline:{ chat.example.com=lmtp:inet:127.0.0.1:$MAIL_sink_lmtp, example.com=smtp:[127.0.0.1]:$MAIL_sink_smtp }
	END
	{
		printf '127.0.0.1:%s inet n - n - - smtpd\n' "$MAIL_smtp"
		postfix_services
	} >"$dir/etc/master.cf"
	/usr/sbin/postfix -c "$dir/etc" check
	process_run postfix /usr/lib/postfix/sbin/master -s -c "$dir/etc"
	process_ready postfix 30 listens 127.0.0.1 "$MAIL_smtp" || die "Postfix did not start"
}

bench_mail() {
	local system pids=()
	bench_begin
	mail_ports
	mail_sinks
	for system in "${systems[@]}"; do
		say "starting $system"
		"${system}_mail"
		case $system in
		hedgerow) pids+=(--hedgerow-pids "$(process_pid gateway-a)" "$(process_pid postgres-a)") ;;
		postfix) pids+=(--postfix-pids "$(process_pid postfix)") ;;
		esac
	done
	/usr/bin/python3 "$here/mail.py" measure --lab "$LAB" --results "$LAB/results" --secret "$secret" \
		--mails "$mails" --rounds "$rounds" --persons $((mail_persons / 2)) --lmtp "$MAIL_lmtp" --smtp "$MAIL_smtp" \
		--component "$MAIL_component" --only "${systems[@]}" "${pids[@]}"
	/usr/bin/python3 "$here/mail.py" report ${json:+--json} "$LAB/results"
}
