# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
operator_account() { # LOCAL [SERVER]
	local server=$2 password jid port
	password=$(new_secret)
	case $server in
	prosody-alpha) jid=$1@$prosody_domain port=$PROSODY_C2S && prosody_account "$1" "$password" ;;
	ejabberd-beta) jid=$1@$ejabberd_domain port=$EJABBERD_C2S && ejabberd_account "$1" "$password" ;;
	esac
}
