# SPDX-License-Identifier: Apache-2.0
#
# What the test.sh of the examples share. Sourced after `set -euo pipefail`, with the build folder in
# $1 and, where a real broker is used, its address in MILLRACE_TEST_KAFKA. Gives a temporary folder
# in $work; it is removed, and every process begun with `start` is ended, when the script ends.

build_dir=$(cd "$1" && pwd)
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d -t millrace-example.XXXXXX)
run_id=$(date +%s)-$$
started=()

clean_up() {
  local pid
  for pid in "${started[@]}"; do
    kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  local log
  echo "FAILED: $*"
  for log in "$work"/*.log; do
    [ ! -s "$log" ] || { echo "--- ${log##*/}"; tail -n 40 "$log"; }
  done
  exit 1
}

# Runs a program in the background; its pid is in $pid, its output in $work/NAME.log.
start() {  # NAME COMMAND...
  "${@:2}" >"$work/$1.log" 2>&1 </dev/null &
  pid=$!
  started+=("$pid")
}

# Repeats a command until it succeeds, a tenth of a second apart.
wait_until() {  # SECONDS WHAT COMMAND...
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "not within the time allowed: $what"
    sleep 0.1
  done
}

has_ended() { ! kill -0 "$1" 2>/dev/null; }

# Sends a signal to a program begun with `start` and checks its exit code.
stop() {  # PID SIGNAL CODE
  local code=0
  kill "-$2" "$1"
  wait_until 30 "the end of process $1 after SIG$2" has_ended "$1"
  wait "$1" || code=$?
  [ "$code" = "$3" ] || fail "exit code $code after SIG$2, expected $3"
}

# create PARTITIONS TOPIC... or delete TOPIC..., on the real broker.
topics() {
  local jars
  jars=$("$source_dir/tests/kafka/fetch.sh")
  java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars/*" "$source_dir/examples/Topics.java" \
    "$MILLRACE_TEST_KAFKA" "$@" >"$work/topics.log" 2>&1 || fail "could not $*"
}

# Lines KEY:VALUE on stdin become records, partitioned as Java's producers do.
produce() {  # BOOTSTRAP TOPIC
  kcat -b "$1" -P -t "$2" -K : -X partitioner=murmur2_random -X acks=all
}

# Everything in a topic up to its present end, one record a line.
consume() {  # BOOTSTRAP TOPIC FORMAT [KCAT_OPTION...]
  timeout 20 kcat -b "$1" -C -q -e -o beginning -t "$2" -f "$3" "${@:4}"
}
