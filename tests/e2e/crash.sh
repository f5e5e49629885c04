#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of each daemon under load: no acknowledged write is lost, no established connection breaks, no pod restarts.
. "$(dirname "$0")/lib.sh"

check "up" up || exit 1
check "apply" K apply -f "$root/examples/hello/hello.yaml"
check "rollout" K rollout status deployment/hello --timeout=90s
vip=$(K get service hello -o 'jsonpath={.spec.clusterIP}')
pods_before=$(K get pods -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID}{"\n"}{end}' | sort)

# Load 1: writes; a name is noted once the API server has acknowledged it.
: >"$work/acked"
in_node env work="$work" bash -c '
	i=0; while [ ! -e "$work/stop" ]; do
		i=$((i + 1))
		code=$(curl -s -o /dev/null -w "%{http_code}" --max-time 5 --noproxy "*" --cacert "'"$state"'/pki/ca.crt" \
			--cert "'"$state"'/pki/admin.crt" --key "'"$state"'/pki/admin.key" -H "Content-Type: application/json" \
			-d "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"w$i\"},\"data\":{\"i\":\"$i\"}}" \
			https://127.0.0.1:6443/api/v1/namespaces/default/configmaps)
		[ "$code" = 201 ] && echo "w$i" >>"$work/acked"
	done' &
background+=($!)
# Load 2: one keep-alive connection through the Service that must never break.
in_node python3 - "$vip" "$work" <<'PY' >"$work/conn" 2>&1 &
import http.client, os, sys, time
c = http.client.HTTPConnection(sys.argv[1], 80, timeout=5)
c.connect()
port = c.sock.getsockname()[1]
n = 0
while not os.path.exists(sys.argv[2] + "/stop"):
    c.request("GET", "/")
    c.getresponse().read()
    assert c.sock and c.sock.getsockname()[1] == port, "reconnected"
    n += 1
    time.sleep(0.01)
print("requests on one connection:", n)
PY
connection=$!
# Load 3: new connections all the time.
in_node env work="$work" bash -c 'while [ ! -e "$work/stop" ]; do curl -s -o /dev/null --max-time 3 --noproxy "*" http://'"$vip"'/ || echo lost; done' >"$work/new" 2>&1 &
background+=($!)

pid_of() { "$bin/keelson" status --state "$state" --json | jq -r ".[] | select(.name == \"$1\") | .pid"; }
back() { "$bin/keelson" status --state "$state" --json | jq -e ".[] | select(.name == \"$1\") | .healthy and .pid != $2"; }
for round in 1 2; do
	for d in apiserver scheduler controllers agent proxy containerd; do
		sleep 0.5
		old=$(pid_of $d)
		kill -9 "$old"
		check "$d comes back (round $round)" eventually 30 back $d "$old"
	done
done
daemon_pids() { "$bin/keelson" status --state "$state" --json | jq -c '[.[] | select(.name != "supervisor") | {name, pid}] | sort_by(.name)'; }
sup=$(pid_of supervisor)
pids_before=$(daemon_pids)
kill -9 "$sup"
check "up adopts after the supervisor died" up
is "the daemons run on as the same processes" "$pids_before" daemon_pids

touch "$work/stop"
wait $connection
check "the established connection never broke" grep -q "requests on one connection" "$work/conn"
is "no new connection was lost" "" cat "$work/new"
check "writes went on" test "$(wc -l <"$work/acked")" -gt 50
check "API is back" eventually 30 K get --raw /readyz
K get configmaps -o name | sed 's,configmap/,,' | sort >"$work/stored"
is "no acknowledged write is lost ($(wc -l <"$work/acked") writes)" "" bash -c "sort '$work/acked' | comm -23 - '$work/stored'"
is "no pod was disturbed" "$pods_before" bash -c "$(declare -f K in_node); bin='$bin' state='$state' kubectl='$kubectl'; K get pods -l app=hello -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}' | sort"
check "the cluster still works: scale" K scale deployment hello --replicas=4
check "scaled" K rollout status deployment/hello --timeout=60s
finish
