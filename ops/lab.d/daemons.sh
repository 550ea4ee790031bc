# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Hedgerow's own: build, the two daemons of each site and their configuration files.

build_ready() {
	[ -n "${HEDGEROW_BUILD-}" ] || [ -w "$top" ] ||
		die "cannot write to $top: set HEDGEROW_BUILD to a build directory of yours"
	[ -x "$top/configure" ] || "$top/autogen.sh"
	if [ ! -e "$build/Makefile" ]; then
		mkdir -p "$build"
		(cd "$build" && "$top/configure" -q)
	fi
	make -s -C "$build" -j "$(nproc)" all
}

daemon_start() { # gateway|directory SITE
	local log=$LAB/log/$1-$2.log from
	touch "$log"
	from=$(($(wc -c <"$log") + 1))
	process_run "$1-$2" "$build/hedgerow-$1" -c "$LAB/$2/$1.ini"
	process_ready "$1-$2" 60 daemon_is_ready "$1" "$log" "$from"
}

# It says so in what it has logged since byte FROM.
daemon_is_ready() { # gateway|directory LOG FROM
	local event
	case $1 in gateway) event=gateway.ready ;; directory) event=database.up ;; esac
	tail -c "+$3" "$2" | grep -qw "event=$event"
}

daemon_stop() { # gateway|directory SITE
	process_end "$1-$2" TERM 30
}
