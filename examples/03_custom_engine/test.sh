#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh BUILD_DIR: what the README promises, and that the words are nowhere on disk.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../test_support.sh"

mkdir "$work/state"
printed=$("$build_dir/examples/03_custom_engine" "$work/state" 2>"$work/errors.log") || fail "it failed"
[ "$printed" = "hello engine" ] || fail "it printed '$printed'"
[ -n "$(find "$work/state" -name '*.sst' -o -name '*.log' -size +0)" ] || fail "nothing is on disk"
! grep -rqa hello "$work/state" || fail "a word is on disk as it is"
echo "03_custom_engine: ok"
