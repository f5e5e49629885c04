#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# keelson-controllers against a real keelson-apiserver on loopback; nodes are played by patching pod statuses.
set -u
B=${B:-build}
root=$(cd "$(dirname "$0")/.." && pwd)
case $B in /*) ;; *) B=$root/$B ;; esac
dir=$(mktemp -d /tmp/controllers-live.XXXXXX)
api_pid= ctl_pid= failed=0 ip=1

cleanup() {
	for pid in $ctl_pid $api_pid; do kill "$pid" 2>/dev/null; done
	wait 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
cd "$dir" || exit 1

certificate() { # name subject
	openssl ecparam -genkey -name prime256v1 -noout -out "$1.key" 2>/dev/null
	openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
	printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

setup() {
	openssl ecparam -genkey -name prime256v1 -noout -out ca.key 2>/dev/null
	openssl req -x509 -new -key ca.key -subj /CN=live-test-ca -days 2 -out ca.crt 2>/dev/null
	certificate server /CN=kube-apiserver
	certificate admin /O=system:masters/CN=kubernetes-admin
	certificate controllers /CN=system:kube-controller-manager
	openssl ecparam -genkey -name prime256v1 -noout -out sa.key 2>/dev/null
	openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
	mkdir store
	"$B/bin/keelson-apiserver" --data-dir store --listen 127.0.0.1:0 --port-file port --advertise-address 192.0.2.1 \
		--tls-cert server.crt --tls-key server.key --client-ca ca.crt --sa-key sa.key --sa-public sa.pub \
		--service-cidr 10.96.0.0/12,fd00:10:96::/112 --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 2>api.log &
	api_pid=$!
	for _ in $(seq 300); do [ -s port ] && break; sleep 0.1; done
	url=https://127.0.0.1:$(cat port)
	cat >kubeconfig <<-YAML
	apiVersion: v1
	kind: Config
	clusters: [{name: c, cluster: {server: "$url", certificate-authority: $dir/ca.crt}}]
	users: [{name: u, user: {client-certificate: $dir/controllers.crt, client-key: $dir/controllers.key}}]
	contexts: [{name: x, context: {cluster: c, user: u}}]
	current-context: x
	YAML
}

controllers() {
	"$B/bin/keelson-controllers" --kubeconfig kubeconfig --root-ca ca.crt --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 \
		--node-cidr-mask 24 --node-cidr-mask-ipv6 64 --cluster-signing-cert ca.crt --cluster-signing-key ca.key \
		--node-monitor-grace-period 2s 2>>controllers.log &
	ctl_pid=$!
}

api() { # method path [body [content type]]
	curl -s --cacert ca.crt --cert admin.crt --key admin.key -X "$1" "$url$2" ${3:+-d "$3"} \
		-H "Content-Type: ${4:-application/json}"
}

merge() { api PATCH "$1" "$2" application/merge-patch+json >/dev/null; }

check() { # what path jq-filter expected: within a minute or so
	local got
	for _ in $(seq 600); do
		got=$(api GET "$2" | jq -c "$3" 2>/dev/null)
		[ "$got" = "$4" ] && { echo "ok - $1"; return; }
		sleep 0.1
	done
	echo "not ok - $1: $got instead of $4"
	failed=1
}

say() { # what: the outcome of the command before
	local outcome=$?
	[ $outcome -eq 0 ] && { echo "ok - $1"; return; }
	echo "not ok - $1"
	failed=1
}

run_pods() { # namespace: plays the nodes for its pods
	local name
	for name in $(api GET "/api/v1/namespaces/$1/pods" | jq -r '.items[]|select(.status.phase=="Pending")|.metadata.name'); do
		ip=$((ip + 1))
		merge "/api/v1/namespaces/$1/pods/$name/status" "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.244.0.$ip\",
			\"podIPs\":[{\"ip\":\"10.244.0.$ip\"}],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",
			\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}"
	done
}

roll() { # plays the nodes until the Deployment is complete
	for _ in $(seq 300); do
		run_pods t
		[ "$(api GET $D | jq '.status.updatedReplicas==.spec.replicas and .status.availableReplicas==.spec.replicas and
			.status.replicas==.spec.replicas and .status.observedGeneration==.metadata.generation')" = true ] && return
		sleep 0.1
	done
}

b64() { printf %s "$1" | base64 -w0; }

# signer subject usages-as-JSON [subjectAltName]: a CertificateSigningRequest; the key stays in join.key
csr_of() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout join.key -subj "$2" ${4:+-addext "subjectAltName=$4"} \
		-out join.csr 2>/dev/null
	printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"generateName":"csr-"},"spec":
		{"signerName":"%s","request":"%s","usages":%s,"username":"somebody-else"}}' "$1" "$(base64 -w0 <join.csr)" "$3"
}

CSRS=/apis/certificates.k8s.io/v1/certificatesigningrequests

# As a machine joins: what it reads with nothing and with a token, its client and serving certificates.
joining() {
	local name token=abcdef.0123456789abcdef nobody=(curl -s --cacert ca.crt) kubelet=kubernetes.io/kubelet-serving
	local client=kubernetes.io/kube-apiserver-client-kubelet bearer new
	bearer=(curl -s --cacert ca.crt -H "Authorization: Bearer $token" -H "Content-Type: application/json")
	api POST /api/v1/namespaces/kube-system/secrets '{"apiVersion":"v1","kind":"Secret","type":"bootstrap.kubernetes.io/token",
		"metadata":{"name":"bootstrap-token-abcdef"},"stringData":{"token-id":"abcdef","token-secret":"0123456789abcdef",
		"usage-bootstrap-authentication":"true","usage-bootstrap-signing":"true",
		"auth-extra-groups":"system:bootstrappers:keelson:default-node-token"}}' >/dev/null
	check "cluster-info is signed by the token" /api/v1/namespaces/kube-public/configmaps/cluster-info \
		'.data["jws-kubeconfig-abcdef"]|test("^[^.]+[.][.][^.]+$")' true
	[ "$("${nobody[@]}" "$url/api/v1/namespaces/kube-public/configmaps/cluster-info" | jq -r .data.kubeconfig |
		sed -n 's/.*certificate-authority-data: //p' | base64 -d)" = "$(cat ca.crt)" ]
	say "who is nobody reads cluster-info, with the CA in it"
	[ "$("${nobody[@]}" -o /dev/null -w '%{http_code}' "$url/api/v1/namespaces/kube-public/configmaps")" = 403 ]
	say "and nothing else"
	[ "$("${bearer[@]}" "$url/api/v1/namespaces/kube-system/configmaps/keelson-config" | jq -c '[.data["service-cidr"],
		.data["cluster-cidr"],.data["cluster-dns"]]')" = \
		'["10.96.0.0/12,fd00:10:96::/112","10.244.0.0/16,fd00:10:244::/56","10.96.0.10,fd00:10:96::a"]' ]
	say "the token reads the cluster's ranges"
	[ "$("${bearer[@]}" -o /dev/null -w '%{http_code}' "$url/api/v1/namespaces/kube-system/secrets")" = 403 ]
	say "and no secret"
	name=$("${bearer[@]}" -d "$(csr_of $client /O=system:nodes/CN=system:node:n9 '["client auth","digital signature"]')" "$url$CSRS" |
		jq -r .metadata.name)
	check "a request is the token's, whatever it says" "$CSRS/$name" .spec.username '"system:bootstrap:abcdef"'
	check "a joining node's client certificate is approved and issued" "$CSRS/$name" \
		'[(.status.conditions[0].type),(.status.certificate|length>0)]' '["Approved",true]'
	api GET "$CSRS/$name" | jq -r .status.certificate | base64 -d >join.crt
	openssl verify -CAfile ca.crt join.crt >/dev/null && mv join.key node.key
	say "by the cluster's CA"
	new=(curl -s --cacert ca.crt --cert join.crt --key node.key -H "Content-Type: application/json")
	name=$("${new[@]}" -d "$(csr_of $kubelet /O=system:nodes/CN=system:node:n9 '["server auth","digital signature"]' \
		DNS:n9,IP:192.0.2.9)" "$url$CSRS" | jq -r .metadata.name)
	check "with it, the node gets its serving certificate" "$CSRS/$name" '.status.certificate|length>0' true
	name=$("${new[@]}" -d "$(csr_of $kubelet /O=system:nodes/CN=system:node:n9 '["server auth","digital signature"]' \
		DNS:kubernetes.default.svc)" "$url$CSRS" | jq -r .metadata.name)
	sleep 0.3
	check "but none for another name" "$CSRS/$name" .status '{}'
	name=$("${new[@]}" -d "$(csr_of kubernetes.io/kube-apiserver-client /CN=jane '["client auth"]')" "$url$CSRS" | jq -r .metadata.name)
	sleep 0.3
	check "a user's certificate waits for a person" "$CSRS/$name" .status '{}'
	api PUT "$CSRS/$name/approval" "$(api GET "$CSRS/$name" | jq -c \
		'.status.conditions=[{type:"Approved",status:"True",reason:"ByHand"}]')" >/dev/null
	check "and is issued when they approve" "$CSRS/$name" '.status.certificate|length>0' true
	merge /api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef "{\"data\":{\"expiration\":\"$(b64 2020-01-01T00:00:00Z)\"}}"
	check "a token whose time is over is deleted" /api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef .code 404
	[ "$("${bearer[@]}" -o /dev/null -w '%{http_code}' "$url/api/v1/namespaces/kube-system/configmaps/keelson-config")" = 401 ]
	say "and lets nobody in"
	check "its signature goes" /api/v1/namespaces/kube-public/configmaps/cluster-info '.data|keys' '["kubeconfig"]'
}

# A node's sign of life, as often as it is called.
beat() {
	merge "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/$1" "{\"spec\":{\"renewTime\":\"$(date -u +%FT%T.%6NZ)\"}}"
}

beats() { # nodes: until the file "silent" appears
	while [ ! -e silent ]; do
		for node in "$@"; do beat "$node"; done
		sleep 0.3
	done
}

place() { # pod node
	api POST "/api/v1/namespaces/n/pods/$1/binding" "{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"$1\"},
		\"target\":{\"kind\":\"Node\",\"name\":\"$2\"}}" >/dev/null
}

# A node goes silent: its pods leave the endpoints, then the node; it comes back.
node_death() {
	local node pods gone ready='"conditions":[{"type":"Ready","status":"True"}]' taints='[.spec.taints[]?.key]'
	local slices=/apis/discovery.k8s.io/v1/namespaces/n/endpointslices beater
	api POST /api/v1/namespaces '{"metadata":{"name":"n"}}' >/dev/null
	check "namespace for the death of a node" /api/v1/namespaces/n/serviceaccounts '.items|length' 1
	for node in live dead; do
		api POST /api/v1/nodes "{\"metadata\":{\"name\":\"$node\"},\"status\":{$ready}}" >/dev/null
		api POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases "{\"metadata\":{\"name\":\"$node\"}}" >/dev/null
	done
	beats live dead &
	beater=$!
	api POST /apis/apps/v1/namespaces/n/replicasets '{"metadata":{"name":"r"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"tolerations":[{"key":"node.kubernetes.io/unreachable",
		"operator":"Exists","effect":"NoExecute","tolerationSeconds":2}],"containers":[{"name":"c","image":"x:1"}]}}}}' >/dev/null
	api POST /api/v1/namespaces/n/services '{"metadata":{"name":"s"},"spec":{"selector":{"a":"b"},"ports":[{"port":80}]}}' >/dev/null
	check "two pods" /api/v1/namespaces/n/pods '.items|length' 2
	mapfile -t pods < <(api GET /api/v1/namespaces/n/pods | jq -r '.items[].metadata.name')
	place "${pods[0]}" live
	place "${pods[1]}" dead
	run_pods n
	check "both are endpoints" $slices '[.items[].endpoints[]|select(.conditions.ready).nodeName]|sort' '["dead","live"]'
	touch silent
	wait $beater
	rm silent
	beats live &
	beater=$!
	check "a silent node's pods leave the endpoints" $slices '[.items[].endpoints[]|select(.conditions.ready).nodeName]' '["live"]'
	check "the node is tainted" /api/v1/nodes/dead "$taints|unique" '["node.kubernetes.io/unreachable"]'
	check "the other is not" /api/v1/nodes/live "$taints" '[]'
	check "its pod is told to go after its toleration" "/api/v1/namespaces/n/pods/${pods[1]}" '.metadata.deletionTimestamp!=null' true
	check "and is replaced" /api/v1/namespaces/n/pods '[.items[]|select(.metadata.deletionTimestamp==null)]|length' 2
	gone=$(api GET /api/v1/namespaces/n/pods | jq -r '.items[]|select(.spec.nodeName==null).metadata.name')
	place "$gone" live
	run_pods n
	check "the replacement is an endpoint" $slices '[.items[].endpoints[]|select(.conditions.ready).nodeName]' '["live","live"]'
	touch silent
	wait $beater
	rm silent
	beats live dead &
	beater=$!
	api PATCH /api/v1/nodes/dead/status "{\"status\":{$ready}}" application/strategic-merge-patch+json >/dev/null
	check "back again, the node has no taint" /api/v1/nodes/dead "[$taints,(.status.conditions[]|select(.type==\"Ready\").status)]" '[[],"True"]'
	touch silent
	wait $beater
	rm silent
	api DELETE /api/v1/namespaces/n >/dev/null
}

# What is in use stays until it is not; roles are put together; Secrets get tokens.
storage_and_rights() {
	local core=/api/v1/namespaces/t roles=/apis/rbac.authorization.k8s.io/v1/clusterroles token
	api POST $core/persistentvolumeclaims '{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":
		{"storage":"1Gi"}}}}' >/dev/null
	api POST $core/pods '{"metadata":{"name":"user"},"spec":{"nodeName":"gone","containers":[{"name":"c","image":"x"}],"volumes":[
		{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}}' >/dev/null
	merge $core/pods/user/status '{"status":{"phase":"Running"}}'
	api DELETE $core/persistentvolumeclaims/c >/dev/null
	check "a claim in use is only marked" $core/persistentvolumeclaims/c \
		'[.metadata.deletionTimestamp!=null,.metadata.finalizers]' '[true,["kubernetes.io/pvc-protection"]]'
	api DELETE "$core/pods/user?gracePeriodSeconds=0" >/dev/null
	check "and goes with its pod" $core/persistentvolumeclaims/c .code 404
	api POST /api/v1/persistentvolumes '{"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],
		"hostPath":{"path":"/v"}}}' >/dev/null
	merge /api/v1/persistentvolumes/v/status '{"status":{"phase":"Bound"}}'
	api DELETE /api/v1/persistentvolumes/v >/dev/null
	check "a bound volume is only marked" /api/v1/persistentvolumes/v '.metadata.finalizers' '["kubernetes.io/pv-protection"]'
	merge /api/v1/persistentvolumes/v/status '{"status":{"phase":"Released"}}'
	check "and goes when it is released" /api/v1/persistentvolumes/v .code 404

	check "bootstrap roles are put together" $roles/view '[.rules[]|select(.resources|index("configmaps"))]|length>0' true
	api POST $roles '{"metadata":{"name":"a"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"part":"a"}}]}}' >/dev/null
	api POST $roles '{"metadata":{"name":"b","labels":{"part":"a"}},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}' \
		>/dev/null
	check "a role has the rules of what it selects" $roles/a '[.rules[].resources]' '[["pods"]]'
	merge $roles/b '{"metadata":{"labels":{"part":null}}}'
	check "and no others" $roles/a '.rules|length' 0

	api POST $core/secrets '{"metadata":{"name":"tok","annotations":{"kubernetes.io/service-account.name":"default"}},
		"type":"kubernetes.io/service-account-token"}' >/dev/null
	check "a Secret of an account gets its token" $core/secrets/tok '.data|keys' '["ca.crt","namespace","token"]'
	token=$(api GET $core/secrets/tok | jq -r .data.token | base64 -d)
	[ "$(curl -s --cacert ca.crt -H "Authorization: Bearer $token" -H "Content-Type: application/json" -d '{}' \
		"$url/apis/authentication.k8s.io/v1/selfsubjectreviews" | jq -r .status.userInfo.username)" = system:serviceaccount:t:default ]
	say "which says who it is"
	api DELETE $core/secrets/tok >/dev/null
	[ "$(curl -s -o /dev/null -w '%{http_code}' --cacert ca.crt -H "Authorization: Bearer $token" "$url/api")" = 401 ]
	say "until the Secret is gone"
	api POST $core/secrets '{"metadata":{"name":"tok","annotations":{"kubernetes.io/service-account.name":"nobody"}},
		"type":"kubernetes.io/service-account-token"}' >/dev/null
	check "that of an account that is not there goes" $core/secrets/tok .code 404
	kill -STOP "$ctl_pid"
	for i in 1 2 3 4 5; do
		api POST $core/serviceaccounts '{"metadata":{"name":"new-'$i'"}}' >/dev/null
		api POST $core/secrets '{"metadata":{"name":"new-'$i'","annotations":{"kubernetes.io/service-account.name":"new-'$i'"}},
			"type":"kubernetes.io/service-account-token"}' >/dev/null
	done
	kill -CONT "$ctl_pid"
	check "those that are made right behind their accounts stay" $core/secrets '[.items[]|select(.data.token)|.metadata.name]|sort' \
		'["new-1","new-2","new-3","new-4","new-5"]'
}

D=/apis/apps/v1/namespaces/t/deployments/web
setup
controllers
api POST /api/v1/namespaces '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"t"}}' >/dev/null
check "a namespace gets its ServiceAccount" /api/v1/namespaces/t/serviceaccounts '[.items[].metadata.name]' '["default"]'
check "and the root CA" /api/v1/namespaces/t/configmaps/kube-root-ca.crt '.data["ca.crt"]|startswith("-----BEGIN")' true
api POST /apis/apps/v1/namespaces/t/deployments '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},
	"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
	"spec":{"containers":[{"name":"c","image":"x:1","ports":[{"name":"http","containerPort":8080}]}]}}}}' >/dev/null
api POST /api/v1/namespaces/t/services '{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":
	{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}}' >/dev/null
check "a Deployment makes its pods" /api/v1/namespaces/t/pods '.items|length' 3
roll
check "ready pods are endpoints" "/apis/discovery.k8s.io/v1/namespaces/t/endpointslices" \
	'[.items[]|.endpoints[]|select(.conditions.ready)]|length' 3
check "in both forms" /api/v1/namespaces/t/endpoints/web '.subsets[0].addresses|length' 3
api PATCH $D '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:2"}]}}}}' \
	application/strategic-merge-patch+json >/dev/null
roll
check "a rollout completes" $D '[.metadata.annotations["deployment.kubernetes.io/revision"],
	(.status.conditions[]|select(.type=="Progressing").reason)]' '["2","NewReplicaSetAvailable"]'
check "and leaves one set with pods" /apis/apps/v1/namespaces/t/replicasets '[.items[].spec.replicas]|sort' '[0,3]'

merge $D '{"spec":{"replicas":60}}'
sleep 0.05
kill -9 "$ctl_pid"
wait "$ctl_pid" 2>/dev/null
controllers
check "killed while scaling, it makes no pod too many" /api/v1/namespaces/t/pods '.items|length' 60
sleep 0.5
check "and none later" /api/v1/namespaces/t/pods '.items|length' 60

api DELETE $D '{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground"}' >/dev/null
check "foreground deletion takes everything along" /api/v1/namespaces/t/pods '.items|length' 0
check "the Deployment last" /apis/apps/v1/namespaces/t/deployments '.items|length' 0
api POST /api/v1/nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}' >/dev/null
check "the first node gets the first part of each range" /api/v1/nodes/n1 '[.spec.podCIDR,.spec.podCIDRs]' \
	'["10.244.0.0/24",["10.244.0.0/24","fd00:10:244::/64"]]'
api POST /api/v1/nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n2"}}' >/dev/null
check "the second the second" /api/v1/nodes/n2 .spec.podCIDRs '["10.244.1.0/24","fd00:10:244:1::/64"]'
api DELETE /api/v1/nodes/n1 >/dev/null
api POST /api/v1/nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n3"}}' >/dev/null
check "a node that is gone gives its part back" /api/v1/nodes/n3 .spec.podCIDR '"10.244.0.0/24"'
check "a node that nobody speaks for is unreachable" /api/v1/nodes/n3 \
	'[([.spec.taints[]?|select(.key=="node.kubernetes.io/unreachable")|.effect]|sort),
	[.status.conditions[]?|select(.type=="Ready").status]]' '[["NoExecute","NoSchedule"],["Unknown"]]'
storage_and_rights
joining
node_death
api DELETE /api/v1/namespaces/t >/dev/null
check "a namespace goes with all it holds" /api/v1/namespaces/t .code 404

kill "$ctl_pid"
wait "$ctl_pid"
status=$?
[ $status -eq 0 ] || { echo "not ok - exit status $status after SIGTERM"; failed=1; }
ctl_pid=
[ $failed -eq 0 ] || { echo "--- controllers.log"; tail -20 controllers.log; }
exit $failed
