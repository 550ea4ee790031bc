# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The Active Directory of a forest: a Samba domain controller on a loopback address of its own, made
# by addc.py. Its administrator is us.

samba_base() { # FOREST
	printf 'DC=%s,DC=example' "$1"
}

samba_address() { # FOREST
	local address=SAMBA_$1
	printf '%s' "${!address}"
}

samba_create() { # FOREST
	local forest=$1 dir=$LAB/$1/samba
	"$lab_d/addc.py" make "$dir" "$forest.example" "$(samba_address "$forest")"
	/usr/bin/python3 "$lab_d/people.py" samba "$forest" "${installation_of[$forest]}" >"$dir/people.ldif"
	"$lab_d/addc.py" load "$dir" "$dir/people.ldif"
	samba_start "$forest"
}

# One process: it hears of a change that a client makes at once, as Microsoft's does.
samba_start() { # FOREST
	process_run "samba-$1" samba -F --no-process-group --debug-stdout -M single \
		-s "$LAB/$1/samba/etc/smb.conf"
	process_ready "samba-$1" 30 samba_as_administrator "$1" ldapsearch -s base -b '' -LLL 1.1
}

samba_stop() { # FOREST
	process_end "samba-$1" TERM 10
}

samba_as_administrator() { # FOREST COMMAND...: an OpenLDAP client's
	local dir=$LAB/$1/samba realm=$1.example url
	url=ldaps://$(samba_address "$1")
	shift
	LDAPTLS_CACERT=$dir/ca.pem LDAPTLS_REQCERT=demand "$1" -x -H "$url" \
		-D "administrator@$realm" -y "$dir/administrator" "${@:2}"
}

# Changes from LDIF on stdin.
samba_modify() { # FOREST
	samba_as_administrator "$1" ldapmodify
}

# An attribute of a person; nothing when the forest has no such account.
samba_value() { # FOREST UID ATTRIBUTE
	samba_as_administrator "$1" ldapsearch -LLL -o ldif-wrap=no -b "$(samba_base "$1")" \
		"(&(objectClass=user)(sAMAccountName=$2))" "$3" | sed -n "s/^$3: //p"
}

samba_move() { # FOREST UID INSTALLATION
	samba_modify "$1" <<-END
		dn: $(samba_value "$1" "$2" distinguishedName)
		changetype: modify
		replace: msDS-cloudExtensionAttribute1
		msDS-cloudExtensionAttribute1: $3
	END
}

# Another surname, as after a marriage: the name of the entry changes and the address.
samba_rename() { # FOREST UID SURNAME ADDRESS
	local dn given
	dn=$(samba_value "$1" "$2" distinguishedName)
	given=$(samba_value "$1" "$2" givenName)
	samba_modify "$1" <<-END
		dn: $dn
		changetype: modrdn
		newrdn: CN=$given $3
		deleteoldrdn: 1

		dn: CN=$given $3,${dn#*,}
		changetype: modify
		replace: sn
		sn: $3
		-
		replace: displayName
		displayName: $given $3
		-
		replace: mail
		mail: $4
		-
		replace: proxyAddresses
		proxyAddresses: SMTP:$4
		proxyAddresses: smtp:$2@example.com
	END
}

# The controller comes back from a backup, under a new invocationId: what was known of its
# changes holds no more.
samba_renew() { # FOREST
	samba_stop "$1"
	"$lab_d/addc.py" renew "$LAB/$1/samba"
	samba_start "$1"
}
