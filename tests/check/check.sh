#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random histories against real API servers, on loopback: over the embedded store, two servers on an etcd, and some with a lie in them,
# which has to be found. usage: tests/check/check.sh [BUILD_DIR]
# KEELSON_CHECK_SEED, KEELSON_CHECK_HISTORIES, KEELSON_CHECK_SECONDS (each of the first two: 14) from the environment.
cd "$(dirname "$0")/../.." || exit 2
B=${1:-${B:-build}}
export KEELSON_CHECK_SECONDS=${KEELSON_CHECK_SECONDS:-14}
failed=0
history() {
	python3 -B tests/check/history.py "$B/bin/keelson-apiserver" "$@" || failed=1
}
history embedded
history etcd
for lie in drop double reorder stale early-bookmark lose-item old-list; do
	history embedded $lie
done
exit $failed
