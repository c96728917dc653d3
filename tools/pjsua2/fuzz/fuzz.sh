#!/bin/bash
# Fuzz recproxy's module under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   tools/pjsua2/fuzz/fuzz.sh [SECONDS]
#
# net_fuzz runs the parts without PJSIP; door_fuzz sends whole messages through
# an instrumented PJSIP, which is built once (minutes) from the source archive
# that build.sh left in the cache. New inputs go to the cache, crashes to the
# current directory.
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

seconds=${1:-30}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipe=$(dirname "$here")
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}/pjsua2
tarball=${PJPROJECT_TARBALL:-$cache/pjproject.tar.xz}
[ -s "$tarball" ] || { echo "no source archive; run tools/pjsua2/build.sh first" >&2; exit 1; }
key=$({ sha256sum <"$tarball"; sha256sum <"$recipe/config_site.h"; clang --version; } | sha256sum | cut -c1-12)
tree=$cache/fuzz-$key
instrument="-g -O1 -fno-omit-frame-pointer -fsanitize=address,fuzzer-no-link"

if [ ! -e "$tree/.built" ]; then
    echo "building an instrumented PJSIP, some minutes; log: $tree.log"
    rm -rf "$tree"
    mkdir -p "$tree"
    tar -xf "$tarball" -C "$tree" --strip-components=1
    # Small tables: the sanitiser makes them costly, and their size is not what is tested.
    sed 's/PJSUA_MAX_CALLS .*/PJSUA_MAX_CALLS 256/; s/PJSUA_MAX_CONF_PORTS .*/PJSUA_MAX_CONF_PORTS 64/' \
        "$recipe/config_site.h" >"$tree/pjlib/include/pj/config_site.h"
    echo '#define PJ_POOL_DEBUG 1' >>"$tree/pjlib/include/pj/config_site.h"
    : >"$tree/pjmedia/src/pjmedia-audiodev/bdimad_dev.c"
    (
        cd "$tree"
        CC=clang CXX=clang++ ./aconfigure CFLAGS="$instrument" LDFLAGS="-fsanitize=address" \
            --with-external-srtp --disable-sound --disable-video --disable-libyuv --disable-libwebrtc \
            --disable-sdl --disable-ffmpeg --disable-v4l2 --disable-openh264 --disable-resample \
            --disable-speex-aec --disable-speex-codec --disable-ilbc-codec --disable-gsm-codec \
            --disable-g7221-codec --disable-upnp --enable-epoll --disable-opus --disable-bcg729
        make dep
        make -j"$(nproc)" lib
    ) >"$tree.log" 2>&1 || { tail -n 20 "$tree.log" >&2; exit 1; }
    touch "$tree/.built"
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
includes=$(printf -- '-isystem %s/include ' "$tree"/{pjlib,pjlib-util,pjnath,pjmedia,pjsip})
libraries=$(printf 'include %s/build.mak\nx:\n\t@echo $(PJ_LDFLAGS) $(PJ_LDLIBS)\n' "$tree" | make -sf - x)
flags="-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -DPJ_AUTOCONF=1 -DPJ_IS_LITTLE_ENDIAN=1 -DPJ_IS_BIG_ENDIAN=0 -I$recipe"
clang $flags -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    "$here/net_fuzz.c" "$recipe"/recproxy_{bodies,net}.c -o "$out/net_fuzz"
clang $flags $includes $instrument -fsanitize=fuzzer,undefined -fno-sanitize-recover=all \
    "$here/door_fuzz.c" "$recipe"/recproxy_{auth,bodies,door,exempt,fork,held,links,net,resolve,sdp,sip}.c $libraries -o "$out/door_fuzz"

mkdir -p "$cache/fuzz-corpus/net" "$cache/fuzz-corpus/door"
"$out/net_fuzz" -max_total_time="$((seconds / 4 + 1))" -max_len=256 "$cache/fuzz-corpus/net"
"$out/door_fuzz" -max_total_time="$seconds" -max_len=16000 -rss_limit_mb=4096 -timeout=20 \
    "$cache/fuzz-corpus/door" "$here/corpus"
