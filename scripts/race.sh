#!/usr/bin/env bash
# Runs all tests with the race detector: race.sh path-of-a-plugin-built-with-race.
#
# A race in a test ends that test. One in the plugin, which Vault runs, only writes a report; so that none is missed, all
# reports go to files, which are looked at in the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLUGIN_BIN=$(cd "$(dirname "$1")" && pwd -P)/$(basename "$1")
VAULT_BIN=$(scripts/vault.sh)
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
export PLUGIN_BIN VAULT_BIN GORACE="log_path=$reports/race"

status=0
CGO_ENABLED=1 go test -race -count=1 -timeout 20m ./... || status=$?
for report in "$reports"/race.*; do
	[[ -f $report ]] || continue
	cat "$report" >&2
	status=1
done
exit "$status"
