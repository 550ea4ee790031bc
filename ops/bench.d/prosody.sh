# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Two Prosody servers federated by S2S with TLS and certificates, each with one external component
# that the load generator plays. Tuned: generational garbage collection, no Nagle.

prosody_start() { # NAME ADDRESS OTHER OTHERS-ADDRESS
	local dir=$LAB/prosody-$1
	mkdir -p "$dir/data"
	cat >"$dir/prosody.cfg.lua" <<-END
		run_as_root = true
		daemonize = false
		pidfile = "$dir/prosody.pid"
		data_path = "$dir/data"
		certificates = "$certs"
		plugin_paths = { "$here" }
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
	END
	process_run "prosody-$1" prosody -F --config "$dir/prosody.cfg.lua"
	process_ready "prosody-$1" 20 listens "$2" $component_port
}

prosody_up() {
	local a=$net.11 b=$net.12
	prosody_start a "$a" b "$b"
	prosody_start b "$b" a "$a"
	load_begin prosody --role component --native-a talk.a.example --native-b talk.b.example \
		--a "$a:$component_port" --b "$b:$component_port" \
		--watch "$(process_pid prosody-a)" --watch "$(process_pid prosody-b)" \
		--wire "$a:$s2s_port" --wire "$b:$s2s_port"
	load_open prosody
}
