#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's Python client: lists, watches, exec over WebSocket, a leader election.
. "$(dirname "$0")/lib.sh"

check "keelson up" up || exit 1
check "a pod" K run box --image=keelson.local/busybox:1 --restart=Never -- sleep 1000
check "that runs" K wait --for=condition=Ready pod/box --timeout=60s
# Debian's own interpreter: that is where its packages are.
py() { timeout 60 "$bin/keelson" exec --state "$state" -- env KUBECONFIG="$state/admin.kubeconfig" no_proxy='*' /usr/bin/python3 "$root/tests/e2e/client.py" "$@"; }

is "lists pods" "box" py list
is "creates, watches and deletes" "ADDED MODIFIED DELETED" py watch
is "exec returns output" "hello from box" py exec box echo hello from box
is "and what is said on both streams and the exit code" "out=out err=err code=3" py streams box
is "exec takes input" "got: some input" py stdin box
is "patches of three kinds" "a b c" py patch
is "one of two candidates leads, the other follows it" "first led, second took over" py elect
is "refusals are exceptions with a status" "404 NotFound" py missing
finish
