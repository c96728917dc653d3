#!/bin/bash
# Build the Debian package and print its path: recproxy with everything of Python that it uses in
# /opt/recproxy, the compiled engine and pjsua2 too. Nothing is fetched when it is installed.
#
#   tools/deb/build.sh PYTHON DIRECTORY
#
# PYTHON is the interpreter of a venv with the locked packages (make dev), of the version that the target's
# Debian has: 3.11 for Debian 12. The package is put into DIRECTORY. SOURCE_DATE_EPOCH dates it; default: the
# last commit.
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail
die() { echo "tools/deb/build.sh: $1" >&2; exit 1; }

[ $# -eq 2 ] || die "usage: $0 PYTHON DIRECTORY"
python=$(command -v "$1") || die "no such interpreter: $1"
mkdir -p "$2"
out=$(cd "$2" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$minor" = 3.11 ] || die "$python is Python $minor; Debian 12 has 3.11"
version=$("$python" -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1], "rb"))["project"]["version"])' "$root/pyproject.toml")
architecture=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
pip() { "$python" -m pip "$@" --disable-pip-version-check -q; }

# The environment: no pip in it, nothing of the system's, nothing of a user's.
opt=$tree/opt/recproxy
site=$opt/lib/python$minor/site-packages
mkdir -p "$opt/bin" "$site"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$minor" >"$opt/pyvenv.cfg"
ln -s "/usr/bin/python$minor" "$opt/bin/python3"
cat >"$opt/bin/recproxy" <<'PROGRAM'
#!/opt/recproxy/bin/python3 -I
import sys

from recproxy.__main__ import main

sys.exit(main())
PROGRAM
chmod 755 "$opt/bin/recproxy"
pip install --no-compile --target "$site" --require-hashes --only-binary :all: -r "$root/requirements.txt"
pip install --no-compile --target "$site" --no-deps "$("$root/tools/pjsua2/build.sh" "$python")"
# A copy: a build in the tree would leave files there that another build takes for its own.
mkdir "$work/source"
cp -r "$root"/{recproxy,rtp,announcer,storage,setup.py,pyproject.toml,README.md,LICENSE} "$work/source"
find "$work/source" \( -name '*.so' -o -name '__pycache__' -o -name '_native.c' \) -prune -exec rm -rf {} +
pip wheel --no-deps --no-build-isolation -w "$work" "$work/source"
pip install --no-compile --target "$site" --no-deps "$work"/recproxy-"$version"-*.whl
rm -rf "$site/bin"
# Compiled here, since nobody may write there; by their content, so that times of files do not matter.
find "$site" -name '__pycache__' -prune -exec rm -rf {} +
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$tree" -p / "$site"

install -d "$tree/usr/bin" "$tree/lib/systemd/system" "$tree/etc/recproxy" "$tree/etc/logrotate.d"
ln -s /opt/recproxy/bin/recproxy "$tree/usr/bin/recproxy"
install -m 644 "$root"/etc/recproxy{,-retention,-upload}.service "$tree/lib/systemd/system"
install -m 644 "$root"/etc/{recproxy,policy}.yaml "$tree/etc/recproxy"
install -D -m 644 "$root/etc/recproxy.bash-completion" "$tree/usr/share/bash-completion/completions/recproxy"
if [ -e "$root/etc/recproxy.logrotate" ]; then
    install -m 644 "$root/etc/recproxy.logrotate" "$tree/etc/logrotate.d/recproxy"
fi

docs=$tree/usr/share/doc/recproxy
install -d "$docs/docs" "$docs/storage" "$docs/rtp"
cp -r "$root/etc/examples" "$docs/examples"
cp "$root"/{README,SECURITY}.md "$docs"
cp -r "$root"/docs/. "$docs/docs"
cp "$root"/storage/*.md "$docs/storage"
cp "$root"/rtp/*.md "$docs/rtp"
gzip -9n <"$root/CHANGELOG.md" >"$docs/changelog.gz"
cat "$here/copyright" >"$docs/copyright"
"$python" "$root/tools/manual.py" "$work/man"
for page in "$work"/man/*; do
    section=$tree/usr/share/man/man${page##*.}
    install -d "$section"
    gzip -9n <"$page" >"$section/$(basename "$page").gz"
done
find "$tree" -path "$opt" -prune -o -type f -exec chmod 644 {} +

install -d "$tree/DEBIAN"
depends=$(grep -v '^#' "$here/depends.txt" | sed 's/^python3$/python3 (>= 3.11), python3 (<< 3.12)/' | paste -sd , | sed 's/,\([^ ]\)/, \1/g')
sed -e "s/@version@/$version/" -e "s/@architecture@/$architecture/" -e "s/@depends@/$depends/" \
    -e "s/@size@/$(du -sk --exclude DEBIAN "$tree" | cut -f1)/" "$here/control.in" >"$tree/DEBIAN/control"
(cd "$tree" && find etc -type f -printf '/%p\n' | sort) >"$tree/DEBIAN/conffiles"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$tree/DEBIAN/$script"
done
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$out/recproxy_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z3 --build "$tree" "$package" >/dev/null
echo "$package"
