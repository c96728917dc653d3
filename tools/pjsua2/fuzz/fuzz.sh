#!/bin/bash
# Fuzz recproxy's module under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   tools/pjsua2/fuzz/fuzz.sh check             the corpora once through, and a little more
#   tools/pjsua2/fuzz/fuzz.sh SECONDS [NAME…]   libFuzzer, that long for each target
#
# An instrumented PJSIP is built once (minutes) from the source archive that
# build.sh left in the cache, the targets whenever a source has changed. New inputs
# go to the cache; an input that fails goes there too, is named, and belongs into
# corpus/NAME with the repair.
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

die() { printf 'pjsua2 fuzz: %s\n' "$*" >&2; exit 1; }
[ $# -ge 1 ] || die "usage: $0 check | SECONDS [NAME…]"
what=$1
shift
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(net lists calls resolve links mask print held early door)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipe=$(dirname "$here")
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}/pjsua2
tarball=${PJPROJECT_TARBALL:-$cache/pjproject.tar.xz}
[ -s "$tarball" ] || die "no source archive; run tools/pjsua2/build.sh first"
command -v clang >/dev/null || die "clang is missing; install clang libclang-rt-14-dev"
instrument="-g -O1 -fno-omit-frame-pointer -fsanitize=address,fuzzer-no-link"
key=$({ sha256sum <"$tarball"; sha256sum <"$recipe/config_site.h"; clang --version; echo "$instrument"; } |
    sha256sum | cut -c1-12)
tree=$cache/fuzz-$key
sources=$(cat "$recipe"/*.c "$recipe"/*.h "$here"/*.c "$here"/*.h "$here/fuzz.sh" | sha256sum | cut -c1-12)
bin=$tree/targets-$sources
mkdir -p "$cache"

build_pjsip() {
    rm -rf "$tree"
    mkdir -p "$tree"
    tar -xf "$tarball" -C "$tree" --strip-components=1
    # Small tables: the sanitiser makes them costly, and their size is not what is tested.
    sed 's/PJSUA_MAX_CALLS .*/PJSUA_MAX_CALLS 256/; s/PJSUA_MAX_CONF_PORTS .*/PJSUA_MAX_CONF_PORTS 64/' \
        "$recipe/config_site.h" >"$tree/pjlib/include/pj/config_site.h"
    echo '#define PJ_POOL_DEBUG 1' >>"$tree/pjlib/include/pj/config_site.h"
    : >"$tree/pjmedia/src/pjmedia-audiodev/bdimad_dev.c"
    cd "$tree"
    CC=clang CXX=clang++ ./aconfigure CFLAGS="$instrument" LDFLAGS="-fsanitize=address" \
        --with-external-srtp --disable-sound --disable-video --disable-libyuv --disable-libwebrtc \
        --disable-sdl --disable-ffmpeg --disable-v4l2 --disable-openh264 --disable-resample \
        --disable-speex-aec --disable-speex-codec --disable-ilbc-codec --disable-gsm-codec \
        --disable-g7221-codec --disable-upnp --enable-epoll --disable-opus --disable-bcg729
    # The tree is new: which file depends on which need not be found out first.
    make -j"$(nproc)" PJ_EXCLUDE_PJSUA2=1 lib
}

build_targets() {
    local includes libraries flags part name new=$bin.new
    local wraps=-Wl,--wrap=pj_getaddrinfo,--wrap=pj_gethostbyname,--wrap=pj_sock_accept,--wrap=pj_sock_close
    includes=$(printf -- '-isystem %s/include ' "$tree"/{pjlib,pjlib-util,pjnath,pjmedia,pjsip})
    libraries=$(printf 'include %s/build.mak\nx:\n\t@echo $(PJ_LDFLAGS) $(PJ_LDLIBS)\n' "$tree" | make -sf - x)
    flags="-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -DPJ_AUTOCONF=1 -DPJ_IS_LITTLE_ENDIAN=1
        -DPJ_IS_BIG_ENDIAN=0 -I$recipe -I$here $includes
        $instrument -fsanitize=undefined -fno-sanitize-recover=all"
    rm -rf "$tree"/targets-*
    mkdir -p "$new"
    cd "$new"
    for part in "$recipe"/recproxy_*.c "$here"/*.c; do
        printf '%s\0' "$part"
    done | xargs -0 -P "$(nproc)" -n 4 clang $flags -c
    ar rcs module.a recproxy_*.o
    for name in "$here"/*_fuzz.c; do
        name=$(basename "$name" .c)
        case $name in
        # Without the stage: it needs no PJSUA, and brings the part's surroundings itself.
        links_fuzz) echo "$name.o $libraries -o $name" ;;
        *) echo "$name.o stage.o $wraps -Wl,--start-group module.a $libraries -Wl,--end-group -o $name" ;;
        esac
    done | xargs -P "$(nproc)" -I{} bash -c "clang -fsanitize=address,undefined,fuzzer {}"
    mv "$new" "$bin"
}

once() { # WHAT LOG MADE FUNCTION: run it unless it was done
    local status
    [ -e "$3" ] && return
    echo "pjsua2 fuzz: building $1; log: $2"
    set +e
    (set -e; "$4") >"$2" 2>&1 9>&-
    status=$?
    set -e
    [ "$status" -eq 0 ] || { tail -n 25 "$2" >&2; die "failed; the whole log is $2"; }
}

exec 9>"$cache/fuzz.lock"
flock 9
started=$SECONDS
once "an instrumented PJSIP, some minutes" "$tree.log" "$tree/.built" build_pjsip
touch "$tree/.built"
once "the targets" "$tree.targets.log" "$bin" build_targets
flock -u 9
[ $((SECONDS - started)) -lt 5 ] || echo "pjsua2 fuzz: built in $((SECONDS - started)) s"

fuzz() { # NAME OPTION…
    local name=$1 log
    shift
    mkdir -p "$cache/fuzz-corpus/$name" "$cache/fuzz-found"
    log=$cache/fuzz-found/$name.log
    if ! "$bin/${name}_fuzz" -max_len=8000 -timeout=20 -rss_limit_mb=4096 -seed=1 \
        -artifact_prefix="$cache/fuzz-found/$name-" "$@" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        die "$name failed: the input is named above, the whole log is $log"
    fi
    printf 'ok   %s: %s runs\n' "$name" "$(sed -n 's/.*Done \([0-9]*\) runs.*/\1/p' "$log" | tail -n 1)"
}

for name in "${names[@]}"; do
    [ -e "$bin/${name}_fuzz" ] || die "no such target: $name"
    corpus=$here/corpus/$name
    if [ "$what" = check ]; then
        case $name in # as many runs as fit in a second or two
        net | lists | links | resolve) runs=20000 ;;
        calls | mask | print) runs=3000 ;;
        *) runs=0 ;;
        esac
        scratch=$(mktemp -d)
        fuzz "$name" -runs=$runs "$scratch" "$corpus"
        rm -rf "$scratch"
    else
        fuzz "$name" -max_total_time="$what" "$cache/fuzz-corpus/$name" "$corpus"
    fi
done
