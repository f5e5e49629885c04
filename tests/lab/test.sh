#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The light lab itself: made, used and taken away by its tool, with nothing left. Root.
# usage: tests/lab/test.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
TOOL=$(readlink -f "$B/tests/lab/labtool") PROXY=$(readlink -f "$B/bin/keelson-proxy")
DIR=$(mktemp -d /tmp/keelson-lab-test.XXXXXX)
failed=0 pids=()
ok() { echo "ok - $1"; }
bad() { failed=1; echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
cleanup() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	[ ! -e "$DIR/lab" ] || "$TOOL" down "$DIR"
	rm -rf "$DIR"
}
trap cleanup EXIT
ID=$("$TOOL" up "$DIR" 2 2) && ok "a lab of two nodes" || { bad "a lab of two nodes"; exit 1; }
"$TOOL" nodes "$DIR"
"$TOOL" run "$DIR" p2/1 "$TOOL" serve p2/1 8080 & pids+=($!)
"$TOOL" proxy "$DIR" n1 "$PROXY" 2>"$DIR/log" & pids+=($!)
for _ in $(seq 200); do
	"$TOOL" run "$DIR" n1 curl -sf -o /dev/null http://127.0.0.1:10249/readyz && break
	sleep 0.02
done
for a in 10.244.2.11 fd00:10:244:2::11; do
	for kind in tcp udp udpc; do
		got=$("$TOOL" run "$DIR" p1/1 "$TOOL" ask $kind $a 8080)
		[[ $got == "p2/1 saw "* ]] && ok "pod to pod on the other node by $kind, $a" || bad "pod to pod by $kind, $a" "$got"
	done
done
got=$(sleep 0.3 | "$TOOL" run "$DIR" p1/2 "$TOOL" flow udp 10.244.2.11 8080 500)
[[ $got =~ ^sent\ ([0-9]+)\ answered\ ([0-9]+)\ errors\ 0\ servers\ 1$ && ${BASH_REMATCH[1]} = "${BASH_REMATCH[2]}" ]] &&
	ok "a steady flow is counted" || bad "a steady flow is counted" "$got"
kill "${pids[@]}"; wait; pids=()
"$TOOL" down "$DIR" && ok "down" || bad "down"
[ -z "$(ip netns list | grep -w "$ID")$(ls -d /sys/fs/cgroup/*/"$ID" 2>/dev/null)" ] && ok "nothing is left" || bad "nothing is left"
exit $failed
