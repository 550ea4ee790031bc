# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The OpenLDAP directory of a forest: LDAPS on loopback for hedgerow-directory, a socket for us.

slapd_base() { # FOREST
	printf 'dc=%s,dc=example' "$1"
}

slapd_port() { # FOREST
	local port=LDAPS_$1
	printf '%s' "${!port}"
}

slapd_socket() { # FOREST: as an LDAP URL
	local path=$LAB/$1/slapd/ldapi
	printf 'ldapi://%s' "${path//\//%2F}"
}

slapd_create() { # FOREST
	slapd_configure "$1"
	/usr/bin/python3 "$lab_d/people.py" slapd "$1" "${installation_of[$1]}" \
		"$(cat "$LAB/$1/slapd/service.secret")" | slapd_load "$1"
	slapd_start "$1"
}

slapd_configure() { # FOREST
	local forest=$1 dir=$LAB/$1/slapd base
	base=$(slapd_base "$forest")
	mkdir -p "$dir/db"
	authority "$dir/tls" "ldap.$forest.example"
	write_secret "$dir/admin.secret"
	write_secret "$dir/service.secret"
	cat >"$dir/im.schema" <<-'END'
		attributetype ( 1.3.6.1.4.1.32473.1.1 NAME 'imInstallation'
		  DESC 'which messaging installation serves the person' EQUALITY caseIgnoreMatch
		  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
		attributetype ( 1.3.6.1.4.1.32473.1.2 NAME 'imAlias'
		  DESC 'a further address' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
		attributetype ( 1.3.6.1.4.1.32473.1.3 NAME 'imEnabled'
		  DESC 'may use messaging' EQUALITY booleanMatch
		  SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
		objectclass ( 1.3.6.1.4.1.32473.2.1 NAME 'imPerson' SUP top AUXILIARY
		  MAY ( imInstallation $ imAlias $ imEnabled ) )
	END
	cat >"$dir/slapd.conf" <<-END
		include /etc/ldap/schema/core.schema
		include /etc/ldap/schema/cosine.schema
		include /etc/ldap/schema/inetorgperson.schema
		include $dir/im.schema
		modulepath /usr/lib/ldap
		moduleload back_mdb
		moduleload syncprov
		pidfile $dir/slapd.pid
		argsfile $dir/slapd.args
		TLSCACertificateFile $dir/tls/ca.pem
		TLSCertificateFile $dir/tls/server.pem
		TLSCertificateKeyFile $dir/tls/server.key
		security simple_bind=64
		localSSF 128
		sizelimit 500
		threads 4
		database mdb
		suffix "$base"
		rootdn "cn=admin,$base"
		rootpw $(cat "$dir/admin.secret")
		directory $dir/db
		maxsize 1073741824
		index objectClass,entryUUID,entryCSN,uid,mail eq
		limits dn.exact="cn=hedgerow,ou=Services,$base" size=unlimited time=unlimited
		access to attrs=userPassword by anonymous auth by * none
		access to * by dn.exact="cn=hedgerow,ou=Services,$base" read by * none
		overlay syncprov
		syncprov-checkpoint 1 1
		syncprov-sessionlog 1000
	END
	chmod 600 "$dir/slapd.conf"
}

slapd_load() { # FOREST: entries from LDIF on stdin; it must not run
	slapadd -q -f "$LAB/$1/slapd/slapd.conf"
}

slapd_start() { # FOREST
	local dir=$LAB/$1/slapd
	process_run "slapd-$1" slapd -f "$dir/slapd.conf" -d none \
		-h "ldaps://127.0.0.1:$(slapd_port "$1")/ $(slapd_socket "$1")"
	process_ready "slapd-$1" 30 ldapsearch -x -H "$(slapd_socket "$1")" -s base -b '' -LLL 1.1
}

slapd_stop() { # FOREST
	process_end "slapd-$1" INT 10
}

# Changes from LDIF on stdin.
slapd_modify() { # FOREST
	ldapmodify -x -H "$(slapd_socket "$1")" -D "cn=admin,$(slapd_base "$1")" \
		-y "$LAB/$1/slapd/admin.secret"
}

# An attribute of a person; nothing when the forest has no such uid.
slapd_value() { # FOREST UID ATTRIBUTE
	ldapsearch -x -LLL -o ldif-wrap=no -H "$(slapd_socket "$1")" -D "cn=admin,$(slapd_base "$1")" \
		-y "$LAB/$1/slapd/admin.secret" -b "$(slapd_base "$1")" "(uid=$2)" "$3" | sed -n "s/^$3: //p"
}

slapd_move() { # FOREST UID INSTALLATION
	slapd_modify "$1" <<-END
		dn: uid=$2,ou=People,$(slapd_base "$1")
		changetype: modify
		replace: imInstallation
		imInstallation: $3
	END
}

slapd_rename() { # FOREST UID SURNAME ADDRESS
	local given
	given=$(slapd_value "$1" "$2" givenName)
	slapd_modify "$1" <<-END
		dn: uid=$2,ou=People,$(slapd_base "$1")
		changetype: modify
		replace: sn
		sn: $3
		-
		replace: cn
		cn: $given $3
		-
		replace: displayName
		displayName: $given $3
		-
		replace: mail
		mail: $4
	END
}
