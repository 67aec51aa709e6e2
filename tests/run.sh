#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BUILD_DIR [STAGE...]: runs built tests, stage by stage, and ends with `N passed, N failed`:
# test cases of the Boost.Test executables, and one for each script. Called by ./dev test, which
# builds and installs what is needed. What cannot run has failed; nothing is skipped. A stage that has
# no tests yet is passed over, unless it was asked for by name.
set -euo pipefail

readonly kStages=(unit conformance examples package integration faults)
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=$(cd "$1" && pwd)
shift
stages=("${@:-${kStages[@]}}")
named=$#

passed=0 failed=0 child='' own_kafka='' finished=no
work=$(mktemp -d -t millrace-test.XXXXXX)
logs=$build_dir/test-logs
rm -rf "$logs"
mkdir -p "$logs"
# Whatever a test leaves behind is in here: files, and brokers with a broker.pid.
export TMPDIR=$work
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$source_dir/tests/tsan.supp}

clean_up() {
  local pid_file
  [ -z "$child" ] || { kill "$child" 2>/dev/null && wait "$child" || true; }
  find "$work" -name broker.pid 2>/dev/null | while read -r pid_file; do
    "$source_dir/tests/kafka/broker.sh" stop "$(dirname "$pid_file")" || true
  done
  rm -rf "$work"
  # The count comes last, also when this script itself was ended or has a bug.
  [ "$finished" = yes ] || { echo "run.sh: ended before its end"; failed=$((failed + 1)); }
  echo "$passed passed, $failed failed"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command with a time limit in the background, so that a signal to us ends it at once.
limited() {  # SECONDS LOG COMMAND...
  local status=0
  timeout --kill-after=20 "$1" "${@:3}" >"$2" 2>&1 </dev/null &
  child=$!
  wait "$child" || status=$?
  child=''
  [ "$status" != 124 ] || echo "run.sh: ended after its time limit of $1 s" >>"$2"
  return "$status"
}

count() {  # NAME PASSED FAILED SECONDS [LOG]
  passed=$((passed + $2)) failed=$((failed + $3))
  [ "$3" = 0 ] || [ -z "${5:-}" ] ||
    { grep -Ev ': (Entering|Leaving) test ' "$5" | tail -n 80; echo "($1: the whole log is $5)"; }
  printf '%-32s %4d passed, %d failed  (%d s)\n' "$1" "$2" "$3" "$4"
}

could_not_run() {  # NAME REASON
  echo "$1: $2"
  count "$1" 0 1 0
}

# A script or command: one passed or one failed.
step() {  # NAME SECONDS_MAX COMMAND...
  local log=$logs/${1//\//_}.log begin=$SECONDS
  if limited "$2" "$log" "${@:3}"; then
    count "$1" 1 0 $((SECONDS - begin))
  else
    count "$1" 0 1 $((SECONDS - begin)) "$log"
  fi
}

# The first, outermost value of an attribute of a report, 0 if there is none.
attribute() {  # NAME REPORT
  local value
  value=$(grep -o "\b$1=\"[0-9]*\"" "$2" 2>/dev/null | head -n 1 | tr -dc 0-9) || true
  echo "${value:-0}"
}

# A Boost.Test executable: its cases, from the report it writes at its end. No report, no case, or an
# exit code that the cases do not explain is a failure of its own.
cases() {  # FOLDER SECONDS_MAX
  local name=$1_test log=$logs/$1_test.log report=$logs/$1_test.xml begin=$SECONDS status=0
  local good=0 bad=0 key
  ls "$source_dir/tests/$1"/*.cc >/dev/null 2>&1 || return 0
  [ -x "$build_dir/tests/$name" ] || { could_not_run "$name" "not built"; return; }
  limited "$2" "$log" "$build_dir/tests/$name" --log_level=test_suite --color_output=no \
    --report_level=short --report_format=XML --report_sink="$report" || status=$?
  for key in test_cases_passed test_cases_passed_with_warnings; do
    good=$((good + $(attribute "$key" "$report")))
  done
  for key in test_cases_failed test_cases_skipped test_cases_timed_out; do
    bad=$((bad + $(attribute "$key" "$report")))
  done
  if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ "$good" = 0 ]; }; then
    echo "run.sh: exit code $status, no failed case reported" >>"$log"
    bad=1
  fi
  count "$name" "$good" "$bad" $((SECONDS - begin)) "$log"
}

# The scenarios of the fault tests. They have a broker of their own; MILLRACE_TEST_FAULTS says which.
fault_scenarios() {
  local log=$logs/fault_scenarios.log begin=$SECONDS arguments good bad minutes
  read -r -a arguments <<<"${MILLRACE_TEST_FAULTS:---profile short}"
  minutes=$(sed -n 's/.*--minutes \([0-9]*\).*/\1/p' <<<"${arguments[*]}")
  [ -x "$build_dir/tests/faults_run" ] || { could_not_run fault_scenarios "not built"; return; }
  echo "fault scenarios: ${arguments[*]}, log: $log"
  limited $((3600 + ${minutes:-60} * 60)) "$log" "$build_dir/tests/faults_run" "${arguments[@]}" || true
  grep -aE '^(passed|FAILED) |^  [A-Za-z0-9]+: |^  again: |injected, ' "$log" || true
  good=$(sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p' "$log" | tail -n 1)
  bad=$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$log" | tail -n 1)
  # Without a balance it did not come to its end.
  [ "${good:-0}" -gt 0 ] || [ "${bad:-0}" -gt 0 ] || { tail -n 40 "$log"; bad=1; }
  count fault_scenarios "${good:-0}" "${bad:-1}" $((SECONDS - begin))
}

# One real Kafka for all stages that need one, started by the first of them.
need_kafka() {  # NAME
  [ -z "${MILLRACE_TEST_KAFKA:-}" ] || return 0
  if [ -z "$own_kafka" ]; then
    own_kafka=$work/kafka
    if MILLRACE_TEST_KAFKA=$("$source_dir/tests/kafka/broker.sh" start "$own_kafka" 2>"$logs/kafka.log"); then
      export MILLRACE_TEST_KAFKA
      return 0
    fi
    cat "$logs/kafka.log"
  fi
  unset MILLRACE_TEST_KAFKA
  could_not_run "$1" "no Kafka to run against"
  return 1
}

has_tests() {  # STAGE
  case "$1" in
    unit | package) ;;
    examples) ls "$source_dir"/examples/*/test.sh >/dev/null 2>&1 ;;
    *) ls "$source_dir/tests/$1"/*.cc >/dev/null 2>&1 ;;
  esac
}

run_stage() {
  local folder script
  case "$1" in
    unit)
      for folder in metrics stores runtime actors; do cases "$folder" 900; done
      step architecture 60 python3 "$source_dir/tests/architecture/check.py" "$source_dir"
      step architecture_selftest 60 python3 "$source_dir/tests/architecture/check_test.py"
      step public_headers 900 cmake --build "$build_dir" --parallel 1 --target all_verify_interface_header_sets
      ;;
    conformance) cases conformance 900 ;;
    examples)
      need_kafka examples || return 0
      for script in "$source_dir"/examples/*/test.sh; do
        folder=$(dirname "$script")
        step "examples/${folder##*/}" 300 bash "$script" "$build_dir"
      done
      ;;
    package) step package 900 "$source_dir/tests/package/run.sh" "$build_dir" ;;
    integration) need_kafka integration_test || return 0; cases integration 1800 ;;
    faults)
      cases faults 300
      fault_scenarios
      ;;
  esac
}

for stage in "${stages[@]}"; do
  if has_tests "$stage"; then
    run_stage "$stage"
  elif [ "$named" -gt 0 ]; then
    could_not_run "$stage" "there are no tests in this stage"
  fi
done
finished=yes
[ "$failed" = 0 ]
