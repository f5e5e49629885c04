#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The service proxy against real sockets and packets: a network namespace is the node, others are pods and an outside
# client; processes run in a cgroup of their own; the proxy reads manifests. Root. Prints "ok"/"not ok" lines.
# usage: proxy/test.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
PROXY=$(readlink -f "$B/bin/keelson-proxy") TOOL=$(readlink -f "$B/bench/nettool")
ID=kt-proxy-$$
DIR=$(mktemp -d /tmp/proxy-test.XXXXXX)
CG2=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts)
CG=$CG2/$ID
PIN=$DIR/bpf/$ID
NODE=$ID-node OUT=$ID-out
passed=0 failed=0
pids=()

cleanup() {
	for p in "${pids[@]}" $(cat "$CG/cgroup.procs"); do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	umount "$DIR/bpf" 2>/dev/null
	for n in "$NODE" "$OUT" "$ID"-p1 "$ID"-p2 "$ID"-p3; do ip netns del "$n" 2>/dev/null; done
	for i in 1 2 3 4 5; do rmdir "$CG" 2>/dev/null && break; sleep 0.1; done
	rm -rf "$DIR"
}
trap cleanup EXIT
ok() { passed=$((passed + 1)); echo "ok - $1"; }
bad() { failed=$((failed + 1)); echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
# check NAME PATTERN TEXT: every line of TEXT matches the extended regular expression.
check() {
	if [ -n "$3" ] && ! grep -qvE "$2" <<<"$3"; then ok "$1"; else bad "$1" "want: $2" "got: ${3//$'\n'/ | }"; fi
}
equal() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "want: $2" "got: $3"; fi; }
# run NS COMMAND...: in a namespace, and in the cgroup that the hooks serve.
run() {
	local ns=$1; shift
	(echo "$BASHPID" >"$CG/cgroup.procs" && exec nsenter --net="/run/netns/$ns" "$@")
}
# until_ok COMMAND...: up to 3 s.
until_ok() { for _ in $(seq 400); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done; return 1; }

