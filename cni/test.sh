#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The real plugin in namespaces of its own: one plays the node, one the world outside, the others are pods. Prints "ok" or
# "not ok" for each assertion. Environment: B (build directory), KILLS (rounds of kill -9, default 60).
set -u
cd "$(dirname "$0")/.." || exit 2
[ "$(id -u)" = 0 ] || { echo "not ok - needs root"; exit 1; }
plugin=$PWD/${B:-build}/bin/keelson-cni tool=$PWD/${B:-build}/bench/nettool
[ -x "$plugin" ] || { echo "not ok - $plugin is not built"; exit 1; }
id=kt-cni-$$
node=$id-node
dir=$(mktemp -d /tmp/cni-test-XXXXXX)
state=$dir/state/keelson
failed=0 servers=()

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
	kill "${servers[@]}" 2>/dev/null
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
same "VERSION" '["0.3.1","0.4.0","1.0.0","1.1.0"]' "$(cni VERSION a '{"cniVersion":"1.0.0"}' | jq -c .supportedVersions)"

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
refused "an unknown version" 1 'cniVersion "2.0.0" is not supported, only 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are' cni ADD x "$(conf '.cniVersion="2.0.0"')"
refused "a bad CIDR" 7 'ipam.subnet: "10.244.0.0" is not a CIDR such as 10.244.0.0/24' cni ADD x "$(conf '.ipam.subnet="10.244.0.0"')"
refused "a subnet too small" 7 "ipam.subnet: a /31 has no room for a gateway and a pod, a /30 is the smallest" cni ADD x "$(conf '.ipam.subnet="10.244.0.0/31"')"
refused "a name with a slash" 7 "name \"../x\" is not a network name: letters, digits, '_', '.', '-' only, the first a letter or digit, at most 180" \
	cni ADD x "$(conf '.name="../x"')"
IFNAME=sixteen-letters1 refused "an interface name too long" 4 'CNI_IFNAME "sixteen-letters1" is longer than 15 characters' cni ADD x
refused "a container id with a slash" 4 "invalid characters in CNI_CONTAINERID: a/b" cni ADD a/b
refused "an unknown command" 4 "unknown CNI_COMMAND: NEW" cni NEW a
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
same "the pod has lost its interface" lo "$(for i in $(seq 200); do in_pod a ip -o link | grep -qv ' lo:' || break; sleep 0.05; done; in_pod a ip -j link | jq -r '[.[].ifname] | join(" ")')"
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
for i in $(seq 400); do in_node ip link show "$(cut -d: -f2 <<<"$lost")" >/dev/null 2>&1 || break; sleep 0.05; done
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

# Two families.
dual=$(conf '.name="dual" | .bridge="kl6" | .clusterCIDR="10.244.0.0/16,fd00:244::/48" | .ipam={"subnets":["fd00:244:0:7::/64","10.244.7.0/24"]}')
ip -n "$node" addr add 2001:db8::1/64 dev uplink nodad
ip -n "$id-world" addr add 2001:db8::2/64 dev eth0 nodad
ip -n "$node" -6 route add default via 2001:db8::2
pod d1; pod d2
d1=$(cni ADD d1 "$dual"); d2=$(cni ADD d2 "$dual")
same "two families: addresses in the order of the subnets" "fd00:244:0:7::2/64 fd00:244:0:7::1 10.244.7.2/24 10.244.7.1" \
	"$(jq -r '[.ips[] | .address, .gateway] | join(" ")' <<<"$d1")"
