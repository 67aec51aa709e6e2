#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BUILD_DIR: installs the built library into a temporary prefix, builds the consumer beside this
# script against it with nothing but find_package(millrace), and runs the consumer.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build_dir=$(cd "$1" && pwd)
work=$(mktemp -d -t millrace-package.XXXXXX)
trap 'rm -rf "$work"' EXIT

cmake --install "$build_dir" --prefix "$work/prefix" >"$work/install.log" || { cat "$work/install.log"; exit 1; }

# A program made with a sanitizer can only be linked with the same one.
flags=''
case "$(sed -n 's/^MILLRACE_SANITIZE:STRING=//p' "$build_dir/CMakeCache.txt")" in
  address) flags=-fsanitize=address,undefined ;;
  thread) flags=-fsanitize=thread ;;
esac
# Nothing of the source tree: the consumer is copied away from it first.
cp -r "$here/consumer" "$work/consumer"
cmake -S "$work/consumer" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_FLAGS="$flags"
cmake --build "$work/build" --parallel 1
output=$("$work/build/consumer")
[ "$output" = ok ] || { echo "package: the consumer printed '$output' instead of 'ok'"; exit 1; }
