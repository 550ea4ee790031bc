# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The directory of a forest, whatever it is: each kind has these verbs in a file of its own.

directory_is() { # FOREST
	[ -n "${directory_of[$1]-}" ] || die "no forest is called $1; these are: $forests"
}

directory_title() { # FOREST
	case ${directory_of[$1]} in slapd) echo OpenLDAP ;; samba) echo "Active Directory" ;; esac
}

directory_create() { # FOREST
	"${directory_of[$1]}_create" "$1"
}

directory_modify() { # FOREST: from LDIF on stdin
	"${directory_of[$1]}_modify" "$1"
}

directory_value() { # FOREST UID ATTRIBUTE
	"${directory_of[$1]}_value" "$@"
}

directory_move() { # FOREST UID INSTALLATION
	"${directory_of[$1]}_move" "$@"
}

directory_rename() { # FOREST UID SURNAME ADDRESS
	"${directory_of[$1]}_rename" "$@"
}

directory_forest_of() { # UID
	local forest
	for forest in $forests; do
		if [ -n "$(directory_value "$forest" "$1" mail 2>/dev/null)" ]; then # it may be down
			printf '%s\n' "$forest"
			return
		fi
	done
	die "nobody has the uid $1"
}
