#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What upstream's own tests assert of Services, with pods, controllers, agents and proxies on three nodes. S1 to S53 and the
# sections 6.2 to 6.6 are the numbers those tests have in our list of them. All objects live at once and change together in
# rounds, so that the script waits for five rounds and not for each assertion.
. "$(dirname "$0")/lib.sh"
peer=$root/${B:-build}/tests/e2e/root/peer

lab() {
	local args=() i
	for i in "$images"/*.tar "$root/${B:-build}"/tests/e2e/peer.tar; do args+=(--image "$i"); done
	"$bin/keelson" up --netns "$netns" --state "$state" --nodes 3 "${args[@]}"
}
on() { local k=$1; shift; "$bin/keelson" exec --state "$state" --node "$netns-$k" -- "$@"; }
outside() { nsenter --net="/run/netns/$netns-out" "$@"; }
node=([1]=198.19.0.1 [2]=198.19.0.2 [3]=198.19.0.3)

# --- objects: each call prints one, create makes all of them at once ---
create() { K create -f - >/dev/null || not_ok "objects are created"; }
# pod NAME NODE LABELS "ARGUMENT..." [FURTHER LINES OF THE CONTAINER] [FURTHER LINES OF SPEC]; node - is the scheduler's choice.
pod() {
	printf -- '---\napiVersion: v1\nkind: Pod\nmetadata: { name: %s, labels: { %s } }\nspec:\n' "$1" "$3"
	[ "$2" = - ] || printf '  nodeName: %s-%s\n' "$netns" "$2"
	printf '  terminationGracePeriodSeconds: %s\n' "${grace:-1}"
	[ -z "${6:-}" ] || printf '  %s\n' "$6"
	printf '  containers:\n  - name: peer\n    image: "keelson.local/peer:1"\n    args: [%s]\n' "${4// /, }"
	[ -z "${5:-}" ] || printf '    %s\n' "$5"
}
service() { # NAME SPEC [LABELS]
	printf -- '---\napiVersion: v1\nkind: Service\nmetadata: { name: %s, labels: { %s } }\nspec: { %s }\n' "$1" "${3:-}" "$2"
}
tcp() { echo "{ name: t$1, port: $1, targetPort: ${2:-8080}${3:+, nodePort: $3} }"; }
udp() { echo "{ name: u$1, port: $1, targetPort: ${2:-8080}, protocol: UDP${3:+, nodePort: $3} }"; }
patch() { K patch service "$1" -p "$2" >/dev/null || not_ok "service $1 is changed"; }
json_patch() { K patch service "$1" --type=json -p "$2" >/dev/null || not_ok "service $1 is changed"; }
# Addresses by name, read anew after each round.
declare -A vip ip
look() {
	local name address
	while read -r name address; do vip[$name]=$address; done < <(K get services -o json | jq -r '.items[] | "\(.metadata.name) \(.spec.clusterIP // "")"')
	while read -r name address; do ip[$name]=$address; done < <(K get pods -o json | jq -r '.items[] | "\(.metadata.name) \(.status.podIP // "")"')
}
ready() { K wait --for=condition=Ready pod -l "set=$1" --timeout=120s; }

# --- questions ---
peer_at() { # PLACE ARGUMENT...: node1, out or a pod
	local place=$1; shift
	case $place in
	node?) on "${place#node}" "$peer" "$@" ;;
	out) outside "$peer" "$@" ;;
	*) K exec "$place" -- /peer "$@" ;;
	esac
}
# expect PLACE "OPTIONS" <<lines of TEXT|TARGET|WANTED: in the background; one question for all the lines, again and again until each
# answer is what is wanted (an extended regular expression) or half a minute is over. settle waits and reports.
fails='(silent|refused|E[0-9]+)'
one='[a-z0-9-]+'
jobs=() jobs_pid=() sheets=0
expect() {
	local sheet=$work/sheet.$((++sheets)) place=$1 options=$2 input
	input=$(cat)
	jobs+=("$sheet")
	ask_until_so "$place" "$options" "$input" >"$sheet" 2>&1 &
	jobs_pid+=($!)
}
ask_until_so() {
	local place=$1 options=$2 end=$((SECONDS + 40)) text target want i texts=() targets=() wants=() got=() good
	while IFS='|' read -r text target want; do texts+=("$text"); targets+=("$target"); wants+=("$want"); done <<<"$3"
	while :; do
		# shellcheck disable=SC2086
		mapfile -t got < <(peer_at "$place" $options ask "${targets[@]}" 2>&1)
		good=1
		for i in "${!texts[@]}"; do [[ ${got[i]:-} =~ ^${wants[i]}$ ]] || good=0; done
		[ $good = 0 ] && [ $SECONDS -lt $end ] || break
		sleep 0.3
	done
	for i in "${!texts[@]}"; do
		if [[ ${got[i]:-} =~ ^${wants[i]}$ ]]; then echo "ok - ${texts[i]} ($place)"
		else echo "not ok - ${texts[i]} ($place): ${targets[i]} wanted ${wants[i]}, got ${got[i]:-nothing}"; fi
	done
}
settle() {
	local sheet
	wait "${jobs_pid[@]}"
	for sheet in "${jobs[@]}"; do
		cat "$sheet"
		failures=$((failures + $(grep -c '^not ok' "$sheet")))
	done
	jobs=() jobs_pid=()
}
# soon TEXT PATTERN COMMAND...: the output comes to match.
soon() { local text=$1; shift; check "$text" eventually 40 matches "$@"; }
slices() { K get endpointslices -l "kubernetes.io/service-name=$1" -o json; }
# The endpoints of a Service: "ADDRESS:PORT ...", sorted.
endpoints() { slices "$1" | jq -r '[.items[] | .ports as $p | .endpoints[]? | select(.conditions.ready) | .addresses[0] as $a | $p[]? | "\($a):\(.port)"] | sort | unique | join(" ")'; }
node_ports() { K get service "$1" -o json | jq -r '[.spec.ports[] | .nodePort // empty] | join(" ")'; }
health() { on 1 curl -s -o /dev/null -w '%{http_code}' --max-time 2 --noproxy '*' "http://${node[$1]}:$2/healthz"; }
health_is() { soon "$1" "^$5 $6 $7$" healths "$2" "$3" "$4"; }
healths() { echo "$(health 1 "$1") $(health 2 "$1") $(health 3 "$1")"; }

check "three nodes" lab || exit 1

# --- round 1: everything is created ---
a='selector: { app: a }'
{
	for k in 1 2 3; do
		pod "a$k" $k "app: a, pod: a$k, set: one" "serve a$k tcp:8080 tcp:8081 udp:8080" \
			'ports: [{ name: http, containerPort: 8080 }, { name: alt, containerPort: 8081 }]'
		pod "c$k" $k "app: c, set: one" "serve c$k tcp:9"
		pod "h$k" $k "app: h, pod: h$k, set: one" "serve h$k tcp:10180 udp:10180" '' 'hostNetwork: true'
	done
	service s12 "type: NodePort, $a, ports: [$(tcp 80 8080 30112), $(udp 80 8080 30112)]"
	service hosts "type: NodePort, selector: { app: h }, ports: [$(tcp 80 10180 30180), $(udp 80 10180 30180)]"
	service twin1 "type: NodePort, $a, ports: [$(tcp 80 8080 30191), $(udp 80 8080 30191)]"
	service twin2 "type: NodePort, $a, ports: [$(tcp 80 8080 30192), $(udp 80 8080 30192)]"
	service moving "type: NodePort, $a, ports: [$(tcp 80 8080 30170), $(udp 80 8080 30170)]"
	service s3 "selector: { app: s3 }, ports: [$(tcp 80)]"
	pod s4a 1 "app: s4, set: one" "serve s4a tcp:100" 'ports: [{ name: t1, containerPort: 100 }]'
	pod s4b 2 "app: s4, set: one" "serve s4b tcp:101" 'ports: [{ name: t2, containerPort: 101 }]'
	service s4 "selector: { app: s4 }, ports: [$(tcp 80 t1), $(tcp 81 t2)]"
	service s5 "$a, ports: [$(tcp 80)]"
	service s7 "selector: { pod: a1 }, ports: [$(tcp 80), $(udp 80)]"
	service s8a "selector: { pod: a1 }, ports: [$(tcp 80)]"
	service s8b "selector: { pod: a2 }, ports: [$(tcp 80)]"
	service s9 "$a, ports: [$(tcp 80)]"
	service s13 "$a, externalIPs: [203.0.113.250], ports: [$(tcp 80)]"
	service s14 "$a, ports: [$(tcp 80)]"
	service s15 'type: ExternalName, externalName: s12.default.svc.cluster.local'
	service s16 'type: ExternalName, externalName: s12.default.svc.cluster.local'
	service s17 "$a, ports: [$(tcp 80)]"
	service s18 "type: NodePort, $a, ports: [$(tcp 80 8080 30118)]"
	service s25 "type: NodePort, sessionAffinity: ClientIP, $a, ports: [$(tcp 80 8080 30125), $(udp 80 8080 30125)]"
	service s26 "type: NodePort, sessionAffinity: ClientIP, sessionAffinityConfig: { clientIP: { timeoutSeconds: 2 } }, $a, ports: [$(tcp 80 8080 30126)]"
	service s31 "$a, ports: [$(tcp 80)]"
	service s31-from-birth "$a, ports: [$(tcp 80)]" 'service.kubernetes.io/service-proxy-name: other'
	service s32 "$a, ports: [$(tcp 80)]"
	service s32-from-birth "$a, ports: [$(tcp 80)]" 'service.kubernetes.io/headless: ""'
	service s33 "type: NodePort, selector: { app: nobody }, ports: [$(tcp 80 8080 30133), $(udp 80 8080 30133)]"
	pod s34 1 "app: s34" "fail" '' 'restartPolicy: Never'
	service s34 "publishNotReadyAddresses: true, selector: { app: s34 }, ports: [$(tcp 80)]"
	service s35 "internalTrafficPolicy: Local, selector: { pod: a1 }, ports: [$(tcp 80), $(udp 80)]"
	service s37 "internalTrafficPolicy: Local, selector: { pod: h1 }, ports: [$(tcp 80 10180)]"
	service s47 "$a, ports: [$(tcp 80), $(udp 80)]"
	service s48 "type: LoadBalancer, $a, ports: [$(tcp 80), $(udp 80)]"
	service s50 "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30250, selector: { pod: a1 }, ports: [$(tcp 80 8080 30150)]"
	# What terminates for minutes, and what is never ready. They leave with the lab.
	grace=300 pod going 1 "app: going, set: one" "-k serve going tcp:8080" \
		'readinessProbe: { httpGet: { port: 8080, path: /ready }, periodSeconds: 1, failureThreshold: 1 }'
	service s23 "type: NodePort, publishNotReadyAddresses: true, selector: { app: going }, ports: [$(tcp 80 8080 30123)]"
	service s24 "type: NodePort, selector: { app: going }, ports: [$(tcp 80 8080 30124)]"
	grace=300 pod serving 1 "app: serving, set: one" "-k serve serving tcp:8080"
	service s38 "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30238, selector: { app: serving }, ports: [$(tcp 80 8080 30138)]"
	grace=300 pod unready 2 "app: unready" "-k serve unready tcp:8080" 'readinessProbe: { tcpSocket: { port: 9 }, periodSeconds: 1 }'
	service s22 "publishNotReadyAddresses: true, selector: { app: unready }, ports: [$(tcp 80)]"
	pod s51 2 "app: s51, set: one" "serve main tcp:8080" '' \
		'initContainers: [{ name: side, image: "keelson.local/peer:1", restartPolicy: Always, args: [serve, side, "tcp:8090"], ports: [{ name: side, containerPort: 8090 }] }]'
	service s51 "selector: { app: s51 }, ports: [$(tcp 80 8090)]"
	service s52 "selector: { app: s51 }, ports: [$(tcp 80 side)]"
	pod s53a 1 "app: s53, set: one" "serve s53a tcp:8080" 'ports: [{ name: web, containerPort: 8080 }]'
	pod s53b 2 "app: s53, set: one" "serve s53b tcp:8000" 'ports: [{ name: web, containerPort: 8000 }]'
	service s53 "selector: { app: s53 }, ports: [$(tcp 80 web)]"
	# UDP flows of one client port.
	pod flow1 1 "flow: all, set: one" "serve flow1 udp:8080"
	service flow "type: NodePort, selector: { flow: all }, ports: [$(udp 80 8080 30163)]"
	pod local1 1 "flow: local, set: one" "serve local1 udp:8080"
	service flow-local "internalTrafficPolicy: Local, selector: { flow: local }, ports: [$(udp 80)]"
	service flow-first "type: NodePort, selector: { flow: first }, ports: [$(udp 80 8080 30164)]"
	pod target1 1 "flow: target, set: one" "serve target1 udp:8080 udp:8081"
	service flow-target "type: NodePort, selector: { flow: target }, ports: [$(udp 80 8080 30165)]"
	# One port of node 1, thrice.
	here="nodeSelector: { kubernetes.io/hostname: $netns-1 }"
	pod port1 - "set: one" "serve port1 tcp:8080" 'ports: [{ containerPort: 8080, hostPort: 54323, hostIP: 127.0.0.1 }]' "$here"
	pod port2 - "set: one" "serve port2 tcp:8080" "ports: [{ containerPort: 8080, hostPort: 54323, hostIP: ${node[1]} }]" "$here"
	pod port3 - "set: one" "serve port3 udp:8080" "ports: [{ containerPort: 8080, hostPort: 54323, hostIP: ${node[1]}, protocol: UDP }]" "$here"
	pod port4 - "app: port4" "serve port4 tcp:8080" "ports: [{ containerPort: 8080, hostPort: 54323, hostIP: ${node[1]} }]" "$here"
	service manual "ports: [$(tcp 80), $(tcp 81 8081)]"
	service empty "selector: { app: nobody }, ports: [$(tcp 80)]"
	service mixed "$a, ports: [$(tcp 80 http), $(tcp 81 8081)]"
} | create
ip netns add "$netns-out"
ip -n "$netns-net" link add out type veth peer name eth0 netns "$netns-out"
ip -n "$netns-net" link set out master seg0 up
ip -n "$netns-out" addr add 198.19.0.99/24 dev eth0
ip -n "$netns-out" link set eth0 up
ip -n "$netns-out" route add default via 198.19.0.254
check "the pods are ready" ready one
look
for m in "1 t80 8080 a1" "2 t81 8081 a2"; do
	read -r n name port who <<<"$m"
	printf -- '---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: manual-%s, labels: { kubernetes.io/service-name: manual, endpointslice.kubernetes.io/managed-by: services.sh } }\naddressType: IPv4\nports: [{ name: %s, port: %s }]\nendpoints: [{ addresses: ["%s"], conditions: { ready: true } }]\n' \
		"$n" "$name" "$port" "${ip[$who]}"
done | create
K_in_background "$work/flow-pod" exec c1 -- /peer keep "${vip[flow]}:80" 12345
K_in_background "$work/flow-host" exec h2 -- /peer keep "${vip[flow]}:80" 12346
K_in_background "$work/flow-local" exec c1 -- /peer keep "${vip[flow-local]}:80" 12347
K_in_background "$work/flow-first" exec c2 -- /peer keep "${vip[flow-first]}:80" 12348
outside "$peer" keep "${node[2]}:30163" 12345 >"$work/flow-out" 2>&1 & background+=($!)
outside "$peer" keep "${node[2]}:30164" 12346 >"$work/flow-first-out" 2>&1 & background+=($!)
outside "$peer" keep "${node[2]}:30165" 12347 >"$work/flow-target-out" 2>&1 & background+=($!)
last() { tail -n 1 "$work/$1"; }

all='a1 a2 a3' hosts='h1 h2 h3'
whole() { # every way to the Service of all pods, and to that of the host-network ones
	for proto in tcp udp; do
		echo "6.2 $proto by ClusterIP|$proto/${vip[s12]}:80|$all"
		echo "6.2 hostNetwork endpoints, $proto by ClusterIP|$proto/${vip[hosts]}:80|$hosts"
		for k in 1 2 3; do
			echo "6.2 $proto by the node port of node $k|$proto/${node[$k]}:30112|$all"
			echo "6.2 hostNetwork endpoints, $proto by node $k|$proto/${node[$k]}:30180|$hosts"
			[ "$1" = pods ] || continue
			echo "6.2 the pod a$k itself, $proto|$proto/${ip[a$k]}:8080|a$k"
		done
	done
}
for from in c1 c3 h2; do expect $from "-n 40" < <(whole pods); done
expect a1 "-n 40" < <(whole nodes)
expect node2 "-n 40" < <(whole nodes)
settle
for proto in tcp udp; do
	echo "6.2 large $proto by ClusterIP|$proto/${vip[s12]}:80|$all"
	echo "6.2 large $proto by node port|$proto/${node[2]}:30112|$all"
	echo "6.2 large $proto, hostNetwork endpoints|$proto/${vip[hosts]}:80|$hosts"
done >"$work/large"
for from in c1 node2 a3; do expect $from "-n 30 -s 2000" <"$work/large"; done
expect out "-n 40" < <(
	for k in 1 2 3; do echo "S12 tcp by node $k|tcp/${node[$k]}:30112|$all"; echo "S12 udp by node $k|udp/${node[$k]}:30112|$all"; done
	echo "6.2 large udp|udp/${node[1]}:30112|$all"
	echo "S33 a node port without endpoints|tcp/${node[1]}:30133|refused"
	echo "S33 and with datagrams|udp/${node[1]}:30133|refused"
	echo "S28 node port|tcp/${node[1]}:30125|$one"
	echo "S28 node port, datagrams|udp/${node[3]}:30125|$one"
)
settle
expect c1 "-n 40" < <(
	echo "S12 by name|tcp/s12:80|$all"
	echo "S3 no pods yet|tcp/${vip[s3]}:80|refused"
	echo "S33 no endpoints|tcp/${vip[s33]}:80|refused"
	echo "S33 no endpoints, datagrams|udp/${vip[s33]}:80|refused"
	echo "S33 no endpoints, node port|tcp/${node[1]}:30133|refused"
	echo "S34 a failed pod is no endpoint|tcp/${vip[s34]}:80|refused"
	echo "S4 the first port|tcp/${vip[s4]}:80|s4a"
	echo "S4 the second port|tcp/${vip[s4]}:81|s4b"
	echo "S5 one port|tcp/${vip[s5]}:80|$all"
	echo "S8 the first|tcp/${vip[s8a]}:80|a1"
	echo "S8 the second|tcp/${vip[s8b]}:80|a2"
	echo "S9 before|tcp/${vip[s9]}:80|$all"
	echo "S13 external address|tcp/203.0.113.250:80|$all"
	echo "S14 a ClusterIP|tcp/${vip[s14]}:80|$all"
	echo "S15 an ExternalName|tcp/s15:80|$all"
	echo "S16 an ExternalName|tcp/s16:80|$all"
	echo "S17 a ClusterIP|tcp/s17:80|$all"
	echo "S18 a node port|tcp/${node[3]}:30118|$all"
	echo "S22 not ready, published, by name|tcp/s22:80|unready"
	echo "S23 ready|tcp/${vip[s23]}:80|going"
	echo "S24 ready|tcp/${vip[s24]}:80|going"
	echo "S25 sticks to one|tcp/${vip[s25]}:80|$one"
	echo "S25 with datagrams too|udp/${vip[s25]}:80|$one"
	echo "S28 sticks to one by node port|tcp/${node[2]}:30125|$one"
	echo "S26 sticks to one|tcp/${vip[s26]}:80|$one"
	echo "S31 not labelled|tcp/${vip[s31]}:80|$all"
	echo "S31 labelled for another proxy|tcp/${vip[s31-from-birth]}:80|$fails"
	echo "S32 not labelled|tcp/${vip[s32]}:80|$all"
	echo "S32 labelled headless|tcp/${vip[s32-from-birth]}:80|$fails"
	echo "S35 pod to a pod of its node|tcp/${vip[s35]}:80|a1"
	echo "S35 with datagrams|udp/${vip[s35]}:80|a1"
	echo "S37 pod to a hostNetwork pod of its node|tcp/${vip[s37]}:80|h1"
	echo "S38 ready|tcp/${vip[s38]}:80|serving"
	echo "S47 tcp|tcp/${vip[s47]}:80|$all"
	echo "S47 udp|udp/${vip[s47]}:80|$all"
	echo "S48 tcp|tcp/${vip[s48]}:80|$all"
	echo "S48 udp|udp/${vip[s48]}:80|$all"
	echo "S51 a sidecar's port|tcp/${vip[s51]}:80|side"
	echo "S52 a sidecar's named port|tcp/${vip[s52]}:80|side"
	echo "S53 one name, two ports|tcp/${vip[s53]}:80|s53a s53b"
	echo "6.6 manual slices, the first port|tcp/${vip[manual]}:80|a1"
	echo "6.6 manual slices, the second port|tcp/${vip[manual]}:81|a2"
	echo "6.2 twins, the first|tcp/${vip[twin1]}:80|$all"
	echo "6.2 twins, the second|tcp/${node[2]}:30192|$all"
)
expect c2 "-n 3" <<LINES
S35 pod of another node|tcp/${vip[s35]}:80|$fails
S35 pod of another node, datagrams|udp/${vip[s35]}:80|$fails
S37 pod of another node|tcp/${vip[s37]}:80|$fails
S50 short cut by its own node's port|tcp/${node[2]}:30150|a1
LINES
expect h1 "-n 3" <<LINES
S36 hostNetwork pod to a pod of its node|tcp/${vip[s35]}:80|a1
S37 hostNetwork pod to one of its node|tcp/${vip[s37]}:80|h1
S33 no endpoints|tcp/${vip[s33]}:80|refused
LINES
expect h2 "-n 3" <<LINES
S36 hostNetwork pod of another node|tcp/${vip[s35]}:80|$fails
S37 hostNetwork pod of another node|tcp/${vip[s37]}:80|$fails
LINES
expect a1 "-n 10" <<LINES
S7 a pod reaches itself by its Service|tcp/${vip[s7]}:80|a1
S7 with datagrams too|udp/${vip[s7]}:80|a1
LINES
settle
expect c1 "-c -n 40" <<<"S6 the pod's own address|tcp/${vip[s12]}:80|a1@${ip[c1]} a2@${ip[c1]} a3@${ip[c1]}"
expect c2 "-c -n 40" <<<"S6 the pod's own address, datagrams|udp/${vip[s12]}:80|a1@${ip[c2]} a2@${ip[c2]} a3@${ip[c2]}"
expect c3 "-w 3000 -n 12" <<LINES
S26 affinity ends after its timeout|tcp/${vip[s26]}:80|a[123] a.*
S29 by node port too|tcp/${node[3]}:30126|a[123] a.*
LINES
external_local() { # WHEN
	expect out "-n 3 -c" <<-LINES
	S50 $1: the endpoint's node, with the client's address|tcp/${node[1]}:30150|a1@198.19.0.99
	S50 $1: another node says nothing|tcp/${node[2]}:30150|silent
	S50 $1: nor the third|tcp/${node[3]}:30150|silent
	LINES
	health_is "S50 $1: health" 30250 "" "" 200 503 503
}
external_local Local
settle
expect node1 "-n 40" <<LINES
6.4 localhost NodePort|tcp/127.0.0.1:30112|$all
6.4 localhost NodePort, affinity|tcp/127.0.0.1:30125|$one
6.4 hostPort, hostIP localhost|tcp/127.0.0.1:54323|port1
6.4 hostPort, hostIP the node's|tcp/${node[1]}:54323|port2
6.4 hostPort, UDP|udp/${node[1]}:54323|port3
LINES
expect c2 "-n 3" <<LINES
6.4 hostPort from a pod|tcp/${node[1]}:54323|port2
6.4 hostPort from a pod, UDP|udp/${node[1]}:54323|port3
LINES
soon "6.4 the same hostPort, hostIP and protocol: not on this node" "Pending.*false|Pending.*Unschedulable" \
	K get pod port4 -o 'jsonpath={.status.phase} {.status.conditions[?(@.type=="PodScheduled")].reason}'
soon "S3 no endpoints" '^$' endpoints s3
soon "S4 the slices have each port's pod" "^$(printf '%s\n' "${ip[s4a]}:100" "${ip[s4b]}:101" | sort | paste -sd' ')$" endpoints s4
soon "S34 the pod has failed" Failed K get pod s34 -o 'jsonpath={.status.phase}'
soon "S34 one slice without endpoints" '^1 0$' eval 'slices s34 | jq -r "\"\(.items | length) \([.items[].endpoints[]?] | length)\""'
health_is "S38 health while it is ready" 30238 "" "" 200 503 503
for k in 1 2 3; do
	says "6.2 healthz of the proxy of node $k" '200.*lastUpdated|lastUpdated.*200' on $k curl -s -w '%{http_code}' --max-time 3 --noproxy '*' http://127.0.0.1:10256/healthz
	says "6.2 proxyMode of node $k" '200$' on $k curl -s -w '%{http_code}' --max-time 3 --noproxy '*' http://127.0.0.1:10249/proxyMode
done
soon "6.6 a Service that selects nobody has one empty slice" '^1 0 endpointslice-controller.k8s.io$' \
	eval 'slices empty | jq -r "\"\(.items | length) \([.items[].endpoints[]?] | length) \(.items[0].metadata.labels[\"endpointslice.kubernetes.io/managed-by\"])\""'
check "6.6 and Endpoints" K get endpoints empty
wanted=$(for k in 1 2 3; do printf '%s:8080\n%s:8081\n' "${ip[a$k]}" "${ip[a$k]}"; done | sort | paste -sd' ')
soon "6.6 a named and a numbered port" "^$wanted$" endpoints mixed
K delete endpointslices -l kubernetes.io/service-name=mixed >/dev/null
soon "6.6 deleted slices are made again" "^$wanted$" endpoints mixed
for f in flow-pod flow-host flow-out; do soon "6.3 $f: the first backend answers" '^flow1 8080$' last $f; done
soon "6.3 flow-local: the first backend answers" '^local1 8080$' last flow-local
soon "6.3 flow-target-out: the first target port" '^target1 8080$' last flow-target-out
soon "6.3 flow-first: nobody yet" '^nobody$' last flow-first
settle

# --- round 2: everything changes ---
old9=${vip[s9]} old_a=${vip[s8a]} old_twin=${vip[twin1]}
K delete service s8a s9 twin1 >/dev/null
K delete pod going serving unready s4a s53a flow1 local1 --wait=false >/dev/null
{
	pod s3a 1 "app: s3, set: two" "serve s3a tcp:8080"
	pod s3b 2 "app: s3, set: two" "serve s3b tcp:8080"
	pod s53c 3 "app: s53, set: two" "serve s53c tcp:8000" 'ports: [{ name: web, containerPort: 8000 }]'
	pod flow2 2 "flow: all, set: two" "serve flow2 udp:8080"
	pod local2 2 "flow: local, set: two" "serve local2 udp:8080"
	pod first1 3 "flow: first, set: two" "serve first1 udp:8080" '' \
		'initContainers: [{ name: wait, image: "keelson.local/busybox:1", command: [sleep, "3"] }]'
	service s8c "selector: { pod: a3 }, ports: [$(tcp 80)]"
	service s9 "$a, ports: [$(tcp 80)]"
} | create
patch s5 '{"spec":{"ports":[{"name":"t81","port":81,"targetPort":8081}]}}'
patch s14 '{"spec":{"type":"NodePort"}}'
is "S14 a node port" 1 eval 'node_ports s14 | wc -w'
json_patch s14 '[{"op":"add","path":"/spec/ports/-","value":{"name":"u80","port":80,"targetPort":8080,"protocol":"UDP"}}]'
is "S14 a second for the other protocol" 2 eval 'node_ports s14 | wc -w'
patch s15 '{"spec":{"type":"ClusterIP","externalName":null,"selector":{"app":"a"},"ports":[{"port":80,"targetPort":8080}]}}'
patch s16 '{"spec":{"type":"NodePort","externalName":null,"selector":{"app":"a"},"ports":[{"port":80,"targetPort":8080,"nodePort":30116}]}}'
for s in s17 s18; do
	patch $s '{"spec":{"type":"ExternalName","externalName":"s12.default.svc.cluster.local","clusterIP":null,"clusterIPs":null,"ports":null,"selector":null}}'
	is "${s^} has no ClusterIP any more" "" K get service $s -o 'jsonpath={.spec.clusterIP}'
done
patch s25 '{"spec":{"sessionAffinity":"None"}}'
K label service s31 service.kubernetes.io/service-proxy-name=other >/dev/null
K label service s32 service.kubernetes.io/headless= >/dev/null
K label service s31-from-birth service.kubernetes.io/service-proxy-name- >/dev/null
K label service s32-from-birth service.kubernetes.io/headless- >/dev/null
patch s22 '{"spec":{"publishNotReadyAddresses":false}}'
json_patch s47 '[{"op":"remove","path":"/spec/ports/1"}]'
patch s50 '{"spec":{"externalTrafficPolicy":"Cluster"}}'
json_patch flow-target '[{"op":"replace","path":"/spec/ports/0/targetPort","value":8081}]'
json_patch moving '[{"op":"replace","path":"/spec/ports/0/nodePort","value":30171},{"op":"replace","path":"/spec/ports/1/nodePort","value":30171}]'
check "more pods are ready" ready two
look
refuses "S9 the address is another one" [ "$old9" = "${vip[s9]}" ]
{
	echo "S3 two pods|tcp/${vip[s3]}:80|s3a s3b"
	echo "S4 the first pod is gone|tcp/${vip[s4]}:80|refused"
	echo "S4 the second stays|tcp/${vip[s4]}:81|s4b"
	echo "S5 the port that stays|tcp/${vip[s5]}:80|$all"
	echo "S5 a port added|tcp/${vip[s5]}:81|$all"
	echo "S8 the first is gone|tcp/$old_a:80|$fails"
	echo "S8 the second stays|tcp/${vip[s8b]}:80|a2"
	echo "S8 a third|tcp/${vip[s8c]}:80|a3"
	echo "S9 made again|tcp/${vip[s9]}:80|$all"
	echo "S14 tcp|tcp/${node[1]}:$(node_ports s14 | cut -d' ' -f1)|$all"
	echo "S14 udp|udp/${node[2]}:$(node_ports s14 | cut -d' ' -f2)|$all"
	echo "S15 a ClusterIP, by name|tcp/s15:80|$all"
	echo "S15 by address|tcp/${vip[s15]}:80|$all"
	echo "S16 a NodePort, by name|tcp/s16:80|$all"
	for k in 1 2 3; do echo "S16 by node $k|tcp/${node[$k]}:30116|$all"; done
	echo "S17 an ExternalName|tcp/s17:80|$all"
	echo "S18 an ExternalName|tcp/s18:80|$all"
	echo "S18 the node port is gone|tcp/${node[3]}:30118|refused"
	echo "S22 terminating, not published any more|tcp/${vip[s22]}:80|refused"
	echo "S23 terminating and not ready, published|tcp/${vip[s23]}:80|going"
	for k in 1 2; do echo "S23 by node $k|tcp/${node[$k]}:30123|going"; done
	echo "S24 terminating and not ready|tcp/${vip[s24]}:80|refused"
	for k in 1 2; do echo "S24 by node $k|tcp/${node[$k]}:30124|$fails"; done
	echo "S27 affinity switched off|tcp/${vip[s25]}:80|$all"
	echo "S30 by node port too|tcp/${node[2]}:30125|$all"
	echo "S31 labelled|tcp/${vip[s31]}:80|$fails"
	echo "S31 the label taken away|tcp/${vip[s31-from-birth]}:80|$all"
	echo "S32 labelled|tcp/${vip[s32]}:80|$fails"
	echo "S32 the label taken away|tcp/${vip[s32-from-birth]}:80|$all"
	echo "S47 tcp goes on|tcp/${vip[s47]}:80|$all"
	echo "S47 udp taken away|udp/${vip[s47]}:80|refused"
	echo "S53 after the replacement|tcp/${vip[s53]}:80|s53b s53c"
	echo "6.2 one twin is gone|tcp/$old_twin:80|$fails"
	echo "6.2 and its node port|tcp/${node[1]}:30191|refused"
	echo "6.2 the other stays|tcp/${vip[twin2]}:80|$all"
	echo "6.2 and its node port, datagrams|udp/${node[2]}:30192|$all"
	echo "6.2 the node port is another, tcp|tcp/${node[1]}:30171|$all"
	echo "6.2 the node port is another, udp|udp/${node[1]}:30171|$all"
	echo "6.2 the old one is closed, tcp|tcp/${node[1]}:30170|refused"
	echo "6.2 the old one is closed, udp|udp/${node[1]}:30170|refused( silent)?"
} >"$work/second"
expect c1 "-n 40" <"$work/second"
settle
expect out "-n 20" <<LINES
S50 Cluster: node 1|tcp/${node[1]}:30150|a1
S50 Cluster: node 2|tcp/${node[2]}:30150|a1
S50 Cluster: node 3|tcp/${node[3]}:30150|a1
LINES
health_is "S38 no health when all terminate" 30238 "" "" 503 503 503
health_is "S50 Cluster: no health port" 30250 "" "" 000 000 000
for f in flow-pod flow-host flow-out; do soon "6.3 $f: the second backend takes over" '^flow2 8080$' last $f; done
soon "6.3 flow-local: the other node's backend is not for it" '^nobody$' last flow-local
for f in flow-first flow-first-out; do soon "6.3 $f: the first endpoint is ready" '^first1 8080$' last $f; done
soon "6.3 flow-target-out: another target port" '^target1 8081$' last flow-target-out
settle

# The API server's side of node ports.
refused_port() { service s19 "type: NodePort, $a, ports: [$(tcp 80 8080 "$1")]" | K create -f -; }
says "S19 a node port that is taken" '30112.*port is already allocated' refused_port 30112
says "S20 a node port out of range" 'not in the valid range' refused_port 29999
K delete service moving >/dev/null
check "S19 a node port that was given back" refused_port 30171

# --- round 3: and back ---
K delete pod s3a --wait=false >/dev/null
pod local3 1 "flow: local" "serve local3 udp:8080" | create
json_patch s5 '[{"op":"replace","path":"/spec/ports","value":[{"name":"t80","port":80,"targetPort":8080}]}]'
patch s22 '{"spec":{"publishNotReadyAddresses":true}}'
patch s25 '{"spec":{"sessionAffinity":"ClientIP"}}'
K label service s31 service.kubernetes.io/service-proxy-name- >/dev/null
K label service s32 service.kubernetes.io/headless- >/dev/null
json_patch s47 '[{"op":"replace","path":"/spec/ports","value":[{"name":"u80","port":80,"targetPort":8080,"protocol":"UDP"}]}]'
patch s50 '{"spec":{"externalTrafficPolicy":"Local","healthCheckNodePort":30250}}'
expect c1 "-n 40" <<LINES
S3 the first pod is gone|tcp/${vip[s3]}:80|s3b
S5 the port that stays|tcp/${vip[s5]}:80|$all
S5 the port taken away|tcp/${vip[s5]}:81|$fails
S19 the node port serves its new Service|tcp/${node[1]}:30171|$all
S22 terminating, published again|tcp/${vip[s22]}:80|unready
S23 still|tcp/${vip[s23]}:80|going
S24 still not|tcp/${vip[s24]}:80|refused
S27 affinity switched on again|tcp/${vip[s25]}:80|$one
S30 by node port too|tcp/${node[2]}:30125|$one
S31 the label taken away|tcp/${vip[s31]}:80|$all
S32 the label taken away|tcp/${vip[s32]}:80|$all
S47 tcp taken away|tcp/${vip[s47]}:80|refused
S47 udp is back|udp/${vip[s47]}:80|$all
LINES
external_local "Local again"
soon "6.3 flow-local: a new backend on its node" '^local3 8080$' last flow-local
settle

# --- round 4: daemons are killed; Services go ---
daemon() { "$bin/keelson" status --state "$state" --json | jq -r --arg n "$1" '[.[] | select(.name == $n)][0].pid'; }
K delete pod s3b --wait=false >/dev/null
K delete service s12 empty >/dev/null
check "S10 the proxy is killed" kill -9 "$(daemon proxy)"
expect c1 "-n 40" <<LINES
S10 a Service after the proxy's death|tcp/${vip[s9]}:80|$all
S10 another one|tcp/${vip[s8b]}:80|a2
S3 no pods any more|tcp/${vip[s3]}:80|refused
S21 a Service deleted, its node port|tcp/${node[1]}:30112|refused
LINES
gone() { [ "$(slices "$1" | jq '.items | length')" = 0 ]; }
check "6.6 the slices go with the Service" eventually 90 gone empty
settle
check "S11 the API server is killed" kill -9 "$(daemon apiserver)"
check "S11 it comes back" eventually 60 K get --raw /readyz
new() { service s11 "type: NodePort, $a, ports: [$(tcp 80 8080 30112)]" | K create -f -; }
check "S11 a Service made after that" eventually 30 new
look
is "S11 all ClusterIPs are distinct" "" eval 'printf "%s\n" "${vip[@]}" | grep . | sort | uniq -d'
expect c1 "-n 40" <<LINES
S11 a Service of before|tcp/${vip[s9]}:80|$all
S11 the new Service|tcp/${vip[s11]}:80|$all
S21 the node port serves another Service|tcp/${node[2]}:30112|$all
LINES
settle

# S45, S46: the API.
service s45 "type: LoadBalancer, loadBalancerClass: example.com/none, $a, ports: [$(tcp 80)]" "batch: one" | create
check "S45 a status is patched" K patch service s45 --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]},"conditions":[{"type":"T","status":"True","reason":"R","message":"M","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}'
is "S45 and read" "203.0.113.1 T" K get service s45 --subresource=status -o 'jsonpath={.status.loadBalancer.ingress[0].ip} {.status.conditions[0].type}'
{ service s46 "$a, ports: [$(tcp 80)]" "batch: one"; service s46-stays "$a, ports: [$(tcp 80)]" "batch: two"; } | create
check "S46 a collection is deleted" K delete --raw '/api/v1/namespaces/default/services?labelSelector=batch%3Done'
is "S46 the others stay" "s46-stays" eval "K get services -l batch -o 'jsonpath={.items[*].metadata.name}'"
finish
