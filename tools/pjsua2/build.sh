#!/bin/bash
# Build pjsua2 with recproxy's module and print the path of the wheel.
#
#   tools/pjsua2/build.sh PYTHON
#
# PYTHON must be the interpreter (or a venv of it) that will import the wheel.
# The wheel, the source and the build log are kept in the cache; a second run
# finds the wheel there. Environment:
#   RECPROXY_CACHE     where (default ${XDG_CACHE_HOME:-~/.cache}/recproxy)
#   PJPROJECT_TARBALL  pjproject's source archive, instead of Debian's
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

die() { printf 'pjsua2 build: %s\n' "$*" >&2; exit 1; }
say() { printf 'pjsua2 build: %s\n' "$*" >&2; }

[ $# -eq 1 ] || die "usage: $0 PYTHON"
python=$(command -v "$1") || die "no such interpreter: $1"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or RECPROXY_CACHE}/.cache}/recproxy}/pjsua2
recipe=(build.sh wheel.py config_site.h recproxy_pjsua2.i recproxy_{bodies,held,net,sip}.{c,h} recproxy_{auth,call,door,exempt,fork,links,resolve,sdp,urn}.c recproxy_parts.h)

tag=$("$python" "$here/wheel.py" --print-tag)
source_key=debian-sid
if [ -n "${PJPROJECT_TARBALL:-}" ]; then
    [ -r "$PJPROJECT_TARBALL" ] || die "PJPROJECT_TARBALL is not a readable file: $PJPROJECT_TARBALL"
    source_key=$(sha256sum <"$PJPROJECT_TARBALL")
fi
key=$({ cd "$here" && sha256sum "${recipe[@]}"; echo "$source_key"; echo "$tag"; } | sha256sum | cut -c1-12)

cached() {
    local wheel
    for wheel in "$cache/$key"/pjsua2-*-"$tag".whl; do
        [ -s "$wheel" ] && printf '%s\n' "$wheel" && return 0
    done
    return 1
}
cached && exit 0

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
cached && exit 0 # another run was faster

for tool in swig gcc g++ make tar xz; do
    command -v "$tool" >/dev/null || die "$tool is missing; install swig build-essential xz-utils"
done
include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
[ -r "$include/Python.h" ] || die "no Python.h in $include; install python3-dev"
for header in openssl/ssl.h srtp2/srtp.h uuid/uuid.h; do
    echo "#include <$header>" | gcc -E -x c - >/dev/null 2>&1 ||
        die "no <$header>; install libssl-dev libsrtp2-dev uuid-dev"
done

# Debian's package asterisk carries pjproject as a component of its source. apt
# checks the signature; its settings live in the work directory and take the
# mirror from the machine's own sources.
fetch() {
    local apt=$work/apt mirror
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,sources.d} "$work/source"
    mirror=$(apt-get -o Dir::State::lists="$apt/lists" --print-uris update |
        sed -nE "s#^'(.*/debian)/dists/[a-z]+/InRelease'.*#\\1#p" | head -n 1)
    [ -n "$mirror" ] || die "no Debian mirror among this machine's apt sources; set PJPROJECT_TARBALL"
    cat >"$apt/sources.d/sid.sources" <<SOURCES
