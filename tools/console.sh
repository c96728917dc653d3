#!/bin/bash
# Build the web console: recproxy/console/src to recproxy/console/static.
#
#   tools/console.sh
#
# The npm packages that package-lock.json names are installed in RECPROXY_CACHE, once for each
# lock file, and checked against its hashes; no script of theirs is run. TypeScript checks the
# sources, esbuild makes them one file. What is there and newer than its sources is left alone.
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
console=$root/recproxy/console
static=$console/static
cache=${RECPROXY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recproxy}

if [ -e "$static/console.js" ] && [ -z "$(find "$console/src" "$console"/*.json "$0" -newer "$static/console.js" -print -quit)" ]; then
    exit 0
fi
command -v npm >/dev/null || { echo "npm is missing: apt-get install npm" >&2; exit 1; }

packages=$cache/console-$(cat "$console/package.json" "$console/package-lock.json" | sha256sum | cut -c1-12)
if [ ! -d "$packages/node_modules" ]; then
    echo "installing the locked packages of the console"
    mkdir -p "$cache"
    fresh=$(mktemp -d "$cache/console-XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    cp "$console/package.json" "$console/package-lock.json" "$fresh"
    (cd "$fresh" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    mv -T "$fresh" "$packages" 2>/dev/null || [ -d "$packages/node_modules" ]  # another build was first
fi

work=$(mktemp -d)
trap 'rm -rf "$work" ${fresh:+"$fresh"}' EXIT
cp -r "$console/src" "$console/tsconfig.json" "$work"
ln -s "$packages/node_modules" "$work/node_modules"
cd "$work"
node_modules/.bin/tsc --project tsconfig.json
# Comments with the licences of what is bundled stay, at its end.
node_modules/.bin/esbuild src/main.ts --bundle --format=esm --target=es2022 --minify --charset=utf8 \
    --legal-comments=eof --log-level=warning --outfile=out/console.js
cp src/index.html src/console.css src/icon.svg out
# For each bundled package its licence, whole: theirs ask for it.
for package in age-encryption @noble/ciphers @noble/curves @noble/hashes @noble/post-quantum @scure/base; do
    printf '%s\n\n' "$package"
    cat "node_modules/$package/LICENSE"
    printf '\n\n'
done >out/licences.txt
mkdir -p "$static"
cp out/* "$static"
