#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh BUILD_DIR: exact counts on MILLRACE_TEST_KAFKA, also after a restart without the local state.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../test_support.sh"

readonly kKeys=100
input=count-in-$run_id output=count-out-$run_id
export INPUT_TOPIC=$input OUTPUT_TOPIC=$output MILLRACE_STATE_DIR=$work/state
export MILLRACE_APPLICATION_ID=count-$run_id MILLRACE_BOOTSTRAP_SERVERS=$MILLRACE_TEST_KAFKA
program=$build_dir/examples/02_count

# Key I has I records in each round.
records() { awk -v keys="$kKeys" 'BEGIN { for (n = 1; n <= keys; n++) for (i = n; i <= keys; i++) print "key-" i ":" n }'; }
expected() { awk -v keys="$kKeys" -v rounds="$1" 'BEGIN { for (i = 1; i <= keys; i++) print "key-" i, i * rounds }' | sort; }

# The newest record of each key; counts are signed, 8 bytes, big-endian.
table() { consume "$MILLRACE_TEST_KAFKA" "$output" '%k %s\n' -s 'value=>q' | awk '{ last[$1] = $2 } END { for (k in last) print k, last[k] }' | sort; }
counts_are_exact() { table >"$work/table.txt" 2>/dev/null; expected "$1" | cmp -s - "$work/table.txt"; }
show_difference() { expected "$1" | diff - "$work/table.txt" | head -n 20; }

round() {  # NUMBER
  start "run-$1" "$program"
  records | produce "$MILLRACE_TEST_KAFKA" "$input"
  local deadline=$((SECONDS + 40))
  until counts_are_exact "$1"; do
    [ "$SECONDS" -lt "$deadline" ] || { show_difference "$1"; fail "the counts of round $1 are not exact"; }
    sleep 0.2
  done
  stop "$pid" TERM 0
  counts_are_exact "$1" || { show_difference "$1"; fail "the counts of round $1 moved on at the end"; }
}

topics create 4 "$input" "$output"
round 1
round 2
# The topics are the truth: without its folder the next run restores and goes on counting.
rm -rf "$work/state"
round 3
topics delete "$input" "$output" "count-$run_id-counts-changelog"
echo "02_count: ok"
