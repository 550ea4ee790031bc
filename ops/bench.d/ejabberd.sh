# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Two ejabberd servers federated by S2S with TLS and certificates, each with one external component
# that the load generator plays. Tuned: no busy waiting (it would count as CPU time of the messages)
# and no Nagle between the servers. They find each other by SRV records from a dnsmasq of our own
# whose targets are numeric: ejabberd asks Erlang for SRV, but the C library for addresses.

ejabberd_start() { # NAME ADDRESS DNS-ADDRESS
	local dir=$LAB/ejabberd-$1 libs
	libs=$(dirname "$(dirname "$(readlink -f /usr/lib/*/ejabberd-*/ebin | head -n 1)")")
	mkdir -p "$dir/spool" "$dir/log"
	cat >"$dir/ejabberd.yml" <<-END
		loglevel: warning
		log_rotate_count: 0
		hosts:
		  - $1.example
		certfiles:
		  - "$certs/$1.pem"
		ca_file: "$certs/ca.crt"
		s2s_cafile: "$certs/ca.crt"
		s2s_use_starttls: required
		s2s_access: all
		s2s_dns_timeout: 2
		s2s_dns_retries: 1
		outgoing_s2s_families: [ipv4]
		outgoing_s2s_ipv4_address: "$2"
		default_db: mnesia
		listen:
		  - port: $s2s_port
		    ip: "$2"
		    module: ejabberd_s2s_in
		    shaper: none
		  - port: $component_port
		    ip: "$2"
		    module: ejabberd_service
		    access: all
		    shaper: none
		    hosts:
		      "talk.$1.example":
		        password: "$secret"
		modules:
		  mod_disco: {}
	END
	cat >"$dir/inetrc" <<-END
		{resolv_conf, ""}.
		{hosts_file, ""}.
		{lookup, [dns]}.
		{nameserver, {${3//./,}}, $dns_port}.
	END
	process_run "ejabberd-$1" env HOME="$dir" ERL_LIBS="$libs" \
		EJABBERD_CONFIG_PATH="$dir/ejabberd.yml" EJABBERD_LOG_PATH="$dir/log/ejabberd.log" \
		ERL_CRASH_DUMP="$dir/log/crash.dump" ERL_INETRC="$dir/inetrc" \
		erl +K true +P 250000 +sbwt none +sbwtdcpu none +sbwtdio none -noshell -noinput \
		-kernel inet_default_connect_options '[{nodelay,true}]' \
		-mnesia dir "\"$dir/spool\"" -s ejabberd
}

ejabberd_up() {
	local a=$net.21 b=$net.22 dns=$net.23
	process_run dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
		--bind-interfaces --listen-address="$dns" --port=$dns_port --local=/#/ \
		--pid-file= --user="$(id -un)" --log-facility=- \
		--srv-host=_xmpp-server._tcp.talk.a.example,"$a",$s2s_port \
		--srv-host=_xmpp-server._tcp.talk.b.example,"$b",$s2s_port
	ejabberd_start a "$a" "$dns"
	ejabberd_start b "$b" "$dns"
	process_ready ejabberd-a 40 listens "$a" $component_port
	process_ready ejabberd-b 40 listens "$b" $component_port
	load_begin ejabberd --role component --native-a talk.a.example --native-b talk.b.example \
		--a "$a:$component_port" --b "$b:$component_port" \
		--watch "$(process_pid ejabberd-a)" --watch "$(process_pid ejabberd-b)" \
		--wire "$a:$s2s_port" --wire "$b:$s2s_port"
	load_open ejabberd
}
