#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make bench: runs every tests/bench/*.bench, prints their markdown tables and writes docs/benchmarks.md.
# BENCH="cni cluster" runs only those. Needs root; uses network namespaces of its own.
set -u
cd "$(dirname "$0")/../.." || exit 2
export B=${B:-build}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
{
	echo "# Benchmarks"
	echo
	echo "Written by \`make bench\` (repeat it with the same command; one part: \`make bench BENCH=cni\`). The machine is shared and"
	echo "noisy: the ratios count, each measured against its peer in the same run, alternating; absolute figures are medians."
	echo
	echo "$(date -u +%Y-%m-%d), $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), commit $(git describe --always --dirty),"
	echo "load average $(cut -d' ' -f1-3 /proc/loadavg) before the start."
} >"$out"
for script in tests/bench/*.bench; do
	name=$(basename "$script" .bench)
	case " ${BENCH:-$name} " in *" $name "*) ;; *) continue ;; esac
	echo "running $name ..." >&2
	echo >>"$out"
	if ! timeout -k 30 600 "$script" >>"$out"; then
		echo "(the $name benchmark failed)" >>"$out"
		status=1
	fi
done
cat "$out"
[ -n "${BENCH:-}" ] || cp "$out" docs/benchmarks.md
exit $status
