# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The Prosodys: forest alpha's own one, and on demand a second one, the annex, at boston; and forest
# gamma's. The server's own configuration is here; what Hedgerow needs of it is what `hedgerow
# installation config` prints, included as it is.

declare -A prosody_domain=([alpha]=im.alpha.example [annex]=annex.alpha.example [gamma]=im.gamma.example)
declare -A prosody_forest=([alpha]=alpha [annex]=alpha [gamma]=gamma)

prosody_port() { # alpha|annex|gamma C2S|COMPONENT
	local port=PROSODY_$2_$1
	printf '%s' "${!port}"
}

prosody_create() { # alpha|annex|gamma FILE with the lines for Hedgerow
	local dir=$LAB/${prosody_forest[$1]}/prosody-$1 domain=${prosody_domain[$1]} root=
	[ "$(id -u)" != 0 ] || root="run_as_root = true"
	mkdir -p "$dir/data"
	authority "$dir/tls" "$domain"
	cp "$2" "$dir/hedgerow.cfg.lua"
	cat >"$dir/prosody.cfg.lua" <<-END
		$root
		daemonize = false
		pidfile = "$dir/prosody.pid"
		data_path = "$dir/data"
		interfaces = { "127.0.0.1" }
		local_interfaces = { "127.0.0.1" }
		c2s_ports = { $(prosody_port "$1" C2S) }
		s2s_ports = {} s2s_direct_tls_ports = {} c2s_direct_tls_ports = {} http_ports = {} https_ports = {}
		authentication = "internal_hashed"
		storage = "internal"
		allow_unencrypted_plain_auth = true -- clients of the lab come over loopback
		c2s_require_encryption = false
		modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "ping"; "vcard4"; "vcard_legacy"; "pep"; "offline" }
		modules_disabled = { "s2s" }
		certificates = "$dir/tls"
		log = { { levels = { min = "info" }, to = "console", timestamps = true } }
		Include "$dir/hedgerow.cfg.lua"
		VirtualHost "$domain"
			ssl = { key = "$dir/tls/server.key"; certificate = "$dir/tls/server.pem" }
	END
	prosody_start "$1"
}

prosody_start() { # alpha|annex|gamma
	cd "$LAB/${prosody_forest[$1]}/prosody-$1"
	process_run "prosody-$1" lua5.4 /usr/bin/prosody -F --config "$PWD/prosody.cfg.lua"
	process_ready "prosody-$1" 30 prosody_answers "$1"
}

prosody_answers() { # alpha|annex|gamma
	port_is_open "$(prosody_port "$1" C2S)" && port_is_open "$(prosody_port "$1" COMPONENT)"
}

prosody_stop() { # alpha|annex|gamma
	process_end "prosody-$1" TERM 10
}

prosody_account() { # alpha|annex|gamma LOCAL PASSWORD
	prosodyctl --root --config "$LAB/${prosody_forest[$1]}/prosody-$1/prosody.cfg.lua" \
		register "$2" "${prosody_domain[$1]}" "$3" >/dev/null
}
