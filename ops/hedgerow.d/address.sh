# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow address: addresses of people

commands <<'TABLE'
address release|call|ADDRESS|release_address|free the address of a deleted person
TABLE
