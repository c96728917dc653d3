#!/bin/bash
# Make a Debian 12 root to install the package in, and print its path: what the package depends on is in
# it, nothing else of ours. It is kept in the cache; a second run finds it there. Needs root and the network.
#
#   RECPROXY_DEB_MIRROR  Debian mirror; default: the one that this machine uses
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "tools/deb/root.sh: $1" >&2; exit 1; }

mapfile -t packages < <(grep -v '^#' "$here/depends.txt"; echo systemd)
key=$(printf '%s\n' "${packages[@]}" | sha256sum | cut -c1-12)
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}/deb
root=$cache/bookworm-$key
[ ! -d "$root" ] || { echo "$root"; exit 0; }
[ "$(id -u)" -eq 0 ] || fail "a Debian root can only be made by root"
command -v debootstrap >/dev/null || fail "debootstrap is missing; apt-get install debootstrap"

# The mirror that this machine takes Debian from, as its apt says it.
mirror=${RECPROXY_DEB_MIRROR:-$(apt-get --print-uris update 2>/dev/null |
    sed -nE "s#^'(.*/debian)/dists/[a-z]+/InRelease'.*#\\1#p" | head -n 1)}
[ -n "$mirror" ] || fail "no Debian mirror among this machine's apt sources; set RECPROXY_DEB_MIRROR"

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ ! -d "$root" ] || { echo "$root"; exit 0; }
rm -rf "$root.partial"
# Mounts that debootstrap makes end with its namespace.
include=$(IFS=,; echo "${packages[*]}")
nice unshare --mount --propagation private debootstrap --variant=minbase --include="$include" \
    bookworm "$root.partial" "$mirror" >"$cache/debootstrap.log" 2>&1 9>&- ||
    fail "failed; the whole log is $cache/debootstrap.log"
rm -f "$root.partial"/var/cache/apt/archives/*.deb
mv "$root.partial" "$root"
echo "$root"
