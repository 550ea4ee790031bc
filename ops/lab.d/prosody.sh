# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The Prosody of forest alpha. Its own configuration is here; what Hedgerow needs of it is what
# `hedgerow installation config` prints, included as it is.

prosody_domain=im.alpha.example

prosody_create() { # FILE with the lines for Hedgerow
	local dir=$LAB/alpha/prosody root=
	[ "$(id -u)" != 0 ] || root="run_as_root = true"
	mkdir -p "$dir/data"
	authority "$dir/tls" $prosody_domain
	cp "$1" "$dir/hedgerow.cfg.lua"
	cat >"$dir/prosody.cfg.lua" <<-END
		$root
		daemonize = false
		pidfile = "$dir/prosody.pid"
		data_path = "$dir/data"
		interfaces = { "127.0.0.1" }
		local_interfaces = { "127.0.0.1" }
		c2s_ports = { $PROSODY_C2S }
		component_ports = { $PROSODY_COMPONENT }
		s2s_ports = {} s2s_direct_tls_ports = {} c2s_direct_tls_ports = {} http_ports = {} https_ports = {}
		authentication = "internal_hashed"
		storage = "internal"
		allow_unencrypted_plain_auth = true -- clients of the lab come over loopback
		c2s_require_encryption = false
		modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "ping"; "vcard4"; "vcard_legacy"; "pep"; "offline" }
		modules_disabled = { "s2s" }
		certificates = "$dir/tls"
		log = { { levels = { min = "info" }, to = "console", timestamps = true } }
		VirtualHost "$prosody_domain"
			ssl = { key = "$dir/tls/key.pem"; certificate = "$dir/tls/cert.pem" }
		Include "$dir/hedgerow.cfg.lua"
	END
	prosody_start
}

prosody_start() {
	cd "$LAB/alpha/prosody"
	process_run prosody-alpha lua5.4 /usr/bin/prosody -F --config "$LAB/alpha/prosody/prosody.cfg.lua"
	process_ready prosody-alpha 30 prosody_answers
}

prosody_answers() {
	port_is_open "$PROSODY_C2S" && port_is_open "$PROSODY_COMPONENT"
}

prosody_stop() {
	process_end prosody-alpha TERM 10
}

prosody_account() { # LOCAL PASSWORD
	prosodyctl --root --config "$LAB/alpha/prosody/prosody.cfg.lua" \
		register "$1" $prosody_domain "$2" >/dev/null
}
