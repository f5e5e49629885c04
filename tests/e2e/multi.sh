#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A lab of three nodes on two segments, used by kubectl alone: pods, Services and DNS across nodes, clients outside, the death of
# a node and its return. Nodes 1 and 3 share a segment (direct routes), node 2 is behind the router (VXLAN).
. "$(dirname "$0")/lib.sh"

lab() { # further options of keelson up
	local args=() i
	for i in "$images"/*.tar; do args+=(--image "$i"); done
	"$bin/keelson" up --netns "$netns" --state "$state" --nodes 3 --node-grace-period 4s "${args[@]}" "$@"
}
in_node() { "$bin/keelson" exec --state "$state" -- "$@"; }
on() { local k=$1; shift; "$bin/keelson" exec --state "$state" --node "$netns-$k" -- "$@"; }
outside() { nsenter --net="/run/netns/$netns-out" "$@"; }
get() { outside curl -s --max-time 3 --noproxy "*" "http://$1/"; }
pod_of() { K get pods -l "app=$1" -o "jsonpath={.items[?(@.spec.nodeName==\"$netns-$2\")].metadata.name}"; }
ip_of() { K get pods -l "app=$1" -o "jsonpath={.items[?(@.spec.nodeName==\"$netns-$2\")].status.podIP}"; }
# answers N COMMAND...: the pods that answer N requests, each once.
answers() { local n=$1; shift; for _ in $(seq "$n"); do "$@"; done | sed -n 's/.*from pod \([^ ]*\).*/\1/p' | sort -u; }
# In a pod without curl: one exec for many requests.
fetch='f() { printf "GET / HTTP/1.0\r\n\r\n" | nc -w 3 $1 $2 | tail -n 1; }'
from_pod() { local k=$1; shift; K exec "${box[$k]}" -- sh -c "$fetch; $*"; }
no_loss() { for _ in $(seq 30); do outside curl -s --max-time 2 --noproxy '*' "http://198.19.0.1:30080/" || echo lost; done | grep -c lost; }
count() { "$@" | wc -l; }

check "three nodes on two segments" lab --segments 2 || exit 1
is "all three are nodes" 3 count K get nodes --no-headers
column() { K get nodes -o wide --no-headers | awk -v n="$1" '{ print $n }' | uniq | xargs; }
is "the first has the control plane's role, the others none" "control-plane <none>" column 3
is "a ready node has told its runtime's version" "" eval "K get nodes -o wide | grep unknown"
check "up again" matches "nothing changed" lab --segments 2
says "status shows every node" "node $netns-3 \(198.19.0.3\)" "$bin/keelson" status --state "$state"
says "an unknown node" "there is no node $netns-9.*$netns-2" "$bin/keelson" exec --state "$state" --node "$netns-9" -- true

K apply -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: hello }
spec:
  selector: { matchLabels: { app: hello } }
  template:
    metadata: { labels: { app: hello } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - { name: hello, image: "keelson.local/hello:1", ports: [{ containerPort: 8080 }],
          env: [{ name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } },
                { name: NODE_NAME, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }] }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: box }
spec:
  selector: { matchLabels: { app: box } }
  template:
    metadata: { labels: { app: box } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: box, image: "keelson.local/busybox:1", command: [sleep, "3600"] }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
      - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
      containers: [{ name: web, image: "keelson.local/hello:1" }]
---
apiVersion: v1
kind: Service
metadata: { name: hello }
spec: { type: NodePort, selector: { app: hello }, ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: hello-local }
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: { app: hello }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30081 }]
YAML
check "a pod on each node" K rollout status daemonset/hello --timeout=60s
check "a client on each node" K rollout status daemonset/box --timeout=60s
check "a deployment" K rollout status deployment/web --timeout=60s
declare -A box box_ip hello hello_ip
for k in 1 2 3; do
	box[$k]=$(pod_of box $k) box_ip[$k]=$(ip_of box $k) hello[$k]=$(pod_of hello $k) hello_ip[$k]=$(ip_of hello $k)
done
vip=$(K get service hello -o 'jsonpath={.spec.clusterIP}')

