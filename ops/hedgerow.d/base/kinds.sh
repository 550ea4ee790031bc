# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154
# From the words typed to SQL: parameters, and the kinds of commands that the table is enough for

names_of() { printf '%s' "$1" | tr 'A-Z-' 'a-z_' | tr -d '[].'; }

spec_of() { # the parameter for an option typed
	for p in $parameters; do
		case $p in
		--* | !--*) [ "$(option_name "$p")" != "$1" ] || { printf '%s' "$p"; return; } ;;
		esac
	done
}
param_of() { # the SQL parameter of an option's spec
	case $1 in
	*=:*) printf '%s' "${1##*=:}" ;;
	*) names_of "${1#!}" | tr -d '=*' | sed 's/^__//' ;;
	esac
}

wrong() { fail 2 "$1. Usage: $(usage_of "$command" "$parameters")"; }

#### Kinds of commands

# Every kind begins with this loop: it goes once through the words typed and puts -v NAME=VALUE
# behind them, so that in the end "$@" is what psql gets and nothing else.
#
# $given is the list of parameters that were given, arrays as NAME#COUNT.
# shellcheck disable=SC2016 # it is evaluated
parse='
	given=" "
	positional=$(for p in $parameters; do case $p in --* | !--*) ;; *) printf "%s " "$p" ;; esac; done)
	left=$#
	only_words=no
	while [ "$left" -gt 0 ]; do
		word=$1
		shift
		left=$((left - 1))
		case $only_words:$word in
		no:--) only_words=yes; continue ;;
		no:--help) help_command ;;
		no:--*)
			option=${word%%=*}
			spec=$(spec_of "$option")
			[ -n "$spec" ] || wrong "$command has no option $option"
			name=$(param_of "$spec")
			case $spec in
			*=*)
				case $word in
				*=*) value=${word#*=} ;;
				*)
					[ "$left" -gt 0 ] || wrong "$option needs a value"
					value=$1
					shift
					left=$((left - 1))
					;;
				esac
				;;
			*) case $word in *=*) wrong "$option takes no value" ;; esac; value=true ;;
			esac
			case $spec in
			*\**)
				count=1
				for g in $given; do case $g in "$name#"*) count=$((${g#*#} + 1)) ;; esac; done
				given=$(printf "%s" "$given" | sed "s/ $name#[0-9]*//")
				given="$given$name#$count "
				set -- "$@" -v "${name}_$count=$value"
				;;
			*)
				case $given in *" $name "*) wrong "$option is given twice" ;; esac
				given="$given$name "
				set -- "$@" -v "$name=$value"
				;;
			esac
			;;
		*)
			spec=${positional%% *}
			[ -n "$spec" ] || wrong "$word is too much"
			positional=${positional#* }
			name=$(names_of "$spec")
			given="$given$name "
			set -- "$@" -v "$name=$word"
			;;
		esac
	done
	for p in $positional; do case $p in \[*) ;; *) wrong "$p is missing" ;; esac; done
	for p in $parameters; do
		case $p in
		!--*) case $given in *" $(param_of "$p") "* | *" $(param_of "$p")#"*) ;; *) wrong "$(option_name "$p") is missing" ;; esac ;;
		esac
	done
'

cmd_call() {
	eval "$parse"
	arguments=
	for g in $given; do
		case $g in
		*#*)
			items=
			i=1
			while [ "$i" -le "${g#*#}" ]; do
				items="$items${items:+, }:'${g%#*}_$i'"
				i=$((i + 1))
			done
			arguments="$arguments${arguments:+, }${g%#*} => ARRAY[$items]::text[]"
			;;
		*) arguments="$arguments${arguments:+, }$g => :'$g'" ;;
		esac
	done
	if [ "$json" = yes ]; then
		printf 'SELECT to_json(hedgerow.%s(%s));\n' "$statement" "$arguments" | sql -A -t "$@"
	else
		printf 'SELECT hedgerow.%s(%s);\n' "$statement" "$arguments" | sql -o /dev/null "$@"
	fi || return
	[ "$json" = yes ] || say "$command: done"
}

cmd_show() {
	eval "$parse"
	for p in $parameters; do
		case $p in --* | !--*) name=$(param_of "$p") ;; *) name=$(names_of "$p") ;; esac
		case $given in *" $name "*) ;; *) set -- "$@" -v "$name=" ;; esac
	done
	printf '%s' "$statement" | print_query "$@"
}

cmd_text() { # the lines of a query, bare
	eval "$parse"
	printf '%s;\n' "$statement" | ask "$@"
}

cmd_change() {
	[ "${1:-}" != --help ] || help_command
	[ $# -ge 2 ] || wrong 'name one or more FIELD=VALUE'
	row=$1
	shift
	left=$#
	pairs=
	i=0
	while [ "$left" -gt 0 ]; do
		case $1 in
		[a-z]*=*) ;;
		*) wrong "$1 is not FIELD=VALUE" ;;
		esac
		i=$((i + 1))
		pairs="$pairs${pairs:+, }:'field_$i', nullif(:'value_$i', '')"
		set -- "$@" -v "field_$i=${1%%=*}" -v "value_$i=${1#*=}"
		shift
		left=$((left - 1))
	done
	printf "SELECT hedgerow.change(:'noun', :'row', jsonb_build_object(%s));\n" "$pairs" |
		sql -o /dev/null -v noun="$statement" -v row="$row" "$@" || return
	say "$command: done"
}
