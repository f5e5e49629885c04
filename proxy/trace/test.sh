#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# keelson-proxy trace on live packets and sockets, its ends, and what a tracer that was killed leaves. Root.
# usage: proxy/trace/test.sh [BUILD_DIR]
set -u
B=${1:-${B:-build}}
TOOL=$(readlink -f "$B/tests/lab/labtool") PROXY=$(readlink -f "$B/bin/keelson-proxy")
KEELSON=$(readlink -f "$B/bin/keelson")
DIR=$(mktemp -d /tmp/keelson-trace-test.XXXXXX)
LAB=$DIR/lab PIN=$DIR/lab/bpf/n1
failed=0 pids=()
ok() { echo "ok - $1"; }
bad() { failed=1; echo "not ok - $1"; shift; printf '#   %s\n' "$@"; }
like() { if grep -qE "$2" <<<"$3"; then ok "$1"; else bad "$1" "want: $2" "got: ${3//$'\n'/ | }"; fi; }
cleanup() {
	for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	[ ! -e "$LAB" ] || "$TOOL" down "$LAB"
	rm -rf "$DIR"
}
trap cleanup EXIT
run() { "$TOOL" run "$LAB" "$@"; }
until_ok() { for _ in $(seq 700); do "$@" >/dev/null 2>&1 && return 0; sleep 0.03; done; return 1; }
"$TOOL" up "$LAB" 1 2 >/dev/null || { bad "a lab"; exit 1; }
"$TOOL" nodes "$LAB"
cat >"$LAB/m/web.yaml" <<'Y'
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: NodePort
  clusterIP: 10.96.0.5
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.1.11], nodeName: n1, conditions: {ready: true}}]
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec:
  clusterIP: 10.96.0.6
  ports: [{port: 80}]
Y
run p1/1 "$TOOL" serve p1/1 8080 & pids+=($!)
start() {
	"$TOOL" proxy "$LAB" n1 "$PROXY" 2>>"$DIR/log" & daemon=$!
	pids+=("$daemon")
	until_ok run n1 curl -sf -o /dev/null http://127.0.0.1:10249/readyz
}
start || { bad "the proxy becomes ready" "$(tail -3 "$DIR/log")"; exit 1; }
on() { # is tracing on?
	[ "$(bpftool -j map dump pinned "$PIN"/v*/config 2>/dev/null | grep -oE '"trace": ?[0-9]+' | head -1 | grep -oE '[0-9]+$')" != 0 ]
}
begin() { # OPTION...: a tracer in the background; its lines in $DIR/out
	rm -f "$DIR/out"
	nsenter --net="/run/netns/$(cat "$DIR/ns")" "$PROXY" trace --pin-dir "$PIN" "$@" >"$DIR/out" 2>"$DIR/err" & tracer=$!
	pids+=("$tracer")
	until_ok on
}
lines() { [ "$(wc -l <"$DIR/out")" -ge "$1" ]; }
run n1 ip netns identify >"$DIR/ns" 2>/dev/null
[ -s "$DIR/ns" ] || ip netns list | awk '{print $1}' | grep -E 'n1$' | tail -1 >"$DIR/ns"

on && bad "off at first" || ok "off at first"
begin || bad "tracing goes on" "$(cat "$DIR/err")"
run p1/2 "$TOOL" ask tcp 10.96.0.5 80 >/dev/null
run c1 "$TOOL" ask tcp 192.168.50.1 30080 >/dev/null
run p1/2 "$TOOL" ask tcp 10.96.0.6 80 >/dev/null
until_ok lines 4
kill -INT "$tracer"; wait "$tracer"; [ $? = 0 ] && ok "SIGINT ends it with 0" || bad "SIGINT ends it with 0" "$(cat "$DIR/err")"
on && bad "and turns tracing off" || ok "and turns tracing off"
got=$(cat "$DIR/out")
like "a pod's connect" '^[0-9:.]+ connect - tcp \* > 10\.96\.0\.5:80 -> \* > 10\.244\.1\.11:8080, service default/web:http, backend 10\.244\.1\.11:8080: translated$' "$got"
like "a packet from outside" '^[0-9:.]+ tc_ingress [a-z0-9]+ tcp 192\.168\.50\.201:[0-9]+ > 192\.168\.50\.1:30080 -> 192\.168\.50\.201:[0-9]+ > 10\.244\.1\.11:8080, service default/web:http, backend 10\.244\.1\.11:8080: translated$' "$got"
like "its answer" '^[0-9:.]+ tc_pod klp1 tcp 10\.244\.1\.11:8080 > 192\.168\.50\.201:[0-9]+ -> 192\.168\.50\.1:30080 > 192\.168\.50\.201:[0-9]+, service default/web:http, backend 10\.244\.1\.11:8080: translated$' "$got"
like "a refusal" ' > 10\.96\.0\.6:80, service default/empty:: refused: the Service has no endpoints$' "$got"

