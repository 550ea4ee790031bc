# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow gateway: the gateways of this site

commands <<'TABLE'
gateway list|show||SELECT * FROM hedgerow.gateway_status|the gateways of this site
TABLE