same "routes of both" "::/0 0.0.0.0/0" "$(jq -r '[.routes[].dst] | join(" ")' <<<"$d1")"
same "the addresses are ready at once" 0 "$(in_pod d1 ip -6 -o addr show dev eth0 scope global | grep -c tentative)"
same "old shapes say which is which" "6 4" "$(pod d3; cni ADD d3 "$(jq -c '.cniVersion="0.4.0"' <<<"$dual")" | jq -r '[.ips[].version] | join(" ")')"
cni DEL d3 "$dual"
check "a pod reaches a pod over IPv6" in_pod d1 busybox ping -6 -c 1 -W 2 fd00:244:0:7::3
check "the node reaches it" in_node busybox ping -6 -c 1 -W 2 fd00:244:0:7::2
check "it reaches the world, masqueraded" in_pod d1 busybox ping -6 -c 1 -W 2 2001:db8::2
check "over IPv4 as well" in_pod d1 busybox ping -c 1 -W 2 198.51.100.2
same "two rules" 2 "$(in_node nft list table inet keelson | grep -c 'comment "keelson-cni dual ')"
same "a pod listens to nobody's router advertisements" 0 "$(in_pod d1 cat /proc/sys/net/ipv6/conf/eth0/accept_ra)"
check "CHECK" cni CHECK d1 "$(jq -c --argjson r "$d1" '.prevResult=$r' <<<"$dual")"
in_pod d1 ip -6 addr del fd00:244:0:7::2/64 dev eth0
refused "CHECK sees a missing IPv6 address" 101 "the interface eth0 does not have the address fd00:244:0:7::2/64" \
	cni CHECK d1 "$(jq -c --argjson r "$d1" '.prevResult=$r' <<<"$dual")"
cni DEL d1 "$dual"; cni DEL d2 "$dual"
settled 0 0 "both addresses are given back"

# Host ports, by real connections. A pod answers with the port it was asked on and the address that it sees.
cat >"$dir/answer" <<'A'
#!/bin/sh
i=$(readlink /proc/self/fd/0)
i=${i#socket:[}
ss -Htne | awk -v i="ino:${i%]}" '{ for (n = 5; n <= NF; n++) if ($n == i) { sub(/:[0-9]+$/, "", $5); gsub(/[][]|::ffff:/, "", $5); print $5 } }'
A
chmod +x "$dir/answer"
serve() { # POD PORT
	nsenter --net="/run/netns/$id-$1" busybox nc -ll -p "$2" -e "$dir/answer" >/dev/null 2>&1 &
	servers+=($!)
	for _ in $(seq 100); do in_pod "$1" ss -Htln | grep -q ":$2 " && break; sleep 0.02; done
}
ask() { local ns=$id-$1; shift; nsenter --net="/run/netns/$ns" timeout 8 busybox nc -w 6 "$@" </dev/null 2>/dev/null; } # WHERE ADDRESS PORT
with_ports() { jq -c --argjson p "$1" '.runtimeConfig.portMappings=$p' <<<"$dual"; }
elements() { in_node nft -j list table inet keelson 2>/dev/null | jq '[.nftables[].map? | select(. and (.name | startswith("hostports"))) | .elem // [] | length] | add // 0'; }
world4=198.51.100.2 world6=2001:db8::2 ports1='[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]'
pod h1; pod h2; pod h3
h1=$(cni ADD h1 "$(with_ports "$ports1")")
h1_6=$(jq -r '.ips[0].address | sub("/.*";"")' <<<"$h1") h1_4=$(jq -r '.ips[1].address | sub("/.*";"")' <<<"$h1")
cni ADD h2 "$dual" >/dev/null
h2_4=$(in_pod h2 ip -j -4 addr show eth0 | jq -r '.[0].addr_info[0].local')
serve h1 80
same "hostPort from outside, the client's address kept" "$world4 $world6" "$(ask world 198.51.100.1 8080) $(ask world 2001:db8::1 8080)"
same "from the node to its addresses" "198.51.100.1 2001:db8::1" "$(ask node 198.51.100.1 8080) $(ask node 2001:db8::1 8080)"
same "to its loopback" "10.244.7.1" "$(ask node 127.0.0.1 8080)"
same "from another pod" "10.244.7.1 fd00:244:0:7::1" "$(ask h2 198.51.100.1 8080) $(ask h2 2001:db8::1 8080)"
same "from the pod itself" "10.244.7.1 fd00:244:0:7::1" "$(ask h1 198.51.100.1 8080) $(ask h1 2001:db8::1 8080)"
same "by the gateway's address" "10.244.7.1" "$(ask h2 10.244.7.1 8080)"
same "a port that nobody has is refused" "" "$(ask world 198.51.100.1 8081)"
same "the pod itself is reached as ever" "10.244.7.1 $h2_4" "$(ask node "$h1_4" 80) $(ask h2 "$h1_4" 80)"
check "CHECK" cni CHECK h1 "$(with_ports "$ports1" | jq -c --argjson r "$h1" '.prevResult=$r')"
refused "a port that is taken" 11 "the host port 8080/tcp is another pod's already (dual h1 eth0)" cni ADD h3 "$(with_ports "$ports1")"
same "a pod that was refused has nothing" "lo" "$(in_pod h3 ip -j link | jq -r '[.[].ifname] | join(" ")')"
same "and has taken nothing away" "$world4" "$(ask world 198.51.100.1 8080)"
# One number, told apart by address and protocol.
ip -n "$node" addr add 198.51.100.9/24 dev uplink
cni ADD h3 "$(with_ports '[{"hostPort":8080,"containerPort":81,"protocol":"tcp","hostIP":"198.51.100.9"},{"hostPort":8080,"containerPort":82,"protocol":"udp"},
	{"hostPort":8080,"containerPort":83,"protocol":"sctp"}]')" >/dev/null && ok "one number for another address and other protocols" ||
	not_ok "one number for another address and other protocols"
