#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The real plugin in namespaces of its own: one plays the node, one the world outside, the others are pods. Prints "ok" or
# "not ok" for each assertion. Environment: B (build directory), KILLS (rounds of kill -9, default 60).
set -u
cd "$(dirname "$0")/.." || exit 2
[ "$(id -u)" = 0 ] || { echo "not ok - needs root"; exit 1; }
plugin=$PWD/${B:-build}/bin/keelson-cni
[ -x "$plugin" ] || { echo "not ok - $plugin is not built"; exit 1; }
id=kt-cni-$$
node=$id-node
dir=$(mktemp -d /tmp/cni-test-XXXXXX)
state=$dir/state/keelson
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; [ $# -gt 1 ] && printf '  %s\n' "${@:2}"; failed=1; }
check() { # TEXT COMMAND...
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then ok "$text"; else not_ok "$text" "$* gave:" "$out"; fi
}
same() { # TEXT WANTED GOT
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2" "got:    $3"; fi
}
cleanup() {
	ip netns list | awk -v id="$id-" 'index($1, id) == 1 { print $1 }' | while read -r ns; do ip netns del "$ns"; done
	rm -rf "$dir"
}
trap cleanup EXIT

conf() { # [JQ FILTER]
	jq -c "${1:-.}" <<CONF
{"cniVersion":"1.0.0","name":"keelson","type":"keelson-cni","bridge":"kl0","mtu":0,"isGateway":true,"hairpinMode":true,
"ipMasq":true,"clusterCIDR":"10.244.0.0/16","serviceCIDR":"10.96.0.0/12","ipam":{"subnet":"10.244.0.0/24"},
"dataDir":"$dir/state"}
CONF
}
in_node() { nsenter --net="/run/netns/$node" "$@"; }
in_pod() { local ns=$id-$1; shift; nsenter --net="/run/netns/$ns" "$@"; }
default_conf=$(conf)
cni() { # COMMAND CONTAINER [CONF [NETNS]]
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=${4-/run/netns/$id-$2} CNI_IFNAME=${IFNAME-eth0} CNI_PATH=/nowhere \
		in_node "$plugin" <<<"${3:-$default_conf}"
}
pod() { ip netns add "$id-$1"; }
address() { jq -r '.ips[0].address'; }
veths() { in_node ip -o link show type veth | grep -c ' kl' || :; }
leases() { find "$state" -name '*:*' 2>/dev/null | wc -l; }
# DEL lets the kernel finish in the background.
settled() { # VETHS LEASES
	local i
	for i in $(seq 100); do
		[ "$(veths)" = "$1" ] && break
		sleep 0.05
	done
	same "${3:-nothing is left}" "$1 veths, $2 leases" "$(veths) veths, $(leases) leases"
}
refused() { # TEXT CODE MESSAGE COMMAND...
	local out text=$1 want
	want=$(jq -nc --argjson code "$2" --arg msg "$3" '{code:$code,msg:$msg}')
	shift 3
	if out=$("$@"); then not_ok "$text" "it succeeded: $out"; return; fi
	same "$text" "$want" "$(jq -c '{code,msg}' <<<"$out" 2>&1)"
}

ip netns add "$node"
ip netns add "$id-world"
ip -n "$node" link set lo up
ip link add "kt$$w" netns "$node" type veth peer name eth0 netns "$id-world"
ip -n "$node" link set "kt$$w" name uplink
ip -n "$node" link set uplink mtu 1400 up
ip -n "$node" addr add 198.51.100.1/24 dev uplink
ip -n "$id-world" addr add 198.51.100.2/24 dev eth0
ip -n "$id-world" link set eth0 mtu 1400 up
ip -n "$node" route add default via 198.51.100.2

# Two pods.
pod a; pod b
a=$(cni ADD a); b=$(cni ADD b)
same "the first pod gets the first address" 10.244.0.2/24 "$(address <<<"$a")"
same "the second the second" 10.244.0.3/24 "$(address <<<"$b")"
same "the result names bridge, host's end and interface" "kl0 true eth0 /run/netns/$id-a 2 10.244.0.1" \
	"$(jq -r '[.interfaces[0].name, (.interfaces[1].name | test("^kl[0-9a-f]{8}$")), .interfaces[2].name, .interfaces[2].sandbox, .ips[0].interface, .ips[0].gateway] | join(" ")' <<<"$a")"
same "the result has the interface's link address" "$(in_pod a ip -j link show eth0 | jq -r '.[0].address')" \
	"$(jq -r '.interfaces[2].mac' <<<"$a")"
same "the MTU is the default route's" 1400 "$(in_pod a ip -j link show eth0 | jq '.[0].mtu')"
same "loopback is up in the pod" true "$(in_pod a ip -j link show lo | jq '.[0].flags | contains(["UP"])')"
check "pod reaches pod" in_pod a busybox ping -c 1 -W 2 10.244.0.3
check "pod reaches the node" in_pod a busybox ping -c 1 -W 2 10.244.0.1
check "the node reaches the pod" in_node busybox ping -c 1 -W 2 10.244.0.2
# The world has no route to the pods: an answer comes back only to the node's address.
check "pod reaches the world, masqueraded" in_pod a busybox ping -c 1 -W 2 198.51.100.2
same "hairpin mode is on at both ports" "true true" \
	"$(in_node ip -d -j link show master kl0 | jq -r '[.[].linkinfo.info_slave_data.hairpin] | join(" ")')"
same "the masquerade rule is there once" 1 "$(in_node nft list table inet keelson | grep -c masquerade)"
same "the node forwards" 1 "$(in_node cat /proc/sys/net/ipv4/ip_forward)"

# Shapes of older versions; CHECK; VERSION.
pod old
same "0.4.0 results carry the address family" "0.4.0 4" \
	"$(cni ADD old "$(conf '.cniVersion="0.4.0"')" | jq -r '[.cniVersion, .ips[0].version] | join(" ")')"
cni DEL old >/dev/null
same "0.3.1 too" "0.3.1 4" "$(cni ADD old "$(conf '.cniVersion="0.3.1"')" | jq -r '[.cniVersion, .ips[0].version] | join(" ")')"
cni DEL old >/dev/null
with_prev=$(conf ".prevResult=$a")
check "CHECK finds all well" cni CHECK a "$with_prev"
refused "CHECK wants prevResult" 7 "prevResult is missing, CHECK needs it" cni CHECK a
refused "CHECK compares it" 101 "prevResult does not name the container's address 10.244.0.3/24" cni CHECK b "$with_prev"
in_pod a ip route del default
refused "CHECK sees a missing route" 101 "the container's default route is not by way of the gateway" cni CHECK a "$with_prev"
in_pod a ip addr del 10.244.0.2/24 dev eth0
refused "CHECK sees a missing address" 101 "the interface eth0 does not have the address 10.244.0.2/24" cni CHECK a "$with_prev"
same "VERSION" '["0.3.1","0.4.0","1.0.0"]' "$(cni VERSION a '{"cniVersion":"1.0.0"}' | jq -c .supportedVersions)"

# In place of the loopback plugin.
lo_conf='{"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"}'
pod lo
same "loopback's ADD" "lo /run/netns/$id-lo 127.0.0.1/8 6" \
	"$(IFNAME=lo cni ADD lo "$lo_conf" | jq -r '[.interfaces[0].name, .interfaces[0].sandbox, .ips[0].address, .ips[1].version] | join(" ")')"
check "sets the interface up" in_pod lo busybox ping -c 1 -W 2 127.0.0.1
IFNAME=lo check "loopback's CHECK" cni CHECK lo "${lo_conf/0.3.1/1.0.0}"
IFNAME=lo check "loopback's DEL" cni DEL lo "$lo_conf"
IFNAME=lo refused "CHECK sees that it is down" 101 "the loopback interface is down in the container" cni CHECK lo "$lo_conf"
IFNAME=lo check "loopback's DEL without a pod" cni DEL lo "$lo_conf" /run/netns/none

# Refusals change nothing.
before="$(veths) $(leases)"
refused "a second ADD" 4 "the container already has an interface named eth0" cni ADD a
refused "a netns that is missing" 3 "open the network namespace /run/netns/$id-none: No such file or directory" cni ADD none
refused "a netns that is none" 3 "enter the network namespace /etc/passwd: it is not one" cni ADD x "" /etc/passwd
mkfifo "$dir/fifo"
refused "a netns that is a FIFO" 3 "enter the network namespace $dir/fifo: it is not one" timeout 10 bash -c "CNI_COMMAND=ADD CNI_CONTAINERID=x \
	CNI_NETNS=$dir/fifo CNI_IFNAME=eth0 nsenter --net=/run/netns/$node $plugin <<<'$default_conf'"
refused "the node's own netns" 4 "CNI_NETNS /run/netns/$node is the node's own network namespace" cni ADD x "" "/run/netns/$node"
refused "no JSON" 6 "network configuration is not JSON: line 1, column 5: '[' or '{' expected near 'hello'" cni ADD x hello
refused "an unknown version" 1 'cniVersion "2.0.0" is not supported, only 0.3.1, 0.4.0 and 1.0.0 are' cni ADD x "$(conf '.cniVersion="2.0.0"')"
refused "a bad CIDR" 7 'ipam.subnet: "10.244.0.0" is not a CIDR such as 10.244.0.0/24' cni ADD x "$(conf '.ipam.subnet="10.244.0.0"')"
refused "a subnet too small" 7 "ipam.subnet: a /31 has no room for a gateway and a pod, a /30 is the smallest" cni ADD x "$(conf '.ipam.subnet="10.244.0.0/31"')"
refused "a name with a slash" 7 "name \"../x\" is not a network name: letters, digits, '_', '.', '-' only, the first a letter or digit, at most 180" \
	cni ADD x "$(conf '.name="../x"')"
IFNAME=sixteen-letters1 refused "an interface name too long" 4 'CNI_IFNAME "sixteen-letters1" is longer than 15 characters' cni ADD x
refused "a container id with a slash" 4 "invalid characters in CNI_CONTAINERID: a/b" cni ADD a/b
refused "an unknown command" 4 "unknown CNI_COMMAND: GC" cni GC a
refused "a missing variable" 4 "required env variables [CNI_NETNS] missing" cni ADD x "" ""
refused "a field of another plugin" 2 "unsupported field in network configuration: vlan: 5" cni ADD x "$(conf '.vlan=5')"
refused "a bridge that is none" 7 'bridge "uplink" is a link that exists and is not a bridge' cni ADD old "$(conf '.bridge="uplink"')"
pod bad
refused "a route that cannot be added" 100 "add the route 192.0.2.0/24 via 10.244.0.9: File exists" \
	cni ADD bad "$(conf '.ipam.routes=[{"dst":"192.0.2.0/24"},{"dst":"192.0.2.0/24","gw":"10.244.0.9"},{"dst":"192.0.2.0/24","gw":"10.244.0.9"}]')"
settled ${before/ *} ${before/* } "what was refused left nothing"
same "nor in the pod" lo "$(in_pod bad ip -j link | jq -r '[.[].ifname] | join(" ")')"
check "a result that nobody reads is undone" bash -c "! CNI_COMMAND=ADD CNI_CONTAINERID=bad CNI_NETNS=/run/netns/$id-bad CNI_IFNAME=eth0 \
	nsenter --net=/run/netns/$node $plugin <<<'$default_conf' >/dev/full"
settled ${before/ *} ${before/* } "and left nothing"

# DEL.
check "DEL" cni DEL a
same "the pod has lost its interface" lo "$(for i in $(seq 50); do in_pod a ip -o link | grep -qv ' lo:' || break; sleep 0.05; done; in_pod a ip -j link | jq -r '[.[].ifname] | join(" ")')"
check "DEL again" cni DEL a
again=$(cni ADD a)
same "a freed address rests, ADD works again at once" 10.244.0 "$(address <<<"$again" | cut -d. -f1-3)"
[ "$(address <<<"$again")" != 10.244.0.2/24 ] && ok "another address this time" || not_ok "another address this time"
cni DEL a >/dev/null; same "DEL and ADD without a pause" 0 "$(cni ADD a >/dev/null; echo $?)"
cni DEL a >/dev/null
ip netns del "$id-b"
check "DEL with a netns that is gone" cni DEL b
check "DEL without netns" cni DEL b "" ""
check "DEL of what never was" cni DEL never
check "DEL without state" cni DEL never "$(conf ".dataDir=\"$dir/nothing\"")"
settled 0 0

# Fifty at once.
for i in $(seq 50); do pod "m$i"; done
for i in $(seq 50); do cni ADD "m$i" >"$dir/m$i" & done
wait
same "fifty ADDs at once give fifty addresses" 50 "$(cat "$dir"/m* | address | sort -u | grep -c '^10\.244\.0\.[0-9]*/24$')"
same "and one rule" 1 "$(in_node nft list table inet keelson | grep -c masquerade)"
for i in $(seq 50); do cni DEL "m$i" & done
wait
settled 0 0 "fifty DELs at once leave nothing"

# A full subnet, and the lease of a pod that vanished without DEL.
small=$(conf '.name="small" | .ipam.subnet="10.244.9.0/29" | .bridge="kl9"')
for i in 1 2 3 4 5; do cni ADD "m$i" "$small" >/dev/null || not_ok "ADD m$i to the small subnet"; done
refused "a full subnet" 11 "no free address: all 5 of the subnet are in use" cni ADD m6 "$small"
lost=$(basename "$(find "$dir/state/small" -name '*:m3')")
ip netns del "$id-m3"
for i in $(seq 100); do in_node ip link show "$(cut -d: -f2 <<<"$lost")" >/dev/null 2>&1 || break; sleep 0.05; done
same "the address of a vanished pod is reclaimed" "${lost%%:*}/29" "$(cni ADD m6 "$small" | address)"
same "each network has its rule" "10.244.0.0/24 10.244.9.0/29" \
	"$(in_node nft list table inet keelson | sed -n 's/.*ip saddr \([^ ]*\) .*masquerade.*/\1/p' | sort | tr '\n' ' ' | sed 's/ $//')"
for i in 1 2 4 5 6; do cni DEL "m$i" "$small"; done
pod wide
cni ADD wide "$(conf '.clusterCIDR="10.0.0.0/8"')" >/dev/null
same "a changed configuration replaces the rule" "10.0.0.0/8" \
	"$(in_node nft list table inet keelson | sed -n 's/.*10.244.0.0\/24 ip daddr != \([^ ]*\) .*masquerade.*/\1/p')"
cni DEL wide
settled 0 0

# Killed anywhere. Each round: an ADD is killed, a DEL of it is killed, another pod comes and stays, the killed pod gets an
# ADD that is not; then nobody shares an address. In the end all go.
pod k
twice=0 stuck=0
for round in $(seq "${KILLS:-60}"); do
	for command in ADD DEL; do
		killed=$(CNI_COMMAND=$command CNI_CONTAINERID=k CNI_NETNS=/run/netns/$id-k CNI_IFNAME=eth0 in_node \
			timeout -s KILL "$(printf 0.00%04d $((RANDOM % 6000)))" "$plugin" <<<"$default_conf" 2>&1)
	done
	m=m$((round % 20 + 10))
	cni ADD $m >/dev/null 2>&1 || cni DEL $m >/dev/null
	[ $((round % 2)) = 0 ] && continue # and the next round meets the remains
	cni DEL k >/dev/null || stuck=$((stuck + 1))
	cni ADD k >"$dir/k" || { stuck=$((stuck + 1)); cat "$dir/k"; }
	addresses=$(for p in k $(seq -f m%.0f 10 29); do in_pod "$p" ip -o -4 addr show dev eth0 2>/dev/null; done | awk '{ print $4 }')
	[ "$(sort <<<"$addresses" | uniq -d | wc -l)" = 0 ] || twice=$((twice + 1))
	[ "$(find "$state" -name '*:*' -printf '%f\n' | cut -d: -f1 | sort | uniq -d | wc -l)" = 0 ] || twice=$((twice + 1))
done
same "kill -9 gives no address twice" 0 $twice
same "and leaves no pod stuck" 0 $stuck
for p in k $(seq -f m%.0f 10 29); do cni DEL "$p" >/dev/null || not_ok "DEL $p"; done
settled 0 0 "and leaks nothing"
exit $failed
