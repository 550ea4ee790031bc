#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Includes point down: gateway -> federation -> schema -> base, directory -> schema -> base.
# SQL is written in schema/ only. Prints each offence; exit status 1 if there is one.
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 2
bad=0

# may FOLDER ALLOWED...: what the files of FOLDER may include from the top of the tree
may() {
	folder=$1
	shift
	allowed=$(printf '%s|' "$folder" "$@")
	found=$(grep -rnE --include='*.[ch]' '^#[[:space:]]*include "' "$folder" |
		grep -vE "include \"(${allowed%|})/" | grep -vE 'include "config\.h"')
	if [ -n "$found" ]; then
		printf '%s may include only from: %s %s\n%s\n' "$folder" "$folder" "$*" "$found"
		bad=1
	fi
}
may base
may schema base
may federation schema base
may directory schema base
may gateway federation schema base

found=$(grep -rnE --include='*.[ch]' '"[[:space:]]*(SELECT|INSERT|UPDATE|DELETE|WITH|COPY|CALL) ' \
	base federation directory gateway)
if [ -n "$found" ]; then
	printf 'SQL belongs to schema/:\n%s\n' "$found"
	bad=1
fi
exit $bad