start_proxy() {
	nsenter --net="/run/netns/$NODE" "$PROXY" --manifests "$DIR/m" --node-name n1 --node-ip 192.0.2.10 --cgroup "$CG" \
		--pin-dir "$PIN" --dns-upstream 127.0.0.53 --listen 127.0.0.1:10249 >>"$DIR/log" 2>&1 &
	PROXY_PID=$!
	pids+=("$PROXY_PID")
	until_ok nsenter --net="/run/netns/$NODE" curl -sf -o /dev/null http://127.0.0.1:10249/readyz
}
metric() { nsenter --net="/run/netns/$NODE" curl -s http://127.0.0.1:10249/metrics | awk -v m="$1" '$1 == m {print $2}'; }

service() { # NAME CLUSTER_IP NODE_PORT EXTRA
	local type=ClusterIP
	[ -n "$3" ] && type=NodePort
	cat <<Y
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: default}
spec:
  type: $type
  clusterIP: $2
  ports:
  - {name: t, port: 80, protocol: TCP, targetPort: 8080${3:+, nodePort: $3}}
  - {name: u, port: 80, protocol: UDP, targetPort: 8080${3:+, nodePort: $3}}
$4
---
Y
}
slice() { # NAME ADDRESS...
	local name=$1; shift
	printf 'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n'
	printf 'metadata: {name: %s-1, namespace: default, labels: {kubernetes.io/service-name: %s}}\n' "$name" "$name"
	printf 'ports: [{name: t, port: 8080, protocol: TCP}, {name: u, port: 8080, protocol: UDP}]\nendpoints:\n'
	for a in "$@"; do printf -- '- {addresses: [%s], nodeName: n1, conditions: {ready: true}}\n' "$a"; done
	[ $# -gt 0 ] || echo '[]'
	echo ---
}
put() { cat >"$DIR/m/.tmp" && mv "$DIR/m/.tmp" "$DIR/m/$1"; }

setup() {
	mkdir -p "$DIR/m" "$DIR/bpf" && mount -t bpf none "$DIR/bpf" && mkdir "$CG" || exit 1
	ip netns add "$NODE" && ip netns add "$OUT" || exit 1
	ip -n "$NODE" link set lo up
	ip -n "$OUT" link set lo up
	ip -n "$NODE" link add eth0 type veth peer name eth0 netns "$OUT"
	ip -n "$NODE" addr add 192.0.2.10/24 dev eth0
	ip -n "$OUT" addr add 192.0.2.20/24 dev eth0
	ip -n "$NODE" link set eth0 up
	ip -n "$OUT" link set eth0 up
	ip -n "$NODE" link add kl0 type bridge
	ip -n "$NODE" addr add 10.244.0.1/24 dev kl0
	ip -n "$NODE" link set kl0 up
	nsenter --net="/run/netns/$NODE" sysctl -qw net.ipv4.ip_forward=1
	for i in 1 2 3; do
		local p=$ID-p$i
		ip netns add "$p"
		ip -n "$p" link set lo up
		ip -n "$NODE" link add "klp$i" type veth peer name eth0 netns "$p"
		ip -n "$NODE" link set "klp$i" master kl0 up
		bridge -n "$NODE" link set dev "klp$i" hairpin on
		ip -n "$p" addr add "10.244.0.1$i/24" dev eth0
		ip -n "$p" link set eth0 up
		ip -n "$p" route add default via 10.244.0.1
		run "$p" "$TOOL" serve "pod$i" 8080 >/dev/null 2>&1 &
		pids+=($!)
	done
	{
		service web 10.96.1.1 30080 ""
		slice web 10.244.0.11 10.244.0.12
	} | put web.yaml
	{
		service sticky 10.96.1.2 30082 '  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}'
		slice sticky 10.244.0.11 10.244.0.12 10.244.0.13
	} | put sticky.yaml
	service empty 10.96.1.3 30083 "" | put empty.yaml
	{
		service hair 10.96.1.4 30084 ""
		slice hair 10.244.0.11
	} | put hair.yaml
}

P1=$ID-p1 P2=$ID-p2 P3=$ID-p3
setup
start_proxy || { bad "the proxy becomes ready" "$(tail -5 "$DIR/log")"; exit 1; }

# ClusterIP through the socket hooks.
got=$(run "$P3" "$TOOL" who tcp 10.96.1.1 80 40)
check "tcp: a pod reaches the ClusterIP with its own address, and sees the virtual one" \
	'^pod[12] 10\.244\.0\.13:[0-9]+ 10\.96\.1\.1:80$' "$got"
equal "tcp: both endpoints are used" "pod1 pod2" "$(cut -d' ' -f1 <<<"$got" | sort -u | xargs)"
got=$(run "$P3" "$TOOL" who tcp6 10.96.1.1 80 10)
check "tcp: so does an IPv6 socket by the mapped address" '^pod[12] 10\.244\.0\.13:[0-9]+ 10\.96\.1\.1:80$' "$got"
got=$(run "$NODE" "$TOOL" who tcp 10.96.1.1 80 10)
check "tcp: the node reaches the ClusterIP" '^pod[12] 10\.244\.0\.1:[0-9]+ 10\.96\.1\.1:80$' "$got"
got=$(run "$P3" "$TOOL" who udp 10.96.1.1 80 40)
check "udp unconnected: answers come from the virtual address" '^pod[12] 10\.244\.0\.13:[0-9]+ 10\.96\.1\.1:80$' "$got"
equal "udp unconnected: both endpoints are used" "pod1 pod2" "$(cut -d' ' -f1 <<<"$got" | sort -u | xargs)"
got=$(run "$P3" "$TOOL" who udpc 10.96.1.1 80 10)
check "udp connected: getpeername is the virtual address" '^pod[12] 10\.244\.0\.13:[0-9]+ 10\.96\.1\.1:80$' "$got"
got=$(yes '' | head -8 | run "$P3" "$TOOL" hold udp 10.96.1.1 80 | cut -d' ' -f1 | sort -u | wc -l)
equal "udp unconnected: one socket keeps its backend" 1 "$got"
got=$(run "$P1" "$TOOL" who tcp 10.96.1.4 80 3)
check "hairpin: a pod reaches itself through its Service" '^pod1 10\.244\.0\.11:[0-9]+ 10\.96\.1\.4:80$' "$got"

# Refusals.
equal "no endpoints: tcp is refused" ECONNREFUSED "$(run "$P3" "$TOOL" who tcp 10.96.1.3 80)"
equal "no endpoints: udp is refused" ECONNREFUSED "$(run "$P3" "$TOOL" who udp 10.96.1.3 80)"
equal "a port the Service does not have is refused" ECONNREFUSED "$(run "$P3" "$TOOL" who tcp 10.96.1.1 81)"
got=$(run "$P3" timeout 3 "$TOOL" who tcp 10.96.200.200 80)
check "an address nobody owns is dropped" '^(ETIMEDOUT|EINPROGRESS|EAGAIN)$' "$got"

# NodePort.
got=$(run "$P3" "$TOOL" who tcp 192.0.2.10 30080 4)
check "nodeport: from a pod at the node's address" '^pod[12] 10\.244\.0\.13:[0-9]+ 192\.0\.2\.10:30080$' "$got"
got=$(run "$NODE" "$TOOL" who tcp 127.0.0.1 30080 4)
check "nodeport: from the node at localhost" '^pod[12] 10\.244\.0\.1:[0-9]+ 127\.0\.0\.1:30080$' "$got"
equal "nodeport: a pod's localhost is its own" ECONNREFUSED "$(run "$P3" "$TOOL" who tcp 127.0.0.1 30080)"
got=$(nsenter --net="/run/netns/$OUT" "$TOOL" who tcp 192.0.2.10 30080 40)
check "nodeport: from outside by tcp, the client's address is kept" '^pod[12] 192\.0\.2\.20:[0-9]+ 192\.0\.2\.10:30080$' "$got"
equal "nodeport: from outside both endpoints are used" "pod1 pod2" "$(cut -d' ' -f1 <<<"$got" | sort -u | xargs)"
got=$(nsenter --net="/run/netns/$OUT" "$TOOL" who udp 192.0.2.10 30080 10)
check "nodeport: from outside by udp" '^pod[12] 192\.0\.2\.20:[0-9]+ 192\.0\.2\.10:30080$' "$got"
equal "nodeport: from outside without endpoints tcp is refused" ECONNREFUSED \
	"$(nsenter --net="/run/netns/$OUT" "$TOOL" who tcp 192.0.2.10 30083)"
equal "nodeport: from outside without endpoints udp is refused" ECONNREFUSED \
	"$(nsenter --net="/run/netns/$OUT" "$TOOL" who udpc 192.0.2.10 30083)"
got=$(nsenter --net="/run/netns/$OUT" "$TOOL" rate stream 192.0.2.10 30080 0.3)
check "nodeport: bulk from outside" '^[1-9][0-9]*\.' "$got"

# DNS at the cluster's address, from a pod.
ask() { run "$P3" timeout 8 busybox nslookup -type="$1" "$2" 10.96.0.10 2>&1; }
got=$(ask a web.default.svc.cluster.local)
[[ $got == *"Address: 10.96.1.1"* ]] && ok "dns: a pod resolves a Service" || bad "dns" "$got"
got=$(ask ptr 1.1.96.10.in-addr.arpa)
[[ $got == *"web.default.svc.cluster.local"* ]] && ok "dns: and its address back" || bad "dns reverse" "$got"
got=$(ask a nothing.default.svc.cluster.local)
[[ $got == *NXDOMAIN* ]] && ok "dns: a name that is not there is NXDOMAIN" || bad "dns nxdomain" "$got"
got=$(ask a www.example.com)
[[ $got == *SERVFAIL* ]] && ok "dns: without an upstream that answers it is SERVFAIL" || bad "dns servfail" "$got"

# Session affinity.
for i in 1 2 3 4 5 6; do run "$P2" "$TOOL" who tcp 10.96.1.2 80 4; done >"$DIR/sticky"
equal "affinity: a pod keeps its endpoint" 1 "$(cut -d' ' -f1 "$DIR/sticky" | sort -u | wc -l)"
got=$(nsenter --net="/run/netns/$OUT" "$TOOL" who tcp 192.0.2.10 30082 12 | cut -d' ' -f1 | sort -u | wc -l)
equal "affinity: so does a client from outside" 1 "$got"
first=$(head -1 "$DIR/sticky" | cut -d' ' -f1)
moved=no
for i in 1 2 3 4 5 6 7 8; do
	sleep 2.1
	[ "$(run "$P2" "$TOOL" who tcp 10.96.1.2 80 | cut -d' ' -f1)" != "$first" ] && { moved=yes; break; }
done
equal "affinity: it ends after its timeout" yes "$moved"

# Changes are followed; a datagram socket leaves a backend that went away.
mkfifo "$DIR/udp.in" "$DIR/tcp.in" "$DIR/ext.in" "$DIR/udpc1.in" "$DIR/udpc2.in" "$DIR/udpc3.in" "$DIR/udpc4.in"
connected=()
for i in 1 2 3 4; do # likely one is connected to the endpoint that will leave
	run "$P3" "$TOOL" hold udpc 10.96.1.1 80 <"$DIR/udpc$i.in" >"$DIR/udpc$i.out" 2>/dev/null & pids+=($!)
	exec {fd}>"$DIR/udpc$i.in"
	connected+=("$fd")
done
run "$P3" "$TOOL" hold udp 10.96.1.1 80 <"$DIR/udp.in" >"$DIR/udp.out" 2>/dev/null & pids+=($!)
exec 7>"$DIR/udp.in"
run "$P3" "$TOOL" hold tcp 10.96.1.1 80 <"$DIR/tcp.in" >"$DIR/tcp.out" 2>/dev/null & pids+=($!)
exec 8>"$DIR/tcp.in"
nsenter --net="/run/netns/$OUT" "$TOOL" hold tcp 192.0.2.10 30080 <"$DIR/ext.in" >"$DIR/ext.out" 2>/dev/null & pids+=($!)
exec 9>"$DIR/ext.in"
lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }
say() { echo >&"$1"; until_ok lines "$2" "$3"; }
for i in 1 2 3 4; do say "${connected[$((i - 1))]}" "$DIR/udpc$i.out" 1; done
say 7 "$DIR/udp.out" 1; say 8 "$DIR/tcp.out" 1; say 9 "$DIR/ext.out" 1
old=$(cut -d' ' -f1 "$DIR/udp.out")
[ "$old" = pod1 ] && keep=10.244.0.12 || keep=10.244.0.11
{ service web 10.96.1.1 30080 ""; slice web "$keep" 10.244.0.13; } | put web.yaml
changed() { run "$P3" "$TOOL" who tcp 10.96.1.1 80 20 | grep -q pod3; }
until_ok changed && ok "a change of a file is followed" || bad "a change of a file is followed" "$(tail -3 "$DIR/log")"
got=$(run "$P2" "$TOOL" who tcp 10.96.1.1 80 20 | cut -d' ' -f1 | sort -u | xargs)
if [[ $got != *$old* ]]; then ok "an endpoint that left gets no new connections"; else bad "left endpoint" "$got"; fi
for i in 1 2 3 4; do say "${connected[$((i - 1))]}" "$DIR/udpc$i.out" 2; done
got=$(cat "$DIR"/udpc?.out | grep -v '^pod' | sort -u | xargs)
left=$(head -qn 1 "$DIR"/udpc?.out | grep -c "^$old ")
if [ "$left" -eq 0 ] || [ "$got" = EDESTADDRREQ ]; then
	ok "udp: a connected socket hears that its endpoint left"
