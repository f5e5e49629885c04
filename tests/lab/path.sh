#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Packets whose backend no socket hook chose, on the wire of a lab: from a client outside, and from a pod outside the node's
# cgroup (as gVisor's or Kata's are), to backends of every kind, with datagrams that need fragments. Direct routes and VXLAN. Root.
# usage: tests/lab/path.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
TOOL=$(readlink -f "$B/tests/lab/labtool") PROXY=$(readlink -f "$B/bin/keelson-proxy")
DIR='' failed=0 pids=()
ok() { echo "ok - $1"; }
bad() { failed=1; echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
down() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	pids=()
	[ -z "$DIR" ] || { "$TOOL" down "$DIR"; rm -rf "$DIR"; }
	DIR=''
}
trap down EXIT

# service NAME NUMBER ADDR4 ADDR6 NODE: ClusterIPs ending in NUMBER, NodePort 30000+NUMBER, one endpoint.
service() {
	cat >"$DIR/m/$1.yaml" <<-X
	apiVersion: v1
	kind: Service
	metadata: {name: $1}
	spec:
	  type: NodePort
	  ipFamilyPolicy: RequireDualStack
	  ipFamilies: [IPv4, IPv6]
	  clusterIP: 10.96.0.$2
	  clusterIPs: [10.96.0.$2, "fd00:10:96::$2"]
	  ports:
	  - {name: t, port: 80, targetPort: 8080, protocol: TCP, nodePort: $((30000 + $2))}
	  - {name: u, port: 80, targetPort: 8080, protocol: UDP, nodePort: $((30000 + $2))}
	X
	for a in "$3" "$4"; do
		local family=IPv4
		[[ $a == *:* ]] && family=IPv6
		cat >"$DIR/m/$1-$family.yaml" <<-X
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: $1-${family,,}, labels: {kubernetes.io/service-name: $1}}
		addressType: $family
		endpoints: [{addresses: ["$a"], nodeName: $5, conditions: {ready: true}}]
		ports: [{name: t, port: 8080, protocol: TCP}, {name: u, port: 8080, protocol: UDP}]
		X
	done
}

client() { timeout 10 "$TOOL" run "$DIR" c1 "$TOOL" ask "$@" 2>&1; }
pod() { timeout 10 nsenter --net="/run/netns/$ID-p1-1" "$TOOL" ask "$@" 2>&1; }

# asks TEXT WHO ADDR PORT SERVER SEEN: every way of asking; the answer comes from SERVER, which saw SEEN ("" any of the node's).
asks() {
	local text=$1 who=$2 addr=$3 port=$4 server=$5 seen=$6 got bytes
	for kind in tcp udp udpc; do
		got=$($who $kind "$addr" "$port")
		[[ $got == "$server saw $seen"*", answered as $addr:$port" ]] && ok "$text, $kind to $addr" ||
			bad "$text, $kind to $addr" "$got"
	done
	# Bigger than any link; the first ones may be spent on finding out how big they may be.
	for bytes in 2000 1440; do
		[ $bytes = 1440 ] && [ $who = pod ] && continue
		got=$($who udp "$addr" "$port" 4 $bytes | tail -n 1)
		[[ $got == "$server saw $seen"* ]] && ok "$text, $bytes bytes by udp to $addr" || bad "$text, $bytes bytes by udp to $addr" "$got"
	done
}

lab() {
	local how=${1:-direct}
	DIR=$(mktemp -d /tmp/keelson-path-test.XXXXXX)
	ID=$("$TOOL" up "$DIR" 2 2 ${1:+"$1"}) || { bad "a lab"; return; }
	"$TOOL" nodes "$DIR"
	service remote 7 10.244.2.11 fd00:10:244:2::11 n2
	service local 8 10.244.1.11 fd00:10:244:1::11 n1
	service host 9 192.168.50.1 fd00:50::1 n1
	service otherhost 10 192.168.50.2 fd00:50::2 n2
	for p in p2/1 p1/1 n1 n2; do "$TOOL" run "$DIR" $p "$TOOL" serve $p 8080 & pids+=($!); done
	for n in n1 n2; do "$TOOL" proxy "$DIR" $n "$PROXY" 2>"$DIR/log.$n" & pids+=($!); done
	for n in n1 n2; do
		for _ in $(seq 300); do
			"$TOOL" run "$DIR" $n curl -sf -o /dev/null http://127.0.0.1:10249/readyz && break
			sleep 0.02
		done
	done
	local v6 node c snat pod net
	for v6 in 0 1; do
		node=192.168.50.1 c=192.168.50.201 snat=10.244.1.0 pod=10.244.1.11 net=10.96.0.
		[ $v6 = 1 ] && node=fd00:50::1 c=fd00:50::c:1 snat=fd00:10:244:1:: pod=fd00:10:244:1::11 net=fd00:10:96::
		asks "$how: NodePort to a pod of another node" client $node 30007 p2/1 "$snat:"
		asks "$how: NodePort to a pod of the node" client $node 30008 p1/1 "$c:"
		asks "$how: NodePort to the node itself" client $node 30009 n1 "$c:"
		asks "$how: NodePort to another node" client $node 30010 n2 "$node:"
		asks "$how: pod to a pod of another node" pod ${net}7 80 p2/1 "$pod:"
		asks "$how: pod to itself" pod ${net}8 80 p1/1 "$snat:"
		asks "$how: pod to its node" pod ${net}9 80 n1 "$pod:"
		asks "$how: pod to another node" pod ${net}10 80 n2 ""
		for kind in tcp udpc; do
			got=$(pod $kind ${net}7 81)
			[ "$got" = ECONNREFUSED ] && ok "$how: a port that the Service lacks is refused, $kind to ${net}7" ||
				bad "$how: a port that the Service lacks is refused, $kind to ${net}7" "$got"
		done
	done
	got=$("$TOOL" run "$DIR" n1 curl -s http://127.0.0.1:10249/metrics | grep '^keelson_proxy_verdicts_total.*_drop_' | grep -v ' 0$' |
		grep -v tc_drop_fragment) # the rest of a datagram whose beginning was too big for the tunnel
	[ -z "$got" ] && ok "$how: no packet was dropped" || bad "$how: no packet was dropped" "$got"
	down
}

lab
lab tunnel
[ -z "$(ip netns list | grep -w "$ID")" ] && ok "nothing is left" || bad "nothing is left"
exit $failed
