#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cni.sh [ROUNDS]: median milliseconds of ADD and DEL of keelson-cni and of the bridge plugin with host-local (Debian's
# containernetworking-plugins), in turn, in the same run, each for its own bridge in one namespace that plays the node.
# Prints one line an operation: "cni_add_ms KEELSON BRIDGE RATIO". Environment: B (build directory).
set -eu
cd "$(dirname "$0")/../.."
rounds=${1:-40}
plugin=$PWD/${B:-build}/bin/keelson-cni
bridge=/usr/lib/cni/bridge
node=kt-cni-bench-$$
dir=$(mktemp -d "/tmp/cni-bench-XXXXXX")

[ -x "$plugin" ] || { echo "$plugin is not built" >&2; exit 1; }
[ -x "$bridge" ] || { echo "$bridge is not installed" >&2; exit 1; }
cleanup() {
	for i in $(seq 1 "$rounds"); do ip netns del "$node-k$i" 2>/dev/null || :; ip netns del "$node-b$i" 2>/dev/null || :; done
	ip netns del "$node" 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT
${CC:-cc} -O2 -D_GNU_SOURCE -o "$dir/spawn_time" tests/bench/spawn_time.c
ip netns add "$node"
ip -n "$node" link set lo up
for i in $(seq 1 "$rounds"); do
	ip netns add "$node-k$i"
	ip netns add "$node-b$i"
done

cat >"$dir/keelson.conf" <<CONF
{"cniVersion":"0.4.0","name":"keelson","type":"keelson-cni","bridge":"kl0","isGateway":true,"hairpinMode":true,"ipMasq":true,
"clusterCIDR":"10.244.0.0/16","ipam":{"subnet":"10.244.0.0/24"},"dataDir":"$dir/keelson"}
CONF
cat >"$dir/bridge.conf" <<CONF
{"cniVersion":"0.4.0","name":"peer","type":"bridge","bridge":"cni0","isGateway":true,"isDefaultGateway":true,"hairpinMode":true,
"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.245.0.0/24","dataDir":"$dir/host-local"}}
CONF

cat >"$dir/loop.sh" <<'LOOP'
run() { # COMMAND PLUGIN CONF NETNS FILE
	CNI_COMMAND=$1 CNI_CONTAINERID=$4 CNI_NETNS=/run/netns/$4 CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni \
		"$dir/spawn_time" "$3" "$dir/out" "$2" >>"$dir/$5" || { cat "$dir/out" >&2; exit 1; }
	# The kernel finishes what the one left (removed devices, rule sets) before the other is measured.
	sleep 0.05
}
for command in ADD DEL; do
	for i in $(seq 1 "$rounds"); do
		run $command "$plugin" "$dir/keelson.conf" "$node-k$i" keelson.$command
		run $command "$bridge" "$dir/bridge.conf" "$node-b$i" bridge.$command
	done
done
LOOP
export rounds plugin bridge node dir
nsenter --net="/run/netns/$node" bash "$dir/loop.sh"

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] / 1000 }'; }
for command in ADD DEL; do
	k=$(median "$dir/keelson.$command")
	b=$(median "$dir/bridge.$command")
	awk -v n="cni_$(tr A-Z a-z <<<$command)_ms" -v k="$k" -v b="$b" 'BEGIN { printf "%s %.2f %.2f %.3f\n", n, k, b, k / b }'
done
