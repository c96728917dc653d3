#!/bin/bash
# The unit tests against the installed wheel, away from the sources.
#
#   tools/wheel-test.sh PYTHON [OPTION OF PYTEST]...
#
# PYTHON is the interpreter of a venv with the locked packages and pjsua2 (make dev).
# A wheel is built from a copy of the sources and installed into a venv of its own,
# which takes the other packages from that of PYTHON; then tests/ alone is copied
# away and bare pytest runs there. What was left out of the wheel is missing there.
# SPDX-License-Identifier: GPL-2.0-or-later
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: $0 PYTHON [OPTION OF PYTEST]..." >&2; exit 2; }
python=$(command -v "$1") || { echo "no such interpreter: $1" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/source"
cp -r "$root"/{recproxy,rtp,announcer,storage,setup.py,pyproject.toml,README.md,LICENSE} "$work/source"
find "$work/source" \( -name '*.so' -o -name '__pycache__' -o -name '_native.c' \) -prune -exec rm -rf {} +
"$python" -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$work" "$work/source"

"$python" -m venv --without-pip "$work/venv"
site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')
"$python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])' >"$site/locked.pth"
"$python" -m pip --python "$work/venv/bin/python" install -q --disable-pip-version-check --no-deps \
    --ignore-installed "$work"/recproxy-*.whl

cp -r "$root/tests" "$root/etc" "$work"
find "$work/tests" -name '__pycache__' -prune -exec rm -rf {} +
# The settings of pytest are the project's; its paths are not.
sed -n '/^\[tool\.pytest\.ini_options\]/,/^$/p' "$root/pyproject.toml" >"$work/pyproject.toml"
cd "$work"
for package in recproxy rtp announcer storage; do
    "$work/venv/bin/python" -c "import sys, $package; sys.exit(not $package.__file__.startswith('$work/venv/'))" ||
        { echo "$package was not taken from the wheel" >&2; exit 1; }
done
"$work/venv/bin/recproxy" --version
"$work/venv/bin/python" -c 'import recproxy.api.service as api, sys; sys.exit(not (api._CONSOLE / "index.html").is_file())' ||
    { echo "the wheel lacks the web console: tools/console.sh builds it" >&2; exit 1; }
# -P: the current directory stays off the path, as with bare pytest. What is left out
# holds files of the tree against the code.
"$work/venv/bin/python" -P -m pytest -q -p no:cacheprovider -n 2 \
    -m "not interop and not faults and not load" \
    --ignore tests/test_recproxy_etc.py \
    --ignore tests/test_recproxy_console.py \
    --deselect tests/test_recproxy_call_machine.py::test_states_md_is_what_the_tables_say \
    "${@:2}" tests
