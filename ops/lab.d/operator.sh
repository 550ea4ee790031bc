# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What an operator of the two sites does: everything here is done with the command `hedgerow`, with
# files, and with the XMPP servers' own tools.

# The command at a site. What makes or joins databases is the owner's; the rest a mere operator's.
operator_at() { # SITE WORD...
	local site=$1 role=operator
	shift
	case "$1 ${2-}" in
	migrate* | "site join" | "site leave") role=$(postgres_owner) ;;
	esac
	"$top/ops/hedgerow" --database "$(postgres_conninfo "$site" "$role")" "$@"
}

operator_value() { # SITE QUERY
	postgres_psql "$1" -A -t -q -c "$2"
}

operator_is_true() { # SITE QUERY
	[ "$(operator_value "$1" "$2")" = t ]
}

# --- a site: schema, who may log in, its name, its key, the files of its daemons ---

operator_site() { # SITE
	local site=$1 dir=$LAB/$1 role key endpoint
	operator_at "$site" migrate
	for role in gateway directory operator; do
		operator_value "$site" "CREATE ROLE $role LOGIN IN ROLE hedgerow_$role"
	done
	endpoint=LINK_$site
	[ "$site" != boston ] || endpoint=RELAY_PORT # amsterdam dials boston through the relay
	key=$(HEDGEROW_GATEWAY=$build/hedgerow-gateway operator_at "$site" key generate "$dir/secrets/link.key")
	operator_at "$site" site init "$site" --endpoint "tcp://127.0.0.1:${!endpoint}" --key "$key"
	operator_ini "$site"
	"$build/hedgerow-gateway" --check -c "$dir/gateway.ini"
	"$build/hedgerow-directory" --check -c "$dir/directory.ini"
}

operator_ini() { # SITE
	local dir=$LAB/$1 listen=LINK_$1
	cat >"$dir/gateway.ini" <<-END
		[gateway]
		node = $1-1
		database = $(postgres_conninfo "$1" gateway)
		secrets = $dir/secrets

		[link]
		listen = tcp://127.0.0.1:${!listen}
		heartbeat = 1s
		retry_max = 2s

		[mail]
		listen = 127.0.0.1:$(operator_lmtp "$1")
		retry_min = 1s
		retry_max = 5s
	END
	cat >"$dir/directory.ini" <<-END
		[directory]
		node = $1-1
		database = $(postgres_conninfo "$1" directory)
		secrets = $dir/secrets
	END
}

operator_lmtp() { # SITE
	local port=LMTP_$1
	printf '%s' "${!port}"
}

# --- mail: each site carries that of its own people, through the one Postfix ---

operator_mail() { # SITE
	local site=$1 domain
	local -n chat_domain=chat_domains_$site
	local way=(--port "$SMTP_PORT")
	if [ "$site" = boston ]; then
		install -m 600 "$LAB/postfix/etc/sasl/boston" "$LAB/$site/secrets/smarthost.password"
		way=(--port "$SUBMISSION_PORT" --username boston@mx.lab.example --secret smarthost.password)
	fi
	write_secret "$LAB/$site/secrets/mail-reply.key"
	install -m 600 "$LAB/postfix/tls/ca.pem" "$LAB/$site/secrets/smarthost.ca"
	for domain in "${!chat_domain[@]}"; do
		operator_at "$site" domain mail add "$domain" --chat-domain "${chat_domain[$domain]}" \
			--smarthost 127.0.0.1 "${way[@]}" --ca smarthost.ca \
			--authserv-id mx.lab.example --relay 127.0.0.1/32
	done
}

operator_join() {
	operator_at amsterdam site join boston --database "$(postgres_conninfo boston)"
	operator_at boston site join amsterdam --database "$(postgres_conninfo amsterdam)"
	wait_for 60 "boston at amsterdam" operator_is_true amsterdam "SELECT count(*) = 2 FROM hedgerow.site"
	wait_for 60 "amsterdam at boston" operator_is_true boston "SELECT count(*) = 2 FROM hedgerow.site"
	operator_at amsterdam link add boston --dialer amsterdam
	operator_at boston link add amsterdam --dialer amsterdam
}

# --- a forest: where its directory is, what its attributes mean, its domains, its XMPP server ---