Types: deb-src
URIs: $mirror
Suites: sid
Components: main
$(key=/usr/share/keyrings/debian-archive-keyring.gpg; [ -r $key ] && echo "Signed-By: $key")
SOURCES
    cat >"$apt/apt.conf" <<CONFIG
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources.d";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
$([ "$(id -u)" -ne 0 ] || echo 'APT::Sandbox::User "root";')
CONFIG
    (
        cd "$work/source"
        export APT_CONFIG=$apt/apt.conf
        apt-get update -qq
        apt-get source -qq --download-only asterisk
    )
    mv "$work"/source/*.orig-Xpjproject.tar.* "$cache/pjproject.tar.xz.new"
    mv "$cache/pjproject.tar.xz.new" "$cache/pjproject.tar.xz"
}

build() {
    local tree=$work/tree jobs includes defines libraries
    jobs=$(nproc)
    if [ -n "${PJPROJECT_TARBALL:-}" ]; then
        tarball=$PJPROJECT_TARBALL
    else
        tarball=$cache/pjproject.tar.xz
        [ -s "$tarball" ] || fetch
    fi
    mkdir -p "$tree"
    tar -xf "$tarball" -C "$tree" --strip-components=1
    version=$(awk -F':=' '/export PJ_VERSION_(MAJOR|MINOR|REV) / { gsub(/ /, "", $2); if ($2 != "") v = v (v == "" ? "" : ".") $2 }
                          END { print v }' "$tree/version.mak")
    [ "$version" = 2.17 ] || say "note: this is pjproject $version; recproxy was tried with 2.17"

    cp "$here/config_site.h" "$tree/pjlib/include/pj/config_site.h"
    # Not in Debian's archive, not used with --disable-sound, but named by the makefile.
    : >"$tree/pjmedia/src/pjmedia-audiodev/bdimad_dev.c"
    cd "$tree"
    ./aconfigure CFLAGS="-O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2" \
        --with-external-srtp --disable-sound --disable-video --disable-libyuv --disable-libwebrtc \
        --disable-sdl --disable-ffmpeg --disable-v4l2 --disable-openh264 --disable-resample \
        --disable-speex-aec --disable-speex-codec --disable-ilbc-codec --disable-gsm-codec \
        --disable-g7221-codec --disable-g722-codec --disable-l16-codec --disable-opus --disable-bcg729 \
        --disable-upnp --enable-epoll

    includes=$(printf -- '-I%s/include ' "$tree"/{pjlib,pjlib-util,pjnath,pjmedia,pjsip})
    defines="-DPJ_AUTOCONF=1 $(printf '#include <pj/config_site.h>\n' | gcc -E -dM -x c - $includes |
        awk '/define __BYTE_ORDER__ __ORDER_LITTLE_ENDIAN__/ { print "-DPJ_IS_LITTLE_ENDIAN=1 -DPJ_IS_BIG_ENDIAN=0" }
             /define __BYTE_ORDER__ __ORDER_BIG_ENDIAN__/ { print "-DPJ_IS_LITTLE_ENDIAN=0 -DPJ_IS_BIG_ENDIAN=1" }')"

    mkdir "$work/out"
    cd "$work/out"
    # The wrapper takes as long as all libraries together: build both at once.
    (
        swig $includes -I"$tree/pjsip-apps/src/swig" -I"$here" -c++ -python -threads \
            -w302,312,362,401,503,509,516 -o pjsua2_wrap.cpp "$here/recproxy_pjsua2.i"
        g++ -O1 -fPIC -fno-strict-aliasing -fstack-protector-strong $defines $includes -I"$here" -I"$include" \
            -c pjsua2_wrap.cpp
    ) &
    local wrapper=$!
    make -C "$tree" dep
    make -C "$tree" -j"$jobs" lib
    for part in auth bodies call door exempt fork held links net resolve sdp sip urn; do
        gcc -std=gnu11 -O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=3 \
            -Wall -Wextra -Werror -Wconversion -Wshadow -Wvla -Wno-sign-conversion \
            $defines ${includes//-I/-isystem } -c "$here/recproxy_$part.c"
    done
    wait "$wrapper"

    libraries=$(printf 'include %s/build.mak\nx:\n\t@echo $(PJ_LDXXFLAGS) $(PJ_LDXXLIBS)\n' "$tree" | make -sf - x)
    g++ -shared -Wl,-O1,-z,relro,-z,now -Wl,--wrap=pj_sock_accept,--wrap=pj_sock_close -o "_pjsua2$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')" \
        pjsua2_wrap.o recproxy_{auth,bodies,call,door,exempt,fork,held,links,net,resolve,sdp,sip,urn}.o $libraries
    strip --strip-unneeded _pjsua2*.so
    "$python" "$here/wheel.py" --version "$version+recproxy.$key" --out "$work" pjsua2.py _pjsua2*.so
}

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
log=$cache/build-$key.log
say "building, about two minutes on two cores; log: $log"
started=$SECONDS
set +e
(set -e; build) >"$log" 2>&1 9>&-
status=$?
set -e
if [ "$status" -ne 0 ]; then
    tail -n 25 "$log" >&2
    die "failed; the whole log is $log"
fi
mkdir -p "$cache/$key"
mv "$work"/pjsua2-*.whl "$cache/$key/"
say "done in $((SECONDS - started)) s"
cached
