#!/bin/bash
# Install the Debian packages of tools/apt-packages.txt that are missing. Does nothing, fast, when all are there.
# A package with a command after it is not needed where that command came from elsewhere.
set -euo pipefail
list=$(dirname "$0")/apt-packages.txt
missing=()
while read -r name command; do
    case $name in ''|'#'*) continue ;; esac
    [ -n "$command" ] && command -v "$command" >/dev/null && continue
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
done < "$list"
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing and need root to install: ${missing[*]}" >&2; exit 1; }
    root=(sudo)
fi
"${root[@]}" apt-get update -q
DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
