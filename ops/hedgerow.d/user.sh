# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow user: people

commands <<'TABLE'
user find|show|TEXT|SELECT * FROM hedgerow.find_user(:'text')|find people by address, alias, native address or name
user forget|call|ADDRESS|forget_person|free the reserved address of a deleted person, or a former address
TABLE
