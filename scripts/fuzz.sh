#!/usr/bin/env bash
# Runs every fuzz target for a short time, two at a time, on one core each:
#
#   fuzz.sh [FUZZTIME]     FUZZTIME is passed to go test -fuzztime
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-10s}

# Runs one target. Prints its output only on failure: the progress reports of two targets would be interleaved.
fuzz() {
	local name=$1 package=$2 output
	# By default Go spends up to a minute minimizing a single interesting input, and tries no others meanwhile.
	if output=$(GOMAXPROCS=1 go test -run '^$' -fuzz "^$name\$" -fuzztime "$3" -fuzzminimizetime 100x -parallel 1 "$package" 2>&1) || only_time_ran_out "$output"; then
		printf '%s in %s: %s\n' "$name" "$package" "$(grep -E '^fuzz: elapsed' <<<"$output" | tail -n 1)"
	else
		printf '%s in %s FAILED:\n%s\n' "$name" "$package" "$output"
		return 1
	fi
}

# Before 1.27, Go sometimes reports the end of -fuzztime itself as a failure (go.dev/issue/75804). In that case no
# failing input is written, and "context deadline exceeded" is the only complaint.
only_time_ran_out() {
	local complaint
	complaint=$(grep -vE '^(fuzz: elapsed: .*|--- FAIL: [^ ]+ \([0-9.]+s\)|FAIL|exit status 1|FAIL\s.*)$' <<<"$1" || true)
	[[ $complaint =~ ^[[:space:]]*context\ deadline\ exceeded[[:space:]]*$ ]]
}
export -f fuzz only_time_ran_out

targets=$(grep -rEo --include='*_test.go' '^func Fuzz[A-Z0-9_][A-Za-z0-9_]*' backend bootstrap cmd | sort || true)
if [[ -z $targets ]]; then
	echo "no fuzz targets found"
	exit 0
fi
# One "name package" per line.
sed -E 's|^(.*)/[^/]*:func (.*)$|\2 ./\1|' <<<"$targets" |
	xargs -P 2 -L 1 bash -euo pipefail -c 'fuzz "$2" "$3" "$1"' fuzz "$fuzztime"
