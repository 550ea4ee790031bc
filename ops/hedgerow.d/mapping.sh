# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow mapping: how attributes become people

commands <<'TABLE'
mapping add|call|FOREST FIELD [ATTRIBUTE] --pattern= --replacement= --ordinal=|add_mapping|map an LDAP attribute to a field of people
mapping set|call|FOREST FIELD [ATTRIBUTE] --pattern= --replacement= --ordinal=|set_mapping|replace a mapping (the first, or --ordinal)
mapping remove|call|FOREST FIELD [ORDINAL]|remove_mapping|remove the mappings of a field
mapping list|show|[FOREST]|SELECT * FROM hedgerow.mappings WHERE :'forest' IN ('', forest)|how attributes become fields
TABLE
