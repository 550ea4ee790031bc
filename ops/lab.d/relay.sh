# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The network between the sites: amsterdam reaches boston through tests/relay, so that the link
# can be cut, stalled and delayed.

relay_start() {
	rm -f "$LAB/relay.sock"
	process_run relay "$top/tests/relay" "$RELAY_PORT" "$LINK_boston" "$LAB/relay.sock"
	process_ready relay 15 relay_control status
}

relay_stop() {
	process_end relay TERM 5
}

relay_control() { # COMMAND...
	"$top/tests/relay" --control "$LAB/relay.sock" "$@"
}
