#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# keelson down leaves no residue: every kind of thing a node makes is listed before and after, on the host and in a
# namespace that was there before. And down works after every daemon, the supervisor included, was killed.
. "$(dirname "$0")/lib.sh"

# One line for each thing that could be left behind by this cluster (others may run beside it).
inventory() {
	nsenter --net="/run/netns/$netns" sh -c '
		ip -o link | cut -d" " -f2 | cut -d@ -f1 | sed "s/^/link /"
		ip -o addr | awk "{ print \"address\", \$2, \$4 }"
		ip route show table all | grep -v "^\(fe80\|ff00\|multicast\|anycast\)" | sed "s/^/route /"
		ip rule | sed "s/^/rule /"
		for l in $(ls /sys/class/net 2>/dev/null); do tc qdisc show dev $l; done | sed "s/^/qdisc /"
		nft list ruleset | sed "s/^/nft /"
		sed "s/^/forward /" /proc/sys/net/ipv4/ip_forward' 2>/dev/null
	find /sys/fs/cgroup -type d -name "keelson-$netns*" 2>/dev/null | sed 's/^/cgroup /'
	grep -F "$work" /proc/self/mounts | sed 's/^/mount /'
	ls /run/netns | grep -F "$netns" | sed 's/^/netns /'
	pgrep -af -- "$work" | grep -vE "$$|tests/e2e|pgrep" | sed 's/^/process /'
	bpf_objects
}
# Programs and maps have no owner's name; ours are recognized by their names.
bpf_objects() {
	local tool; tool=$(command -v /usr/sbin/bpftool || command -v bpftool) || return
	"$tool" -j link show 2>/dev/null | jq -r '.[] | "bpflink \(.id)"' | sort
}

ip netns add "$netns"
ip -n "$netns" link set lo up
ip -n "$netns" addr add 198.18.7.1/32 dev lo
inventory | sort >"$work/before"

check "up in a namespace that is there already" up
check "the demo runs" K apply -f "$root/examples/hello/hello.yaml"
check "its pods run" K wait --for=condition=Available deployment/hello --timeout=90s
inventory | sort >"$work/during"
check "the inventory sees a cluster" test "$(wc -l <"$work/during")" -gt "$(($(wc -l <"$work/before") + 10))"
check "down" "$bin/keelson" down --state "$state" --purge
inventory | sort >"$work/after"
is "nothing is left behind" "" diff "$work/before" "$work/after"
check "the state directory is gone" test ! -e "$state"

check "up once more" up
check "the demo runs again" K apply -f "$root/examples/hello/hello.yaml"
check "its pods run again" K wait --for=condition=Available deployment/hello --timeout=90s
for p in $("$bin/keelson" status --state "$state" --json | jq -r 'sort_by(.name != "supervisor")[].pid'); do kill -9 "$p"; done
check "down after everything was killed" "$bin/keelson" down --state "$state" --purge
inventory | sort >"$work/after"
is "nothing is left behind then either" "" diff "$work/before" "$work/after"
ip netns del "$netns"

check "up in a namespace of its own making" up
check "down without --purge keeps the data" "$bin/keelson" down --state "$state"
check "the store is kept" test -d "$state/store"
check "its namespace is gone" test ! -e "/run/netns/$netns"
check "up again on the kept data" up
says "the node is the same" "$netns +Ready" K get nodes
check "down at last" "$bin/keelson" down --state "$state" --purge
finish
