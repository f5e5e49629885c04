#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two clusters side by side on one machine, with the same ranges and the same Service address: neither sees the other.
. "$(dirname "$0")/lib.sh"

service() { # NAME: the same Service address in both clusters, a ConfigMap with the cluster's own greeting
	K apply -f "$root/examples/hello/hello.yaml" &&
		K patch configmap hello -p "{\"data\":{\"greeting\":\"$1\"}}" &&
		K create -f - <<<'{"apiVersion":"v1","kind":"Service","metadata":{"name":"same"},"spec":{"clusterIP":"10.96.77.77","selector":{"app":"hello"},"ports":[{"port":80,"targetPort":8080}]}}' &&
		K rollout restart deployment/hello && K rollout status deployment/hello --timeout=90s
}
greets() { in_node curl -s --max-time 3 --noproxy '*' http://10.96.77.77/; }
all_greet() { for _ in $(seq 20); do greets; done | cut -d' ' -f1 | sort -u; }

check "the first cluster" up || exit 1
one_state=$state one_netns=$netns
state=$work/t netns=$netns-b
check "the second cluster" up || { "$bin/keelson" down --state "$one_state" --purge; exit 1; }
check "a Service in the second" service second
state=$one_state netns=$one_netns
check "a Service at the same address in the first" service first
is "the first answers for itself" first all_greet
state=$work/t netns=$one_netns-b
is "the second answers for itself" second all_greet
check "the second goes down" "$bin/keelson" down --state "$state" --purge
state=$one_state netns=$one_netns
is "the first goes on" first all_greet
check "the first goes down" "$bin/keelson" down --state "$state" --purge
finish
