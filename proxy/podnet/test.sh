#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The pod network between three nodes: a and b on one segment, c on another, a router between. Nodes and pods are network
# namespaces; each node has a proxy of its own, all read the same manifests; pods are made by the real plugin.
# Prints "ok" or "not ok" for each assertion. Environment: B (build directory), PINGS (in a flood, default 600).
set -u
cd "$(dirname "$0")/../.." || exit 2
[ "$(id -u)" = 0 ] || { echo "not ok - needs root"; exit 1; }
B=${1:-${B:-build}}
PROXY=$(readlink -f "$B/bin/keelson-proxy") PLUGIN=$(readlink -f "$B/bin/keelson-cni")
ID=kt-podnet-$$
DIR=$(mktemp -d /tmp/podnet-test.XXXXXX)
CG2=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts)
failed=0
declare -A proxy addr=([a]=192.0.2.1 [b]=192.0.2.2 [c]=198.51.100.3) num=([a]=1 [b]=2 [c]=3)
declare -A addr6=([a]=2001:db8:1::1 [b]=2001:db8:1::2 [c]=2001:db8:2::3)
servers=()

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; shift; printf '  %s\n' "$@"; failed=1; }
same() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: ${2//$'\n'/ | }" "got:    ${3//$'\n'/ | }"; fi; }
in_ns() { local ns=$ID-$1; shift; nsenter --net="/run/netns/$ns" "$@"; }
ip_in() { local ns=$ID-$1; shift; ip -n "$ns" "$@"; }
cleanup() {
	for p in "${proxy[@]}" "${servers[@]}"; do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	umount "$DIR/bpf" 2>/dev/null
	ip netns list | awk -v id="$ID-" 'index($1, id) == 1 { print $1 }' | while read -r ns; do ip netns del "$ns"; done
	rmdir "$CG2/$ID"/* "$CG2/$ID" 2>/dev/null
	rm -rf "$DIR"
}
trap cleanup EXIT
# until_ok COMMAND...: up to 10 s.
until_ok() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done; return 1; }

namespace() { # NAME: nothing leaves it for addresses of the cluster but by routes of ours
	ip netns add "$ID-$1" && ip_in "$1" link set lo up
	for r in 10.244.0.0/16 10.96.0.0/12 fd00:244::/48 fd00:96::/108; do ip_in "$1" route add blackhole $r metric 4294967295; done
}
node() { # NAME SEGMENT GATEWAY GATEWAY6
	namespace "$1"
	ip_in "$1" link add eth0 type veth peer name "p$1" netns "$ID-r"
	ip_in r link set "p$1" master "br$2" up
	ip_in "$1" addr add "${addr[$1]}/24" dev eth0
	ip_in "$1" addr add "${addr6[$1]}/64" dev eth0 nodad
	ip_in "$1" link set eth0 up
	ip_in "$1" route add default via "$3"
	ip_in "$1" route add default via "$4"
	mkdir -p "$CG2/$ID/$1"
}
manifest() { # NAME [ADDRESS [PODCIDR [LABEL]]]
	cat >"$DIR/.new" <<Y
apiVersion: v1
kind: Node
metadata: {name: $1, creationTimestamp: "2026-01-01T00:00:0${num[$1]:-9}Z", labels: {x: "${4:-}"}}
spec: {podCIDRs: [${3:-"10.244.${num[$1]}.0/24, 'fd00:244:0:${num[$1]}::/64'"}]}
status: {addresses: [{type: InternalIP, address: '${2:-${addr[$1]}}'}${addr6[$1]:+, {type: InternalIP, address: '${addr6[$1]}'\}}]}
Y
	mv "$DIR/.new" "$DIR/m/$1.yaml"
}
start() { # NODE [OPTIONS...]
	local n=$1
	shift
	nsenter --net="/run/netns/$ID-$n" "$PROXY" --manifests "$DIR/m" --node-name "$n" --cgroup "$CG2/$ID/$n" --pin-dir "$DIR/bpf/$n" --cluster-dns "" \
		--cluster-cidr 10.244.0.0/16,fd00:244::/48 --service-cidr 10.96.0.0/12,fd00:96::/108 --listen 127.0.0.1:10249 "$@" >>"$DIR/log.$n" 2>&1 &
	proxy[$n]=$!
	until_ok in_ns "$n" curl -sf -o /dev/null http://127.0.0.1:10249/readyz || not_ok "the proxy of $n starts" "$(tail -n 5 "$DIR/log.$n")"
}
stop() { kill "${2:--9}" "${proxy[$1]}"; wait "${proxy[$1]}"; unset "proxy[$1]"; } 2>/dev/null
pod() { # NODE NUMBER
	namespace "$1-$2"
	ip_in "$1-$2" route flush type blackhole
	ip_in "$1-$2" -6 route flush type blackhole
	CNI_COMMAND=ADD CNI_CONTAINERID=$1$2 CNI_NETNS=/run/netns/$ID-$1-$2 CNI_IFNAME=eth0 in_ns "$1" "$PLUGIN" >"$DIR/pod.$1$2" <<CONF
{"cniVersion":"1.0.0","name":"keelson","type":"keelson-cni","bridge":"kl0","mtu":0,"isGateway":true,"hairpinMode":true,
"ipMasq":true,"clusterCIDR":"10.244.0.0/16,fd00:244::/48","serviceCIDR":"10.96.0.0/12,fd00:96::/108",
"ipam":{"subnets":["10.244.${num[$1]}.0/24","fd00:244:0:${num[$1]}::/64"]},"dataDir":"$DIR/cni/$1"}
CONF
	nsenter --net="/run/netns/$ID-$1-$2" busybox nc -ll -p 8080 -e "$DIR/peer" >/dev/null 2>&1 &
	servers+=($!)
}
pod_ip() { echo "10.244.${num[$1]}.$(($2 + 1))"; } # NODE NUMBER
pod_ip6() { echo "fd00:244:0:${num[$1]}::$(($2 + 1))"; }
# FROM ADDRESS: the source that the other end sees. Neighbours that are asked for the first time may take seconds to answer over IPv6.
seen() { in_ns "$1" timeout 3 busybox nc -w 2 "$2" 8080 </dev/null 2>/dev/null || in_ns "$1" timeout 6 busybox nc -w 5 "$2" 8080 </dev/null; }
routes() { ip_in "$1" route show proto 158 | sed 's/ *$//' | sort; }
routes6() { ip_in "$1" -6 route show proto 158 | sed 's/ metric 1024//; s/ pref medium//; s/ *$//' | sort; }
tunnel_entries() { in_ns "$1" bridge fdb show dev klvx | sort; ip_in "$1" neigh show dev klvx nud permanent | sort; }
has_routes6() { [ "$(routes6 "$1")" = "$2" ]; }
has_routes() { [ "$(routes "$1")" = "$2" ]; }
ping_loss() { awk '/packets transmitted/ { print $1 - $4 }'; }
complains() { grep -qF "$2" "$DIR/log.$1"; }

# What a server learns of its client's address: it is started with the connection as its input.
cat >"$DIR/peer" <<'P'
#!/bin/sh
i=$(readlink /proc/self/fd/0)
i=${i#socket:[}
ss -Htne | awk -v i="ino:${i%]}" '{ for (n = 5; n <= NF; n++) if ($n == i) { sub(/:[0-9]+$/, "", $5); gsub(/[][]|::ffff:/, "", $5); print $5 } }'
P
chmod +x "$DIR/peer"
mkdir -p "$DIR/m" "$DIR/bpf" && mount -t bpf none "$DIR/bpf" || exit 1
namespace r
for s in "1 192.0.2.254 2001:db8:1::fe" "2 198.51.100.254 2001:db8:2::fe"; do
	set -- $s
	ip_in r link add "br$1" type bridge
	ip_in r link set "br$1" up
	ip_in r addr add "$2/24" dev "br$1"
	ip_in r addr add "$3/64" dev "br$1" nodad
done
in_ns r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
in_ns r nft -f - <<'N'
table inet watch { chain forward { type filter hook forward priority 0
ip frag-off & 0x3fff != 0 counter
iifname "br1" oifname "br2" ip saddr 10.244.0.0/16 counter
iifname "br1" oifname "br2" ip6 saddr fd00:244::/48 counter
}
}
N
node a 1 192.0.2.254 2001:db8:1::fe; node b 1 192.0.2.254 2001:db8:1::fe; node c 2 198.51.100.254 2001:db8:2::fe
for n in a b c; do manifest $n; done
state() {
	ip_in a route; ip_in a -6 route | grep -v fe80; ip_in a -o link | cut -d: -f2; ip_in a link show lo
	in_ns a cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
}
before=$(state)
for n in a b c; do start $n; done

# What is made.
direct_b="10.244.2.0/24 via 192.0.2.2 dev eth0"
tunnel_c="10.244.3.0/24 via 10.244.3.0 dev klvx src 10.244.1.1 onlink"
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"
same "direct on the segment, through the tunnel elsewhere" "$direct_b"$'\n'"$tunnel_c" "$(routes a)"
until_ok has_routes c "10.244.1.0/24 via 10.244.1.0 dev klvx src 10.244.3.1 onlink"$'\n'"10.244.2.0/24 via 10.244.2.0 dev klvx src 10.244.3.1 onlink"
until_ok has_routes b "10.244.1.0/24 via 192.0.2.1 dev eth0"$'\n'"10.244.3.0/24 via 10.244.3.0 dev klvx src 10.244.2.1 onlink"
same "IPv6 by the same ways" "fd00:244:0:2::/64 via 2001:db8:1::2 dev eth0"$'\n'"fd00:244:0:3::/64 via fd00:244:0:3:: dev klvx src fd00:244:0:1::1 onlink" "$(routes6 a)"
entries=$(tunnel_entries a)
same "one forwarding entry and one neighbour a tunnelled node" \
	"0e:58:0a:f4:03:00 dst 198.51.100.3 self permanent"$'\n'"10.244.3.0 lladdr 0e:58:0a:f4:03:00 PERMANENT proto 158"$'\n'"fd00:244:0:3:: lladdr 0e:58:0a:f4:03:00 PERMANENT proto 158" \
	"$(sed 's/ *$//' <<<"$entries")"
same "the tunnel device" "1450 0e:58:0a:f4:01:00 1 4789 192.0.2.1 false" "$(ip_in a -d -j link show klvx |
	jq -r '.[0] | [.mtu, .address, .linkinfo.info_data.id, .linkinfo.info_data.port, .linkinfo.info_data.local, .linkinfo.info_data.learning // false] | join(" ")')"
for n in a b c; do pod $n 1; pod $n 2; done
same "pods get the tunnel's MTU" 1450 "$(ip_in a-1 -j link show eth0 | jq '.[0].mtu')"

# Everybody reaches everybody, and is seen as what it is, whatever the reverse path filter.
matrix() { # 4 or 6 [PING]
	local bad="" from to got want target
	for from in a-1 b-1 c-1 a b c; do
		for to in a b c; do
			target=$([ "$1" = 6 ] && pod_ip6 $to 2 || pod_ip $to 2)
			case $from in
			*-1) want=$([ "$1" = 6 ] && pod_ip6 "${from%-*}" 1 || pod_ip "${from%-*}" 1) ;;
			*) # A node's own packets: its address on the segment, the gateway's into the tunnel and to its own pods.
				want=$([ "$1" = 6 ] && echo "fd00:244:0:${num[$from]}::1" || echo "10.244.${num[$from]}.1")
				case $from$to in ab | ba) want=$([ "$1" = 6 ] && echo "${addr6[$from]}" || echo "${addr[$from]}") ;; esac
				;;
			esac
			got=$(seen $from "$target")
			[ "$got" = "$want" ] || bad+="$from to $to: wanted $want, got $got; "
			[ -z "${2:-}" ] || in_ns $from timeout 10 busybox ping -q -c 1 -w 3 "$target" >/dev/null || bad+="$from to $to: no echo; "
		done
	done
	echo "$bad"
}
for filter in 0 1 2; do
	for n in a b c; do
		in_ns $n sh -c "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo $filter >\$f; done"
	done
	same "every pod and node reaches every pod under its own address, rp_filter $filter" "" "$(matrix 4 "${filter#[02]}")"
done
same "over IPv6 too" "" "$(matrix 6 ping)"
same "a packet of the MTU's size passes, whole" "0 0" "$(in_ns a-1 timeout 10 busybox ping -q -c 5 -i 0.05 -w 5 -s 1422 "$(pod_ip c 2)" | ping_loss) $(
	in_ns r nft -j list table inet watch | jq '[.nftables[].rule?.expr[]?.counter?.packets // empty][0]')"
same "over IPv6 too" 0 "$(in_ns a-1 timeout 10 busybox ping -6 -q -c 5 -i 0.05 -w 5 -s 1402 "$(pod_ip6 c 2)" | ping_loss)"
same "one larger is cut by its sender" 0 "$(in_ns a-1 timeout 10 busybox ping -q -c 2 -w 5 -s 3000 "$(pod_ip c 2)" | ping_loss)"
same "no pod's packet crosses the router unwrapped" 0 "$(in_ns r nft -j list table inet watch | jq '[.nftables[].rule?.expr[]?.counter?.packets // empty] | .[1] + .[2]')"

# Restart under a flood; changes of other Nodes.
flood() { # NAME FROM TO
	nsenter --net="/run/netns/$ID-$2" timeout 70 busybox ping -q -i 0.003 -c "${PINGS:-600}" -w 60 "$3" >"$DIR/flood.$1" &
	floods+=($!)
}
floods=()
flood tunnel a-1 "$(pod_ip c 1)"; flood direct a-1 "$(pod_ip b 1)"; flood back c-1 "$(pod_ip a 2)"; flood node c "$(pod_ip a 1)"
flood tunnel6 c-1 "$(pod_ip6 a 1)"; flood direct6 b-1 "$(pod_ip6 a 1)"
for n in a c; do stop $n; start $n; done
for i in 1 2 3; do manifest b "" "" $i; manifest c "" "" $i; sleep 0.1; done
stop a -TERM; start a
wait "${floods[@]}"
for f in tunnel direct back node tunnel6 direct6; do same "not one packet is lost while daemons die and Nodes change: $f" 0 "$(ping_loss <"$DIR/flood.$f")"; done
same "a restarted daemon changes nothing" "$entries" "$(tunnel_entries a)"

# Repairs.
ip_in a link del klvx
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"; until_ok in_ns a-1 timeout 10 busybox ping -q -c 1 -w 1 "$(pod_ip c 1)"
same "a tunnel that somebody removed comes back" "$entries" "$(tunnel_entries a)"
in_ns a bridge fdb del 0e:58:0a:f4:03:00 dev klvx self
ip_in a neigh flush dev klvx nud permanent
until_ok in_ns a-1 timeout 10 busybox ping -q -c 1 -w 1 "$(pod_ip c 1)"
same "so do its entries" "$entries" "$(tunnel_entries a)"
ip_in a route flush proto 158
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"
same "and routes" "$direct_b"$'\n'"$tunnel_c" "$(routes a)"
ip_in a link set klvx mtu 1300 down
until_ok sh -c "ip -n $ID-a link show klvx | grep -q 'UP.* mtu 1450'" && ok "and its settings" || not_ok "and its settings" "$(ip_in a link show klvx)" "$(grep -v INFO "$DIR/log.a" | tail -n 4)"
ip_in a link set eth0 down; ip_in a link set eth0 up; ip_in a route add default via 192.0.2.254
ip_in a addr add "${addr6[a]}/64" dev eth0 nodad; ip_in a route add default via 2001:db8:1::fe
until_ok has_routes6 a "fd00:244:0:2::/64 via 2001:db8:1::2 dev eth0"$'\n'"fd00:244:0:3::/64 via fd00:244:0:3:: dev klvx src fd00:244:0:1::1 onlink"
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"
same "routes come back with their link" "$direct_b"$'\n'"$tunnel_c" "$(routes a)"

# Nodes that come, go, move and contradict each other.
manifest d 198.51.100.4 10.244.3.0/24
until_ok complains a "node d: its podCIDR 10.244.3.0/24 is node c's" && ok "a podCIDR that an older node has is complained about" ||
	not_ok "a podCIDR that an older node has is complained about" "$(tail -n 3 "$DIR/log.a")"
manifest d 10.244.3.9 10.244.4.0/24
until_ok complains a "node d: its InternalIP 10.244.3.9 is inside the cluster's pod range" && ok "an InternalIP in the pod range too" || not_ok "an InternalIP in the pod range too"
same "neither has a route" "$direct_b"$'\n'"$tunnel_c" "$(routes a)"
same "nor an entry" "$entries" "$(tunnel_entries a)"
manifest d 192.0.2.4 10.244.4.0/24
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"$'\n'"10.244.4.0/24 via 192.0.2.4 dev eth0"
manifest d 198.51.100.4 10.244.5.0/24
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"$'\n'"10.244.5.0/24 via 10.244.5.0 dev klvx src 10.244.1.1 onlink"
same "a node that moves: its new address and range" "$direct_b"$'\n'"$tunnel_c"$'\n'"10.244.5.0/24 via 10.244.5.0 dev klvx src 10.244.1.1 onlink" "$(routes a)"
manifest d 198.51.100.5 10.244.5.0/24
until_ok sh -c "nsenter --net=/run/netns/$ID-a bridge fdb show dev klvx | grep -q 'dst 198.51.100.5'"
same "its new address alone" "198.51.100.3 198.51.100.5" "$(in_ns a bridge fdb show dev klvx | awk '{ print $3 }' | sort | xargs)"
rm "$DIR/m/d.yaml"
until_ok has_routes a "$direct_b"$'\n'"$tunnel_c"
same "a node that is gone leaves no route" "$direct_b"$'\n'"$tunnel_c" "$(routes a)"
until_ok sh -c "! nsenter --net=/run/netns/$ID-a bridge fdb show dev klvx | grep -q 'dst 198.51.100.5'"
same "nor entries" "$entries" "$(tunnel_entries a)"
same "what nobody has ends in the blackhole" "10.244.5.0/24" "$(in_ns a timeout 10 busybox ping -q -c 1 -w 1 10.244.5.2 >/dev/null 2>&1 || echo 10.244.5.0/24)"

# Other ways.
stop a; start a --pod-network vxlan
until_ok has_routes a "10.244.2.0/24 via 10.244.2.0 dev klvx src 10.244.1.1 onlink"$'\n'"$tunnel_c"
same "vxlan: everybody through the tunnel" "10.244.2.0/24 via 10.244.2.0 dev klvx src 10.244.1.1 onlink"$'\n'"$tunnel_c" "$(routes a)"
stop a; start a --pod-network direct
until_ok has_routes a "$direct_b"
same "direct: who is on the segment" "$direct_b" "$(routes a)"
same "and no tunnel" "" "$(ip_in a -o link show type vxlan)"
until_ok complains a "node c: no way to its podCIDR 10.244.3.0/24: it is not on a segment of this node" && ok "the others are named" || not_ok "the others are named"
stop a; start a --pod-network none
until_ok has_routes a ""
same "none: nothing" "" "$(routes a)"
same "a word that is none of them" 2 "$(in_ns a "$PROXY" --manifests "$DIR/m" --pod-network ipip >/dev/null 2>&1; echo $?)"
# Nodes whose addresses are IPv6 alone: the tunnel goes over IPv6.
for n in a b c; do stop $n; done
for n in a b c; do manifest $n "${addr6[$n]}" "'fd00:244:0:${num[$n]}::/64'"; start $n; done
tunnel6="fd00:244:0:2::/64 via 2001:db8:1::2 dev eth0"$'\n'"fd00:244:0:3::/64 via fd00:244:0:3:: dev klvx src fd00:244:0:1::1 onlink"
until_ok has_routes6 a "$tunnel6"
for n in a b c; do until_ok sh -c "ip -n $ID-$n -d link show klvx | grep -q 'local ${addr6[$n]}'"; done
same "IPv6 alone" "$tunnel6" "$(routes6 a)"
same "the tunnel goes over IPv6, which takes more" "1430 ${addr6[a]} 0e:58:00:00:00:01" \
	"$(ip_in a -d -j link show klvx | jq -r '.[0] | [.mtu, .linkinfo.info_data.local6, .address] | join(" ")')"
until_ok in_ns a-1 timeout 10 busybox ping -q -c 1 -w 1 "$(pod_ip6 c 1)"
same "every pod and node reaches every pod" "" "$(matrix 6)"
same "IPv4 is not there" "" "$(routes a)"
stop a
for p in 1 2; do CNI_COMMAND=DEL CNI_CONTAINERID=a$p CNI_NETNS= CNI_IFNAME=eth0 in_ns a "$PLUGIN" \
	<<<"{\"cniVersion\":\"1.0.0\",\"name\":\"keelson\",\"ipam\":{\"subnets\":[\"10.244.1.0/24\",\"fd00:244:0:1::/64\"]},\"dataDir\":\"$DIR/cni/a\"}"; done
until_ok sh -c "[ -z \"\$(ip -n $ID-a -o link show master kl0)\" ]"
ip_in a link del kl0
in_ns a "$PROXY" --cleanup --cluster-cidr 10.244.0.0/16,fd00:244::/48 --service-cidr 10.96.0.0/12,fd00:96::/108 --cgroup "$CG2/$ID/a" --pin-dir "$DIR/bpf/a" --cluster-dns "" || not_ok "--cleanup"
same "--cleanup leaves the node as it was" "$before" "$(state)"
exit $failed
