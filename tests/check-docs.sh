#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The sources and the manual name the same options, events and metrics: `.It Cm`, `.It Sy` and
# `.It Va` of a page are compared with the tables and calls of the C files. (Commands and the
# schema are compared by tests/sql/command.sh.) Prints each difference; exit status 1 if any.
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 2
bad=0

sources() { # EXTENDED-REGEX FOLDER...: what its second group matches, wherever lines break
	regex=$1
	shift
	find "$@" -name '*.c' -exec cat {} + | tr '\n\t' '  ' | grep -oE "$regex" | sed -E "s/$regex/\\2/"
}

terms() { # MACRO PAGE
	sed -n "s/^\.It $1 \([^ ]*\).*/\1/p" "$2"
}

# differ WHAT PAGE SOURCES TERMS
differ() {
	for name in $(printf '%s\n' "$3" "$4" "$4" | sort | uniq -u); do
		printf '%s does not have the %s %s\n' "$2" "$1" "$name"
		bad=1
	done
	for name in $(printf '%s\n' "$3" "$3" "$4" | sort | uniq -u); do
		printf '%s has the %s %s, which no source has\n' "$2" "$1" "$name"
		bad=1
	done
}

# compare WHAT PAGE MACRO REGEX FOLDER...
compare() {
	what=$1 page=$2 macro=$3 regex=$4
	shift 4
	ours=$(sources "$regex" "$@" | sort -u)
	theirs=$(terms "$macro" "$page" | sort -u)
	if [ -z "$ours" ] || [ -z "$theirs" ]; then
		printf '%s: nothing found to compare for %s\n' "$page" "$what"
		bad=1
	fi
	differ "$what" "$page" "$ours" "$theirs"
}

compare option docs/hedgerow-gateway.ini.5 Cm 'OPTION\(("[a-z]+", *)"([a-z_]+)"' gateway
compare option docs/hedgerow-directory.ini.5 Cm 'OPTION\(()"([a-z_]+)"' directory
compare event docs/hedgerow-events.7 Sy '(log_[a-z_]*\([^;"]*|[a-z]", *|LOG_LEVEL_[A-Z]+, *)"([a-z]+\.[a-z_-]+)"' \
	base schema federation directory gateway
compare metric docs/hedgerow-events.7 Va '(\[[A-Z_]+\] *= *)\{ *"([a-z_]+)", *"[A-Z]' \
	federation directory gateway
exit $bad
