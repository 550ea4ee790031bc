# SPDX-License-Identifier: Apache-2.0
# Two Prosody servers federated by S2S with TLS and certificates, each with one external component
# that the load generator plays. Tuned: generational garbage collection, no Nagle. Sourced.
# shellcheck shell=sh disable=SC2154

prosody_a() { echo "$net.11"; }
prosody_b() { echo "$net.12"; }

# prosody_configure NAME ADDRESS OTHER OTHERS-ADDRESS
prosody_configure() {
	mkdir -p "$scratch/prosody-$1/data"
	cat >"$scratch/prosody-$1/prosody.cfg.lua" <<C
run_as_root = true
daemonize = false
pidfile = "$scratch/prosody-$1/prosody.pid"
data_path = "$scratch/prosody-$1/data"
plugin_paths = { "$here/bench.d" }
interfaces = { "$2" }
local_interfaces = { "$2" }
c2s_ports = {}
c2s_direct_tls_ports = {}
s2s_ports = { $s2s_port }
s2s_direct_tls_ports = {}
component_ports = { $component_port }
component_interfaces = { "$2" }
http_ports = {}
https_ports = {}
network_backend = "epoll"
network_settings = { nagle = false }
gc = { mode = "generational" }
s2s_require_encryption = true
s2s_secure_auth = true
modules_enabled = { "saslauth"; "tls"; "bench_targets" }
modules_disabled = { "s2s_bidi"; "offline"; "c2s" }
bench_targets = { ["talk.$3.example"] = { "$4", $s2s_port } }
ssl = { key = "$certs/$1.key"; certificate = "$certs/$1.crt"; cafile = "$certs/ca.crt" }
log = { { levels = { min = "warn" }, to = "console" } }
VirtualHost "$1.example"
Component "talk.$1.example"
	component_secret = "$secret"
C
	spawn "prosody-$1" prosody -F --config "$scratch/prosody-$1/prosody.cfg.lua"
	echo "$spawned" >"$scratch/prosody-$1.pid"
}

prosody_up() {
	need prosody prosody
	prosody_configure a "$(prosody_a)" b "$(prosody_b)"
	prosody_configure b "$(prosody_b)" a "$(prosody_a)"
	wait_for 20 "Prosody a" listens "$(prosody_a)" $component_port
	wait_for 20 "Prosody b" listens "$(prosody_b)" $component_port
	load_begin prosody --role component --native-a talk.a.example --native-b talk.b.example \
		--a "$(prosody_a):$component_port" --b "$(prosody_b):$component_port" \
		--watch "$(cat "$scratch/prosody-a.pid")" --watch "$(cat "$scratch/prosody-b.pid")" \
		--wire "$(prosody_a):$s2s_port" --wire "$(prosody_b):$s2s_port"
	load_open prosody
}
