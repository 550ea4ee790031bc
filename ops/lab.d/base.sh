# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The ground of the lab: its directory, steps with their time, processes by name.
#
#   $LAB/env        ports and paths, as shell assignments; made by `up`
#   $LAB/accounts   who can log in: JID, address, password, host, port
#   $LAB/log/NAME.log, $LAB/pid/NAME ("pid start-time", so that a pid used again is not ours)
#   $LAB/SITE/, $LAB/FOREST/  what belongs to a site or a forest

die() {
	printf 'lab: %s\n' "$*" >&2
	exit 1
}

# --- time and steps ---

quiet=
# A line of the story of `up`.
say() {
	[ -n "$quiet" ] || printf '%s\n' "$*"
}

heading() {
	say ""
	say "$1"
}

usec_now() {
	printf '%s\n' "${EPOCHREALTIME/[.,]/}"
}

seconds_since() { # USEC
	local ms=$((($(usec_now) - $1) / 1000))
	printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# The line of a step; a step that failed shows the end of its output and fails.
step_end() { # TEXT SINCE STATUS OUTPUT
	if [ "$3" = 0 ]; then
		[ -n "$quiet" ] || printf '  %-66s %6s s\n' "$1" "$(seconds_since "$2")"
		return
	fi
	printf '  %-66s FAILED after %s s\n' "$1" "$(seconds_since "$2")" >&2
	sed 's/^/    /' "$4" | tail -n 30 >&2
	return 1
}

step_failed() {
	die "that failed: see \"$0 logs\"; \"$0 down\" removes what is there"
}

# step TEXT COMMAND...: runs it in a subshell (its state is in files) and says how long it took.
step() {
	local text=$1 since status output=$LAB/log/step
	shift
	since=$(usec_now)
	set +e
	(
		set -e
		"$@"
	) >"$output" 2>&1
	status=$?
	set -e
	step_end "$text" "$since" $status "$output" || step_failed
}

# together TEXT COMMAND TEXT COMMAND...: steps side by side; a COMMAND is one word-split string.
# All of them have ended when this returns, or fails.
together() {
	local -A text=() output=()
	local since pid status n=0 failed=
	since=$(usec_now)
	while [ $# -gt 0 ]; do
		n=$((n + 1))
		(
			set -e
			# shellcheck disable=SC2086 # split on purpose
			$2
		) >"$LAB/log/step.$n" 2>&1 &
		text[$!]=$1
		output[$!]=$LAB/log/step.$n
		shift 2
	done
	while [ ${#text[@]} -gt 0 ]; do
		status=0
		wait -n -p pid "${!text[@]}" || status=$?
		step_end "${text[$pid]}" "$since" $status "${output[$pid]}" || failed=1
		unset "text[$pid]"
	done
	[ -z "$failed" ] || step_failed
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds.
wait_for() {
	local until=$(($(usec_now) + $1 * 1000000)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		if [ "$(usec_now)" -gt $until ]; then
			printf 'waited in vain for %s\n' "$what" >&2
			"$@" >&2 || true # once more, aloud
			return 1
		fi
		sleep 0.05
	done
}

# --- processes ---

# When PID was started; nothing for one that is gone or a zombie.
process_start() { # PID
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	stat=${stat##*) }
	# shellcheck disable=SC2086
	set -- $stat
	[ "$1" = Z ] || printf '%s\n' "${20}"
}

process_is_up() { # NAME
	local pid start
	read -r pid start 2>/dev/null <"$LAB/pid/$1" || return 1
	[ "$(process_start "$pid")" = "$start" ]
}

process_is_down() {
	! process_is_up "$1"
}

process_signal() { # SIGNAL NAME
	local pid _
	process_is_up "$2" || return 0
	read -r pid _ <"$LAB/pid/$2"
	kill "-$1" "$pid" 2>/dev/null || true
}

# process_run NAME COMMAND...: in the background, in a session of its own, output to its log.
process_run() {
	local name=$1
	shift
	process_is_down "$name" || {
		printf '%s runs already\n' "$name" >&2
		return 1
	}
	setsid "$@" </dev/null >>"$LAB/log/$name.log" 2>&1 &
	printf '%s %s\n' $! "$(process_start $!)" >"$LAB/pid/$name"
}

# process_ready NAME SECONDS COMMAND...: until the command succeeds; fails at once when NAME ends.
process_ready() {
	local name=$1 seconds=$2
	shift 2
	process_ready_or_gone() {
		process_is_down "$name" || "$@"
	}
	wait_for "$seconds" "$name" process_ready_or_gone "$@" && process_is_up "$name" && return
	printf '%s did not come up; the end of its log:\n' "$name" >&2
	tail -n 15 "$LAB/log/$name.log" >&2
	return 1
}

# process_end NAME SIGNAL SECONDS: stops it; kill -9 when it takes longer.
process_end() {
	process_signal "$2" "$1"
	wait_for "$3" "$1 to end" process_is_down "$1" 2>/dev/null || {
		process_signal KILL "$1"
		wait_for 10 "$1 to be gone" process_is_down "$1"
	}
	rm -f "$LAB/pid/$1"
}

process_names() {
	[ ! -d "$LAB/pid" ] || ls "$LAB/pid"
}

# --- ports and secrets ---

# free_ports N: as many ports of 127.0.0.1 that nobody uses, below the range of outgoing connections.
free_ports() {
	/usr/bin/python3 - "$1" <<-'END'
		import random, socket, sys
		held = []
		while len(held) < int(sys.argv[1]):
		    one = socket.socket()
		    try:
		        one.bind(("127.0.0.1", random.randrange(20000, 32000)))
		        held.append(one)
		    except OSError:
		        one.close()
		print(*(one.getsockname()[1] for one in held))
	END
}

port_is_open() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

new_secret() {
	openssl rand -hex 16
}

write_secret() { # FILE: a new secret in it, if there is none
	[ -s "$1" ] || (umask 077 && new_secret | tr -d '\n' >"$1")
}

# authority DIR NAME: a private CA and a certificate for 127.0.0.1 and NAME in DIR.
authority() {
	local dir=$1 name=$2
	mkdir -p "$dir"
	certificate "$dir/ca" -subj "/CN=Lab CA of $name" -addext keyUsage=critical,keyCertSign,cRLSign
	certificate "$dir/server" -subj "/CN=$name" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
		-addext basicConstraints=critical,CA:FALSE \
		-addext "subjectAltName=DNS:$name,DNS:localhost,IP:127.0.0.1"
}

certificate() { # PATH OPENSSL-OPTION...: makes PATH.key and PATH.pem
	local path=$1
	shift
	openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
		-keyout "$path.key" -out "$path.pem" "$@" 2>"$path.log" || {
		cat "$path.log" >&2
		return 1
	}
	chmod 600 "$path.key"
}
