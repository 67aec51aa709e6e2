#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh BUILD_DIR: the demo ends by itself, by SIGINT, with its check, on both kinds of broker, and
# says why it cannot start.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../test_support.sh"

demo=$build_dir/examples/demo
export TMPDIR=$work/tmp
mkdir "$TMPDIR"

holds() {  # LOG
  grep -qx 'the balances hold' "$work/$1.log" || fail "$1: the check is missing"
  ! grep -q ' 0 payments' "$work/$1.log" || fail "$1: nothing was generated"
}

# By itself, with the figures printed as lines, no state left behind.
start seconds "$demo" --seconds 3 --http 127.0.0.1:0
wait_until 60 "the end after 3 s of payments" has_ended "$pid"
wait "$pid" || fail "the demo ended with code $?"
holds seconds
grep -q ' s  RUNNING  in ' "$work/seconds.log" || fail "no progress was printed"
[ -z "$(ls "$TMPDIR")" ] || fail "the temporary state is still there: $(ls "$TMPDIR")"

# By SIGINT, after its web server has answered; the given state directory stays.
start signal "$demo" --http 127.0.0.1:0 --state-dir "$work/state" --rate 2000
payments_flow() { grep -Eq ' s  RUNNING  in [1-9]' "$work/signal.log"; }
wait_until 40 "payments" payments_flow
url=$(sed -n 's|^\(http://[^/]*\)/status.*|\1|p' "$work/signal.log")
curl --silent --fail --max-time 5 "$url/status" >"$work/status.json" || fail "no answer from $url/status"
curl --silent --fail --max-time 5 "$url/metrics" >"$work/metrics.txt" || fail "no answer from $url/metrics"
grep -q '^millrace_records_consumed_total' "$work/metrics.txt" || fail "no metrics from $url/metrics"

# The port is taken now.
code=0
"$demo" --seconds 1 --http "${url#http://}" >"$work/taken.log" 2>&1 || code=$?
[ "$code" != 0 ] || fail "two demos on one port"
grep -q "${url##*:}" "$work/taken.log" || fail "the taken port is not named"

stop "$pid" INT 0
holds signal
[ -d "$work/state" ] || fail "the given state directory is gone"

start real "$demo" --seconds 3 --http '' --bootstrap "$MILLRACE_TEST_KAFKA"
wait_until 60 "the end after 3 s of payments on $MILLRACE_TEST_KAFKA" has_ended "$pid"
wait "$pid" || fail "the demo ended with code $?"
holds real
name=$(sed -n 's/^left on the broker: .* the group //p' "$work/real.log")
topics delete "$name-payments" "$name-alerts" "$name-accounts-changelog"
echo "demo: ok"
