#!/bin/bash
# Tests against real peers: two at a time; what failed is run once more, alone.
# Other programs, two browsers and the kernel's scheduler are part of these tests. A test that fails beside
# another and passes alone is named at the end: it is to be mended, but does not hold up what is right.
# More than a few failures are no accident, and get no second run.
#
# usage: peer-tests.sh PYTEST MARK [ARGUMENT…]
set -euo pipefail

pytest=$1 mark=$2
shift 2
few=4
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT

status=0
"$pytest" -q -m "$mark" -o cache_dir="$kept" "$@" || status=$?
[ "$status" -eq 1 ] || exit "$status"

failed=$kept/v/cache/lastfailed
count=$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))))' "$failed")
[ "$count" -le "$few" ] || exit "$status"
names=$(python3 -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$failed")
printf 'failed beside others, run once more alone:\n%s\n' "$names"
"$pytest" -q -m "$mark" -o cache_dir="$kept" --last-failed --last-failed-no-failures none
printf 'FLAKY, to be mended: failed beside others, passed alone:\n%s\n' "$names"