serve h3 81
h3_4=$(in_pod h3 ip -j -4 addr show eth0 | jq -r '.[0].addr_info[0].local')
same "the more specific has it" "$world4 $h3_4" "$(ask world 198.51.100.9 8080) $(in_node nft list map inet keelson hostports4 | sed -n 's/.*198.51.100.9 . tcp . 8080[^:]*: \([^ ]*\) .*/\1/p')"
same "the rest are as they were" "$world4" "$(ask world 198.51.100.1 8080)"
nsenter --net="/run/netns/$id-h3" "$tool" serve h3 82 >/dev/null 2>&1 & servers+=($!)
for _ in $(seq 100); do in_pod h3 ss -Hulnp | grep -q ":82 " && break; sleep 0.02; done
same "UDP" "h3 $world4" "$(in_pod world "$tool" who udp 198.51.100.1 8080 | sed 's/:[0-9]* .*//')"
nsenter --net="/run/netns/$node" busybox nc -ll -p 9999 -e echo secret >/dev/null 2>&1 & servers+=($!)
in_pod h2 ip route add 127.0.0.5/32 via 10.244.7.1 2>/dev/null
in_pod h2 sh -c 'echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; ip route del local 127.0.0.0/8 table local' 2>/dev/null
in_pod h2 ip route add 127.0.0.1/32 via 10.244.7.1 src "$h2_4" 2>/dev/null
in_pod h2 ip route del local 127.0.0.1 table local 2>/dev/null
same "a pod does not reach the node's loopback by it" "" "$(ask h2 127.0.0.1 9999)"
cni DEL h3 "$dual"
same "DEL takes its ports" 2 "$(elements)"
# A pod that vanished without DEL: its port is free as soon as its lease is gone.
in_node sh -c "ip netns del $id-h1 2>/dev/null; true"; ip netns del "$id-h1" 2>/dev/null
find "$dir/state/dual" -name '*:h1' -delete
pod h4
check "the port of a pod that vanished is free" cni ADD h4 "$(with_ports "$ports1")"
cni ADD h3 "$dual" >/dev/null
in_node nft flush map inet keelson hostports4any
refused "CHECK sees a missing port" 101 "the host port 8080/tcp does not lead to the container" \
	cni CHECK h4 "$(with_ports "$ports1" | jq -c '.prevResult={"cniVersion":"1.0.0","ips":[{"address":"'"$(in_pod h4 ip -j -6 addr show eth0 scope global | jq -r '.[0].addr_info[0].local')"'/64"},{"address":"'"$(in_pod h4 ip -j -4 addr show eth0 | jq -r '.[0].addr_info[0].local')"'/24"}]}')"

