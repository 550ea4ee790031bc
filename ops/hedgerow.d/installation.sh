# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow installation: XMPP servers

commands <<'TABLE'
installation add|call|INSTALLATION !--forest= !--software= !--native-domain= !--host= --port= --secret= --tls= --ca=|add_installation|add an XMPP server: prosody, ejabberd or openfire
installation set|change|INSTALLATION FIELD=VALUE...|installation|change fields of an installation
installation remove|call|INSTALLATION --force|remove_installation|remove an XMPP server
installation list|show||SELECT * FROM hedgerow.installations|the XMPP servers of all sites
installation status|show||SELECT * FROM hedgerow.stream_status|the state of this site's streams
installation config|text|INSTALLATION|SELECT * FROM hedgerow.installation_config(:'installation')|the lines to paste into the server's configuration
TABLE
