#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checks what reviews should not have to: the directions of docs/architecture.md, banned functions, licences, sizes.
set -u
cd "$(dirname "$0")/.." || exit 2
bad=0
say() { echo "lint: $*"; bad=1; }

rooms="proxy cni agent apiserver scheduler controllers cli"
# room_of PATH -> base, io, kube, bpf or a daemon's folder
for f in $(git ls-files '*.c' '*.h'); do
	case $f in
	lib/base/*) allowed='base' ;;
	lib/io/*) allowed='base|io' ;;
	lib/kube/*) allowed='base|io|kube' ;;
	bpf/*) allowed='bpf|base|io|kube' ;;
	tests/* | tools/* | examples/*) continue ;;
	*) room=${f%%/*}; allowed="base|io|kube|$room"; [ "$room" = proxy ] && allowed="$allowed|bpf" ;;
	esac
	while read -r inc; do
		case $inc in */*) ;; *) continue ;; esac
		top=${inc%%/*}
		case " base io kube bpf $rooms " in
		*" $top "*) [[ $top =~ ^($allowed)$ ]] || say "$f includes \"$inc\": not a direction docs/architecture.md allows" ;;
		esac
	done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$f")
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0' || say "$f has no SPDX line"
	grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|alloca|system)\(' "$f" | grep -v '_test.c' |
		while read -r hit; do case $f in *_test.c) ;; *) echo "lint: $f:$hit: banned function" ;; esac; done | grep . && bad=1
	lines=$(wc -l <"$f")
	[ "$lines" -gt 1000 ] && say "$f has $lines lines"
done
for f in $(git ls-files '*.c' '*.h' '*.sh' Makefile '*.mk'); do
	grep -nE '[[:space:]]+$' "$f" /dev/null | head -n 3 | grep . && bad=1
done
[ $bad = 0 ] && echo "lint: ok"
exit $bad
