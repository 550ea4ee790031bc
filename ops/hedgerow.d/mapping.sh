# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154
# hedgerow mapping: how attributes become people. What is edited is a draft, until it is applied.

commands <<'TABLE'
mapping add|call|FOREST FIELD [ATTRIBUTE] --pattern= --replacement= --ordinal= --fold=|add_mapping|map an LDAP attribute to a field of people, in the draft
mapping set|call|FOREST FIELD [ATTRIBUTE] --pattern= --replacement= --ordinal= --fold=|set_mapping|replace a mapping (the first, or --ordinal), in the draft
mapping remove|call|FOREST FIELD [ORDINAL]|remove_mapping|remove the mappings of a field, in the draft
mapping reset|call|FOREST|reset_mapping|make the draft the usual mapping of the kind of forest
mapping preview|mapping_preview|FOREST --no-wait --timeout=||read the directory by the draft, and show what would change
mapping apply|call|FOREST|apply_mapping|put the draft in use
mapping discard|call|FOREST|discard_mapping|throw the draft away
mapping list|show|[FOREST] --all|SELECT site, forest, state, field, ordinal, attribute, pattern, replacement, fold FROM hedgerow.mappings WHERE :'forest' IN ('', forest) AND (:'all' <> '' OR state <> 'former')|how attributes become fields: in use, and the draft; --all: in former times too
TABLE

cmd_mapping_preview() {
	load forest # whose runs it is about
	cmd_forest_sync "$@" --dry-run --draft
}
