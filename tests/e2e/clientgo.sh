#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs on client-go 0.36, the library that Kubernetes' own daemons and most operators are made of.
. "$(dirname "$0")/lib.sh"

program=$root/build/tools/clientgo
"$root/tools/gobuild.sh" sid "$root/build/tools/go-sid" "$root/tests/e2e/clientgo" "$program" golang-k8s-client-go-dev ||
	{ not_ok "the client is built"; exit 1; }
check "keelson up" up || exit 1
check "a pod" K run box --image=keelson.local/busybox:1 --restart=Never -- sleep 1000
check "a web server" K run web --image=keelson.local/hello:1
check "a pod with a few words" K run words --image=keelson.local/busybox:1 --restart=Never -- sh -c 'for i in 1 2 3; do echo word$i; sleep 1; done'
check "they run" K wait --for=condition=Ready pod/box pod/web --timeout=60s
go() { in_node env KUBECONFIG="$state/admin.kubeconfig" no_proxy='*' "$program" "$@"; }

# What upstream's conformance suite asks of API machinery, accounts and rights, and each verb of each kind.
go behave 2>&1 || failures=$((failures + 1))
is "discovery, short names and schemas" "true true Pod Deployment.apps PodDisruptionBudget.policy HorizontalPodAutoscaler.autoscaling true 1.36" go discovery
is "shared informers hold what a list shows" "left=20 wrong=0" go informers
is "an informer of metadata only" "yes" go metadata
is "a pager sees one moment" "45 in 5" go pages
is "a watch that ends goes on where it was" "1 2 3 4 again=true" go retrywatch
is "writers that retry lose no write" "160 conflicts=true" go retry
is "a leader election" "first second" go leader
is "every refusal is one the library knows" \
	"NotFound ok AlreadyExists Conflict Invalid Conflict BadRequest BadRequest Timeout AlreadyExists Forbidden" go errors
is "untyped objects: apply, conflict, force, three patches" 'ok Conflict ok ok ok ok {"k":"b","m":"2"} 3 patcher,two' go dynamic
is "apply configurations" "1 map[a:1] 1 -> 0 " go apply
is "the scale client" "1 app=scaled" go scale
is "a node's status by strategic patches" "192.0.2.2 DiskPressure=False Ready=False" go node
is "eviction against a budget" "TooManyRequests true ok" go evict
is "events with a series" "1 noted seen" go events
is "a certificate as kubelets get theirs" "somebody visitors,system:authenticated" go csr
is "tokens for audiences" "true system:serviceaccount:default:robot Forbidden true system:serviceaccount:default:robot Unauthorized allowed=false" go token
is "exec over WebSocket and SPDY" "out:websocket err:websocket 3 out:spdy err:spdy 3" go exec box
is "port-forward" "200 200 200 200 200" go portforward web 8080
is "logs, followed to their end" "word1 word2 word3" go logs words

go follow "$work/enough" >"$work/followed" 2>&1 &
follower=$!
background+=($follower)
for _ in 1 2 3; do
	sleep 1
	read -r pid _ <"$state/run/apiserver.pid" && kill -KILL "$pid"
	eventually 20 K get --raw /readyz >/dev/null
done
sleep 1
touch "$work/enough"
wait $follower
is "an informer outlives the API server three times" "nothing lost" cat "$work/followed"
finish
