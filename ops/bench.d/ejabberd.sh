# SPDX-License-Identifier: Apache-2.0
# Two ejabberd servers federated by S2S with TLS and certificates, each with one external component
# that the load generator plays. It finds the other by an SRV record from a dnsmasq of our own, whose
# targets are numeric (ejabberd asks Erlang for SRV, but the C library for addresses). Sourced.
# shellcheck shell=sh disable=SC2154

ejabberd_a() { echo "$net.21"; }
ejabberd_b() { echo "$net.22"; }
ejabberd_dns() { echo "$net.23"; }

# ejabberd_configure NAME ADDRESS
ejabberd_configure() {
	dir=$scratch/ejabberd-$1
	mkdir -p "$dir/spool" "$dir/log"
	cat >"$dir/ejabberd.yml" <<C
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
outgoing_s2s_port: $s2s_port
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
C
	cat >"$dir/inetrc" <<C
{resolv_conf, ""}.
{hosts_file, ""}.
{lookup, [dns]}.
{nameserver, {$(ejabberd_dns | tr . ,)}, $dns_port}.
C
	spawn "ejabberd-$1" env HOME="$dir" ERL_LIBS=/usr/lib/x86_64-linux-gnu \
		EJABBERD_CONFIG_PATH="$dir/ejabberd.yml" EJABBERD_LOG_PATH="$dir/log/ejabberd.log" \
		ERL_CRASH_DUMP="$dir/log/crash.dump" ERL_INETRC="$dir/inetrc" \
		erl +K true +P 250000 +sbwt none +sbwtdcpu none +sbwtdio none -noshell -noinput \
		-mnesia dir "\"$dir/spool\"" -s ejabberd
	echo "$spawned" >"$scratch/ejabberd-$1.pid"
}

ejabberd_up() {
	need erl erlang-base
	need ejabberdctl ejabberd
	need dnsmasq dnsmasq-base
	spawn dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
		--bind-interfaces --listen-address="$(ejabberd_dns)" --port=$dns_port --local=/#/ \
		--pid-file= --user="$(id -un)" --log-facility=- \
		--srv-host=_xmpp-server._tcp.talk.a.example,"$(ejabberd_a)",$s2s_port \
		--srv-host=_xmpp-server._tcp.talk.b.example,"$(ejabberd_b)",$s2s_port
	ejabberd_configure a "$(ejabberd_a)"
	ejabberd_configure b "$(ejabberd_b)"
	wait_for 40 "ejabberd a" listens "$(ejabberd_a)" $component_port
	wait_for 40 "ejabberd b" listens "$(ejabberd_b)" $component_port
	load_begin ejabberd --role component --native-a talk.a.example --native-b talk.b.example \
		--a "$(ejabberd_a):$component_port" --b "$(ejabberd_b):$component_port" \
		--watch "$(cat "$scratch/ejabberd-a.pid")" --watch "$(cat "$scratch/ejabberd-b.pid")" \
		--wire "$(ejabberd_a):$s2s_port" --wire "$(ejabberd_b):$s2s_port"
	load_open ejabberd
}
