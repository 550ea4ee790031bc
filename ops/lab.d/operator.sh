# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What an operator of the two sites does: everything here is done with the command `hedgerow`, with
# files, and with the XMPP servers' own tools.

site_forest() { # SITE: the forest whose directory is read there
	case $1 in amsterdam) echo alpha ;; boston) echo beta ;; esac
}

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
	END
	cat >"$dir/directory.ini" <<-END
		[directory]
		node = $1-1
		database = $(postgres_conninfo "$1" directory)
		secrets = $dir/secrets
	END
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

operator_forest() { # SITE
	local site=$1 forest base secrets=$LAB/$1/secrets
	forest=$(site_forest "$site")
	base=$(slapd_base "$forest")
	install -m 600 "$LAB/$forest/slapd/tls/ca.pem" "$secrets/$forest.ca"
	install -m 600 "$LAB/$forest/slapd/service.secret" "$secrets/$forest.password"
	operator_at "$site" forest add "$forest" --kind openldap \
		--url "ldaps://127.0.0.1:$(slapd_port "$forest")" --ca "$forest.ca" \
		--bind-dn "cn=hedgerow,ou=Services,$base" --bind-secret "$forest.password" \
		--base-dn "ou=People,$base" --filter '(objectClass=imPerson)'
	operator_at "$site" mapping add "$forest" installation imInstallation
	operator_at "$site" mapping add "$forest" alias imAlias
	operator_at "$site" mapping add "$forest" enabled imEnabled
	operator_at "$site" domain add example.com --forest "$forest"
	operator_at "$site" domain add "$forest.example" --forest "$forest"
	case $forest in
	alpha) operator_installation amsterdam prosody-alpha alpha prosody im.alpha.example "$(prosody_port alpha COMPONENT)" ;;
	beta) operator_installation boston ejabberd-beta beta ejabberd im.beta.example "$EJABBERD_COMPONENT" ;;
	esac
}

operator_installation() { # SITE NAME FOREST SOFTWARE NATIVE-DOMAIN PORT
	write_secret "$LAB/$1/secrets/$2.secret"
	operator_at "$1" installation add "$2" --forest "$3" --software "$4" --native-domain "$5" \
		--host 127.0.0.1 --port "$6" --secret "$2.secret"
}

# Forests don't talk to each other until somebody says so, at both ends.
operator_rules() {
	local site
	for site in $sites; do
		wait_for 60 "both forests at $site" operator_is_true "$site" \
			"SELECT count(DISTINCT forest) = 2 AND count(*) = 4 FROM hedgerow.email_domain"
		operator_at "$site" rule add alpha-to-beta allow --from forest:alpha --to forest:beta
		operator_at "$site" rule add beta-to-alpha allow --from forest:beta --to forest:alpha
	done
}

# --- the XMPP servers ---

# The lines to paste for an installation, with the secret in them.
operator_lines() { # SITE INSTALLATION
	operator_at "$1" installation config "$2" | sed "s/SECRET/$(cat "$LAB/$1/secrets/$2.secret")/"
}

operator_prosody() {
	operator_lines amsterdam prosody-alpha >"$LAB/alpha/prosody-alpha.lines"
	prosody_create alpha "$LAB/alpha/prosody-alpha.lines"
	operator_accounts ada carol erik grace ivan
}

operator_ejabberd() {
	operator_lines boston ejabberd-beta >"$LAB/beta/ejabberd-beta.lines"
	ejabberd_create "$LAB/beta/ejabberd-beta.lines"
	operator_accounts bob dave fay hugo jane
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
	local uid=$1 installation=${2-} password jid port server forest address
	forest=$(slapd_forest_of "$uid") || die "nobody has the uid $uid"
	if [ -z "$installation" ]; then
		case $forest in alpha) installation=prosody-alpha ;; beta) installation=ejabberd-beta ;; esac
	fi
	address=$(slapd_mail "$forest" "$uid")
	password=$(new_secret)
	case $installation in
	prosody-alpha | prosody-annex)
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
	( # two servers get accounts at once
		flock 9
		{
			grep -v " $address " "$LAB/accounts" || true
			printf '%s %s %s 127.0.0.1 %s %s\n' "$jid" "$address" "$password" "$port" "$server"
		} >"$LAB/accounts.new"
		mv "$LAB/accounts.new" "$LAB/accounts"
	) 9>"$LAB/accounts.lock"
}

operator_move() { # UID INSTALLATION
	local forest
	forest=$(slapd_forest_of "$1") || die "nobody has the uid $1"
	operator_account "$1" "$2"
	slapd_modify "$forest" <<-END >/dev/null
		dn: uid=$1,ou=People,$(slapd_base "$forest")
		changetype: modify
		replace: imInstallation
		imInstallation: $2
	END
	say "In the directory of $forest $1 is now at $2, where the account is new. It takes effect with:"
	say "  ops/lab hedgerow $(forest_site "$forest") forest sync $forest"
}

forest_site() { # FOREST
	case $1 in alpha) echo amsterdam ;; beta) echo boston ;; esac
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
