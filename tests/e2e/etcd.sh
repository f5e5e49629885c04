#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# keelson up --store etcd: a lab of two nodes whose store is an etcd that the supervisor looks after, and a node on an etcd of
# somebody else's. kill -9 of etcd and of the API server under load loses no acknowledged write.
. "$(dirname "$0")/lib.sh"

if ! command -v etcd >/dev/null || ! command -v etcdctl >/dev/null; then
	ok "skipped: etcd is not installed"
	finish
fi
theirs=$work/t
etcd_pid=
cleanup_more() {
	[ ! -e "$theirs/cluster.json" ] || "$bin/keelson" down --state "$theirs" --purge >/dev/null 2>&1
	[ -z "$etcd_pid" ] || { kill "$etcd_pid"; wait "$etcd_pid"; } 2>/dev/null
}
pid_of() { "$bin/keelson" status --state "$state" --json | jq -r "[.[] | select(.name == \"$1\")][0].pid"; }
back() { "$bin/keelson" status --state "$state" --json | jq -e "[.[] | select(.name == \"$1\")][0] | .healthy and .pid != $2"; }
etcd_as() { # CA CERT ARGUMENT...: etcdctl with these names of certificates in pki/
	local ca=$1 cert=$2; shift 2
	in_node env ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert "$state/pki/$ca.crt" --cert "$state/pki/$cert.crt" \
		--key "$state/pki/$cert.key" --command-timeout 5s "$@"
}
residue() {
	find /sys/fs/cgroup -type d -name "keelson-$netns*" 2>/dev/null
	grep -F "$work" /proc/self/mounts
	ls /run/netns | grep -F "$netns" | grep -v "^$netns-out$"
	pgrep -af -- "$state" | grep -vE "$$|tests/e2e|pgrep"
	ls -d "$state"
}

says "without etcd's program the package is named" "etcd is missing; install it: apt-get install etcd-server" \
	unshare -m bash -c 'for p in /usr/bin /usr/local/bin; do [ ! -e $p/etcd ] || mount --bind /dev/null $p/etcd; done; exec "$@"' - \
	"$bin/keelson" up --netns "$netns" --state "$state" --store etcd
test ! -e "$state/cluster.json" || "$bin/keelson" down --state "$state" --purge
says "a store it does not know" "neither embedded nor etcd" up --store zookeeper
says "an etcd without the store" "goes with --store etcd" up --etcd-servers https://127.0.0.1:2379

check "two nodes, their store in an etcd" up --nodes 2 --store etcd || exit 1
says "status shows it" "etcd +[0-9]+ .* ok" "$bin/keelson" status --state "$state"
is "one etcd for both" 1 bash -c "'$bin/keelson' status --state '$state' --json | jq '[.[] | select(.name == \"etcd\")] | length'"
check "up again changes nothing" matches "nothing changed" up --nodes 2 --store etcd
says "another store is refused" "has --store etcd, not embedded" up --nodes 2 --store embedded
check "a Deployment" K apply -f "$root/examples/hello/hello.yaml"
check "is rolled out" K rollout status deployment/hello --timeout=90s
says "its objects are in etcd" "^/registry/deployments/default/hello$" etcd_as etcd-ca apiserver-etcd-client get --prefix --keys-only /registry/deployments/
refuses "the cluster's own certificates do not open etcd" etcd_as etcd-ca admin get /registry/secrets --prefix
refuses "and none does not either" in_node curl -sf --max-time 5 --noproxy '*' --cacert "$state/pki/etcd-ca.crt" https://127.0.0.1:2379/version
is "it listens on loopback only" "" bash -c "'$bin/keelson' exec --state '$state' -- ss -Hltn | awk '\$4 ~ /:23(79|80|81)\$/ && \$4 !~ /^127\\.0\\.0\\.1:/'"

