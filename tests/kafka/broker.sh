#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A real Apache Kafka broker (KRaft, broker and controller in one process) with its data in DIR.
#
#   broker.sh start DIR [PORT]   start, wait until it answers, print HOST:PORT; a free port by default
#   broker.sh stop DIR           stop cleanly and wait (SIGTERM, SIGKILL after 30 s)
#   broker.sh kill DIR           kill -9, as a crash would
#   broker.sh restart DIR        stop if it runs, then start again on the same port with the same data
#   broker.sh address DIR        print HOST:PORT
#   broker.sh proxied DIR        print HOST:PORT of the listener behind KAFKA_PROXY_PORT
#
# A started DIR keeps its port and its data for ever after: kill + start is a crash and a recovery
# (about 14 s: the controller waits until the dead broker's session of 9 s has ended). DIR holds
# server.properties, broker.pid, broker.log and data/. KAFKA_HEAP (default 768m) is the Java heap,
# KAFKA_SETTINGS more lines for server.properties, KAFKA_LOG_LEVEL (default warn) that of the log.
# KAFKA_PROXY_PORT adds a second listener, whose clients are sent to that port of 127.0.0.1: a proxy
# there sees everything they say, while HOST:PORT remains a direct way.
# KAFKA_NODE=N makes it the N-th (from 1 on) of several, which share KAFKA_CLUSTER_ID (22 characters,
# base64url of 16 bytes) and KAFKA_CONTROLLERS, the ports of all their controllers with commas between
# them. They are started at the same time: none answers before most of them are there.
# Only the process named in broker.pid is ever signalled.
set -euo pipefail

readonly kStartSecondsMax=60
readonly kStopSecondsMax=30
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() { echo "broker.sh: $*" >&2; exit 1; }

# N distinct free ports below the range the kernel gives to outgoing connections: otherwise a client that
# keeps trying to reach a stopped broker may be given the broker's own port, and keep it.
free_ports() {  # N
  python3 - "$1" <<'EOF'
import random, socket, sys
with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
    last = max(int(f.read().split()[0]), 11000)
free = []
for port in random.sample(range(10000, last), 200):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    free.append(port)
    if len(free) == int(sys.argv[1]):
        print(*free)
        sys.exit()
sys.exit("broker.sh: no free port found")
EOF
}

# The pid of the broker of DIR if it runs. A pid may be reused: the command line must name our file.
running_pid() {
  local pid
  pid=$(cat "$dir/broker.pid" 2>/dev/null) || return 1
  { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF "$dir/server.properties" || return 1
  echo "$pid"
}

address() { sed -n 's|^advertised.listeners=PLAINTEXT://\([^,]*\).*|\1|p' "$dir/server.properties"; }
proxied() { sed -n 's|^listeners=.*PROXIED://\([^,]*\).*|\1|p' "$dir/server.properties"; }

# Settings for one small node: every internal topic has one replica, few partitions, and groups form
# without the usual wait.
write_properties() {  # PORT CONTROLLER_PORT PROXIED_PORT
  local proxied='' advertised='' voters='' i node=${KAFKA_NODE:-1} controllers
  IFS=, read -r -a controllers <<<"${KAFKA_CONTROLLERS:-$2}"
  for i in "${!controllers[@]}"; do voters+=,$((i + 1))@127.0.0.1:${controllers[i]}; done
  if [ -n "${KAFKA_PROXY_PORT:-}" ]; then
    proxied=,PROXIED://127.0.0.1:$3 advertised=,PROXIED://127.0.0.1:$KAFKA_PROXY_PORT
  fi
  cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=$node
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:${controllers[node - 1]}$proxied
advertised.listeners=PLAINTEXT://127.0.0.1:$1$advertised
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=500
${KAFKA_SETTINGS:-}
EOF
}

java_kafka() {  # CLASS ARGS...
  exec java -Xms"${KAFKA_HEAP:-768m}" -Xmx"${KAFKA_HEAP:-768m}" -XX:+UseG1GC \
    -Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG_LEVEL:-warn}" \
    -Dorg.slf4j.simpleLogger.showDateTime=true \
    -Dorg.slf4j.simpleLogger.dateTimeFormat="yyyy-MM-dd'T'HH:mm:ss.SSSZ" -cp "$jars/*" "$@"
}

start() {  # [PORT]
  local pid port ports waited=0
  if pid=$(running_pid); then fail "the broker of $dir already runs (pid $pid, $(address))"; fi
  jars=$("$here/fetch.sh")
  mkdir -p "$dir"
  if [ ! -f "$dir/server.properties" ]; then
    read -r -a ports <<<"$(free_ports 3)"
    write_properties "${1:-${ports[0]}}" "${ports[1]}" "${ports[2]}"
    (java_kafka kafka.tools.StorageTool format -t "${KAFKA_CLUSTER_ID:-$(cluster_id)}" -c "$dir/server.properties") \
      >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; fail "could not format $dir/data"; }
  fi
  # Its own session: a Ctrl-C at the terminal is for the tests, which then stop the broker themselves.
  (cd "$dir" && java_kafka_detached)
  pid=$(cat "$dir/broker.pid")
  until kcat -L -b "$(address)" -m 2 >/dev/null 2>&1; do
    running_pid >/dev/null || { tail -n 20 "$dir/broker.log" >&2; fail "the broker of $dir ended at start"; }
    waited=$((waited + 1))
    [ "$waited" -le $((kStartSecondsMax * 4)) ] || { kill -9 "$pid"; fail "no answer in $kStartSecondsMax s, see $dir/broker.log"; }
    sleep 0.25
  done
  address
}

java_kafka_detached() {
  export -f java_kafka
  export jars
  setsid bash -c 'echo $$ >broker.pid; java_kafka kafka.Kafka "$PWD/server.properties"' \
    </dev/null >>broker.log 2>&1 &
  until [ -s broker.pid ] && running_pid >/dev/null || ! kill -0 $! 2>/dev/null; do sleep 0.05; done
}

# 16 random bytes but for the first: an id that begins with '-' would be taken for an option.
cluster_id() { { printf K; head -c 15 /dev/urandom; } | base64 | tr '+/' '-_' | tr -d '='; }

signal_and_wait() {  # SIGNAL
  local pid waited=0
  pid=$(running_pid) || { rm -f "$dir/broker.pid"; return 0; }
  kill "-$1" "$pid"
  while running_pid >/dev/null; do
    waited=$((waited + 1))
    [ "$waited" -ne $((kStopSecondsMax * 10)) ] || { echo "broker.sh: $dir: not stopped in $kStopSecondsMax s, kill -9" >&2; kill -9 "$pid"; }
    sleep 0.1
  done
  rm -f "$dir/broker.pid"
}

usage() { sed -n '5,23s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

case "${1:-}" in -h | --help | '') usage; [ -n "${1:-}" ]; exit ;; esac
[ $# -ge 2 ] || { usage >&2; exit 2; }
mkdir -p "$2"
dir=$(cd "$2" && pwd -P)
export dir
export -f running_pid
case "$1" in
  start) start "${@:3:1}" ;;
  stop) signal_and_wait TERM ;;
  kill) signal_and_wait KILL ;;
  restart) signal_and_wait TERM && start ;;
  address) address ;;
  proxied) proxied ;;
  *) usage >&2; exit 2 ;;
esac
