# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the end-to-end tests: a cluster in a network namespace of its own, and assertions.
# Uses: B (build directory). Sets: state, netns, bin; K runs kubectl inside the node.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/${B:-build}/bin
images=$root/${B:-build}/images
failures=0
work=$(mktemp -d /tmp/ke2e.XXXXXX)
state=$work/s
netns=ke2e-$(tr A-Z a-z <<<"${work##*.}")
kubectl=${KUBECTL:-kubectl}
export KUBECACHEDIR=$work/cache HOME=$work
background=()

ok() { echo "ok - $1"; }
not_ok() { # TEXT [OUTPUT]
	echo "not ok - $1"
	[ $# -lt 2 ] || sed 's/^/    /' <<<"$2"
	failures=$((failures + 1))
}
# check TEXT COMMAND...: the command succeeds.
check() {
	local text=$1 out; shift
	if out=$("$@" 2>&1); then ok "$text"; else not_ok "$text" "$ $*
$out"; return 1; fi
}
# refuses TEXT COMMAND...: the command fails.
refuses() {
	local text=$1 out; shift
	if out=$("$@" 2>&1); then not_ok "$text" "$ $* succeeded: $out"; else ok "$text"; fi
}
# says TEXT PATTERN COMMAND...: its output (either stream, any exit status) matches the extended regular expression.
says() {
	local text=$1 pattern=$2 out; shift 2
	out=$("$@" 2>&1)
	if grep -qE -- "$pattern" <<<"$out"; then ok "$text"; else not_ok "$text" "$ $*
wanted /$pattern/, got: $out"; fi
}
# is TEXT WANTED COMMAND...: standard output is exactly this.
is() {
	local text=$1 wanted=$2 out; shift 2
	out=$("$@" 2>"$work/stderr")
	if [ "$out" = "$wanted" ]; then ok "$text"; else not_ok "$text" "$ $*
wanted: $wanted
got: $out $(cat "$work/stderr")"; fi
}
# eventually SECONDS COMMAND...: succeeds within that time; three times that on a busy machine.
eventually() {
	local end=$((SECONDS + 3 * $1)); shift
	until "$@" >"$work/eventually" 2>&1; do
		[ $SECONDS -lt $end ] || { cat "$work/eventually"; return 1; }
		sleep 0.1
	done
}
matches() { local pattern=$1 out; shift; out=$("$@" 2>&1); grep -qE -- "$pattern" <<<"$out" || { echo "$out"; return 1; }; }

in_node() { "$bin/keelson" exec --state "$state" -- "$@"; }
K() { in_node "$kubectl" --kubeconfig "$state/admin.kubeconfig" "$@"; }
# K in the background, output to a file: `keelson exec` becomes the command, so the process noted is kubectl itself.
K_in_background() { # FILE ARGUMENT...
	local out=$1; shift
	"$bin/keelson" exec --state "$state" -- "$kubectl" --kubeconfig "$state/admin.kubeconfig" "$@" >"$out" 2>&1 &
	background+=($!)
}

up() { # further options of keelson up
	local args=() i
	for i in "$images"/*.tar; do args+=(--image "$i"); done
	"$bin/keelson" up --netns "$netns" --state "$state" "${args[@]}" "$@"
}

# A test with more than a cluster in $state and the namespace $netns-out defines its own.
cleanup_more() { :; }
cleanup() {
	local p
	for p in "${background[@]}"; do kill "$p" 2>/dev/null; done
	cleanup_more
	if [ -e "$state/cluster.json" ]; then
		[ "$failures" = 0 ] || { echo "--- logs"; for log in "$state"/logs/*.log "$state"/nodes/*/logs/*.log; do [ -e "$log" ] || continue; echo "== $log"; tail -n 15 "$log"; done; }
		"$bin/keelson" down --state "$state" --purge >/dev/null 2>&1
	fi
	ip netns del "$netns-out" 2>/dev/null
	rm -rf --one-file-system "$work"
}
trap 'cleanup' EXIT
trap 'exit 1' INT TERM

finish() { [ "$failures" = 0 ]; exit; }