begin --json --count 1 drops and host 10.96.0.6
run p1/2 "$TOOL" ask tcp 10.96.0.5 80 >/dev/null
run p1/2 "$TOOL" ask tcp 10.96.0.6 80 >/dev/null
wait "$tracer"; [ $? = 0 ] && ok "--count ends it" || bad "--count ends it" "$(cat "$DIR/err")"
like "as JSON, only what matches" '^\{"time":"[^"]+","program":"connect".*"service":"default/empty:".*"verdict":"sock_refused_no_endpoints","dropped":true\}$' "$(cat "$DIR/out")"
begin service default/web:http and dst port 30080
run p1/2 "$TOOL" ask tcp 10.96.0.5 80 >/dev/null
run c1 "$TOOL" ask tcp 192.168.50.1 30080 >/dev/null
until_ok lines 1
got=$(nsenter --net="/run/netns/$(cat "$DIR/ns")" "$PROXY" trace --pin-dir "$PIN" 2>&1); r=$?
[ $r = 1 ] && like "a second tracer is refused" 'another trace of this node is running' "$got" || bad "a second tracer is refused" "$r $got"
kill -9 "$tracer"; wait "$tracer" 2>/dev/null
got=$(grep -vc ':30080' "$DIR/out"); [ "$got" = 0 ] && ok "a Service's packets only" || bad "a Service's packets only" "$(cat "$DIR/out")"
on && ok "a killed tracer leaves tracing on" || bad "a killed tracer leaves tracing on"
end=$((SECONDS + 10))
while on && [ $SECONDS -lt $end ]; do run c1 "$TOOL" ask tcp 192.168.50.1 30080 >/dev/null; sleep 0.2; done
on && bad "but not for ever" || ok "but not for ever"

# keelson trace: the same from outside the node, which a state directory describes.
mkdir "$DIR/state" && ln -s "$LAB/bpf" "$DIR/state/bpf"
echo "{\"id\": \"n1\", \"netns\": \"$(cat "$DIR/ns")\", \"node_name\": \"n1\", \"node_ip\": \"192.168.50.1\", \"cgroup2\": \"/sys/fs/cgroup\"}" \
	>"$DIR/state/cluster.json"
"$KEELSON" trace --json --state "$DIR/state" dst 10.96.0.5 --count 1 >"$DIR/out" 2>"$DIR/err" & tracer=$!
pids+=("$tracer")
until_ok on
run p1/2 "$TOOL" ask tcp 10.96.0.5 80 >/dev/null
wait "$tracer"; like "keelson trace" '"service":"default/web:http"' "$(cat "$DIR/out" "$DIR/err")"
got=$("$KEELSON" trace --state "$DIR/state" dst nobody 2>&1); [ $? = 2 ] && like "keelson trace, wrong usage" 'no IP address' "$got"

# Without a daemon.
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
begin --count 1 dst 10.96.0.5
run p1/2 "$TOOL" ask tcp 10.96.0.5 80 >/dev/null
wait "$tracer"; like "without a daemon sets are numbers" 'connect - tcp \* > 10\.96\.0\.5:80 -> .*, set [0-9]+, backend 10\.244\.1\.11:8080: translated$' "$(cat "$DIR/out")"
like "and it says why" 'no names of Services' "$(cat "$DIR/err")"
for words in 'service default/web' 'host 1.2.3' '--count 0' '--wrong'; do
	# shellcheck disable=SC2086
	got=$(nsenter --net="/run/netns/$(cat "$DIR/ns")" "$PROXY" trace --pin-dir "$PIN" $words 2>&1); r=$?
	[ $r != 0 ] && [ -n "$got" ] && ok "refused: $words" || bad "refused: $words" "$r $got"
done
got=$("$PROXY" trace --pin-dir "$DIR" 2>&1); like "no maps there" 'no keelson-proxy of this version' "$got"
exit $failed
