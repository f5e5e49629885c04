#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a user does with kubectl, with three ages of it that Debian has, without special flags.
. "$(dirname "$0")/lib.sh"

old=$("$root/tools/kubectl.sh" bookworm "$root/build/tools/kubectl-bookworm") || exit 1
mid=$("$root/tools/kubectl.sh" trixie "$root/build/tools/kubectl-trixie") || exit 1
new=$("$root/tools/kubectl.sh" sid "$root/build/tools/kubectl-sid") || exit 1

check "keelson up" up || exit 1
says "up again changes nothing" "the cluster is up" up
says "status shows healthy daemons" "apiserver +[0-9]+ .* ok" "$bin/keelson" status --state "$state"

scenario() { # NAMESPACE: everything in a namespace of its own
	local ns=$1 pod out
	n() { K -n "$ns" "$@"; }
	ready() { matches "^$2/$2" n get deployment "$1" -o 'jsonpath={.status.readyReplicas}/{.spec.replicas}'; }

	check "create namespace" K create namespace "$ns"
	check "apply" n apply -f "$root/examples/hello/hello.yaml"
	says "apply again: unchanged" "deployment.apps/hello unchanged" n apply -f "$root/examples/hello/hello.yaml"
	check "rollout status" n rollout status deployment/hello --timeout=60s
	check "wait for pods" n wait --for=condition=Ready pod -l app=hello --timeout=60s
	says "get -o wide" "hello-.* 1/1 +Running +0 .* 10\.244\." n get pods -o wide
	is "get -o jsonpath" "3" n get deployment hello -o 'jsonpath={.status.availableReplicas}'
	says "get -o yaml" "^  uid: " n get service hello -o yaml
	says "get all" "replicaset.apps/hello-" n get all
	says "get nodes" "$netns +Ready" K get nodes
	says "describe" "Started .*ontainer" n describe "$(n get pods -l app=hello -o name | head -n 1)"
	says "describe deployment" "ScalingReplicaSet" n describe deployment hello
	says "explain" "[Rr]eplicas" n explain deployment.spec
	pod=$(n get pods -l app=hello -o 'jsonpath={.items[0].metadata.name}')

	K_in_background "$work/watch" -n "$ns" get pods -w
	check "create deployment" n create deployment web --image=keelson.local/hello:1
	check "the watch sees it" eventually 30 matches "web-.*1/1" cat "$work/watch"
	kill "${background[-1]}" 2>/dev/null
	check "label" n label deployment web tier=front
	says "get by label" "web" n get deployments -l tier=front
	check "annotate" n annotate deployment web note=x
	is "annotation is there" "x" n get deployment web -o 'jsonpath={.metadata.annotations.note}'
	check "scale up" n scale deployment web --replicas=2
	check "scaled" eventually 60 ready web 2
	check "expose" n expose deployment web --port=80 --target-port=8080
	check "the exposed Service answers by name" eventually 30 n exec "$pod" -- /hello get http://web/
	check "set image to a missing one" n set image deployment/web hello=keelson.local/absent:1
	check "its pod says why" eventually 60 matches "ErrImagePull|ImagePullBackOff|ErrImageNeverPull" n get pods
	is "the old pods keep running" "2" n get deployment web -o 'jsonpath={.status.availableReplicas}'
	check "rollout undo" n rollout undo deployment/web
	check "rolled back" n rollout status deployment/web --timeout=60s
	check "rolling update" n set env deployment/hello GREETING=hi
	check "rolled out" n rollout status deployment/hello --timeout=90s
	says "rollout history" "^2 " n rollout history deployment/hello
	pod=$(n get pods -l app=hello --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}')

	check "run a pod" n run box --image=keelson.local/busybox:1 --restart=Never -- sh -c \
		'i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); sleep 0.2; done'
	check "it runs" n wait --for=condition=Ready pod/box --timeout=60s
	says "logs" "line 0" n logs box
	timeout 5 "$bin/keelson" exec --state "$state" -- "$kubectl" --kubeconfig "$state/admin.kubeconfig" -n "$ns" logs -f box >"$work/follow" 2>&1
	check "logs -f follows" test "$(wc -l <"$work/follow")" -gt 5
	is "exec" "42" n exec box -- sh -c 'echo $((6*7))'
	n exec box -- sh -c 'exit 7' >/dev/null 2>&1
	check "exec gives the exit code" test $? = 7
	is "exec -i" "HELLO" bash -c "echo hello | '$bin/keelson' exec --state '$state' -- '$kubectl' --kubeconfig '$state/admin.kubeconfig' -n '$ns' exec -i box -- tr a-z A-Z"
	out=$(script -qec "'$bin/keelson' exec --state '$state' -- '$kubectl' --kubeconfig '$state/admin.kubeconfig' -n '$ns' exec -it box -- sh -c 'tty; stty size'" /dev/null </dev/null 2>&1)
	if grep -q '/dev/pts/' <<<"$out"; then ok "exec -it has a terminal"; else not_ok "exec -it has a terminal" "$out"; fi
	head -c 300000 /dev/urandom >"$work/blob"
	check "cp to a pod" n cp "$work/blob" "$ns/box:/tmp/blob"
	check "cp from a pod" n cp "$ns/box:/tmp/blob" "$work/blob.back"
	check "the copy is the same" cmp "$work/blob" "$work/blob.back"
	K_in_background "$work/forward" -n "$ns" port-forward "pod/$pod" 18080:8080
	check "port-forward" eventually 20 matches "from pod $pod" in_node curl -s --max-time 3 --noproxy '*' http://127.0.0.1:18080/
	kill "${background[-1]}" 2>/dev/null
	check "delete a pod" n delete pod box --grace-period=1
	refuses "it is gone" n get pod box
	check "delete the rest" n delete deployment,service --all
	check "pods go with their deployment" eventually 60 matches "No resources found" n get pods
	check "delete namespace" K delete namespace "$ns" --timeout=60s
	refuses "the namespace is gone" K get namespace "$ns"
}

