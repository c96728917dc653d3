#!/bin/bash
# Compile the load generator into the cache, once for each state of its sources; prints its path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}/bench
cc=${CC:-cc}
flags=(-std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wvla -Wconversion -Wno-sign-conversion -Wformat=2 -Werror
       -D_FORTIFY_SOURCE=2 -fstack-protector-strong ${BENCH_CFLAGS:-})
key=$({ cat "$here"/load*.[ch]; echo "${flags[*]}"; "$cc" --version; } | sha256sum | cut -c1-16)
program=$cache/load-$key
if [ ! -x "$program" ]; then
    mkdir -p "$cache"
    "$cc" "${flags[@]}" -o "$program.$$" "$here"/load.c "$here"/load_media.c "$here"/load_sip.c
    mv "$program.$$" "$program"
fi
echo "$program"
