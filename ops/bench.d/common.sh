# SPDX-License-Identifier: Apache-2.0
# What all systems under test need: a scratch folder, loopback addresses of our own, processes that
# end with us, a certificate authority, and the load generator's commands. Sourced by ops/bench.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }
die() {
	say "bench: $*"
	exit 1
}

# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null 2>&1 || die "$1 not found: install the Debian package $2"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
	wait_tries=$(($1 * 10)) wait_what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		wait_tries=$((wait_tries - 1))
		[ "$wait_tries" -gt 0 ] || die "$wait_what did not come; logs: $scratch (kept)"
		sleep 0.1
	done
}

listens() { [ -n "$(ss -Hlnt "src $1:$2")" ]; }

# A scratch folder on a real disk, and 127.x.y.0/24 for this run alone.
scratch_make() {
	scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/hedgerow-bench.XXXXXX")
	chmod 755 "$scratch"
	net=127.$((64 + $$ / 250 % 64)).$(($$ % 250 + 1))
	s2s_port=25269 component_port=25347 dns_port=25353
	secret=bench-$$
	pids=
	keep=
	[ "$(stat -f -c %T "$scratch")" != tmpfs ] ||
		say "warning: $scratch is in memory, so a durable commit costs nothing there"
}

# spawn NAME COMMAND...: in the background, output to its log; $spawned is its pid
spawn() {
	spawn_name=$1
	shift
	"$@" >>"$scratch/$spawn_name.log" 2>&1 </dev/null &
	spawned=$!
	pids="$spawned $pids"
}

alive() { kill -0 "$1" 2>/dev/null; }

# end PID...: asks, then insists
end() {
	for end_pid; do kill "$end_pid" 2>/dev/null || :; done
	for end_pid; do
		end_tries=50
		while alive "$end_pid" && [ $end_tries -gt 0 ]; do
			sleep 0.1
			end_tries=$((end_tries - 1))
		done
		kill -9 "$end_pid" 2>/dev/null || :
		wait "$end_pid" 2>/dev/null || :
	done
}

cleanup() {
	cleanup_status=$?
	trap '' INT TERM HUP
	trap - EXIT
	# shellcheck disable=SC2086
	end $pids
	hedgerow_down
	if [ "$cleanup_status" -ne 0 ] && [ -n "$keep" ]; then
		say "logs are kept in $scratch"
	else
		rm -rf "$scratch"
	fi
	exit "$cleanup_status"
}

# A private CA, and NAME.key, NAME.crt, NAME.pem (both) for *.NAME.example
certificates() {
	certs=$scratch/certs
	mkdir "$certs"
	openssl ecparam -name prime256v1 -genkey -noout -out "$certs/ca.key"
	openssl req -x509 -new -key "$certs/ca.key" -days 30 -subj "/CN=bench CA" \
		-addext keyUsage=critical,keyCertSign,cRLSign -out "$certs/ca.crt"
	for name in a b; do
		openssl ecparam -name prime256v1 -genkey -noout -out "$certs/$name.key"
		printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature \
			extendedKeyUsage=serverAuth,clientAuth \
			"subjectAltName=DNS:$name.example,DNS:*.$name.example" >"$certs/$name.ext"
		openssl req -new -key "$certs/$name.key" -subj "/CN=$name.example" |
			openssl x509 -req -CA "$certs/ca.crt" -CAkey "$certs/ca.key" \
				-CAcreateserial -days 30 -extfile "$certs/$name.ext" \
				-out "$certs/$name.crt" 2>/dev/null
		cat "$certs/$name.key" "$certs/$name.crt" >"$certs/$name.pem"
	done
}

# The load generator of one system: commands go in by a FIFO, answers come as lines of a file.

# load_begin SYSTEM ARGUMENT...
load_begin() {
	load_system=$1
	shift
	mkfifo "$scratch/$load_system.in"
	: >"$scratch/$load_system.out"
	"$build/tests/bench/xmppload" --secret "$secret" --pairs "$pairs" "$@" \
		<>"$scratch/$load_system.in" >"$scratch/$load_system.out" \
		2>"$scratch/$load_system-load.log" &
	pids="$! $pids"
	echo $! >"$scratch/$load_system.pid"
	: >"$scratch/$load_system.asked"
}

# load_answer SYSTEM SECONDS: the next line, in $answer
load_answer() {
	echo >>"$scratch/$1.asked"
	answer_line=$(wc -l <"$scratch/$1.asked")
	answer_tries=$(($2 * 5))
	while
		answer=$(sed -n "${answer_line}p" "$scratch/$1.out")
		[ -z "$answer" ]
	do
		answer_tries=$((answer_tries - 1))
		[ $answer_tries -gt 0 ] || die "$1: no answer from the load generator in $2 s"
		alive "$(cat "$scratch/$1.pid")" ||
			die "$1: the load generator has stopped: $(tail -n 1 "$scratch/$1-load.log")"
		sleep 0.2
	done
	case $answer in
	failed*) die "$1: $answer" ;;
	esac
}

# load_run SYSTEM SECONDS COMMAND: gives a command and waits for its result
load_run() {
	printf '%s\n' "$3" >"$scratch/$1.in"
	load_answer "$1" "$2"
}

# load_open SYSTEM: until messages pass
load_open() {
	load_answer "$1" 60
	load_run "$1" 60 probe
}