# What lies behind the proxy subresources: every HTTP method reaches a pod, a Service, a node's agent.
proxying() { # NAMESPACE
	local ns=$1 at=/api/v1/namespaces/$1 pod
	n() { K -n "$ns" "$@"; }
	raw() { K get --raw "$1"; }
	check "a namespace for proxying" K create namespace "$ns"
	check "with pods" n apply -f "$root/examples/hello/hello.yaml"
	check "that run" n rollout status deployment/hello --timeout=60s
	pod=$(n get pods -o 'jsonpath={.items[0].metadata.name}')
	says "a pod answers through the API server" "from pod $pod" raw "$at/pods/$pod/proxy/"
	says "by its port" "from pod $pod" raw "$at/pods/http:$pod:8080/proxy/some/path?q=1"
	says "a Service does" "from pod hello-" eventually_raw "$at/services/hello/proxy/"
	says "by its port's number" "from pod hello-" raw "$at/services/hello:80/proxy/"
	says "the node's agent does" "^ok" raw "/api/v1/nodes/$netns/proxy/healthz"
	says "an unknown port is told" "no service port \"nope\" found for service \"hello\"" raw "$at/services/hello:nope/proxy/"
	says "an unknown pod too" "pods \"nope\" not found" raw "$at/pods/nope/proxy/"
	says "and a port nobody listens on" "error trying to reach service" raw "$at/pods/$pod:9/proxy/"
	check "delete it" K delete namespace "$ns"
}
eventually_raw() { eventually 20 raw "$1"; raw "$1"; }

