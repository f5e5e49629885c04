#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Scenes of Services from end to end (services.c). Root. usage: tests/lab/services.sh [BUILD_DIR [TEXT]]
cd "$(dirname "$0")/../.." || exit 2
B=${1:-${B:-build}}
exec "$B/tests/lab/services" "$B" ${2:+"$2"}
