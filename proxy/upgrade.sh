#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A proxy replaced by one of another ABI version and layout, and back, and by one with other map sizes, under UDP and TCP
# from outside and from a pod: packets are counted, none is lost, nobody's backend changes. Root.
# usage: proxy/upgrade.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
make -s B="$B" "$B/next/keelson-proxy" || exit 1
NOW=$(readlink -f "$B/bin/keelson-proxy") NEXT=$(readlink -f "$B/next/keelson-proxy") TOOL=$(readlink -f "$B/tests/lab/labtool")
ID=kt-upgrade-$$
DIR=$(mktemp -d /tmp/proxy-upgrade.XXXXXX)
CG=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts)/$ID
PIN=$DIR/bpf/$ID
passed=0 failed=0 pids=()
cleanup() {
	for p in "${pids[@]}" $(cat "$CG/cgroup.procs"); do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	umount "$DIR/bpf" 2>/dev/null
	for n in node out p1 p2 p3; do ip netns del "$ID-$n" 2>/dev/null; done
	for _ in 1 2 3 4 5; do rmdir "$CG" 2>/dev/null && break; sleep 0.1; done
	rm -rf "$DIR"
}
trap cleanup EXIT
ok() { passed=$((passed + 1)); echo "ok - $1"; }
bad() { failed=$((failed + 1)); echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
run() { # NS COMMAND...: in a namespace; the node's and its pods' also in the cgroup that the hooks serve
	([ "$1" = out ] || echo "$BASHPID" >"$CG/cgroup.procs"; exec nsenter --net="/run/netns/$ID-$1" "${@:2}")
}
start() { # PROGRAM OPTION...
	nsenter --net="/run/netns/$ID-node" "$1" --manifests "$DIR/m" --node-name n1 --node-ip 192.0.2.10 --cgroup "$CG" \
		--pin-dir "$PIN" --pod-network none --cluster-dns "" --listen 127.0.0.1:10249 "${@:2}" >>"$DIR/log" 2>&1 &
	PROXY=$!
	pids+=("$PROXY")
	for _ in $(seq 200); do
		nsenter --net="/run/netns/$ID-node" curl -sf -o /dev/null http://127.0.0.1:10249/readyz && return 0
		sleep 0.02
	done
	bad "the proxy becomes ready" "$(tail -3 "$DIR/log")"
	return 1
}

mkdir -p "$DIR/m" "$DIR/bpf" && mount -t bpf none "$DIR/bpf" && mkdir "$CG" || exit 1
for n in node out p1 p2 p3; do
	ip netns add "$ID-$n" && ip -n "$ID-$n" link set lo up || exit 1
	ip -n "$ID-$n" route add blackhole 10.96.0.0/12 metric 4294967295
done
ip -n "$ID-node" link add eth0 type veth peer name eth0 netns "$ID-out"
ip -n "$ID-node" addr add 192.0.2.10/24 dev eth0
ip -n "$ID-out" addr add 192.0.2.20/24 dev eth0
ip -n "$ID-node" link set eth0 up
ip -n "$ID-out" link set eth0 up
ip -n "$ID-node" link add kl0 type bridge
ip -n "$ID-node" addr add 10.244.0.1/24 dev kl0
ip -n "$ID-node" link set kl0 up
nsenter --net="/run/netns/$ID-node" sysctl -qw net.ipv4.ip_forward=1
for i in 1 2 3; do
	ip -n "$ID-node" link add "klp$i" type veth peer name eth0 netns "$ID-p$i"
	ip -n "$ID-node" link set "klp$i" master kl0 up
	ip -n "$ID-p$i" addr add "10.244.0.1$i/24" dev eth0
	ip -n "$ID-p$i" link set eth0 up
	ip -n "$ID-p$i" route add default via 10.244.0.1
	[ "$i" = 3 ] || { run "p$i" "$TOOL" serve "pod$i" 8080 & pids+=($!); }
done
cat >"$DIR/m/web.yaml" <<'Y'
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  ports:
  - {name: t, port: 80, protocol: TCP, targetPort: 8080, nodePort: 30080}
  - {name: u, port: 80, protocol: UDP, targetPort: 8080, nodePort: 30080}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
ports: [{name: t, port: 8080, protocol: TCP}, {name: u, port: 8080, protocol: UDP}]
endpoints:
- {addresses: [10.244.0.11], nodeName: n1, conditions: {ready: true}}
- {addresses: [10.244.0.12], nodeName: n1, conditions: {ready: true}}
Y

start "$NOW" || exit 1
names=() flows=()
until_end() { while [ ! -e "$DIR/end" ]; do sleep 0.05; done; }
begin() { # NAME NS KIND ADDRESS PORT: a steady flow until the end
	until_end | run "$2" "$TOOL" flow "$3" "$4" "$5" 500 >"$DIR/$1.out" 2>&1 &
	pids+=($!) flows+=($!)
	names+=("$1")
}
begin "udp from outside" out udp 192.0.2.10 30080
begin "tcp from outside" out tcp 192.0.2.10 30080
begin "udp from a pod" p3 udp 10.96.1.1 80
begin "connected udp from a pod" p3 udpc 10.96.1.1 80
begin "tcp from a pod" p3 tcp 10.96.1.1 80
# New connections all the while; a lost packet would cost one a second.
(n=0 lost=0
while [ ! -e "$DIR/end" ]; do
	run out timeout 0.9 "$TOOL" ask tcp 192.0.2.10 30080 >/dev/null 2>&1 || lost=$((lost + 1))
	n=$((n + 1))
done
echo "$n $lost" >"$DIR/new") & new=$!
sleep 0.3
replace() { kill -9 "$PROXY"; wait "$PROXY" 2>/dev/null; start "$@" || exit 1; sleep 0.3; }
replace "$NEXT"
got=$(ls "$PIN" | xargs)
[[ $got =~ ^links\ v[0-9]+$ ]] && next=${got#links } && ok "the next version's maps took over ($got)" || bad "the next version's maps" "$got"
replace "$NOW"
got=$(ls "$PIN" | xargs)
[ "$got" != "links $next" ] && [[ $got =~ ^links\ v[0-9]+$ ]] && ok "and gave back ($got)" || bad "the maps gave back" "$got"
replace "$NOW" --max-services 20000 --max-endpoints 100000
replace "$NOW" --max-flows 5000
replace "$NOW"
touch "$DIR/end"
for p in "${flows[@]}"; do wait "$p"; done
wait "$new"
for n in "${names[@]}"; do
	got=$(cat "$DIR/$n.out")
	if [[ $got =~ ^sent\ ([0-9]+)\ answered\ ([0-9]+)\ errors\ 0\ servers\ 1$ && ${BASH_REMATCH[1]} -gt 500 &&
		${BASH_REMATCH[1]} = "${BASH_REMATCH[2]}" ]]; then
		ok "$n: nothing lost, one backend throughout (${BASH_REMATCH[1]} packets)"
	else
		bad "$n: nothing lost, one backend throughout" "$got"
	fi
done
read -r made lost <"$DIR/new"
[ "$made" -gt 20 ] && [ "$lost" = 0 ] && ok "new connections were made all the while ($made)" || bad "new connections" "$made made, $lost lost"
grep -E 'ERROR|not taken' "$DIR/log" >"$DIR/errors" && bad "no errors in the log" "$(cat "$DIR/errors")" || ok "no errors in the log"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