# What administrators do: editing, replacing, pruning, certificates, tokens, taints, draining.
administering() { # NAMESPACE
	local ns=$1 file=$work/admin.yaml allow=--prune-allowlist pod
	n() { K -n "$ns" "$@"; }
	[ "$kubectl" = "$old" ] && allow=--prune-whitelist
	check "a namespace for administering" K create namespace "$ns"
	check "with a deployment" n apply -f "$root/examples/hello/hello.yaml"
	check "edit" env KUBE_EDITOR="sed -i s/replicas:.3/replicas:\ 2/" "$bin/keelson" exec --state "$state" -- \
		"$kubectl" --kubeconfig "$state/admin.kubeconfig" -n "$ns" edit deployment hello
	is "what was edited is so" 2 n get deployment hello -o 'jsonpath={.spec.replicas}'
	n get deployment hello -o yaml | sed -e '/resourceVersion/d' -e 's/^  replicas: 2/  replicas: 1/' >"$file"
	says "diff shows what would change" "^\+  replicas: 1" n diff -f "$file"
	check "replace" n replace -f "$file"
	is "replaced" 1 n get deployment hello -o 'jsonpath={.spec.replicas}'
	check "replace --force" n replace --force -f "$file"
	check "rolled out" n rollout status deployment/hello --timeout=60s
	check "JSON patch" n patch deployment hello --type=json -p '[{"op":"add","path":"/metadata/labels/json","value":"1"}]'
	check "merge patch" n patch deployment hello --type=merge -p '{"metadata":{"labels":{"merge":"1"}}}'
	check "strategic patch" n patch deployment hello -p '{"metadata":{"labels":{"strategic":"1"}}}'
	is "all three are in" "1 1 1" n get deployment hello -o 'jsonpath={.metadata.labels.json} {.metadata.labels.merge} {.metadata.labels.strategic}'
	for name in one two; do
		printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {set: pruned}}\n' "$name"
	done >"$file"
	check "apply --prune" n apply --prune -l set=pruned "$allow=core/v1/ConfigMap" -f "$file"
	sed -i '5,$d' "$file"
	says "prunes what is no longer there" "configmap/two pruned" n apply --prune -l set=pruned "$allow=core/v1/ConfigMap" -f "$file"
	says "auth can-i --list" "\*\.\* +\[\] +\[\] +\[\*\]" K auth can-i --list
	is "auth can-i for somebody else" no K auth can-i create pods --as=nobody
	openssl req -new -newkey rsa:2048 -nodes -keyout "$work/jane.key" -subj /CN=jane/O=devs -out "$work/jane.csr" 2>/dev/null
	check "a certificate request" K apply -f - <<-END
	apiVersion: certificates.k8s.io/v1
	kind: CertificateSigningRequest
	metadata: {name: $ns}
	spec: {request: $(base64 -w0 "$work/jane.csr"), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
	END
	check "certificate approve" K certificate approve "$ns"
	check "it is issued" eventually 10 matches "Approved,Issued" K get csr "$ns"
	says "for jane" "CN ?= ?jane" eval "K get csr $ns -o 'jsonpath={.status.certificate}' | base64 -d | openssl x509 -noout -subject"
	[ "$kubectl" = "$old" ] || says "create token" "^eyJ" n create token default
	check "taint" K taint node "$netns" "$ns=x:PreferNoSchedule"
	check "untaint" K taint node "$netns" "$ns-"
	check "cordon" K cordon "$netns"
	check "drain" K drain "$netns" --ignore-daemonsets --force --timeout=60s
	says "no pod is left" "Pending" eventually_pending
	check "uncordon" K uncordon "$netns"
	check "pods run again" n rollout status deployment/hello --timeout=60s
	says "api-resources" "^deployments +deploy +apps/v1 +true +Deployment" K api-resources
	check "cluster-info dump" K cluster-info dump --output-directory="$work/dump-$ns"
	check "which has the pods" test -s "$work/dump-$ns/kube-system/pods.json"
	says "explain --recursive" "containerPort" K explain pod.spec.containers --recursive
	check "delete the request" K delete csr "$ns"
	check "delete all of it" K delete namespace "$ns"
}
eventually_pending() { eventually 20 matches "Pending" n get pods; n get pods; }

