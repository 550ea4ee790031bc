# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What all systems under test need: a scratch folder, loopback addresses of our own, a certificate
# authority, and the load generator's commands. Processes are those of ops/lab.d/base.sh: their
# logs are $LAB/log/NAME.log.

s2s_port=25269 component_port=25347 dns_port=25353 link_port=27500

# Standard output is for the result.
say() {
	printf '%s\n' "$*" >&2
}

die() {
	printf 'bench: %s\n' "$*" >&2
	exit 1
}

listens() { # ADDRESS PORT
	[ -n "$(ss -Hlnt "src $1:$2")" ]
}

process_pid() { # NAME
	local pid _
	read -r pid _ <"$LAB/pid/$1"
	echo "$pid"
}

# $LAB on a real disk, and 127.x.y.0/24 for this run alone.
scratch_make() {
	LAB=$(mktemp -d "${TMPDIR:-/var/tmp}/hedgerow-bench.XXXXXX")
	chmod 711 "$LAB" # PostgreSQL may be another user's
	mkdir "$LAB/log" "$LAB/pid"
	net=127.$((64 + $$ / 250 % 64)).$(($$ % 250 + 1))
	secret=$(new_secret)
	[ "$(stat -f -c %T "$LAB")" != tmpfs ] ||
		say "warning: $LAB is in memory, so a durable commit costs nothing there"
}

cleanup() {
	local status=$? name
	trap '' INT TERM HUP
	trap - EXIT
	set +e
	for name in $(process_names); do
		case $name in
		postgres-*) ;;
		postfix) postfix_stop ;;
		*) process_end "$name" TERM 5 ;;
		esac
	done
	for name in $(process_names); do
		process_end "$name" QUIT 10
	done
	if [ -n "$keep" ]; then
		find "$LAB" -mindepth 1 -maxdepth 1 ! -name log -exec rm -rf {} +
		say "logs are in $LAB/log"
	else
		rm -rf "$LAB"
	fi
	exit "$status"
}

# A private CA, and a.key, a.crt, a.pem (both) for *.a.example; b the same.
certificates() {
	local name
	certs=$LAB/certs
	mkdir "$certs"
	{
		openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
			-subj "/CN=bench CA" -addext keyUsage=critical,keyCertSign,cRLSign \
			-keyout "$certs/ca.key" -out "$certs/ca.crt"
		for name in a b; do
			openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
				-days 30 -subj "/CN=$name.example" -CA "$certs/ca.crt" -CAkey "$certs/ca.key" \
				-keyout "$certs/$name.key" -out "$certs/$name.crt" \
				-addext basicConstraints=critical,CA:FALSE \
				-addext extendedKeyUsage=serverAuth,clientAuth \
				-addext "subjectAltName=DNS:$name.example,DNS:*.$name.example"
			cat "$certs/$name.key" "$certs/$name.crt" >"$certs/$name.pem"
		done
	} 2>"$LAB/log/openssl.log" || die "openssl: $(tail -n 3 "$LAB/log/openssl.log")"
}

# --- the load generator of one system: commands go in by a FIFO, answers are lines of a file ---

load_begin() { # SYSTEM ARGUMENT...
	local system=$1
	shift
	mkfifo "$LAB/$system.in"
	: >"$LAB/$system.out"
	: >"$LAB/$system.asked"
	# shellcheck disable=SC2016
	process_run "load-$system" sh -c 'base=$1; shift; exec "$@" <>"$base.in" >"$base.out"' sh \
		"$LAB/$system" "$build/tests/bench/xmppload" --secret "$secret" --pairs "$pairs" "$@"
}

# The next line, in $answer.
load_answer() { # SYSTEM SECONDS
	local until=$((SECONDS + $2)) number
	echo >>"$LAB/$1.asked"
	number=$(wc -l <"$LAB/$1.asked")
	answer=
	while :; do
		answer=$(sed -n "${number}p" "$LAB/$1.out")
		[ -z "$answer" ] || break
		[ $SECONDS -lt $until ] || die "$1: no answer from the load generator in $2 s"
		process_is_up "load-$1" ||
			die "$1: the load generator has ended: $(tail -n 1 "$LAB/log/load-$1.log")"
		sleep 0.2
	done
	case $answer in
	failed*) die "$1: $answer" ;;
	esac
}

load_run() { # SYSTEM SECONDS COMMAND
	printf '%s\n' "$3" >"$LAB/$1.in"
	load_answer "$1" "$2"
}

# Until messages pass.
load_open() { # SYSTEM
	load_answer "$1" 60
	load_run "$1" 60 probe
}