# The pod network.
route() { on "$1" ip -o route get "${hello_ip[$2]}"; }
says "the way to another segment is VXLAN" "dev klvx" route 1 2
says "and back" "dev klvx" route 2 1
says "within a segment it is direct" "via 198.19.0.3 dev eth0" route 1 3
for k in 1 2 3; do
	wanted=$(for j in 1 2 3; do echo "hello from pod ${hello[$j]} on node $netns-$j to ${box_ip[$k]}"; done)
	is "a pod on node $k reaches the pods of all nodes with its own address" "$wanted" \
		from_pod $k "f ${hello_ip[1]} 8080; f ${hello_ip[2]} 8080; f ${hello_ip[3]} 8080"
	for j in 1 2 3; do says "node $k reaches the pod of node $j" "^hello from pod ${hello[$j]} " on $k curl -s --max-time 3 --noproxy '*' "http://${hello_ip[$j]}:8080/"; done
done

# Services.
all=$(printf '%s\n' "${hello[@]}" | sort)
for k in 1 2 3; do
	is "the ClusterIP leads a pod on node $k to all nodes" "$all" answers 1 from_pod $k "for i in \$(seq 30); do f $vip 80; done"
	says "with the pod's own address" "^hello from .* to ${box_ip[$k]}$" from_pod $k "f $vip 80"
	is "the ClusterIP leads node $k to all nodes" "$all" answers 30 on $k curl -s --max-time 3 --noproxy '*' "http://$vip/"
	says "DNS on node $k" "Address.*$vip" from_pod $k nslookup hello.default.svc.cluster.local
	says "and by name" "^hello from pod hello-" K exec "${hello[$k]}" -- /hello get http://hello/
done

# A machine on the underlay that is no node.
ip netns add "$netns-out"
ip -n "$netns-net" link add out type veth peer name eth0 netns "$netns-out"
ip -n "$netns-net" link set out master seg0 up
ip -n "$netns-out" addr add 198.19.0.99/24 dev eth0
ip -n "$netns-out" link set eth0 up
ip -n "$netns-out" route add default via 198.19.0.254
address=([1]=198.19.0.1 [2]=198.19.1.2 [3]=198.19.0.3)
for k in 1 2 3; do
	check "NodePort of node $k from outside" eventually 10 matches "^hello from pod" get "${address[$k]}:30080"
	is "leads to all nodes" "$all" answers 40 get "${address[$k]}:30080"
	is "externalTrafficPolicy Local stays on node $k" "${hello[$k]}" answers 10 get "${address[$k]}:30081"
	says "and keeps the client's address" "to 198.19.0.99$" get "${address[$k]}:30081"
	says "NodePort of node $k from a pod on node 1" "^hello from pod" from_pod 1 "f ${address[$k]} 30080"
	says "NodePort of node $k on localhost" "^hello from pod" on $k curl -s --max-time 3 --noproxy '*' "http://127.0.0.1:30080/"
done

# A node dies.
ready_endpoints() { # SERVICE
	K get endpointslices -l "kubernetes.io/service-name=$1" -o json | jq -r '.items[].endpoints[] | select(.conditions.ready) | .nodeName' | sort -u | tr '\n' ' '
}
web_nodes() { K get pods -l app=web -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null and .status.phase == "Running") | .spec.nodeName' | sort | uniq -c | tr -s ' \n' ' '; }
check "node 3 loses its power" "$bin/keelson" node stop --state "$state" "$netns-3"
says "status says so" "not running" "$bin/keelson" status --state "$state"
check "it is not ready" eventually 20 matches "$netns-3 +NotReady" K get nodes
check "its endpoints leave" eventually 10 matches "^$netns-1 $netns-2 $" ready_endpoints hello
settled() { [ "$(answers 30 get 198.19.0.1:30080 | wc -l)" = 2 ] && [ "$(no_loss)" = 0 ]; }
check "traffic follows" eventually 10 settled
is "no request is lost then" 0 no_loss
is "from pods neither" "$(printf '%s\n' "${hello[1]}" "${hello[2]}" | sort)" answers 1 from_pod 2 "for i in \$(seq 30); do f $vip 80; done"
check "its pods are replaced" eventually 30 matches "^ [0-9] $netns-1 [0-9] $netns-2 $" web_nodes
check "there are three again" eventually 20 matches '^3$' K get deployment web -o 'jsonpath={.status.availableReplicas}'