# Server-side apply: created, conflicting, forced, and the way to it from client-side apply and back.
applying() { # NAMESPACE
	local ns=$1 file=$work/apply.yaml
	n() { K -n "$ns" "$@"; }
	check "a namespace for applying" K create namespace "$ns"
	cat >"$file" <<-END
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: settings}
	data: {color: red, size: "1"}
	END
	is "apply --server-side creates" "configmap/settings serverside-applied" n apply --server-side -f "$file"
	is "and again changes nothing" "configmap/settings serverside-applied" n apply --server-side -f "$file"
	check "another manager changes a field" n patch configmap settings --type=merge -p '{"data":{"size":"2"}}' --field-manager=other
	says "which is then a conflict" "conflict with \"other\" using v1: .data.size" n apply --server-side -f "$file"
	check "forced" n apply --server-side --force-conflicts -f "$file"
	is "it is ours again" 1 n get configmap settings -o 'jsonpath={.data.size}'
	sed -i 's/color: red, //' "$file"
	check "a field no longer applied" n apply --server-side -f "$file"
	is "is gone" '{"size":"1"}' n get configmap settings -o 'jsonpath={.data}'
	sed -i 's/settings/moved/' "$file"
	check "applied by the client" n apply -f "$file"
	sed -i 's/"1"/"3"/' "$file"
	is "then by the server" "configmap/moved serverside-applied" n apply --server-side -f "$file"
	is "then by the client again" "configmap/moved unchanged" n apply -f "$file"
	check "delete it all" K delete namespace "$ns"
}

# kubectl debug: ephemeral containers in a running pod, a copy of a pod, a node.
debugging() { # NAMESPACE
	local ns=$1 image=keelson.local/busybox:1 file=$work/custom.json
	n() { K -n "$ns" "$@"; }
	debug() { n debug -q --profile=general --image=$image "$@"; }
	# At a terminal, with this typed once the prompt is there: the container waits for it.
	debug_typing() { # TEXT ARGUMENT...
		local text=$1; shift
		printf '%s\nexit\n' "$text" | script -qec "'$bin/keelson' exec --state '$state' -- '$kubectl' --kubeconfig '$state/admin.kubeconfig' -n '$ns' debug -q --profile=general --image=$image -it $*" /dev/null 2>&1
	}
	status() { n get pod box -o "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='$1')]$2}"; }

	check "a namespace for debugging" K create namespace "$ns"
	check "with a pod" n run box --image=$image --restart=Never --env=OF=box -- sh -c 'echo here >/tmp/mark; sleep 600'
	check "that runs" n wait --for=condition=Ready pod/box --timeout=60s
	says "debug shows the target's processes" "1 .*sleep 600" debug_typing ps box --target=box -c look -- sh
	says "and its files" "here" debug_typing 'cat /proc/1/root/tmp/mark' box --target=box -c files -- sh
	says "by itself it has its own processes" "^ +1 0 +sh" debug_typing ps box -c own -- sh
	says "in the pod's network" "$(n get pod box -o 'jsonpath={.status.podIP}')" debug_typing 'ip addr' box -c net -- sh
	check "it has ended" eventually 20 matches "Completed" status look .state.terminated.reason
	says "its log remains" "sleep 600" n logs box -c look
	printf '{"env":[{"name":"NS","valueFrom":{"fieldRef":{"fieldPath":"metadata.namespace"}}}],"volumeMounts":[{"name":"%s","mountPath":"/token"}]}' \
		"$(n get pod box -o 'jsonpath={.spec.volumes[0].name}')" >"$file"
	check "one with variables and a volume" debug box -c stay --custom "$file" -- sleep 600
	check "which stays" eventually 20 matches "startedAt" status stay .state.running
	is "exec in it" "$ns namespace" n exec box -c stay -- sh -c 'echo $NS $(ls /token | grep namespace)'
	check "privileged in a pod that is not" n debug -q --profile=sysadmin --image=$image box -c root -- sleep 600
	check "runs" eventually 20 matches "startedAt" status root .state.running
	check "a missing image" n debug -q --profile=general --image=keelson.local/absent:1 box -c absent -- true
	check "is told" eventually 30 matches "ErrImagePull|ImagePullBackOff" status absent .state.waiting.reason
	check "a missing target" debug box --target=stay -c orphan -- true
	refuses "none can be changed" n patch pod box --subresource=ephemeralcontainers -p '{"spec":{"ephemeralContainers":[{"name":"stay","image":"x"}]}}'
	refuses "or be made anew by the same name" debug box -c stay -- true
	is "the pod is as ready as before" "Running True 0" n get pod box -o \
		'jsonpath={.status.phase} {.status.conditions[?(@.type=="Ready")].status} {.status.containerStatuses[0].restartCount}'
	says "describe" "Ephemeral Containers:" n describe pod box
	kill -9 "$("$bin/keelson" status --state "$state" --json | jq -r '.[] | select(.name == "agent") | .pid')"
	check "an agent that comes back" eventually 20 matches ok in_node curl -s --max-time 3 --noproxy '*' http://127.0.0.1:10248/healthz
	is "knows them" "$ns" n exec box -c stay -- sh -c 'echo $NS'
	is "and starts none again" "Completed 0" status look '.state.terminated.reason} {.status.ephemeralContainerStatuses[0].restartCount'
	says "a copy with a debugger, sharing processes" "sleep 600" debug_typing ps box --copy-to=copy --share-processes -c debugger -- sh
	check "a copy with another image" n debug -q box --copy-to=other --profile=general "--set-image=*=keelson.local/hello:1"
	is "has it" keelson.local/hello:1 n get pod other -o 'jsonpath={.spec.containers[0].image}'
	says "the node, with its files" "keelson-cni" debug_typing "ls /host$state/cni/bin" "node/$netns" -- sh
	check "a pod that ends when it is told to" n run short --image=$image --restart=Never -- sh -c 'until [ -e /tmp/end ]; do sleep 0.1; done'
	check "with one that does not" debug short -c busy -- sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
	check "runs" eventually 20 matches "startedAt" n get pod short -o 'jsonpath={.status.ephemeralContainerStatuses[0].state.running}'
	check "and is told" n exec short -c short -- touch /tmp/end
	check "it has succeeded" eventually 20 matches "Succeeded" n get pod short -o 'jsonpath={.status.phase}'
	is "and takes the other along" "Completed" n get pod short -o 'jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.reason}'
	check "delete the pod with what runs in it" n delete pod box --grace-period=1
	check "delete all of it" K delete namespace "$ns" --timeout=60s
}

