#!/usr/bin/env bash
# Runs every fuzz target for a short time: fuzz.sh [time of each, as of go test's -fuzztime]. Two targets run at a time, on
# one core each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-10s}

# Runs one target; prints what it says only if it fails, since Go's progress reports of two targets would be mixed up.
fuzz() {
	local name=$1 package=$2 output
	# By default Go spends up to a minute on making one input smaller that reaches new code, and tries nothing else then.
	if output=$(GOMAXPROCS=1 go test -run '^$' -fuzz "^$name\$" -fuzztime "$3" -fuzzminimizetime 100x -parallel 1 "$package" 2>&1) || only_time_ran_out "$output"; then
		printf '%s in %s: %s\n' "$name" "$package" "$(grep -E '^fuzz: elapsed' <<<"$output" | tail -n 1)"
	else
		printf '%s in %s FAILED:\n%s\n' "$name" "$package" "$output"
		return 1
	fi
}

# Before 1.27 Go sometimes takes the end of -fuzztime itself for a failure (go.dev/issue/75804): no target failed then, no
# input is written down, and the deadline is all that it complains of.
only_time_ran_out() {
	local complaint
	complaint=$(grep -vE '^(fuzz: elapsed: .*|--- FAIL: [^ ]+ \([0-9.]+s\)|FAIL|exit status 1|FAIL\s.*)$' <<<"$1" || true)
	[[ $complaint =~ ^[[:space:]]*context\ deadline\ exceeded[[:space:]]*$ ]]
}
export -f fuzz only_time_ran_out

targets=$(grep -rEo --include='*_test.go' '^func Fuzz[A-Z0-9_][A-Za-z0-9_]*' backend bootstrap cmd | sort || true)
if [[ -z $targets ]]; then
	echo "there is no fuzz target"
	exit 0
fi
# One "name package" a line.
sed -E 's|^(.*)/[^/]*:func (.*)$|\2 ./\1|' <<<"$targets" |
	xargs -P 2 -L 1 bash -euo pipefail -c 'fuzz "$2" "$3" "$1"' fuzz "$fuzztime"
