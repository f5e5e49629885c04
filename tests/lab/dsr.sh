#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Direct server return and XDP between two nodes, with real sockets: clients of node 1, endpoints on node 2; over direct routes
# by tc, then by XDP, then through the tunnel. Root. Prints "ok"/"not ok" lines.
# usage: tests/lab/dsr.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
TOOL=$(readlink -f "$B/tests/lab/labtool") PROXY=$(readlink -f "$B/bin/keelson-proxy") OFFLOAD=$(readlink -f "$B/tests/lab/offload")
DIR=$(mktemp -d /tmp/keelson-dsr-test.XXXXXX)
failed=0 pids=() LAB=
ok() { echo "ok - $1"; }
bad() { failed=1; echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
lab_down() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	pids=()
	[ -z "$LAB" ] || "$TOOL" down "$LAB"
	LAB=
}
trap 'lab_down; rm -rf "$DIR"' EXIT
at() { "$TOOL" run "$LAB" "$@"; }

service() { # NAME NODE_PORT snat|dsr CLUSTER_IP IPv4|IPv6 ENDPOINT
	cat <<Y
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: default, annotations: {keelson.dev/forwarding: $3}}
spec:
  type: NodePort
  clusterIP: $4
  ipFamilies: [$5]
  ports:
  - {name: t, port: 80, protocol: TCP, targetPort: 8080, nodePort: $2}
  - {name: u, port: 80, protocol: UDP, targetPort: 8080, nodePort: $2}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: $5
metadata: {name: $1-1, namespace: default, labels: {kubernetes.io/service-name: $1}}
ports: [{name: t, port: 8080, protocol: TCP}, {name: u, port: 8080, protocol: UDP}]
endpoints: [{addresses: ["$6"], nodeName: n2, conditions: {ready: true}}]
---
Y
}

# Frames of XDP wait for ever in a veth without a program; those of a socket on one have no checksum.
ready_for_xdp() {
	printf '#include <linux/bpf.h>\n__attribute__((section("xdp"), used)) int pass(struct xdp_md *c) { return XDP_PASS; }\n' |
		clang -O2 -target bpf -idirafter "/usr/include/$(cc -print-multiarch)" -x c -c -o "$DIR/pass.o" - || return 1
	for l in uln1 uln2 ulc1; do at net ip link set dev "$l" xdpdrv obj "$DIR/pass.o" sec xdp || return 1; done
	for p in c1 n1 n2; do at "$p" "$OFFLOAD" || return 1; done
}

lab_up() { # NAME [tunnel]
	LAB=$DIR/$1
	mkdir "$LAB"
	"$TOOL" up "$LAB" 2 1 ${2:-} >/dev/null && "$TOOL" nodes "$LAB" || return 1
	{
		service d4 30080 dsr 10.96.0.20 IPv4 10.244.2.11
		service d6 30080 dsr fd00:10:96::20 IPv6 fd00:10:244:2::11
		service s4 30081 snat 10.96.0.21 IPv4 10.244.2.11
		service s6 30081 snat fd00:10:96::21 IPv6 fd00:10:244:2::11
	} >"$LAB/m/services.yaml"
	at p2/1 "$TOOL" serve p2/1 8080 & pids+=($!)
	[ "$1" != xdp ] || ready_for_xdp || return 1
	# Strict reverse path filtering would drop clients' packets that come out of the tunnel.
	[ "$1" != tunnel ] || at n2 sh -c 'for f in all default; do echo 1 >/proc/sys/net/ipv4/conf/$f/rp_filter; done' || return 1
	for n in n1 n2; do "$TOOL" proxy "$LAB" $n "$PROXY" 2>"$LAB/log.$n" & pids+=($!); done
	for n in n1 n2; do
		for _ in $(seq 200); do
			at $n curl -sf -o /dev/null http://127.0.0.1:10249/readyz && break
			sleep 0.02
		done
	done
}
verdicts() { at "$1" curl -s http://127.0.0.1:10249/metrics | sed -n "s/.*verdicts_total{reason=\"$2\"} //p"; }

check() { # NAME
	local a k got want snat whole
	for a in 192.168.50.1 fd00:50::1; do
		[[ $a == *:* ]] && { want=fd00:50::c:1 snat=fd00:10:244:1:: whole=1452; } ||
			{ want=192.168.50.201 snat=10.244.1.0 whole=1472; }
		for k in tcp udp udpc; do
			got=$(at c1 "$TOOL" ask $k $a 30080 2)
			if ! grep -qv "^p2/1 saw $want:[0-9]*, answered as $a:30080$" <<<"$got"; then
				ok "$1: direct return by $k, $a"
			else
				bad "$1: direct return by $k, $a" "$got"
			fi
			got=$(at c1 "$TOOL" ask $k $a 30081 2)
			if ! grep -qv "^p2/1 saw $snat:[0-9]*, answered as $a:30081$" <<<"$got"; then
				ok "$1: through the node by $k, $a"
			else
				bad "$1: through the node by $k, $a" "$got"
			fi
		done
		# The endpoint's own node as the client: wrapped, it would get its own packets from outside.
		got=$(at n2 "$TOOL" ask tcp $a 30080 2; at n2 "$TOOL" ask udp $a 30080 2)
		if [ "$(grep -c "^p2/1 saw $snat:[0-9]*, answered as $a:30080$" <<<"$got")" = 4 ]; then
			ok "$1: to a client that is the endpoint's node, $a"
		else
			bad "$1: to a client that is the endpoint's node, $a" "$got"
		fi
		# The first of these is too long for the outer header: the client is told, and cuts the next ones up.
		at c1 "$TOOL" ask udp $a 30080 1 $whole >/dev/null
		got=$(at c1 "$TOOL" ask udp $a 30080 2 $whole; at c1 "$TOOL" ask udp $a 30080 2 20000; at c1 "$TOOL" ask tcp $a 30080 1 30000)
		if [ "$(grep -c "^p2/1 saw $want" <<<"$got")" = 5 ]; then ok "$1: long ones, $a"; else bad "$1: long ones, $a" "$got"; fi
	done
}

for mode in direct xdp tunnel; do
	option=
	[ $mode != tunnel ] || option=tunnel
	lab_up $mode $option || { bad "$mode: a lab"; tail -n 3 "$LAB"/log.* 2>/dev/null; exit 1; }
	check $mode
	n=$(verdicts n1 xdp_translated) m=$(verdicts n2 tc_decapsulated)
	if [ $mode = xdp ]; then
		[ "${n:-0}" -gt 40 ] && ok "xdp: the driver sends them on" || bad "xdp: the driver sends them on" "$n"
	else
		[ "${n:-0}" -eq 0 ] && ok "$mode: veths as they are get no XDP" || bad "$mode: veths as they are get no XDP" "$n"
	fi
	[ "${m:-0}" -gt 20 ] && ok "$mode: node 2 unwraps" || bad "$mode: node 2 unwraps" "$m"
	lab_down
done
exit $failed
