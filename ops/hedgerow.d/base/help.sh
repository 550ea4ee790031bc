# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# What the command says of itself, from the tables of the nouns

usage_of() { # "NOUN VERB" PARAMETERS: one line
	printf 'hedgerow %s' "$1"
	for p in $2; do
		case $p in
		!--*=*) printf ' %s %s' "$(option_name "$p")" "$(option_value "$p")" ;;
		--*=*) printf ' [%s %s]' "$(option_name "$p")" "$(option_value "$p")" ;;
		--*) printf ' [%s]' "$p" ;;
		*) printf ' %s' "$p" ;;
		esac
	done
	printf '\n'
}
help_command() { # of the command that was typed, in place of doing it
	usage_of "$command" "$parameters"
	printf '        %s\n' "$summary"
	exit 0
}
option_name() { # --opt*=:param -> --opt
	n=${1#!}
	n=${n%%=*}
	printf '%s' "${n%\*}"
}
option_value() { # what stands for its value in help
	n=$(option_name "$1")
	printf '%s' "${n#--}" | tr 'a-z-' 'A-Z_'
}

# The verbs of a noun, "site" or "site key", a line each
verbs_of() {
	printf '%s' "$table" | awk -F'|' -v noun="$1" '{
		verb = $1
		sub(/.* /, "", verb)
		if ($1 == noun " " verb) print verb }'
}

help_all() {
	cat <<'TEXT'
hedgerow [-d CONNINFO] [--json] [-q] NOUN VERB ...

The database is that of -d (--database), else $HEDGEROW_DATABASE, else the line
`database = CONNINFO` in hedgerow.conf. `hedgerow NOUN help` says more.

TEXT
	for noun in $(nouns); do
		load "$noun"
	done
	# a line for each noun, in the order of the table; one without verbs says what it does
	printf '%s' "$table" | awk -F'|' '
	function flush() { if (noun != "") printf "  %-14s %s\n", noun, text }
	{
		n = verb = $1
		if (sub(/ [^ ]+$/, "", n)) sub(/.* /, "", verb); else verb = $5
		if (n == noun) text = text ", " verb
		else { flush(); noun = n; text = verb }
	}
	END { flush() }'
}

help_noun() {
	printf '%s' "$table" | while IFS='|' read -r name _ parameters _ summary; do
		case $name in
		"$1" | "$1 "*)
			usage_of "$name" "$parameters"
			printf '        %s\n' "$summary"
			;;
		esac
	done
}

# The word of the list that is nearest to $1, if it is near
nearest() {
	awk -v word="$1" '
	function min(a, b) { return a < b ? a : b }
	function distance(a, b,    i, j, d, m, n) {
		m = length(a); n = length(b)
		for (i = 0; i <= m; i++) d[i, 0] = i
		for (j = 0; j <= n; j++) d[0, j] = j
		for (i = 1; i <= m; i++)
			for (j = 1; j <= n; j++)
				d[i, j] = min(min(d[i-1, j], d[i, j-1]) + 1,
					d[i-1, j-1] + (substr(a, i, 1) != substr(b, j, 1)))
		return d[m, n]
	}
	BEGIN { best = 3 }
	{ n = index($0, word) == 1 ? 1 : distance(word, $0); if (n < best) { best = n; found = $0 } }
	END { if (found != "") print found }'
}

unknown() { # "noun"|"verb" WORD, candidates on standard input
	found=$(nearest "$2")
	fail 2 "there is no $1 \"$2\"${found:+; did you mean $found?} See: hedgerow help"
}