# docs/compatibility.md names every kind that is served.
documented() {
	local kind missing=
	for kind in $(K api-resources --no-headers | awk '{ print $NF }' | sort -u); do
		grep -qw -- "$kind" "$root/docs/compatibility.md" || missing+=" $kind"
	done
	is "every kind is documented" "" echo $missing
}

bad_input() {
	says "a wrong field is refused by name" "unknown field .*replicaz" K create -f - <<<'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"bad"},"spec":{"replicaz":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}}'
	says "a wrong name is refused" "is invalid: metadata.name: Invalid value: \"Bad_Name\"" K create configmap Bad_Name
	says "a missing image is named" "spec.containers\[0\].image: Required value" K create -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bad"},"spec":{"containers":[{"name":"c"}]}}'
	says "a mistyped field is refused" "cannot unmarshal|expected|invalid" K create --validate=false -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"},"data":{"a":5}}'
	says "malformed YAML is refused" "error" K create -f - <<<'a: [b'
	says "a missing object is said so" 'pods "nothing" not found' K get pod nothing
	says "an existing object is said so" 'namespaces "default" already exists' K create namespace default
	says "a pod that fits nowhere says why" "Insufficient memory" eventually_event
}
eventually_event() {
	K create -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"huge"},"spec":{"containers":[{"name":"c","image":"keelson.local/hello:1","resources":{"requests":{"memory":"900Ti"}}}]}}' >/dev/null
	eventually 20 matches "Insufficient memory" K describe pod huge
	K describe pod huge
	K delete pod huge --grace-period=0 --force >/dev/null 2>&1
}

for age in old mid new; do
	kubectl=${!age}
	echo "# kubectl: $("$kubectl" version --client 2>/dev/null | head -n 1)"
	# The middle one differs from the newest too little to do everything twice.
	[ $age = mid ] || scenario "e2e-$age"
	[ $age = mid ] || bad_input
	administering "admin-$age"
	proxying "proxy-$age"
	applying "apply-$age"
	# The oldest one debugs by an API of that time only.
	[ $age = old ] || debugging "debug-$age"
done
documented
finish
