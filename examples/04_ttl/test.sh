#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh BUILD_DIR: a key's count ends with a null value in the output, on MILLRACE_TEST_KAFKA.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../test_support.sh"

input=visits-$run_id output=visitors-$run_id
export INPUT_TOPIC=$input OUTPUT_TOPIC=$output MILLRACE_STATE_DIR=$work/state
export MILLRACE_APPLICATION_ID=visits-$run_id MILLRACE_BOOTSTRAP_SERVERS=$MILLRACE_TEST_KAFKA
export TTL_MS=2000 TTL_CLOCK=wall
program=$build_dir/examples/04_ttl

# Key, time and length of the value; -1: null.
lines() { consume "$MILLRACE_TEST_KAFKA" "$output" '%k %T %S\n' >"$work/lines.txt" 2>/dev/null; }
is_over() { lines; grep -q '^ada [0-9]* -1$' "$work/lines.txt"; }

topics create 1 "$input" "$output"
start run "$program"
echo ada:/ | produce "$MILLRACE_TEST_KAFKA" "$input"
deadline=$((SECONDS + 40))
until is_over; do
  [ "$SECONDS" -lt "$deadline" ] || { cat "$work/lines.txt"; fail "the key is not forgotten"; }
  sleep 0.2
done
stop "$pid" TERM 0
awk '{ time[NR] = $2; size[NR] = $3 } END { exit !(NR == 2 && size[1] == 8 && time[2] - time[1] == 2000) }' \
  "$work/lines.txt" || { cat "$work/lines.txt"; fail "not a count and its end 2000 ms later"; }
topics delete "$input" "$output" "visits-$run_id-counts-changelog"
echo "04_ttl: ok"
