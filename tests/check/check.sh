#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random histories against a real API server, on loopback. usage: tests/check/check.sh [BUILD_DIR]
# KEELSON_CHECK_SEED, KEELSON_CHECK_HISTORIES from the environment.
cd "$(dirname "$0")/../.." || exit 2
B=${1:-${B:-build}}
exec python3 -B tests/check/history.py "$B/bin/keelson-apiserver"