# A name is noted once the API server has acknowledged it.
: >"$work/acked"
for writer in a b c; do
	in_node env work="$work" w=$writer state="$state" bash -c '
		i=0; while [ ! -e "$work/stop" ]; do
			i=$((i + 1))
			code=$(curl -s -o /dev/null -w "%{http_code}" --max-time 20 --noproxy "*" --cacert "$state/pki/ca.crt" \
				--cert "$state/pki/admin.crt" --key "$state/pki/admin.key" -H "Content-Type: application/json" \
				-d "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"w$w$i\"},\"data\":{\"i\":\"$i\"}}" \
				https://127.0.0.1:6443/api/v1/namespaces/default/configmaps)
			[ "$code" = 201 ] && echo "w$w$i" >>"$work/acked"
		done' &
	background+=($!)
done
more() { [ "$(wc -l <"$work/acked")" -gt $(($1 + 20)) ]; }
for victim in etcd apiserver etcd apiserver; do
	before=$(wc -l <"$work/acked")
	old=$(pid_of $victim)
	kill -9 "$old"
	check "$victim comes back after kill -9" eventually 30 back $victim "$old"
	check "and writing goes on" eventually 30 more "$before"
done
old=$(pid_of etcd)
kill -9 "$(pid_of supervisor)"
check "up adopts after the supervisor died" up --nodes 2 --store etcd
is "etcd runs on as the same process" "$old" pid_of etcd
touch "$work/stop"
wait "${background[@]}"; background=()
K get configmaps -o name | sed 's,configmap/,,' | sort >"$work/stored"
is "no acknowledged write is lost ($(wc -l <"$work/acked") writes)" "" bash -c "sort '$work/acked' | comm -23 - '$work/stored'"
check "the log of etcd" test -e "$state/logs/etcd.log"
check "the cluster still works: scale" K scale deployment hello --replicas=3
check "scaled" K rollout status deployment/hello --timeout=60s

check "down keeps the data" "$bin/keelson" down --state "$state"
check "up again on it" up --nodes 2 --store etcd
says "with everything there" "hello +[0-9]+/3" K get deployment hello
mkdir "$work/pki"
cp "$state"/pki/etcd* "$state"/pki/apiserver-etcd-client.* "$work/pki"
check "down for good" "$bin/keelson" down --state "$state" --purge
is "nothing is left behind" "" eval 'residue 2>/dev/null'

# Somebody else's etcd, in a namespace that was there before.
ip netns add "$netns-out"
ip -n "$netns-out" link set lo up
nsenter --net="/run/netns/$netns-out" etcd --data-dir "$work/theirs-data" --listen-client-urls https://127.0.0.1:2379 \
	--advertise-client-urls https://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --client-cert-auth \
	--trusted-ca-file "$work/pki/etcd-ca.crt" --cert-file "$work/pki/etcd.crt" --key-file "$work/pki/etcd.key" >"$work/theirs.log" 2>&1 &
etcd_pid=$!
check "a node on somebody else's etcd" "$bin/keelson" up --netns "$netns-out" --state "$theirs" --store etcd --etcd-servers \
	https://127.0.0.1:2379 --etcd-ca "$work/pki/etcd-ca.crt" --etcd-cert "$work/pki/apiserver-etcd-client.crt" --etcd-key \
	"$work/pki/apiserver-etcd-client.key" --etcd-prefix /mine $(for i in "$images"/pause.tar; do echo --image "$i"; done)
refuses "runs no etcd itself" bash -c "'$bin/keelson' status --state '$theirs' --json | jq -e '.[] | select(.name == \"etcd\")'"
theirs_has() { nsenter --net="/run/netns/$netns-out" env ETCDCTL_API=3 etcdctl --cacert "$work/pki/etcd-ca.crt" --cert "$work/pki/etcd.crt" --key \
	"$work/pki/etcd.key" --endpoints https://127.0.0.1:2379 get --prefix --keys-only "$@"; }
says "and keeps its objects there" "^/mine/namespaces/default$" theirs_has /mine/namespaces/
check "down" "$bin/keelson" down --state "$theirs" --purge
says "their data is theirs" "^/mine/namespaces/default$" theirs_has /mine/namespaces/
finish
