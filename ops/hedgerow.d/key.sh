# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# hedgerow key: the keys of gateways

commands <<'TABLE'
key generate|key_generate|FILE||make the key of a gateway; prints the public key
TABLE

cmd_key_generate() {
	[ "${1:-}" != --help ] || help_command
	[ $# = 1 ] || wrong 'name the file for the secret key'
	for gateway in ${HEDGEROW_GATEWAY:+"$HEDGEROW_GATEWAY"} "$here/../sbin/hedgerow-gateway" "$here/../hedgerow-gateway" \
		"$(command -v hedgerow-gateway)"; do
		[ ! -x "$gateway" ] || break
	done
	[ -x "$gateway" ] || fail 2 'hedgerow-gateway is not found; set HEDGEROW_GATEWAY to its path'
	"$gateway" --generate-key "$1" # not by exec: the scratch directory goes at our end
}
