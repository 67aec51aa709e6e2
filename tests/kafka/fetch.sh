#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches Apache Kafka (jars only, about 120 MB) by Maven, once, outside the source tree, and prints
# the folder that holds them. Needs a JDK and Maven; ./dev installs both.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n '/kafka_2.13/{n;s/.*<version>\(.*\)<.*/\1/p}' "$here/pom.xml")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace
jars=$cache/kafka-$version
mkdir -p "$cache"

# One fetch at a time; the folder gets its name only when it is complete.
exec 9>"$jars.lock"
flock 9
if [ ! -d "$jars" ]; then
  echo "kafka: fetching Apache Kafka $version by Maven into $jars" >&2
  partial=$(mktemp -d "$jars.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  if ! mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies \
      -DoutputDirectory="$partial" -DincludeScope=runtime >"$jars.log" 2>&1; then
    cat "$jars.log" >&2
    echo "kafka: Maven could not fetch Apache Kafka $version (its output is above)" >&2
    exit 1
  fi
  chmod 755 "$partial"
  mv "$partial" "$jars"
  trap - EXIT
fi
printf '%s\n' "$jars"
