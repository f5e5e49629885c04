#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The fast path: packets from outside pass a node's stack by to its pods and back, unless somebody filters what it forwards; live
# changes of that; flows that go on the way they began; what hides the pods behind the node's address outside (masquerading)
# does not touch answers. Real sockets, both families. Root. usage: tests/lab/fast.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
TOOL=$(readlink -f "$B/tests/lab/labtool") PROXY=$(readlink -f "$B/bin/keelson-proxy")
DIR=$(mktemp -d /tmp/keelson-fast-test.XXXXXX)
failed=0 pids=() proxy=
ok() { echo "ok - $1"; }
bad() { failed=1; echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
cleanup() {
	exec 7>&- 8>&- 2>/dev/null
	for p in "${pids[@]}" $proxy; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	[ ! -e "$DIR/lab" ] || "$TOOL" down "$DIR"
	rm -rf "$DIR"
}
trap cleanup EXIT
at() { "$TOOL" run "$DIR" "$@"; }
start() { # OPTION...
	"$TOOL" proxy "$DIR" n1 "$PROXY" "$@" 2>>"$DIR/log" & proxy=$!
	until_ok at n1 curl -sf -o /dev/null http://127.0.0.1:10249/readyz || bad "a proxy" "$(cat "$DIR/log")"
}
stop() { kill "$proxy"; wait "$proxy"; proxy=; }
until_ok() { for _ in $(seq 600); do "$@" && return 0; sleep 0.05; done; return 1; }
said() { [ "$(grep -c "$1" "$DIR/log")" -ge "$2" ]; }
is_filtered() { said "take this node's stack to its pods" "$1"; }
is_free() { said "pass this node's stack by to its pods" "$1"; }
# How many packets of connections to the pod began in the stack.
stack() { at n1 nft list table inet count | awk '{ for (i = 1; i < NF; i++) if ($i == "packets") n += $(i + 1) } END { print n + 0 }'; }
ask() { timeout 10 "$TOOL" run "$DIR" c1 "$TOOL" ask "$@" 2>&1; }

"$TOOL" up "$DIR" 1 1 >/dev/null || { bad "a lab"; exit 1; }
"$TOOL" nodes "$DIR"
for f in 4 6; do
	vip=10.96.0.8 pod=10.244.1.11
	[ $f = 4 ] || { vip=fd00:10:96::8 pod=fd00:10:244:1::11; }
	cat <<-Y
	apiVersion: v1
	kind: Service
	metadata: {name: s$f}
	spec:
	  type: NodePort
	  clusterIP: "$vip"
	  ipFamilies: [IPv$f]
	  ports:
	  - {name: t, port: 80, targetPort: 8080, protocol: TCP, nodePort: 30080}
	  - {name: u, port: 80, targetPort: 8080, protocol: UDP, nodePort: 30080}
	---
	apiVersion: discovery.k8s.io/v1
	kind: EndpointSlice
	metadata: {name: s$f-1, labels: {kubernetes.io/service-name: s$f}}
	addressType: IPv$f
	endpoints: [{addresses: ["$pod"], nodeName: n1, conditions: {ready: true}}]
	ports: [{name: t, port: 8080, protocol: TCP}, {name: u, port: 8080, protocol: UDP}]
	---
	Y
done >"$DIR/m/services.yaml"
# NAT chains are no filters; they see a connection's first packet.
at n1 nft -f - <<'R'
table inet out { chain p { type nat hook postrouting priority srcnat
	ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade; ip6 saddr fd00:10:244::/48 ip6 daddr != fd00:10:244::/48 masquerade; }; }
table inet count { chain c { type nat hook postrouting priority 90
	ip daddr 10.244.1.11 counter; ip6 daddr fd00:10:244:1::11 counter; }; }
table inet keelson { chain localnet { type filter hook prerouting priority raw; ip saddr 127.0.0.9 drop; }; }
table inet idle { chain f { type filter hook forward priority 0; policy accept; }; chain i { type filter hook input priority 0; tcp dport 1 drop; }; }
R
at p1/1 "$TOOL" serve pod 8080 & pids+=($!)

# reaches TEXT WAY: every way of asking, from the client's own address; WAY: connections go through the stack, or past it.
reaches() {
	local before kind node got way
	way=past
	for kind in tcp udp udpc; do
		before=$(stack)
		for node in 192.168.50.1 fd00:50::1; do
			got=$(ask $kind $node 30080 2)
			[ "$(grep -c "^pod saw .*, answered as $node:30080$" <<<"$got")" = 2 ] && ok "$1: $kind to $node" || bad "$1: $kind to $node" "$got"
		done
		[ $kind != tcp ] || [ "$(stack)" = "$before" ] || way=stack
	done
	[ $way = "$2" ] && ok "$1: $([ $way = past ] && echo past the stack || echo through the stack)" || bad "$1" "$before and $(stack) connections in the stack"
}
flow() { # FD KIND: steady questions in the background until FD is closed
	local pipe=$DIR/pipe.$1
	mkfifo "$pipe"
	at c1 "$TOOL" flow "$2" 192.168.50.1 30080 200 <"$pipe" >"$DIR/flow.$1" 2>&1 & flows+=($!)
	eval "exec $1>'$pipe'"
}
flows=()

start
reaches "nobody filters" past
flow 7 tcp
flow 8 udpc
sleep 0.3

at n1 nft -f - <<'R'
table inet fw { chain f { type filter hook forward priority 0; ct state established accept; tcp dport 8080 drop; }; }
R
until_ok is_filtered 1 && ok "a filter is noticed: $(grep -o 'by=.*' "$DIR/log" | tail -n 1)" || bad "a filter is noticed" "$(cat "$DIR/log")"
got=$(timeout 10 "$TOOL" run "$DIR" c1 timeout 2 "$TOOL" ask tcp 192.168.50.1 30080)
grep -q "^pod saw" <<<"$got" && bad "and obeyed" "$got" || ok "and obeyed"
at n1 nft flush chain inet fw f
at n1 nft add rule inet fw f counter accept
reaches "a filter that lets pass" stack
sleep 0.3
exec 7>&- 8>&-
for p in "${flows[@]}"; do wait "$p"; done
for i in 7 8; do
	read -r _ sent _ answered _ errors _ servers <"$DIR/flow.$i"
	[ "$sent" -gt 0 ] && [ "$sent" = "$answered" ] && [ "$errors" = 0 ] && [ "$servers" = 1 ] && ok "flows from before go on: $sent of $answered" ||
		bad "flows from before go on" "$(cat "$DIR/flow.$i")"
done
at n1 nft delete table inet fw
until_ok is_free 1 && ok "its end is noticed" || bad "its end is noticed" "$(cat "$DIR/log")"
reaches "no filter any more" past
at n1 nft -f - <<'R'
table bridge fw { chain f { type filter hook prerouting priority 0; counter; }; }
R
until_ok is_filtered 2 && ok "so is a filter of the bridge: $(grep -o 'by=.*' "$DIR/log" | tail -n 1)" || bad "a filter of the bridge" "$(cat "$DIR/log")"
at n1 nft delete table bridge fw
stop
start --fast-path off
reaches "--fast-path off" stack
stop
if command -v iptables-legacy >/dev/null && at n1 iptables-legacy -A FORWARD -s 198.51.100.9 -j DROP 2>/dev/null; then
	: >"$DIR/log"
	start
	is_filtered 1 && ok "the older iptables is a filter too" || bad "the older iptables is a filter too" "$(cat "$DIR/log")"
	reaches "the older iptables" stack
	stop
fi
exit $failed
