# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow link: links between sites

commands <<'TABLE'
link add|call|PEER --dialer= --cost=|add_link|consent to a link with a peer site
link set|change|PEER FIELD=VALUE...|link|change the dialer or cost of a link
link remove|call|PEER|remove_link|withdraw the consent
link list|show||SELECT * FROM hedgerow.links|the links of all sites
link status|show||SELECT * FROM hedgerow.link_status|the state of this site's links
TABLE