else
	bad "udp connected hears" "$left were connected to $old" "$got"
fi
say 7 "$DIR/udp.out" 2
got=$(tail -1 "$DIR/udp.out")
if [[ $got == pod* && $got != $old* ]]; then ok "udp: the socket goes on to a living endpoint"; else bad "udp goes on" "$old, then $got"; fi
say 8 "$DIR/tcp.out" 2
equal "tcp: the established connection keeps its endpoint" 1 "$(cut -d' ' -f1 "$DIR/tcp.out" | sort -u | wc -l)"

# kill -9: connections live on, and new ones are made.
gen=$(bpftool -j map dump pinned "$PIN/v1/backends" 2>/dev/null | md5sum)
kill -9 "$PROXY_PID"; wait "$PROXY_PID" 2>/dev/null
say 8 "$DIR/tcp.out" 3; say 9 "$DIR/ext.out" 2
check "kill -9: an established connection from a pod lives" '^pod' "$(tail -1 "$DIR/tcp.out")"
equal "kill -9: an established connection from outside lives" 1 "$(cut -d' ' -f1 "$DIR/ext.out" | sort -u | wc -l)"
check "kill -9: new connections of pods" '^pod[123] ' "$(run "$P1" "$TOOL" who tcp 10.96.1.1 80 10)"
check "kill -9: new connections from outside" '^pod[123] ' "$(nsenter --net="/run/netns/$OUT" "$TOOL" who tcp 192.0.2.10 30080 10)"
{ service web 10.96.1.1 30080 ""; slice web "$keep" 10.244.0.13; service late 10.96.1.9 "" ""; slice late 10.244.0.12; } | put web.yaml
rm "$DIR/m/hair.yaml"
start_proxy && ok "a restarted proxy is ready" || bad "restart" "$(tail -5 "$DIR/log")"
check "restart: what came in between is there" '^pod2 ' "$(run "$P1" "$TOOL" who tcp 10.96.1.9 80 3)"
got=$(run "$P1" timeout 3 "$TOOL" who tcp 10.96.1.4 80)
check "restart: what went in between is gone" '^(ETIMEDOUT|EINPROGRESS|EAGAIN)$' "$got"
say 8 "$DIR/tcp.out" 4; say 9 "$DIR/ext.out" 3
equal "restart: established connections are untouched" "1 1" \
	"$(cut -d' ' -f1 "$DIR/tcp.out" | sort -u | wc -l) $(cut -d' ' -f1 "$DIR/ext.out" | sort -u | wc -l)"
