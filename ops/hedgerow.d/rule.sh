# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow rule: who may send what to whom

commands <<'TABLE'
rule add|call|RULE ACTION --from=:from_pattern --to=:to_pattern --kind= --priority= --reason=|add_rule|allow or deny traffic
rule set|change|RULE FIELD=VALUE...|rule|change fields of a rule
rule remove|call|RULE|remove_rule|remove a rule
rule list|show||SELECT * FROM hedgerow.rules|who may send what to whom
TABLE
