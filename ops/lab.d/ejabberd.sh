# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The ejabberd of forest beta, as a plain Erlang process without a node name: no epmd, nothing
# outside the lab. Accounts are made through its HTTP API on loopback.

ejabberd_domain=im.beta.example

ejabberd_create() { # FILE with the lines for Hedgerow
	local dir=$LAB/beta/ejabberd-beta
	mkdir -p "$dir/spool" "$dir/log"
	authority "$dir/tls" $ejabberd_domain
	cat "$dir/tls/server.key" "$dir/tls/server.pem" >"$dir/tls/both.pem"
	chmod 600 "$dir/tls/both.pem"
	cp "$1" "$dir/hedgerow.yml"
	{
		cat <<-END
			loglevel: info
			log_rotate_count: 0
			hosts:
			  - $ejabberd_domain
			certfiles:
			  - "$dir/tls/both.pem"
			auth_password_format: scram
			default_db: mnesia
			api_permissions:
			  "the lab":
			    who:
			      - ip: 127.0.0.1/8
			    what: "register"
			modules:
			  mod_admin_extra: {}
			  mod_disco:
			    extra_domains: [beta.example, example.com]
			  mod_offline: {}
			  mod_ping: {}
			  mod_roster: {}
			  mod_vcard: {}
			listen:
			  - port: $EJABBERD_C2S
			    ip: "127.0.0.1"
			    module: ejabberd_c2s
			    starttls: true
			    shaper: none
			    access: all
			  - port: $EJABBERD_HTTP
			    ip: "127.0.0.1"
			    module: ejabberd_http
			    request_handlers:
			      /api: mod_http_api
		END
		cat "$1" # it belongs under `listen:`
	} >"$dir/ejabberd.yml"
	printf '{lookup,["file"]}.\n' >"$dir/inetrc"
	ejabberd_start
}

ejabberd_start() {
	local dir=$LAB/beta/ejabberd-beta libs
	libs=$(dirname "$(dirname "$(readlink -f /usr/lib/*/ejabberd-*/ebin | head -n 1)")")
	cd "$dir"
	process_run ejabberd-beta env ERL_LIBS="$libs" HOME="$dir" ERL_INETRC="$dir/inetrc" \
		ERL_CRASH_DUMP="$dir/log/crash.dump" EJABBERD_CONFIG_PATH="$dir/ejabberd.yml" \
		EJABBERD_LOG_PATH="$LAB/log/ejabberd-beta.log" \
		erl +K true +sbwt none +sbwtdcpu none +sbwtdio none -noshell -noinput \
		-mnesia dir "\"$dir/spool\"" -s ejabberd
	process_ready ejabberd-beta 60 ejabberd_answers
}

ejabberd_answers() {
	port_is_open "$EJABBERD_C2S" && port_is_open "$EJABBERD_COMPONENT" && port_is_open "$EJABBERD_HTTP"
}

ejabberd_stop() {
	process_end ejabberd-beta TERM 15
}

ejabberd_account() { # LOCAL PASSWORD
	curl -sS -f -o "$LAB/log/ejabberd-account" "http://127.0.0.1:$EJABBERD_HTTP/api/register" \
		-H 'Content-Type: application/json' \
		-d "{\"user\": \"$1\", \"host\": \"$ejabberd_domain\", \"password\": \"$2\"}"
}
