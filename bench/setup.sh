#!/bin/bash
# Install the peers that recproxy is compared with: a Debian sid root of their own, in the cache.
# Safe to run again; does nothing, fast, when all is there. Nothing of it is on the machine's own
# system: mounts are made in a namespace that ends with this script, services never start.
#
#   RECPROXY_BENCH_PEERS   the root; default: bench/peers in the cache
#   RECPROXY_BENCH_MIRROR  Debian mirror; default: the one that this machine uses
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}/bench
root=${RECPROXY_BENCH_PEERS:-$cache/peers}
mapfile -t packages < <(grep -v '^#' "$here/peers/packages.txt")
wanted=$(printf '%s\n' "${packages[@]}" | sha256sum | cut -c1-16)

fail() { echo "bench/setup.sh: $1" >&2; exit 1; }

"$here/build.sh" load >/dev/null
"$here/build.sh" relay >/dev/null
if [ "$(cat "$root/.bench-ready" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
[ "$(id -u)" -eq 0 ] || fail "a Debian root can only be made by root"
if [ "${BENCH_SETUP_NAMESPACE:-}" != private ]; then
    exec env BENCH_SETUP_NAMESPACE=private unshare --mount --propagation private "$0" "$@"
fi

# The first mirror that this machine uses, whichever form its list has.
find_mirror() {
    find /etc/apt/sources.list /etc/apt/sources.list.d -type f \( -name '*.sources' -o -name '*.list' \) -exec \
        awk '/^(URIs:|deb )/ { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' {} + 2>/dev/null || true
}
mirror=${RECPROXY_BENCH_MIRROR:-$(find_mirror)}
[ -n "$mirror" ] || fail "no Debian mirror found in /etc/apt: set RECPROXY_BENCH_MIRROR"

if [ ! -x "$root/usr/bin/apt-get" ]; then
    if ! command -v debootstrap >/dev/null; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends debootstrap
    fi
    rm -rf "$root.partial"
    mkdir -p "$root.partial"
    nice debootstrap --variant=minbase sid "$root.partial" "$mirror"
    umount -q "$root.partial/proc" "$root.partial/sys" || true
    [ ! -e "$root" ] || rmdir "$root" || fail "$root is in the way: move it away"
    mv "$root.partial" "$root"
fi

printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n' \
    > "$root/etc/dpkg/dpkg.cfg.d/bench"
# How this machine reaches its mirror (a proxy, a certificate) holds for the root too.
for settings in /etc/apt/apt.conf.d/99*; do
    [ ! -e "$settings" ] || cp "$settings" "$root/etc/apt/apt.conf.d/"
done
[ ! -e /etc/resolv.conf ] || cp --remove-destination "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
chroot "$root" apt-get update -q
DEBIAN_FRONTEND=noninteractive nice chroot "$root" \
    apt-get install -y -q --no-install-recommends "${packages[@]}"
chroot "$root" apt-get clean
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' asterisk kamailio rtpengine-daemon
echo "$wanted" > "$root/.bench-ready"
