#!/usr/bin/env bash
# Runs every fuzz target for a short time: fuzz.sh [time of each, as of go test's -fuzztime].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-10s}

targets=$(grep -rEl --include='*_test.go' '^func Fuzz[A-Z0-9_]' backend bootstrap cmd | sort || true)
if [[ -z $targets ]]; then
	echo "there is no fuzz target"
	exit 0
fi
while read -r file; do
	while read -r name; do
		printf '%s in ./%s\n' "$name" "$(dirname "$file")"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "./$(dirname "$file")"
	done < <(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file")
done <<<"$targets"
