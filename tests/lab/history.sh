#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A random history (history.c). Root. usage: tests/lab/history.sh [BUILD_DIR]
# KEELSON_HISTORY_SEED, KEELSON_HISTORY_STEPS from the environment.
cd "$(dirname "$0")/../.." || exit 2
B=${1:-${B:-build}}
exec "$B/tests/lab/history" "$B"