n=$(wc -l <"$DIR/udp.out"); say 7 "$DIR/udp.out" $((n + 1))
equal "restart: backends were adopted, a datagram socket keeps its own" "$(sed -n 2p "$DIR/udp.out" | cut -d' ' -f1)" \
	"$(tail -1 "$DIR/udp.out" | cut -d' ' -f1)"

# Bad input keeps the last good state.
echo '{"kind": "Service", ' | put web.yaml
sleep 0.3
check "a file that does not parse keeps its last good state" '^pod[123] ' "$(run "$P1" "$TOOL" who tcp 10.96.1.1 80 3)"
grep -q 'web.yaml.*last good state' "$DIR/log" && ok "and is named in the log" || bad "bad file in the log" "$(tail -3 "$DIR/log")"

# Sight.
v=$(metric 'keelson_proxy_verdicts_total{reason="sock_translated"}')
[ "${v:-0}" -gt 50 ] && ok "metrics count what the programs did" || bad "metrics" "sock_translated ${v:-none}"
v=$(metric 'keelson_proxy_verdicts_total{reason="sock_refused_no_endpoints"}')
[ "${v:-0}" -ge 2 ] && ok "metrics count refusals by reason" || bad "refusals" "${v:-none}"

# Nothing is left.
kill -TERM "$PROXY_PID"; wait "$PROXY_PID"; equal "SIGTERM ends the proxy with 0" 0 $?
check "after the proxy's end Services go on" '^pod[123] ' "$(run "$P1" "$TOOL" who tcp 10.96.1.1 80 3)"
nsenter --net="/run/netns/$NODE" "$PROXY" --cleanup --pin-dir "$PIN" >>"$DIR/log" 2>&1; equal "--cleanup" 0 $?
equal "no pins are left" "" "$(ls -A "$DIR/bpf" | grep -v '\.debug$')"
equal "no qdisc is left" "" "$(nsenter --net="/run/netns/$NODE" tc qdisc show | grep clsact)"
equal "no route is left" "" "$(ip -n "$NODE" route show type blackhole)"
equal "no address is left on lo" "" "$(ip -n "$NODE" -4 addr show dev lo | grep 10.96)"
equal "no program is left on the cgroup" "" "$(bpftool cgroup show "$CG" 2>/dev/null | grep -E 'connect|sendmsg|recvmsg|getpeer')"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