operator_forest() { # FOREST
	local forest=$1 site=${site_of[$1]}
	"operator_forest_${directory_of[$forest]}" "$site" "$forest" "$LAB/$site/secrets"
	operator_at "$site" domain add example.com --forest "$forest"
	operator_at "$site" domain add "$forest.example" --forest "$forest"
	case ${installation_of[$forest]} in
	prosody-*)
		operator_installation "$site" "prosody-$forest" "$forest" prosody "${prosody_domain[$forest]}" \
			"$(prosody_port "$forest" COMPONENT)"
		;;
	ejabberd-*)
		operator_installation "$site" ejabberd-beta beta ejabberd "$ejabberd_domain" "$EJABBERD_COMPONENT"
		;;
	esac
}

operator_forest_slapd() { # SITE FOREST SECRETS
	local base
	base=$(slapd_base "$2")
	install -m 600 "$LAB/$2/slapd/tls/ca.pem" "$3/$2.ca"
	install -m 600 "$LAB/$2/slapd/service.secret" "$3/$2.password"
	operator_at "$1" forest add "$2" --kind openldap \
		--url "ldaps://127.0.0.1:$(slapd_port "$2")" --ca "$2.ca" \
		--bind-dn "cn=hedgerow,ou=Services,$base" --bind-secret "$2.password" \
		--base-dn "ou=People,$base" --filter '(objectClass=imPerson)'
	operator_at "$1" mapping add "$2" installation imInstallation
	operator_at "$1" mapping add "$2" alias imAlias
	operator_at "$1" mapping set "$2" enabled imEnabled
	operator_at "$1" mapping apply "$2"
}

operator_forest_samba() { # SITE FOREST SECRETS
	install -m 600 "$LAB/$2/samba/ca.pem" "$3/$2.ca"
	install -m 600 "$LAB/$2/samba/svc-hedgerow" "$3/$2.password"
	operator_at "$1" forest add "$2" --kind activedirectory \
		--url "ldaps://$(samba_address "$2")" --ca "$2.ca" \
		--bind-dn "svc-hedgerow@$2.example" --bind-secret "$2.password" --base-dn "$(samba_base "$2")"
	operator_at "$1" mapping add "$2" installation msDS-cloudExtensionAttribute1
	operator_at "$1" mapping add "$2" installation --replacement "${installation_of[$2]}" # all others
	operator_at "$1" mapping apply "$2"
}

operator_installation() { # SITE NAME FOREST SOFTWARE NATIVE-DOMAIN PORT
	write_secret "$LAB/$1/secrets/$2.secret"
	operator_at "$1" installation add "$2" --forest "$3" --software "$4" --native-domain "$5" \
		--host 127.0.0.1 --port "$6" --secret "$2.secret"
}

# Forests don't talk to each other until somebody says so, at both ends.
operator_rules() {
	local site one other
	for site in $sites; do
		# shellcheck disable=SC2086
		wait_for 60 "all forests at $site" operator_is_true "$site" \
			"SELECT count(DISTINCT forest) = $(wc -w <<<$forests) FROM hedgerow.email_domain WHERE domain <> 'example.com'"
		for one in $forests; do
			for other in $forests; do
				[ "$one" = "$other" ] ||
					operator_at "$site" rule add "$one-to-$other" allow --from "forest:$one" --to "forest:$other"
			done
		done
	done
}

# --- the XMPP servers ---

# The lines to paste for an installation, with the secret in them.
operator_lines() { # SITE INSTALLATION
	operator_at "$1" installation config "$2" | sed "s/SECRET/$(cat "$LAB/$1/secrets/$2.secret")/"
}

xmpp_title() { # FOREST
	case ${installation_of[$1]} in prosody-*) echo Prosody ;; ejabberd-*) echo ejabberd ;; esac
}

operator_xmpp() { # FOREST
	local lines=$LAB/$1/${installation_of[$1]}.lines
	operator_lines "${site_of[$1]}" "${installation_of[$1]}" >"$lines"
	case $1 in
	alpha) prosody_create alpha "$lines" && operator_accounts ada carol erik grace ivan ;;
	beta) ejabberd_create "$lines" && operator_accounts bob dave fay hugo jane ;;
	gamma) prosody_create gamma "$lines" && operator_accounts gus lena max otto pia ;;
	esac
}

