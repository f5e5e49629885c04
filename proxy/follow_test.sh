#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The proxy without a cluster: Services, EndpointSlices and Nodes in files, followed as they change, whatever state the
# files are in; health ports, the proxy's own health, zones, metrics. One network namespace is the node. Root.
# usage: proxy/follow_test.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
PROXY=$(readlink -f "$B/bin/keelson-proxy") TOOL=$(readlink -f "$B/bench/nettool")
ID=kt-follow-$$
DIR=$(mktemp -d /tmp/follow-test.XXXXXX)
CG=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts)/$ID
NODE=$ID-node
passed=0 failed=0
pids=()

cleanup() {
	for p in "${pids[@]}" $(cat "$CG/cgroup.procs"); do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	umount "$DIR/bpf" 2>/dev/null
	ip netns del "$NODE" 2>/dev/null
	for _ in 1 2 3 4 5; do rmdir "$CG" 2>/dev/null && break; sleep 0.1; done
	rm -rf "$DIR"
}
trap cleanup EXIT
ok() { passed=$((passed + 1)); echo "ok - $1"; }
bad() { failed=$((failed + 1)); echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
equal() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "want: $2" "got: $3"; fi; }
# becomes NAME WANT COMMAND...: within 4 s.
becomes() {
	local name=$1 want=$2 got; shift 2
	for _ in $(seq 400); do got=$("$@" 2>/dev/null); [ "$got" = "$want" ] && { ok "$name"; return; }; sleep 0.05; done
	bad "$name" "want: $want" "got: $got" "$(tail -2 "$DIR/log")"
}
run() { (echo "$BASHPID" >"$CG/cgroup.procs" && exec nsenter --net="/run/netns/$NODE" "$@"); }
get() { nsenter --net="/run/netns/$NODE" curl -s -m 3 "$@"; }
code() { get -o /dev/null -w '%{http_code}' "$1"; }
field() { get "$1" | tr -d '\n\t ' | grep -oE "\"$2\":[^,}]*" | cut -d: -f2; }
header() { get -D - -o /dev/null "$1" | tr -d '\r' | awk -v h="$2:" 'tolower($1) == tolower(h) {print $2}'; }
metric() { get http://127.0.0.1:10249/metrics | awk -v m="$1" '$1 == m {print $2}'; }
who() { run "$TOOL" who tcp "$1" 80 "${2:-1}" 2>&1 | cut -d' ' -f1 | sort -u | xargs; }
put() { cat >"$DIR/m/.tmp" && mv "$DIR/m/.tmp" "$DIR/m/$1"; }
logged() { grep -c -- "$1" "$DIR/log"; }

service() { # NAME CLUSTER_IP SPEC...
	local name=$1 ip=$2; shift 2
	printf 'kind: Service\nmetadata: {name: %s}\nspec:\n  clusterIP: %s\n  ports: [{port: 80}]\n' "$name" "$ip"
	[ $# -eq 0 ] || printf '  %s\n' "$@"
	echo ---
}
slice() { # NAME SERVICE PORT ENDPOINT... (ADDRESS NODE READY SERVING TERMINATING ZONE)
	local name=$1 service=$2 port=$3; shift 3
	printf 'kind: EndpointSlice\naddressType: IPv4\nmetadata: {name: %s, labels: {kubernetes.io/service-name: %s}%s}\n' \
		"$name" "$service" "${STAMP:+, annotations: {endpoints.kubernetes.io/last-change-trigger-time: \"$STAMP\"\}}"
	printf "ports: [{name: '', port: %s}]\nendpoints:%s\n" "$port" "$([ $# -gt 0 ] || echo ' []')"
	for e in "$@"; do
		set -- $e
		printf -- '- {addresses: [%s], nodeName: %s, conditions: {ready: %s, serving: %s, terminating: %s}%s}\n' "$1" "$2" "$3" \
			"$4" "$5" "${6:+, hints: {forZones: [{name: $6\}]\}}"
	done
	echo ---
}
node() { # NAME ZONE TAINT
	printf 'kind: Node\nmetadata: {name: %s, labels: {topology.kubernetes.io/zone: %s}}\n' "$1" "$2"
	printf 'spec: {podCIDR: 10.244.0.0/24%s}\n---\n' "${3:+, taints: [{key: $3\}]}"
}
balancer() { service lb 10.96.2.1 "type: LoadBalancer" "externalTrafficPolicy: $1" "healthCheckNodePort: $2" "internalTrafficPolicy: ${3:-Cluster}"; }
start_proxy() {
	nsenter --net="/run/netns/$NODE" "$PROXY" --manifests "$DIR/m" --node-name n1 --node-ip 192.0.2.10 --cgroup "$CG" \
		--pin-dir "$DIR/bpf/$ID" --dns-upstream 127.0.0.53 --xdp off "$@" >>"$DIR/log" 2>&1 &
	pids+=($!)
	PROXY_PID=$!
	for _ in $(seq 600); do [ "$(code http://127.0.0.1:10249/readyz)" = 200 ] && return 0; sleep 0.05; done
	return 1
}

mkdir -p "$DIR/m" "$DIR/bpf" && mount -t bpf none "$DIR/bpf" && mkdir "$CG" && ip netns add "$NODE" || exit 1
ip -n "$NODE" link set lo up
for r in 10.96.0.0/12 10.244.0.0/16; do ip -n "$NODE" route add blackhole "$r" metric 4294967295; done
for a in 10.244.0.1/32 10.244.0.2/32 192.0.2.10/32; do ip -n "$NODE" addr add "$a" dev lo; done
for t in one:8081 two:8082; do run "$TOOL" serve "${t%:*}" "${t#*:}" >/dev/null 2>&1 & pids+=($!); done
balancer Local 32000 | put lb.yaml
HC=http://127.0.0.1:32000/healthz OWN=http://127.0.0.1:10256
start_proxy || { bad "the proxy becomes ready" "$(tail -5 "$DIR/log")"; exit 1; }

# The proxy's own health.
equal "healthz" "200" "$(code $OWN/healthz)"
equal "healthz over IPv6" "200" "$(code 'http://[::1]:10256/healthz')"
get $OWN/healthz | grep -qE '^\{"lastUpdated": "20[^"]*Z","currentTime": "20[^"]*Z", "nodeEligible": true\}$' &&
	ok "healthz says when it was last up to date" || bad "healthz body" "$(get $OWN/healthz)"
equal "proxyMode" "ebpf" "$(get http://127.0.0.1:10249/proxyMode)"

# A Service's health port.
equal "health port without endpoints: 503" "503" "$(code $HC)"
equal "and no weight" "0" "$(header $HC X-Load-Balancing-Endpoint-Weight)"
slice lb-1 lb 8081 "10.244.0.1 n1 true true false" "10.244.0.2 n1 true true false" "10.244.9.1 n2 true true false" | put lb-1.yaml
becomes "health port with two ready endpoints here: 200" 200 code $HC
equal "it counts those of this node" "2" "$(field $HC localEndpoints)"
equal "as a weight too" "2 nosniff" "$(header $HC X-Load-Balancing-Endpoint-Weight) $(header $HC X-Content-Type-Options)"
equal "it names the Service" '"default" "lb" true' "$(field $HC namespace | tail -1 | sed 's/.*://') $(field $HC name) $(field $HC serviceProxyHealthy)"
slice lb-1 lb 8081 "10.244.0.1 n1 false true true" | put lb-1.yaml
becomes "only terminating endpoints: 503" 503 code $HC
equal "while they still serve" one "$(who 10.96.2.1)"
balancer Local 32001 | put lb.yaml
becomes "it moves with its port" 503 code http://127.0.0.1:32001/
equal "away from the old one" 000 "$(code $HC)"
balancer Cluster 32001 | put lb.yaml
becomes "policy Cluster closes it" 000 code http://127.0.0.1:32001/
nsenter --net="/run/netns/$NODE" "$TOOL" serve taken 32002 >/dev/null 2>&1 & TAKEN=$!; pids+=($TAKEN)
sleep 0.2
slice lb-1 lb 8081 "10.244.0.1 n1 true true false" | put lb-1.yaml
balancer Local 32002 | put lb.yaml
becomes "a port that somebody else has is said" 1 logged "health check port of Service default/lb: listen on .*:32002: Address already in use"
kill -9 $TAKEN; wait $TAKEN 2>/dev/null
becomes "and had when it comes free" 200 code http://127.0.0.1:32002/

# Nodes.
node n1 a | put node.yaml
{ service z 10.96.2.2; slice z-1 z 8081 "10.244.0.1 n2 true true false a"; slice z-2 z 8082 "10.244.0.2 n2 true true false b"; } | put z.yaml
becomes "zone hints lead to this node's zone" one who 10.96.2.2 8
node n1 b | put node.yaml
becomes "and follow the Node's label" two who 10.96.2.2 8
node n1 b ToBeDeletedByClusterAutoscaler | put node.yaml
becomes "a node about to be deleted: healthz 503" 503 code $OWN/healthz
equal "it says so" false "$(field $OWN/healthz nodeEligible)"
equal "livez does not look at that" 200 "$(code $OWN/livez)"
equal "nor do Services' ports" 200 "$(code http://127.0.0.1:32002/)"
node n1 c | put node.yaml
becomes "it stays after all" 200 code $OWN/healthz
becomes "no endpoint in its zone: all of them" "one two" who 10.96.2.2 20
rm "$DIR/m/node.yaml"
becomes "its Node is deleted: healthz 503" 503 code $OWN/healthz
node n1 a | put node.yaml
becomes "and back" 200 code $OWN/healthz

# What the node is: links, addresses of both families.
addresses() { # of NodePorts, as the kernel has them; the last four bytes of each
	bpftool -j map dump pinned "$(echo "$DIR/bpf/$ID"/v*/node_addrs)" | grep -o '"key":\[[^]]*\]' | tr -d '"key:[] ' | tr , ' ' | sed 's/0x//g' |
		awk '{print $(NF-3) $(NF-2) $(NF-1) $NF}' | sort | xargs
}
hooked() { nsenter --net="/run/netns/$NODE" tc qdisc show dev "$1" 2>/dev/null | grep -c clsact; }
becomes "NodePorts answer on the node's addresses" "0af40001 0af40002 c000020a" addresses
ip -n "$NODE" link add up0 type veth peer name up1
ip -n "$NODE" addr add 198.51.100.9/24 dev up0
ip -n "$NODE" link set up0 up
becomes "a link that comes up with an address gets programs" 1 hooked up0
becomes "and its address NodePorts" "0af40001 0af40002 c000020a c6336409" addresses
equal "its peer without one does not" 0 "$(hooked up1)"
ip -n "$NODE" link set up1 up
ip -n "$NODE" addr add 2001:db8::99/64 dev up0
equal "an IPv6 address does not count while it may be somebody else's" "0af40001 0af40002 c000020a c6336409" "$(addresses)"
becomes "and does afterwards" "00000099 0af40001 0af40002 c000020a c6336409" addresses
ip -n "$NODE" addr del 198.51.100.9/24 dev up0
becomes "an address that goes is forgotten" "00000099 0af40001 0af40002 c000020a" addresses
ip -n "$NODE" link del up0
becomes "so is a link" "0af40001 0af40002 c000020a" addresses

# Metrics.
before=$(metric keelson_proxy_programming_seconds_count)
STAMP=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
{ STAMP=$STAMP slice lb-1 lb 8081 "10.244.9.1 n2 true true false"; } | put lb-1.yaml
balancer Local 32002 Local | put lb.yaml
becomes "a Service whose endpoints are all elsewhere is counted" 1 metric 'kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="internal"}'
equal "two changes, two observations" $((before + 2)) "$(metric keelson_proxy_programming_seconds_count)"
equal "and one from its cause on" 1 "$(metric kubeproxy_network_programming_duration_seconds_count)"

# Files in all states.
exec 5>"$DIR/m/z.yaml"
sleep 0.5
equal "an emptied file that is still open changes nothing" one "$(who 10.96.2.2 8)"
{ service z 10.96.2.2; slice z-2 z 8082 "10.244.0.2 n2 true true false"; } >&5
sleep 0.3
equal "nor does half a file" one "$(who 10.96.2.2 8)"
exec 5>&-
becomes "it counts when it is closed" two who 10.96.2.2 8
echo 'kind: [' | put z.yaml
sleep 0.3
equal "a file that does not parse keeps its last good state" two "$(who 10.96.2.2 8)"
{ service z 10.96.2.2; slice z-2 z 8082; slice z-2 z 8081 "10.244.0.1 n2 true true false"; } | put z.yaml
becomes "of an object twice in a file the last one counts" one who 10.96.2.2 8
becomes "which is said" 1 logged "z.yaml: default/z-2 stands there twice"
slice z-2 z 8082 "10.244.0.2 n2 true true false" | put a.yaml
becomes "of two files the first has the object" two who 10.96.2.2 8
rm "$DIR/m/a.yaml"
becomes "and then the other" one who 10.96.2.2 8
mv "$DIR/m" "$DIR/away"
becomes "a directory that goes away is said" 1 logged "everything stays as it was"
equal "and changes nothing" one "$(who 10.96.2.2 8)"
mkdir "$DIR/m"
{ service z 10.96.2.2; slice z-2 z 8082 "10.244.0.2 n2 true true false"; } >"$DIR/away/new"
mv "$DIR/away/new" "$DIR/m/new.yaml"
becomes "one in its place is followed" two who 10.96.2.2 8
becomes "what is not in it is gone" 000 code http://127.0.0.1:32002/

kill -TERM "$PROXY_PID"; wait "$PROXY_PID"; equal "SIGTERM ends the proxy with 0" 0 $?

# Only some addresses, both families of the cluster DNS.
{ balancer Local 32002; slice lb-1 lb 8081 "10.244.0.1 n1 true true false"; } | put lb.yaml
start_proxy --node-port-addresses 192.0.2.0/24 --cluster-dns 10.96.0.10,fd00:96::a --service-cidr 10.96.0.0/12,fd00:96::/112 \
	--cluster-cidr 10.244.0.0/16,fd00:244::/56 || bad "a restarted proxy is ready" "$(tail -5 "$DIR/log")"
becomes "NodePorts answer on the addresses selected" c000020a addresses
becomes "health ports too" 200 code http://192.0.2.10:32002/
equal "and nowhere else" 000 "$(code http://127.0.0.1:32002/)"
for at in 10.96.0.10 fd00:96::a; do
	got=$(run timeout 8 busybox nslookup -type=a lb.default.svc.cluster.local "$at" 2>&1)
	[[ $got == *"Address: 10.96.2.1"* ]] && ok "DNS at $at" || bad "DNS at $at" "$got"
done
kill -TERM "$PROXY_PID"; wait "$PROXY_PID"

# Maps that are too small: what does not fit waits for room.
many() { for i in $(seq "$1"); do service "m$i" "10.96.3.$i"; done; }
many 200 | put many.yaml
start_proxy --max-services 64 || bad "a proxy with small maps is ready" "$(tail -5 "$DIR/log")"
refused() { [ "$(metric keelson_proxy_services_refused)" -gt 0 ] && echo yes; }
becomes "Services that do not fit are counted" yes refused
becomes "and said" 1 logged "programming failed for .* more Services"
equal "what fitted is served" one "$(who 10.96.2.1)"
many 20 | put many.yaml
no_more() { for _ in $(seq 200); do [ "$(metric keelson_proxy_services_refused)" = 0 ] && return; sleep 0.1; done; false; }
no_more && ok "room that comes free is used" || bad "room that comes free is used" "$(metric keelson_proxy_services_refused) $(tail -2 "$DIR/log")"
kill -TERM "$PROXY_PID"; wait "$PROXY_PID"
nsenter --net="/run/netns/$NODE" "$PROXY" --cleanup --pin-dir "$DIR/bpf/$ID" --cluster-dns 10.96.0.10,fd00:96::a \
	--service-cidr 10.96.0.0/12,fd00:96::/112 --cluster-cidr 10.244.0.0/16,fd00:244::/56 >>"$DIR/log" 2>&1
equal "--cleanup" 0 $?
equal "no DNS address is left" "" "$(ip -n "$NODE" addr show dev lo | grep -E '10\.96\.0\.10|fd00:96::a')"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
