#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Services, DNS and pod networking as pods, the node and an outside machine see them.
. "$(dirname "$0")/lib.sh"

check "up" up || exit 1
check "apply" K apply -f "$root/examples/hello/hello.yaml"
check "rollout" K rollout status deployment/hello --timeout=90s
K run box --image=keelson.local/busybox:1 --restart=Never -- sleep 3600 >/dev/null
check "a client pod" K wait --for=condition=Ready pod/box --timeout=60s
pod_sh() { K exec box -- sh -c "$1"; }
vip=$(K get service hello -o 'jsonpath={.spec.clusterIP}')
node_ip=$(K get node -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
box_ip=$(K get pod box -o 'jsonpath={.status.podIP}')
hello() { K exec deploy/hello -- /hello get "$1"; }
fetch() { pod_sh "printf 'GET / HTTP/1.0\r\nConnection: close\r\n\r\n' | nc -w 3 $1 $2"; }

says "ClusterIP by address from a pod" "^hello from pod hello-" fetch "$vip" 80
says "ClusterIP by name" "^hello from pod hello-" hello http://hello/
says "by its full name" "^hello from pod hello-" hello http://hello.default.svc.cluster.local/
says "the backend sees the pod's own address" "to $box_ip" fetch "$vip" 80
says "ClusterIP from the node" "^hello from pod" in_node curl -s --max-time 3 --noproxy '*' "http://$vip/"
says "NodePort from the node" "^hello from pod" in_node curl -s --max-time 3 --noproxy '*' "http://$node_ip:30080/"
says "NodePort on localhost" "^hello from pod" in_node curl -s --max-time 3 --noproxy '*' http://127.0.0.1:30080/
says "NodePort from a pod" "^hello from pod" fetch "$node_ip" 30080
all_pods() { for _ in $(seq 40); do fetch "$vip" 80; done | sed -n 's/.*from pod \([^ ]*\).*/\1/p' | sort -u | wc -l; }
is "all three backends are used" 3 all_pods

# Outside: a namespace joined to the node by a link of its own, routes to the node's address only.
ip netns add "$netns-out"
ip -n "$netns-out" link add out0 type veth peer name in0 netns "$netns"
ip -n "$netns-out" addr add 198.18.9.2/30 dev out0
ip -n "$netns-out" link set out0 up
ip -n "$netns" addr add 198.18.9.1/30 dev in0
ip -n "$netns" link set in0 up
ip -n "$netns-out" route add "$node_ip/32" via 198.18.9.1 2>/dev/null
outside() { nsenter --net="/run/netns/$netns-out" "$@"; }
check "NodePort from outside" eventually 20 matches "^hello from pod" outside curl -s --max-time 3 --noproxy '*' "http://$node_ip:30080/"
says "it keeps the client's address" "to 198.18.9.2" outside curl -s --max-time 3 --noproxy '*' "http://$node_ip:30080/"
refuses "a port without a Service stays closed" outside curl -s --max-time 3 --noproxy '*' "http://$node_ip:30081/"

K create service clusterip nobody --tcp=80:8080 >/dev/null
lonely=$(K get service nobody -o 'jsonpath={.spec.clusterIP}')
dial() { in_node python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 80), 3)' "$1"; }
check "no endpoints: refused at once" eventually 10 matches "ConnectionRefusedError" dial "$lonely"
refuses "an address nobody owns goes nowhere" in_node curl -sS --max-time 2 --noproxy '*' http://10.111.222.33/
says "the ranges are blackholed" "blackhole 10.96.0.0/12" in_node ip route
says "and the pods' too" "blackhole 10.244.0.0/16" in_node ip route

K patch service hello -p '{"spec":{"sessionAffinity":"ClientIP"}}' >/dev/null
one_pod() { for _ in $(seq 15); do fetch "$vip" 80; done | sed -n 's/.*from pod \([^ ]*\).*/\1/p' | sort -u | wc -l; }
check "session affinity sticks to one backend" eventually 15 matches '^1$' one_pod
K patch service hello -p '{"spec":{"sessionAffinity":"None"}}' >/dev/null
check "and lets go again" eventually 15 matches '^3$' all_pods

