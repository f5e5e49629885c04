#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rule sets in the shape that kube-proxy's iptables and nftables modes give them, for N Services: the first is a NodePort Service
# with the endpoints named, the others ClusterIP Services with two endpoints each.
# usage: kube_rules.sh iptables|nftables N NODE_IP NODE_PORT ENDPOINT:PORT...
set -u
mode=$1 n=$2 node=$3 node_port=$4; shift 4
awk -v mode="$mode" -v n="$n" -v node="$node" -v np="$node_port" -v eps="$*" '
function vip(i) { return sprintf("10.97.%d.%d", i / 250, i % 250 + 1) }
function endpoints(i, out,    k) { # out[1..]: "ADDRESS:PORT"
	if (i == 0) return split(eps, out, " ")
	out[1] = sprintf("10.244.%d.%d:8080", 100 + i / 250, i % 250 + 1)
	out[2] = sprintf("10.245.%d.%d:8080", i / 250, i % 250 + 1)
	return 2
}
function host(e) { return substr(e, 1, index(e, ":") - 1) }
function port(e) { return substr(e, index(e, ":") + 1) }
function iptables(    i, k, c, e) {
	print "*filter\n:KUBE-FORWARD - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-EXTERNAL-SERVICES - [0:0]\n:KUBE-PROXY-FIREWALL - [0:0]"
	print "-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL\n-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES"
	print "-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL\n-A FORWARD -j KUBE-FORWARD"
	print "-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES\n-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES"
	print "-A OUTPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL\n-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES"
	print "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"
	print "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n*nat"
	print ":KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-EXT-0 - [0:0]"
	for (i = 0; i < n; i++) {
		printf ":KUBE-SVC-%d - [0:0]\n", i
		c = endpoints(i, e)
		for (k = 1; k <= c; k++) printf ":KUBE-SEP-%d-%d - [0:0]\n", i, k
	}
	print "-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING"
	print "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN"
	print "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n-A KUBE-POSTROUTING -j MASQUERADE --random-fully"
	printf "-A KUBE-NODEPORTS -p tcp -m tcp --dport %d -j KUBE-EXT-0\n-A KUBE-EXT-0 -j KUBE-MARK-MASQ\n-A KUBE-EXT-0 -j KUBE-SVC-0\n", np
	for (i = 0; i < n; i++) {
		printf "-A KUBE-SERVICES -d %s/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-%d\n", vip(i), i
		printf "-A KUBE-SVC-%d ! -s 10.244.0.0/16 -d %s/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n", i, vip(i)
		c = endpoints(i, e)
		for (k = 1; k <= c; k++) {
			if (k < c) printf "-A KUBE-SVC-%d -m statistic --mode random --probability %.11f -j KUBE-SEP-%d-%d\n", i, 1 / (c - k + 1), i, k
			else printf "-A KUBE-SVC-%d -j KUBE-SEP-%d-%d\n", i, i, k
			printf "-A KUBE-SEP-%d-%d -s %s/32 -j KUBE-MARK-MASQ\n", i, k, host(e[k])
			printf "-A KUBE-SEP-%d-%d -p tcp -m tcp -j DNAT --to-destination %s\n", i, k, e[k]
		}
	}
	print "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT"
}
function elements(what,    i, k, c, e, comma) {
	printf "\t\telements = { "
	for (i = 0; i < n; i++) {
		if (what == "ips") printf "%s%s", comma, vip(i)
		else if (what == "map") printf "%s%s . tcp . 80 : goto service-%d", comma, vip(i), i
		else {
			c = endpoints(i, e)
			for (k = 1; k <= c; k++) { printf "%s%s . %s . tcp . %s", comma, host(e[k]), host(e[k]), port(e[k]); comma = ",\n\t\t\t" }
		}
		comma = ",\n\t\t\t"
	}
	print " }"
}
function nftables(    i, k, c, e) {
	print "table ip kube-proxy {\n\tset hairpin-connections {\n\t\ttype ipv4_addr . ipv4_addr . inet_proto . inet_service"
	elements("hairpin")
	print "\t}\n\tset cluster-ips {\n\t\ttype ipv4_addr"
	elements("ips")
	printf "\t}\n\tset nodeport-ips {\n\t\ttype ipv4_addr\n\t\telements = { %s }\n\t}\n", node
	print "\tmap no-endpoint-services {\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n\t}"
	print "\tmap no-endpoint-nodeports {\n\t\ttype inet_proto . inet_service : verdict\n\t}"
	print "\tmap firewall-ips {\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n\t}"
	for (i = 0; i < n; i++) {
		c = endpoints(i, e)
		printf "\tchain service-%d {\n\t\tmeta l4proto tcp dnat ip to numgen random mod %d map { ", i, c
		for (k = 1; k <= c; k++) printf "%s%d : %s . %s", (k == 1 ? "" : ", "), k - 1, host(e[k]), port(e[k])
		print " }\n\t}"
	}
	print "\tchain external-0 {\n\t\tmeta mark set meta mark | 0x00004000\n\t\tgoto service-0\n\t}"
	print "\tmap service-ips {\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict"
	elements("map")
	printf "\t}\n\tmap service-nodeports {\n\t\ttype inet_proto . inet_service : verdict\n\t\telements = { tcp . %d : goto external-0 }\n\t}\n", np
	print "\tchain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }"
	print "\tchain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }"
	print "\tchain nodeport-endpoints-check { ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }"
	print "\tchain cluster-ips-check { ip daddr @cluster-ips reject; ip daddr 10.97.0.0/16 drop; }"
	print "\tchain services {"
	print "\t\tip daddr @cluster-ips ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x00004000"
	print "\t\tip daddr . meta l4proto . th dport vmap @service-ips\n\t\tip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports\n\t}"
	print "\tchain masquerading {\n\t\tmeta mark & 0x00004000 != 0 meta mark set meta mark ^ 0x00004000 masquerade fully-random"
	print "\t\tct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random\n\t}"
	print "\tchain filter-prerouting-pre-dnat { type filter hook prerouting priority dstnat - 10; ct state new jump firewall-check; }"
	print "\tchain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }"
	print "\tchain filter-input { type filter hook input priority filter; ct state new jump nodeport-endpoints-check; ct state new jump service-endpoints-check; }"
	print "\tchain filter-forward { type filter hook forward priority filter; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }"
	print "\tchain filter-output { type filter hook output priority filter; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }"
	print "\tchain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }"
	print "\tchain nat-output { type nat hook output priority -100; jump services; }"
	print "\tchain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }\n}"
}
BEGIN { if (mode == "iptables") iptables(); else nftables() }'
