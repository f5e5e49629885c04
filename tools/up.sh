#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# up.sh BIN_DIR IMAGE_DIR STATE: what `make up` does behind building: a cluster, the demo in it, and proof that it answers.
set -euo pipefail
bin=$1 images=$2 state=$3
kubectl=${KUBECTL:-kubectl}
export KUBECONFIG=$state/admin.kubeconfig

was_up=no
"$bin/keelson" status --state "$state" >/dev/null 2>&1 && was_up=yes
args=()
for image in "$images"/*.tar; do args+=(--image "$image"); done
"$bin/keelson" up --state "$state" "${args[@]}"
[ $was_up = yes ] && exit 0

now() { date +%s%N; }
begin=$(now)
step() { # TEXT COMMAND...: runs it, prints the time it took
	local text=$1 from; from=$(now); shift
	if ! "$@" >"$state/logs/up.log" 2>&1; then
		echo "make up: failed: $text" >&2; cat "$state/logs/up.log" >&2; exit 1
	fi
	printf '  %-48s %6.2f s\n' "$text" "$(awk "BEGIN { print ($(now) - $from) / 1e9 }")"
}
# Asks until it is answered, for at most 60 seconds.
answers() {
	local end=$((SECONDS + 60))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}
from_pod() { answers "$kubectl" exec deploy/hello -- /hello get http://hello/; }
node_ip() { "$kubectl" get node -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'; }
from_node() { answers "$bin/keelson" exec --state "$state" -- curl -sf --max-time 2 --noproxy '*' "http://$(node_ip):30080/"; }

step "examples/hello applied" "$kubectl" apply -f "$(dirname "$0")/../examples/hello"
step "the Service answers from a pod" from_pod
tail -n 1 "$state/logs/up.log" | sed 's/^/      /'
step "the Service answers through the NodePort" from_node
tail -n 1 "$state/logs/up.log" | sed 's/^/      /'
printf 'demo up in %.2f s\n\nTry next:\n' "$(awk "BEGIN { print ($(now) - $begin) / 1e9 }")"
echo "  export KUBECONFIG=$KUBECONFIG"
echo "  kubectl get pods,services -o wide"
echo "  kubectl exec deploy/hello -- /hello get http://hello/"
echo "  curl http://$(node_ip):30080/"
