#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh BUILD_DIR: what the README promises, on the embedded broker and on MILLRACE_TEST_KAFKA.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../test_support.sh"

program=$build_dir/examples/01_hello_reducer
expected='alice:{"count":1,"event":"updated","user":"Alice"}
alice:{"count":2,"event":"updated","user":"Alice"}
bob:{"count":1,"event":"updated","user":"Bob"}'

users() { printf '%s\n' 'alice:{"name":"Alice"}' 'bob:{"name":"Bob"}' 'alice:{"name":"Alice"}'; }
events() { consume "$1" "$2" '%k:%s\n' 2>/dev/null | sort; }
events_are_there() { [ "$(events "$1" "$2")" = "$expected" ]; }

check() {  # PID BOOTSTRAP INPUT OUTPUT
  users | produce "$2" "$3"
  wait_until 40 "three events in $4" events_are_there "$2" "$4"
  stop "$1" TERM 0
}

# The commands the README tells to type, as the program prints them.
export MILLRACE_STATE_DIR=$work/state
start embedded "$program" --embedded
wait_until 20 "the address of the embedded broker" grep -q '^  alice:' "$work/embedded.log"
bootstrap=$(sed -n 's/^embedded broker at \([^;]*\);.*/\1/p' "$work/embedded.log")
grep -q "^  kcat -b $bootstrap -P -t users -K :\$" "$work/embedded.log" || fail "no kcat command printed"
check "$pid" "$bootstrap" users user-events

input=hello-users-$run_id output=hello-events-$run_id
topics create 2 "$input" "$output"
start broker env INPUT_TOPIC="$input" OUTPUT_TOPIC="$output" MILLRACE_APPLICATION_ID="hello-$run_id" \
  MILLRACE_BOOTSTRAP_SERVERS="$MILLRACE_TEST_KAFKA" "$program"
check "$pid" "$MILLRACE_TEST_KAFKA" "$input" "$output"
topics delete "$input" "$output" "hello-$run_id-user-counts-changelog"

# A mistake has a name and an exit code.
code=0
env INPUT_TOPIC="no-such-topic-$run_id" MILLRACE_BOOTSTRAP_SERVERS="$MILLRACE_TEST_KAFKA" \
  MILLRACE_APPLICATION_ID="hello-$run_id" "$program" >"$work/missing.log" 2>&1 || code=$?
[ "$code" != 0 ] || fail "ran without its source topic"
grep -q "no-such-topic-$run_id" "$work/missing.log" || fail "the missing topic is not named"
echo "01_hello_reducer: ok"