operator_annex() {
	process_is_down prosody-annex || die "the annex is there already"
	operator_installation boston prosody-annex alpha prosody "${prosody_domain[annex]}" \
		"$(prosody_port annex COMPONENT)"
	operator_lines boston prosody-annex >"$LAB/alpha/prosody-annex.lines"
	prosody_create annex "$LAB/alpha/prosody-annex.lines"
	wait_for 60 "the gateway of boston to serve it" operator_is_true boston "SELECT bool_and(state = 'up')
		FROM hedgerow.stream_status WHERE installation = 'prosody-annex'"
}

# --- people who can log in ---

operator_accounts() { # UID...
	local uid
	for uid in "$@"; do
		operator_account "$uid"
	done
}

# An account for a person in the server of their forest, or in the given installation.
operator_account() { # UID [INSTALLATION]
	local uid=$1 installation=${2-} password jid port server forest
	forest=$(directory_forest_of "$uid") || exit
	installation=${installation:-${installation_of[$forest]}}
	password=$(new_secret)
	case $installation in
	prosody-alpha | prosody-annex | prosody-gamma)
		prosody_account "${installation#*-}" "$uid" "$password"
		jid=$uid@${prosody_domain[${installation#*-}]} server=Prosody
		port=$(prosody_port "${installation#*-}" C2S)
		;;
	ejabberd-beta)
		ejabberd_account "$uid" "$password"
		jid=$uid@$ejabberd_domain server=ejabberd port=$EJABBERD_C2S
		;;
	*) die "$installation is not an XMPP server of the lab" ;;
	esac
	operator_can_login "$uid" "$jid $(directory_value "$forest" "$uid" mail) $password 127.0.0.1 $port $server"
}

# The line of a person in the list of accounts, instead of the one that is there.
operator_can_login() { # UID LINE
	( # two servers get accounts at once
		flock 9
		{
			grep -v "^$1@" "$LAB/accounts" || true
			printf '%s\n' "$2"
		} >"$LAB/accounts.new"
		mv "$LAB/accounts.new" "$LAB/accounts"
	) 9>"$LAB/accounts.lock"
}

operator_move() { # UID INSTALLATION
	local forest
	forest=$(directory_forest_of "$1") || exit
	operator_account "$1" "$2"
	directory_move "$forest" "$1" "$2" >/dev/null
	say "In the directory of $forest $1 is now at $2, where the account is new. It takes effect with:"
	say "  ops/lab hedgerow ${site_of[$forest]} forest sync $forest"
}

# Changes the directory, and waits until both sites know the new address by themselves.
operator_rename() { # UID SURNAME
	local forest old new since site line
	forest=$(directory_forest_of "$1") || exit
	old=$(directory_value "$forest" "$1" mail)
	new=$(printf '%s.%s@%s' "${old%%.*}" "$2" "${old#*@}" | tr '[:upper:]' '[:lower:]')
	directory_rename "$forest" "$1" "$2" "$new" >/dev/null
	since=$(usec_now)
	for site in $sites; do
		wait_for 60 "$new at $site" operator_routes "$site" "$new" ||
			die "$new is not known at $site: see \"ops/lab hedgerow ${site_of[$forest]} forest runs $forest\""
		say "  $new is routable at $site after $(seconds_since "$since") s"
	done
	line=$(grep "^$1@" "$LAB/accounts") || return 0
	operator_can_login "$1" "${line/ $old / $new }"
}

operator_routes() { # SITE ADDRESS
	operator_is_true "$1" "SELECT address = '$2' FROM hedgerow.lookup_addresses(ARRAY['$2'])"
}

# --- until it works ---

operator_synced() { # FOREST
	local site
	for site in $sites; do
		wait_for 60 "the people of $1 at $site" operator_is_true "$site" \
			"SELECT count(*) = 60 FROM hedgerow.person WHERE forest = '$1' AND state = 'active'"
	done
}

operator_linked() {
	local site
	for site in $sites; do
		wait_for 60 "the link of $site" operator_is_true "$site" \
			"SELECT bool_and(state = 'up') FROM hedgerow.link_status"
	done
}

operator_streaming() {
	local site
	for site in $sites; do
		wait_for 60 "the streams of $site" operator_is_true "$site" \
			"SELECT bool_and(state = 'up') FROM hedgerow.stream_status"
	done
}

operator_status() { # SITE
	operator_at "$1" status
}