self=$(K get pod -l app=hello -o 'jsonpath={.items[0].metadata.name}')
K label pod "$self" only=me >/dev/null
K create -f - >/dev/null <<<'{"apiVersion":"v1","kind":"Service","metadata":{"name":"mirror"},"spec":{"selector":{"only":"me"},"ports":[{"port":80,"targetPort":8080}]}}'
check "a pod reaches itself through its Service" eventually 15 matches "from pod $self" K exec "$self" -- /hello get http://mirror/

lookup() { pod_sh "nslookup $*"; }
says "DNS: a Service" "Address.*$vip" lookup hello.default.svc.cluster.local
says "DNS: the API server" "10\.96\.0\.1" lookup kubernetes.default.svc.cluster.local
says "DNS: reverse" "hello.default.svc.cluster.local" lookup "$vip"
says "DNS: a name that is not there" "NXDOMAIN|can't" lookup nothing.default.svc.cluster.local
K create -f - >/dev/null <<<'{"apiVersion":"v1","kind":"Service","metadata":{"name":"headless"},"spec":{"clusterIP":"None","selector":{"app":"hello"},"ports":[{"name":"http","port":80,"targetPort":8080}]}}'
headless() { lookup headless.default.svc.cluster.local | grep -oE '10\.244\.[0-9.]+' | sort -u | wc -l; }
check "DNS: a headless Service has each pod" eventually 15 matches '^3$' headless
K create -f - >/dev/null <<<'{"apiVersion":"v1","kind":"Service","metadata":{"name":"alias"},"spec":{"type":"ExternalName","externalName":"hello.default.svc.cluster.local"}}'
check "DNS: ExternalName" eventually 15 matches "$vip|hello.default" lookup alias.default.svc.cluster.local

check "a pod reaches the API server by its Service" pod_sh 'nc -w 3 kubernetes 443 </dev/null'
K scale deployment hello --replicas=1 >/dev/null
# A pod that takes long to end: while nobody else is there its Service goes on with it (KEP-1669).
K create -f - >/dev/null <<'END'
{"kind":"List","apiVersion":"v1","items":[
 {"kind":"Pod","apiVersion":"v1","metadata":{"name":"stay","labels":{"app":"stay"}},"spec":{"terminationGracePeriodSeconds":120,"containers":[
  {"name":"c","image":"keelson.local/busybox:1","command":["sh","-c","trap '' TERM; mkdir /tmp/w; echo still here >/tmp/w/index.html; httpd -f -p 8080 -h /tmp/w"],
   "readinessProbe":{"httpGet":{"path":"/","port":8080},"periodSeconds":1}}]}},
 {"kind":"Service","apiVersion":"v1","metadata":{"name":"stay"},"spec":{"selector":{"app":"stay"},"ports":[{"port":80,"targetPort":8080}]}}]}
END
check "a pod that will not end" K wait --for=condition=Ready pod/stay --timeout=60s
check "it is deleted" K delete pod stay --wait=false
slice() { K get endpointslices -l kubernetes.io/service-name=stay -o 'jsonpath={.items[0].endpoints[0].conditions}'; }
check "its endpoint terminates and serves" eventually 15 matches '"ready":false,"serving":true,"terminating":true' slice
sleep 3 # some probes later
is "and goes on serving" '{"ready":false,"serving":true,"terminating":true}' slice
is "the Service falls back to it" "still here" in_node curl -s --max-time 3 --noproxy '*' "http://$(K get service stay -o 'jsonpath={.spec.clusterIP}')/"
check "it is made to end" K delete pod stay --force --grace-period=0
check "removed backends get no traffic" eventually 30 matches '^1$' all_pods
finish
