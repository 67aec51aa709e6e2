#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# fresh_root.sh SUITE VERB...: runs ./dev VERB on a copy of this tree in a new, minimal Debian that is
# removed afterwards. Root only. The new Debian uses this machine's mirror, apt settings, proxy and
# certificates, because those are what reaches the archives from here. It has its own file system and
# its own processes (all end with the verb), but the network of this machine.
set -euo pipefail

suite=$1
shift
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly kKeyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that apt uses here for our own release, or for its security updates.
mirror_of() {  # ''|-security
  local own
  own=$(. /etc/os-release && echo "$VERSION_CODENAME")$1
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(CODENAME)' 'Identifier: Packages' |
    awk -v own="$own" '($2 == own || $3 == own) && $1 ~ /^https?:/ {print $1; exit}'
}

main=$(mirror_of '')
security=$(mirror_of -security)
[ -n "$main" ] || { echo "in: apt on this machine names no Debian mirror for its own release" >&2; exit 1; }
sources="deb [signed-by=$kKeyring] $main $suite main
deb [signed-by=$kKeyring] $main $suite-updates main"
[ -z "$security" ] || sources+="
deb [signed-by=$kKeyring] $security $suite-security main"

base=$(mktemp -d -t millrace-in.XXXXXX)
trap 'rm -rf --one-file-system "$base"' EXIT
root=$base/root
export certificates=/usr/local/share/ca-certificates

settings=()
while read -r line; do settings+=("--aptopt=$line"); done < <(apt-config dump --no-empty |
  grep -E '^Acquire::(https?|Check-Date|Check-Valid-Until|Retries|ForceIPv[46])(::| )' || true)

echo "in: making a fresh $suite" >&2
# Services that packages bring along are not started: the network is this machine's.
if ! mmdebstrap --mode=root --variant=minbase --quiet "${settings[@]}" \
    --setup-hook='if [ -d "$certificates" ]; then mkdir -p "$1$certificates" && cp -rL "$certificates/." "$1$certificates"; fi' \
    --customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d"' \
    $(case "$main" in https:*) echo --include=ca-certificates ;; esac) \
    "$suite" "$root" - <<<"$sources" >"$base/log" 2>&1; then
  tail -n 40 "$base/log" >&2
  echo "in: mmdebstrap could not make a fresh $suite" >&2
  exit 1
fi
cp /etc/hosts "$root/etc/hosts"
[ ! -f "$HOME/.m2/settings.xml" ] || install -D -m 600 "$HOME/.m2/settings.xml" "$root/root/.m2/settings.xml"

# The tree as it is now: what git knows and what is new, without what is ignored.
mkdir -p "$root/millrace"
if [ -e "$tree/.git" ]; then
  git -c safe.directory="$tree" -C "$tree" ls-files -z --cached --others --exclude-standard |
    tar -C "$tree" --null --files-from=- --ignore-failed-read -cf - 2>/dev/null | tar -C "$root/millrace" -xf -
else
  tar -C "$tree" --exclude='./build*' -cf - . | tar -C "$root/millrace" -xf -
fi

environment=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
for name in TERM CI MILLRACE_TEST_KAFKA CMAKE_BUILD_PARALLEL_LEVEL \
    http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done

# The mounts and the processes live in namespaces of their own and end with this command.
status=0
unshare --mount --pid --fork --kill-child bash -c '
  root=$1; shift
  mount -t proc proc "$root/proc" && mount --rbind /sys "$root/sys" && mount --rbind /dev "$root/dev" || exit
  exec env -i "$@"
' bash "$root" "${environment[@]}" chroot "$root" /bin/bash -c 'cd /millrace && exec ./dev "$@"' dev "$@" || status=$?
exit "$status"
