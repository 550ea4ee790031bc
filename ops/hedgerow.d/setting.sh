# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow setting: settings of this database

commands <<'TABLE'
setting list|show||SELECT * FROM hedgerow.settings|settings of this database
setting set|call|NAME VALUE|set_setting|change a setting
TABLE