# And returns.
check "node 3 gets power" "$bin/keelson" node start --state "$state" "$netns-3"
check "it is ready" eventually 20 matches "$netns-3 +Ready" K get nodes
check "its endpoints return" eventually 30 matches "^$netns-1 $netns-2 $netns-3 $" ready_endpoints hello
box[3]=$(pod_of box 3)
back() { [ "$(answers 30 get 198.19.0.1:30080 | wc -l)" = 3 ]; }
check "traffic reaches it" eventually 10 back
check "and its NodePort works" eventually 10 matches "^hello from pod" get 198.19.0.3:30080
from_it() { from_pod 3 "f $vip 80"; }
check "its pods reach Services" eventually 20 matches "^hello from pod" from_it

# The control plane's node dies: the others' pods and Services go on without it.
on_2() { on 2 curl -s --max-time 1 --noproxy '*' "http://$vip/"; }
check "node 1 loses its power" "$bin/keelson" node stop --state "$state" "$netns-1"
is "the others keep their BPF file systems" 2 grep -c "^bpf $state/nodes/[23]/bpf " /proc/self/mounts
check "node 2 reaches Services" eventually 20 matches "^hello from pod" on_2
check "outsiders reach its NodePort" eventually 20 matches "^hello from pod" get 198.19.1.2:30080
check "node 1 gets power" "$bin/keelson" node start --state "$state" "$netns-1"
check "traffic reaches all again" eventually 30 back
check "node 2 reaches Services still" eventually 20 matches "^hello from pod" on_2
check "the lab goes down" "$bin/keelson" down --state "$state" --purge
left() { ls -d "$state" /run/netns/"$netns"-[n0-9]* /sys/fs/cgroup/*/"keelson-$netns"* 2>/dev/null; grep -F "$work" /proc/self/mounts; pgrep -f "$state/"; }
is "nothing is left" "" left

# The same on one segment without a tunnel, with both address families.
check "direct routes only, dual stack" lab --pod-network direct --service-cidr 10.96.0.0/12,fd00:10:96::/112 \
	--cluster-cidr 10.244.0.0/16,fd00:10:244::/56
K create deployment hello --image=keelson.local/hello:1 --replicas=3 >/dev/null
check "pods" K rollout status deployment/hello --timeout=60s
reach_all() { for ip in $(K get pods -l app=hello -o 'jsonpath={.items[*].status.podIP}'); do on "$1" curl -s --max-time 3 --noproxy '*' "http://$ip:8080/" || echo lost; done | grep -c "^hello from pod"; }
for k in 1 2 3; do check "node $k reaches them all" eventually 10 matches '^3$' reach_all $k; done
refuses "there is no tunnel" on 1 ip link show klvx
K create -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: six }
spec: { type: NodePort, ipFamilyPolicy: RequireDualStack, selector: { app: hello }, ports: [{ port: 80, targetPort: 8080, nodePort: 30086 }] }
YAML
pods6() { K get pods -l app=hello -o json | jq -r '.items[].status.podIPs[].ip | select(contains(":"))'; }
is "each pod has an IPv6 address too" 3 count pods6
reach_all6() { for ip in $(pods6); do on "$1" curl -gs --max-time 3 --noproxy '*' "http://[$ip]:8080/" || echo lost; done | grep -c "^hello from pod"; }
vip6=$(K get service six -o 'jsonpath={.spec.clusterIPs[1]}')
for k in 1 2 3; do
	check "node $k reaches them all over IPv6" eventually 10 matches '^3$' reach_all6 $k
	check "the Service's IPv6 address from node $k" eventually 10 matches "^hello from pod" on $k curl -gs --max-time 3 --noproxy '*' "http://[$vip6]/"
	check "its NodePort over IPv6 from the underlay" eventually 10 matches "^hello from pod" \
		nsenter --net="/run/netns/$netns-net" curl -gs --max-time 3 --noproxy '*' "http://[fd00:198:19::$k]:30086/"
done
# Everything is killed at once, the supervisors first; down finds it all.
for p in $("$bin/keelson" status --state "$state" --json | jq -r 'sort_by(.name != "supervisor")[].pid'); do kill -9 "$p"; done
check "down after everything was killed" "$bin/keelson" down --state "$state" --purge
is "nothing is left then either" "" left
finish
