#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checks what reviews should not have to: the directions of docs/architecture.md, banned functions, licences, sizes.
set -u
cd "$(dirname "$0")/.." || exit 2
bad=0
say() { echo "lint: $*"; bad=1; }
# each TEXT: every line of standard input is a fault.
each() { while IFS= read -r hit; do say "$hit: $1"; done; }

rooms="proxy cni agent apiserver scheduler controllers cli"
# What a file may include, by the folder it is in: base, io, kube, bpf or a daemon's folder.
while IFS=: read -r f include; do
	case $f in
	lib/base/*) allowed='base' ;;
	lib/io/*) allowed='base|io' ;;
	lib/kube/*) allowed='base|io|kube' ;;
	bpf/*) allowed='bpf|base|io|kube' ;;
	tests/* | tools/* | examples/*) continue ;;
	*) room=${f%%/*}; allowed="base|io|kube|$room"; [ "$room" = proxy ] && allowed="$allowed|bpf" ;;
	esac
	include=${include#*\"} include=${include%%\"*}
	top=${include%%/*}
	case " base io kube bpf $rooms " in
	*" $top "*) [[ $top =~ ^($allowed)$ ]] || say "$f includes \"$include\": not a direction docs/architecture.md allows" ;;
	esac
done < <(git grep -E '^#include "[^"/]*/' -- '*.c' '*.h')

# Tests may use what bounds nothing, on their own constants.
each "banned function" < <(git grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|alloca|system|mktemp|tmpnam)\(' -- \
	'*.c' '*.h' ':!*_test.c' ':!*_test.h')
each "no SPDX line" < <(git ls-files '*.c' '*.h' '*.sh' '*.mk' '*.proto' '*.txt' '*.yaml' '*.bench' Makefile .ci |
	grep -v '^tests/fuzz/seeds/' | while IFS= read -r f; do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0' || echo "$f"
done)
each "longer than 1000 lines" < <(git ls-files -z '*.c' '*.h' | xargs -0 wc -l | awk '$1 > 1000 && $2 != "total" { print $2 }')
each "blanks at the end of a line" < <(git grep -nIE '[[:space:]]+$' -- '*.c' '*.h' '*.sh' '*.mk' Makefile)
# The tree stands by itself: nothing in it names a place of the machine it was written on.
each "a path of one machine" < <(git grep -nIE '(^|[^[:alnum:]._/-])/(wor[k]|hom[e])/[[:alnum:]]' -- ':!tests/fuzz/seeds')
[ $bad = 0 ] && echo "lint: ok"
exit $bad