# GC and STATUS.
gc() { CNI_COMMAND=GC CNI_PATH=/nowhere in_node "$plugin" <<<"$1"; }
status() { CNI_COMMAND=STATUS CNI_PATH=/nowhere in_node "$plugin" <<<"$1"; }
dual11=$(jq -c '.cniVersion="1.1.0"' <<<"$dual")
check "STATUS" status "$dual11"
refused "STATUS before 1.1.0" 1 "STATUS is not part of CNI version 1.0.0" status "$dual"
refused "STATUS of a bridge that is none" 50 'bridge "uplink" is a link that exists and is not a bridge' status "$(jq -c '.bridge="uplink"' <<<"$dual11")"
refused "GC without a list" 7 "cni.dev/valid-attachments is missing, GC needs it" gc "$dual11"
refused "GC with a list that is not understood" 7 "cni.dev/valid-attachments must be a list of objects with containerID and ifname" \
	gc "$(jq -c '."cni.dev/valid-attachments"=["h2"]' <<<"$dual11")"
in_node ip link add kl00c0ffee type veth peer name kl0other netns "$id-world"
in_node ip link set kl00c0ffee master kl6
check "GC" gc "$(jq -c '."cni.dev/valid-attachments"=[{"containerID":"h2","ifname":"eth0"}]' <<<"$dual11")"
same "leaves whom the list names" "2 1" "$(leases=$(find "$dir/state/dual" -name '*:*' | wc -l); echo "$leases $(in_node ip -o link show master kl6 | wc -l)")"
same "and nobody's ports" 0 "$(elements)"
check "STATUS says when there is room" status "$(jq -c '.name="tiny" | .ipam={"subnet":"10.244.8.0/30"}' <<<"$dual11")"
pod t1
cni ADD t1 "$(conf '.name="tiny" | .bridge="kl6" | .ipam.subnet="10.244.8.0/30"')" >/dev/null
refused "and when there is none" 50 "no free address: all 1 of the subnet are in use" status "$(jq -c '.name="tiny" | .ipam={"subnet":"10.244.8.0/30"}' <<<"$dual11")"
cni DEL t1 "$(conf '.name="tiny" | .ipam.subnet="10.244.8.0/30"')"
cni DEL h2 "$dual"
settled 0 0
kill "${servers[@]}" 2>/dev/null

# Bandwidth.
limit='.runtimeConfig.bandwidth={"ingressRate":8000000,"ingressBurst":4294967295,"egressRate":16000000,"egressBurst":800000}'
pod w
w=$(cni ADD w "$(conf "$limit")")
veth=$(jq -r '.interfaces[1].name' <<<"$w")
qdisc() { jq -r '.[] | select(.root) | [.kind, .options.rate, .options.burst] | join(" ")'; }
same "into the pod: a bucket of a second at most" "tbf 1000000 1000000" "$(in_node tc -j qdisc show dev "$veth" | qdisc)"
same "out of the pod" "tbf 2000000 100000" "$(in_pod w tc -j qdisc show dev eth0 | qdisc)"
check "packets pass" in_pod w busybox ping -c 1 -W 2 10.244.0.1
check "CHECK" cni CHECK w "$(conf "$limit | .prevResult=$w")"
in_pod w tc qdisc del dev eth0 root
refused "CHECK sees that the limit is gone" 101 "the bandwidth out of the container is not limited" cni CHECK w "$(conf "$limit | .prevResult=$w")"
cni DEL w
pod w2
same "a pod without limits has no bucket" "" "$(cni ADD w2 >/dev/null; in_pod w2 tc qdisc show dev eth0 | grep tbf)"
cni DEL w2
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
