#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The packet-flow tables (tables.txt). Root. usage: tests/bpf/tables.sh [BUILD_DIR [TEXT]]
cd "$(dirname "$0")/../.." || exit 2
B=${1:-${B:-build}}
exec "$B/tests/bpf/tables" "$B" ${2:+"$2"}
