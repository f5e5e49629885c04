#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# run.sh TEST_BINARY... -- SCRIPT...: runs every test and ends with one line "N passed, N failed".
# Binaries (cmocka programs and fuzz targets) run two at a time; scripts one after the other. A script prints
# "ok - text" or "not ok - text" for each thing it asserts; one that prints none counts as one test by its exit status.
# Environment: B (build directory), T (only tests whose path contains it), FUZZ_SECONDS (default 4), SEED (default 1).
set -u
cd "$(dirname "$0")/.." || exit 2
logs=$B/test-logs
rm -rf "$logs"
mkdir -p "$logs"
export logs FUZZ_SECONDS="${FUZZ_SECONDS:-4}" SEED="${SEED:-1}"

run_binary() {
	local bin=$1 name log status passed failed
	name=$(basename "$bin")
	log=$logs/$(tr / _ <<<"$bin").log
	case $name in
	*_fuzz)
		local seeds=tests/fuzz/seeds/${name%_fuzz} corpus
		corpus=$logs/$name-corpus
		mkdir "$corpus"
		[ -d "$seeds" ] || seeds=
		# shellcheck disable=SC2086
		timeout 300 "$bin" -max_total_time="$FUZZ_SECONDS" -seed="$SEED" -rss_limit_mb=2048 -timeout=10 \
			-artifact_prefix="$logs/$name-" "$corpus" $seeds >"$log" 2>&1
		status=$?
		rm -rf "$corpus"
		if [ $status = 0 ]; then passed=1 failed=0; else passed=0 failed=1; fi
		;;
	*)
		timeout 300 "$bin" >"$log" 2>&1
		status=$?
		passed=$(grep -c '^\[       OK \]' "$log")
		failed=$(grep -c '^\[  FAILED  \] [a-z]' "$log")
		if [ $status != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
		if [ $status = 0 ] && [ "$passed" = 0 ]; then failed=1; fi
		;;
	esac
	echo "$passed $failed $bin" >>"$logs/results"
	if [ "$failed" != 0 ]; then
		echo "FAIL $bin (exit $status), the end of $log:"
		grep -aE '^\[  (ERROR|FAILED)|ERROR:|error:|runtime error|BUG' "$log" | head -n 20
		tail -n 25 "$log"
	else
		echo "ok   $bin ($passed)"
	fi
}
export -f run_binary

run_script() {
	local script=$1 log report status passed failed begin=$SECONDS options
	log=$logs/$(tr / _ <<<"$script").log
	# Under SANITIZE=1 the daemons' reports, leaks at their end among them, come here, whatever became of their stderr.
	options=log_path=$(realpath -m "$log").sanitizer
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}$options UBSAN_OPTIONS=${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}$options \
		timeout "${SCRIPT_TIMEOUT:-1500}" "$script" >"$log" 2>&1
	status=$?
	for report in "$log".sanitizer.*; do
		[ -e "$report" ] && { echo "not ok - no sanitizer reports: $report"; head -n 30 "$report"; } >>"$log"
	done
	passed=$(grep -c '^ok ' "$log")
	failed=$(grep -c '^not ok ' "$log")
	if [ $status != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
	if [ $status = 0 ] && [ "$passed" = 0 ] && [ "$failed" = 0 ]; then passed=1; fi
	echo "$passed $failed $script" >>"$logs/results"
	if [ "$failed" != 0 ]; then
		echo "FAIL $script (exit $status), from $log:"
		grep -a '^not ok ' "$log"
		tail -n 40 "$log"
	else
		echo "ok   $script ($passed, $((SECONDS - begin)) s)"
	fi
}

binaries=() scripts=()
into=binaries
for arg; do
	if [ "$arg" = -- ]; then into=scripts; continue; fi
	case $arg in *"${T:-}"*) ;; *) continue ;; esac
	if [ $into = binaries ]; then binaries+=("$arg"); else scripts+=("$arg"); fi
done
[ ${#binaries[@]} = 0 ] || printf '%s\0' "${binaries[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_binary "$0"'
for script in "${scripts[@]}"; do run_script "$script"; done

touch "$logs/results"
awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 || p == 0 }' "$logs/results"
