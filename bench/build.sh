#!/bin/bash
# Compile a program of the bench into the cache, once for each state of its sources; prints its path.
#   build.sh [load|relay]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}/bench
name=${1:-load}
case $name in
    load) sources=(load.c load_media.c load_sip.c) headers=(load.h) libraries=() ;;
    relay) sources=(relay.c) headers=() libraries=(-lcrypto) ;;
    *) echo "bench/build.sh: no program $name: load or relay" >&2; exit 2 ;;
esac
cc=${CC:-cc}
flags=(-std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wvla -Wconversion -Wno-sign-conversion -Wformat=2 -Werror
       -D_FORTIFY_SOURCE=2 -fstack-protector-strong ${BENCH_CFLAGS:-})
cd "$here"
key=$({ cat "${sources[@]}" ${headers[@]+"${headers[@]}"}; echo "${flags[*]}"; "$cc" --version; } | sha256sum | cut -c1-16)
program=$cache/$name-$key
if [ ! -x "$program" ]; then
    mkdir -p "$cache"
    "$cc" "${flags[@]}" -o "$program.$$" "${sources[@]}" ${libraries[@]+"${libraries[@]}"}
    mv "$program.$$" "$program"
fi
echo "$program"
